"""The gateway attacked as a public HTTP/2 server: nobody else is delayed, and memory is bounded.

Each attack runs beside a subscriber that behaves; every published book must come to it in time.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from bench.clients.h2 import PREFACE, frame
from net.gateway import call, http2, link, listener
from net.gateway.data_path import layout as D
from tests.net.gateway.rig import Engine, eventually, ladder
from tests.net.gateway.wire_client import (
    CONTINUATION,
    DATA,
    EMPTY,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    GET_BOOK,
    GOAWAY,
    HEADERS,
    PING,
    PRIORITY,
    PROTOCOL_ERROR,
    RST_STREAM,
    SETTINGS,
    WATCH,
    WireClient,
    fields,
    served,
    setting,
    window_update,
)

LATE_S_MAX = 1.0
"""From a book's publication to its coming to the honest one, on a busy host, the JIT off."""


@contextlib.contextmanager
def honest_subscriber(engine: Engine, port: int) -> Iterator[list[float]]:
    """A subscriber that has each book; how late each of them was, s."""
    late: list[float] = []
    stop = threading.Event()

    def subscribe() -> None:
        with WireClient(port, settings=setting(4, 1 << 30)) as client:
            client.send(window_update(0, 1 << 30))
            client.call(1)
            client.read_until(DATA, 1)
            step = 0
            while not stop.wait(0.01):
                step += 1
                begun_s = time.monotonic()
                engine.publish(*ladder(600 + step))
                client.read_until(DATA, 1)
                late.append(time.monotonic() - begun_s)

    thread = threading.Thread(target=subscribe)
    thread.start()
    try:
        assert eventually(lambda: len(late) > 2)
        late.clear()
        yield late
    finally:
        stop.set()
        thread.join()


BLOCK = WireClient.block(WireClient.__new__(WireClient), fields(GET_BOOK))
OPENED = frame(HEADERS, END_HEADERS, 1, BLOCK)


def resets() -> bytes:
    return b"".join(
        frame(HEADERS, END_HEADERS, n, BLOCK) + frame(RST_STREAM, 0, n, bytes(4))
        for n in range(1, 6001, 2)
    )


FLOODS: dict[str, Callable[[], bytes]] = {
    "rapid reset": resets,
    "SETTINGS": lambda: frame(SETTINGS, 0, 0, setting(4, 70_000)) * 3000,
    "PRIORITY": lambda: frame(PRIORITY, 0, 3, bytes(4) + b"\x10") * 3000,
    "empty DATA": lambda: OPENED + frame(DATA, 0, 1, b"") * 3000,
    "unknown frames": lambda: frame(0x66, 0, 0, b"") * 3000,
    "CONTINUATION": lambda: frame(HEADERS, 0, 1, BLOCK) + frame(CONTINUATION, 0, 1, b"") * 3000,
    "long CONTINUATION": lambda: (
        frame(HEADERS, 0, 1, BLOCK) + frame(CONTINUATION, 0, 1, bytes(16_000)) * 9
    ),
    "PING": lambda: frame(PING, 0, 0, bytes(8)) * 3000,
    "huge headers": lambda: frame(
        HEADERS, END_HEADERS, 1, BLOCK + (b"\0\x01x\x7f\x01" + b"y" * 128) * 120
    ),
    "an HPACK bomb": lambda: frame(
        HEADERS, END_HEADERS, 1, BLOCK + b"\x40\x01x\x7f\xa1\x1e" + b"y" * 4000 + b"\xbe" * 4000
    ),
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS.keys())
def test_a_flood_is_cut_off_and_delays_nobody(flood: Callable[[], bytes]) -> None:
    with served() as (engine, port), honest_subscriber(engine, port) as late:
        with WireClient(port) as client:
            sender = threading.Thread(target=client.send, args=(flood(),), daemon=True)
            sender.start()
            while (found := client.read()) is not None and found.kind != GOAWAY:
                pass
            if found is not None:  # else the kernel has thrown it away with our unread bytes
                code = int.from_bytes(found.payload[4:8], "big")
                assert code in (ENHANCE_YOUR_CALM, PROTOCOL_ERROR)
            assert client.is_closed_in(3)
            sender.join(3)
        assert eventually(lambda: len(late) > 10)
        assert max(late) < LATE_S_MAX


def test_pings_between_books_are_no_flood() -> None:
    """gRPC's clients measure the bandwidth so: one for every few messages."""
    with served() as (engine, port), WireClient(port) as client:
        client.call(1)
        client.read_until(DATA, 1)
        for step in range(20):
            engine.publish(*ladder(600 + step))
            client.read_until(DATA, 1)
            client.send(frame(PING, 0, 0, bytes(8)))
            client.read_until(PING, 0)


def test_who_asks_and_does_not_read_is_not_heard_any_more() -> None:
    """Calls by the thousand, whose answers nobody takes: they wait at the client's side."""
    with (
        served(streams_per_client_max=100) as (engine, port),
        honest_subscriber(engine, port) as late,
        WireClient(port) as client,
    ):
        client.link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.link.settimeout(0.3)
        raw = b"".join(
            frame(HEADERS, END_HEADERS, n, BLOCK) + frame(DATA, END_STREAM, n, EMPTY)
            for n in range(1, 20_001, 2)
        )
        with contextlib.suppress(TimeoutError):
            client.link.sendall(raw * 4)
        late.clear()
        assert eventually(lambda: len(late) > 10)
        assert max(late) < LATE_S_MAX


def test_streams_without_a_window_hold_nothing_and_end() -> None:
    with served() as (engine, port), honest_subscriber(engine, port) as late:
        with WireClient(port, settings=setting(4, 0)) as client:
            for stream in range(1, 101, 2):
                client.call(stream)
            client.read_until(HEADERS, 99)
            assert client.outcome(0) == ("lives", 0)
            assert not [found for found in client.frames if found.kind == DATA]
        assert eventually(lambda: len(late) > 10) and max(late) < LATE_S_MAX


def test_a_call_that_ended_waits_for_its_client_and_not_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A health watch whose message is begun and not taken, ended by its deadline."""
    monkeypatch.setattr(call, "LINGER_S", 0.3)
    with served() as (_, port), WireClient(port, settings=setting(4, 0)) as client:
        client.call(1, WATCH, grpc_timeout="100m")
        found = client.read_until(RST_STREAM, 1)
        assert int.from_bytes(found.payload, "big") == ENHANCE_YOUR_CALM
        client.call(3, WATCH, grpc_timeout="100m")
        client.read_until(HEADERS, 3)
        time.sleep(0.2)
        client.send(window_update(3, 1000))
        assert client.status(3) == (4, "the call's deadline is over")


# --- slow clients --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [b"", PREFACE[:10], PREFACE, PREFACE + frame(SETTINGS, 0, 0, bytes(6))[:-1],
     PREFACE + frame(SETTINGS, 0, 0, b"") + frame(HEADERS, END_HEADERS, 1, BLOCK)[:-1],
     PREFACE + frame(SETTINGS, 0, 0, b"") + frame(HEADERS, 0, 1, BLOCK)],
    ids=["nothing", "half a preface", "no SETTINGS", "half SETTINGS", "half a frame",
         "half a header block"],
)  # fmt: skip
def test_what_is_begun_must_end(monkeypatch: pytest.MonkeyPatch, raw: bytes) -> None:
    monkeypatch.setattr(listener, "BEGUN_LIMIT_S", 0.5)
    with served() as (_, port), WireClient(port, greets=False) as client:
        client.send(raw)
        assert client.is_closed_in(4)


def test_a_request_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call, "REQUEST_WHOLE_LIMIT_S", 0.3)
    with served() as (_, port), WireClient(port) as client:
        client.headers(1, fields(GET_BOOK))
        client.send(frame(DATA, 0, 1, EMPTY[:3]))
        assert client.status(1) == (4, "the request did not come")


def test_a_client_that_is_silent_is_asked_and_then_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "KEEPALIVE_S", 0.3)
    monkeypatch.setattr(listener, "KEEPALIVE_LIMIT_S", 0.7)
    with served() as (_, port), WireClient(port) as client, WireClient(port) as alive:
        client.call(1)
        client.read_until(PING)
        for _ in range(3):
            asked = alive.read_until(PING, 0)
            alive.send(frame(PING, 1, 0, asked.payload))
        assert client.is_closed_in(4)
        assert alive.outcome(0) == ("lives", 0)


def test_a_connection_without_a_call_is_told_to_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "IDLE_LIMIT_S", 0.4)
    with served() as (_, port), WireClient(port) as client:
        client.call(1, GET_BOOK)
        client.status(1)
        assert client.read_until(GOAWAY).payload[4:8] == bytes(4)
        assert client.is_closed_in(3)


# --- bounds --------------------------------------------------------------------------------------


def test_what_waits_for_a_client_is_bounded() -> None:
    """Of what one connection can make us keep, every part has a limit that is a named constant."""
    assert http2.HEADER_BLOCK_BYTES_MAX <= 1 << 15
    assert http2.CLOSED_STREAMS_MAX <= 1 << 10
    assert link.READ_BYTES + D.FRAME_HEADER_BYTES + D.FRAME_BYTES_MAX <= 1 << 17
    assert D.BACKLOG_BYTES + D.REST_BYTES <= 1 << 17
