"""A tape through the engine: the same sessions and kernels as live, no network, no clock.

Time is the tape's. A recorded REST body answers the session that has asked for it, or, where the
session asks a little later than the recorded one did, its next question. The result depends on the
tape and the configuration alone: the digest of two runs is equal.
Runs on: the main thread. Called by: pollux.py, tests, bench.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson

from engine import layout as L
from engine import status as S
from engine.engine import Engine, FeedSpec, InstrumentSpec, Stage
from engine.handoff import HandoffReader
from engine.scale import exact_text
from net.backoff import Backoff
from net.config import Config, ConfigError
from net.live import feed_specs_by_venue
from net.session import Session
from net.tape import TapeLine
from net.venue import Venue
from net.venues import PROTOCOLS, MetadataError

if TYPE_CHECKING:
    from net.maker.maker import Maker

TIMER_NS = 50_000_000
"""The timer's period in tape time, as live."""

BookSink = Callable[[dict[str, object]], None]


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

    def lines(self) -> Iterator[str]:
        """For a terminal."""
        yield f"frames    {self.frames}"
        yield f"books     {self.books} published, {self.crossed} crossed"
        yield f"market    {(self.last_ns - self.first_ns) / 1e9:.1f} s"
        for venue, states in self.states.items():
            text = ", ".join(f"{symbol} {state}" for symbol, state in states.items())
            yield f"{venue:<9} {text}"
        for what, count in sorted(self.notes.items()):
            yield f"          {count} x {what}"
        yield f"digest    {self.digest}"
        for what, text in self.quoting.items():
            yield f"quoting   {what} {text}"


def book_entry(reader: HandoffReader, index: int) -> dict[str, object]:
    """The book in a reader's buffer with exact decimals, as `pollux replay --json` prints it."""
    info, book = reader.boards[index], reader.book

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
        protocol = PROTOCOLS.get(line.venue)
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


def instrument_specs(
    config: Config, ticks: dict[tuple[str, str], str]
) -> tuple[InstrumentSpec, ...]:
    """What the engine needs to know, once every tick is known."""
    connections = {name: number for number, name in enumerate(config.venue_names())}
    return tuple(
        InstrumentSpec(
            each.symbol,
            tuple(
                FeedSpec(
                    venue.name,
                    PROTOCOLS[venue.name].protocol,
                    connections[venue.name],
                    venue.symbol,
                    ticks[venue.name, venue.symbol],
                )
                for venue in each.venue
            ),
            each.depth,
        )
        for each in config.instrument
    )


class Replay:
    """One run. `step` takes lines one by one; `finish` gives the summary."""

    def __init__(
        self, config: Config, ticks: dict[tuple[str, str], str], sink: BookSink | None = None
    ) -> None:
        self.engine = Engine(instrument_specs(config, ticks))
        self.reader = self.engine.reader()
        self.summary = ReplaySummary()
        self._config = config
        self._sink = sink
        self._digest = hashlib.sha256()
        self._seen = [0] * len(self.reader.boards)
        self._bodies: dict[int, bytes] = {}
        self._now_ns = 0
        self._timer_ns = 0
        rng = random.Random(0)
        self.venues: dict[str, Venue] = {}
        for connection, (name, feeds) in enumerate(feed_specs_by_venue(config).items()):
            sessions = tuple(self._session(name, feed, rng) for feed in feeds)
            self.venues[name] = Venue(self.engine, connection, PROTOCOLS[name], sessions, self)
        self.maker = self._make_maker(ticks) if config.maker is not None else None

    def _make_maker(self, ticks: dict[tuple[str, str], str]) -> Maker:
        """Quoting on a tape is on paper, whatever the configuration says: nobody would answer."""
        from net.maker.build import DigestJournal, build_maker, plain_market

        config = self._config
        assert config.maker is not None
        self._decisions = DigestJournal()
        paper = config.maker.model_copy(update={"orders": "paper"})
        markets = {
            venue.name: plain_market(venue.symbol, ticks[venue.name, venue.symbol])
            for venue in config.quoted_instrument().venue
        }
        return build_maker(
            config.model_copy(update={"maker": paper}),
            self.engine,
            markets,
            self._decisions,
            self,
            epoch=1,
            rng=random.Random(0),
        )

    def _session(self, name: str, feed: int, rng: random.Random) -> Session:
        return Session(
            self.engine,
            feed,
            PROTOCOLS[name],
            self,
            snapshot_depth=self._config.settings(name).snapshot_depth,
            stale_after_ms=self._config.engine.stale_after_ms,
            backoff=Backoff(random.Random(rng.random())),
        )

    def step(self, line: TapeLine) -> None:
        """Take one line of the tape; lines of venues that are not configured are passed over."""
        if self._now_ns == 0:
            self.summary.first_ns = self._now_ns = self._timer_ns = line.t_ns
            for venue in self.venues.values():
                venue.on_connecting(line.t_ns)
                venue.on_subscribed(line.t_ns)
                venue.on_acknowledged(line.t_ns)
        # Receive times of different venues may step back a little inside one tape.
        self._now_ns = max(self._now_ns, line.t_ns)
        self._run_timers()
        venue_or_none = self.venues.get(line.venue)
        if venue_or_none is not None and line.kind == "ws":
            self._on_frame(venue_or_none, line)
        elif venue_or_none is not None and line.kind == "rest":
            self._on_body(venue_or_none, line)
        self._collect()

    def _run_timers(self) -> None:
        while self._timer_ns + TIMER_NS <= self._now_ns:
            self._timer_ns += TIMER_NS
            for venue in self.venues.values():
                venue.on_timer(self._timer_ns)
            if self.maker is not None:
                self.maker.on_timer(self._timer_ns)
            self._collect()

    def _on_frame(self, venue: Venue, line: TapeLine) -> None:
        self.summary.frames += 1
        raw = line.raw
        status = venue.handle(raw, line.t_ns, 1)
        if status != S.APPLIED:
            venue.on_status(status, lambda: raw, line.t_ns, 1)
        if self.maker is not None:
            self.maker.on_book(line.t_ns)

    def _on_body(self, venue: Venue, line: TapeLine) -> None:
        symbol = venue.protocol.snapshot_symbol(line.path)
        for session in venue.sessions:
            if session.spec.symbol == symbol:
                self._bodies[session.feed] = line.raw
                if session.is_asking:
                    self.fetch_snapshot(session)

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

    def finish(self) -> ReplaySummary:
        """The summary, once the tape is through."""
        self.summary.last_ns = self._now_ns
        self.summary.digest = self._digest.hexdigest()
        if self.maker is not None:
            from net.maker.build import result_texts

            facts = {"records": str(self._decisions.records), "digest": self._decisions.digest}
            self.summary.quoting = facts | result_texts(self.maker)
        for venue in self.venues.values():
            for session in venue.sessions:
                states = self.summary.states.setdefault(venue.name, {})
                states[session.spec.symbol] = L.STATE_NAMES[session.state]
        return self.summary

    # --- what sessions and venues ask for --------------------------------------------------------

    def fetch_snapshot(self, session: Session) -> None:
        body = self._bodies.pop(session.feed, None)
        if body is None:
            return
        stage = Stage()
        status = self.engine.stage(session.feed, body, stage)
        if status == S.APPLIED:
            session.on_snapshot(stage, self._now_ns)
        else:
            session.on_snapshot_failed(S.TEXTS[status], self._now_ns)

    def note(self, session: Session, what: str, **facts: object) -> None:
        self._count(what if "reason" not in facts else f"{what}: {facts['reason']}")

    def note_venue(self, venue: Venue, what: str, **facts: object) -> None:
        self._count(f"{venue.name}: {what}")

    def _count(self, what: str) -> None:
        self.summary.notes[what] = self.summary.notes.get(what, 0) + 1

    def note_maker(self, level: str, what: str, **facts: object) -> None:
        self._count(f"maker: {what}")

    def acknowledged(self, venue: Venue) -> None:
        """Nothing to wait for on a tape."""

    def reconnect(self, venue: Venue, reason: str) -> None:
        """The tape goes on with the connection it has."""

    def withdrawn(self, venue: Venue, reason: str) -> None:
        if self._config.engine.resync_scope == "all":
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
