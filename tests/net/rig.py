"""Frames, snapshots and a recording host for the tests of sessions and venues.

Runs on: the tests' thread. Called by: tests/net.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import orjson

from engine import layout as L
from engine import status as S
from engine.engine import Engine, FeedSpec, InstrumentSpec, Stage
from net.backoff import Backoff
from net.session import Session
from net.venue import Venue
from net.venues import PROTOCOLS

SECOND = 1_000_000_000
START_NS = 1_700_000_000 * SECOND

Rows = list[tuple[str, str]]


FAR_BIDS: Rows = [("1.00", "1")]
FAR_ASKS: Rows = [("900.00", "1")]
"""What diffs set where a test does not care: a session waits for both sides to be spoken of."""


def binance_diff(first: int, last: int, bids: Rows = FAR_BIDS, asks: Rows = FAR_ASKS) -> bytes:
    """A depthUpdate of a combined stream."""
    data = {
        "e": "depthUpdate", "E": 1_700_000_000_000 + last, "s": "BTCUSDT",
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
    asked: list[str] = field(default_factory=list)
    notes: list[tuple[str, str, dict[str, object]]] = field(default_factory=list)
    reconnects: list[str] = field(default_factory=list)
    withdrawals: list[str] = field(default_factory=list)
    acknowledgements: int = 0

    def __post_init__(self) -> None:
        symbols = {"binance": "BTCUSDT", "bitstamp": "btcusd"}
        feeds = tuple(
            FeedSpec(name, PROTOCOLS[name].protocol, number, symbols[name], "0.01")
            for number, name in enumerate(self.names)
        )
        spec = InstrumentSpec("BTC-USD", feeds)
        self.engine = Engine((spec,), window_slots=1 << 12, far_levels_max=64)
        self.reader = self.engine.reader()
        self.sessions = {
            name: Session(
                self.engine, feed, PROTOCOLS[name], self,
                snapshot_depth=5, stale_after_ms=5000, backoff=Backoff(random.Random(feed)),
            )
            for feed, name in enumerate(self.names)
        }  # fmt: skip
        self.venues = {
            name: Venue(self.engine, number, PROTOCOLS[name], (self.sessions[name],), self)
            for number, name in enumerate(self.names)
        }

    # what sessions and venues ask for

    def fetch_snapshot(self, session: Session) -> None:
        self.asked.append(session.spec.venue)

    def note(self, session: Session, what: str, **facts: object) -> None:
        self.notes.append((session.spec.venue, what, facts))

    def note_venue(self, venue: Venue, what: str, **facts: object) -> None:
        self.notes.append((venue.name, what, facts))

    def acknowledged(self, venue: Venue) -> None:
        self.acknowledgements += 1

    def reconnect(self, venue: Venue, reason: str) -> None:
        self.reconnects.append(venue.name)

    def withdrawn(self, venue: Venue, reason: str) -> None:
        self.withdrawals.append(venue.name)

    # what tests do

    def connect(self, name: str) -> None:
        self.venues[name].on_connecting(self.now_ns)
        self.venues[name].on_subscribed(self.now_ns)
        self.venues[name].on_acknowledged(self.now_ns)

    def frame(self, name: str, raw: bytes) -> int:
        """Hand a frame to the venue, as the stream does; the kernel's status."""
        venue = self.venues[name]
        status = venue.handle(raw, self.now_ns, 1)
        if status != S.APPLIED:
            venue.on_status(status, lambda: raw, self.now_ns, 1)
        return status

    def answer(self, name: str, book_id: int, bids: Rows = BIDS, asks: Rows = ASKS) -> None:
        """Answer the outstanding snapshot request."""
        session = self.sessions[name]
        stage = Stage(4096)
        body = snapshot(name, book_id, bids, asks)
        assert self.engine.stage(session.feed, body, stage) == S.APPLIED
        session.on_snapshot(stage, self.now_ns)

    def wait(self, seconds: float) -> None:
        """Let time pass, with the timer running as it does live."""
        end_ns = self.now_ns + int(seconds * SECOND)
        while self.now_ns < end_ns:
            self.now_ns = min(self.now_ns + SECOND // 20, end_ns)
            for venue in self.venues.values():
                venue.on_timer(self.now_ns)

    def state(self, name: str) -> str:
        return L.STATE_NAMES[self.sessions[name].state]

    def bids(self) -> list[tuple[str, int, int]]:
        """The published bids as (venue, ticks, lots)."""
        return self._side(L.SLOT_BIDS, L.SLOT_BIDS_AT)

    def asks(self) -> list[tuple[str, int, int]]:
        """The published asks as (venue, ticks, lots)."""
        return self._side(L.SLOT_ASKS, L.SLOT_ASKS_AT)

    def _side(self, count_at: int, levels_at: int) -> list[tuple[str, int, int]]:
        assert self.reader.read(0) > 0
        book = self.reader.book
        rows = []
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
