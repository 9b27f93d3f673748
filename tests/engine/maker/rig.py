"""A maker's table and gate for the tests, with the sums checked that the engine keeps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from engine.compiling.atomics import Words
from engine.layout.units import DAY_NS
from engine.maker import order_layout as O
from engine.maker import risk_codes as R
from engine.maker import risk_gate
from engine.maker.orders import new_table, on_event, on_fill

EPOCH = 7
FAIR = 10_000
NOW_NS = 1_700_000_000 * 1_000_000_000
LIMITS = risk_gate.RiskLimits(
    order_lots_max=100,
    notional_max=2_000_000,
    collar_bps=500,
    open_orders_max=40,
    position_lots_max=1_000,
    exposure_max=20_000_000,
    reduce_lots=800,
    daily_loss_max=1_000_000,
    own_rate=(1_000, 10_000_000_000),
    venue_rate=(1_000, 10_000_000_000),
)
"""Roomy: a test narrows the one it is about."""


def order_id(sequence: int) -> int:
    return EPOCH << 32 | sequence


def slot_of(side: int, level: int = 0, venue: int = 0) -> int:
    return venue * O.VENUE_SLOTS + side * O.SLOT_LEVELS + level


class Row(NamedTuple):
    """One order of the table."""

    at: int
    id: int
    state: int
    slot: int
    price: int
    lots: int
    filled_lots: int

    @property
    def is_live(self) -> bool:
        return O.PENDING_NEW <= self.state <= O.UNKNOWN


@dataclass(frozen=True)
class Action:
    """One message to be sent."""

    kind: int
    slot: int
    id: int
    new_id: int
    price: int
    lots: int


@dataclass
class Maker:
    """The kernels, called as net will call them."""

    venues: int = 1
    limits: risk_gate.RiskLimits = LIMITS
    value_scale: int = 1
    position_lots: int = 0
    now_ns: int = NOW_NS
    fair: int = FAIR
    actions: Words = field(init=False)

    def __post_init__(self) -> None:
        self.table = new_table(self.venues, EPOCH, self.value_scale, self.position_lots)
        self.risk = risk_gate.new_risk(self.limits, self.venues)
        self.wanted = np.zeros(O.wanted_words(self.venues), np.int64)
        self.actions = np.zeros(O.actions_words(self.venues), np.int64)

    def want(self, slot: int, price: int, lots: int) -> None:
        self.wanted[slot * O.WANTED_WORDS + O.WANTED_PRICE] = price
        self.wanted[slot * O.WANTED_WORDS + O.WANTED_LOTS] = lots

    def read(self, count: int) -> list[Action]:
        words = self.actions[: count * O.ACTION_WORDS].reshape(count, O.ACTION_WORDS)
        return [Action(*(int(word) for word in row)) for row in words]

    def _set_day(self) -> None:
        """As the market maker does: days never go back."""
        today = self.now_ns // DAY_NS
        self.risk[O.RISK_TODAY] = max(today, int(self.risk[O.RISK_TODAY]))

    def decide(self) -> list[Action]:
        self._set_day()
        count = risk_gate.decide(
            self.table, self.risk, self.wanted, self.actions, self.fair, self.now_ns
        )
        return self.read(count)

    def submit(self, kind: int, slot: int, price: int, lots: int, old_id: int = 0) -> list[Action]:
        """One action straight into the gate."""
        self._set_day()
        self.actions[: O.ACTION_WORDS] = (kind, slot, old_id, 0, price, lots)
        count = risk_gate.submit(self.table, self.risk, self.actions, 1, self.fair, self.now_ns)
        return self.read(count)

    def new(self, side: int, price: int, lots: int, level: int = 0, venue: int = 0) -> int:
        """A new order's id, or 0 where it is refused."""
        sent = self.submit(O.ACTION_SUBMIT, slot_of(side, level, venue), price, lots)
        return sent[0].new_id if sent else 0

    def open(self, side: int, price: int, lots: int, level: int = 0, venue: int = 0) -> int:
        """An acknowledged order's id."""
        found = self.new(side, price, lots, level, venue)
        assert found and self.event(O.ACK, found, venue=venue) == O.OPEN
        return found

    def kill(self, reason: int = R.KILLED) -> list[Action]:
        return self.read(risk_gate.kill(self.table, self.risk, self.actions, reason))

    def event(self, event: int, id: int, filled_lots: int = 0, venue: int = 0) -> int:
        return int(on_event(self.table, event, venue, id, filled_lots))

    def fill(
        self, id: int, execution: int, side: int, price: int, lots: int, total: int = 0,
        venue: int = 0, fee_base_lots: int = 0, fee_value: int = 0,
    ) -> int:  # fmt: skip
        fees = (fee_base_lots, fee_value)
        return int(on_fill(self.table, venue, id, execution, side, price, lots, total, *fees))

    def rows(self) -> list[Row]:
        """Every row that has ever been used."""
        found = []
        for venue in range(self.venues):
            start = O.ACCOUNT_WORDS + venue * O.VENUE_WORDS + O.VENUE_ROWS_AT
            stop = O.ACCOUNT_WORDS + (venue + 1) * O.VENUE_WORDS
            table = self.table[start:stop].reshape(-1, O.ORDER_WORDS)
            used = table[:, O.ORDER_ID].nonzero()[0]
            words = table[used, : O.ORDER_EXECUTED_LOTS].tolist()
            for number, row in zip(used.tolist(), words, strict=True):
                found.append(Row(start + number * O.ORDER_WORDS, *row))
        return found

    def row(self, id: int) -> Row:
        return next(row for row in self.rows() if row.id == id)

    def state(self, id: int) -> int:
        return self.row(id).state

    def refused(self) -> dict[int, int]:
        """How often each refusal was given."""
        counts = self.risk[O.RISK_REFUSALS_AT : O.RISK_REFUSALS_AT + O.REFUSALS_MAX]
        return {code: int(count) for code, count in enumerate(counts) if count}

    @property
    def position(self) -> int:
        return int(self.table[O.ACCOUNT_POSITION_LOTS])

    @property
    def risk_state(self) -> int:
        return int(self.risk[O.RISK_STATE])

    def check(self) -> None:
        """What the table says about itself, counted anew."""
        rows = self.rows()
        live = [row for row in rows if row.is_live]
        for side in (O.BUY, O.SELL):
            left = sum(
                max(row.lots - row.filled_lots, 0)
                for row in live
                if row.slot // O.SLOT_LEVELS % 2 == side
            )
            assert self.table[O.ACCOUNT_OPEN_BUY_LOTS + side] == left
        assert self.table[O.ACCOUNT_LIVE_ORDERS] == len(live)
        assert len(rows) == len({row.id for row in rows})
        venues = range(int(self.table[O.ACCOUNT_VENUES]))
        first = O.ACCOUNT_WORDS + O.VENUE_POSITION_LOTS
        parts = [int(self.table[first + venue * O.VENUE_WORDS]) for venue in venues]
        assert sum(parts) == self.position
        for row in live:
            assert row.state == O.UNKNOWN or row.filled_lots < row.lots
