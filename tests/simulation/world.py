"""One run of one seed: a scheduler, the real engine, book syncs, venues and all around them.

Everything that happens is a step at a simulated time; after each one the judge looks. First the
faults rage, then they stop, and all venues must be LIVE and right again within the bound.
Runs on: the tests' thread.
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

from engine.layout import layout as L
from engine.specs import FeedSpec, InstrumentSpec
from net.feed import connection as stream
from net.feed.book_sync import BookSync
from net.feed.engine_thread import SILENCE_RECONNECT
from net.feed.events import FeedEvent
from net.feed.snapshot_request import ANSWER_LIMIT_NS, SnapshotRequest
from net.feed.sync_limits import REACH_LIMIT_NS
from net.feed.venue_feeds import ONLY_ANEW, LargeFrame, VenueFeeds
from net.sockets import websocket
from net.sockets.backoff import Backoff
from net.venues.interface import VenueProtocol
from tests.simulation.dialect import Dialect, Ids
from tests.simulation.faults import CLOCK_STEPS_S, ON_TICK, Schedule
from tests.simulation.judge import BACKOFF_LIMIT_NS, SLACK_NS, Judge, WatchedEngine
from tests.simulation.market import Market
from tests.simulation.network import IDLE_PING_S, Link
from tests.simulation.rest import RETRY_AFTER_S, Rest
from tests.simulation.venues import DIALECTS

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
START_NS = 1_700_000_000 * NS_PER_S
LATE_AFTER_MS = 2000
TIMER_NS = NS_PER_S // 10
FAULTS_NS = 40 * NS_PER_S
CALM_MIN_NS = 3 * NS_PER_S
STALE_AFTER_MS = 3000
STEPS_MAX = 100_000
TRACE_LINES = 60

RECOVERY_NS = (
    BACKOFF_LIMIT_NS  # of the connection, which may have failed often
    + int(websocket.CONNECT_LIMIT_S + stream.SUBSCRIBE_LIMIT_S) * NS_PER_S
    + (1 + SILENCE_RECONNECT) * STALE_AFTER_MS * NS_PER_MS  # the silence of one that stalled
    + 2 * IDLE_PING_S * NS_PER_S
    + max(ANSWER_LIMIT_NS, REACH_LIMIT_NS)  # an answer that never comes, or to another question
    + max(BACKOFF_LIMIT_NS, RETRY_AFTER_S[1] * NS_PER_S)  # of the snapshots
    + 2 * int(stream.REFUSED_AGAIN_S[0]) * NS_PER_S  # a subscription that was refused twice
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


def venue_protocol(dialect: Dialect, name: str) -> VenueProtocol:
    """A venue of this kind under a name of its own, with the shorter clock."""
    protocol = copy.copy(dialect.kind)
    protocol.audit_interval_s = dialect.audit_interval_s
    protocol.name = name
    return protocol


class World:
    """All there is, of one seed; `kinds` of faults and of `venues` are drawn where not given."""

    def __init__(self, seed: int, kinds: Sequence[str] = (), venues: Sequence[str] = ()) -> None:
        self.report = Report(seed)
        self.now_ns = START_NS
        self.wall_step_ns = 0
        self.trace: deque[tuple[int, str, tuple[object, ...]]] = deque(maxlen=TRACE_LINES)
        self._rng = random.Random(seed)
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._calm_ns = START_NS + FAULTS_NS
        self.dialects: dict[str, Dialect] = {}
        protocols = self._draw_venues(venues)
        self.engine = WatchedEngine(
            self._draw_instruments(protocols),
            window_slots=self._rng.choice((L.WINDOW_SLOTS_MIN, 512)),
            far_levels_max=128,
        )
        self.engine.bases = {}
        self.engine.markets = self.markets = self._draw_markets()
        self.judge = Judge(
            self.engine, STALE_AFTER_MS * NS_PER_MS, LATE_AFTER_MS * NS_PER_MS, TIMER_NS
        )
        self.schedule = Schedule(self._rng, self.dialects, START_NS, self._calm_ns, kinds)
        self._withdraws_all = self._rng.random() < 0.2
        self.links: dict[str, Link] = {}
        self.rests: dict[str, Rest] = {}
        for connection, protocol in enumerate(protocols):
            self._add_venue(connection, protocol)

    # --- making it -------------------------------------------------------------------------------

    def _draw_venues(self, kinds: Sequence[str]) -> list[VenueProtocol]:
        kinds = kinds or self._rng.sample(sorted(DIALECTS), 2)
        if self._rng.random() < 0.25:
            kinds = [*kinds, self._rng.choice(sorted(DIALECTS))]
        protocols = []
        for kind in kinds:
            name = f"{kind}-2" if kind in self.dialects else kind
            self.dialects[name] = DIALECTS[kind]
            protocols.append(venue_protocol(DIALECTS[kind], name))
        self._rng.shuffle(protocols)
        return protocols

    def _draw_instruments(self, protocols: list[VenueProtocol]) -> tuple[InstrumentSpec, ...]:
        rng = self._rng
        instruments = []
        for symbol in rng.sample(sorted(MIDDLES), rng.choice((2, 2, 2, 3))):
            feeds = []
            for connection, protocol in enumerate(protocols):
                dialect = self.dialects[protocol.name]
                name, tick = dialect.symbol(symbol), rng.choice(dialect.ticks)
                feeds.append(FeedSpec(protocol.name, protocol.rules, connection, name, tick))
            instruments.append(InstrumentSpec(symbol, tuple(feeds), rng.choice((3, 10, 50))))
        return tuple(instruments)

    def _draw_markets(self) -> list[Market]:
        markets: list[Market] = []
        for info in self.engine.reader().instruments:
            unit, is_cheap = info.tick_size / 100, self._rng.random() < 0.3
            for _ in info.venues:
                spec = self.engine.feeds[len(markets)]
                dialect = self.dialects[spec.venue]
                tick = int(Decimal(spec.tick_size) / unit)
                middle = int(MIDDLES[info.symbol] / Decimal(spec.tick_size)) * tick
                is_timed = dialect.ids is Ids.TIMES
                first_id = START_NS // 1000 if is_timed else FIRST_IDS[info.symbol]
                rng = random.Random(self._rng.random())
                quiet = rng.choice((0.0, 0.01, 0.2))
                facts = (middle, first_id, rng, quiet, is_cheap)
                market = Market(len(markets), spec, dialect, unit, *facts)
                self._draw_habits(market)
                markets.append(market)
        return markets

    def _draw_habits(self, market: Market) -> None:
        """What venues of one kind do either way, as the years go."""
        rng, dialect = market.rng, market.dialect
        market.has_exponents = dialect.has_exponents and rng.random() < 0.2
        can_do_without = dialect.kind.rules.snapshot is not None
        market.has_checksums = dialect.has_checksums and (not can_do_without or rng.random() < 0.5)
        market.sends_wholes = dialect.is_streamed and (not can_do_without or rng.random() < 0.7)

    def _add_venue(self, connection: int, protocol: VenueProtocol) -> None:
        def seeded() -> random.Random:
            return random.Random(self._rng.random())

        mine = [market for market in self.markets if market.spec.venue == protocol.name]
        dialect = self.dialects[protocol.name]
        syncs = tuple(
            BookSync(
                self.engine,
                market.feed,
                protocol,
                self,
                snapshot_depth=dialect.snapshot_depth,
                stale_after_ms=STALE_AFTER_MS,
                late_after_ms=LATE_AFTER_MS,
                backoff=Backoff(seeded()),
            )
            for market in mine
        )
        venue = VenueFeeds(self.engine, connection, protocol, syncs, self)
        by_feed = {market.feed: market for market in mine}
        link = Link(self, self.schedule, venue, dialect, by_feed, seeded())
        self.links[protocol.name] = link
        link.lost = self.withdrawn
        rest = Rest(self, self.schedule, self.engine, link, protocol, by_feed, seeded())
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
        silence_ns = SILENCE_RECONNECT * STALE_AFTER_MS * NS_PER_MS
        for link in self.links.values():
            fault = self.schedule.strike(ON_TICK, link.venue.name, self.now_ns)
            if fault == "clock-step":
                step_s = self._rng.choice(CLOCK_STEPS_S) * self._rng.choice((-1, 1))
                self.wall_step_ns += step_s * NS_PER_S
                self.say("the wall clock is set by {} s", step_s)
            elif fault:
                self._change_market(link, fault)
            venue = link.venue
            venue.on_timer(self.now_ns)
            if venue.is_silent(self.now_ns, silence_ns):
                link.drop("no data")
        for market in self.markets:
            if market.feed in self.judge.wrong:
                link = self.links[market.spec.venue]
                audit_s = market.dialect.audit_interval_s
                self.judge.check_excuses(market, link.disturbed_ns, self.now_ns, audit_s)
        self.after(TIMER_NS, self._tick)

    def _change_market(self, link: Link, fault: str) -> None:
        """A market of the venue gets another tick, or an amount that needs another lot."""
        link.disturbed_ns = self.now_ns
        mine = [market for market in self.markets if market.spec.venue == link.venue.name]
        market = self._rng.choice(mine)
        self.say("{} {}: {}", link.venue.name, market.spec.symbol, fault)
        if fault == "odd-amount":
            market.set_odd_amount(self.now_ns)
        else:
            market.change_tick(is_finer=fault == "tick-finer")

    def _move(self, market: Market) -> None:
        """The venue's book moves; mostly the venue tells."""
        rng = market.rng
        market.move(self.now_ns)
        frame = market.frame() if rng.random() < 0.8 else None
        if frame is not None:
            self.links[market.spec.venue].send(frame)
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

    # --- what book syncs and venues ask for ----------------------------------------------------

    def note(self, sync: BookSync, event: FeedEvent, /, **facts: object) -> None:
        self.report.seen[str(facts.get("reason", event.text))] += 1
        if event in (FeedEvent.BROKEN, FeedEvent.SNAPSHOT_REFUSED):
            self.links[sync.spec.venue].broken[sync.spec.symbol] = str(facts["reason"])
        self.say("{} {}: {} {}", sync.spec.venue, sync.spec.symbol, event.text, facts)

    def note_venue(self, venue: VenueFeeds, event: FeedEvent, /, **facts: object) -> None:
        self.report.seen[event.text] += 1
        self.say("{}: {} {}", venue.name, event.text, facts)

    def fetch_snapshot(self, sync: BookSync, request: SnapshotRequest) -> None:
        if sync.protocol.rules.snapshot is None:
            sync.on_snapshot_sent(request.number, self.now_ns)
            self.links[sync.spec.venue].resubscribe(sync.spec.symbol)
        else:
            self.rests[sync.spec.venue].fetch(sync, request)

    def decode_large(self, venue: VenueFeeds, frame: bytes, large: LargeFrame) -> None:
        raise AssertionError("no frame here is large")

    def wall_ns(self) -> int:
        return self.now_ns + self.wall_step_ns

    def ask_tick_size(self, sync: BookSync) -> None:
        """The venue's answer would say nothing new."""

    def cancel_snapshot(self, sync: BookSync) -> None:
        """The answer comes all the same, and must not be taken."""

    def acknowledged(self, venue: VenueFeeds) -> None:
        self.links[venue.name].on_acknowledged()

    def refused(self, venue: VenueFeeds, reason: str) -> None:
        self.links[venue.name].on_refused(reason)

    def reconnect(self, venue: VenueFeeds, reason: str) -> None:
        self.links[venue.name].renew()

    def withdrawn(self, venue: VenueFeeds, reason: str) -> None:
        if self._withdraws_all and reason != ONLY_ANEW:
            for link in self.links.values():
                if link.venue is not venue:
                    link.venue.break_off(f"{venue.name}: {reason}", self.now_ns)
