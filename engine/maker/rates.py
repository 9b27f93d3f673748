"""Venues that quote in different currencies: what one of a venue's quote currency is worth.

The market maker counts in one currency, its own. A venue's *rate* is what one of the venue's quote
currency is worth in it, in 1e-8:

    fair price     of each venue's prices times its rate
    a quote there  is made of fair / rate, in the venue's currency, as its prices, its money and its
                   filters are
    the gate       holds a price times the rate against the fair price, and values against limits
    cash           what a venue's fills have come to stays in its currency, VENUE_CASH; the sum of
                   all, ACCOUNT_CASH, has it at the rate of now, rounded down: a rate that moves
                   moves the result by what is held of the currency

Each is rounded against us. The published book is not touched: its prices stay as the venues say.
A rate is given, or the mid of a market that the engine has anyway, as last published. With the rate
1 every number is what it is without rates.
Runs on: the engine thread.
"""

from __future__ import annotations

from engine.compiling.atomics import Words
from engine.compiling.jit import inner
from engine.decoding.scan import POWERS_OF_TEN
from engine.layout import layout as L
from engine.maker import order_layout as O
from engine.maker import quote_layout as Q
from engine.sharing.handoff import slot_at

RATE_DECIMALS = 8
RATE_MIN, RATE_MAX = O.RATE_ONE // 100, O.RATE_ONE * 100
"""Stable coins and currencies of about one size; finer than a hundredth of a basis point."""
NO_RATE = 0
_UNIT_MAX = 10**10
"""No price of a market of currencies has more units: its product with RATE_ONE fits."""


@inner
def rated(value: int, rate: int, is_up: bool) -> int:
    """value * rate / RATE_ONE, rounded down or up; VALUE_MAX where it would be more.

    0 <= value <= VALUE_MAX; no product overflows, as in engine.maker.account.value_of.
    """
    if rate == O.RATE_ONE:
        return value
    whole = value // O.RATE_ONE
    if whole > O.VALUE_MAX // rate:
        return O.VALUE_MAX
    rest = (value - whole * O.RATE_ONE) * rate + (O.RATE_ONE - 1 if is_up else 0)
    return min(whole * rate + rest // O.RATE_ONE, O.VALUE_MAX)


@inner
def rate_of(table: Words, venue: int) -> int:
    """A venue's rate, the last one that was known."""
    return table[O.ACCOUNT_WORDS + venue * O.VENUE_WORDS + O.VENUE_RATE]


@inner
def market_rate(handoff: Words, ring: int, sequence: int, crossed_ppm_max: int) -> int:
    """The mid of a published book in 1e-8, rounded half up; NO_RATE where there is none.

    None is there before the first book, without both sides, and beyond the bounds; nor where the
    sides are crossed by more than a fair price may be. A venue that is not LIVE has no levels.
    """
    if sequence == 0:
        return NO_RATE
    slot = slot_at(ring, sequence)
    if handoff[slot + L.SLOT_BIDS] == 0 or handoff[slot + L.SLOT_ASKS] == 0:
        return NO_RATE
    bid = handoff[slot + L.SLOT_BIDS_AT + L.LEVEL_PRICE]
    ask = handoff[slot + L.SLOT_ASKS_AT + L.LEVEL_PRICE]
    decimals = handoff[slot + L.SLOT_TICK_DECIMALS]
    if bid >= _UNIT_MAX or ask >= _UNIT_MAX or decimals >= len(POWERS_OF_TEN):
        return NO_RATE
    if (bid - ask) * 2 * Q.PPM > crossed_ppm_max * (bid + ask):
        return NO_RATE
    mantissa, divisor = handoff[slot + L.SLOT_TICK_MANTISSA], POWERS_OF_TEN[decimals]
    if mantissa > O.VALUE_MAX // ((bid + ask) * O.RATE_ONE) or divisor > O.VALUE_MAX:
        return NO_RATE
    rate = ((bid + ask) * mantissa * O.RATE_ONE + divisor) // (2 * divisor)
    return rate if RATE_MIN <= rate <= RATE_MAX else NO_RATE
