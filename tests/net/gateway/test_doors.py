"""Issue 13, point 11: the token at every door, and one client among the others.

Clients are grpcio's, and plain sockets that speak as much HTTP/2 as they need.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from bench.clients.h2 import DATA, HEADERS, PREFACE, SETTINGS, frame
from engine.layout import layout as L
from net.gateway.clients import network_of, plain_host
from proto import orderbook_pb2
from proto.orderbook_pb2_grpc import OrderbookAggregatorStub
from proto.pollux.v1 import maker_pb2
from proto.pollux.v1 import market_data_pb2 as pb
from proto.pollux.v1.maker_pb2_grpc import MakerServiceStub
from proto.pollux.v1.market_data_pb2_grpc import MarketDataServiceStub
from tests.net.gateway.rig import (
    FIXED_WINDOW,
    PATIENCE_S,
    Engine,
    Gateway,
    eventually,
    gateway_thread,
    ladder,
    status_of,
    take,
)

TOKEN, OTHER = "a-token-of-the-tests-1", "a-token-of-the-tests-2"
OK, UNKNOWN = grpc.StatusCode.OK, grpc.StatusCode.UNAUTHENTICATED
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = Engine()
    made.publish(*ladder(500))
    try:
        yield made
    finally:
        made.close()


def token_file(folder: Path, token: str) -> str:
    path = folder / token
    path.touch(0o600)
    path.write_text(token)
    return str(path)


def calls(channel: grpc.Channel, metadata: Any) -> dict[str, tuple[grpc.StatusCode, str]]:
    """Every service once; what became of it."""
    given: Any = {"timeout": PATIENCE_S, "metadata": metadata}
    books, summary = MarketDataServiceStub(channel), OrderbookAggregatorStub(channel)
    maker, health = MakerServiceStub(channel), health_pb2_grpc.HealthStub(channel)
    reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
    asked = reflection_pb2.ServerReflectionRequest(list_services="")
    ways = {
        "summary": lambda: take(summary.BookSummary(orderbook_pb2.Empty(), **given)),
        "book": lambda: books.GetBook(pb.GetBookRequest(), **given),
        "stream": lambda: take(books.StreamBook(pb.StreamBookRequest(), **given)),
        "list": lambda: books.ListInstruments(pb.ListInstrumentsRequest(), **given),
        "states": lambda: take(books.StreamVenueStatus(pb.StreamVenueStatusRequest(), **given)),
        "maker": lambda: maker.GetMaker(maker_pb2.GetMakerRequest(), **given),
        "kill": lambda: maker.Kill(maker_pb2.KillRequest(), **given),
        "reflection": lambda: take(reflection.ServerReflectionInfo(iter([asked]), **given)),
        "health": lambda: health.Check(health_pb2.HealthCheckRequest(), **given),
    }
    return {name: status_of(way) for name, way in ways.items()}


def next_book(stub: MarketDataServiceStub) -> pb.Book:
    """Of a new stream."""
    return take(stub.StreamBook(pb.StreamBookRequest(), timeout=PATIENCE_S))


def test_the_gateways_token_is_asked_for_at_every_door(engine: Engine, tmp_path: Path) -> None:
    """On loopback; a health check alone needs none."""
    files = {
        "token_file": token_file(tmp_path, TOKEN),
        "maker_token_file": token_file(tmp_path, OTHER),
    }
    with gateway_thread(engine, **files) as gateway, gateway.channel() as channel:
        for shown in (None, f"Bearer {TOKEN}x", "Bearer ", TOKEN):
            found = calls(channel, [("authorization", shown)] if shown else [])
            assert found.pop("health")[0] is OK
            assert {code for code, _ in found.values()} == {UNKNOWN}, found
            assert not any(TOKEN in text for _, text in found.values())
        found = calls(channel, [("authorization", f"Bearer {TOKEN}")])
        assert found["kill"][0] is UNKNOWN, "to look is not to kill"
        assert found["maker"][0] is grpc.StatusCode.NOT_FOUND, "there is none"
        del found["kill"], found["maker"]
        assert {code for code, _ in found.values()} == {OK}, found
        found = calls(channel, [("authorization", f"Bearer {OTHER}")])
        assert found["kill"][0] is grpc.StatusCode.NOT_FOUND, "who may kill may look"


def test_one_connection_that_reads_nothing_keeps_nobody_out(engine: Engine) -> None:
    """As many unread streams as there are places; newcomers of its own address are served."""
    with (
        gateway_thread(engine, subscribers_max=1000, heartbeat_stale_after_ms=60_000) as gateway,
        gateway.channel(FIXED_WINDOW) as greedy,
        gateway.channel() as channel,
    ):
        stub = MarketDataServiceStub(greedy)
        streams = [stub.StreamBook(pb.StreamBookRequest(), timeout=30) for _ in range(1000)]
        assert eventually(lambda: gateway.counters.subscribers == 250)
        assert eventually(lambda: gateway.counters.refused == 750)
        code, text = status_of(lambda: take(streams[-1]))
        assert code is EXHAUSTED and "[gateway] streams_per_client_max" in text
        for number in range(2, 30):
            engine.publish(*ladder(500 + number))
        newcomers = [
            MarketDataServiceStub(channel).StreamBook(pb.StreamBookRequest(), timeout=PATIENCE_S)
            for _ in range(20)
        ]
        assert all(take(each).bids for each in newcomers)
        assert eventually(lambda: gateway.counters.subscribers == 250), (
            "of one client, all the same"
        )
        code, text = status_of(lambda: list(streams[249]))
        assert code is EXHAUSTED and "another connection" in text, "it reads at last"
        assert MarketDataServiceStub(channel).GetBook(pb.GetBookRequest(), timeout=5).bids


def test_a_client_has_so_many_streams_over_all_its_connections(engine: Engine) -> None:
    limits = {"subscribers_max": 100, "streams_per_client_max": 6}
    with gateway_thread(engine, **limits) as gateway, contextlib.ExitStack() as on:
        stubs = [MarketDataServiceStub(on.enter_context(gateway.channel())) for _ in range(3)]
        kept = [stub.StreamBook(pb.StreamBookRequest(), timeout=30) for stub in stubs for _ in "ab"]
        assert all(take(each).bids for each in kept)
        for stub in stubs:
            code, text = status_of(partial(next_book, stub))
            assert code is EXHAUSTED
            assert text == "a client may hold 6 calls ([gateway] streams_per_client_max)"
        kept[0].cancel()  # type: ignore[no-untyped-call]
        assert eventually(lambda: gateway.counters.subscribers == 5)
        assert take(stubs[0].StreamBook(pb.StreamBookRequest(), timeout=PATIENCE_S)).bids


def test_health_watches_and_reflection_are_calls_too(engine: Engine) -> None:
    """They hold places of the server as streams of books do."""
    with (
        gateway_thread(engine, streams_per_client_max=10) as gateway,
        gateway.channel() as greedy,
        gateway.channel() as channel,
    ):
        watch = health_pb2_grpc.HealthStub(greedy).Watch
        watches = [watch(health_pb2.HealthCheckRequest(), timeout=30) for _ in range(30)]
        codes = [status_of(partial(take, each))[0] for each in watches]
        assert codes.count(OK) == 10 and codes.count(EXHAUSTED) == 20
        assert take(MarketDataServiceStub(channel).StreamBook(pb.StreamBookRequest())).bids


def headers(path: bytes) -> bytes:
    """Of a call, as HPACK literals without an index."""
    fields = (
        (b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b":authority", b"x"),
        (b"content-type", b"application/grpc"), (b"te", b"trailers"),
    )  # fmt: skip
    return b"".join(
        b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value for name, value in fields
    )


def test_a_watcher_of_health_that_takes_nothing_holds_up_nobody(engine: Engine) -> None:
    """gRPC's own health service wrote to it with the lock of all others, and did not end."""
    no_window = (4).to_bytes(2, "big") + (0).to_bytes(4, "big")
    call = headers(b"/grpc.health.v1.Health/Watch")
    with (
        gateway_thread(engine) as gateway,
        gateway.channel() as channel,
        socket.create_connection(("127.0.0.1", gateway.port), 5) as link,
    ):
        link.sendall(PREFACE + frame(SETTINGS, 0, 0, no_window))
        link.sendall(frame(HEADERS, 4, 1, call) + frame(DATA, 1, 1, b"\0" * 5))
        time.sleep(0.3)
        watch = health_pb2_grpc.HealthStub(channel).Watch
        watched = watch(health_pb2.HealthCheckRequest(), timeout=PATIENCE_S)
        assert take(watched).status == health_pb2.HealthCheckResponse.SERVING
        engine.writer.set_engine_state(L.ENGINE_IS_STOPPED)
        assert take(watched).status == health_pb2.HealthCheckResponse.NOT_SERVING


# --- connections ---------------------------------------------------------------------------------


def connect(gateway: Gateway, source: str = "127.0.0.1") -> socket.socket:
    """A connection that has said hello and asks for nothing."""
    link = socket.create_connection(("127.0.0.1", gateway.port), 5, (source, 0))
    link.sendall(PREFACE + frame(SETTINGS, 0, 0, b""))
    return link


def is_open(link: socket.socket) -> bool:
    link.setblocking(False)
    try:
        while link.recv(4096):
            pass
    except BlockingIOError:
        return True
    except ConnectionError:
        return False
    return False


@contextlib.contextmanager
def crowd(gateway: Gateway, count: int, source: str = "127.0.0.1") -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as on:
        yield [on.enter_context(connect(gateway, source)) for _ in range(count)]


def test_a_client_has_a_share_of_the_connections(engine: Engine) -> None:
    """Its idle ones are closed, the oldest first; its stream, and others' connections, stay."""
    limits = {"connections_max": 200, "streams_per_client_max": 30}
    with gateway_thread(engine, **limits) as gateway, gateway.channel() as channel:
        stream = MarketDataServiceStub(channel).StreamBook(pb.StreamBookRequest(), timeout=30)
        assert take(stream).bids
        with connect(gateway, "127.0.0.2") as other, crowd(gateway, 60) as links:
            assert eventually(lambda: sum(map(is_open, links)) == 29)
            assert all(map(is_open, links[-20:])) and not any(map(is_open, links[:20]))
            time.sleep(1.2)
            assert sum(map(is_open, links)) == 29 and is_open(other)
            engine.publish(*ladder(501))
            assert take(stream).bids


def test_idle_connections_are_dropped_sooner_when_places_run_out(engine: Engine) -> None:
    """Ten clients, each within its share, have all places: a newcomer has one soon."""
    limits = {"connections_max": 40, "streams_per_client_max": 30}
    with gateway_thread(engine, **limits) as gateway, contextlib.ExitStack() as on:
        links = [
            link
            for client in range(10)
            for link in on.enter_context(crowd(gateway, 4, f"127.0.1.{client + 1}"))
        ]
        assert eventually(lambda: not is_open(on.enter_context(connect(gateway))), 2), "all taken"

        def is_served() -> bool:
            engine.beat()
            with gateway.channel() as channel:
                stub = MarketDataServiceStub(channel)
                return status_of(lambda: stub.GetBook(pb.GetBookRequest(), timeout=1))[0] is OK

        assert eventually(is_served, 12)
        assert eventually(lambda: sum(map(is_open, links)) <= 30)
        assert sum(map(is_open, links)) >= 20, "no more are dropped than must be"


@pytest.mark.parametrize(
    ("host", "plain", "client"),
    [
        ("192.0.2.1", "192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::1", "fe80::/64"),
    ],
)
def test_the_client_that_an_address_is(host: str, plain: str, client: str) -> None:
    assert plain_host(host) == plain
    assert network_of(plain) == client
