"""One venue's WebSocket connection: connect, subscribe, hand every frame to the kernel, again.

The frame's bytes go to the compiled path before anything else is looked at; Python runs only where
the kernel asks for it. Reconnects wait longer and longer, with jitter, and stay far below the
venues' limits on connection attempts. Where the venue announces that it will close, or a
connection nears the venue's age limit, the next one is opened before the old one goes.
Runs on: the engine thread's loop. Called by: net.live.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from typing import Protocol
from urllib.parse import urlsplit

from picows import WSFrame, WSMsgType, WSTransport

from engine import status as S
from net.backoff import Backoff
from net.venue import Venue
from net.websocket import (
    CONNECT_ERRORS,
    STEADY_S,
    Listener,
    add_part,
    answer_close,
    close,
    describe,
    end_reason,
    open_websocket,
)

SUBSCRIBE_LIMIT_S = 10.0
"""A venue that does not acknowledge its subscriptions in time is connected anew."""
HEARTBEAT_S = 20.0
"""Between application heartbeats, where a venue has them."""
OVERLAP_LIMIT_S = 10.0
"""How long an old connection is kept beside its successor."""


class StreamHost(Protocol):
    """What a stream tells the outside."""

    def note_venue(self, venue: Venue, what: str, **facts: object) -> None:
        """Something an operator should see."""

    def lost(self, venue: Venue, reason: str) -> None:
        """The connection is gone; the venue has been withdrawn."""

    def record(self, venue: Venue, kind: str, raw: bytes, t_ns: int) -> None:
        """A text that came or went, where a tape is being written."""


class _Listener(Listener):
    """picows calls this for each frame. Frames are views that die with the callback."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._venue = stream.venue
        self._handle = stream.venue.handle
        self._is_recording = stream.is_recording
        self._parts: list[bytes] = []

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        now_ns = time.time_ns()
        if frame.msg_type is not WSMsgType.TEXT or not frame.fin or self._parts:
            self._on_other(transport, frame, now_ns)
            return
        self._on_text(frame.get_payload_as_bytes(), now_ns, frame.last_in_buffer)

    def _on_other(self, transport: WSTransport, frame: WSFrame, now_ns: int) -> None:
        """Control frames, fragments, and binary frames, which neither venue sends."""
        kind = frame.msg_type
        if kind is WSMsgType.CLOSE:
            answer_close(transport)
        elif kind is WSMsgType.BINARY:
            self._venue.on_binary(now_ns)
        elif kind in (WSMsgType.TEXT, WSMsgType.CONTINUATION):
            broken = add_part(self._parts, frame)
            if broken:
                self._stream.drop(broken)
            elif frame.fin:
                raw, self._parts = b"".join(self._parts), []
                self._on_text(raw, now_ns, frame.last_in_buffer)
            return
        if frame.last_in_buffer:
            self._venue.publish_touched()

    def _on_text(self, raw: bytes, now_ns: int, is_last: int) -> None:
        if self._is_recording:
            self._stream.record(raw, now_ns)
        status = self._handle(raw, now_ns, is_last)
        if status != S.APPLIED:
            self._venue.on_status(status, lambda: raw, now_ns, is_last)


class _QuotingListener(_Listener):
    """The same, and what follows a frame. A class of its own: without quoting nothing is asked."""

    def __init__(self, stream: Stream, after_frame: Callable[[int], None]) -> None:
        super().__init__(stream)
        self._after_frame = after_frame

    def _on_text(self, raw: bytes, now_ns: int, is_last: int) -> None:
        super()._on_text(raw, now_ns, is_last)
        self._after_frame(now_ns)


class Stream:
    """Keeps one venue connected until `stop`."""

    def __init__(
        self,
        venue: Venue,
        host: StreamHost,
        *,
        ws_url: str,
        interval_ms: int,
        ssl_context: Callable[[], ssl.SSLContext],
        idle_ping_s: float,
        backoff: Backoff,
        is_recording: bool = False,
        after_frame: Callable[[int], None] | None = None,
    ) -> None:
        self.venue = venue
        self.is_recording = is_recording
        self._after_frame = after_frame
        self._host = host
        self._url = venue.protocol.stream_url(ws_url, venue.symbols, interval_ms)
        self._address = urlsplit(ws_url).netloc
        self._ssl_context = ssl_context
        self._idle_ping_s = idle_ping_s
        self._backoff = backoff
        self._transport: WSTransport | None = None
        self._drop_reason = ""
        self._opened_s = 0.0
        self._acknowledged = asyncio.Event()
        self._expected_acknowledgements = 0
        self._renew = asyncio.Event()
        self._is_stopping = False

    def record(self, raw: bytes, t_ns: int) -> None:
        self._host.record(self.venue, "ws", raw, t_ns)

    def on_acknowledged(self) -> None:
        """The venue confirmed one subscription."""
        self._expected_acknowledgements -= 1
        if self._expected_acknowledgements == 0:
            self._acknowledged.set()
            self.venue.on_acknowledged(time.time_ns())

    def renew(self, reason: str) -> None:
        """Connect anew before the old connection goes."""
        self._host.note_venue(self.venue, "renewing the connection", reason=reason)
        self._renew.set()

    def drop(self, reason: str) -> None:
        """Close the connection at once; a new one follows."""
        self._host.note_venue(self.venue, "dropping the connection", reason=reason)
        if self._transport is not None:
            self._drop_reason = reason
            self._transport.disconnect(False)

    async def run(self) -> None:
        """Until cancelled or stopped: connect, wait for the end, wait, connect again."""
        while not self._is_stopping:
            self.venue.on_connecting(time.time_ns())
            started_s, self._drop_reason = time.monotonic(), ""
            reason = await self._connect()
            if reason == "":
                reason = await self._stay_connected()
            self.venue.on_lost(reason, time.time_ns())
            self._host.lost(self.venue, reason)
            if self._is_stopping:
                return
            if time.monotonic() - started_s > STEADY_S:
                self._backoff.reset()
            delay_ns = self._backoff.next_ns()
            self._host.note_venue(
                self.venue,
                "disconnected",
                address=self._address,
                reason=reason,
                attempt=self._backoff.attempt,
                again_in_ms=delay_ns // 1_000_000,
            )
            await asyncio.sleep(delay_ns / 1e9)

    async def stop(self) -> None:
        """Close with the closing handshake: our frame, then the venue's, then the connection."""
        self._is_stopping = True
        transport = self._transport
        if transport is None or transport.is_disconnected:
            return
        was_answered = await close(transport)
        self._host.note_venue(self.venue, "closed", was_answered=was_answered)

    async def _open(self) -> WSTransport:
        return await open_websocket(self._listener, self._url, self._ssl_context, self._idle_ping_s)

    def _listener(self) -> _Listener:
        if self._after_frame is None:
            return _Listener(self)
        return _QuotingListener(self, self._after_frame)

    async def _connect(self) -> str:
        """Open the connection and subscribe; why it failed, or nothing."""
        started_s = time.monotonic()
        try:
            self._transport = await self._open()
        except CONNECT_ERRORS as error:
            self.venue.counters.connect_failures += 1
            return describe(error)
        self._opened_s = time.monotonic()
        self.venue.counters.connections += 1
        took_ms = int((self._opened_s - started_s) * 1000)
        self._host.note_venue(self.venue, "connected", address=self._address, took_ms=took_ms)
        return await self._subscribe(self._transport)

    async def _subscribe(self, transport: WSTransport) -> str:
        self._acknowledged.clear()
        # Buffering starts with the connection: a first frame may come before the acknowledgement.
        self.venue.on_subscribed(time.time_ns())
        self._send_subscriptions(transport)
        if self._expected_acknowledgements == 0:
            self.venue.on_acknowledged(time.time_ns())
            return ""
        try:
            await asyncio.wait_for(self._acknowledged.wait(), SUBSCRIBE_LIMIT_S)
        except TimeoutError:
            transport.disconnect(False)
            return "the subscriptions were not acknowledged"
        return ""

    def _send_subscriptions(self, transport: WSTransport) -> None:
        """Ask for the streams, where the address does not; each message is to be acknowledged."""
        messages = self.venue.protocol.subscriptions(self.venue.symbols)
        self._expected_acknowledgements = len(messages)
        for message in messages:
            transport.send(WSMsgType.TEXT, message)
            self._host.record(self.venue, "sent", message, time.time_ns())

    async def _stay_connected(self) -> str:
        """Heartbeats and renewals until the connection ends; why it did."""
        age_limit_s = time.monotonic() + self.venue.protocol.connection_age_max_s
        heartbeat = self.venue.protocol.heartbeat()
        while True:
            transport = self._transport
            assert transport is not None
            ended = asyncio.ensure_future(transport.wait_disconnected())
            renewed = asyncio.ensure_future(self._renew.wait())
            done, pending = await asyncio.wait(
                (ended, renewed), timeout=HEARTBEAT_S, return_when=asyncio.FIRST_COMPLETED
            )
            for task in pending:
                task.cancel()
            if ended in done:
                seen = end_reason(transport, ended)
                return self._drop_reason or seen
            if time.monotonic() > age_limit_s:
                self.renew("the connection is near the venue's age limit")
            if self._renew.is_set():
                self._renew.clear()
                if await self._hold_back(transport) and await self._replace(transport):
                    age_limit_s = time.monotonic() + self.venue.protocol.connection_age_max_s
            elif heartbeat is not None:
                transport.send(WSMsgType.TEXT, heartbeat)

    async def _hold_back(self, transport: WSTransport) -> bool:
        """Before a renewal: a venue that sends everyone away at once is not followed in a rush.

        False: the connection has ended by itself meanwhile.
        """
        if time.monotonic() - self._opened_s > STEADY_S:
            self._backoff.reset()
            return True
        ended = asyncio.ensure_future(transport.wait_disconnected())
        done, _ = await asyncio.wait((ended,), timeout=self._backoff.next_ns() / 1e9)
        ended.cancel()
        return not done

    async def _replace(self, old: WSTransport) -> bool:
        """Open the successor, then let the old connection go; whether that worked."""
        try:
            fresh = await self._open()
        except CONNECT_ERRORS as error:
            self.venue.counters.connect_failures += 1
            reason = describe(error)
            self._host.note_venue(
                self.venue, "renewal failed", address=self._address, reason=reason
            )
            return False
        self._transport, self._opened_s, self._drop_reason = fresh, time.monotonic(), ""
        self.venue.counters.connections += 1
        self._send_subscriptions(fresh)
        if self.venue.protocol.has_gap_detection:
            # Both connections feed the book; ids make the overlap harmless and a hole visible.
            await asyncio.sleep(1.0)
        old.disconnect()
        if not self.venue.protocol.has_gap_detection:
            self.venue.on_moved(time.time_ns())
        return True
