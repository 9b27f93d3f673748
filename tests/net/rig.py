"""Frames, snapshots and a recording host for the tests of book syncs and venues.

Runs on: the tests' thread.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from decimal import Decimal

import orjson

from engine.compiling.atomics import Words
from engine.engine import Engine, Stage
from engine.layout import layout as L
from engine.layout import status as S
from engine.specs import FeedSpec, InstrumentSpec
from net.feed.book_sync import BookSync
from net.feed.events import FeedEvent
from net.feed.snapshot_request import SnapshotRequest
from net.feed.venue_feeds import LargeFrame, VenueFeeds
from net.sockets.backoff import Backoff
from net.venues.checked_by import checked_by
from net.venues.registry import VENUES

SECOND = 1_000_000_000
START_NS = 1_700_000_000 * SECOND

Rows = list[tuple[str, str]]


FAR_BIDS: Rows = [("1.00", "1")]
FAR_ASKS: Rows = [("900.00", "1")]
"""What diffs set where a test does not care: a book sync waits for both sides to be spoken of."""


def binance_diff(
    first: int, last: int, bids: Rows = FAR_BIDS, asks: Rows = FAR_ASKS, time_ms: int = 0
) -> bytes:
    """A depthUpdate of a combined stream; without a time one that grows with its ids."""
    data = {
        "e": "depthUpdate", "E": time_ms or 1_700_000_000_000 + last, "s": "BTCUSDT",
        "U": first, "u": last, "b": bids, "a": asks,
    }  # fmt: skip
    return orjson.dumps({"stream": "btcusdt@depth@100ms", "data": data})


def bitstamp_diff(micro: int, bids: Rows = FAR_BIDS, asks: Rows = FAR_ASKS) -> bytes:
    """A diff_order_book frame."""
    data = {
        "timestamp": str(micro // 1_000_000), "microtimestamp": str(micro),
        "bids": bids, "asks": asks,
    }  # fmt: skip
    return orjson.dumps({"data": data, "channel": "diff_order_book_btcusd", "event": "data"})


def diff(venue: str, book_id: int, bids: Rows, asks: Rows) -> bytes:
    """A diff of either venue that follows the last id but one."""
    if venue == "binance":
        return binance_diff(book_id, book_id, bids, asks)
    return bitstamp_diff(book_id, bids, asks)


def snapshot(venue: str, book_id: int, bids: Rows, asks: Rows) -> bytes:
    """A REST book."""
    if venue == "binance":
        return orjson.dumps({"lastUpdateId": book_id, "bids": bids, "asks": asks})
    return orjson.dumps(
        {"timestamp": "1", "microtimestamp": str(book_id), "bids": bids, "asks": asks}
    )


BIDS: Rows = [("100.00", "1"), ("99.99", "2")]
ASKS: Rows = [("100.01", "1"), ("100.02", "2")]


@dataclass
class Desk:
    """One instrument on both venues, driven by hand; time moves only when told."""

    names: tuple[str, ...] = ("binance", "bitstamp")
    now_ns: int = START_NS
    late_after_ms: int = 0
    """0: frames that say the same time again and again are not late."""
    wall_step_ns: int = 0
    """By how much the wall clock has been set, against the time that goes by."""
    asked: list[str] = field(default_factory=list)
    tick_questions: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    notes: list[tuple[str, FeedEvent, dict[str, object]]] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    reconnects: list[str] = field(default_factory=list)
    withdrawals: list[str] = field(default_factory=list)
    acknowledgements: int = 0

    def __post_init__(self) -> None:
        symbols = {"binance": "BTCUSDT", "bitstamp": "btcusd"}
        feeds = tuple(
            FeedSpec(
                name, VENUES[name].rules, number, symbols[name], "0.01",
                checked_by=checked_by(VENUES[name]),
            )
            for number, name in enumerate(self.names)
        )  # fmt: skip
        spec = InstrumentSpec("BTC-USD", feeds)
        self.engine = Engine((spec,), window_slots=1 << 12, far_levels_max=64)
        self.reader = self.engine.reader()
        self.syncs = {
            name: BookSync(
                self.engine, feed, VENUES[name], self,
                snapshot_depth=5 if name == "binance" else 0,
                stale_after_ms=5000, late_after_ms=self.late_after_ms,
                backoff=Backoff(random.Random(feed)),
            )
            for feed, name in enumerate(self.names)
        }  # fmt: skip
        self.venues = {
            name: VenueFeeds(self.engine, number, VENUES[name], (self.syncs[name],), self)
            for number, name in enumerate(self.names)
        }

    # what book syncs and venues ask for

    def fetch_snapshot(self, sync: BookSync, request: SnapshotRequest) -> None:
        self.asked.append(sync.spec.venue)
        sync.on_snapshot_sent(request.number, self.now_ns)

    def decode_large(self, venue: VenueFeeds, frame: bytes, large: LargeFrame) -> None:
        raise AssertionError("no frame here is large")

    def wall_ns(self) -> int:
        return self.now_ns + self.wall_step_ns

    def ask_tick_size(self, sync: BookSync) -> None:
        self.tick_questions.append(sync.spec.venue)

    def cancel_snapshot(self, sync: BookSync) -> None:
        self.cancelled.append(sync.spec.venue)

    def note(self, sync: BookSync, event: FeedEvent, /, **facts: object) -> None:
        self.notes.append((sync.spec.venue, event, facts))

    def note_venue(self, venue: VenueFeeds, event: FeedEvent, /, **facts: object) -> None:
        self.notes.append((venue.name, event, facts))

    def acknowledged(self, venue: VenueFeeds) -> None:
        self.acknowledgements += 1

    def refused(self, venue: VenueFeeds, reason: str) -> None:
        self.refusals.append(reason)

    def reconnect(self, venue: VenueFeeds, reason: str) -> None:
        self.reconnects.append(venue.name)

    def withdrawn(self, venue: VenueFeeds, reason: str) -> None:
        self.withdrawals.append(venue.name)

    # what tests do

    def connect(self, name: str) -> None:
        self.venues[name].on_connecting(self.now_ns)
        self.venues[name].on_subscribed(self.now_ns)
        self.venues[name].on_acknowledged(self.now_ns)

    def frame(self, name: str, raw: bytes) -> int:
        """Hand a frame to the venue, as the stream does; the kernel's status."""
        venue = self.venues[name]
        status = venue.handle(raw, self.wall_ns(), 1)
        if status != S.APPLIED:
            venue.on_status(status, lambda: raw, self.now_ns, 1)
        return status

    def answer(self, name: str, book_id: int, bids: Rows = BIDS, asks: Rows = ASKS) -> None:
        """Answer the outstanding snapshot request."""
        sync = self.syncs[name]
        stage = Stage(4096)
        self.engine.stage(sync.feed, snapshot(name, book_id, bids, asks), stage)
        sync.on_snapshot(sync.request.number, stage, sync.snapshot_depth, self.now_ns)

    def fail(self, name: str, reason: str, retry_after_ns: int = 0) -> None:
        """The outstanding snapshot request has failed."""
        sync = self.syncs[name]
        sync.on_snapshot_failed(sync.request.number, reason, self.now_ns, retry_after_ns)

    def wait(self, seconds: float) -> None:
        """Let time pass, with the timer running as it does live."""
        end_ns = self.now_ns + int(seconds * SECOND)
        while self.now_ns < end_ns:
            self.now_ns = min(self.now_ns + SECOND // 20, end_ns)
            for venue in self.venues.values():
                venue.on_timer(self.now_ns)

    def state(self, name: str) -> str:
        return L.STATE_NAMES[self.syncs[name].state]

    def bids(self) -> list[tuple[str, int, int]]:
        """The published bids as (venue, ticks, lots)."""
        return self._side(L.SLOT_BIDS, L.SLOT_BIDS_AT)

    def asks(self) -> list[tuple[str, int, int]]:
        """The published asks as (venue, ticks, lots)."""
        return self._side(L.SLOT_ASKS, L.SLOT_ASKS_AT)

    def book(self) -> dict[str, dict[str, Decimal]]:
        """The published levels as exact decimals: amount by venue and price, both as text."""
        info = self.reader.instruments[0].counted_as(self._read())
        tick, lot = info.tick_size, Decimal(1).scaleb(-info.lot_decimals)
        found: dict[str, dict[str, Decimal]] = {}
        for side, rows in (("bid", self.bids()), ("ask", self.asks())):
            for venue, ticks, lots in rows:
                key = f"{(ticks * tick).normalize():f}"
                found.setdefault(f"{venue} {side}", {})[key] = (lots * lot).normalize()
        return found

    def _read(self) -> Words:
        assert self.reader.read(0) > 0
        return self.reader.book

    def _side(self, count_at: int, levels_at: int) -> list[tuple[str, int, int]]:
        book, rows = self._read(), []
        for level in range(int(book[count_at])):
            at = levels_at + level * L.LEVEL_WORDS
            price, lots, venue = (int(word) for word in book[at : at + L.LEVEL_WORDS])
            rows.append((self.names[venue], price, lots))
        return rows

    def go_live(self, name: str) -> None:
        """The shortest way to LIVE, at id 100."""
        self.connect(name)
        first = binance_diff(95, 100) if name == "binance" else bitstamp_diff(100)
        self.frame(name, first)
        self.answer(name, 100)
        assert self.state(name) == "LIVE"
