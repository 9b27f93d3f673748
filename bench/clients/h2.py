"""Subscribers that cost next to nothing: HTTP/2 spoken just well enough to subscribe and to read.

A gRPC client in Python costs as much as the server that feeds it, so with one the server would
never be the slower side. Here a connection is a plain socket: preface, settings, one HEADERS frame
a stream (literal fields, never indexed: RFC 7541, section 6.2.2). One compiled loop then waits,
receives and counts messages on all connections (RFC 9113, section 4.1 for the frames). Where it is
given a log, it also reads the event that the best bid and the best ask of a message stand for
(bench.load.two_venue_server). Pings and settings are answered and the window is given back by
Python, now and then; everything else is skipped.
Runs on: a worker process of the harness, off the server's CPU.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bench.rig.kernels import bench_kernel
from engine.compiling.atomics import Bytes, Words, int64, view_bytes
from engine.compiling.c_calls import (
    EPOLL_EVENT_BYTES,
    MSG_DONTWAIT,
    epoll_descriptor,
    epoll_wait,
    recv,
)
from engine.compiling.clock import CLOCK_REALTIME, clock_ns
from engine.compiling.jit import inner

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
(DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE) = (0, 1, 3, 4, 6, 7, 8)
END_STREAM, END_HEADERS, ACK = 1, 4, 1
FRAME_HEADER_BYTES = 9
MESSAGE_HEADER_BYTES = 5
"""Of a gRPC message: whether it is compressed, and its size."""
WINDOW_BYTES = 2**31 - 1
"""The largest window there is: streams need it once; a connection's is filled up as it is used."""
INITIAL_WINDOW_BYTES = 65_535
REFILL_BYTES = 1 << 20
BUFFER_BYTES = 1 << 15
"""Of a connection: any frame fits, for none is larger than 16,384 bytes unless a peer allows it."""
INITIAL_WINDOW_SETTING = 4
EMPTY_MESSAGE = b"\0\0\0\0\0"
"""A gRPC message of no bytes: not compressed, length zero."""
EVENTS_MAX = 64
"""Connections that one wait tells of; the others' turn comes next."""

(FD, END, BYTES, REFILLED, FIRST_STREAM, STREAMS, ENDED, CONTROL, CONNECTION_WORDS) = range(9)
"""Of a connection: CONTROL is where a frame begins that wants an answer, or -1."""
(MESSAGES, LEFT, HEAD_BYTES, HEAD_SIZE, STREAM_WORDS) = range(5)
"""Of a stream: messages begun; bytes to come of the one under way, and of its header."""
(LOGGED, SPLIT, STATE_WORDS) = range(3)
"""Rows of the log; messages that lay in several frames, whose events were not read."""
(SEEN_NS, BID_EVENT, ASK_EVENT, LOG_WORDS) = range(4)
NO_EVENT = -1
TIMED_OUT = -1

Rows = NDArray[np.int64]


@inner
def _event(raw: Bytes, at: int) -> int:
    """The event that the double at an offset stands for, which is 1 + event * 1e-8."""
    bits = int64(0)
    for byte in range(8):
        bits |= int64(raw[at + byte]) << (8 * byte)
    if bits >> 52 != 0x3FF:
        return NO_EVENT
    return int64((bits & ((1 << 52) - 1)) * (1e8 / (1 << 52)) + 0.5)


@inner
def _amount_at(raw: Bytes, at: int, end: int) -> int:
    """Where the third field, a double, of the `Level` in raw[at:end] begins; 0 if it has none."""
    while at + 1 < end:
        tag = int64(raw[at])
        if tag == (3 << 3 | 1):
            return at + 1 if at + 9 <= end else int64(0)
        at += 9 if tag & 7 == 1 else 2 + int64(raw[at + 1])
    return int64(0)


@inner
def _read_events(raw: Bytes, at: int, end: int, row: Words) -> None:
    """The events of the best bid and the best ask of the `Summary` in raw[at:end]."""
    row[BID_EVENT] = NO_EVENT
    row[ASK_EVENT] = NO_EVENT
    has_bid = False
    while at + 1 < end:
        tag = int64(raw[at])
        if tag & 7 == 1:
            at += 9
            continue
        size = int64(raw[at + 1])
        is_ask = tag == (3 << 3 | 2)
        if is_ask or (tag == (2 << 3 | 2) and not has_bid):
            amount_at = _amount_at(raw, at + 2, min(at + 2 + size, end))
            if amount_at > 0:
                row[ASK_EVENT if is_ask else BID_EVENT] = _event(raw, amount_at)
            has_bid = True
        if is_ask:
            return
        at += 2 + size


@inner
def _take_data(
    raw: Bytes, at: int, end: int, now_ns: int, stream: Words, log: Rows, state: Words
) -> None:
    """The messages of a DATA frame's raw[at:end], whole ones and parts."""
    while at < end:
        if stream[LEFT] > 0:
            part = min(stream[LEFT], end - at)
            stream[LEFT] -= part
            at += part
            continue
        stream[HEAD_SIZE] = (stream[HEAD_SIZE] << 8) | int64(raw[at])
        stream[HEAD_BYTES] += 1
        at += 1
        if stream[HEAD_BYTES] < MESSAGE_HEADER_BYTES:
            continue
        size = stream[HEAD_SIZE] & 0xFFFFFFFF
        stream[HEAD_SIZE] = 0
        stream[HEAD_BYTES] = 0
        stream[LEFT] = size
        stream[MESSAGES] += 1
        if size > end - at:
            state[SPLIT] += 1
        elif state[LOGGED] < len(log):
            row = log[state[LOGGED]]
            row[SEEN_NS] = now_ns
            _read_events(raw, at, at + size, row)
            state[LOGGED] += 1


@inner
def _walk(
    raw: Bytes, now_ns: int, connection: Words, streams: Rows, log: Rows, state: Words
) -> int:
    """The frames in raw[:END]; the start of the first that is not all there or wants an answer."""
    at = int64(0)
    end = connection[END]
    connection[CONTROL] = -1
    while end - at >= FRAME_HEADER_BYTES:
        size = (int64(raw[at]) << 16) | (int64(raw[at + 1]) << 8) | int64(raw[at + 2])
        if end - at < FRAME_HEADER_BYTES + size:
            break
        kind = int64(raw[at + 3])
        flags = int64(raw[at + 4])
        if kind == DATA and size > 0:
            number = ((int64(raw[at + 7]) << 8) | int64(raw[at + 8])) >> 1
            connection[BYTES] += size
            if number < connection[STREAMS]:
                stream = streams[connection[FIRST_STREAM] + number]
                start = at + FRAME_HEADER_BYTES
                _take_data(raw, start, start + size, now_ns, stream, log, state)
        elif (kind == SETTINGS or kind == PING) and flags & ACK == 0:
            connection[CONTROL] = at
            return at
        elif kind == RST_STREAM or kind == GOAWAY or (kind == HEADERS and flags & END_STREAM):
            connection[ENDED] += 1
        at += FRAME_HEADER_BYTES + size
    return at


@inner
def _take_in(
    index: int, buffer: Bytes, connections: Rows, streams: Rows, log: Rows, state: Words
) -> bool:
    """Receive once on a connection; whether Python has to do something for it."""
    connection = connections[index]
    base = buffer.ctypes.data + index * BUFFER_BYTES
    if connection[CONTROL] < 0:
        room = BUFFER_BYTES - connection[END]
        got = recv(connection[FD], base + connection[END], room, MSG_DONTWAIT)
        if got < 0:
            return False
        if got == 0:
            connection[ENDED] += 1
            return True
        connection[END] += got
    raw = view_bytes(base, BUFFER_BYTES)
    start = _walk(raw, clock_ns(CLOCK_REALTIME), connection, streams, log, state)
    left = connection[END] - start
    for byte in range(left if start > 0 else 0):
        raw[byte] = raw[start + byte]
    connection[END] = left
    if connection[CONTROL] >= 0:
        connection[CONTROL] = 0
        return True
    used: int = connection[BYTES] - connection[REFILLED]
    return used >= REFILL_BYTES


@bench_kernel(
    "int64(int64, int64, uint8[::1], int64, int64[::1], uint8[::1], int64[:,::1], int64[:,::1],"
    " int64[:,::1], int64[::1])"
)
def read_connections(
    answered: int, epoll: int, events: Bytes, timeout_ms: int, by_descriptor: Words,
    buffer: Bytes, connections: Rows, streams: Rows, log: Rows, state: Words,
) -> int:  # fmt: skip
    """Wait and receive until a connection needs Python, which one; TIMED_OUT: nothing came.

    Begins with what is left of the connection that was `answered`, if there is one.
    """
    if answered >= 0 and _take_in(answered, buffer, connections, streams, log, state):
        return answered
    while True:
        count = epoll_wait(epoll, events.ctypes.data, EVENTS_MAX, timeout_ms)
        if count <= 0:
            return TIMED_OUT
        for number in range(count):
            descriptor = epoll_descriptor(events, number * EPOLL_EVENT_BYTES)
            index = int64(by_descriptor[descriptor])
            if _take_in(index, buffer, connections, streams, log, state):
                return index


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


class Connections:
    """Sockets to one server, each with so many calls of one method; `read` takes in what comes.

    One thread reads; others may look at `received` and `ended` meanwhile.
    """

    def __init__(self, target: str, method: str, streams: Sequence[int], log_rows: int = 0) -> None:
        """streams: of each connection."""
        self._connections: Rows = np.zeros((len(streams), CONNECTION_WORDS), np.int64)
        self._streams: Rows = np.zeros((sum(streams), STREAM_WORDS), np.int64)
        self._log: Rows = np.zeros((log_rows, LOG_WORDS), np.int64)
        self._state: Words = np.zeros(STATE_WORDS, np.int64)
        # Pages that nothing is received into are never touched.
        self._buffer: Bytes = np.zeros(len(streams) * BUFFER_BYTES, np.uint8)
        self._events: Bytes = np.zeros(EVENTS_MAX * EPOLL_EVENT_BYTES, np.uint8)
        self._epoll = select.epoll()
        self._answered = TIMED_OUT
        self._links: list[socket.socket] = []
        try:
            for count in streams:
                self._links.append(open_streams(target, method, count))
        except BaseException:
            self.close()
            raise
        descriptors = [link.fileno() for link in self._links]
        self._connections[:, FD] = descriptors
        self._connections[:, CONTROL] = -1
        self._connections[:, STREAMS] = streams
        self._connections[:, FIRST_STREAM] = np.cumsum([0, *streams])[:-1]
        self._by_descriptor: Words = np.zeros(max(descriptors) + 1, np.int64)
        self._by_descriptor[descriptors] = range(len(streams))
        for descriptor in descriptors:
            self._epoll.register(descriptor, select.EPOLLIN)

    @property
    def received(self) -> list[int]:
        """Messages of each stream so far."""
        return [int(n) for n in self._streams[:, MESSAGES]]

    @property
    def ended(self) -> int:
        """Streams that the server has ended, and connections."""
        return int(self._connections[:, ENDED].sum())

    def log(self, first: int = 0, rows_max: int = 1 << 62) -> Rows:
        """What was read from row `first` on: SEEN_NS, BID_EVENT, ASK_EVENT. A copy."""
        return self._log[first : min(self.logged, first + rows_max)].copy()

    @property
    def logged(self) -> int:
        return int(self._state[LOGGED])

    def read(self, timeout_ms: int) -> bool:
        """Take in what comes until Python had something to do; False after a time of silence."""
        index = read_connections(
            self._answered, self._epoll.fileno(), self._events, timeout_ms, self._by_descriptor,
            self._buffer, self._connections, self._streams, self._log, self._state,
        )  # fmt: skip
        self._answered = TIMED_OUT
        if index == TIMED_OUT:
            return False
        words, link = self._connections[index], self._links[index]
        try:
            if words[CONTROL] >= 0:
                self._answer(index)
                self._answered = index
            elif words[ENDED]:
                self._epoll.unregister(link)
            if words[BYTES] - words[REFILLED] >= REFILL_BYTES:
                # The connection's window; the streams' own lasts for millions of messages.
                used = int(words[BYTES] - words[REFILLED])
                words[REFILLED] += used
                link.sendall(frame(WINDOW_UPDATE, 0, 0, used.to_bytes(4, "big")))
        except OSError:
            words[ENDED] += 1
        return True

    def _answer(self, index: int) -> None:
        """Acknowledge the SETTINGS or PING frame that a connection's buffer begins with."""
        words, start = self._connections[index], index * BUFFER_BYTES
        end = start + int(words[END])
        raw = self._buffer[start:end].tobytes()
        size = FRAME_HEADER_BYTES + int.from_bytes(raw[:3], "big")
        payload = raw[FRAME_HEADER_BYTES:size] if raw[3] == PING else b""
        self._buffer[start : end - size] = np.frombuffer(raw[size:], np.uint8)
        words[END] -= size
        self._links[index].sendall(frame(raw[3], ACK, 0, payload))

    def close(self) -> None:
        for link in self._links:
            link.close()
        self._epoll.close()


def open_streams(target: str, method: str, streams: int) -> socket.socket:
    """A connection on which so many calls of a method have been made."""
    host, _, port = target.rpartition(":")
    link = socket.create_connection((host, int(port)), timeout=10)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    window = INITIAL_WINDOW_SETTING.to_bytes(2, "big") + WINDOW_BYTES.to_bytes(4, "big")
    more = (WINDOW_BYTES - INITIAL_WINDOW_BYTES).to_bytes(4, "big")
    out = [PREFACE, frame(SETTINGS, 0, 0, window), frame(WINDOW_UPDATE, 0, 0, more)]
    block = headers(target, method)
    for number in range(streams):
        stream = 2 * number + 1
        out.append(frame(HEADERS, END_HEADERS, stream, block))
        out.append(frame(DATA, END_STREAM, stream, EMPTY_MESSAGE))
    link.sendall(b"".join(out))
    return link
