"""One private WebSocket connection, kept up: what order entry is carried over.

It knows nothing of venues. Its owner is told when it opens, what arrives, and when it is lost, in
this order, again and again; what the owner sends is on its way, or lost with the connection, when
`send` returns. A connection is replaced by closing it and opening the next: requests of one are
never answered on another, so there is nothing to carry over.
Runs on: the engine thread's loop; in the watchdog, the main thread's.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Callable
from typing import Protocol
from urllib.parse import urlsplit

from picows import WSCloseCode, WSFrame, WSMsgType, WSTransport

from net.log.note import Note
from net.sockets.backoff import Backoff
from net.sockets.outlet import Outlet
from net.sockets.websocket import (
    CLOSE_LIMIT_S,
    CONNECT_ERRORS,
    STEADY_S,
    TextListener,
    close,
    describe,
    end_reason,
    open_websocket,
)
from tuning.clock import steady_ns

IDLE_PING_S = 5.0
"""A venue that says nothing for so long is pinged, and has as long again to answer: a private
connection may be silent for minutes and still has to be known to be alive."""


class LineNote(Note):
    """What a connection tells of itself."""

    DISCONNECTED = "disconnected", "warning"
    RENEWING = "renewing the connection", "info"
    DROPPING = "dropping the connection", "info"
    CLOSED = "closed", "info"


class LineOwner(Protocol):
    """Whose connection it is. An exception from here is a mistake of ours: it ends `Line.run`."""

    def on_open(self, now_ns: int) -> None:
        """Connected: it can be written to."""

    def on_text(self, raw: bytes, now_ns: int) -> None:
        """One message. Nothing comes after `on_lost`, nor after the line was told to drop."""

    def on_lost(self, reason: str, now_ns: int) -> None:
        """The connection that was open is gone."""

    def note_line(self, note: Note, **facts: object) -> None:
        """Something an operator should see."""


class _Listener(TextListener):
    """Hands on what comes until the connection is given up."""

    def __init__(self, line: Line, owner: LineOwner) -> None:
        super().__init__()
        self._line = line
        self._owner = owner

    def on_ws_connected(self, transport: WSTransport) -> None:
        super().on_ws_connected(transport)
        if not self.is_given_up:
            self._line.opened(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if not self._line.is_dropped:
            super().on_ws_frame(transport, frame)

    def on_text(self, raw: bytes, stamp_ns: int, is_last: bool) -> None:
        try:
            self._owner.on_text(raw, steady_ns())
        except BaseException:
            # picows goes on reading for a moment; an owner that has failed is told nothing more.
            self._line.is_dropped = True
            raise

    def on_binary(self, stamp_ns: int) -> None:
        self._line.drop("a binary message")

    def on_broken(self, reason: str) -> None:
        self._line.drop(reason)

    def pause_writing(self) -> None:
        # What waits here would reach the venue late and then count: better it never does.
        self._line.drop("the venue does not read what is sent")

    def resume_writing(self) -> None:
        """Nothing to do: the connection is on its way out."""


class Line:
    """Keeps one connection up until `stop`."""

    def __init__(
        self,
        url: str,
        *,
        ssl_context: Callable[[], ssl.SSLContext],
        backoff: Backoff,
        proxy: str = "",
    ) -> None:
        self.connections = 0
        """How often it has been connected."""
        self.is_dropped = False
        """Whether the present connection has been given up."""
        self._url = url
        self._address = urlsplit(url).netloc
        self._ssl_context = ssl_context
        self._proxy = proxy
        self._backoff = backoff
        self._owner: LineOwner | None = None
        self._transport: WSTransport | None = None
        self.outlet = Outlet()
        """Where compiled code writes, while there is a connection."""
        self._drop_reason: str | None = None
        self._wait_ns = 0
        self._stopping = asyncio.Event()

    def send(self, message: bytes | bytearray) -> None:
        """Write one text message at once. Without a connection, or on one that ends, it is lost.

        The memory is the caller's again on return: picows masks a copy, whether or not the socket
        takes it at once.
        """
        if self._transport is not None:
            self._transport.send(WSMsgType.TEXT, message)

    def renew(self, reason: str) -> None:
        """Close with the closing handshake, so that what is under way may still be answered."""
        transport = self._transport
        if transport is None or transport.is_close_frame_sent:
            return
        self._note(LineNote.RENEWING, reason=reason)
        transport.send_close(WSCloseCode.GOING_AWAY)
        asyncio.get_running_loop().call_later(CLOSE_LIMIT_S, transport.disconnect, False)

    def drop(self, reason: str, wait_ns: int = 0) -> None:
        """Cut the connection at once. The next one is opened after `wait_ns` at the earliest."""
        self._wait_ns = max(self._wait_ns, wait_ns)
        if self._transport is None or self.is_dropped:
            return
        self._note(LineNote.DROPPING, reason=reason)
        self.is_dropped, self._drop_reason = True, reason
        self.outlet.close()
        self._transport.disconnect(False)

    async def run(self, owner: LineOwner) -> None:
        """Until cancelled or stopped: connect, wait for the end, wait, connect again."""
        self._owner = owner
        while not self._stopping.is_set():
            started_s = time.monotonic()
            try:
                reason = await self._connect_and_stay(owner)
            finally:
                transport, self._transport = self._transport, None
                self.outlet.close()
                if transport is not None:
                    transport.disconnect(False)
            if transport is not None:
                owner.on_lost(reason, steady_ns())
            if self._stopping.is_set():
                return
            if time.monotonic() - started_s > STEADY_S:
                self._backoff.reset()
            delay_ns = max(self._backoff.next_ns(), self._wait_ns)
            self._wait_ns = 0
            self._note(
                LineNote.DISCONNECTED,
                address=self._address,
                reason=reason,
                attempt=self._backoff.attempt,
                again_in_ms=delay_ns // 1_000_000,
            )
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay_ns / 1e9):
                    await self._stopping.wait()

    async def stop(self) -> None:
        """Close with the closing handshake: our frame, then the venue's, then the connection."""
        self._stopping.set()
        transport = self._transport
        if transport is not None and not transport.is_disconnected:
            self._note(LineNote.CLOSED, was_answered=await close(transport))

    def opened(self, transport: WSTransport) -> None:
        """The handshake is done; called before the first frame."""
        assert self._owner is not None
        if self._stopping.is_set():
            transport.disconnect(False)
            return
        self._transport, self.is_dropped = transport, False
        self.outlet.open(transport)
        self.connections += 1
        self._owner.on_open(steady_ns())

    async def _connect_and_stay(self, owner: LineOwner) -> str:
        """One connection from its beginning to its end; why it ended."""
        self._drop_reason = None
        try:
            transport = await open_websocket(
                lambda: _Listener(self, owner),
                self._url,
                self._ssl_context,
                IDLE_PING_S,
                self._proxy,
            )
        except CONNECT_ERRORS as error:
            return describe(error)
        ended = asyncio.ensure_future(transport.wait_disconnected())
        await asyncio.wait((ended,))
        failure = ended.exception()
        if failure is not None and not isinstance(failure, CONNECT_ERRORS):
            raise failure
        return self._drop_reason or end_reason(transport, ended)

    def _note(self, note: LineNote, **facts: object) -> None:
        if self._owner is not None:
            self._owner.note_line(note, **facts)
