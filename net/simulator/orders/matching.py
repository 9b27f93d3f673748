"""Own orders among the synthetic book: queue position, price-time priority, fills.

Own resting orders are kept beside the crowd's book and not shown in it; the crowd does not react to
them. What an own order takes is really taken from the crowd's book, and published.

The rules, conservative where the market leaves a choice (a fill is never assumed too early):
* a resting order joins behind everything displayed at its price (`ahead_lots`);
* a trade at its price uses up what is ahead, then fills own orders, oldest first;
* a cancelled order of the crowd stood behind us: the queue only moves up when less is displayed
  than was ahead. This is the risk-averse queue model of back-testing;
* a trade at a worse price fills own orders at better prices first, up to its quantity;
* when the other side of the book reaches an own order's price, it is filled whole, at its price.
Invariants (`check`): own orders never cross the book; nobody has more ahead than is displayed; an
older order of the same price has no more ahead than a younger one.
Runs on: the simulator's event loop; no I/O, no clock, no chance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from net.simulator.flow import Step
from net.simulator.market import MatchingEngine, Trade

OWNER = "client"
FIRST_TRADE_ID = 5_000_000_001  # own trades number themselves, far above the crowd's
OWN_ORDERS_MAX = 1_000  # a venue's account-wide limit, and a bound on what a step looks through

SELF_TRADE_MODES = ("NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH")


@dataclass(slots=True)
class RestingOrder:
    """An own order in the queue. `qty_lots` is open, `ahead_lots` is the crowd's before it."""

    order_id: int
    side: int
    price_ticks: int
    qty_lots: int
    ahead_lots: int


class Fill(NamedTuple):
    """One own order's part in a trade."""

    order_id: int
    trade_id: int
    price_ticks: int
    qty_lots: int
    is_maker: bool
    time_ns: int


class Outcome(NamedTuple):
    """What became of an order on arrival.

    `left_lots` is what neither filled nor rests; `expired` are own resting orders that were taken
    out rather than traded with; `is_prevented`: the taker itself was stopped for that reason.
    """

    fills: list[Fill]
    left_lots: int
    expired: list[int]
    is_prevented: bool


class OwnOrders:
    """The own orders of one market."""

    def __init__(self, engine: MatchingEngine) -> None:
        self.orders: dict[int, RestingOrder] = {}
        self._engine = engine
        self._next_trade_id = FIRST_TRADE_ID

    # -- what a caller asks --------------------------------------------------------------------

    def would_take(self, side: int, limit_ticks: int) -> bool:
        """Whether a limit order would trade at once (a post-only order may not)."""
        best = self._best_opposite(side)
        return best is not None and side * (limit_ticks - best) >= 0

    def preview(
        self, side: int, qty_lots: int, limit_ticks: int | None = None
    ) -> list[tuple[int, int]]:
        """The crowd's levels a taking order would use, as (price_ticks, qty_lots), best first."""
        out: list[tuple[int, int]] = []
        book = self._engine.side(-side)
        depth = 1
        while qty_lots:
            levels = book.top(depth)[len(out) :]
            for price_ticks, level_lots in levels:
                beyond = limit_ticks is not None and side * (price_ticks - limit_ticks) > 0
                if beyond or not qty_lots:
                    return out
                lots = min(level_lots, qty_lots)
                out.append((price_ticks, lots))
                qty_lots -= lots
            if not levels:
                return out
            depth *= 2
        return out

    def preview_with_own(self, side: int, qty_lots: int) -> list[tuple[int, int]]:
        """What a market order would use that trades with own orders too, best first."""
        own = [(order.price_ticks, order.qty_lots) for order in self._queue(-side)]
        out: list[tuple[int, int]] = []
        for price_ticks, level_lots in sorted(
            self.preview(side, qty_lots) + own, key=lambda level: side * level[0]
        ):
            lots = min(level_lots, qty_lots)
            if lots:
                out.append((price_ticks, lots))
                qty_lots -= lots
        return out

    # -- orders --------------------------------------------------------------------------------

    def place(
        self,
        order_id: int,
        side: int,
        qty_lots: int,
        time_ns: int,
        *,
        limit_ticks: int | None,
        rests: bool,
        self_trade: str = "NONE",
    ) -> Outcome:
        """Take what the limit allows, then rest what is left if `rests`.

        `limit_ticks` None is a market order, which never rests.
        """
        assert qty_lots > 0 and self_trade in SELF_TRADE_MODES and order_id not in self.orders
        assert not (rests and limit_ticks is None)
        fills: list[Fill] = []
        expired: list[int] = []
        left = qty_lots
        while left:
            best = self._best_opposite(side)
            if best is None or (limit_ticks is not None and side * (best - limit_ticks) > 0):
                break
            if self._engine.side(-side).best() == best:
                lots = self._take(side, best, left, time_ns)
                fills.append(self._fill(order_id, best, lots, False, time_ns))
                left -= lots
                continue
            mine = self._queue(-side)[0]
            if self_trade == "NONE":
                lots = min(mine.qty_lots, left)
                self._fill_maker(mine, lots, time_ns, fills)
                fills.append(fills[-1]._replace(order_id=order_id, is_maker=False))
                left -= lots
                continue
            if self_trade != "EXPIRE_TAKER":
                del self.orders[mine.order_id]
                expired.append(mine.order_id)
            if self_trade != "EXPIRE_MAKER":
                return Outcome(fills, left, expired, True)
        if left and rests:
            assert limit_ticks is not None and len(self.orders) < OWN_ORDERS_MAX
            ahead_lots = self._displayed(side, limit_ticks)
            self.orders[order_id] = RestingOrder(order_id, side, limit_ticks, left, ahead_lots)
            left = 0
        return Outcome(fills, left, expired, False)

    def cancel(self, order_id: int) -> int:
        """Take an order out; returns what was open, 0 if it does not rest."""
        order = self.orders.pop(order_id, None)
        return order.qty_lots if order is not None else 0

    def reduce(self, order_id: int, qty_lots: int) -> None:
        """Less of a resting order, which keeps its place; something must be left."""
        order = self.orders[order_id]
        assert 0 < qty_lots < order.qty_lots
        order.qty_lots -= qty_lots

    def fill_now(self, order_id: int, time_ns: int) -> Fill:
        """Fill a resting order whole (a fault's doing)."""
        fills: list[Fill] = []
        order = self.orders[order_id]
        self._fill_maker(order, order.qty_lots, time_ns, fills)
        return fills[0]

    # -- the market's doing --------------------------------------------------------------------

    def on_step(self, step: Step) -> list[Fill]:
        """One event of the crowd; returns the fills it caused, in order."""
        fills: list[Fill] = []
        if not self.orders:
            return fills
        for trade in step.trades:
            self._on_trade(trade, fills)
        for side, price_ticks, qty_lots in step.changes:
            self._move_up(side, price_ticks, qty_lots)
        for order in list(self.orders.values()):
            best = self._engine.side(-order.side).best()
            if best is not None and order.side * (order.price_ticks - best) >= 0:
                self._fill_maker(order, order.qty_lots, step.time_ns, fills)
        return fills

    def _on_trade(self, trade: Trade, fills: list[Fill]) -> None:
        left = trade.qty_lots  # of the taker, on its way through the queue
        crowd_lots = 0  # that it has met at this price
        for order in self._queue(trade.maker_side):
            better = order.side * (order.price_ticks - trade.price_ticks)
            if better < 0:
                return
            if better == 0:
                met = min(left, order.ahead_lots - crowd_lots)
                crowd_lots += met
                left -= met
                order.ahead_lots -= crowd_lots
            lots = min(left, order.qty_lots)
            if lots:
                left -= lots
                self._fill_maker(order, lots, trade.time_ns, fills)

    def _move_up(self, side: int, price_ticks: int, displayed_lots: int) -> None:
        """Nobody can have more ahead than there is."""
        for order in self.orders.values():
            if order.side == side and order.price_ticks == price_ticks:
                order.ahead_lots = min(order.ahead_lots, displayed_lots)

    def check(self) -> None:
        """Assert every invariant of the module docstring."""
        for side in (1, -1):
            best = self._engine.side(-side).best()
            before: dict[int, int] = {}
            for order in self._queue(side):
                assert order.qty_lots > 0 and order.ahead_lots >= 0
                assert best is None or side * (order.price_ticks - best) < 0, "crosses the book"
                assert order.ahead_lots <= self._displayed(side, order.price_ticks)
                assert order.ahead_lots >= before.get(order.price_ticks, 0), "overtaken"
                before[order.price_ticks] = order.ahead_lots

    # -- parts ---------------------------------------------------------------------------------

    def _queue(self, side: int) -> list[RestingOrder]:
        """One side's own orders, best price first, then oldest (the sort is stable)."""
        mine = [order for order in self.orders.values() if order.side == side]
        return sorted(mine, key=lambda order: -side * order.price_ticks)

    def _best_opposite(self, side: int) -> int | None:
        """The best price an order of this side could trade at, crowd's or own."""
        prices = [order.price_ticks for order in self.orders.values() if order.side == -side]
        crowd = self._engine.side(-side).best()
        if crowd is not None:
            prices.append(crowd)
        return min(prices, key=lambda price: side * price) if prices else None

    def _displayed(self, side: int, price_ticks: int) -> int:
        level = self._engine.side(side).levels.get(price_ticks)
        return level.qty_lots if level is not None else 0

    def _take(self, side: int, price_ticks: int, qty_lots: int, time_ns: int) -> int:
        """Take up to so much of the crowd's best level; returns how much that was."""
        lots = min(qty_lots, self._displayed(-side, price_ticks))
        self._engine.submit(OWNER, side, lots, time_ns, price_ticks=price_ticks, rests=False)
        self._move_up(-side, price_ticks, self._displayed(-side, price_ticks))
        return lots

    def _fill_maker(
        self, order: RestingOrder, qty_lots: int, time_ns: int, fills: list[Fill]
    ) -> None:
        fills.append(self._fill(order.order_id, order.price_ticks, qty_lots, True, time_ns))
        order.qty_lots -= qty_lots
        if not order.qty_lots:
            del self.orders[order.order_id]

    def _fill(
        self, order_id: int, price_ticks: int, qty_lots: int, is_maker: bool, time_ns: int
    ) -> Fill:
        trade_id = self._next_trade_id
        self._next_trade_id += 1
        return Fill(order_id, trade_id, price_ticks, qty_lots, is_maker, time_ns)
