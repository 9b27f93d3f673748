"""What each quoted venue's account has for orders, as the step counts it (engine.maker.funds).

    a side's money = what the venue last told, free and locked, and our fills since
                     less what others' orders lock
    bids also less a reserve: for fees that are set aside, and for prices that move meanwhile

What a venue has not told is not limited. A refusal for money limits its side to what is open of it
for a while: nothing is cancelled, and nothing is added.
Runs on: the engine thread.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from engine.compiling.atomics import Words
from engine.layout.layout import LOT_DECIMALS
from engine.maker import order_layout as O
from engine.maker.funds import FUND_BASE_LOTS, FUND_BUY_LOTS_MAX, FUND_QUOTE_VALUE, FUND_WORDS
from net.maker.fees import FeeCounter
from net.orders.messages import Balance

RESERVE_MILLE = 10
"""Of the money for bids: a venue may set aside the dearer fee, some 0.4 %, and an order that
follows the price up is placed before the next one has made room."""
SLACK_MILLE = 10
"""Of what our own orders lock: as much more is no sign of others' orders."""


@dataclass
class _Told:
    """What a venue last told of one asset, and where the order table stood then; in lots of base,
    in values of quote."""

    total: int
    others: int
    counted: int


class Balances:
    """The accounts of the quoted venues.

    `table`: the order table; `funds`: FUND words of each venue, which are written here alone;
    `fees`: what fills have cost, and what the venues' assets are.
    """

    def __init__(self, table: Words, funds: Words, fees: FeeCounter) -> None:
        self._table = table
        self._funds = funds
        self._fees = fees
        bases, quotes = fees.rules.bases, fees.rules.quotes
        self._assets = (quotes, bases)
        """By side: what it pays with."""
        self._values_per_lot = Fraction(1, 10**LOT_DECIMALS) / Fraction(fees.value_size)
        self._told: list[list[_Told | None]] = [[None] * O.SIDES for _ in bases]
        self._brought = [0] * len(bases)
        """What was held of the position before the first fill."""
        self._until_ns = [[0] * O.SIDES for _ in bases]

    def locks(self, venue: int) -> tuple[int, ...]:
        """By side: what our own open orders lock at a venue."""
        return tuple(self._open(venue, side)[side == O.SELL] for side in range(O.SIDES))

    def take(
        self, venue: int, balances: Iterable[Balance], asked_with: tuple[int, ...] = (0, 0)
    ) -> None:
        """What a venue tells: all of it, or what has changed. `asked_with`: our locks when it was
        asked, since an order may have gone before its answer came."""
        for balance in balances:
            for side in range(O.SIDES):
                if balance.asset == self._assets[side][venue]:
                    self._take(venue, side, balance, asked_with[side])
        self.update(venue)

    def _take(self, venue: int, side: int, balance: Balance, asked_with: int) -> None:
        total, locked = balance.free_lots + balance.locked_lots, balance.locked_lots
        if side == O.BUY:
            total, locked = self.value_of_quote(total), self.value_of_quote(locked)
        ours = max(self._open(venue, side)[side == O.SELL], asked_with)
        others = max(locked - ours - ours * SLACK_MILLE // 1_000, 0)
        self._told[venue][side] = _Told(total, others, self.counted(venue, side))

    def refuse(self, venue: int, side: int, now_ns: int, wait_ns: int) -> None:
        """The venue has no money for an order of a side: no more is open of it for so long."""
        _, lots = self._open(venue, side)
        self._until_ns[venue][side] = now_ns + wait_ns
        self._funds[venue * FUND_WORDS + FUND_BUY_LOTS_MAX + side] = lots

    def on_timer(self, now_ns: int) -> None:
        """Waits that are over, and what fills have changed."""
        for venue, until_ns in enumerate(self._until_ns):
            for side in range(O.SIDES):
                if until_ns[side] and now_ns >= until_ns[side]:
                    until_ns[side] = 0
                    self._funds[venue * FUND_WORDS + FUND_BUY_LOTS_MAX + side] = O.LOTS_MAX
            self.update(venue)

    def update(self, venue: int) -> None:
        """Write what the venue's account has now."""
        at = venue * FUND_WORDS
        quote, base = self._told[venue]
        if quote is not None:
            money = self._left(venue, O.BUY, quote)
            money -= money * RESERVE_MILLE // 1_000
            self._funds[at + FUND_QUOTE_VALUE] = min(max(money, 0), O.VALUE_MAX)
        if base is not None:
            money = self._left(venue, O.SELL, base)
            self._funds[at + FUND_BASE_LOTS] = min(max(money, 0), O.LOTS_MAX)

    def positions(self) -> list[int]:
        """Each venue's part of the position."""
        words = (O.venue_word(v, O.VENUE_POSITION_LOTS) for v in range(len(self._brought)))
        return [int(self._table[word]) for word in words]

    def bring(self, before: list[int]) -> None:
        """Since these positions each venue's part has changed by what was held at the start: that
        is in what the venues tell, and no fill."""
        for venue, (was, now) in enumerate(zip(before, self.positions(), strict=True)):
            self._brought[venue] += now - was

    def totals(self, venue: int, balances: Iterable[Balance]) -> list[int | None]:
        """What a venue tells of the assets that bids and asks pay with: a value, lots; None where
        it tells nothing."""
        found: list[int | None] = [None] * O.SIDES
        for balance in balances:
            for side in range(O.SIDES):
                if balance.asset == self._assets[side][venue]:
                    lots = balance.free_lots + balance.locked_lots
                    found[side] = self.value_of_quote(lots) if side == O.BUY else lots
        return found

    def value_of_quote(self, lots: int) -> int:
        """Lots of the quote currency as a value, rounded down."""
        return math.floor(lots * self._values_per_lot)

    def asset(self, venue: int, side: int) -> str:
        """What a side pays with at a venue."""
        return self._assets[side][venue]

    def amount_text(self, side: int, amount: int) -> str:
        """A value, or lots of base, as a decimal of its asset."""
        lots = Fraction(amount) / self._values_per_lot if side == O.BUY else Fraction(amount)
        return f"{Decimal(round(lots)).scaleb(-LOT_DECIMALS):f}"

    def _left(self, venue: int, side: int, told: _Told) -> int:
        return told.total - told.others + self.counted(venue, side) - told.counted

    def counted(self, venue: int, side: int) -> int:
        """What the venue's fills have come to so far, fees included, in what a side pays with: fees
        in a third asset are the cash's, and no part of the balance in quote."""
        word = O.venue_word(venue, O.VENUE_POSITION_LOTS if side == O.SELL else O.VENUE_CASH_VALUE)
        others = -self._brought[venue] if side == O.SELL else self._fees.other_value[venue]
        return int(self._table[word]) + others

    def _open(self, venue: int, side: int) -> tuple[int, int]:
        """What all live orders of a side are worth, and their lots."""
        at = O.venue_word(venue, O.VENUE_ROWS_AT)
        rows = self._table[at : at + O.VENUE_SLOTS * O.SLOT_WORDS].reshape(-1, O.ORDER_WORDS)
        scale = int(self._table[O.ACCOUNT_VALUE_SCALE])
        states = rows[:, O.ORDER_STATE]
        value = lots = 0
        for row in rows[(states >= O.PENDING_NEW) & (states <= O.UNKNOWN)].tolist():
            if row[O.ORDER_SLOT] // O.SLOT_LEVELS % O.SIDES == side:
                left = max(row[O.ORDER_LOTS] - row[O.ORDER_FILLED_LOTS], 0)
                value += row[O.ORDER_PRICE] * left // scale
                lots += left
        return value, lots
