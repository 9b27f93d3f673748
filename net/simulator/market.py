"""A matching engine: one order book with price-time priority, in integer ticks and lots.

Invariants (asserted by `check`): the book is never crossed; a level's quantity is the sum of its
orders; every order is in exactly one level; quantity is conserved: submitted == resting +
withdrawn + 2 * traded (a trade takes from maker and taker).
Orders carry an owner, so that real clients' orders enter through the same `submit` and `cancel`.
Runs on: whoever advances the market (the simulator's event loop); no I/O, no clock, no
randomness.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass
from typing import NamedTuple

BID = 1
ASK = -1
ORDERS_MAX = 250_000  # ten times the deepest calibrated book; a leak shows as an assertion
QTY_LOTS_MAX = 2**63 - 1  # Binance's own cap
PRICE_TICKS_MAX = 2**53  # stays exact wherever a price is compared with a float


@dataclass(slots=True)
class Order:
    """A resting order, or what is left of an incoming one. `qty_lots` is the open remainder."""

    order_id: int
    owner: str
    side: int
    price_ticks: int
    qty_lots: int
    time_ns: int


@dataclass(slots=True, frozen=True)
class Trade:
    """One fill of one maker by one taker, at the maker's price."""

    trade_id: int
    time_ns: int
    price_ticks: int
    qty_lots: int
    maker_side: int
    maker_order_id: int
    taker_order_id: int
    maker_owner: str
    taker_owner: str


class LevelChange(NamedTuple):
    """The new total at one price; zero means that the level is gone."""

    side: int
    price_ticks: int
    qty_lots: int


class Level:
    """Orders at one price, oldest first (a dict keeps insertion order and cancels in O(1))."""

    __slots__ = ("orders", "qty_lots")

    def __init__(self) -> None:
        self.orders: dict[int, Order] = {}
        self.qty_lots = 0


class BookSide:
    """One side. Keys are `sign * price`, ascending, so the best price is last on both sides."""

    def __init__(self, sign: int) -> None:
        assert sign in (BID, ASK)
        self.sign = sign
        self.levels: dict[int, Level] = {}
        self._keys: list[int] = []

    def best(self) -> int | None:
        """Best price in ticks."""
        return self.sign * self._keys[-1] if self._keys else None

    def best_level(self) -> tuple[int, int]:
        """(price_ticks, qty_lots) of the best level; (0, 0) on an empty side."""
        if not self._keys:
            return 0, 0
        price_ticks = self.sign * self._keys[-1]
        return price_ticks, self.levels[price_ticks].qty_lots

    def top(self, levels_count: int) -> list[tuple[int, int]]:
        """The best levels, best first, as (price_ticks, qty_lots)."""
        keys = self._keys[: -levels_count - 1 : -1]
        return [(self.sign * key, self.levels[self.sign * key].qty_lots) for key in keys]

    def add(self, order: Order) -> int:
        """Append an order to its level; returns the level's new quantity."""
        level = self.levels.get(order.price_ticks)
        if level is None:
            level = self.levels[order.price_ticks] = Level()
            insort(self._keys, self.sign * order.price_ticks)
        level.orders[order.order_id] = order
        level.qty_lots += order.qty_lots
        return level.qty_lots

    def take(self, order: Order, qty_lots: int) -> int:
        """Take quantity out of a resting order; returns the level's new quantity."""
        assert 0 < qty_lots <= order.qty_lots
        level = self.levels[order.price_ticks]
        order.qty_lots -= qty_lots
        level.qty_lots -= qty_lots
        if order.qty_lots == 0:
            del level.orders[order.order_id]
            if not level.orders:
                del self.levels[order.price_ticks]
                del self._keys[bisect_left(self._keys, self.sign * order.price_ticks)]
        return level.qty_lots

    def check(self) -> int:
        """Assert this side's invariants; returns its resting quantity."""
        assert self._keys == sorted(self.sign * price for price in self.levels)
        for price_ticks, level in self.levels.items():
            assert level.orders, "an empty level stays in the book"
            assert level.qty_lots == sum(order.qty_lots for order in level.orders.values())
            for order in level.orders.values():
                assert order.qty_lots > 0
                assert (order.side, order.price_ticks) == (self.sign, price_ticks)
        return sum(level.qty_lots for level in self.levels.values())


class MatchingEngine:
    """The book of one instrument. Changes and trades pile up until `drain` takes them."""

    def __init__(self, first_order_id: int = 1, first_trade_id: int = 1) -> None:
        self.bids = BookSide(BID)
        self.asks = BookSide(ASK)
        self.orders: dict[int, Order] = {}
        self.submitted_lots = 0
        self.withdrawn_lots = 0
        self.traded_lots = 0
        self._next_order_id = first_order_id
        self._next_trade_id = first_trade_id
        self._changes: list[LevelChange] = []
        self._trades: list[Trade] = []

    def side(self, side: int) -> BookSide:
        """The side that orders of this sign rest on."""
        return self.bids if side == BID else self.asks

    def submit(
        self,
        owner: str,
        side: int,
        qty_lots: int,
        time_ns: int,
        *,
        price_ticks: int | None = None,
        rests: bool = True,
    ) -> Order:
        """Match an order, then rest what is left.

        `price_ticks` None is a market order. `rests` False withdraws the remainder (IOC); a market
        order's remainder is always withdrawn. The returned order is live only if it is in `orders`.
        """
        assert side in (BID, ASK) and 0 < qty_lots <= QTY_LOTS_MAX
        assert price_ticks is None or 0 < price_ticks <= PRICE_TICKS_MAX
        order = Order(self._next_order_id, owner, side, price_ticks or 0, qty_lots, time_ns)
        self._next_order_id += 1
        self.submitted_lots += qty_lots
        self._match(order, price_ticks)
        if not order.qty_lots:
            return order
        if price_ticks is None or not rests:
            self.withdrawn_lots += order.qty_lots
            return order
        assert len(self.orders) < ORDERS_MAX, "too many resting orders"
        self.orders[order.order_id] = order
        self._note(side, price_ticks, self.side(side).add(order))
        return order

    def _match(self, taker: Order, limit_ticks: int | None) -> None:
        opposite = self.side(-taker.side)
        while taker.qty_lots:
            best = opposite.best()
            if best is None or (limit_ticks is not None and taker.side * (best - limit_ticks) > 0):
                return
            qty_lots = 0
            for maker in list(opposite.levels[best].orders.values()):
                filled_lots = min(maker.qty_lots, taker.qty_lots)
                self._trades.append(
                    Trade(
                        self._next_trade_id,
                        taker.time_ns,
                        best,
                        filled_lots,
                        maker.side,
                        maker.order_id,
                        taker.order_id,
                        maker.owner,
                        taker.owner,
                    )
                )
                self._next_trade_id += 1
                self.traded_lots += filled_lots
                taker.qty_lots -= filled_lots
                qty_lots = opposite.take(maker, filled_lots)
                if not maker.qty_lots:
                    del self.orders[maker.order_id]
                if not taker.qty_lots:
                    break
            self._note(-taker.side, best, qty_lots)

    def cancel(self, order_id: int) -> int:
        """Withdraw an order; returns the quantity withdrawn, 0 if it is not resting."""
        order = self.orders.get(order_id)
        return self.reduce(order_id, order.qty_lots) if order is not None else 0

    def reduce(self, order_id: int, qty_lots: int) -> int:
        """Withdraw part of an order, which keeps its place; returns the quantity withdrawn."""
        order = self.orders.get(order_id)
        if order is None:
            return 0
        self._note(order.side, order.price_ticks, self.side(order.side).take(order, qty_lots))
        self.withdrawn_lots += qty_lots
        if not order.qty_lots:
            del self.orders[order_id]
        return qty_lots

    def drain(self) -> tuple[list[LevelChange], list[Trade]]:
        """Everything that changed since the last call, in order."""
        drained = self._changes, self._trades
        self._changes, self._trades = [], []
        return drained

    def check(self) -> None:
        """Assert every invariant of the module docstring."""
        resting_lots = self.bids.check() + self.asks.check()
        best_bid, best_ask = self.bids.best(), self.asks.best()
        assert best_bid is None or best_ask is None or best_bid < best_ask, "crossed"
        levels = [*self.bids.levels.values(), *self.asks.levels.values()]
        assert sum(len(level.orders) for level in levels) == len(self.orders)
        assert self.submitted_lots == resting_lots + self.withdrawn_lots + 2 * self.traded_lots

    def _note(self, side: int, price_ticks: int, qty_lots: int) -> None:
        self._changes.append(LevelChange(side, price_ticks, qty_lots))
