"""The gateway as a process of its own, and clients that share no code with it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import psutil
import pytest

from engine.layout import layout as L
from net.gateway.options import GatewayOptions
from proto import orderbook_pb2
from proto.orderbook_pb2_grpc import OrderbookAggregatorStub
from tests.net.gateway.rig import (
    FIXED_WINDOW,
    PATIENCE_S,
    ROOT,
    Beating,
    Engine,
    eventually,
    gateway_process,
    gateway_thread,
    ladder,
    status_of,
    take,
)

PLAIN_PROTO = """
syntax = "proto3";
package orderbook;
service OrderbookAggregator { rpc BookSummary(Empty) returns (stream Summary); }
message Empty {}
message Summary { double spread = 1; repeated Level bids = 2; repeated Level asks = 3; }
message Level { string exchange = 1; double price = 2; double amount = 3; }
"""

FOREIGN_CLIENT = """
import sys, grpc, orderbook_pb2, orderbook_pb2_grpc
channel = grpc.insecure_channel(sys.argv[1])
stub = orderbook_pb2_grpc.OrderbookAggregatorStub(channel)
for count, summary in enumerate(stub.BookSummary(orderbook_pb2.Empty(), timeout=20)):
    best = summary.bids[0]
    print(best.exchange, best.price, best.amount, summary.spread, len(summary.asks), flush=True)
    if count == 1:
        break
"""


@pytest.fixture
def engine() -> Iterator[Engine]:
    """Alive while the process starts: after 5 s without a beat it would serve nothing."""
    engine = Beating()
    yield engine
    engine.close()


def _port(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    word, port = process.stdout.readline().split()
    assert word == "ready"
    return int(port)


@pytest.mark.parametrize("times", [1, 200])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serves_and_ends_with_0_on_a_signal(
    engine: Engine, number: signal.Signals, times: int
) -> None:
    """A daemon's death alone brings one SIGTERM for each of its threads, all at once."""
    engine.publish(*ladder(500))
    process = gateway_process(engine)
    try:
        with grpc.insecure_channel(f"127.0.0.1:{_port(process)}") as channel:
            stream = OrderbookAggregatorStub(channel).BookSummary(
                orderbook_pb2.Empty(), timeout=PATIENCE_S
            )
            assert take(stream).bids[0].price == 5.0
            engine.publish(*ladder(600))
            assert take(stream).bids[0].price == 6.0
            for _ in range(times):
                process.send_signal(number)
            assert status_of(lambda: take(stream))[0] is grpc.StatusCode.UNAVAILABLE
        output, errors = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, output, errors) == (0, "", "")
    finally:
        process.kill()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"listen": "127.0.0.1:1x"}, "gateway listen '127.0.0.1:1x': must be HOST:PORT"),
        ({"handoff_name": "test-nobody", "attach_timeout_ms": 10}, "no book to serve after"),
        ({"tls_cert": "/absent", "tls_key": "/absent"}, "gateway tls_cert /absent: No such file"),
    ],
)
def test_one_line_and_1_when_it_cannot_serve(
    engine: Engine, options: dict[str, object], line: str
) -> None:
    process = gateway_process(engine, **options)
    output, errors = process.communicate(timeout=20)
    assert (process.returncode, output) == (1, "")
    assert errors.startswith(f"pollux gateway: {line}") and errors.count("\n") == 1, errors


def test_the_process_dies_with_its_parent(engine: Engine) -> None:
    """A parent that is killed cannot tell its child: the child must notice by itself."""
    parent = """
        import subprocess, sys
        child = subprocess.Popen([sys.executable, "-m", "net.gateway", sys.argv[1]],
                                 stdout=subprocess.PIPE, text=True)
        print(child.pid, child.stdout.readline(), flush=True)
        sys.stdin.read()
    """
    options = GatewayOptions(engine.name, "127.0.0.1:0").to_json()
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(parent), options],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdin is not None
    pid, word, _port_number = process.stdout.readline().split()
    assert word == "ready"
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()
    try:
        assert eventually(lambda: not _is_running(int(pid)))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


def _is_running(pid: int) -> bool:
    """Whether a process lives; one that nobody has reaped yet does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_client_generated_from_its_own_copy_of_the_interface(
    engine: Engine, tmp_path: Path
) -> None:
    (tmp_path / "orderbook.proto").write_text(PLAIN_PROTO)
    (tmp_path / "client.py").write_text(FOREIGN_CLIENT)
    tools = [sys.executable, "-m", "grpc_tools.protoc", "-I."]
    outputs = ["--python_out=.", "--grpc_python_out=."]
    subprocess.run([*tools, *outputs, "orderbook.proto"], cwd=tmp_path, check=True)
    engine.publish([(6_183_762, 378_826_000, 0)], [(6_183_763, 5, 1), (6_183_764, 5, 0)])
    with gateway_thread(engine) as gateway:
        client = subprocess.Popen(
            [sys.executable, "client.py", gateway.target],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": ""},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert client.stdout is not None
        assert client.stdout.readline() == "binance 61837.62 3.78826 0.01 2\n"
        engine.publish([(6_183_763, 1, 1)], [(6_183_763, 5, 1)])
        output, _ = client.communicate(timeout=PATIENCE_S)
        assert output == "bitstamp 61837.63 1e-08 0.0 1\n"


def test_clients_that_never_read_cost_bounded_memory(engine: Engine) -> None:
    """40 subscribers that read one book of 8,000: what they hold is their windows, no more."""
    engine.publish(*ladder(1_000_000))
    process = gateway_process(engine)
    channels: list[grpc.Channel] = []
    try:
        target = f"127.0.0.1:{_port(process)}"
        for _ in range(40):
            options = [("grpc.use_local_subchannel_pool", 1), FIXED_WINDOW]
            channel = grpc.insecure_channel(target, options=options)
            channels.append(channel)
            take(OrderbookAggregatorStub(channel).BookSummary(orderbook_pb2.Empty(), timeout=60))
        gateway = psutil.Process(process.pid)
        readings = []
        for round_ in range(2):
            for step in range(4000):
                engine.publish(*ladder(1_000_001 + round_ * 4000 + step))
                if step % 4 == 0:
                    time.sleep(0.0005)
            readings.append(gateway.memory_info().rss)
        # The first round fills the windows; from there on nothing may grow.
        assert readings[1] - readings[0] < 4 * 2**20, readings
    finally:
        for channel in channels:
            channel.close()
        process.kill()
        process.communicate()


def test_a_stopped_engine_seen_from_the_process_form(engine: Engine) -> None:
    engine.publish(*ladder(500))
    process = gateway_process(engine)
    try:
        with grpc.insecure_channel(f"127.0.0.1:{_port(process)}") as channel:
            stream = OrderbookAggregatorStub(channel).BookSummary(
                orderbook_pb2.Empty(), timeout=PATIENCE_S
            )
            take(stream)
            engine.writer.set_engine_state(L.ENGINE_IS_STOPPED)
            assert status_of(lambda: take(stream)) == (
                grpc.StatusCode.UNAVAILABLE,
                "the engine has stopped",
            )
    finally:
        process.kill()
        process.communicate()
