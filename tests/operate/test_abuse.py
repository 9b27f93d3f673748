"""Clients that mean no good: crowds, dead readers, garbage, and doors that must be opened first.

One subscriber behaves; what it gets is the measure. The gateway is a process of its own here, so
that its memory can be weighed.
"""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
import trustme

from bench.clients.h2 import PREFACE, SETTINGS, Connections, frame, open_streams
from proto import orderbook_pb2
from proto.orderbook_pb2_grpc import OrderbookAggregatorStub
from proto.pollux.v1 import market_data_pb2 as pb
from proto.pollux.v1.market_data_pb2_grpc import MarketDataServiceStub
from tests.e2e.rig import ROOT, Venues, command, free_port, settings, until
from tests.net.gateway.rig import (
    FIXED_WINDOW,
    Beating,
    gateway_process,
    gateway_thread,
    ladder,
    status_of,
)
from tests.operate import rig
from tests.operate.rig import operated, plain_channel

pytestmark = pytest.mark.timeout(90)

METHOD = "/orderbook.OrderbookAggregator/BookSummary"
CROWD, PER_CONNECTION = 1000, 20
CYCLES = 300
OBJECT_CYCLES = 150
GROWTH_BYTES_MAX = 6 << 20
"""Between two rounds of connecting and leaving: pages of the data path that were never used before.
What is Python's is counted in objects, exactly."""
EXHAUSTED, INVALID = grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INVALID_ARGUMENT


class Publishing(Beating):
    """Each book is another one."""

    def __init__(self) -> None:
        super().__init__()
        self._best = 1_000_000

    def publish_next(self) -> int:
        self._best += 1
        return self.publish(*ladder(self._best))


@contextlib.contextmanager
def gateway(**options: Any) -> Iterator[tuple[Publishing, str, psutil.Process]]:
    """A gateway process over an engine of the test's own."""
    engine = Publishing()
    engine.publish_next()
    process = gateway_process(engine, **options)
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline().split()[1])
        yield engine, f"127.0.0.1:{port}", psutil.Process(process.pid)
        assert process.poll() is None, "the gateway fell"
    finally:
        process.kill()
        process.communicate()
        engine.close()


def connect(target: str) -> socket.socket:
    host, _, port = target.rpartition(":")
    return socket.create_connection((host, int(port)), 5)


def book(channel: grpc.Channel) -> int:
    """The sequence of the book that the gateway has now."""
    return int(MarketDataServiceStub(channel).GetBook(pb.GetBookRequest(), timeout=5).sequence)


def send_raw(channel: grpc.Channel, method: str, raw: bytes) -> None:
    """A call whose request is these bytes, to the first answer."""
    path = f"/pollux.v1.MarketDataService/{method}"
    call: Any = channel.unary_stream(path, request_serializer=None, response_deserializer=None)
    next(call(raw, timeout=5))


# --- crowds --------------------------------------------------------------------------------------


def test_a_thousand_subscribers_and_one_that_never_reads() -> None:
    with (
        gateway(subscribers_max=CROWD + 2, streams_per_client_max=CROWD + 9) as served,
        contextlib.ExitStack() as on,
    ):
        engine, target, process = served
        crowd = Connections(target, METHOD, [PER_CONNECTION] * (CROWD // PER_CONNECTION))
        on.callback(crowd.close)
        stop = threading.Event()
        reading = threading.Thread(target=_read_all, args=(crowd, stop), daemon=True)
        reading.start()
        on.callback(reading.join)
        on.callback(stop.set)
        until(lambda: all(crowd.received), 20, "a book for everybody")
        deaf = on.enter_context(grpc.insecure_channel(target, options=[FIXED_WINDOW]))
        unread = OrderbookAggregatorStub(deaf).BookSummary(orderbook_pb2.Empty(), timeout=60)
        next(iter(unread))  # it has its place
        channel = on.enter_context(plain_channel(target))
        honest = MarketDataServiceStub(channel).StreamBook(pb.StreamBookRequest(), timeout=60)
        next(iter(honest))
        code, text = status_of(
            lambda: next(iter(MarketDataServiceStub(channel).StreamBook(pb.StreamBookRequest())))
        )
        assert (code, text) == (
            EXHAUSTED, f"this gateway has {CROWD + 2} subscribers ([gateway] subscribers_max)"
        )  # fmt: skip
        before, late_ms = crowd.received, []
        weight = process.memory_info().rss
        for _ in range(15):
            wanted, started_s = engine.publish_next(), time.monotonic()
            while next(iter(honest)).sequence < wanted:
                pass
            late_ms.append((time.monotonic() - started_s) * 1000)
            time.sleep(0.2)
        until(lambda: all(now > n for now, n in zip(crowd.received, before, strict=True)))
        grown = process.memory_info().rss - weight
        print(f"the honest one had each book {max(late_ms):.0f} ms later at most; "
              f"{grown >> 10} KiB grown with {CROWD} others")  # fmt: skip
        assert max(late_ms) < 2000
        assert grown < 16 << 20
        unread.cancel()  # type: ignore[no-untyped-call]


def _read_all(crowd: Connections, stop: threading.Event) -> None:
    while not stop.is_set():
        crowd.read(50)


def test_connecting_and_leaving_in_a_loop_costs_no_memory() -> None:
    with gateway(subscribers_max=20, streams_per_client_max=20, connections_max=50) as (
        engine,
        target,
        process,
    ):
        weights = []
        for _ in range(3):
            for cycle in range(CYCLES):
                _come_and_go(target, cycle)
                if cycle % 10 == 0:
                    engine.publish_next()
            until(lambda: len(process.net_connections()) <= 2, 15, "the end of the connections")
            weights.append(process.memory_info().rss)
        print("RSS after each round, KiB:", [weight >> 10 for weight in weights])
        assert weights[2] - weights[1] < GROWTH_BYTES_MAX
        with plain_channel(target) as channel:
            plain = OrderbookAggregatorStub(channel)
            streams = [plain.BookSummary(orderbook_pb2.Empty(), timeout=10) for _ in range(20)]
            assert all(next(iter(each)).bids for each in streams), "every place is free again"


def test_a_client_that_left_leaves_no_object_behind() -> None:
    engine = Publishing()
    engine.publish_next()
    try:
        with gateway_thread(engine, subscribers_max=20, streams_per_client_max=20) as served:

            def objects_after_a_round() -> int:
                for cycle in range(OBJECT_CYCLES):
                    _come_and_go(served.target, 2)
                    if cycle % 10 == 0:
                        engine.publish_next()
                until(lambda: served.counters.subscribers == 0, 10, "everybody gone")
                time.sleep(0.3)
                gc.collect()
                return len(gc.get_objects())

            objects_after_a_round()
            before = objects_after_a_round()
            grown = objects_after_a_round() - before
            assert served.counters.subscribers_total > OBJECT_CYCLES, "they were subscribers"
        print(f"{grown} objects more after {OBJECT_CYCLES} clients")
        assert grown < OBJECT_CYCLES
    finally:
        engine.close()


def _come_and_go(target: str, cycle: int) -> None:
    """Four ways to be rude."""
    if cycle % 4 == 0:
        connect(target).close()
    elif cycle % 4 == 1:
        with connect(target) as link:
            link.sendall(PREFACE + frame(SETTINGS, 0, 0, b""))
    else:
        with contextlib.suppress(OSError):
            subscriber = open_streams(target, METHOD, 2)
            subscriber.settimeout(2)
            while cycle % 4 == 2 and subscriber.recv(65536).count(b"binance") < 1:
                pass
            subscriber.close()


# --- nonsense ------------------------------------------------------------------------------------


def test_malformed_and_oversized_requests_have_an_answer() -> None:
    with gateway(request_bytes_max=1024) as (engine, target, process):
        for nonsense in (b"GET / HTTP/1.1\r\n\r\n", os.urandom(4096), PREFACE + os.urandom(4096),
                         PREFACE + frame(SETTINGS, 0, 0, b"\xff" * 5)):  # fmt: skip
            with connect(target) as link:
                link.sendall(nonsense)
                link.settimeout(5)
                with contextlib.suppress(ConnectionError):
                    while link.recv(4096):
                        pass
        with plain_channel(target) as channel:
            for method in ("StreamBook", "GetBook", "ListInstruments", "StreamVenueStatus"):
                code, text = status_of(partial(send_raw, channel, method, b"\xff\xff\xff"))
                assert code is INVALID and "3 bytes" in text, (method, code, text)
            huge = pb.GetBookRequest(symbol="x" * 2000)
            code, text = status_of(lambda: MarketDataServiceStub(channel).GetBook(huge, timeout=5))
            assert code is EXHAUSTED and "larger than max" in text, (code, text)
            code, _ = status_of(partial(send_raw, channel, "NoSuchMethod", b""))
            assert code is grpc.StatusCode.UNIMPLEMENTED
            assert book(channel) == 1
        assert process.is_running() and engine is not None


def test_the_limit_of_connections() -> None:
    hello = PREFACE + frame(SETTINGS, 0, 0, b"")
    with gateway(connections_max=4) as (_, target, process), contextlib.ExitStack() as on:
        held = []
        for _ in range(4):
            link = on.enter_context(connect(target))
            link.sendall(hello)
            assert link.recv(9), "its settings"
            held.append(link)
        with connect(target) as one_more:
            one_more.settimeout(5)
            with contextlib.suppress(ConnectionError):
                one_more.sendall(hello)
                assert one_more.recv(9) == b"", "closed without a word"
        held.pop().close()
        with plain_channel(target) as channel:
            until(lambda: status_of(lambda: book(channel))[0] is grpc.StatusCode.OK, 5)
        assert process.is_running()


# --- doors ---------------------------------------------------------------------------------------


def test_tls_and_clients_certificates_by_configuration(
    folder: Path, venues: Venues, tmp_path: Path
) -> None:
    authority, clients = trustme.CA(), trustme.CA()
    issued, desk = authority.issue_cert("127.0.0.1"), clients.issue_cert("desk@example.org")
    files = {name: tmp_path / f"{name}.pem" for name in ("tls_cert", "tls_key", "tls_client_ca")}
    files["tls_cert"].write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    files["tls_key"].write_bytes(issued.private_key_pem.bytes())
    files["tls_client_ca"].write_bytes(clients.cert_pem.bytes())
    extra = "\n".join(f'{name} = "{path}"' for name, path in files.items())
    with operated(folder, venues.toml, extra=extra) as live:
        known = grpc.ssl_channel_credentials(
            authority.cert_pem.bytes(), desk.private_key_pem.bytes(),
            desk.cert_chain_pems[0].bytes(),
        )  # fmt: skip
        nameless = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
        with grpc.secure_channel(live.target, known) as channel:
            until(lambda: status_of(lambda: book(channel))[0] is grpc.StatusCode.OK)
        for channel in (grpc.secure_channel(live.target, nameless),
                        grpc.insecure_channel(live.target)):  # fmt: skip
            with channel:
                assert status_of(partial(book, channel))[0] is grpc.StatusCode.UNAVAILABLE


def test_a_listener_for_other_hosts_without_tls_needs_the_switch(
    folder: Path, venues: Venues, tmp_path: Path
) -> None:
    port = free_port()
    ours = settings(f"operate-{port}", port).replace("127.0.0.1:", "0.0.0.0:")
    config = tmp_path / "exposed.toml"
    config.write_text(venues.toml + ours)
    done = subprocess.run(
        command("serve", "--config", str(config)), cwd=folder, capture_output=True, text=True,
        timeout=30, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 2
    assert "allow_plaintext = true" in done.stderr and done.stderr.count("\n") == 1
    config.write_text(venues.toml + ours.replace("[metrics]", "allow_plaintext = true\n[metrics]"))
    from tests.e2e.rig import running

    with running(folder, "exposed", "serve", "--config", str(config)) as process:
        until(lambda: '"serving"' in process.text, 30, "the daemon")
        warned = [line for line in process.text.splitlines() if "other hosts without TLS" in line]
        assert len(warned) == 1 and '"warning"' in warned[0]
        assert process.end(rig.TERM) == 0
