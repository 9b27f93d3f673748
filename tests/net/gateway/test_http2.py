"""HTTP/2 as RFC 9113 wants it of a server, clause by clause. net/gateway/README.md has the list."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from bench.clients.h2 import PREFACE, frame
from tests.net.gateway.rig import Engine, ladder
from tests.net.gateway.wire_client import (
    ACK,
    COMPRESSION_ERROR,
    CONTINUATION,
    DATA,
    EMPTY,
    END_HEADERS,
    END_STREAM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    GET_BOOK,
    GOAWAY,
    HEADERS,
    NO_ERROR,
    PADDED,
    PING,
    PRIORITY,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    REFUSED_STREAM,
    RST_STREAM,
    SETTINGS,
    STREAM_CLOSED,
    SUMMARY,
    WINDOW_UPDATE,
    WireClient,
    fields,
    served,
    setting,
    window_update,
)

Gateway = tuple[Engine, int]
Act = Callable[[WireClient], None]


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with served() as running:
        yield running


def says(raw: bytes) -> Act:
    return lambda client: client.send(raw)


def asks(headers: list[tuple[str, str]], flags: int = END_STREAM) -> Act:
    return lambda client: client.headers(1, headers, flags)


def after_call(raw: bytes, *, is_over: bool = False) -> Act:
    """The bytes behind a call that is open (a stream of books), or over."""

    def act(client: WireClient) -> None:
        client.call(1, GET_BOOK if is_over else SUMMARY)
        client.read_until(HEADERS, 1, END_STREAM if is_over else 0)
        client.send(raw)

    return act


def half_open(raw: bytes) -> Act:
    """The bytes behind a call whose request goes on."""

    def act(client: WireClient) -> None:
        client.headers(1, fields())
        client.send(raw)

    return act


def without(name: str) -> list[tuple[str, str]]:
    return [each for each in fields() if each[0] != name]


BLOCK = WireClient.block(WireClient.__new__(WireClient), fields())
RAISES: list[tuple[str, Act, set[int]]] = [
    # section, what is done, the codes of the connection's error that are right
    ("3.4 no SETTINGS first", lambda c: None, set()),  # by itself below
    ("4.2 a frame beyond the size", says(frame(DATA, 0, 1, bytes(16_385))), {FRAME_SIZE_ERROR}),
    ("4.3 no HPACK", says(frame(HEADERS, 5, 1, b"\xff\xff\xff\xff\xff\xff")), {COMPRESSION_ERROR}),
    ("4.3 interrupted", says(frame(HEADERS, 0, 1, BLOCK) + frame(PRIORITY, 0, 1, bytes(5))),
     {PROTOCOL_ERROR}),
    ("4.3 interrupted by a window", says(frame(HEADERS, 0, 1, BLOCK) + window_update(0, 1)),
     {PROTOCOL_ERROR}),
    ("4.3 interrupted by a ping", says(frame(HEADERS, 0, 1, BLOCK) + frame(PING, 0, 0, bytes(8))),
     {PROTOCOL_ERROR}),
    ("4.3 another stream's", says(frame(HEADERS, 0, 1, BLOCK) + frame(CONTINUATION, 4, 3, b"")),
     {PROTOCOL_ERROR}),
    ("5.1 idle: DATA", says(frame(DATA, 0, 1, b"x")), {PROTOCOL_ERROR, STREAM_CLOSED}),
    ("5.1 idle: RST_STREAM", says(frame(RST_STREAM, 0, 1, bytes(4))), {PROTOCOL_ERROR}),
    ("5.1 idle: WINDOW_UPDATE", says(window_update(1, 1)), {PROTOCOL_ERROR}),
    ("5.1 idle: CONTINUATION", says(frame(CONTINUATION, 4, 1, b"")), {PROTOCOL_ERROR}),
    ("5.1.1 even stream", says(frame(HEADERS, 5, 2, BLOCK)), {PROTOCOL_ERROR}),
    ("5.1.1 lower stream", says(frame(HEADERS, 5, 5, BLOCK) + frame(HEADERS, 5, 3, BLOCK)),
     {PROTOCOL_ERROR, STREAM_CLOSED}),
    ("6.1 DATA of no stream", says(frame(DATA, 0, 0, b"x")), {PROTOCOL_ERROR}),
    ("6.1 padding", half_open(frame(DATA, PADDED, 1, b"\x05xx")), {PROTOCOL_ERROR}),
    ("6.2 HEADERS of no stream", says(frame(HEADERS, 5, 0, BLOCK)), {PROTOCOL_ERROR}),
    ("6.2 padding", says(frame(HEADERS, 5 | PADDED, 1, b"\xff" + BLOCK)), {PROTOCOL_ERROR}),
    ("6.3 PRIORITY of no stream", says(frame(PRIORITY, 0, 0, bytes(5))), {PROTOCOL_ERROR}),
    ("6.4 RST_STREAM of no stream", says(frame(RST_STREAM, 0, 0, bytes(4))), {PROTOCOL_ERROR}),
    ("6.4 size", half_open(frame(RST_STREAM, 0, 1, bytes(3))), {FRAME_SIZE_ERROR}),
    ("6.5 ACK with more", says(frame(SETTINGS, ACK, 0, bytes(6))), {FRAME_SIZE_ERROR}),
    ("6.5 SETTINGS of a stream", says(frame(SETTINGS, 0, 1, b"")), {PROTOCOL_ERROR}),
    ("6.5 size", says(frame(SETTINGS, 0, 0, bytes(3))), {FRAME_SIZE_ERROR}),
    ("6.5.2 push", says(frame(SETTINGS, 0, 0, setting(2, 2))), {PROTOCOL_ERROR}),
    ("6.5.2 window", says(frame(SETTINGS, 0, 0, setting(4, 1 << 31))), {FLOW_CONTROL_ERROR}),
    ("6.5.2 frame size", says(frame(SETTINGS, 0, 0, setting(5, 16_383))), {PROTOCOL_ERROR}),
    ("6.5.2 frame size", says(frame(SETTINGS, 0, 0, setting(5, 1 << 24))), {PROTOCOL_ERROR}),
    ("6.6 PUSH_PROMISE", half_open(frame(PUSH_PROMISE, 4, 1, bytes(4) + BLOCK)), {PROTOCOL_ERROR}),
    ("6.7 PING of a stream", says(frame(PING, 0, 1, bytes(8))), {PROTOCOL_ERROR}),
    ("6.7 size", says(frame(PING, 0, 0, bytes(6))), {FRAME_SIZE_ERROR}),
    ("6.8 GOAWAY of a stream", says(frame(GOAWAY, 0, 1, bytes(8))), {PROTOCOL_ERROR}),
    ("6.9 size", says(frame(WINDOW_UPDATE, 0, 0, bytes(3))), {FRAME_SIZE_ERROR}),
    ("6.9 no increment", says(window_update(0, 0)), {PROTOCOL_ERROR}),
    ("6.9.1 overflow", says(window_update(0, 2**31 - 1)), {FLOW_CONTROL_ERROR}),
    ("6.9.2 a stream's overflow by SETTINGS",
     after_call(window_update(1, 2**31 - 1 - 65_535) + frame(SETTINGS, 0, 0, setting(4, 1 << 20))),
     {FLOW_CONTROL_ERROR}),
    ("6.10 CONTINUATION of no stream", says(frame(CONTINUATION, 4, 0, b"")), {PROTOCOL_ERROR}),
    ("6.10 after the end", half_open(frame(CONTINUATION, 4, 1, b"")), {PROTOCOL_ERROR}),
]  # fmt: skip


@pytest.mark.parametrize(("act", "codes"), [row[1:] for row in RAISES[1:]],
                         ids=[row[0] for row in RAISES[1:]])  # fmt: skip
def test_a_connection_s_error(gateway: Gateway, act: Act, codes: set[int]) -> None:
    with WireClient(gateway[1]) as client:
        act(client)
        kind, code = client.outcome(0)
        assert kind == "goaway" and code in codes, (kind, code)
        assert client.is_closed_in(3)


STREAM_ERRORS: list[tuple[str, Act, set[int]]] = [
    ("5.1 half-closed: DATA", after_call(frame(DATA, 0, 1, b"x")), {STREAM_CLOSED}),
    ("5.1 half-closed: HEADERS", after_call(frame(HEADERS, 5, 1, BLOCK)), {STREAM_CLOSED}),
    ("6.3 size", half_open(frame(PRIORITY, 0, 1, bytes(4))), {FRAME_SIZE_ERROR}),
    ("6.9 no increment", after_call(window_update(1, 0)), {PROTOCOL_ERROR}),
    ("6.9.1 overflow", after_call(window_update(1, 2**31 - 1)), {FLOW_CONTROL_ERROR}),
    ("8.2 capitals", asks([*fields(), ("X-Large", "1")]), {PROTOCOL_ERROR}),
    ("8.2.1 a value's characters", asks([*fields(), ("x", "a\nb")]), {PROTOCOL_ERROR}),
    ("8.2.2 connection", asks([*fields(), ("connection", "close")]), {PROTOCOL_ERROR}),
    ("8.2.2 te", asks([*without("te"), ("te", "gzip")]), {PROTOCOL_ERROR}),
    ("8.3 unknown", asks([(":protocol", "x"), *fields()]), {PROTOCOL_ERROR}),
    ("8.3 a response's", asks([(":status", "200"), *fields()]), {PROTOCOL_ERROR}),
    ("8.3 behind others", asks([*without(":path"), (":path", SUMMARY)]), {PROTOCOL_ERROR}),
    ("8.3.1 twice", asks([(":path", SUMMARY), *fields()]), {PROTOCOL_ERROR}),
    ("8.3.1 no method", asks(without(":method")), {PROTOCOL_ERROR}),
    ("8.3.1 no scheme", asks(without(":scheme")), {PROTOCOL_ERROR}),
    ("8.3.1 no path", asks(without(":path")), {PROTOCOL_ERROR}),
]


@pytest.mark.parametrize(("act", "codes"), [row[1:] for row in STREAM_ERRORS],
                         ids=[row[0] for row in STREAM_ERRORS])  # fmt: skip
def test_a_stream_s_error(gateway: Gateway, act: Act, codes: set[int]) -> None:
    """Or the connection's, which a server may make of it (section 5.4.2)."""
    with WireClient(gateway[1]) as client:
        act(client)
        kind, code = client.outcome(1)
        assert kind in ("reset", "goaway") and code in codes, (kind, code)
        if kind == "reset":
            client.call(9, GET_BOOK)
            assert client.status(9) == (0, ""), "others of the connection are served"


BEARABLE: list[tuple[str, Act]] = [
    ("4.1 unknown kind", says(frame(0x77, 0xFF, 0, b"what"))),
    ("4.1 unknown flags", says(frame(PING, 0xFE, 0, bytes(8)))),
    ("5.1 closed: WINDOW_UPDATE", after_call(window_update(1, 9), is_over=True)),
    ("5.1 closed: PRIORITY", after_call(frame(PRIORITY, 0, 1, bytes(5)), is_over=True)),
    ("5.1 closed: RST_STREAM", after_call(frame(RST_STREAM, 0, 1, bytes(4)), is_over=True)),
    ("5.1 idle: PRIORITY", says(frame(PRIORITY, 0, 7, bytes(5)))),
    ("5.5 unknown setting", says(frame(SETTINGS, 0, 0, setting(0x99, 7)))),
    ("6.5 empty SETTINGS", says(frame(SETTINGS, 0, 0, b""))),
    ("6.8 reserved bit", says(frame(PING, 0, 0, bytes(8)))),
]


@pytest.mark.parametrize("act", [row[1] for row in BEARABLE], ids=[row[0] for row in BEARABLE])
def test_what_is_allowed_is_borne(gateway: Gateway, act: Act) -> None:
    with WireClient(gateway[1]) as client:
        act(client)
        assert client.outcome(0) == ("lives", 0)
        client.call(9, GET_BOOK)
        assert client.status(9) == (0, "")


@pytest.mark.parametrize(
    "raw",
    [b"GET / HTTP/1.1\r\n\r\n" + bytes(20), PREFACE[:-1] + b"x" + frame(SETTINGS, 0, 0, b""),
     PREFACE + frame(PING, 0, 0, bytes(8)), PREFACE + frame(SETTINGS, ACK, 0, b""),
     PREFACE + frame(HEADERS, 5, 1, BLOCK)],
    ids=["another protocol", "a wrong preface", "a ping first", "an ACK first", "a call first"],
)  # fmt: skip
def test_3_4_the_preface_and_settings_come_first(gateway: Gateway, raw: bytes) -> None:
    with WireClient(gateway[1], greets=False) as client:
        client.send(raw)
        assert client.outcome() in (("goaway", PROTOCOL_ERROR), ("closed", 0))
        assert client.is_closed_in(3)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 24, 30])
def test_a_connection_in_pieces(gateway: Gateway, size: int) -> None:
    """However the bytes are split, they mean the same."""
    with WireClient(gateway[1], greets=False) as client:
        raw = PREFACE + frame(SETTINGS, 0, 0, b"") + window_update(0, 5)
        raw += frame(HEADERS, 0, 1, BLOCK[:9]) + frame(CONTINUATION, END_HEADERS, 1, BLOCK[9:])
        raw += frame(DATA, END_STREAM, 1, EMPTY) + frame(PING, 0, 0, b"12345678")
        client.link.setsockopt(6, 1, 1)
        for at in range(0, len(raw), size):
            client.send(raw[at : at + size])
        client.read_until(HEADERS, 1)
        client.read_until(DATA, 1)


def test_6_5_3_settings_are_acknowledged_and_ours_come_first(gateway: Gateway) -> None:
    with WireClient(gateway[1]) as client:
        first = client.read()
        assert first is not None and (first.kind, first.flags) == (SETTINGS, 0)
        assert client.read_until(SETTINGS, 0, ACK).payload == b""


def test_6_7_a_ping_is_answered_with_its_own_bytes(gateway: Gateway) -> None:
    with WireClient(gateway[1]) as client:
        client.send(frame(PING, 0, 0, b"01234567"))
        assert client.read_until(PING).payload == b"01234567"


def test_6_9_2_the_initial_window_is_the_streams_and_may_become_negative(gateway: Gateway) -> None:
    engine = gateway[0]
    with WireClient(gateway[1], settings=setting(4, 0)) as client:
        client.call(1)
        client.read_until(HEADERS, 1)
        assert client.outcome(0) == ("lives", 0) and not any(f.kind == DATA for f in client.frames)
        client.send(frame(SETTINGS, 0, 0, setting(4, 40)))
        assert len(client.read_until(DATA, 1).payload) == 40
        client.send(frame(SETTINGS, 0, 0, setting(4, 10)) + window_update(1, 29))
        engine.publish(*ladder(600))
        assert client.outcome(0) == ("lives", 0)
        assert sum(f.kind == DATA for f in client.frames) == 1, "the window is -1"
        client.send(window_update(1, 6))
        assert len(client.read_until(DATA, 1).payload) == 5


def test_6_9_1_a_window_may_be_opened_before_the_request_is_whole(gateway: Gateway) -> None:
    with WireClient(gateway[1], settings=setting(4, 0)) as client:
        client.headers(1, fields())
        client.send(window_update(1, 60) + frame(SETTINGS, 0, 0, setting(4, 7)))
        client.send(frame(DATA, END_STREAM, 1, EMPTY))
        assert len(client.read_until(DATA, 1).payload) == 67


def test_6_9_1_no_byte_beyond_the_windows(gateway: Gateway) -> None:
    """Books for a while: a connection's first 65,535 bytes, and no more."""
    engine = gateway[0]
    with WireClient(gateway[1], settings=setting(4, 1 << 30)) as client:
        client.call(1)
        client.read_until(DATA, 1)
        got = sum(len(f.payload) for f in client.frames if f.kind == DATA)
        step = 0
        while got < 65_535:
            engine.publish(*ladder(700 + step))
            got += len(client.read_until(DATA, 1).payload)
            step += 1
        assert got == 65_535
        engine.publish(*ladder(9_000))
        assert client.outcome(0) == ("lives", 0)
        assert sum(len(f.payload) for f in client.frames if f.kind == DATA) == 65_535


def test_5_1_2_more_streams_than_allowed() -> None:
    with (
        served(subscribers_max=1, streams_per_client_max=300) as (_, port),
        WireClient(port) as client,
    ):
        for number in range(400):
            client.headers(2 * number + 1, fields())
        kind, code = client.outcome(None)
        assert kind == "goaway" and code in (PROTOCOL_ERROR, REFUSED_STREAM)


def test_6_8_goaway_of_the_client_ends_it_when_its_calls_have(gateway: Gateway) -> None:
    with WireClient(gateway[1]) as client:
        client.call(1, GET_BOOK)
        client.send(frame(GOAWAY, 0, 0, bytes(8)))
        assert client.status(1) == (0, "")
        assert client.is_closed_in(3)


def test_6_8_goaway_of_the_server_in_two_steps() -> None:
    with served() as (_, port):
        client = WireClient(port)
        client.call(1)
        client.read_until(DATA, 1)
        ended = client
    first = ended.read_until(GOAWAY)
    assert first.payload == (2**31 - 1).to_bytes(4, "big") + NO_ERROR.to_bytes(4, "big")
    second = ended.read_until(GOAWAY)
    assert second.payload == (1).to_bytes(4, "big") + NO_ERROR.to_bytes(4, "big")
    assert ended.status(1) == (14, "the gateway is shutting down")
    assert ended.is_closed_in(3)
    ended.link.close()
