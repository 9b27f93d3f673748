"""One venue: its connection's frames, and the book syncs of all its instruments. No I/O, no clock.

The hot path does not come through here: `handle` is the kernel itself, and only a status other
than APPLIED asks for anything more.
Runs on: the engine thread.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

import orjson

from engine.engine import Engine, Stage
from engine.layout import layout as L
from engine.layout import status as S
from engine.sharing import meter_layout as M
from engine.sharing.meters import Count, Counted
from engine.sharing.trades_ring import TradesWriter
from net.feed.book_sync import BookSync
from net.feed.events import FeedEvent
from net.feed.frame_parts import parts_of
from net.feed.sync_rules import WITHOUT_STREAM
from net.feed.trades import TradeFeed
from net.venues.interface import Control, VenueProtocol

ONLY_ANEW = "only a new connection brings a whole book"
"""Why a connection is dropped by us: its venue's books were withdrawn before, so this is no further
break, of which other venues would have to hear."""


class LargeFrame(NamedTuple):
    """Which one it was: of which connection, and by the connection's own count; -1: not known."""

    connection: int
    number: int


class VenueHost(Protocol):
    """What a venue needs done outside."""

    def decode_large(self, venue: VenueFeeds, frame: bytes, large: LargeFrame) -> None:
        """Decode on another thread, then call the venue's `on_large_decoded`."""

    def wall_ns(self) -> int:
        """What time it is, for a frame's stamp."""

    def acknowledged(self, venue: VenueFeeds) -> None:
        """The venue confirmed one subscription."""

    def refused(self, venue: VenueFeeds, reason: str) -> None:
        """The venue refused something: a subscription, where one is open."""

    def reconnect(self, venue: VenueFeeds, reason: str) -> None:
        """Connect anew before the old connection goes."""

    def note_venue(self, venue: VenueFeeds, event: FeedEvent, /, **facts: object) -> None:
        """Something an operator should see."""

    def withdrawn(self, venue: VenueFeeds, reason: str) -> None:
        """A book sync of this venue lost its book (for resync_scope = "all")."""


class VenueCounters(Counted):
    """A venue's connections, and what came over them that no feed has counted: its meters."""

    connections = Count(M.VENUE_CONNECTIONS)
    connect_failures = Count(M.VENUE_CONNECT_FAILURES)
    other_symbols = Count(M.VENUE_OTHER_SYMBOLS)
    binary_frames = Count(M.VENUE_BINARY_FRAMES)
    not_understood = Count(M.VENUE_NOT_UNDERSTOOD)
    trades = Count(M.VENUE_TRADES)
    trades_malformed = Count(M.VENUE_TRADES_MALFORMED)


class VenueFeeds:
    """All feeds of one venue, which share one connection."""

    def __init__(
        self,
        engine: Engine,
        connection: int,
        protocol: VenueProtocol,
        syncs: tuple[BookSync, ...],
        host: VenueHost,
    ) -> None:
        self.connection = connection
        self.protocol = protocol
        self.syncs = syncs
        for sync in syncs:
            sync.peers = syncs
            others = (each.timeliness for each in syncs if each is not sync)
            sync.timeliness.peers = tuple(others)
        self.symbols = tuple(sync.spec.symbol for sync in syncs)
        self.handle = engine.frame_handler(connection)
        """f(frame, receive_ns, is_last) -> status: the compiled path."""
        self.arena_address = engine.address
        meters = engine.meters
        self.counters = VenueCounters(meters.words, meters.venue_at[connection])
        self.trades: TradeFeed | None = None
        """Who takes its trades, where they are wanted."""
        self._engine = engine
        self._host = host
        self._by_feed = {sync.feed: sync for sync in syncs}
        self._subscribed_ns = 0
        self._connections = 0
        """How many there were: it names the present one."""

    @property
    def name(self) -> str:
        return self.protocol.name

    def on_connecting(self, now_ns: int) -> None:
        self._connections += 1
        self._engine.restart_connection(self.connection)
        for sync in self.syncs:
            sync.on_connecting(now_ns)

    def on_subscribed(self, now_ns: int) -> None:
        self._subscribed_ns = now_ns
        for sync in self.syncs:
            sync.on_subscribed(now_ns)

    def on_acknowledged(self, now_ns: int) -> None:
        """Every subscription is confirmed, or the address was one: the streams flow, but for those
        that were refused, which only an answer by their name confirms."""
        for sync in self.syncs:
            if sync.state != L.DISCONNECTED:
                sync.on_acknowledged(now_ns)

    def unacknowledged(self) -> tuple[str, ...]:
        """The symbols whose subscription the venue has not confirmed, where it names symbols."""
        return tuple(each.spec.symbol for each in self.syncs if not each.is_acknowledged)

    def on_refused(self, symbol: str, reason: str, now_ns: int) -> None:
        """One member's stream is not to be had; the others go on."""
        for sync in self.syncs:
            if sync.spec.symbol == symbol:
                sync.on_lost(reason, now_ns)
                self._host.note_venue(
                    self, FeedEvent.SUBSCRIPTION_REFUSED, symbol=symbol, reason=reason
                )

    def _on_symbols_acknowledged(self, symbols: str, now_ns: int) -> None:
        named = symbols.split(" ")
        for sync in self.syncs:
            if sync.spec.symbol in named:
                if sync.state == L.DISCONNECTED:  # it was refused before
                    sync.on_connecting(now_ns)
                    sync.on_subscribed(now_ns)
                sync.on_acknowledged(now_ns)

    def on_subscribing(self) -> None:
        """Subscriptions are on their way, at first or with another server: none is confirmed."""
        for sync in self.syncs:
            sync.on_subscribing()

    def on_moved(self, now_ns: int) -> None:
        """The streams come from another server, from when it acknowledges them."""
        self._connections += 1
        self._engine.restart_connection(self.connection)
        self.restart_streams("moved to another server", now_ns)
        for sync in self.syncs:
            sync.await_stream(now_ns)

    def on_lost(self, reason: str, now_ns: int) -> None:
        for sync in self.syncs:
            sync.on_lost(reason, now_ns)

    def on_timer(self, now_ns: int, first: int = 0, end: int | None = None) -> None:
        """Look at the books of all feeds, or of those from `first` to `end`."""
        for sync in self.syncs[first:end]:
            sync.on_timer(now_ns)

    def on_standstill(self, now_ns: int) -> None:
        """This process did not run for a while, or its host slept."""
        for sync in self.syncs:
            if sync.state == L.LIVE:
                sync.go_stale("this process stood still, or its host slept", now_ns)

    def is_silent(self, now_ns: int, limit_ns: int) -> bool:
        """Whether the connection is as good as dead: nothing is LIVE, and no data for so long.

        Not only where all are STALE: a feed that waits for its stream to reach a snapshot would
        wait for ever on a connection that brings no more.
        """
        heard_ns, with_stream = self._subscribed_ns, 0
        for sync in self.syncs:
            if sync.state == L.LIVE:
                return False
            with_stream += sync.state not in WITHOUT_STREAM
            heard_ns = max(heard_ns, sync.heard_ns)
        return with_stream > 0 and now_ns - heard_ns > limit_ns

    def break_off(self, reason: str, now_ns: int) -> None:
        """Withdraw and resynchronise every feed of this venue."""
        for sync in self.syncs:
            sync.break_off(reason, now_ns)

    def restart_streams(self, reason: str, now_ns: int) -> None:
        """The same, where the next frame may come from another server."""
        self.break_off(reason, now_ns)
        for sync in self.syncs:
            self._engine.restart_stream(sync.feed)

    def publish_touched(self) -> None:
        """Publish what is left where the last frame in the receive buffer was not a text."""
        self._engine.publish_touched()

    def on_status(self, status: int, frame: Callable[[], bytes], now_ns: int, is_last: int) -> None:
        """Whatever `handle` answered other than APPLIED."""
        if status == S.OTHER:
            self._on_control(frame(), now_ns)
        elif status == S.BAD_JSON and frame() == self.protocol.heartbeat_answer:
            pass  # the connection lives; of its books that says nothing
        elif status == S.LARGE:
            self._on_large(frame(), now_ns)
        elif status == S.SEVERAL:
            self._handle_parts(frame(), now_ns, is_last)
        elif status == S.UNKNOWN_SYMBOL:
            self.counters.other_symbols += 1
        elif status == S.OUT_OF_TIME:
            self._on_out_of_time(frame, now_ns, is_last)
        elif status in S.UNFIT and self._learns(frame(), now_ns):
            self._handle_again(frame, now_ns, is_last)
        else:
            self._on_feed(status, frame, now_ns)
        if is_last and status < 0:
            self._engine.publish_touched()

    def _on_large(self, frame: bytes, now_ns: int) -> None:
        """Perhaps a whole book: whose, and which, is known when another thread has decoded it."""
        for sync in self.syncs:
            sync.on_large(now_ns)
        number = self._engine.last_number(self.connection)
        self._host.decode_large(self, frame, LargeFrame(self._connections, number))

    def on_large_decoded(self, large: LargeFrame, feed: int, stage: Stage, now_ns: int) -> None:
        """What a large frame was; one of a connection that is gone is dropped."""
        if large.connection != self._connections:
            return
        is_next = large.number < 0 or large.number == stage.last_id
        sync = self._by_feed.get(feed)
        if sync is None or not is_next or not stage.is_snapshot or sync.state == L.LIVE:
            # Books of which one has changed, nobody knows how.
            self.restart_streams("a large frame that is no whole book that was asked for", now_ns)
            return
        sync.on_snapshot(sync.request.number, stage, 0, now_ns)

    def on_binary(self, now_ns: int) -> None:
        """A binary frame: no venue sends any, so what it means is not known."""
        self.counters.binary_frames += 1
        self._distrust("binary frame", now_ns)

    def _on_feed(self, status: int, frame: Callable[[], bytes], now_ns: int) -> None:
        sync = self._by_feed.get(self._engine.last_feed)
        hit = self.syncs if sync is None else (sync,)
        for each in hit:
            each.on_status(status, frame, now_ns)
        if status < 0:
            self._host.withdrawn(self, S.TEXTS[status])

    def _on_out_of_time(self, frame: Callable[[], bytes], now_ns: int, is_last: int) -> None:
        sync = self._by_feed[self._engine.last_feed]
        if sync.timing.admits(now_ns):
            self._handle_again(frame, now_ns, is_last)
            sync.timing.bound(now_ns)
            return
        self._host.withdrawn(self, S.TEXTS[S.OUT_OF_TIME])
        if is_last:
            self._engine.publish_touched()

    def _handle_again(self, frame: Callable[[], bytes], now_ns: int, is_last: int) -> None:
        """What kept the kernel from taking the frame is out of its way."""
        self._step_back()
        status = self.handle(frame(), self._host.wall_ns(), is_last)
        if status != S.APPLIED:
            self.on_status(status, frame, now_ns, is_last)

    def _step_back(self) -> None:
        """The frame's number on the connection, which was seen, is the next one still."""
        number = self._engine.last_number(self.connection)
        self._engine.restart_connection(self.connection, max(number - 1, L.NO_ID))

    def _handle_parts(self, frame: bytes, now_ns: int, is_last: int) -> None:
        """One after the other, all with the frame's number on the connection; the last one
        publishes. A book that was stale is shown when all of them are in it."""
        parts = parts_of(frame, self.protocol.rules.frame.envelope)
        if not parts:
            self._distrust("a frame with too many messages", now_ns)
        resumed: dict[int, bytes] = {}
        for at, part in enumerate(parts, 1):
            is_end = is_last if at == len(parts) else 0
            self._step_back()
            status = self.handle(part, self._host.wall_ns(), is_end)
            if status == S.RESUMED:
                resumed[self._engine.last_feed] = part
            elif status != S.APPLIED:
                self.on_status(status, partial(bytes, part), now_ns, is_end)
        for feed, part in resumed.items():
            if (sync := self._by_feed[feed]).state == L.STALE:
                sync.on_status(S.RESUMED, partial(bytes, part), now_ns)

    def _learns(self, frame: bytes, now_ns: int) -> bool:
        """Whether the frame's feed counts in other units now, which hold it."""
        sync = self._by_feed.get(self._engine.last_feed)
        if sync is None or not sync.units.takes(frame, now_ns):
            return False
        self._host.withdrawn(self, FeedEvent.UNITS_LEARNED.text)
        return True

    def take_trades(self, writer: TradesWriter) -> None:
        """From now on its trades go to a ring: before it is connected."""
        where = (self._engine, self.connection, self.protocol, self.counters)
        self.trades = TradeFeed(*where, writer)

    def trade_subscriptions(self) -> list[bytes]:
        """What to send for its trades; nothing where nobody wants them."""
        return [] if self.trades is None else self.protocol.trade_subscriptions(self.symbols)

    def _on_control(self, frame: bytes, now_ns: int) -> None:
        if self.trades is not None and self.trades.takes(frame, self._host.wall_ns()):
            return
        try:
            kind, text = self.protocol.control(orjson.loads(frame))
        except orjson.JSONDecodeError:
            kind, text = Control.UNKNOWN, "not JSON"
        if kind is Control.SUBSCRIBED:
            self._on_symbols_acknowledged(text, now_ns)
            self._host.acknowledged(self)
        elif kind is Control.RECONNECT:
            self._host.reconnect(self, text)
        elif kind is Control.ERROR:
            self._host.note_venue(self, FeedEvent.VENUE_ERROR, text=text)
            self._host.refused(self, text)
        elif kind is Control.UNKNOWN:
            self.counters.not_understood += 1
            self._host.note_venue(self, FeedEvent.NOT_UNDERSTOOD, text=text)
            self._distrust("frame not understood", now_ns)

    def _distrust(self, reason: str, now_ns: int) -> None:
        """It may have been a diff that lost its name: without sequence numbers nothing tells."""
        self.restart_streams(reason, now_ns)
        self._host.withdrawn(self, reason)
