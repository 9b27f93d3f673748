"""One run of one seed: a scheduler, the real engine, market maker and order entry, two venues.

Everything that happens is a step at a simulated time; after each one the judge looks. First the
faults rage, then they stop and quoting must be there again; then the maker is stopped, and what it
believes must be what is so at the venues.
Runs on: the tests' thread.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial

from engine.engine import Stage
from engine.layout import layout as L
from engine.layout.status import APPLIED
from engine.maker import journal_codes as J
from engine.maker import order_layout as O
from engine.maker.client_ids import parse_client_id
from net.journal.files import Header, Record
from net.journal.ledger import Account, Holding, Ledger
from net.simulator.orders.accounts import COMPLETE
from net.sockets.private_connection import IDLE_PING_S
from tests.trading.faults import CLOCK_STEPS_S, TRANSFER_STATES, Schedule
from tests.trading.judge import Account as JudgedAccount
from tests.trading.judge import Judge, WrongError
from tests.trading.life import Life, Report, SeedFailedError
from tests.trading.market import MIDDLE_UNITS, Crowd
from tests.trading.network import STUCK_MS
from tests.trading.process import start_process
from tests.trading.setup import (
    HELD_LOTS,
    draw_markets,
    draw_options,
    draw_rules,
    new_engine,
    redraw_quotes,
    replace_quoted,
)
from tests.trading.venues import BinanceSide, BitstampSide, VenueSide

MS, S = 10**6, 10**9
START_NS = 1_700_006_395 * S
"""Five seconds later a day begins, for results and rates."""
BOOT_NS = START_NS - 1_000 * S
"""When steady time began."""
FAULTS_NS = 14 * S
TIMER_MS, SLOW_TIMER_MS = 250, 1_500
"""The daemon's timer is faster, which would only take longer; and slower while all that is left is
to wait."""
MOVE_MS, SLOW_MOVE_MS = (100, 500), (900, 1_500)
RESTART_NS = 2 * S
END_NS = int(1.5 * S)
"""How long the daemon waits for its orders to be gone."""
SWITCHED_OFF_NS = 14 * S
"""Long enough to be clean, where the venue can be reached."""
WHOLE_NS = 60 * S
RESUME_NS, QUIET_NS = 900 * S, 1_200 * S
"""After the faults a maker that is neither killed nor stopped quotes again within the longest wait
there is, a bar of 600 s and the pause after it; one that is stopped knows all within that and two
of Bitstamp's 160 s, one after the other."""
CALM_NS = 2 * S
DETECT_NS = int(4 * IDLE_PING_S) * S
"""A connection that is dead has been noticed by then, and the next one has told what was missed."""
ACCEPT_SHARE = 0.05
"""How often, at a timer, an operator finds that an account is disputed."""
STEPS_MAX = 60_000
TRACE_LINES = 80
START_EPOCH = 7


class World:
    """All there is, made from one seed."""

    def __init__(
        self,
        seed: int,
        kinds: Sequence[str] = (),
        broken: Callable[[Life], None] = lambda life: None,
    ) -> None:
        """`kinds`: of faults, else drawn. `broken`: what a canary does to every life."""
        self.report = Report(seed)
        self.now_ns = START_NS
        self.wall_step_ns = 0
        """How far our host's wall clock is from what is so."""
        self.counts_by_wall = False
        """Whether the market maker is given that for its steady one: a canary's."""
        self.trace: deque[tuple[int, str, tuple[object, ...]]] = deque(maxlen=TRACE_LINES)
        self.rng = random.Random(seed)
        self._broken = broken
        self.under_way = 0
        """HTTP requests that may still arrive."""
        self._digest = hashlib.sha256()
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = itertools.count(1)
        self._calm_ns = START_NS + FAULTS_NS
        self._is_slow = False
        self._middle_units = MIDDLE_UNITS
        self.uses_ed25519 = self.rng.random() < 0.5
        self.markets, instruments = draw_markets(self.rng)
        self.engine = new_engine(self.markets)
        feeds = self.engine.feeds
        self._handlers = [self.engine.frame_handler(f.connection) for f in feeds]
        self._stage = Stage(64)
        self._shown_ids = [0] * len(feeds)
        self.rules = draw_rules(self.rng, self.engine.instruments[0], self.markets)
        self.tick_units = self.rules.tick_units
        pairs = zip(instruments, self.tick_units, strict=True)
        self.crowds = [Crowd(i, units, random.Random(self.rng.random())) for i, units in pairs]
        start_lots = self.rng.choice((0, 0, -1, 1)) * self.rules.quotes[0].lots
        self.ledger_records: list[Record] = []
        """What the journal has of the accounts, for the next life."""
        self.judge = Judge(self.rules.limits, start_lots)
        names = [feed.venue for feed in self.engine.feeds]
        self.header = Header(1, 0, 1, 1, 1, 1, ("BTC-USD",), tuple(names), ("BTCUSDT", "btcusd"))
        self.accounts = tuple(Account(True, feed.venue, feed.symbol) for feed in self.engine.feeds)
        if start_lots:
            ledger = Ledger()
            ledger.begin(self.header, self.ledger_records.append)
            first = Holding(HELD_LOTS - start_lots, start_lots, False, 0)
            for account, holding in zip(
                self.accounts, (first, Holding(HELD_LOTS, 0, False, 0)), strict=True
            ):
                ledger.set_holding(account, holding)
        self.schedule = Schedule(self.rng, names, START_NS, self._calm_ns, kinds)
        self.venues = self._open_venues()
        self.life: Life | None = None
        self.off = ""
        """A venue that is not quoted now."""
        self._lives = 0
        self.start_life()
        self._plan()

    # --- making it -------------------------------------------------------------------------------

    def _open_venues(self) -> tuple[BinanceSide, BitstampSide]:
        offsets_ns = [self.rng.randrange(-700, 700) * MS for _ in range(2)]
        options = [draw_options(self.rng) for _ in range(2)]
        binance = BinanceSide(self, self.crowds[0], options[0], offsets_ns[0])
        bitstamp = BitstampSide(self, self.crowds[1], options[1], offsets_ns[1])
        venues: tuple[VenueSide, ...] = (binance, bitstamp)
        for venue, rules, units in zip(venues, self.markets, self.tick_units, strict=True):
            self.judge.accounts[venue.name] = JudgedAccount(venue.orders.desk, rules, units)
        self.judge.values_per_quote_lot = int(Decimal("1e-8") / self.rules.value_size)
        self.judge.rates = self.rules.fees.rates
        for feed, crowd in enumerate(self.crowds):
            crowd.move(self._middle_units, self.now_ns)
            self._show_book(feed)
        return binance, bitstamp

    def start_life(self) -> None:
        """A process starts: it knows its journal, and nothing else."""
        self._lives += 1
        epoch = START_EPOCH + self._lives
        rules = replace_quoted(self.rules, self.off)
        self.life = start_process(self, rules, epoch, self.off)
        self.judge.on_start(epoch, self.off, self.life.maker.risk)
        self._broken(self.life)
        for link in self.life.links:
            link.connect()

    def seeded(self) -> random.Random:
        return random.Random(self.rng.random())

    def _plan(self) -> None:
        self.after(TIMER_MS * MS, self._tick)
        for feed in range(len(self.crowds)):
            self.after(0, partial(self._move, feed))
        acts = {
            "kill": self._kill,
            "crash": self._crash,
            "no-book": self._lose_book,
            "reconnect-notice": self._ask_to_reconnect,
            "clock-step": self._set_clock,
            "deposit": self._deposit,
            "transfer": self._transfer,
            "switch-off": self._switch_off,
            "reconfigure": self._reconfigure,
        }
        for moment in self.schedule.moments:
            venue = 0 if moment.venue == "binance" else 1
            lasts_ns = min(moment.end_ns - moment.start_ns, 6 * S)
            act = partial(acts[moment.kind], venue, lasts_ns)
            self.at(moment.start_ns, partial(self._strike, moment.kind, act))

    def _strike(self, kind: str, act: Callable[[], None]) -> None:
        self.schedule.struck[kind] += 1
        self.say("--- {}", kind)
        act()

    # --- time ------------------------------------------------------------------------------------

    def at(self, time_ns: int, act: Callable[[], None]) -> None:
        """Do something then; what is due at one time happens in the order it was asked for."""
        heapq.heappush(self._queue, (time_ns, next(self._numbers), act))

    def after(self, delay_ns: int, act: Callable[[], None]) -> None:
        """Do something later."""
        self.at(self.now_ns + delay_ns, act)

    @property
    def steady_ns(self) -> int:
        """What the market maker counts by."""
        return self.wall_ns() if self.counts_by_wall else self.now_ns - BOOT_NS

    def wall_ns(self) -> int:
        """What our host takes for the time."""
        return self.now_ns + self.wall_step_ns

    def next_number(self) -> int:
        return next(self._numbers)

    def say(self, text: str, *facts: object) -> None:
        """One line for the trace, put together only if somebody reads it; all count for the
        digest."""
        self._digest.update(b"%d %r" % (self.now_ns, facts))
        self.trace.append((self.now_ns, text, facts))

    @property
    def fair_price(self) -> int:
        """What the maker has at this moment, in units."""
        return int(self.life.maker.risk[O.RISK_FAIR_PRICE]) if self.life is not None else 0

    def run(self) -> Report:
        """The whole run; SeedFailedError if anything is wrong, or raises."""
        try:
            self._rage()
            self._resume()
            self._stop()
            self._compare()
        except Exception as error:
            raise SeedFailedError(
                f"seed {self.report.seed}, step {self.report.steps}: {error!r:.600}\n"
                f"replay: python -m tests.trading {self.report.seed}"
            ) from error
        self._sum_up()
        return self.report

    def step(self) -> None:
        """One thing happens; then everything must be right."""
        self.now_ns, _, act = heapq.heappop(self._queue)
        self.judge.now_ns = self.now_ns
        self.report.steps += 1
        assert self.report.steps < STEPS_MAX, "it never ends"
        act()
        self.judge.look(self.now_ns)

    def _until(self, condition: Callable[[], bool], limit_ns: int, what: str) -> None:
        end_ns = self.now_ns + limit_ns
        while not condition():
            assert self.now_ns < end_ns, f"not {what} {limit_ns // S} s after the faults"
            self.step()

    def _tick(self) -> None:
        if self.life is not None:
            self.life.maker.on_timer(self.steady_ns)
            for cleaner in self.life.cleaners:
                cleaner.on_timer(self.steady_ns)
            if self.life.maker.recovery.disputed and self.rng.random() < ACCEPT_SHARE:
                self.life.maker.halts.accept()
        self.after((SLOW_TIMER_MS if self._is_slow else TIMER_MS) * MS, self._tick)

    def _move(self, feed: int) -> None:
        """A venue's market does something, which the engine hears of a moment later."""
        rng = self.rng
        chance = rng.random()
        if chance < 0.35:
            move = rng.gauss(0, 500) if chance > 0.02 else rng.gauss(0, 8_000)
            self._middle_units = max(MIDDLE_UNITS // 2, self._middle_units + int(move))
        frame = self.crowds[feed].move(self._middle_units, self.now_ns)
        if frame is not None:
            last_id = self.crowds[feed].last_id
            self.after(rng.randrange(1, 60) * MS, partial(self._hear, feed, frame, last_id))
        pause_ms = rng.randrange(*(SLOW_MOVE_MS if self._is_slow else MOVE_MS))
        self.after(pause_ms * MS, partial(self._move, feed))

    def _hear(self, feed: int, frame: bytes, last_id: int) -> None:
        if self.engine.state(feed) == L.LIVE and last_id > self._shown_ids[feed]:
            assert self._handlers[feed](frame, self.wall_ns(), 1) == APPLIED
            if self.life is not None:
                self.life.maker.on_book(self.steady_ns)

    def _show_book(self, feed: int) -> None:
        """A venue's book from its beginning."""
        engine = self.engine
        assert engine.stage(feed, self.crowds[feed].snapshot(self.now_ns), self._stage) == APPLIED
        engine.restart_stream(feed)
        engine.load(feed, self._stage, 64)
        engine.activate(feed, self.wall_ns())
        self._shown_ids[feed] = self.crowds[feed].last_id

    # --- moments ---------------------------------------------------------------------------------

    def _kill(self, venue: int, lasts_ns: int) -> None:
        if self.life is not None and not self.life.maker.halts.is_halted:
            self.life.maker.halts.kill(J.REASON_OPERATOR, self.steady_ns)
            self.judge.is_killed = True
            self.after(lasts_ns, self._release)

    def _release(self) -> None:
        """An operator's release, of whichever life there is: a kill outlives the killed."""
        maker = self.life.maker if self.life is not None else None
        if maker is None or maker.halts.is_stopping or maker.halts.obstacle:
            self.after(RESTART_NS, self._release)
        else:
            self.judge.on_release()
            maker.halts.release()

    def _crash(self, venue: int, lasts_ns: int) -> None:
        """The process is gone; the next one starts with what the journal says."""
        life, self.life = self.life, None
        if life is None:
            return
        life.kill()
        self.after(RESTART_NS, self.start_life)

    def _switch_off(self, venue: int, lasts_ns: int) -> None:
        """Killed, and started without a venue, whatever is open there; and with it again."""
        if self.life is not None and not self.off:
            self.off = self.venues[venue].name
            self._crash(venue, lasts_ns)
            self.after(SWITCHED_OFF_NS, self._switch_on)

    def _switch_on(self) -> None:
        if self.life is None:
            self.after(RESTART_NS, self._switch_on)
            return
        self.off = ""
        self._crash(0, 0)

    def _reconfigure(self, venue: int, lasts_ns: int) -> None:
        """Ended in order, and started with other quotes."""
        if self.life is not None and not self.life.maker.halts.is_stopping:
            self.life.maker.stop(self.steady_ns)
            self.after(END_NS, partial(self._end_life, self.life))

    def _end_life(self, life: Life) -> None:
        if life is not self.life:
            return
        life.maker.on_timer(self.steady_ns)
        if not life.maker.end() and not self.under_way:
            self._check_nothing_open()
        self.rules = redraw_quotes(self.rng, self.rules)
        self._crash(0, 0)

    def _deposit(self, venue: int, lasts_ns: int) -> None:
        """Somebody moves money in a way that the venue's history does not know, and says so when it
        is asked about at the next start."""
        lots = self.rng.choice((-1, 1)) * self.rng.randrange(1, 10**6) * 2 + 1
        side = self.venues[venue]
        change = side.deposit(lots, 0, COMPLETE, is_listed=False)
        self.judge.accounts[side.name].deposited_lots += change

    def _transfer(self, venue: int, lasts_ns: int) -> None:
        """A deposit or a withdrawal, whose history is asked for at the next start."""
        rng, side = self.rng, self.venues[venue]
        lots, state = rng.choice((-1, 1)) * rng.randrange(1, 10**6), rng.choice(TRANSFER_STATES)
        change = side.deposit(lots, rng.choice((0, 0, 777)), state, is_listed=True)
        self.judge.accounts[side.name].deposited_lots += change

    def _lose_book(self, venue: int, lasts_ns: int) -> None:
        """A venue's market data is not to be had for a while."""
        if self.engine.state(venue) == L.LIVE:
            self.engine.set_state(venue, L.STALE, self.wall_ns())
            self.after(lasts_ns, partial(self._show_book, venue))

    def _ask_to_reconnect(self, venue: int, lasts_ns: int) -> None:
        """The venue is about to close the private connection."""
        texts = ('{"event":{"e":"serverShutdown","E":1}}', '{"event":"bts:request_reconnect"}')
        for link in self.life.links if self.life is not None else ():
            if link.venue is self.venues[venue] and link.socket is not None:
                link.socket.send(texts[venue])

    def _set_clock(self, venue: int, lasts_ns: int) -> None:
        """Whoever keeps our host's wall clock sets it, and sets it right again a while later."""
        step_ns = self.rng.choice(CLOCK_STEPS_S) * S
        self.wall_step_ns += step_ns
        self.after(lasts_ns, partial(self._set_clock_back, step_ns))

    def _set_clock_back(self, step_ns: int) -> None:
        self.wall_step_ns -= step_ns

    # --- the end ---------------------------------------------------------------------------------

    def _rage(self) -> None:
        while self.now_ns < self._calm_ns:
            self.step()

    def _resume(self) -> None:
        """The faults are over: quoting is there again. Some runs are stopped amid all."""
        self._until(self._is_whole, WHOLE_NS, "all venues quoted")
        chance = self.rng.random()
        if chance < 0.3:
            return
        self._await_quotes()
        if chance < 0.6:
            self._kill_in_peace()
            self._await_quotes()
        end_ns = self.now_ns + CALM_NS
        while self.now_ns < end_ns:
            self.step()

    def _is_whole(self) -> bool:
        """Whether there is a process that quotes at every venue, and is not about to end."""
        return self.life is not None and not self.off and not self.life.maker.halts.is_stopping

    def _await_quotes(self) -> None:
        quoted: set[str] = set()
        self._is_slow = True
        self._until(lambda: self._is_quoted(quoted), RESUME_NS, "quoting")
        self._is_slow = False

    def _kill_in_peace(self) -> None:
        """Nothing of ours is open once a kill is done, until the release."""
        life = self.life
        assert life is not None
        life.maker.halts.kill(J.REASON_OPERATOR, self.steady_ns)
        self.judge.is_killed = self._is_slow = True
        self._until(lambda: life.maker.is_quiet, QUIET_NS, "quiet")
        self._await_rest(life)
        end_ns = self.now_ns + DETECT_NS
        while self.now_ns < end_ns:
            self._check_nothing_open()
            self.step()
        self._is_slow = False
        self._compare_accounts(life)
        self._release()

    def _is_quoted(self, quoted: set[str]) -> bool:
        """An order of this life has been open at every venue since the first call."""
        if self.life is not None and not self.life.maker.halts.is_halted:
            for venue, order in self.judge.open_orders():
                order_id = parse_client_id(order.client_order_id)
                if order_id is not None and order_id >> 32 == self.life.epoch:
                    quoted.add(venue)
        return len(quoted) == len(self.venues)

    def _stop(self) -> None:
        self._until(lambda: self.life is not None, 2 * RESTART_NS, "alive")
        assert self.life is not None
        self.judge.is_killed = True
        maker, begin_ns = self.life.maker, self.now_ns
        maker.stop(self.steady_ns)
        self._is_slow = True
        self._until(lambda: maker.is_quiet and maker.recovery.is_known, QUIET_NS, "quiet")
        self.report.quiet_ns = self.now_ns - begin_ns
        self._await_rest(self.life)

    def _await_rest(self, life: Life) -> None:
        """What was under way when it was quiet has arrived, and the maker has seen to it: late
        requests of an earlier life, fills that are told late."""
        self._until(lambda: not self.under_way, STUCK_MS[1] * MS, "at rest")
        end_ns = self.now_ns + DETECT_NS
        while self.now_ns < end_ns:
            self.step()
        self._until(lambda: life.maker.is_quiet, QUIET_NS, "quiet again")

    def _compare(self) -> None:
        """What the maker believes is what is so."""
        assert self.life is not None
        self._check_nothing_open()
        self._compare_accounts(self.life)
        assert self.life.maker.table[O.ACCOUNT_ANOMALIES] == 0, "the account contradicts itself"
        for venue in self.venues:
            venue.orders.desk.check()

    def _compare_accounts(self, life: Life) -> None:
        maker, judge = life.maker, self.judge
        believed = maker.orders.position_lots
        if believed != judge.position_lots:
            raise WrongError(f"believes {believed} lots, has {judge.position_lots}")
        # The late fill of an earlier life's order is this life's, and nobody knows its name.
        if not maker.table[O.ACCOUNT_ORPHAN_FILLS]:
            words = (O.ACCOUNT_CASH_VALUE, O.ACCOUNT_FEE_VALUE)
            cash, fees = (int(maker.table[word]) for word in words)
            judge.check_money(cash, fees)
        judge.check_held(HELD_LOTS)

    def _check_nothing_open(self) -> None:
        left = self.judge.open_orders()
        if left:
            raise WrongError(f"quiet, and open: {left!r:.400}")

    def _sum_up(self) -> None:
        report, judge = self.report, self.judge
        report.orders, report.fills, report.messages = judge.orders, judge.fills, judge.messages
        report.lives, report.faults = self._lives, self.schedule.struck
        report.digest = self._digest.hexdigest()

    # --- what the maker tells --------------------------------------------------------------------

    def note_maker(self, level: str, what: str, **facts: object) -> None:
        self.report.seen[what] += 1
        self.say("maker: {} {}", what, facts)
