"""What a backtest comes to: every fill with what the market did after it, and the result by day.

Cash, position and fees are those of the venues, counted when an order is filled there and not when
we hear of it. Money is exact: whole numbers of (common price unit) x (lot), and fees in 1e-8 of the
quote currency. The position is valued at the market maker's fair price, the last one known.

    markout            side * (mid(t + h) - fill price) / fill price
    adverse selection  side * (mid(t) - mid(t + h)) / mid(t)

in basis points, the side 1 for a buy and -1 for a sell; mid(t) is of the book that filled the
order, mid(t + h) of the last book before t + h, both of the venue of the fill (the realised-spread
decomposition of Huang and Stoll, "Dealer versus auction markets", J. Financial Economics 41, 1996:
effective half-spread = realised half-spread + price impact).
Runs on: the main thread.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field
from decimal import Decimal

from engine.engine import Engine
from engine.layout.layout import LOT_DECIMALS
from engine.layout.units import DAY_NS, NEVER_NS, NS_PER_S
from engine.maker.fair import read_price
from engine.maker.order_layout import BUY, RATE_ONE
from net.maker.maker import Maker
from net.maker.paper_orders import PaperFill

HORIZONS_S = (1, 10, 60)
"""How long after a fill the market is looked at."""
SAMPLE_NS = NS_PER_S
SAMPLES_MAX = 4096
"""Points of a curve: beyond, every second one goes and the others come half as often."""


@dataclass
class Fill:
    """One fill. `mid_ticks`: twice the mid in the venue's ticks, None where a side was empty."""

    time_ns: int
    venue: int
    order_id: int
    is_buy: bool
    price_ticks: int
    lots: int
    left_lots: int
    cause: int
    fee_lots: int
    position_lots: int
    """After it, over all venues."""
    mid_ticks: int | None
    mids_after: list[int | None] = field(default_factory=lambda: [None] * len(HORIZONS_S))

    @property
    def sign(self) -> int:
        return 1 if self.is_buy else -1

    def markout_bps(self, horizon: int) -> float | None:
        """For the horizon of this place in HORIZONS_S; None where it is not known."""
        after = self.mids_after[horizon]
        if after is None:
            return None
        return self.sign * (after - 2 * self.price_ticks) / (2 * self.price_ticks) * 1e4

    def adverse_bps(self, horizon: int) -> float | None:
        after, before = self.mids_after[horizon], self.mid_ticks
        if after is None or before is None:
            return None
        return self.sign * (before - after) / before * 1e4


@dataclass
class Day:
    """One day in UTC, or what the tapes have of it. Values: price unit x lot."""

    number: int
    """Days since 1970."""
    fills: int = 0
    bought_lots: int = 0
    sold_lots: int = 0
    turnover_value: int = 0
    fee_lots: int = 0
    result_value: int = 0
    """Before fees."""
    position_lots: int = 0
    """At its end."""
    position_lots_max: int = 0
    """The largest that it was, long or short."""


@dataclass(frozen=True)
class Sample:
    """A point of the curves. `fair_units`: 0 while there has been none."""

    time_ns: int
    fair_units: int
    position_lots: int
    result_value: int
    fee_lots: int


class Results:
    """Watches one run: `begin`, then `take` and `measure` as time goes on, then `end`."""

    def __init__(self, engine: Engine, maker: Maker) -> None:
        self.fills: list[Fill] = []
        self.days: list[Day] = []
        self.samples: list[Sample] = []
        self.position_lots = 0
        self.fee_lots = 0
        self.venue_names = maker.venue_names
        self._engine = engine
        self._maker = maker
        self._cash_values = [0] * len(maker.venue_names)
        """By venue, in its own quote currency."""
        self._fair_units = 0
        self._day_start_value = 0
        self._sample_ns = SAMPLE_NS
        self._sample_due_ns = self._midnight_ns = NEVER_NS
        self._pending: list[tuple[int, int, int]] = []
        """When, of which fill, for which horizon."""
        self.next_due_ns = NEVER_NS
        """When `measure` is to be called, before anything else that happens then or later."""

    # --- money -----------------------------------------------------------------------------------

    @property
    def result_value(self) -> int:
        """Cash and the position at the last fair price, before fees."""
        cash = sum(self._worth(venue, value) for venue, value in enumerate(self._cash_values))
        return cash + self.position_lots * self._fair_units

    def _worth(self, venue: int, value: int) -> int:
        """A value in a venue's quote currency, in the maker's at the rate of now, rounded down."""
        return value * self._maker.rate_of(venue) // RATE_ONE

    def money(self, value: int) -> Decimal:
        """A value in the quote currency."""
        mantissa, decimals = self._maker.rules.unit
        return Decimal(value * mantissa).scaleb(-decimals - LOT_DECIMALS)

    def unit_price(self, units: int) -> Decimal:
        """A price in common units in the quote currency."""
        mantissa, decimals = self._maker.rules.unit
        return Decimal(units * mantissa).scaleb(-decimals)

    def price(self, venue: int, ticks: int) -> Decimal:
        """A price of a venue in the quote currency."""
        return self.unit_price(ticks * self._maker.rules.tick_units[venue])

    # --- as time goes on -------------------------------------------------------------------------

    def begin(self, now_ns: int) -> None:
        """The first line's time."""
        self._open_day(now_ns // DAY_NS)
        self._sample_due_ns = now_ns + self._sample_ns
        self._set_due()

    def take(self, paper: PaperFill) -> None:
        """One fill, on the book that made it."""
        is_buy = paper.side == BUY
        value = paper.price_ticks * self._maker.rules.tick_units[paper.venue] * paper.lots
        sign = 1 if is_buy else -1
        self.position_lots += sign * paper.lots
        self._cash_values[paper.venue] -= sign * value
        fee_lots = -self._worth(paper.venue, -paper.fee_lots)
        self.fee_lots += fee_lots
        fill = Fill(
            paper.time_ns, paper.venue, paper.order_id, is_buy, paper.price_ticks, paper.lots,
            paper.left_lots, paper.cause, fee_lots, self.position_lots,
            self._mid_ticks(paper.venue),
        )  # fmt: skip
        for horizon, seconds in enumerate(HORIZONS_S):
            due = (paper.time_ns + seconds * NS_PER_S, len(self.fills), horizon)
            heapq.heappush(self._pending, due)
        self.fills.append(fill)
        day = self.days[-1]
        day.fills += 1
        day.bought_lots += paper.lots if is_buy else 0
        day.sold_lots += 0 if is_buy else paper.lots
        day.turnover_value += self._worth(paper.venue, value)
        day.fee_lots += fee_lots
        day.position_lots_max = max(day.position_lots_max, abs(self.position_lots))
        self._set_due()

    def measure(self, now_ns: int) -> None:
        """What is due by now, on the book as it stands."""
        self._look_at_fair()
        while self._pending and self._pending[0][0] <= now_ns:
            _, index, horizon = heapq.heappop(self._pending)
            fill = self.fills[index]
            fill.mids_after[horizon] = self._mid_ticks(fill.venue)
        if self._midnight_ns <= now_ns:
            self._close_day()
            self._open_day(now_ns // DAY_NS)
        if self._sample_due_ns <= now_ns:
            self._sample(now_ns)
            self._sample_due_ns = now_ns + self._sample_ns
        self._set_due()

    def end(self, now_ns: int) -> None:
        """The tapes are through; what the market did after their end is not known."""
        if not self.days:
            return
        self._look_at_fair()
        self._sample(now_ns)
        self._close_day()
        self.next_due_ns = NEVER_NS

    def _set_due(self) -> None:
        due_ns = self._pending[0][0] if self._pending else NEVER_NS
        self.next_due_ns = min(due_ns, self._sample_due_ns, self._midnight_ns)

    def _look_at_fair(self) -> None:
        fair = read_price(self._maker.fair)
        if not math.isnan(fair):
            self._fair_units = round(fair)

    def _mid_ticks(self, venue: int) -> int | None:
        """Twice the mid of a venue's own book in its ticks, None where a side is empty."""
        bid, ask = self._engine.best_ticks(self._maker.papers[venue].feed)
        return bid + ask if bid and ask else None

    def _sample(self, now_ns: int) -> None:
        sample = Sample(
            now_ns, self._fair_units, self.position_lots, self.result_value, self.fee_lots
        )
        self.samples.append(sample)
        if len(self.samples) > SAMPLES_MAX:
            del self.samples[1::2]
            self._sample_ns *= 2

    def _open_day(self, number: int) -> None:
        self._midnight_ns = (number + 1) * DAY_NS
        self._day_start_value = self.result_value
        self.days.append(Day(number, position_lots_max=abs(self.position_lots)))

    def _close_day(self) -> None:
        day = self.days[-1]
        day.result_value = self.result_value - self._day_start_value
        day.position_lots = self.position_lots
