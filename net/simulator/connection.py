"""One websocket connection: a bounded outbox, its writer task, and the seam for faults.

Invariants: nobody awaits a client but its own writer; a client that does not read is cut once its
outbox is full; frames leave in the order they were given.
Runs on: the simulator's event loop.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from aiohttp import web

from net.simulator.clock import monotonic_s
from net.simulator.options import SimulatorError, SimulatorOptions

CLOSE_WAIT_S = 2.0  # how long a closing handshake may take
SIGNED, PLACE, CANCEL, CHANGE, FILL = (
    "signed request",
    "order placed",
    "order canceled",
    "order request",  # anything that changes orders, once it is done
    "fill reported",
)
"""The occasions of order entry at which a fault can strike."""
SUBSCRIBE = "subscription"
"""The occasion at which a channel can be refused."""
LINGER_ZERO = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST instead of FIN


class Raw(NamedTuple):
    """Bytes for the socket as they are: whole websocket frames, or parts of one."""

    data: bytes


Outgoing = str | Raw
"""What a connection sends: a text frame, or raw bytes."""


class Interceptor:
    """The seam for a fault injector (faults.py has one); this default changes nothing.

    Override `frame` to drop, delay (await), alter, repeat or reorder what one connection is sent,
    `response` for REST, and `accepts` to break TLS handshakes off. `frame` may also call
    `connection.abort()` and `hang_up()`, and set `is_silenced` or `is_deaf`.
    """

    async def frame(self, connection: Connection, text: str) -> Sequence[Outgoing]:
        """What to send in place of `text`, in order."""
        return (text,)

    async def response(self, request: web.Request, response: web.Response) -> web.StreamResponse:
        """What to answer in place of `response`."""
        return response

    def spoils(self, venue: str, occasion: str) -> tuple[str, float] | None:
        """The fault that strikes an occasion of order entry, as (name, value), if one does."""
        return None

    def accepts(self, venue: str) -> bool:
        """Whether a TLS handshake with this venue may go on."""
        return True

    def inflict(self, texts: Sequence[str]) -> None:
        """Order faults; `SimulatorError` where one is wrong, and none is inflicted."""
        raise SimulatorError("this simulator injects no faults")

    def calm(self) -> None:
        """End every fault; what was done to a connection stays done."""

    def strikes(self, venue: str) -> dict[str, int]:
        """How often each fault has struck at a venue."""
        return {}


class Connection:
    """One client. `channels` keeps the order of subscription."""

    def __init__(
        self,
        venue: str,
        connection_id: int,
        request: web.Request,
        *,
        websocket: web.WebSocketResponse,
        options: SimulatorOptions,
        interceptor: Interceptor,
        notice_text: Callable[[Connection], str],
    ) -> None:
        self.venue = venue
        self.notice_text = notice_text
        self.connection_id = connection_id
        self.path = request.path
        self.websocket = websocket
        self.channels: dict[str, None] = {}
        self.combined = False
        self.microseconds = False
        self.opened_s = monotonic_s()
        self.unanswered_pings: dict[bytes, float] = {}
        self.message_times_s: deque[float] = deque()
        self.frames_sent = 0
        self.too_slow = False
        self.is_silenced = False  # half-open: nothing passes any more, either way
        self.is_deaf = False  # the client's pongs are lost
        self.held = ""  # a frame that waits for the next one to overtake it
        self._transport = request.transport
        self._interceptor = interceptor
        self._frames_max = options.backlog_frames_max
        self._bytes_max = options.backlog_bytes_max
        self._outbox: deque[str] = deque()
        self._outbox_bytes = 0
        self._wake = asyncio.Event()
        self._writing = False
        self._closing: asyncio.Task[None] | None = None

    def send(self, text: str) -> None:
        """Queue a frame; a client whose backlog is full is cut off."""
        if self.too_slow:
            return
        if len(self._outbox) >= self._frames_max or self._outbox_bytes >= self._bytes_max:
            self.too_slow = True
            self.abort()
            return
        self._outbox.append(text)
        self._outbox_bytes += len(text)
        self._wake.set()

    @property
    def idle(self) -> bool:
        """True when everything was handed to the socket."""
        return self.too_slow or not (self._outbox or self._writing)

    @property
    def backlogged(self) -> bool:
        """True when an unpaced source should wait for this client."""
        return not self.too_slow and (
            len(self._outbox) * 2 > self._frames_max or self._outbox_bytes * 2 > self._bytes_max
        )

    async def write(self) -> None:
        """The writer task; ends when the connection does."""
        try:
            while True:
                while self._outbox:
                    self._writing = True
                    text = self._outbox.popleft()
                    self._outbox_bytes -= len(text)
                    for each in await self._interceptor.frame(self, text):
                        await self._put(each)
                self._writing = False
                self._wake.clear()
                await self._wake.wait()
        except (ConnectionError, RuntimeError):
            self.too_slow = True  # the socket is gone; the reader notices and cleans up

    async def _put(self, what: Outgoing) -> None:
        if self.is_silenced:
            return
        if isinstance(what, Raw):
            self.put_raw(what.data)
        else:
            await self.websocket.send_str(what)
        self.frames_sent += 1

    def put_raw(self, data: bytes) -> None:
        """Write bytes to the socket behind what was sent before."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    async def close(self, code: int, reason: str = "") -> None:
        """The closing handshake, after what is queued."""
        for _ in range(100):  # a client that does not read is not waited for: a second at most
            if self.idle:
                break
            await asyncio.sleep(0.01)
        await self.websocket.close(code=code, message=reason.encode())

    def close_later(self, after_s: float, code: int, reason: str) -> None:
        """`close` when so much time has passed."""

        async def wait_and_close() -> None:
            await asyncio.sleep(after_s)
            await self.close(code, reason)

        self._closing = asyncio.create_task(wait_and_close())

    def hang_up(self) -> None:
        """End the TCP connection in order, but without a closing handshake (code 1006)."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Reset the TCP connection at once."""
        if self._transport is None:
            return
        sock = self._transport.get_extra_info("socket")
        if sock is not None and sock.fileno() >= 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
        abort = getattr(self._transport, "abort", self._transport.close)
        abort()
