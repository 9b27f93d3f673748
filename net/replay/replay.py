"""A tape through the engine: the same book syncs and kernels as live, no network, no clock.

Time is the tape's. A connection is there from the first line on, until the tape says that it was
lost; what comes then is of another one, and no book is continued over that.
A recorded REST body answers the book sync that has asked for it, or, where the
sync asks a little later than the recorded one did, its next question. The result depends on the
tape and the configuration alone: the digest of two runs is equal.
Runs on: the main thread.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import orjson

from engine.decoding.scale import exact_text
from engine.engine import Engine, Stage
from engine.layout import layout as L
from engine.layout import status as S
from engine.layout.units import NEVER_NS, NS_PER_S
from engine.sharing.handoff import HandoffReader
from engine.sharing.trades_ring import TradesWriter
from net.config.schema import Config, ConfigError
from net.feed.book_sync import BookSync
from net.feed.events import FeedEvent
from net.feed.snapshot_request import SnapshotRequest
from net.feed.specs import feed_specs_by_venue, instrument_specs
from net.feed.venue_feeds import ONLY_ANEW, LargeFrame, VenueFeeds
from net.sockets.backoff import Backoff
from net.tape.tape import TapeLine
from net.venues.interface import MetadataError
from net.venues.registry import VENUES

if TYPE_CHECKING:
    from net.maker.maker import Maker

TIMER_NS = 50_000_000
"""The timer's period in tape time, as live."""
SILENCE_NS_MAX = 3600 * NS_PER_S
"""How much of a longer silence is played: the recorder's clock may have been set forward."""

BookSink = Callable[[dict[str, object]], None]


class Observer(Protocol):
    """Who watches a replay, and looks at its engine and its reader, but changes nothing.

    `now_ns` is the tape's time, and rises.
    """

    def on_frame(self, now_ns: int, receive_ns: int) -> None:
        """A frame has been handled; `engine.last_feed` tells whose it was."""

    def on_book(self, index: int, now_ns: int) -> None:
        """The reader holds a book that was just published: of the instrument of this index."""

    def on_note(
        self, sync: BookSync, event: FeedEvent, facts: Mapping[str, object], now_ns: int
    ) -> None:
        """A book sync has said something that an operator should see."""

    def on_timer(self, now_ns: int) -> None:
        """Some time has gone by: TIMER_NS on the tape."""


@dataclass
class ReplaySummary:
    """What a replay came to."""

    frames: int = 0
    books: int = 0
    crossed: int = 0
    first_ns: int = 0
    last_ns: int = 0
    notes: dict[str, int] = field(default_factory=dict)
    states: dict[str, dict[str, str]] = field(default_factory=dict)
    digest: str = ""
    quoting: dict[str, str] = field(default_factory=dict)
    """With a market maker: its records and their digest, fills, position and result."""
    trades: dict[str, int] = field(default_factory=dict)
    """Taken of each venue, where the configuration wants them."""
    end: str = ""
    """Where and why a damaged tape ends before its end."""

    @property
    def span_s(self) -> float:
        """How long the tape is, in its own time."""
        return (self.last_ns - self.first_ns) / 1e9

    def as_json(self) -> dict[str, object]:
        """What `pollux replay --json` ends with."""
        parts = {"quoting": self.quoting, "trades": self.trades, "end": self.end}
        more = {name: value for name, value in parts.items() if value}
        return {"digest": self.digest, "books": self.books, "frames": self.frames, **more}

    def lines(self) -> list[str]:
        """For the terminal."""
        states = (
            (venue, ", ".join(f"{symbol} {state}" for symbol, state in found.items()))
            for venue, found in self.states.items()
        )
        return [
            f"frames    {self.frames}",
            f"books     {self.books} published, {self.crossed} crossed",
            f"market    {self.span_s:.1f} s",
            *(f"{venue:<9} {text}" for venue, text in states),
            *(f"          {count} x {what}" for what, count in sorted(self.notes.items())),
            f"digest    {self.digest}",
            *(f"trades    {count} of {venue}" for venue, count in self.trades.items()),
            *(f"quoting   {what} {text}" for what, text in self.quoting.items()),
            *([f"the tape ends early: {self.end}"] if self.end else []),
        ]


def book_entry(reader: HandoffReader, index: int) -> dict[str, object]:
    """The book in a reader's buffer with exact decimals, as `pollux replay --json` prints it."""
    book, info = reader.book, reader.instruments[index].counted_as(reader.book)

    def side(count_at: int, levels_at: int) -> list[list[str]]:
        rows = []
        for level in range(int(book[count_at])):
            at = levels_at + level * L.LEVEL_WORDS
            price = exact_text(
                int(book[at + L.LEVEL_PRICE]), info.tick_mantissa, info.tick_decimals
            )
            lots = exact_text(int(book[at + L.LEVEL_LOTS]), 1, info.lot_decimals)
            rows.append([info.venues[int(book[at + L.LEVEL_VENUE])], price, lots])
        return rows

    return {
        "seq": int(book[L.SLOT_SEQUENCE]),
        "t": int(book[L.SLOT_PUBLISH_NS]),
        "symbol": info.symbol,
        "bids": side(L.SLOT_BIDS, L.SLOT_BIDS_AT),
        "asks": side(L.SLOT_ASKS, L.SLOT_ASKS_AT),
        "venues": {
            name: L.STATE_NAMES[int(book[L.SLOT_VENUES_AT + v * L.VENUE_WORDS + L.VENUE_STATE])]
            for v, name in enumerate(info.venues)
        },
    }


def tick_sizes(config: Config, lines: Iterable[TapeLine]) -> dict[tuple[str, str], str]:
    """The tick of each (venue, symbol): configured, or from a recorded answer of the venue."""
    ticks: dict[tuple[str, str], str] = {}
    wanted: set[tuple[str, str]] = set()
    for instrument in config.instrument:
        for venue in instrument.venue:
            if venue.tick_size is None:
                wanted.add((venue.name, venue.symbol))
            else:
                ticks[venue.name, venue.symbol] = venue.tick_size
    if not wanted:
        return ticks
    for line in lines:
        protocol = VENUES.get(line.venue)
        if line.kind != "rest" or protocol is None or not protocol.is_metadata(line.path):
            continue
        for name, symbol in [each for each in wanted if each[0] == line.venue]:
            try:
                ticks[name, symbol] = protocol.tick_size(orjson.loads(line.raw), symbol)
                wanted.discard((name, symbol))
            except (MetadataError, orjson.JSONDecodeError):
                continue
        if not wanted:
            return ticks
    name, symbol = sorted(wanted)[0]
    raise ConfigError(
        f"{name} {symbol}: tick_size must be configured, the tape has no answer that names it"
    )


class Replay:
    """One run. `step` takes lines one by one; `finish` gives the summary."""

    def __init__(
        self, config: Config, ticks: dict[tuple[str, str], str], sink: BookSink | None = None
    ) -> None:
        self.engine = Engine(instrument_specs(config, ticks))
        self.reader = self.engine.reader()
        self.summary = ReplaySummary()
        self.observer: Observer | None = None
        self._config = config
        self._sink = sink
        self._digest = hashlib.sha256()
        self._seen = [0] * len(self.reader.instruments)
        self._bodies: dict[int, tuple[bytes, int]] = {}
        self._connected: set[str] = set()
        """Venues whose connection has been seen open, or has brought something."""
        self._lost: set[str] = set()
        self._tickless: set[int] = set()
        """Feeds that have asked for their tick."""
        self._now_ns = 0
        self._timer_ns = 0
        self._moment_ns = 0
        """What an observer is told: the timer's time while it runs, else the line's. It rises."""
        rng = random.Random(0)
        self.trades = TradesWriter("", len(config.instrument)) if config.engine.trades else None
        self.venues: dict[str, VenueFeeds] = {}
        for connection, (name, feeds) in enumerate(feed_specs_by_venue(config).items()):
            syncs = tuple(self._sync(name, feed, rng) for feed in feeds)
            self.venues[name] = VenueFeeds(self.engine, connection, VENUES[name], syncs, self)
            if self.trades is not None:
                self.venues[name].take_trades(self.trades)
        self.maker = self._make_maker(ticks) if config.maker else None

    def _make_maker(self, ticks: dict[tuple[str, str], str]) -> Maker:
        """Quoting on a tape is on paper, whatever the configuration says: nobody would answer."""
        from net.maker.build import DigestJournal, build_maker, plain_market

        config = self._config
        assert len(config.maker) == 1, "a tape is run with one market maker at a time"
        self.decisions = DigestJournal()
        paper = config.maker[0].model_copy(update={"orders": "paper"})
        markets = {
            venue.name: plain_market(venue.symbol, ticks[venue.name, venue.symbol])
            for venue in config.quoted_instrument(paper).venue
        }
        return build_maker(
            config.model_copy(update={"maker": (paper,)}),
            self.engine,
            markets,
            self.decisions,
            self,
            epoch=1,
            rng=random.Random(0),
        )

    def _sync(self, name: str, feed: int, rng: random.Random) -> BookSync:
        settings = self._config.settings(name)
        return BookSync(
            self.engine,
            feed,
            VENUES[name],
            self,
            snapshot_depth=VENUES[name].snapshot_depths(settings)[-1],
            stale_after_ms=self._config.engine.stale_after_ms,
            late_after_ms=settings.late_after_ms,
            backoff=Backoff(random.Random(rng.random())),
        )

    def step(self, line: TapeLine) -> None:
        """Take one line of the tape; lines of venues that are not configured are passed over."""
        if self._now_ns == 0:
            self.summary.first_ns = self._now_ns = self._timer_ns = self._moment_ns = line.t_ns
            for venue in self.venues.values():
                self._connect(venue)
        # Receive times of different venues may step back a little inside one tape.
        self._now_ns = max(self._now_ns, line.t_ns)
        self._run_timers()
        self._moment_ns = self._now_ns
        venue_or_none = self.venues.get(line.venue)
        if venue_or_none is not None:
            self._take(venue_or_none, line)
        self._collect()

    def _take(self, venue: VenueFeeds, line: TapeLine) -> None:
        if line.kind == "ws":
            if venue.name in self._lost:
                self._connect(venue)
            self._connected.add(venue.name)
            self._on_frame(venue, line)
        elif line.kind == "rest":
            self._on_body(venue, line)
        elif line.kind == "open":
            self._on_open(venue)
        elif line.kind == "lost" and venue.name not in self._lost:
            self._on_lost(venue, line.raw.decode())

    def _connect(self, venue: VenueFeeds) -> None:
        self._lost.discard(venue.name)
        venue.on_connecting(self._now_ns)
        venue.on_subscribed(self._now_ns)
        venue.on_acknowledged(self._now_ns)

    def _on_open(self, venue: VenueFeeds) -> None:
        if venue.name in self._lost:
            self._connect(venue)
        elif venue.name in self._connected and not venue.protocol.rules.can_overlap:
            # A successor that was opened before the old one went: as live.
            venue.on_moved(self._now_ns)
        self._connected.add(venue.name)

    def _on_lost(self, venue: VenueFeeds, reason: str) -> None:
        self._lost.add(venue.name)
        for sync in venue.syncs:
            self._bodies.pop(sync.feed, None)
        venue.on_lost(reason, self._now_ns)
        self.withdrawn(venue, reason)
        if self.maker is not None:
            self.maker.on_book(self._now_ns)

    def _run_timers(self) -> None:
        """What is due before this line: messages of orders on paper, and the timer's turns."""
        self._timer_ns = max(self._timer_ns, self._now_ns - SILENCE_NS_MAX)
        while True:
            tick_ns = self._timer_ns + TIMER_NS
            if self._run_papers(min(tick_ns, self._now_ns)):
                continue
            if tick_ns > self._now_ns:
                return
            self._timer_ns = self._moment_ns = tick_ns
            for venue in self.venues.values():
                venue.on_timer(self._timer_ns)
            if self.maker is not None:
                self.maker.on_timer(self._timer_ns)
            self._collect()
            if self.observer is not None:
                self.observer.on_timer(self._timer_ns)

    def _run_papers(self, until_ns: int) -> bool:
        """Let the next message of an order on paper arrive, on the book of its time: whether any
        was due."""
        if self.maker is None:
            return False
        due_ns = self._papers_due_ns()
        if due_ns > until_ns:
            return False
        self._moment_ns = max(self._moment_ns, due_ns)
        for paper in self.maker.papers.values():
            paper.on_timer(self._moment_ns)
        return True

    def _papers_due_ns(self) -> int:
        """When the next message of an order on paper arrives; NEVER_NS."""
        due_ns = NEVER_NS
        if self.maker is not None:
            for paper in self.maker.papers.values():
                due_ns = min(due_ns, paper.next_due_ns)
        return due_ns

    def _on_frame(self, venue: VenueFeeds, line: TapeLine) -> None:
        self.summary.frames += 1
        raw = line.raw
        status = venue.handle(raw, line.t_ns, 1)
        if self.observer is not None:
            self.observer.on_frame(self._moment_ns, line.t_ns)
        if status != S.APPLIED:
            venue.on_status(status, lambda: raw, line.t_ns, 1)
        if self.maker is not None:
            self.maker.on_book(self._now_ns)

    def _on_body(self, venue: VenueFeeds, line: TapeLine) -> None:
        if venue.protocol.is_metadata(line.path):
            self._on_metadata(venue, line)
        found = venue.protocol.snapshot_of(line.path)
        if found is None:
            return
        symbol, depth = found
        for sync in venue.syncs:
            if sync.spec.symbol == symbol:
                self._bodies[sync.feed] = line.raw, depth
                if sync.is_asking:
                    self.fetch_snapshot(sync, sync.request)

    def _on_metadata(self, venue: VenueFeeds, line: TapeLine) -> None:
        """The answer to a question about a tick, where one was asked."""
        for sync in venue.syncs:
            if sync.feed in self._tickless:
                with contextlib.suppress(MetadataError, orjson.JSONDecodeError):
                    tick_size = venue.protocol.tick_size(orjson.loads(line.raw), sync.spec.symbol)
                    self._tickless.discard(sync.feed)
                    sync.units.declared(tick_size, self._now_ns)

    def _collect(self) -> None:
        """Every book published since the last look, in order of instruments, then sequence."""
        for index in range(len(self._seen)):
            latest = self.reader.sequence(index)
            while self._seen[index] < latest:
                self._seen[index] += 1
                found = self.reader.read_exact(index, self._seen[index])
                assert found == self._seen[index], "a line publishes fewer books than a ring holds"
                self._take_book(index)

    def _take_book(self, index: int) -> None:
        book = self.reader.book
        self.summary.books += 1
        self.summary.crossed += int(book[L.SLOT_FLAGS]) & L.FLAG_CROSSED
        bids = L.SLOT_BIDS_AT + int(book[L.SLOT_BIDS]) * L.LEVEL_WORDS
        asks = L.SLOT_ASKS_AT + int(book[L.SLOT_ASKS]) * L.LEVEL_WORDS
        self._digest.update(book[L.SLOT_SEQUENCE : bids].tobytes())
        self._digest.update(book[L.SLOT_ASKS_AT : asks].tobytes())
        if self._sink is not None:
            self._sink(book_entry(self.reader, index))
        if self.observer is not None:
            self.observer.on_book(index, self._moment_ns)

    def finish(self) -> ReplaySummary:
        """The summary, once the tape is through."""
        self.summary.last_ns = self._now_ns
        self.summary.digest = self._digest.hexdigest()
        if self.maker is not None:
            from net.maker.build import result_texts

            facts = {"records": str(self.decisions.records), "digest": self.decisions.digest}
            self.summary.quoting = facts | result_texts(self.maker)
        for venue in self.venues.values():
            if venue.trades is not None:
                self.summary.trades[venue.name] = venue.counters.trades
            for sync in venue.syncs:
                states = self.summary.states.setdefault(venue.name, {})
                states[sync.spec.symbol] = L.STATE_NAMES[sync.state]
        return self.summary

    # --- what book syncs and venues ask for ----------------------------------------------------

    def fetch_snapshot(self, sync: BookSync, request: SnapshotRequest) -> None:
        sync.on_snapshot_sent(request.number, self._now_ns)
        if sync.feed not in self._bodies:
            return
        raw, depth = self._bodies.pop(sync.feed)
        stage = Stage()
        self.engine.stage(sync.feed, raw, stage)
        sync.on_snapshot(request.number, stage, depth, self._now_ns)

    def decode_large(self, venue: VenueFeeds, frame: bytes, large: LargeFrame) -> None:
        stage = Stage()
        feed = self.engine.stage_large(venue.connection, frame, stage)
        venue.on_large_decoded(large, feed, stage, self._now_ns)

    def wall_ns(self) -> int:
        return self._moment_ns

    def cancel_snapshot(self, sync: BookSync) -> None:
        """The next recorded body may answer the next request."""

    def ask_tick_size(self, sync: BookSync) -> None:
        self._tickless.add(sync.feed)

    def note(self, sync: BookSync, event: FeedEvent, /, **facts: object) -> None:
        text = event.text
        self._count(text if "reason" not in facts else f"{text}: {facts['reason']}")
        if self.observer is not None:
            self.observer.on_note(sync, event, facts, self._moment_ns)

    def note_venue(self, venue: VenueFeeds, event: FeedEvent, /, **facts: object) -> None:
        self._count(f"{venue.name}: {event.text}")

    def _count(self, what: str) -> None:
        self.summary.notes[what] = self.summary.notes.get(what, 0) + 1

    def note_maker(self, level: str, what: str, **facts: object) -> None:
        self._count(f"maker: {what}")

    def acknowledged(self, venue: VenueFeeds) -> None:
        """Nothing to wait for on a tape."""

    def refused(self, venue: VenueFeeds, reason: str) -> None:
        """What was not subscribed to is not on the tape."""

    def reconnect(self, venue: VenueFeeds, reason: str) -> None:
        """The tape goes on with the connection it has."""

    def withdrawn(self, venue: VenueFeeds, reason: str) -> None:
        if self._config.engine.resync_scope == "all" and reason != ONLY_ANEW:
            for other in self.venues.values():
                if other is not venue:
                    other.break_off(f"{venue.name}: {reason}", self._now_ns)


def replay(
    config: Config,
    lines: Iterator[TapeLine],
    ticks: dict[tuple[str, str], str],
    sink: BookSink | None = None,
) -> ReplaySummary:
    """Run a whole tape; the summary with the digest."""
    run = Replay(config, ticks, sink)
    for line in lines:
        run.step(line)
    return run.finish()
