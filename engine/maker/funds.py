"""What a venue's account has for orders: quotes that it cannot pay for are cut or left out.

    wanted rows of a venue, best level first
      bids    as far as the quote currency reaches that rests in our orders there or is free
      asks    as far as the base currency does
      both    as far as the venue's own limit of inventory allows
      and where the risk gate only reduces, no further than the position goes back to zero

The best levels are paid for first. A cut level is the smallest that the venue's filters take or
more, or it is none; one that rests and is nearly as large stays as it is. Where the venue has just
refused an order for money, what rests is kept first, and no more is open than was.

With a position at a venue its quotes are skewed towards reducing that, beside the skew for the
whole position, and as that one is (engine.maker.quotes):
    skew = -skew_ppm * position at the venue / its position_max, towards zero, at most skew_ppm.
Runs on: the engine thread.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.compiling.atomics import Words
from engine.compiling.jit import inner
from engine.maker import order_layout as O
from engine.maker import quote_layout as Q
from engine.maker.account import value_of

(
    FUND_BASE_LOTS,
    FUND_QUOTE_VALUE,
    FUND_BUY_LOTS_MAX,
    FUND_SELL_LOTS_MAX,
    FUND_POSITION_LOTS_MAX,
    FUND_SKEW_PPM,
    FUND_LOTS_PER_PPM,
) = range(7)
FUND_WORDS = 7
"""Of each venue. BASE, QUOTE: what all our orders of a side may cost together; LOTS_MAX, VALUE_MAX:
not known, or without a limit. BUY, SELL: what was open of a side when the venue had no money for
more, LOTS_MAX otherwise. POSITION: 0 for none. LOTS_PER_PPM: of the venue's position, for each ppm
of skew."""


def new_funds(venues: int) -> Words:
    """The words of so many venues, none of which is limited; shape (venues * FUND_WORDS,)."""
    funds = np.zeros((venues, FUND_WORDS), np.int64)
    funds[:, FUND_BASE_LOTS] = O.LOTS_MAX
    funds[:, FUND_QUOTE_VALUE] = O.VALUE_MAX
    funds[:, FUND_BUY_LOTS_MAX : FUND_SELL_LOTS_MAX + 1] = O.LOTS_MAX
    funds[:, FUND_LOTS_PER_PPM] = 1
    return funds.reshape(-1)


def limit_venue(funds: Words, venue: int, position_lots_max: int, skew_ppm: int) -> None:
    """Limit a venue's inventory, and skew its quotes against it. ValueError for what cannot be."""
    if not 1 <= position_lots_max <= O.LOTS_MAX or not 0 <= skew_ppm < Q.PPM:
        raise ValueError(f"{position_lots_max} lots, {skew_ppm} ppm: no limit of a venue")
    at = venue * FUND_WORDS
    funds[at + FUND_POSITION_LOTS_MAX] = position_lots_max
    funds[at + FUND_SKEW_PPM] = skew_ppm
    funds[at + FUND_LOTS_PER_PPM] = max(-(-position_lots_max // max(skew_ppm, 1)), 1)


def limit_venues(funds: Words, limits: Sequence[tuple[int, int] | None]) -> None:
    """`limit_venue` for each venue that has a limit."""
    for venue, limit in enumerate(limits):
        if limit is not None:
            limit_venue(funds, venue, *limit)


@inner
def venue_position_lots(table: Words, venue: int) -> int:
    """The venue's part of the position."""
    return table[O.ACCOUNT_WORDS + venue * O.VENUE_WORDS + O.VENUE_POSITION_LOTS]


@inner
def venue_skew_ppm(funds: Words, table: Words, venue: int) -> int:
    """By how many ppm of fair a venue's quotes move because of what is held there."""
    at = venue * FUND_WORDS
    most = funds[at + FUND_SKEW_PPM]
    held = venue_position_lots(table, venue)
    ppm = min(abs(held) // funds[at + FUND_LOTS_PER_PPM], most)
    return -ppm if held > 0 else ppm


@inner
def _affordable_lots(table: Words, value: int, price: int) -> int:
    """The most lots that cost no more than a value; `price` above 0."""
    scale = table[O.ACCOUNT_VALUE_SCALE]
    whole = value // price
    if whole > O.LOTS_MAX // scale - 1:
        return O.LOTS_MAX
    return whole * scale + (value - whole * price) * scale // price


@inner
def _cut_lots(quotes: Words, at: int, within: int, lots: int) -> int:
    """What a level is cut to where so many lots are left for it: 0, or what the filters take.

    `at`: of the venue's quotes, `within`: the level's slot there.
    """
    row = at + Q.QUOTE_WANTED_AT + within * Q.ROW_WORDS
    resting = at + Q.QUOTE_RESTING_AT + within * Q.ROW_WORDS
    price = quotes[row + Q.ROW_PRICE]
    lots = max(lots, 0)
    lots -= lots % quotes[at + Q.QUOTE_LOT_STEP]
    rests = quotes[resting + Q.ROW_LOTS]
    if quotes[resting + Q.ROW_PRICE] == price and rests <= lots:
        # Not worth the place in the queue: as the quotes hold a level of full size.
        share = lots // Q.MILLE * quotes[at + Q.QUOTE_HOLD_MILLE]
        if lots - rests <= share:
            return rests
    if lots < quotes[at + Q.QUOTE_LOTS_MIN]:
        return 0
    return lots if lots > (quotes[at + Q.QUOTE_NOTIONAL_MIN] - 1) // price else 0


@inner
def _resting_lots(quotes: Words, at: int, within: int) -> int:
    """What rests of a level, as far as it is wanted; at whichever price."""
    row = at + Q.QUOTE_WANTED_AT + within * Q.ROW_WORDS
    resting = at + Q.QUOTE_RESTING_AT + within * Q.ROW_WORDS
    return min(quotes[row + Q.ROW_LOTS], quotes[resting + Q.ROW_LOTS])


@inner
def _spare_lots(quotes: Words, at: int, side: int, most: int) -> int:
    """What may be open of a side beside what rests of it."""
    for level in range(quotes[at + Q.QUOTE_LEVELS]):
        most -= _resting_lots(quotes, at, side * O.SLOT_LEVELS + level)
    return max(most, 0)


@inner
def fit_side(
    funds: Words, table: Words, venue: int, side: int, quotes: Words, at: int, room: int
) -> int:
    """Cut one side of a venue's wanted quotes to what can be paid for; the lots that are left of
    `room`, which is for more than this side."""
    fund = venue * FUND_WORDS
    tick_units = quotes[at + Q.QUOTE_TICK_UNITS]
    value = funds[fund + FUND_QUOTE_VALUE]
    held = venue_position_lots(table, venue)
    most = O.LOTS_MAX if side == O.BUY else funds[fund + FUND_BASE_LOTS]
    if funds[fund + FUND_POSITION_LOTS_MAX] != 0:
        inventory = funds[fund + FUND_POSITION_LOTS_MAX]
        most = min(most, inventory - held if side == O.BUY else inventory + held)
    is_short = funds[fund + FUND_BUY_LOTS_MAX + side] < O.LOTS_MAX
    spare = O.LOTS_MAX
    if is_short:
        spare = _spare_lots(quotes, at, side, funds[fund + FUND_BUY_LOTS_MAX + side])
    for level in range(quotes[at + Q.QUOTE_LEVELS]):
        within = side * O.SLOT_LEVELS + level
        row = at + Q.QUOTE_WANTED_AT + within * Q.ROW_WORDS
        lots = quotes[row + Q.ROW_LOTS]
        if lots == 0:
            continue
        price = quotes[row + Q.ROW_PRICE] * tick_units
        payable = min(most, room)
        if side == O.BUY:
            payable = min(payable, _affordable_lots(table, value, price))
        rests = 0
        if is_short:
            rests = _resting_lots(quotes, at, within)
            payable = min(payable, rests + spare)
        if lots > payable:
            lots = _cut_lots(quotes, at, within, payable)
            quotes[row + Q.ROW_LOTS] = lots
            # What a level that stays as it is could have is not for the next one.
            lots = payable if lots > 0 else 0
        most -= lots
        room -= lots
        spare -= max(lots - rests, 0)
        if side == O.BUY:
            value -= value_of(table, price, lots, True)
    return room
