"""What of a venue's book is ours: our live orders by venue and side, read once a step.

A book is a moment behind our orders, so a level that holds no more than ours counts as ours.
Runs on: the engine thread.
"""

from __future__ import annotations

from engine.compiling.atomics import Words
from engine.compiling.jit import inner
from engine.decoding.scan import POWERS_OF_TEN
from engine.layout import layout as L
from engine.maker import order_layout as O
from engine.maker import quote_layout as Q
from engine.maker.orders import is_live, left_lots, rows_at

OWN_ORDERS_MAX = O.SLOT_LEVELS * O.SLOT_ROWS
(OWN_PRICE, OWN_LOTS) = range(Q.ROW_WORDS)
OWN_SIDE_WORDS = 1 + OWN_ORDERS_MAX * Q.ROW_WORDS
"""How many, then price in common units and lots of each; lots of 1e-8."""
OWN_WORDS = L.VENUES_MAX * O.SIDES * OWN_SIDE_WORDS


@inner
def _own_at(venue: int, side: int) -> int:
    return (venue * O.SIDES + side) * OWN_SIDE_WORDS


@inner
def read_own(
    table: Words, venue: int, own: Words, quotes: Words, at: int, tick_units: int, is_shown: int
) -> None:
    """Read a venue's live orders: the newest of each slot as the quotes' resting rows, and all of
    them as what the book shows of us, if it does (`is_shown`)."""
    for side in range(O.SIDES):
        mine = _own_at(venue, side)
        count = 0
        for level in range(O.SLOT_LEVELS):
            within = side * O.SLOT_LEVELS + level
            row = rows_at(table, venue * O.VENUE_SLOTS + within)
            newest = 0
            price = 0
            lots = 0
            for _ in range(O.SLOT_ROWS):
                if is_live(table[row + O.ORDER_STATE]):
                    left = left_lots(table, row)
                    if table[row + O.ORDER_ID] > newest:
                        newest = table[row + O.ORDER_ID]
                        price = table[row + O.ORDER_PRICE] // tick_units
                        lots = left
                    if is_shown != 0:
                        order = mine + 1 + count * Q.ROW_WORDS
                        own[order + OWN_PRICE] = table[row + O.ORDER_PRICE]
                        own[order + OWN_LOTS] = left
                        count += 1
                row += O.ORDER_WORDS
            resting = at + Q.QUOTE_RESTING_AT + within * Q.ROW_WORDS
            quotes[resting + Q.ROW_PRICE] = price
            quotes[resting + Q.ROW_LOTS] = lots
        own[mine] = count


@inner
def own_lots(own: Words, venue: int, side: int, price: int) -> int:
    """What the book may show of ours at a price in common units."""
    mine = _own_at(venue, side)
    lots = 0
    for _ in range(own[mine]):
        if own[mine + 1 + OWN_PRICE] == price:
            lots += own[mine + 1 + OWN_LOTS]
        mine += Q.ROW_WORDS
    return lots


@inner
def lots_above(lots: int, lot_decimals: int, mine: int) -> bool:
    """Whether a level's lots, of so many decimals, are more than these of 1e-8; exact."""
    if lot_decimals <= L.LOT_DECIMALS:
        return lots > mine // POWERS_OF_TEN[L.LOT_DECIMALS - lot_decimals]
    parts = POWERS_OF_TEN[lot_decimals - L.LOT_DECIMALS]
    return (lots + parts - 1) // parts > mine


@inner
def lots_of_others(lots: int, lot_decimals: int, mine: int) -> float:
    """A level's lots, of so many decimals, less ours of 1e-8; 0 where they are no more."""
    if mine == 0:
        return float(lots)
    if not lots_above(lots, lot_decimals, mine):
        return 0.0
    if lot_decimals <= L.LOT_DECIMALS:
        return float(lots) - float(mine) / float(POWERS_OF_TEN[L.LOT_DECIMALS - lot_decimals])
    return float(lots) - float(mine) * float(POWERS_OF_TEN[lot_decimals - L.LOT_DECIMALS])
