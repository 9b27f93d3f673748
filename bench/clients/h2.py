"""Subscribers that cost next to nothing: HTTP/2 spoken just well enough to subscribe and to count.

A gRPC client in Python costs as much as the server that feeds it, so with one the server would
never be the slower side. Here a connection is a plain socket: preface, settings, one HEADERS frame
a stream (literal fields, never indexed: RFC 7541, section 6.2.2), then DATA frames are counted by
their headers in a compiled loop and the window is given back. Pings and settings are answered;
everything else is skipped (RFC 9113, section 4.1 for the frames).
Runs on: a worker process of the harness, off the server's CPU.
"""

from __future__ import annotations

import socket

import numpy as np

from bench.rig.kernels import bench_kernel
from engine.compiling.atomics import Bytes, Words, int64

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
(DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE) = (0, 1, 3, 4, 6, 7, 8)
END_STREAM, END_HEADERS, ACK = 1, 4, 1
FRAME_HEADER_BYTES = 9
WINDOW_BYTES = 2**31 - 1
"""The largest window there is: streams need it once; a connection's is filled up as it is used."""
INITIAL_WINDOW_BYTES = 65_535
REFILL_BYTES = 1 << 20
BUFFER_BYTES = 1 << 18
INITIAL_WINDOW_SETTING = 4
EMPTY_MESSAGE = b"\0\0\0\0\0"
"""A gRPC message of no bytes: not compressed, length zero."""

(COUNT_AT, BYTES_AT, REST_AT, CONTROL_AT, ENDED_AT, STATE_WORDS) = range(6)


@bench_kernel("int64(uint8[::1], int64, int64[::1], int64[::1])")
def count_frames(buffer: Bytes, end: int, state: Words, per_stream: Words) -> int:
    """Walk the frames in buffer[:end]; the start of the first one that is not all there.

    state: DATA frames that end a gRPC message are not told apart from others: each of our messages
    fits into one frame. CONTROL_AT is set to the offset of a SETTINGS or PING frame that wants an
    answer, and the walk stops there.
    """
    at = int64(0)
    state[CONTROL_AT] = -1
    while end - at >= FRAME_HEADER_BYTES:
        size = (int64(buffer[at]) << 16) | (int64(buffer[at + 1]) << 8) | int64(buffer[at + 2])
        if end - at < FRAME_HEADER_BYTES + size:
            break
        kind = int64(buffer[at + 3])
        flags = int64(buffer[at + 4])
        if kind == DATA and size > 0:
            stream = (int64(buffer[at + 7]) << 8) | int64(buffer[at + 8])
            state[COUNT_AT] += 1
            state[BYTES_AT] += size
            index = stream >> 1
            if index < len(per_stream):
                per_stream[index] += 1
        elif (kind == SETTINGS or kind == PING) and flags & ACK == 0:
            state[CONTROL_AT] = at
            return at
        elif kind == RST_STREAM or kind == GOAWAY or (kind == HEADERS and flags & END_STREAM):
            state[ENDED_AT] += 1
        at += FRAME_HEADER_BYTES + size
    return at


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One HTTP/2 frame."""
    head = len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big")
    return head + payload


def _field(name: str, value: str) -> bytes:
    """A literal header field, not indexed, without Huffman coding; both parts under 127 bytes."""
    assert len(name) < 127 and len(value) < 127
    return b"\0" + bytes((len(name),)) + name.encode() + bytes((len(value),)) + value.encode()


def headers(authority: str, method: str) -> bytes:
    """The header block of a gRPC call."""
    fields = (
        (":method", "POST"), (":scheme", "http"), (":path", method), (":authority", authority),
        ("content-type", "application/grpc"), ("te", "trailers"),
    )  # fmt: skip
    return b"".join(_field(name, value) for name, value in fields)


class Connection:
    """One socket with `streams` calls of one method."""

    def __init__(self, target: str, method: str, streams: int) -> None:
        host, _, port = target.rpartition(":")
        self.link = socket.create_connection((host, int(port)), timeout=10)
        self.link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        window = INITIAL_WINDOW_SETTING.to_bytes(2, "big") + WINDOW_BYTES.to_bytes(4, "big")
        out = [PREFACE, frame(SETTINGS, 0, 0, window)]
        out.append(frame(WINDOW_UPDATE, 0, 0, _increment(WINDOW_BYTES - INITIAL_WINDOW_BYTES)))
        block = headers(target, method)
        for number in range(streams):
            stream = 2 * number + 1
            out.append(frame(HEADERS, END_HEADERS, stream, block))
            out.append(frame(DATA, END_STREAM, stream, EMPTY_MESSAGE))
        self.link.sendall(b"".join(out))
        self.link.setblocking(False)
        self.state: Words = np.zeros(STATE_WORDS, np.int64)
        self.per_stream: Words = np.zeros(streams, np.int64)
        self._buffer: Bytes = np.zeros(BUFFER_BYTES, np.uint8)
        self._view = memoryview(self._buffer)  # type: ignore[arg-type]
        self._end = 0
        self._refilled = 0

    @property
    def received(self) -> int:
        return int(self.state[COUNT_AT])

    @property
    def ended(self) -> int:
        """Streams that the server has ended, or the connection itself."""
        return int(self.state[ENDED_AT])

    def on_readable(self) -> None:
        """Take in what is there, count, answer."""
        try:
            got = self.link.recv_into(self._view[self._end :])
        except BlockingIOError:
            return
        if got == 0:
            self.state[ENDED_AT] += 1
            return
        self._end += got
        start = 0
        while True:
            rest = self._buffer[start : self._end]
            start += count_frames(rest, len(rest), self.state, self.per_stream)
            if self.state[CONTROL_AT] < 0:
                break
            start += self._answer(start)
        left = self._end - start
        self._buffer[:left] = self._buffer[start : self._end].copy()
        self._end = left
        if int(self.state[BYTES_AT]) - self._refilled >= REFILL_BYTES:
            self._refill()

    def _answer(self, at: int) -> int:
        """Answer the SETTINGS or PING frame at an offset; its whole length."""
        raw = self._buffer[at : self._end].tobytes()
        size = int.from_bytes(raw[:3], "big")
        payload = raw[FRAME_HEADER_BYTES : FRAME_HEADER_BYTES + size]
        self.link.sendall(frame(raw[3], ACK, 0, payload if raw[3] == PING else b""))
        return FRAME_HEADER_BYTES + size

    def _refill(self) -> None:
        """Give the connection's window back; the streams' own lasts for ten million messages."""
        used = int(self.state[BYTES_AT]) - self._refilled
        self._refilled += used
        self.link.sendall(frame(WINDOW_UPDATE, 0, 0, _increment(used)))

    def close(self) -> None:
        self.link.close()


def _increment(size: int) -> bytes:
    return size.to_bytes(4, "big")
