"""What orders must keep to, as the risk gate's words: written once, and refused where it cannot be.

Runs on: any thread.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from engine.compiling.atomics import Words
from engine.layout.layout import VENUES_MAX
from engine.layout.units import DAY_NS
from engine.maker import order_layout as O
from engine.maker.risk_codes import NO_DAY

BPS = 10_000
"""Basis points of one."""

assert O.PRICE_MAX * BPS < 1 << 62


@dataclass(frozen=True)
class RiskLimits:
    """What orders must keep to. Values are price units x lots / the table's value scale."""

    order_lots_max: int
    notional_max: int
    collar_bps: int
    open_orders_max: int
    position_lots_max: int
    exposure_max: int
    """The most that the worst-case position may be worth at the fair price."""
    reduce_lots: int
    daily_loss_max: int
    """Realised and marked to the fair price, since 00:00 UTC; at it, quoting halts."""
    own_rate: tuple[int, int] = (25, 10_000_000_000)
    """New orders and the time in ns, for each venue."""
    venue_rate: tuple[int, int] = (50, 10_000_000_000)
    day_rate: tuple[int, int] = (160_000, DAY_NS)
    """By account, as large exchanges document it; a replace is one new order, a cancel none."""
    fill_rate: tuple[int, int] = (O.LOTS_MAX, 60_000_000_000)
    """Fills of both sides at all venues and the time in ns; at it, nothing stays open."""
    volume_rate: tuple[int, int] = (O.LOTS_MAX, 60_000_000_000)
    """Lots, of both sides at all venues, with all that is open."""

    def __post_init__(self) -> None:
        tops = {"collar_bps": BPS, "position_lots_max": O.LOTS_MAX, "order_lots_max": O.LOTS_MAX}
        for field in fields(self):
            if field.name.endswith("_rate"):
                limit, span_ns = getattr(self, field.name)
                if not (1 <= limit <= O.LOTS_MAX and 1 <= span_ns <= DAY_NS):
                    raise ValueError(f"{field.name}: {limit} in {span_ns} ns")
                continue
            number, top = getattr(self, field.name), tops.get(field.name, O.VALUE_MAX - 1)
            if not 1 <= number <= top:
                raise ValueError(f"{field.name} = {number}: 1 to {top} are possible")
        if self.reduce_lots > self.position_lots_max:
            raise ValueError("reduce_lots is beyond position_lots_max")


def new_risk(limits: RiskLimits, venues: int) -> Words:
    """The gate's words for `venues` venues, NORMAL and without a fair price."""
    if not 1 <= venues <= VENUES_MAX:
        raise ValueError(f"{venues} venues: 1 to {VENUES_MAX} are possible")
    risk = np.zeros(O.risk_words(venues), np.int64)
    risk[O.RISK_ORDER_LOTS_MAX] = limits.order_lots_max
    risk[O.RISK_NOTIONAL_MAX] = limits.notional_max
    risk[O.RISK_COLLAR_BPS] = limits.collar_bps
    risk[O.RISK_OPEN_ORDERS_MAX] = limits.open_orders_max
    risk[O.RISK_POSITION_LOTS_MAX] = limits.position_lots_max
    risk[O.RISK_EXPOSURE_MAX] = limits.exposure_max
    risk[O.RISK_REDUCE_LOTS] = limits.reduce_lots
    risk[O.RISK_DAILY_LOSS_MAX] = limits.daily_loss_max
    risk[O.RISK_DAY] = risk[O.RISK_RESUMED_DAY] = NO_DAY
    account = (limits.fill_rate, limits.volume_rate)
    rates = (limits.own_rate, limits.venue_rate, limits.day_rate)
    for number, (limit, span_ns) in enumerate((*account, *rates * venues)):
        window = O.RISK_FILLS_WINDOW_AT + number * O.WINDOW_WORDS
        risk[window + O.WINDOW_LIMIT] = limit
        risk[window + O.WINDOW_BUCKET_NS] = -(-span_ns // O.WINDOW_BUCKETS)
    return risk
