"""The floor: recv(2), websocket framing and the engine's kernel in one compiled loop.

No picows, no asyncio, no Python and no GIL between two frames; the socket is plain, not blocking
and never given to epoll. The kernel is the engine's own `on_frame`, called from compiled code, so
what our stream costs beyond this is what picows, the selector and Python cost.
It reads text frames of a server that sends nothing else (no fragments, no control frames): all that
a bench's sender sends, and less than a venue does.
Runs on: the engine thread of a bench's target process.
"""

from __future__ import annotations

import socket

import numpy as np

from bench.rig.kernels import bench_kernel
from engine.book.frame_kernel import take_frame
from engine.compiling.atomics import Bytes, Words, int64, load_acquire
from engine.compiling.c_calls import MSG_DONTWAIT, recv
from engine.compiling.clock import CLOCK_REALTIME, clock_ns
from engine.engine import Engine
from engine.layout import status as S

BUFFER_BYTES = 1 << 20
"""As much as one recv takes in; a frame of a bench fits many times."""
STOP_EVERY = 64
"""Empty polls between two looks at the stop flag."""
CLOSED_BY_PEER = 0
STOPPED = 1
REFUSED_AT = 1
"""Where in `stop` the frames are counted that were not APPLIED."""
NOT_UNDERSTOOD = -1


@bench_kernel("int64(int64, int64, int64, uint8[::1], int64[::1])")
def receive_loop(
    arena_address: int,
    connection: int,
    descriptor: int,
    buffer: Bytes,
    stop: Words,
) -> int:
    """Until stop[0] is set or the peer closes; why it ended. Frames not applied: REFUSED_AT."""
    base = buffer.ctypes.data
    start = int64(0)
    end = int64(0)
    polls = int64(0)
    while True:
        got = recv(descriptor, base + end, len(buffer) - end, MSG_DONTWAIT)
        if got == 0:
            return CLOSED_BY_PEER
        if got < 0:
            polls += 1
            if polls % STOP_EVERY == 0 and load_acquire(stop, 0) != 0:
                return STOPPED
            continue
        end += got
        now_ns = clock_ns(CLOCK_REALTIME)
        while end - start >= 2:
            size = int64(buffer[start + 1])
            header = int64(2)
            if size == 126:
                if end - start < 4:
                    break
                header = int64(4)
                size = (int64(buffer[start + 2]) << 8) | int64(buffer[start + 3])
            if buffer[start] != 0x81 or size > 65535 or int64(buffer[start + 1]) > 126:
                return NOT_UNDERSTOOD
            if end - start < header + size:
                break
            at = base + start + header
            start += header + size
            is_last = int64(1) if start == end else int64(0)
            status = take_frame(arena_address, connection, at, size, now_ns, is_last)
            if status != S.APPLIED:
                stop[REFUSED_AT] += 1
        if start == end:
            start = int64(0)
            end = int64(0)
        elif start > len(buffer) // 2:
            for index in range(end - start):
                buffer[index] = buffer[start + index]
            end -= start
            start = int64(0)


HANDSHAKE = (
    "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def connect(port: int) -> socket.socket:
    """A connected, upgraded, non-blocking socket."""
    link = socket.create_connection(("127.0.0.1", port), timeout=10)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    link.sendall(HANDSHAKE.encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        # One byte at a time: the first frame may follow at once, and belongs to the loop.
        answer += link.recv(1)
    assert answer.startswith(b"HTTP/1.1 101"), answer
    link.setblocking(False)
    return link


def run_bare(engine: Engine, port: int, stop: Words) -> int:
    """Connect and run the loop in this thread until it ends; why it did."""
    buffer: Bytes = np.zeros(BUFFER_BYTES, np.uint8)
    with connect(port) as link:
        address = int(engine.arena.ctypes.data)
        return receive_loop(address, 0, link.fileno(), buffer, stop)
