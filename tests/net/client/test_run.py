"""`run_watch` against a real gateway: JSON, plain lines, a pseudo-terminal, errors."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import pty
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from engine.layout import layout as L
from net.client.run import WatchOptions, run_watch
from tests.net.gateway.maker_engine import MakerEngine
from tests.net.gateway.rig import PATIENCE_S, ROOT, Engine, eventually, gateway_thread, ladder
from tuning.clock import wall_ns

PROGRAM = """
import signal, sys
from net.client.run import WatchOptions, run_watch
# Behind a shell's & it is ignored, and so it would be here.
signal.signal(signal.SIGINT, signal.default_int_handler)
target, *rest = sys.argv[1:]
sys.exit(run_watch(WatchOptions(target, json="--json" in rest), sys.stdout))
"""


@contextlib.contextmanager
def _publishing(engine: Engine, first: int = 0) -> Iterator[None]:
    """A new book every 5 ms, and heartbeats."""
    stop = threading.Event()

    def publish() -> None:
        step = first
        while not stop.wait(0.005):
            step += 1
            engine.beat()
            engine.publish(*ladder(6_183_762 + step % 50))

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextlib.contextmanager
def _spawn(
    target: str, *rest: str, stdout: int = subprocess.PIPE
) -> Iterator[subprocess.Popen[str]]:
    """A watcher of its own process, which does not outlive the test."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, target, *rest],
        cwd=ROOT,
        env={**os.environ, "TERM": "xterm-256color"},
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def test_json_lines_are_exact(engine: Engine) -> None:
    engine.publish(
        [(6_183_763, 378_826_000, 0)], [(6_183_764, 2**63 - 1, 1)], states=[L.LIVE, L.STALE]
    )
    stdout = io.StringIO()
    with gateway_thread(engine) as gateway:
        assert run_watch(WatchOptions(gateway.target, count=1, json=True), stdout) == 0
    said = json.loads(stdout.getvalue())
    assert abs(wall_ns() - said.pop("t")) < 20e9
    assert said == {
        "seq": 1,
        "symbol": "BTC-USD",
        "bids": [["binance", "61837.63", "3.78826000"]],
        "asks": [["bitstamp", "61837.64", "92233720368.54775807"]],
        "spread": "0.01",
        "crossed": False,
        "venues": {"binance": "LIVE", "bitstamp": "STALE"},
    }


def test_json_of_crossed_and_of_one_sided_books(engine: Engine) -> None:
    engine.publish([(105, 1, 0)], [(101, 1, 1)])
    engine.publish([(105, 1, 0)], [], instrument=1)
    with gateway_thread(engine) as gateway:
        for symbol, spread, crossed in (("", "-0.04", True), ("ETH-USD", None, False)):
            stdout = io.StringIO()
            options = WatchOptions(gateway.target, symbol, count=1, json=True)
            assert run_watch(options, stdout) == 0
            said = json.loads(stdout.getvalue())
            assert (said["spread"], said["crossed"]) == (spread, crossed)
        assert said["bids"] == [["bitstamp", "0.525", "0.00000001"]]


def test_plain_lines(engine: Engine) -> None:
    engine.publish([(105, 10**8, 0)], [(101, 1, 1)], flags=[1, 0])
    stdout = io.StringIO()
    with gateway_thread(engine) as gateway:
        assert run_watch(WatchOptions(gateway.target, count=1), stdout) == 0
    (line,) = stdout.getvalue().splitlines()
    assert line.split("  ")[0].endswith("Z BTC-USD #1")
    assert line.split("  ")[1:] == [
        "bid 1.05 x 1.00000000 binance",
        "ask 1.01 x 0.00000001 bitstamp",
        "spread -0.04 CROSSED",
        "levels 1/1",
        "binance=LIVE(part) bitstamp=LIVE",
    ]


def test_the_market_maker_has_a_short_line_when_it_changes(engine: Engine) -> None:
    """Books are counted, its lines are not; programs that read JSON see nothing of it."""
    maker = MakerEngine(engine.name)
    stdout = io.StringIO()
    with contextlib.closing(maker), gateway_thread(engine) as gateway, _publishing(engine):
        assert run_watch(WatchOptions(gateway.target, count=150), stdout) == 0
        books = [line for line in stdout.getvalue().splitlines() if " BTC-USD #" in line]
        (said,) = [line for line in stdout.getvalue().splitlines() if line not in books]
        assert len(books) == 150
        json_out = io.StringIO()
        assert run_watch(WatchOptions(gateway.target, count=40, json=True), json_out) == 0
        assert all("seq" in json.loads(line) for line in json_out.getvalue().splitlines())
    assert said == (
        "  maker BTC-USD on paper NORMAL  fair 100.0050  position +0.00000015  "
        "fills 1  fees 0.00000001  day +0.00  orders 2"
    )


def test_a_wrong_symbol_is_told_at_once(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    with gateway_thread(engine) as gateway:
        options = WatchOptions(gateway.target, "DOGE-USD", json=True)
        assert run_watch(options, io.StringIO()) == 2
    error = capsys.readouterr().err
    assert error.endswith("unknown symbol 'DOGE-USD'; known: BTC-USD, ETH-USD\n")
    assert error.startswith("pollux watch: ") and error.count("\n") == 1


def test_nobody_there(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        options = WatchOptions(f"127.0.0.1:{port}", json=True, give_up_after_s=0.5)
        started_s = time.monotonic()
        assert run_watch(options, io.StringIO()) == 1
        assert 0.4 < time.monotonic() - started_s < PATIENCE_S
    error = capsys.readouterr().err
    assert error == (
        f"pollux watch: 127.0.0.1:{port}: cannot connect: connection refused (tried for 0.5 s)\n"
    )


def test_a_dead_engine_is_told(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    with gateway_thread(engine) as gateway:
        engine.writer.set_engine_state(L.ENGINE_IS_STOPPED)
        options = WatchOptions(gateway.target, count=1, give_up_after_s=0.3)
        assert run_watch(options, io.StringIO()) == 1
    assert ": the engine has stopped (tried for 0.3 s)\n" in capsys.readouterr().err


def test_it_survives_a_restart_of_the_gateway(engine: Engine) -> None:
    engine.publish(*ladder(500))
    stdout, statuses = io.StringIO(), []
    with gateway_thread(engine) as gateway:
        options = WatchOptions(gateway.target, count=2, json=True)
        watcher = threading.Thread(target=lambda: statuses.append(run_watch(options, stdout)))
        watcher.start()
        assert eventually(lambda: stdout.getvalue().count("\n") == 1)
    with gateway_thread(engine, listen=gateway.target):
        watcher.join(PATIENCE_S)
    assert statuses == [0] and stdout.getvalue().count("\n") == 2


def test_tls(engine: Engine, tmp_path: Path) -> None:
    engine.publish(*ladder(500))
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    cert, key, ca = (tmp_path / name for name in ("cert", "key", "ca"))
    issued.cert_chain_pems[0].write_to_path(str(cert))
    issued.private_key_pem.write_to_path(str(key))
    authority.cert_pem.write_to_path(str(ca))
    with gateway_thread(engine, tls_cert=str(cert), tls_key=str(key)) as gateway:
        options = WatchOptions(gateway.target, count=1, json=True, tls_ca=str(ca))
        assert run_watch(options, io.StringIO()) == 0
        absent = WatchOptions(gateway.target, count=1, tls_ca="/absent")
        assert run_watch(absent, io.StringIO()) == 2


def test_piped_and_the_reader_leaves(engine: Engine) -> None:
    with (
        gateway_thread(engine) as gateway,
        _publishing(engine),
        _spawn(gateway.target) as process,
    ):
        assert process.stdout is not None and process.stderr is not None
        assert "BTC-USD #" in process.stdout.readline()
        process.stdout.close()
        assert process.wait(PATIENCE_S) == 0
        assert process.stderr.read() == ""


def test_ctrl_c_while_printing(engine: Engine) -> None:
    engine.publish(*ladder(500))
    with gateway_thread(engine) as gateway, _spawn(gateway.target, "--json") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, errors) == (0, "")


def test_the_ladder_in_a_terminal(engine: Engine) -> None:
    """Drawn, redrawn after a resize, survives the loss of the gateway, ends with Ctrl-C."""
    primary, secondary = pty.openpty()
    fcntl.ioctl(secondary, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    screen = bytearray()

    def shows(text: str) -> bool:
        while select.select([primary], [], [], 0)[0]:
            screen.extend(os.read(primary, 65536))
        return text.encode() in screen

    try:
        with contextlib.ExitStack() as until_the_end:
            with gateway_thread(engine) as gateway, _publishing(engine):
                process = until_the_end.enter_context(_spawn(gateway.target, stdout=secondary))
                assert eventually(lambda: shows("spread"))
                assert eventually(lambda: shows("bitstamp") and shows("LIVE"))
                screen.clear()
                fcntl.ioctl(secondary, termios.TIOCSWINSZ, struct.pack("HHHH", 12, 60, 0, 0))
                process.send_signal(signal.SIGWINCH)
                assert eventually(lambda: shows("mid"))
            screen.clear()
            assert eventually(lambda: shows("connecting"))
            process.send_signal(signal.SIGINT)
            # The terminal must be drained, or the last writes of the process would wait for it.
            assert eventually(lambda: not shows("\0never") and process.poll() is not None)
            assert process.returncode == 0
            assert process.stderr is not None and process.stderr.read() == ""
            assert shows("\x1b[?1049l"), "the terminal is given back"
    finally:
        os.close(primary)
        os.close(secondary)
