"""The quotes one venue should hold, from a fair price: a grid, bounded by rules, moved rarely.

A level's target price is the least aggressive of
    grid    fair * (1 + skew -+ (first + level * step + wider)), or those steps in ticks
    edge    fair * (1 -+ edge): no quote is nearer to fair, whatever the skew
    post    one tick behind the venue's best price of the other side
    touch   the venue's best price of the same side (JOIN), one tick better (IMPROVE), none (FREE)
    next    one tick behind the level before it: two levels never share a price
rounded away from fair to the venue's tick. The skew is that of Avellaneda and Stoikov
("High-frequency trading in a limit order book", Quantitative Finance 8(3), 2008: the reservation
price falls linearly with the inventory), with a coefficient that is given instead of estimated:
    skew = -skew_ppm * (position - target) / position_max, towards zero to a whole ppm
or as engine.maker.model says, which makes the quotes wider too; `wider` is else 0.
A level's lots are its size, or what the position may still grow by, down to the lot step.

A resting quote stays where it is at most `hold` from the target price, its lots at most a share
from the target lots, and it breaks no rule that a new quote must keep but the touch, which is a
wish about queues, not a limit. A target that breaks a filter (lots, notional, band) is left out.

Everything is exact: a fair price is a whole number of 2^-shift common units, and floors nest. Both
sides run the same code on keys, prices times the side's sign: away from fair is down.
Runs on: the engine thread.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from engine.compiling.atomics import Words
from engine.compiling.jit import inner
from engine.decoding.scale import PRICE_LIMIT, QUANTITY_LIMIT
from engine.maker import quote_layout as Q

QUOTED = 0
NO_FAIR = 1
FAIR_OUT_OF_RANGE = 2
NO_BEST = 3
NOT_MEASURED = 4

TEXTS = {
    QUOTED: "quoted as far as the filters allow",
    NO_FAIR: "there is no fair price",
    FAIR_OUT_OF_RANGE: "the fair price is below one common unit or above 2^53",
    NO_BEST: "the venue's own book lacks a side",
    NOT_MEASURED: "the volatility that the model needs is not known yet",
}
"""One text for every status: for logs, counters' labels and errors."""

MANTISSA_BITS = 53
FAIR_MAX = float(2**MANTISSA_BITS)
"""From here on a float64 no longer tells neighbouring ticks apart."""

SKEW_PPM_MAX = 100_000
"""A tenth of the price at the position's bound: beyond that it is no skew but an exit."""
SKEW_BITS = SKEW_PPM_MAX.bit_length()
BAND_MILLIPERCENT_MAX = 100_000
"""The whole price: a bid has no room below."""
GROWTH_MILLE_MAX = 10_000
DISTANCE_TICKS_MAX = 2**40
"""Ten levels of it still fit beside the largest price."""

assert (Q.LEVELS_MAX * DISTANCE_TICKS_MAX) + PRICE_LIMIT < 2**63


@dataclass(frozen=True)
class QuoteSpec:
    """The rules of one venue's quotes. Prices in the venue's ticks, amounts in lots.

    `unit`: what `first`, `step` and `hold` count, IN_PPM or IN_TICKS. `growth_mille`: a level's
    lots as thousandths of the level before it. `hold_mille`: the share, in thousandths, that a
    resting quote's lots may differ from the target's. `tick_units`: common price units in one
    tick of the venue. `notional_min`: in ticks times lots. `band_millipercent`: the farthest a
    quote may be from fair, in thousandths of a percent.
    """

    lots: int
    position_lots_max: int
    levels: int = 1
    unit: int = Q.IN_PPM
    first: int = 1_000
    step: int = 500
    hold: int = 0
    hold_mille: int = 0
    edge_ppm_min: int = 1
    skew_ppm: int = 0
    target_lots: int = 0
    touch: int = Q.JOIN
    growth_mille: int = Q.MILLE
    tick_units: int = 1
    lot_step: int = 1
    lots_min: int = 1
    lots_max: int = QUANTITY_LIMIT
    notional_min: int = 0
    band_millipercent: int = BAND_MILLIPERCENT_MAX

    def words(self) -> Words:
        """The words of these rules, shape (QUOTE_WORDS,), inputs and rows zero; SpecError."""
        self._check()
        words = np.zeros(Q.QUOTE_WORDS, np.int64)
        words[Q.QUOTE_LEVELS] = self.levels
        words[Q.QUOTE_UNIT] = self.unit
        words[Q.QUOTE_FIRST] = self.first
        words[Q.QUOTE_STEP] = self.step
        words[Q.QUOTE_HOLD] = self.hold
        words[Q.QUOTE_HOLD_MILLE] = self.hold_mille
        words[Q.QUOTE_EDGE_PPM_MIN] = self.edge_ppm_min
        words[Q.QUOTE_SKEW_PPM] = self.skew_ppm
        words[Q.QUOTE_TARGET_LOTS] = self.target_lots
        words[Q.QUOTE_POSITION_LOTS_MAX] = self.position_lots_max
        words[Q.QUOTE_TOUCH] = self.touch
        words[Q.QUOTE_TICK_UNITS] = self.tick_units
        words[Q.QUOTE_LOT_STEP] = self.lot_step
        words[Q.QUOTE_LOTS_MIN] = self.lots_min
        words[Q.QUOTE_LOTS_MAX] = self.lots_max
        words[Q.QUOTE_NOTIONAL_MIN] = self.notional_min
        words[Q.QUOTE_BAND_PPM] = self.band_millipercent * (Q.PPM // BAND_MILLIPERCENT_MAX)
        for level in range(self.levels):
            words[Q.QUOTE_SIZES_AT + level] = self.size(level)
        return words

    def size(self, level: int) -> int:
        """lots * (growth / 1000)^level, down to the lot step, exactly."""
        lots = self.lots * self.growth_mille**level // Q.MILLE**level
        return lots - lots % self.lot_step

    def _check(self) -> None:
        distance_max = Q.PPM if self.unit == Q.IN_PPM else DISTANCE_TICKS_MAX
        lots_max = Q.POSITION_LIMIT - 1
        Q.check_range("levels", self.levels, 1, Q.LEVELS_MAX)
        Q.check_range("unit", self.unit, 0, len(Q.UNIT_NAMES) - 1)
        Q.check_range("first", self.first, 0, distance_max)
        Q.check_range("step", self.step, 0, distance_max)
        Q.check_range("hold", self.hold, 0, distance_max)
        Q.check_range("hold_mille", self.hold_mille, 0, Q.MILLE)
        # Without an edge a bid and an ask could both stand on fair, and trade with each other.
        Q.check_range("edge_ppm_min", self.edge_ppm_min, 1, Q.PPM - 1)
        Q.check_range("skew_ppm", self.skew_ppm, 0, SKEW_PPM_MAX)
        Q.check_range("position_lots_max", self.position_lots_max, 1, lots_max)
        most = self.position_lots_max
        Q.check_range("target_lots", self.target_lots, -most, most)
        Q.check_range("touch", self.touch, 0, len(Q.TOUCH_NAMES) - 1)
        Q.check_range("growth_mille", self.growth_mille, 1, GROWTH_MILLE_MAX)
        Q.check_range("tick_units", self.tick_units, 1, PRICE_LIMIT)
        Q.check_range("lot_step", self.lot_step, 1, lots_max)
        Q.check_range("lots", self.lots, 1, lots_max)
        Q.check_range("lots of the last level", self.size(self.levels - 1), 0, lots_max)
        Q.check_range("lots_min", self.lots_min, 1, QUANTITY_LIMIT)
        Q.check_range("lots_max", self.lots_max, self.lots_min, QUANTITY_LIMIT)
        Q.check_range("notional_min", self.notional_min, 0, QUANTITY_LIMIT)
        Q.check_range("band_millipercent", self.band_millipercent, 1, BAND_MILLIPERCENT_MAX)
        farthest = 2 * self.skew_ppm
        if self.unit == Q.IN_PPM:
            farthest += self.first + (self.levels - 1) * self.step
        Q.check_range("ppm of the farthest level, skew included", farthest, 0, Q.PPM - 1)


@inner
def _multiply_divide(value: int, factor: int, divisor: int) -> int:
    """floor(value * factor / divisor) bit by bit, since the product need not fit.

    0 <= value < divisor <= POSITION_LIMIT and 0 <= factor <= SKEW_PPM_MAX.
    """
    quotient = 0
    rest = 0
    for bit in range(SKEW_BITS - 1, -1, -1):
        quotient *= 2
        rest *= 2
        if rest >= divisor:
            rest -= divisor
            quotient += 1
        if factor >> bit & 1 != 0:
            rest += value
            if rest >= divisor:
                rest -= divisor
                quotient += 1
    return quotient


@inner
def _skew_ppm(words: Words, quotes: int) -> int:
    """By how many ppm of fair both sides move: down where the position is above its target."""
    if words[quotes + Q.QUOTE_IS_LEANING] != 0:
        return words[quotes + Q.QUOTE_LEAN_PPM]
    most = words[quotes + Q.QUOTE_POSITION_LOTS_MAX]
    factor = words[quotes + Q.QUOTE_SKEW_PPM]
    excess = words[quotes + Q.QUOTE_POSITION_LOTS] - words[quotes + Q.QUOTE_TARGET_LOTS]
    # Twice: a position at one bound, its target at the other. Beyond it the skew grows no more.
    size = min(abs(excess), 2 * most)
    skew = size // most * factor + _multiply_divide(size % most, factor, most)
    return -skew if excess > 0 else skew


@inner
def _floor_ticks(value: int, shift: int, factor_ppm: int, tick_units: int) -> int:
    """floor(value * 2^-shift * factor / 10^6 / tick_units), exactly: floors nest.

    |value| <= 2^53 and |factor_ppm| <= 4 * 10^6, so that every product fits.
    """
    whole = value // Q.PPM
    scaled = whole * factor_ppm + (value - whole * Q.PPM) * factor_ppm // Q.PPM
    return (scaled >> shift) // tick_units


@inner
def _is_fit(words: Words, quotes: int, price: int, lots: int, room: int) -> bool:
    """Whether the venue's filters and the position's bound allow these lots at this price."""
    if price <= 0 or lots > room or lots % words[quotes + Q.QUOTE_LOT_STEP] != 0:
        return False
    if lots < words[quotes + Q.QUOTE_LOTS_MIN] or lots > words[quotes + Q.QUOTE_LOTS_MAX]:
        return False
    # price * lots >= least, without the product: lots >= ceil(least / price).
    return lots > (words[quotes + Q.QUOTE_NOTIONAL_MIN] - 1) // price


@inner
def _is_held(
    words: Words, quotes: int, is_off_by: int, hold: int, lots: int, target_lots: int
) -> bool:
    """Whether a resting quote is near enough to the target in price and in lots."""
    if is_off_by > hold:
        return False
    mille = words[quotes + Q.QUOTE_HOLD_MILLE]
    share = target_lots // Q.MILLE * mille + target_lots % Q.MILLE * mille // Q.MILLE
    return abs(lots - target_lots) <= share


@inner
def _grid_key(
    words: Words, quotes: int, sign: int, mantissa: int, shift: int, skew: int, level: int
) -> int:
    """The key at a level's distance from the skewed fair, down to a tick."""
    tick_units = words[quotes + Q.QUOTE_TICK_UNITS]
    distance = words[quotes + Q.QUOTE_FIRST] + level * words[quotes + Q.QUOTE_STEP]
    factor = Q.PPM + skew - sign * words[quotes + Q.QUOTE_WIDER_PPM]
    if words[quotes + Q.QUOTE_UNIT] == Q.IN_TICKS:
        return _floor_ticks(sign * mantissa, shift, factor, tick_units) - distance
    return _floor_ticks(sign * mantissa, shift, factor - sign * distance, tick_units)


@inner
def _quote_side(
    words: Words, quotes: int, is_asks: int, mantissa: int, shift: int, skew: int
) -> None:
    """Write one side's wanted rows; fair is mantissa * 2^-shift common units."""
    sign = -1 if is_asks != 0 else 1
    tick_units = words[quotes + Q.QUOTE_TICK_UNITS]
    same = words[quotes + (Q.QUOTE_BEST_ASK if is_asks != 0 else Q.QUOTE_BEST_BID)]
    opposite = words[quotes + (Q.QUOTE_BEST_BID if is_asks != 0 else Q.QUOTE_BEST_ASK)]
    edge_factor = Q.PPM - sign * words[quotes + Q.QUOTE_EDGE_PPM_MIN]
    band_factor = Q.PPM - sign * words[quotes + Q.QUOTE_BAND_PPM]
    # No key may be above `best`, which sinks with every quote, or below `worst`, the band's end.
    best = min(_floor_ticks(sign * mantissa, shift, edge_factor, tick_units), sign * opposite - 1)
    worst = -_floor_ticks(-sign * mantissa, shift, band_factor, tick_units)
    touch = words[quotes + Q.QUOTE_TOUCH]
    wish = best if touch == Q.FREE else sign * same + (1 if touch == Q.IMPROVE else 0)
    hold = words[quotes + Q.QUOTE_HOLD]
    if words[quotes + Q.QUOTE_UNIT] == Q.IN_PPM:
        hold = _floor_ticks(mantissa, shift, hold, tick_units)
    room = words[quotes + Q.QUOTE_POSITION_LOTS_MAX] - sign * words[quotes + Q.QUOTE_POSITION_LOTS]
    for level in range(words[quotes + Q.QUOTE_LEVELS]):
        key = min(_grid_key(words, quotes, sign, mantissa, shift, skew, level), wish, best)
        lots = min(words[quotes + Q.QUOTE_SIZES_AT + level], max(room, 0))
        lots -= lots % words[quotes + Q.QUOTE_LOT_STEP]
        row = quotes + (is_asks * Q.LEVELS_MAX + level) * Q.ROW_WORDS
        resting_key = sign * words[row + Q.QUOTE_RESTING_AT + Q.ROW_PRICE]
        resting_lots = words[row + Q.QUOTE_RESTING_AT + Q.ROW_LOTS]
        if (
            worst <= resting_key <= best
            and _is_held(words, quotes, abs(resting_key - key), hold, resting_lots, lots)
            and _is_fit(words, quotes, sign * resting_key, resting_lots, room)
        ):
            key, lots = resting_key, resting_lots
        elif key < worst or not _is_fit(words, quotes, sign * key, lots, room):
            continue
        words[row + Q.QUOTE_WANTED_AT + Q.ROW_PRICE] = sign * key
        words[row + Q.QUOTE_WANTED_AT + Q.ROW_LOTS] = lots
        room -= lots
        best = key - 1


@inner
def update_quotes(words: Words, quotes: int, fair_price: float) -> int:
    """Write the wanted rows for a fair price in common units; a status of this module.

    Inputs, in the words: the venue's best prices in its own ticks, less our own orders where the
    caller can tell (with IMPROVE a quote would else overbid itself), the position, and the resting
    rows, lots 0 for none. A wanted row of lots 0 is no quote; every row is one unless QUOTED.
    """
    for word in range(Q.SLOTS * Q.ROW_WORDS):
        words[quotes + Q.QUOTE_WANTED_AT + word] = 0
    if math.isnan(fair_price):
        return NO_FAIR
    if not (fair_price >= 1.0 and fair_price < FAIR_MAX):
        return FAIR_OUT_OF_RANGE
    if words[quotes + Q.QUOTE_BEST_BID] <= 0 or words[quotes + Q.QUOTE_BEST_ASK] <= 0:
        return NO_BEST
    fraction, exponent = math.frexp(fair_price)
    mantissa = int(math.ldexp(fraction, MANTISSA_BITS))
    shift = MANTISSA_BITS - exponent
    skew = _skew_ppm(words, quotes) + words[quotes + Q.QUOTE_VENUE_SKEW_PPM]
    _quote_side(words, quotes, 0, mantissa, shift, skew)
    _quote_side(words, quotes, 1, mantissa, shift, skew)
    return QUOTED
