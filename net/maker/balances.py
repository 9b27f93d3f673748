"""What each quoted venue's account has for orders, as the step counts it (engine.maker.funds).

    a side's money = what the venue last told, free and locked, and our fills since
                     less what others' orders lock
    bids also less a reserve: for fees that are set aside, and for prices that move meanwhile

What a venue has not told is not limited. A refusal for money limits its side to what is open of it
for a while: nothing is cancelled, and nothing is added.
Runs on: the engine thread.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from engine.compiling.atomics import Words
from engine.layout.layout import LOT_DECIMALS
from engine.maker import funds as F
from engine.maker import order_layout as O
from engine.maker.orders import is_live
from net.orders.messages import Balance

RESERVE_MILLE = 10
"""Of the money for bids: a venue may set aside the dearer fee (Bitstamp: 0.4 %), and an order that
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
    `bases`, `quotes`: the venues' assets; `value_size`: the quote currency in one value.
    """

    def __init__(
        self,
        table: Words,
        funds: Words,
        bases: tuple[str, ...],
        quotes: tuple[str, ...],
        value_size: Decimal,
    ) -> None:
        self._table = table
        self._funds = funds
        self._assets = (quotes, bases)
        """By side: what it pays with."""
        self._values_per_lot = Fraction(1, 10**LOT_DECIMALS) / Fraction(value_size)
        self._told: list[list[_Told | None]] = [[None] * O.SIDES for _ in bases]
        self._until_ns = [[0] * O.SIDES for _ in bases]

    def take(self, venue: int, balances: Iterable[Balance]) -> None:
        """What a venue tells: all of it, or what has changed."""
        for balance in balances:
            for side in range(O.SIDES):
                if balance.asset == self._assets[side][venue]:
                    self._take(venue, side, balance)
        self.update(venue)

    def _take(self, venue: int, side: int, balance: Balance) -> None:
        total, locked = balance.free_lots + balance.locked_lots, balance.locked_lots
        if side == O.BUY:
            total, locked = int(total * self._values_per_lot), int(locked * self._values_per_lot)
        ours = self._open(venue, side)[side == O.SELL]
        others = max(locked - ours - ours * SLACK_MILLE // 1_000, 0)
        self._told[venue][side] = _Told(total, others, self._counted(venue, side))

    def refuse(self, venue: int, side: int, now_ns: int, wait_ns: int) -> None:
        """The venue has no money for an order of a side: no more is open of it for so long."""
        _, lots = self._open(venue, side)
        self._until_ns[venue][side] = now_ns + wait_ns
        self._funds[venue * F.FUND_WORDS + F.FUND_BUY_LOTS_MAX + side] = lots

    def on_timer(self, now_ns: int) -> None:
        """Waits that are over, and what fills have changed."""
        for venue, until_ns in enumerate(self._until_ns):
            for side in range(O.SIDES):
                if until_ns[side] and now_ns >= until_ns[side]:
                    until_ns[side] = 0
                    self._funds[venue * F.FUND_WORDS + F.FUND_BUY_LOTS_MAX + side] = O.LOTS_MAX
            self.update(venue)

    def update(self, venue: int) -> None:
        """Write what the venue's account has now."""
        at = venue * F.FUND_WORDS
        quote, base = self._told[venue]
        if quote is not None:
            money = self._left(venue, O.BUY, quote)
            money -= money * RESERVE_MILLE // 1_000
            self._funds[at + F.FUND_QUOTE_VALUE] = min(max(money, 0), O.VALUE_MAX)
        if base is not None:
            money = self._left(venue, O.SELL, base)
            self._funds[at + F.FUND_BASE_LOTS] = min(max(money, 0), O.LOTS_MAX)

    def _left(self, venue: int, side: int, told: _Told) -> int:
        return told.total - told.others + self._counted(venue, side) - told.counted

    def _counted(self, venue: int, side: int) -> int:
        """What the venue's fills have come to so far, fees included, in what a side pays with."""
        at = O.ACCOUNT_WORDS + venue * O.VENUE_WORDS
        word = O.VENUE_CASH_VALUE if side == O.BUY else O.VENUE_POSITION_LOTS
        return int(self._table[at + word])

    def _open(self, venue: int, side: int) -> tuple[int, int]:
        """What all live orders of a side are worth, and their lots."""
        at = O.ACCOUNT_WORDS + venue * O.VENUE_WORDS + O.VENUE_ROWS_AT
        rows = self._table[at : at + O.VENUE_SLOTS * O.SLOT_WORDS].reshape(-1, O.ORDER_WORDS)
        scale = int(self._table[O.ACCOUNT_VALUE_SCALE])
        value = lots = 0
        for row in rows.tolist():
            of_side = row[O.ORDER_SLOT] // O.SLOT_LEVELS % O.SIDES
            if is_live(row[O.ORDER_STATE]) and of_side == side:
                left = max(row[O.ORDER_LOTS] - row[O.ORDER_FILLED_LOTS], 0)
                value += row[O.ORDER_PRICE] * left // scale
                lots += left
        return value, lots
