"""One run of one seed: a scheduler, the real engine, sessions and venues, and what is around them.

Everything that happens is a step at a simulated time; after each one the judge looks. First the
faults rage, then they stop, and all venues must be LIVE and right again within the bound.
Runs on: the tests' thread. Called by: __main__.py, test_seeds.py.
"""

from __future__ import annotations

import copy
import heapq
import itertools
import random
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial

from engine import layout as L
from engine.engine import FeedSpec, InstrumentSpec
from net import stream, websocket
from net.backoff import Backoff
from net.live import SILENCE_RECONNECT
from net.session import ANSWER_LIMIT_NS, REACH_LIMIT_NS, Session
from net.venue import Venue
from net.venues import BINANCE, BITSTAMP, VenueProtocol
from tests.simulation.faults import Schedule
from tests.simulation.judge import BACKOFF_LIMIT_NS, SLACK_NS, Judge, WatchedEngine
from tests.simulation.market import Market
from tests.simulation.network import IDLE_PING_S, RETRY_AFTER_S, Link, Rest

NS_PER_S = 1_000_000_000
START_NS = 1_700_000_000 * NS_PER_S
TIMER_NS = NS_PER_S // 10
FAULTS_NS = 40 * NS_PER_S
CALM_MIN_NS = 3 * NS_PER_S
STALE_AFTER_MS = 3000
AUDIT_INTERVAL_S = {"binance": 40, "bitstamp": 20}
"""The audits' rule on a shorter clock: in the daemon minutes, which would be most of a run."""
SNAPSHOT_DEPTH = 20
"""Levels a side of a Binance snapshot: sometimes fewer than the book has, so it comes cut."""
STEPS_MAX = 100_000
TRACE_LINES = 60

RECOVERY_NS = (
    BACKOFF_LIMIT_NS  # of the connection, which may have failed often
    + int(websocket.CONNECT_LIMIT_S + stream.SUBSCRIBE_LIMIT_S) * NS_PER_S
    + (1 + SILENCE_RECONNECT) * STALE_AFTER_MS * 1_000_000  # the silence of one that stalled
    + 2 * IDLE_PING_S * NS_PER_S
    + max(ANSWER_LIMIT_NS, REACH_LIMIT_NS)  # an answer that never comes, or to another question
    + max(BACKOFF_LIMIT_NS, RETRY_AFTER_S[1] * NS_PER_S)  # of the snapshots
    + SLACK_NS
)
"""Within this after the last fault every venue is LIVE: each wait there is, once."""

MIDDLES = {"BTC-USD": 61_837, "ETH-USD": 3_021, "BCH-USD": 2_147}
FIRST_IDS = {"BTC-USD": 50_093_239_189, "ETH-USD": 31_000_000_000, "BCH-USD": 9_000_000_000}


@dataclass
class Report:
    """What a run came to."""

    seed: int
    steps: int = 0
    books: int = 0
    recovery_ns: int = 0
    requests: int = 0
    connections: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)


class SeedFailedError(AssertionError):
    """A run that showed something wrong; its text says how to see it again."""


def venue_protocol(kind: VenueProtocol, name: str) -> VenueProtocol:
    """A venue of this kind under a name of its own, with the shorter clock."""
    protocol = copy.copy(kind)
    protocol.audit_interval_s = AUDIT_INTERVAL_S[kind.name]
    protocol.name = name
    return protocol


class World:
    """All there is, made from one seed; `kinds`: of faults, else drawn."""

    def __init__(self, seed: int, kinds: Sequence[str] = ()) -> None:
        self.report = Report(seed)
        self.now_ns = START_NS
        self.trace: deque[tuple[int, str, tuple[object, ...]]] = deque(maxlen=TRACE_LINES)
        self._rng = random.Random(seed)
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._calm_ns = START_NS + FAULTS_NS
        protocols = self._draw_venues()
        self.engine = WatchedEngine(
            self._draw_instruments(protocols),
            window_slots=self._rng.choice((L.WINDOW_SLOTS_MIN, 512)),
            far_levels_max=128,
        )
        self.engine.bases = {}
        self.engine.markets = self.markets = self._draw_markets()
        self.judge = Judge(self.engine, STALE_AFTER_MS * 1_000_000, TIMER_NS)
        names = [protocol.name for protocol in protocols]
        self.schedule = Schedule(self._rng, names, START_NS, self._calm_ns, kinds)
        self._withdraws_all = self._rng.random() < 0.2
        self.links: dict[str, Link] = {}
        self.rests: dict[str, Rest] = {}
        for connection, protocol in enumerate(protocols):
            self._add_venue(connection, protocol)

    # --- making it -------------------------------------------------------------------------------

    def _draw_venues(self) -> list[VenueProtocol]:
        protocols = [venue_protocol(BINANCE, "binance"), venue_protocol(BITSTAMP, "bitstamp")]
        if self._rng.random() < 0.25:
            kind = self._rng.choice((BINANCE, BITSTAMP))
            protocols.append(venue_protocol(kind, f"{kind.name}-2"))
        self._rng.shuffle(protocols)
        return protocols

    def _draw_instruments(self, protocols: list[VenueProtocol]) -> tuple[InstrumentSpec, ...]:
        rng = self._rng
        instruments = []
        for symbol in rng.sample(sorted(MIDDLES), rng.choice((2, 2, 2, 3))):
            feeds = []
            for connection, protocol in enumerate(protocols):
                is_binance = protocol.protocol == L.PROTOCOL_BINANCE
                name = symbol.replace("-", "")
                name = f"{name}T" if is_binance else name.lower()
                tick = rng.choice(("0.01", "0.05") if is_binance else ("0.01", "0.1", "1"))
                feeds.append(FeedSpec(protocol.name, protocol.protocol, connection, name, tick))
            instruments.append(InstrumentSpec(symbol, tuple(feeds), rng.choice((3, 10, 50))))
        return tuple(instruments)

    def _draw_markets(self) -> list[Market]:
        markets: list[Market] = []
        for board in self.engine.reader().boards:
            for _ in board.venues:
                spec = self.engine.feeds[len(markets)]
                tick = int(Decimal(spec.tick_size) / board.tick_size)
                middle = int(MIDDLES[board.symbol] / Decimal(spec.tick_size)) * tick
                is_binance = spec.protocol == L.PROTOCOL_BINANCE
                first_id = FIRST_IDS[board.symbol] if is_binance else START_NS // 1000
                rng = random.Random(self._rng.random())
                quiet = rng.choice((0.0, 0.01, 0.2))
                markets.append(
                    Market(len(markets), spec, board.tick_size, middle, first_id, rng, quiet)
                )
        return markets

    def _add_venue(self, connection: int, protocol: VenueProtocol) -> None:
        def seeded() -> random.Random:
            return random.Random(self._rng.random())

        mine = [market for market in self.markets if market.spec.venue == protocol.name]
        sessions = tuple(
            Session(
                self.engine,
                market.feed,
                protocol,
                self,
                snapshot_depth=SNAPSHOT_DEPTH,
                stale_after_ms=STALE_AFTER_MS,
                backoff=Backoff(seeded()),
            )
            for market in mine
        )
        venue = Venue(self.engine, connection, protocol, sessions, self)
        link = self.links[protocol.name] = Link(self, self.schedule, venue, seeded())
        link.lost = self.withdrawn
        by_feed = {market.feed: market for market in mine}
        rest = Rest(self, self.schedule, self.engine, link, by_feed, seeded())
        self.rests[protocol.name] = rest
        self.after(0, link.connect)
        for market in mine:
            self.after(0, partial(self._move, market))

    # --- time ------------------------------------------------------------------------------------

    def after(self, delay_ns: int, act: Callable[[], None]) -> None:
        """Do something later; what is due at one time happens in the order it was asked for."""
        heapq.heappush(self._queue, (self.now_ns + delay_ns, next(self._numbers), act))

    def say(self, text: str, *facts: object) -> None:
        """One line for the trace, put together only if somebody reads it."""
        self.trace.append((self.now_ns, text, facts))

    def run(self) -> Report:
        """The whole run; SeedFailedError if anything is wrong, or raises."""
        try:
            self.after(TIMER_NS, self._tick)
            while not self._is_over():
                self.step()
        except Exception as error:
            raise SeedFailedError(
                f"seed {self.report.seed}, step {self.report.steps}: {error!r:.300}\n"
                f"replay: python -m tests.simulation --seed {self.report.seed} --trace"
            ) from error
        self._sum_up()
        return self.report

    def step(self) -> None:
        """One thing happens; then everything must be right."""
        self.now_ns, _, act = heapq.heappop(self._queue)
        self.report.steps += 1
        assert self.report.steps < STEPS_MAX, "it never ends"
        act()
        self.judge.look(self.now_ns)

    def _tick(self) -> None:
        """The daemon's timer, several times a second."""
        silence_ns = SILENCE_RECONNECT * STALE_AFTER_MS * 1_000_000
        for link in self.links.values():
            venue = link.venue
            venue.on_timer(self.now_ns)
            if venue.is_silent(self.now_ns, silence_ns):
                link.drop("no data")
        for market in self.markets:
            if market.feed in self.judge.wrong:
                link = self.links[market.spec.venue]
                audit_s = AUDIT_INTERVAL_S[market.spec.venue.partition("-")[0]]
                self.judge.check_excuses(market, link.disturbed_ns, self.now_ns, audit_s)
        self.after(TIMER_NS, self._tick)

    def _move(self, market: Market) -> None:
        """The venue's book moves; mostly the venue tells."""
        rng = market.rng
        market.move(self.now_ns)
        if rng.random() < 0.8:
            self.links[market.spec.venue].send(market.frame())
        pause_ms = rng.randrange(50, 800)
        if rng.random() < market.quiet_share and self.now_ns < self._calm_ns:
            pause_ms = rng.randrange(2000, 8000)
        self.after(pause_ms * 1_000_000, partial(self._move, market))

    # --- the end ---------------------------------------------------------------------------------

    def _is_over(self) -> bool:
        """Calm, and everything LIVE and right; not within the bound: AssertionError."""
        calm_ns = self.now_ns - self._calm_ns
        if calm_ns < 0:
            return False
        is_live = all(self.engine.state(market.feed) == L.LIVE for market in self.markets)
        if is_live and not self.judge.wrong:
            self.report.recovery_ns = self.report.recovery_ns or max(calm_ns, 1)
            return calm_ns > CALM_MIN_NS
        states = [L.STATE_NAMES[self.engine.state(market.feed)] for market in self.markets]
        assert is_live or calm_ns <= RECOVERY_NS, f"{states} {calm_ns / 1e9:.1f} s after the faults"
        return False

    def _sum_up(self) -> None:
        report = self.report
        report.books = self.judge.books
        report.faults = self.schedule.struck
        report.requests = sum(rest.requests.total for rest in self.rests.values())
        report.connections = sum(link.attempts.total for link in self.links.values())

    # --- what sessions and venues ask for --------------------------------------------------------

    def note(self, session: Session, what: str, **facts: object) -> None:
        self.report.seen[str(facts.get("reason", what))] += 1
        self.say("{} {}: {} {}", session.spec.venue, session.spec.symbol, what, facts)

    def note_venue(self, venue: Venue, what: str, **facts: object) -> None:
        self.report.seen[what] += 1
        self.say("{}: {} {}", venue.name, what, facts)

    def fetch_snapshot(self, session: Session) -> None:
        self.rests[session.spec.venue].fetch(session)

    def acknowledged(self, venue: Venue) -> None:
        self.links[venue.name].on_acknowledged()

    def reconnect(self, venue: Venue, reason: str) -> None:
        self.links[venue.name].renew()

    def withdrawn(self, venue: Venue, reason: str) -> None:
        if self._withdraws_all:
            for link in self.links.values():
                if link.venue is not venue:
                    link.venue.break_off(f"{venue.name}: {reason}", self.now_ns)
