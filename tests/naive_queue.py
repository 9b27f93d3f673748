"""The plain queue of one venue: orders, levels and their places as dictionaries of Decimals.

What paper orders must agree with (engine.maker.queue_position). Nothing of the program is used;
the rules are those of the text, written a second time and as obviously as possible.
Runs on: the tests' thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

LOT = Decimal("0.00000001")
Book = dict[Decimal, Decimal]
"""Amount by price."""


@dataclass
class NaiveOrder:
    """One order that rests. `ahead`: what stands before it at its price; None: not seen yet."""

    name: int
    is_buy: bool
    price: Decimal
    left: Decimal
    level: Decimal = Decimal(0)
    ahead: Decimal | None = None


@dataclass(frozen=True)
class NaiveFill:
    """One fill."""

    name: int
    is_buy: bool
    price: Decimal
    amount: Decimal
    left: Decimal
    cause: str


@dataclass
class NaiveQueue:
    """All orders at one venue, in the order in which they came. `lot`: the feed's."""

    is_proportional: bool = True
    has_trades: bool = False
    lot: Decimal = LOT

    def __post_init__(self) -> None:
        self.orders: list[NaiveOrder] = []

    def join(self, order: NaiveOrder, bids: Book, asks: Book, *, is_live: bool = True) -> bool:
        """Whether it rests; False: it would trade at once."""
        if is_live:
            if self._is_reached(order, bids, asks):
                return False
            order.level = (bids if order.is_buy else asks).get(order.price, Decimal(0))
            order.ahead = order.level
        self.orders.append(order)
        return True

    def leave(self, name: int) -> Decimal | None:
        """What was left of a cancelled order; None: it does not rest."""
        for order in self.orders:
            if order.name == name:
                self.orders.remove(order)
                return order.left
        return None

    @staticmethod
    def _is_reached(order: NaiveOrder, bids: Book, asks: Book) -> bool:
        if order.is_buy:
            return bool(asks) and min(asks) <= order.price
        return bool(bids) and max(bids) >= order.price

    def see(self, bids: Book, asks: Book) -> list[NaiveFill]:
        """The book as it is now."""
        fills = []
        best_bid, best_ask = max(bids, default=None), min(asks, default=None)
        for order in list(self.orders):
            best = best_ask if order.is_buy else best_bid
            is_past = best is not None and (
                best <= order.price if order.is_buy else best >= order.price
            )
            if is_past:
                fills += self._fill(order, order.left, "price")
                continue
            own = bids if order.is_buy else asks
            now = own.get(order.price, Decimal(0))
            before, ahead = order.level, order.ahead
            if ahead is None:
                ahead = now
            elif now < before:
                is_gone = now == 0 and not any(
                    price >= order.price if order.is_buy else price <= order.price for price in own
                )
                if is_gone and not self.has_trades:
                    fills += self._fill(order, before - ahead, "depletion")
                if self.is_proportional:
                    lots = (ahead * now / before / self.lot).to_integral_value(ROUND_CEILING)
                    ahead = lots * self.lot
            order.level, order.ahead = now, min(ahead, now)
        return fills

    def trade(self, is_buy: bool, price: Decimal, amount: Decimal) -> list[NaiveFill]:
        """A trade that took orders of one side."""
        fills = []
        for order in [each for each in self.orders if each.is_buy == is_buy]:
            assert order.ahead is not None
            if price < order.price if is_buy else price > order.price:
                fills += self._fill(order, order.left, "trade")
            elif price == order.price:
                fills += self._fill(order, max(amount - order.ahead, Decimal(0)), "trade")
                order.ahead = max(order.ahead - amount, Decimal(0))
                order.level = max(order.level - amount, Decimal(0))
        return fills

    def _fill(self, order: NaiveOrder, amount: Decimal, cause: str) -> list[NaiveFill]:
        amount = min(amount, order.left)
        amount = (amount / LOT).to_integral_value(ROUND_FLOOR) * LOT
        if amount <= 0:
            return []
        order.left -= amount
        if order.left == 0:
            self.orders.remove(order)
        return [NaiveFill(order.name, order.is_buy, order.price, amount, order.left, cause)]
