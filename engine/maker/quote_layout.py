"""Where every word of a fair price and of one venue's quotes lives, and what the words may hold.

    fair   | rules | result: status, price (float64 bits), time | weights, currencies by venue |
    model  | rules | state: mid, sums of squares and of time |
    quotes | rules | lots by level | inputs: venue's best, position, model | resting | wanted rows |
    rows   | bids: level 0..9 | asks: level 0..9 |, a row: price in the venue's ticks, lots

Relative amounts are in ppm, parts per million: one hundredth of a basis point. The rules are
written once, by `FairSpec` and `QuoteSpec`, which refuse what no kernel should have to check.
Runs on: any thread (constants only).
"""

from __future__ import annotations

from engine.layout import layout as L

PPM = 1_000_000
MILLE = 1_000

POSITION_LIMIT = 2**60
"""Lots of a position, its bound and its target stay below this: sums and doubles fit int64."""


class SpecError(ValueError):
    """A rule of the fair price or of the quotes that cannot be one."""


def check_range(name: str, value: int, low: int, high: int) -> None:
    """SpecError unless `value` is a whole number from `low` to `high`."""
    if not isinstance(value, int) or not low <= value <= high:
        raise SpecError(f"{name} = {value!r}: must be a whole number from {low} to {high}")


# --- the fair price ------------------------------------------------------------------------------

(
    FAIR_METHOD,
    FAIR_PRICES_MAX,
    FAIR_CROSSED_PPM_MAX,
    FAIR_AGE_NS_MAX,
    FAIR_HALF_LIFE_NS,
    FAIR_STATUS,
    FAIR_PRICE,
    FAIR_PRICE_NS,
    FAIR_BOOK_UNITS,
    FAIR_CROSSED_PPM,
    FAIR_MID,
    FAIR_HAS_RATES,
    FAIR_WEIGHTS_AT,
) = range(13)
"""BOOK_UNITS: price units of the book in one of the fair price; the caller writes it. CROSSED: by
how much the best bid of others was above their best ask, below zero for a spread. MID: between
those two, whatever the method, as float64 bits; NaN where there is none, or a crossed one.
HAS_RATES: whether every venue's rate is known; the caller writes it, and FACTORS."""
FAIR_CURRENCIES_AT = FAIR_WEIGHTS_AT + L.VENUES_MAX
"""By venue: which currency it quotes in, a number that is the same for the same one."""
FAIR_FACTORS_AT = FAIR_CURRENCIES_AT + L.VENUES_MAX
"""By venue: what its prices are multiplied by, its rate as float64 bits (engine.maker.rates)."""
FAIR_WORDS = FAIR_FACTORS_AT + L.VENUES_MAX

(MID, WEIGHTED_MID, MICRO_PRICE) = range(3)
METHOD_NAMES = ("mid", "weighted_mid", "micro_price")

# --- volatility and the model ---------------------------------------------------------------------

(
    MODEL_KIND,
    MODEL_HALF_LIFE_NS,
    MODEL_SAMPLE_NS,
    MODEL_HORIZON_NS,
    MODEL_WIDEN,
    MODEL_RISK_AVERSION,
    MODEL_FILL_DECAY,
    MODEL_PRICE_UNIT,
    MODEL_HAS_MID,
    MODEL_MID,
    MODEL_MID_NS,
    MODEL_SQUARES,
    MODEL_TIME_S,
    MODEL_WORDS,
) = range(14)
"""From WIDEN to PRICE_UNIT, MID, SQUARES and TIME: float64 bits. SQUARES: the decayed sum of the
squared returns, TIME: of the seconds that they took."""
(LINEAR, AVELLANEDA_STOIKOV) = range(2)
MODEL_NAMES = ("linear", "avellaneda_stoikov")

# --- one venue's quotes --------------------------------------------------------------------------

LEVELS_MAX = 10
"""Levels a side that may be quoted: twenty orders, well below what a venue lets stay open."""
SLOTS = 2 * LEVELS_MAX
"""A slot of the quotes is side * LEVELS_MAX + level, the side 0 for bids and 1 for asks."""
ROW_WORDS = 2
(ROW_PRICE, ROW_LOTS) = range(ROW_WORDS)

(
    QUOTE_LEVELS,
    QUOTE_UNIT,
    QUOTE_FIRST,
    QUOTE_STEP,
    QUOTE_HOLD,
    QUOTE_HOLD_MILLE,
    QUOTE_EDGE_PPM_MIN,
    QUOTE_SKEW_PPM,
    QUOTE_TARGET_LOTS,
    QUOTE_POSITION_LOTS_MAX,
    QUOTE_TOUCH,
    QUOTE_TICK_UNITS,
    QUOTE_LOT_STEP,
    QUOTE_LOTS_MIN,
    QUOTE_LOTS_MAX,
    QUOTE_NOTIONAL_MIN,
    QUOTE_BAND_PPM,
    QUOTE_SIZES_AT,
) = range(18)
(
    QUOTE_BEST_BID,
    QUOTE_BEST_ASK,
    QUOTE_POSITION_LOTS,
    QUOTE_VENUE_SKEW_PPM,
    QUOTE_IS_LEANING,
    QUOTE_LEAN_PPM,
    QUOTE_WIDER_PPM,
    QUOTE_RESTING_AT,
) = range(QUOTE_SIZES_AT + LEVELS_MAX, QUOTE_SIZES_AT + LEVELS_MAX + 8)
"""Written by the caller before each call, with the resting rows; a best of 0: the side is empty.
VENUE_SKEW: by how much more both sides move, for what is held at this venue alone. IS_LEANING: the
skew is LEAN, and not the position's share; WIDER: every level is so much farther from fair, or
nearer where below zero (engine.maker.model)."""
QUOTE_WANTED_AT = QUOTE_RESTING_AT + SLOTS * ROW_WORDS
QUOTE_WORDS = QUOTE_WANTED_AT + SLOTS * ROW_WORDS

(IN_PPM, IN_TICKS) = range(2)
"""What distances and `hold` count: parts per million of fair, or the venue's ticks."""
UNIT_NAMES = ("ppm", "ticks")

(JOIN, IMPROVE, FREE) = range(3)
"""A quote beside the venue's best of its side: not better, one tick better at most, anywhere."""
TOUCH_NAMES = ("join", "improve", "free")

assert POSITION_LIMIT * 4 < 2**63, "a position less its target, doubled"
