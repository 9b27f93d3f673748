"""A client that says what it is told to, frame by frame, right or wrong."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import hpack

from bench.clients.h2 import PREFACE, frame
from tests.net.gateway.rig import PATIENCE_S, Engine, gateway_thread, ladder

(DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE,
 CONTINUATION) = range(10)  # fmt: skip
END_STREAM, ACK, END_HEADERS, PADDED = 1, 1, 4, 8
SUMMARY = "/orderbook.OrderbookAggregator/BookSummary"
GET_BOOK = "/pollux.v1.MarketDataService/GetBook"
WATCH = "/grpc.health.v1.Health/Watch"
EMPTY = bytes(5)
"""A gRPC message of no bytes."""

(NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED,
 FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR,
 ENHANCE_YOUR_CALM) = range(12)  # fmt: skip


@dataclass
class Frame:
    """One frame as it was received."""

    kind: int
    flags: int
    stream: int
    payload: bytes
    fields: dict[str, str]
    """Of HEADERS."""


def setting(code: int, value: int) -> bytes:
    return code.to_bytes(2, "big") + value.to_bytes(4, "big")


def window_update(stream: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, increment.to_bytes(4, "big"))


def fields(path: str = SUMMARY, **more: str) -> list[tuple[str, str]]:
    """A gRPC call's headers; `_` in a name stands for `-`."""
    first = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "x",
             "content-type": "application/grpc", "te": "trailers"}  # fmt: skip
    return [*first.items(), *((name.replace("_", "-"), value) for name, value in more.items())]


class WireClient:
    """A connection; with `greets` it has said hello."""

    def __init__(self, port: int, *, greets: bool = True, settings: bytes = b"") -> None:
        self.link = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        self._decoder = hpack.Decoder()
        self._raw = b""
        self.frames: list[Frame] = []
        if greets:
            self.send(PREFACE + frame(SETTINGS, 0, 0, settings))

    def send(self, raw: bytes) -> None:
        with contextlib.suppress(ConnectionError, BrokenPipeError):
            self.link.sendall(raw)

    def block(self, headers: Sequence[tuple[str, str]]) -> bytes:
        """A header block; nothing is indexed, so blocks may be left out."""
        raw = b""
        for name, value in headers:
            n, v = name.encode(), value.encode("latin-1")
            assert len(n) < 127 and len(v) < 127
            raw += b"\0" + bytes((len(n),)) + n + bytes((len(v),)) + v
        return raw

    def headers(self, stream: int, headers: Sequence[tuple[str, str]], flags: int = 0) -> None:
        self.send(frame(HEADERS, END_HEADERS | flags, stream, self.block(headers)))

    def call(self, stream: int, path: str = SUMMARY, message: bytes = EMPTY, **more: str) -> None:
        """A whole request."""
        self.headers(stream, fields(path, **more))
        self.send(frame(DATA, END_STREAM, stream, message))

    def read(self) -> Frame | None:
        """The next frame; None at the end of the connection. TimeoutError: there is none."""
        while True:
            size = int.from_bytes(self._raw[:3], "big")
            if len(self._raw) >= 9 and len(self._raw) >= 9 + size:
                head, self._raw = self._raw[:9], self._raw[9:]
                payload, self._raw = self._raw[:size], self._raw[size:]
                fields: Any = self._decoder.decode(payload) if head[3] == HEADERS else ()
                stream = int.from_bytes(head[5:9], "big")
                found = Frame(head[3], head[4], stream, payload, dict(fields))
                self.frames.append(found)
                return found
            try:
                got = self.link.recv(1 << 16)
            except ConnectionError:
                got = b""
            if not got:
                return None
            self._raw += got

    def read_until(self, kind: int, stream: int | None = None, flags: int = 0) -> Frame:
        """The next frame of a kind, of a stream, with these flags."""
        while (found := self.read()) is not None:
            is_wanted = found.kind == kind and stream in (None, found.stream)
            if is_wanted and found.flags & flags == flags:
                return found
        raise AssertionError(f"the end, without a frame of kind {kind}: {self.frames[-3:]}")

    def status(self, stream: int) -> tuple[int, str]:
        """The status that a call ends with."""
        got = self.read_until(HEADERS, stream, END_STREAM).fields
        return int(got.get("grpc-status", -1)), got.get("grpc-message", got.get(":status", ""))

    def outcome(self, stream: int | None = None) -> tuple[str, int]:
        """How the server took it: ("goaway", code), ("reset", code), ("closed", 0) or ("lives", 0).

        It lives where it answers a ping that comes behind.
        """
        self.send(frame(PING, 0, 0, b"lives???"))
        while (found := self.read()) is not None:
            if found.kind == GOAWAY:
                return "goaway", int.from_bytes(found.payload[4:8], "big")
            if found.kind == RST_STREAM and stream in (None, found.stream):
                return "reset", int.from_bytes(found.payload[:4], "big")
            if found.kind == PING and found.flags & ACK and found.payload == b"lives???":
                return "lives", 0
        return "closed", 0

    def is_closed_in(self, seconds: float) -> bool:
        """Whether the server closes the connection."""
        end_s = time.monotonic() + seconds
        self.link.settimeout(0.1)
        while time.monotonic() < end_s:
            with contextlib.suppress(TimeoutError):
                if self.read() is None:
                    return True
        return False

    def __enter__(self) -> WireClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.link.close()


@contextlib.contextmanager
def served(**options: Any) -> Iterator[tuple[Engine, int]]:
    """A gateway with a book, and its port; at the end it serves an honest client as ever."""
    engine = Engine()
    engine.publish(*ladder(500))
    try:
        given = {"heartbeat_stale_after_ms": 60_000, **options}
        with gateway_thread(engine, **given) as gateway:
            yield engine, gateway.port
            with WireClient(gateway.port) as honest:
                honest.call(1, GET_BOOK)
                assert honest.status(1) == (0, "")
    finally:
        engine.close()
