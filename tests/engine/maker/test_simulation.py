"""Orders against venues that lose, double, delay and reorder: what must hold at every moment.

A failing seed reproduces. The driver does what net will do: it sends the actions, times requests
out, asks about UNKNOWN orders once nothing sent for them can still arrive, and hands answers over.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from random import Random

import pytest

from engine.compiling.jit import BOUNDS_CHECKED, JIT_OFF
from engine.maker import order_layout as O
from engine.maker import risk_codes as R
from engine.maker import risk_gate
from engine.maker.orders import on_disconnect
from tests.engine.maker.order_venue import REQUEST_DELAY_MAX, Answer, Request, Venue
from tests.engine.maker.rig import FAIR, LIMITS, NOW_NS, Action, Maker, slot_of

pytestmark = pytest.mark.kernel

SEEDS = 24 if JIT_OFF else 60 if BOUNDS_CHECKED else 240
STEPS = 300
SETTLE_STEPS = 200
STEP_NS = 100_000_000
TIMEOUT_STEPS = 15
ASK_AGAIN_STEPS = 20
RATE = (60, 10_000_000_000)
TIGHT = replace(
    LIMITS,
    order_lots_max=20,
    position_lots_max=120,
    reduce_lots=90,
    open_orders_max=14,
    own_rate=RATE,
    daily_loss_max=10**12,
)
KINDS = {O.ACTION_SUBMIT: "new", O.ACTION_CANCEL: "cancel", O.ACTION_REPLACE: "replace"}


@dataclass
class World:
    """A maker, its venues, and what was sent when."""

    seed: int
    limits: risk_gate.RiskLimits = TIGHT
    sent_at: dict[int, int] = field(default_factory=dict)
    asked_at: dict[int, int] = field(default_factory=dict)
    new_orders_ns: dict[int, list[int]] = field(default_factory=lambda: {0: [], 1: []})
    now: int = 0
    faults: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        rate = self.random.choice((0.0, 0.05, 0.2, 0.4))
        self.maker = Maker(venues=2, limits=self.limits)
        self.venues = [
            Venue(Random(self.seed * 2 + number), says_sums=number == 0, fault_rate=rate)
            for number in range(2)
        ]

    # --- what net does ---------------------------------------------------------------------------

    def send(self, actions: list[Action]) -> None:
        for action in actions:
            venue, slot = divmod(action.slot, O.VENUE_SLOTS)
            request = Request(
                KINDS[action.kind], action.id, action.new_id, slot, action.price, action.lots
            )
            for order_id in (action.id, action.new_id):
                self.sent_at[order_id] = self.now
            if action.kind != O.ACTION_CANCEL:
                self.check_order(venue, action)
            self.venues[venue].send(request)
            self.check_limits()

    def hand_over(self, number: int, answer: Answer) -> None:
        if answer.event == O.FILL:
            self.maker.fill(
                answer.order_id, answer.execution_id, answer.side, answer.price, answer.lots,
                answer.filled_lots, number,
            )  # fmt: skip
        else:
            self.maker.event(answer.event, answer.order_id, answer.filled_lots, number)

    def watch_time(self, *, asks_all: bool = False) -> None:
        """Time requests out, and ask about what is not known."""
        for row in self.maker.rows():
            number = row.slot // O.VENUE_SLOTS
            waited = self.now - self.sent_at[row.id]
            is_pending = row.state in (O.PENDING_NEW, O.PENDING_CANCEL, O.PENDING_REPLACE)
            if is_pending and waited > TIMEOUT_STEPS:
                self.maker.event(O.TIMEOUT, row.id, venue=number)
                self.faults["timeouts"] += 1
            since_asked = self.now - self.asked_at.get(row.id, -ASK_AGAIN_STEPS)
            is_asked = row.state == O.UNKNOWN or (asks_all and row.is_live)
            if is_asked and waited > REQUEST_DELAY_MAX and since_asked >= ASK_AGAIN_STEPS:
                self.venues[number].send(Request("ask", row.id))
                self.asked_at[row.id] = self.now

    def step(self, *, asks_all: bool = False) -> None:
        self.now += 1
        self.maker.now_ns = NOW_NS + self.now * STEP_NS
        for number, venue in enumerate(self.venues):
            for answer in venue.step():
                self.hand_over(number, answer)
        self.watch_time(asks_all=asks_all)
        self.send(self.maker.decide())
        self.check_venues()
        self.maker.check()

    # --- what must hold --------------------------------------------------------------------------

    def check_order(self, venue: int, action: Action) -> None:
        """One new order by itself, and the rate it is sent at."""
        assert 0 < action.lots <= self.limits.order_lots_max
        assert abs(action.price - self.maker.fair) * 10_000 <= self.maker.fair * 500
        times = self.new_orders_ns[venue]
        times.append(self.maker.now_ns)
        limit, span_ns = self.limits.own_rate
        assert len(times) <= limit or times[-limit - 1] <= self.maker.now_ns - span_ns

    def check_limits(self) -> None:
        """The position and the number of orders if everything open or under way came true."""
        for side, sign in ((O.BUY, 1), (O.SELL, -1)):
            worst = sign * sum(venue.position_lots for venue in self.venues)
            for venue in self.venues:
                for order in venue.open.values():
                    worst += order.left_lots if order.is_buy == (side == O.BUY) else 0
                for _, request in venue.requests:
                    is_new = request.kind in ("new", "replace")
                    if is_new and request.slot // O.SLOT_LEVELS % 2 == side:
                        worst += request.lots
            assert worst <= self.limits.position_lots_max
        open_count = sum(len(each.open) for each in self.venues)
        under_way = sum(
            request.kind == "new" for each in self.venues for _, request in each.requests
        )
        assert open_count + under_way <= self.limits.open_orders_max

    def check_venues(self) -> None:
        """At the venues: one order a slot, and no own bid at or above an own ask."""
        self.check_limits()
        bids, asks = [0], [2**62]
        for venue in self.venues:
            slots = Counter(order.slot for order in venue.open.values())
            assert not slots or max(slots.values()) == 1
            for order in venue.open.values():
                (bids if order.is_buy else asks).append(order.price)
        assert max(bids) < min(asks)

    # --- a life ----------------------------------------------------------------------------------

    def quote(self) -> None:
        """Other quotes, or none, around a fair price that has moved."""
        self.maker.fair = max(FAIR // 2, self.maker.fair + self.random.randint(-6, 6))
        for venue in range(2):
            for level in range(3):
                for side, sign in ((O.BUY, -1), (O.SELL, 1)):
                    if self.random.random() < 0.7:
                        price = self.maker.fair + sign * (1 + 2 * level)
                        lots = self.random.choice((0, 5, 8, 8, 12, 12, 12, 12, 20, 25))
                        self.maker.want(slot_of(side, level, venue), price, lots)

    def live(self) -> None:
        for _ in range(STEPS):
            if self.random.random() < 0.3:
                self.quote()
            for number, venue in enumerate(self.venues):
                chance = self.random.random()
                if chance < 0.15:
                    venue.trade()
                elif chance < 0.16:
                    venue.expire()
                elif chance < 0.163:
                    venue.break_connection()
                    on_disconnect(self.maker.table, number)
                    self.faults["disconnects"] += 1
            self.step()
            self.check_owed()

    def settle(self) -> None:
        """No more faults and no new quotes: everything is answered."""
        for venue in self.venues:
            venue.fault_rate = 0.0
        for _ in range(SETTLE_STEPS):
            self.step(asks_all=True)

    def check_settled(self) -> None:
        """What the maker believes is what is so."""
        assert self.maker.position == sum(venue.position_lots for venue in self.venues)
        assert self.maker.table[O.ACCOUNT_CASH_VALUE] == sum(venue.cash for venue in self.venues)
        believed = {row.id: row.filled_lots for row in self.maker.rows() if row.is_live}
        assert believed == {
            order_id: order.filled_lots
            for venue in self.venues
            for order_id, order in venue.open.items()
        }
        assert self.maker.table[O.ACCOUNT_ANOMALIES] == 0

    def check_owed(self) -> None:
        """What is counted ahead of its execution is what the rows have more of sums than of
        executions. Needs executions that are all remembered."""
        table, owed = self.maker.table, [[0, 0], [0, 0]]
        for venue in range(len(self.venues)):
            at = O.venue_word(venue, O.VENUE_ROWS_AT)
            rows = table[at : at + O.VENUE_SLOTS * O.SLOT_WORDS].reshape(-1, O.ORDER_WORDS)
            for row in rows.tolist():
                lots = row[O.ORDER_FILLED_LOTS] - row[O.ORDER_EXECUTED_LOTS]
                if row[O.ORDER_ID] and row[O.ORDER_STATE] != O.FREE:
                    sign = 1 if row[O.ORDER_SLOT] // O.SLOT_LEVELS % 2 == O.BUY else -1
                    owed[venue][0] += sign * lots
                    owed[venue][1] -= sign * lots * row[O.ORDER_PRICE]
            words = (O.VENUE_OWED_LOTS, O.VENUE_OWED_CASH)
            found = [int(table[O.venue_word(venue, word)]) for word in words]
            forgotten = table[O.venue_word(venue, O.VENUE_FORGOTTEN_AT) :][
                : O.FORGOTTEN * O.FORGOTTEN_WORDS
            ].reshape(-1, O.FORGOTTEN_WORDS)
            if not forgotten[:, O.FORGOTTEN_OWED_LOTS].any():
                assert found == owed[venue]
                self.faults["owed"] += found[0] != 0


def run(seed: int) -> World:
    world = World(seed)
    world.live()
    assert world.maker.risk_state != O.HALTED
    if seed % 2:
        world.settle()
        world.check_settled()
    world.send(world.maker.kill())
    placed = int(world.maker.table[O.ACCOUNT_SEQUENCE])
    for _ in range(50):
        world.step()
    world.settle()
    world.check_settled()
    assert not any(venue.open for venue in world.venues)
    assert world.maker.table[O.ACCOUNT_SEQUENCE] == placed, "nothing new after a kill"
    return world


@pytest.mark.parametrize("group", range(6))
def test_nothing_is_lost_whatever_the_venues_do(group: int) -> None:
    seen: Counter[str] = Counter()
    for seed in range(group, SEEDS, 6):
        try:
            world = run(seed)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}") from error
        table = world.maker.table
        seen.update(world.faults)
        seen["fills"] += int(table[O.ACCOUNT_FILLS])
        seen["doubled"] += int(table[O.ACCOUNT_DUPLICATE_FILLS])
        seen["inferred"] += int(table[O.ACCOUNT_INFERRED_FILLS])
        seen["orphans"] += int(table[O.ACCOUNT_ORPHAN_FILLS])
        seen["ignored"] += int(table[O.ACCOUNT_IGNORED_EVENTS])
        for code, count in world.maker.refused().items():
            seen[R.TEXTS[code]] += count
    for fault in ("timeouts", "disconnects", "fills", "doubled", "inferred", "ignored", "owed"):
        assert seen[fault] > 0, f"no seed of the group saw {fault}"
    # Some limits are reached by one seed in ten: they are asked of a full run only.
    rare = () if JIT_OFF or BOUNDS_CHECKED else (R.OPEN_ORDERS, R.RATE_OWN)
    for code in (R.ORDER_SIZE, R.POSITION, R.OWN_CROSS, *rare):
        assert seen[R.TEXTS[code]] > 0, R.TEXTS[code]
