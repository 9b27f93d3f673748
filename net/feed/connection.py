"""One venue's WebSocket connection: connect, subscribe, hand every frame to the kernel, again.

From the first text on that leaves picows with nothing, a FrameReceiver takes its frames to the
kernel: Python runs only where that asks for it, where a tape is written or quotes are made.
Reconnects wait longer and longer, with jitter, and stay far below the venues' limits on connection
attempts. Where the venue announces that it will close, or a connection nears the venue's age limit,
the next one is opened before the old one goes.
Runs on: the engine thread's loop.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Protocol
from urllib.parse import urlsplit

from picows import WSMsgType, WSTransport

from engine.layout import status as S
from net.feed.events import FeedEvent
from net.feed.venue_feeds import ONLY_ANEW, VenueFeeds
from net.sockets.backoff import Backoff
from net.sockets.frame_receiver import FrameReceiver
from net.sockets.http_body import RestError
from net.sockets.token import ask_token
from net.sockets.websocket import (
    CONNECT_ERRORS,
    STEADY_S,
    TextListener,
    close,
    describe,
    end_reason,
    open_websocket,
)
from net.venues.interface import OwnSettings
from tuning.clock import steady_ns, wall_ns

SUBSCRIBE_LIMIT_S = 10.0
"""A venue that does not acknowledge its subscriptions in time is connected anew."""
REFUSED_AGAIN_S = (20.0, 600.0)
"""Between two subscriptions of a symbol that the venue refused: at first, and at most."""
HEARTBEAT_S = 20.0
"""Between application heartbeats, where a venue has them."""
OVERLAP_S = 1.0
"""How long an old connection is kept beside its successor, where ids make that harmless."""


class ConnectionHost(Protocol):
    """What a stream tells the outside."""

    def note_venue(self, venue: VenueFeeds, event: FeedEvent, /, **facts: object) -> None:
        """Something an operator should see."""

    def lost(self, venue: VenueFeeds, reason: str) -> None:
        """The connection is gone; the venue has been withdrawn."""

    def rehearse(self, raw: bytes) -> None:
        """A diff as they come, of the feed that the kernel named last."""

    def record(self, venue: VenueFeeds, kind: str, raw: bytes, t_ns: int, path: str = "") -> None:
        """A text that came or went, or the connection itself, where a tape is being written."""


class _Listener(TextListener):
    """Every text goes to the kernel first; also what a FrameReceiver's frames are taken for."""

    def __init__(self, stream: FeedConnection) -> None:
        super().__init__()
        self._stream = stream
        self._venue = stream.venue
        self._handle = stream.venue.handle
        self._is_recording = stream.is_recording
        self._receiver: FrameReceiver | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        super().on_ws_connected(transport)
        if not self.is_given_up:
            self._stream.on_open()

    def on_rest(self, transport: WSTransport) -> None:
        if self._receiver is None:
            venue = self._venue
            where = (venue.arena_address, venue.connection)
            self._receiver = FrameReceiver(transport, self, *where, is_told=self._is_recording)
            self._receiver.begin()

    def on_text(self, raw: bytes, stamp_ns: int, is_last: bool) -> None:
        if self._is_recording:
            self._stream.record(raw, stamp_ns)
        status = self._handle(raw, stamp_ns, is_last)
        if status != S.APPLIED:
            self.on_status(status, raw, is_last)

    def on_taken(self, texts: Iterator[bytes], stamp_ns: int) -> None:
        if self._is_recording:
            for raw in texts:
                self._stream.record(raw, stamp_ns)

    def on_status(self, status: int, raw: bytes, is_last: bool) -> None:
        if status == S.BUFFER:
            self._stream.rehearse(raw)
        self._venue.on_status(status, lambda: raw, steady_ns(), is_last)

    def on_turn(self) -> None:
        """Nothing more to do."""

    def on_binary(self, stamp_ns: int) -> None:
        self._venue.on_binary(steady_ns())

    def on_broken(self, reason: str) -> None:
        self._stream.drop(reason)

    def on_other(self, is_last: bool) -> None:
        if is_last:
            self._venue.publish_touched()


class Quoting(Protocol):
    """The market makers, as far as a frame may concern them."""

    due: memoryview
    """One word, zero unless a frame has touched an instrument that is quoted."""

    def on_frame(self, now_ns: int) -> None:
        """It is not zero."""


class _QuotingListener(_Listener):
    """Steps the market makers whose instruments were touched. A class of its own: without any, no
    frame pays; with some, a frame that touches none of theirs pays for one look."""

    def __init__(self, stream: FeedConnection, quoting: Quoting) -> None:
        super().__init__(stream)
        self._quoting, self._due = quoting, quoting.due

    def on_text(self, raw: bytes, stamp_ns: int, is_last: bool) -> None:
        super().on_text(raw, stamp_ns, is_last)
        if self._due[0]:
            self._quoting.on_frame(steady_ns())

    def on_other(self, is_last: bool) -> None:
        super().on_other(is_last)
        if self._due[0]:
            self._quoting.on_frame(steady_ns())

    def on_turn(self) -> None:
        if self._due[0]:
            self._quoting.on_frame(steady_ns())


class FeedConnection:
    """Keeps one venue connected until `stop`."""

    def __init__(
        self,
        venue: VenueFeeds,
        host: ConnectionHost,
        *,
        url: str,
        own: OwnSettings,
        rest_url: str = "",
        ssl_context: Callable[[], ssl.SSLContext],
        idle_ping_s: float,
        backoff: Backoff,
        proxy: str = "",
        is_recording: bool = False,
        quoting: Quoting | None = None,
    ) -> None:
        self.venue = venue
        self.is_recording = is_recording
        self._quoting = quoting
        self._host = host
        self._url = url
        self._own = own
        self._rest_url = rest_url
        parts = urlsplit(url)
        self._address = parts.netloc
        self._path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        self._was_opened = False
        self._ssl_context = ssl_context
        self._idle_ping_s = idle_ping_s
        self._proxy = proxy
        self._backoff = backoff
        self._transport: WSTransport | None = None
        self._drop_reason: str | None = None
        self._opened_s = 0.0
        self._acknowledged = asyncio.Event()
        self._expected_acknowledgements = 0
        self._refusals: list[str] = []
        """What the venue said while subscriptions were open."""
        self._refused_symbols: tuple[str, ...] = ()
        self._ask_again_s = self._ask_again_wait_s = 0.0
        self._renew = asyncio.Event()
        self._is_stopping = False

    def record(self, raw: bytes, t_ns: int) -> None:
        self._host.record(self.venue, "ws", raw, t_ns)

    def rehearse(self, raw: bytes) -> None:
        self._host.rehearse(raw)

    def on_open(self) -> None:
        """A connection is there, before its first frame."""
        self._was_opened = True
        self._host.record(self.venue, "open", b"", wall_ns(), self._path)

    def on_acknowledged(self) -> None:
        """The venue confirmed one subscription."""
        self._expected_acknowledgements -= 1
        if self._expected_acknowledgements == 0:
            self.venue.on_acknowledged(steady_ns())
        self._look_at_answers()

    def on_refused(self, reason: str) -> None:
        """The venue answered with an error."""
        if not self._acknowledged.is_set():
            self._refusals.append(reason)
            self._look_at_answers()

    def _look_at_answers(self) -> None:
        if len(self._refusals) >= self._expected_acknowledgements:
            self._acknowledged.set()

    def renew(self, reason: str) -> None:
        """Connect anew before the old connection goes."""
        self._host.note_venue(self.venue, FeedEvent.RENEWING, reason=reason)
        self._renew.set()

    def drop(self, reason: str) -> None:
        """Close the connection at once; a new one follows."""
        self._host.note_venue(self.venue, FeedEvent.DROPPING, reason=reason)
        if self._transport is not None:
            self._drop_reason = reason
            self._transport.disconnect(False)

    def resubscribe(self, symbol: str) -> None:
        """Have the venue send a symbol's whole book in the stream again."""
        messages = self.venue.protocol.resubscriptions(symbol)
        if messages and self._transport is not None:
            self._send(self._transport, messages)
        else:
            self.drop(ONLY_ANEW)

    async def run(self) -> None:
        """Until cancelled or stopped: connect, wait for the end, wait, connect again."""
        while not self._is_stopping:
            self.venue.on_connecting(steady_ns())
            started_s, self._drop_reason = time.monotonic(), None
            reason = await self._connect()
            if reason is None:
                reason = await self._stay_connected()
            self.venue.on_lost(reason, steady_ns())
            self._host.lost(self.venue, reason)
            if self._is_stopping:
                return  # which is no news of the venue: a tape ends here, with its books
            if self._was_opened:
                self._was_opened = False
                self._host.record(self.venue, "lost", reason.encode(), wall_ns(), self._path)
            if time.monotonic() - started_s > STEADY_S:
                self._backoff.reset()
            delay_ns = self._backoff.next_ns()
            self._host.note_venue(
                self.venue,
                FeedEvent.DISCONNECTED,
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
        self._host.note_venue(self.venue, FeedEvent.CLOSED, was_answered=was_answered)

    async def _open(self) -> WSTransport:
        url, path = self._url, self.venue.protocol.token_path
        if path:
            secure = self._ssl_context() if self._rest_url.startswith("https:") else None
            answer = await ask_token(f"{self._rest_url}{path}", secure, self._proxy)
            try:
                url = self.venue.protocol.token_address(url, answer)
            except (KeyError, TypeError, ValueError):
                raise RestError(f"{path}: the answer has no token") from None
        return await open_websocket(
            self._listener, url, self._ssl_context, self._idle_ping_s, self._proxy
        )

    def _listener(self) -> _Listener:
        return _Listener(self) if self._quoting is None else _QuotingListener(self, self._quoting)

    async def _connect(self) -> str | None:
        """Open the connection and subscribe; why it failed, or None."""
        started_s = time.monotonic()
        try:
            self._transport = await self._open()
        except (*CONNECT_ERRORS, RestError) as error:
            self.venue.counters.connect_failures += 1
            return describe(error)
        self._opened_s = time.monotonic()
        self.venue.counters.connections += 1
        took_ms = int((self._opened_s - started_s) * 1000)
        self._host.note_venue(
            self.venue, FeedEvent.CONNECTED, address=self._address, took_ms=took_ms
        )
        return await self._subscribe(self._transport)

    async def _subscribe(self, transport: WSTransport) -> str | None:
        # Buffering starts with the connection: a first frame may come before the acknowledgement.
        self.venue.on_subscribed(steady_ns())
        self._send_subscriptions(transport)
        if self._expected_acknowledgements == 0:
            self.venue.on_acknowledged(steady_ns())
        reason = await self._await_answers(transport)
        if reason is None:
            self._ask_for_trades(transport)
        return reason

    def _ask_for_trades(self, transport: WSTransport) -> None:
        """Behind the books: what answers it is no book's confirmation."""
        if not transport.is_disconnected:
            self._send(transport, self.venue.trade_subscriptions())

    async def _await_answers(self, transport: WSTransport) -> str | None:
        """Until every subscription is answered; why the connection is of no use, or None."""
        if self._expected_acknowledgements == 0:
            return None
        ended = await _end_before(transport, self._acknowledged.wait(), SUBSCRIBE_LIMIT_S)
        if self._expected_acknowledgements <= 0 or ended is not None:
            return None
        reason = "the subscription was not acknowledged"
        if self._refusals:
            reason = f"the venue says: {self._refusals[-1]}"
        missing = self.venue.unacknowledged()
        if len(missing) == len(self.venue.symbols):
            transport.disconnect(False)
            return reason
        # The others are served: a refused member is asked for again on this connection.
        self._acknowledged.set()
        self._refused_symbols = missing
        self._ask_again_wait_s = REFUSED_AGAIN_S[0]
        self._ask_again_s = time.monotonic() + self._ask_again_wait_s
        for symbol in missing:
            self.venue.on_refused(symbol, reason, steady_ns())
        return None

    def _ask_for_refused(self, transport: WSTransport) -> None:
        """Subscribe again to what was refused, later and later."""
        if not self._refused_symbols:
            return
        missing = set(self.venue.unacknowledged())
        self._refused_symbols = tuple(each for each in self._refused_symbols if each in missing)
        if self._refused_symbols and time.monotonic() >= self._ask_again_s:
            self._ask_again_wait_s = min(2 * self._ask_again_wait_s, REFUSED_AGAIN_S[1])
            self._ask_again_s = time.monotonic() + self._ask_again_wait_s
            self._send(transport, self._subscriptions(self._refused_symbols))

    def _send_subscriptions(self, transport: WSTransport) -> None:
        """Ask for the streams, where the address does not; each message is to be acknowledged."""
        messages = self._subscriptions(self.venue.symbols)
        self._acknowledged.clear()
        self._refusals, self._refused_symbols = [], ()
        is_confirmed = self.venue.protocol.has_acknowledgements
        self._expected_acknowledgements = len(messages) if is_confirmed else 0
        if self._expected_acknowledgements:
            self.venue.on_subscribing()
        self._send(transport, messages)

    def _subscriptions(self, symbols: Sequence[str]) -> list[bytes]:
        return self.venue.protocol.subscriptions(symbols, self._own)

    def _send(self, transport: WSTransport, messages: list[bytes]) -> None:
        for message in messages:
            transport.send(WSMsgType.TEXT, message)
            self._host.record(self.venue, "sent", message, wall_ns())

    async def _stay_connected(self) -> str:
        """Heartbeats and renewals until the connection ends; why it did."""
        age_limit_s = time.monotonic() + self.venue.protocol.connection_age_max_s
        heartbeat = self.venue.protocol.heartbeat()
        while True:
            transport = self._transport
            assert transport is not None
            ended = await _end_before(transport, self._renew.wait(), HEARTBEAT_S)
            if ended is not None:
                seen = end_reason(transport, ended)
                return self._drop_reason or seen
            if time.monotonic() > age_limit_s:
                self.renew("the connection is near the venue's age limit")
            if self._renew.is_set():
                self._renew.clear()
                if await self._hold_back(transport) and await self._replace(transport):
                    age_limit_s = time.monotonic() + self.venue.protocol.connection_age_max_s
            else:
                self._ask_for_refused(transport)
                if heartbeat is not None:
                    transport.send(WSMsgType.TEXT, heartbeat)

    async def _hold_back(self, transport: WSTransport) -> bool:
        """Before a renewal: a venue that sends everyone away at once is not followed in a rush.

        False: the connection has ended by itself meanwhile.
        """
        if time.monotonic() - self._opened_s > STEADY_S:
            self._backoff.reset()
            return True
        wait_s = self._backoff.next_ns() / 1e9
        return await _end_before(transport, asyncio.sleep(wait_s), None) is None

    async def _replace(self, old: WSTransport) -> bool:
        """Open the successor, then let the old connection go; whether that worked."""
        try:
            fresh = await self._open()
        except (*CONNECT_ERRORS, RestError) as error:
            self.venue.counters.connect_failures += 1
            reason = describe(error)
            self._host.note_venue(
                self.venue, FeedEvent.RENEWAL_FAILED, address=self._address, reason=reason
            )
            return False
        self._transport, self._opened_s, self._drop_reason = fresh, time.monotonic(), None
        self.venue.counters.connections += 1
        self._send_subscriptions(fresh)
        can_overlap = self.venue.protocol.rules.can_overlap
        if can_overlap:
            # Both connections feed the book; ids make the overlap harmless and a hole visible.
            await asyncio.sleep(OVERLAP_S)
            self._ask_for_trades(fresh)
        old.disconnect()
        if not can_overlap:
            self.venue.on_moved(steady_ns())
        self._drop_reason = await self._await_answers(fresh)
        if not can_overlap and self._drop_reason is None:
            self._ask_for_trades(fresh)
        return True


async def _end_before(
    transport: WSTransport, awaited: Coroutine[object, object, object], limit_s: float | None
) -> asyncio.Future[None] | None:
    """The connection's end, where it comes before `awaited` is done and before the limit."""
    ended: asyncio.Future[None] = asyncio.ensure_future(transport.wait_disconnected())
    other = asyncio.ensure_future(awaited)
    await asyncio.wait((ended, other), timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
    other.cancel()
    if ended.done():
        return ended
    ended.cancel()
    return None
