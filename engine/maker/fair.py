"""The fair price of one instrument, from its merged book as it was published: the float room.

Let b and a be the best prices of the venues with a weight, and Vb, Va the lots of the best N
prices of each side, a venue's lots less our own times its weight. Two venues at one price are one
price here. Where venues quote in different currencies and have rates, every price is first
multiplied by its venue's (engine.maker.rates), and the book is one that is ordered so.

    mid            (b + a) / 2
    weighted mid   I a + (1 - I) b,  I = Vb / (Vb + Va), N = 1
                   (Gatheral and Oomen, "Zero-intelligence realized variance estimation", Finance
                   and Stochastics 14, 2010; they call it the micro-price)
    micro-price    the same with N > 1: the weight is the imbalance of N prices' volume, the prices
                   are still the best ones, so that a large order far away tilts the result within
                   the spread and never pulls it out. It is not the limit of expected mids that
                   Stoikov ("The micro-price", Quantitative Finance 18(12), 2018) estimates from
                   history; it is his first-order input, the imbalance, taken deeper.

On top an exponential moving average of half-life h for uneven times, S += (1 - 2^(-dt/h)) (x - S)
(Eckner, "Algorithms for unevenly spaced time series: moving averages and other rolling operators",
2017: EMA_next). It starts anew after every time without a price: an old value never counts as new.
Runs on: the engine thread.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from engine.compiling.atomics import Words
from engine.compiling.jit import inner, kernel
from engine.layout import layout as L
from engine.maker import quote_layout as Q
from engine.maker.fair_codes import (
    AVAILABLE,
    BASIS,
    CROSSED,
    EMPTY,
    NO_RATE,
    NO_VENUE_LIVE,
    NOT_COMPUTED,
    NOT_FINITE,
    ONE_SIDED,
    TEXTS,
    TOO_OLD,
)
from engine.maker.own_lots import lots_of_others, own_lots

WEIGHT_MAX = 1_000_000
"""A venue's weight in thousandths: a thousand times its lots."""
NS_MAX = 2**60
"""36 years: no age and no half-life is longer, and no sum of two overflows."""

_LN_2 = math.log(2.0)


@dataclass(frozen=True)
class FairSpec:
    """How the fair price is computed, and when there is none.

    `prices_max`: N of the micro-price. `crossed_ppm_max`: the best bid may exceed the best ask by
    so much of the mid. `age_ns_max`: the oldest book that counts. `half_life_ns`: 0 for no average.
    `weights_mille`: by venue in the configuration's order, in thousandths; 0 excludes a venue.
    `currencies`: what each venue quotes in, as numbers; none given: all in the same.
    """

    weights_mille: tuple[int, ...]
    method: int = Q.WEIGHTED_MID
    prices_max: int = 5
    crossed_ppm_max: int = 1_000
    age_ns_max: int = 5_000_000_000
    half_life_ns: int = 0
    currencies: tuple[int, ...] = ()

    def words(self) -> Words:
        """The words of a fair price not computed yet, shape (FAIR_WORDS,); SpecError if unfit."""
        Q.check_range("method", self.method, 0, len(Q.METHOD_NAMES) - 1)
        Q.check_range("prices_max", self.prices_max, 1, L.DEPTH_MAX)
        Q.check_range("crossed_ppm_max", self.crossed_ppm_max, 0, Q.PPM)
        Q.check_range("age_ns_max", self.age_ns_max, 1, NS_MAX)
        Q.check_range("half_life_ns", self.half_life_ns, 0, NS_MAX)
        Q.check_range("venues with a weight", len(self.weights_mille), 1, L.VENUES_MAX)
        for weight in self.weights_mille:
            Q.check_range("weight", weight, 0, WEIGHT_MAX)
        if not any(self.weights_mille):
            raise Q.SpecError("every venue's weight is 0: no venue is left to take a price from")
        words = np.zeros(Q.FAIR_WORDS, np.int64)
        words[Q.FAIR_METHOD] = self.method
        words[Q.FAIR_PRICES_MAX] = self.prices_max
        words[Q.FAIR_CROSSED_PPM_MAX] = self.crossed_ppm_max
        words[Q.FAIR_AGE_NS_MAX] = self.age_ns_max
        words[Q.FAIR_HALF_LIFE_NS] = self.half_life_ns
        words[Q.FAIR_BOOK_UNITS] = words[Q.FAIR_HAS_RATES] = 1
        words[Q.FAIR_FACTORS_AT :].view(np.float64)[:] = 1.0
        words[Q.FAIR_STATUS] = NOT_COMPUTED
        words[Q.FAIR_PRICE : Q.FAIR_PRICE + 1].view(np.float64)[0] = math.nan
        for venue, weight in enumerate(self.weights_mille):
            words[Q.FAIR_WEIGHTS_AT + venue] = weight
        for venue, currency in enumerate(self.currencies):
            words[Q.FAIR_CURRENCIES_AT + venue] = currency
        return words


@inner
def price_at(words: Words, fair: int) -> float:
    """The fair price in the common units of orders; NaN unless FAIR_STATUS is AVAILABLE."""
    return np.int64(words[fair + Q.FAIR_PRICE]).view(np.float64)


@inner
def mid_at(words: Words, fair: int) -> float:
    """Between the best prices of others, in common units; NaN where there is none."""
    return np.int64(words[fair + Q.FAIR_MID]).view(np.float64)


@inner
def factor_at(words: Words, fair: int, venue: int) -> float:
    """What a venue's prices are multiplied by."""
    return np.int64(words[fair + Q.FAIR_FACTORS_AT + venue]).view(np.float64)


@inner
def _is_any_live(book: Words, slot: int, words: Words, fair: int) -> bool:
    for venue in range(L.VENUES_MAX):
        state = book[slot + L.SLOT_VENUES_AT + venue * L.VENUE_WORDS + L.VENUE_STATE]
        if words[fair + Q.FAIR_WEIGHTS_AT + venue] > 0 and state == L.LIVE:
            return True
    return False


@inner
def _read_side(
    book: Words, slot: int, is_asks: int, words: Words, fair: int, own: Words, prices_max: int
) -> tuple[float, float, int]:
    """The best price (0: none), the weighted lots of the best `prices_max` prices of others, and
    whose the best one is. Prices in the book's units, times their venue's rate."""
    count = book[slot + (L.SLOT_ASKS if is_asks else L.SLOT_BIDS)]
    levels = slot + (L.SLOT_ASKS_AT if is_asks else L.SLOT_BIDS_AT)
    best = 0.0
    best_venue = 0
    last = 0.0
    prices = 0
    lots = 0.0
    units, decimals = words[fair + Q.FAIR_BOOK_UNITS], book[slot + L.SLOT_LOT_DECIMALS]
    for index in range(count):
        level = levels + index * L.LEVEL_WORDS
        weight = words[fair + Q.FAIR_WEIGHTS_AT + book[level + L.LEVEL_VENUE]]
        if weight <= 0:
            continue
        price = book[level + L.LEVEL_PRICE]
        mine = 0
        if price % units == 0:  # a price between two units is none of ours
            mine = own_lots(own, book[level + L.LEVEL_VENUE], is_asks, price // units)
        others = lots_of_others(book[level + L.LEVEL_LOTS], decimals, mine)
        if mine > 0 and others == 0.0:
            continue
        worth = float(price) * factor_at(words, fair, book[level + L.LEVEL_VENUE])
        if worth != last:
            prices += 1
            if prices > prices_max:
                break
            last = worth
            if prices == 1:
                best = worth
                best_venue = book[level + L.LEVEL_VENUE]
        lots += float(weight) * others
    return best, lots, best_venue


@inner
def _price_book(book: Words, slot: int, words: Words, fair: int, own: Words) -> tuple[int, float]:
    """The status and the price of the book alone, before any average."""
    method = words[fair + Q.FAIR_METHOD]
    prices_max = words[fair + Q.FAIR_PRICES_MAX] if method == Q.MICRO_PRICE else 1
    bid, bid_lots, bid_venue = _read_side(book, slot, 0, words, fair, own, prices_max)
    ask, ask_lots, ask_venue = _read_side(book, slot, 1, words, fair, own, prices_max)
    if bid == 0.0 and ask == 0.0:
        return EMPTY, math.nan
    if bid == 0.0 or ask == 0.0:
        return ONE_SIDED, math.nan
    units = float(words[fair + Q.FAIR_BOOK_UNITS])
    low, high = bid / units, ask / units
    mid = 0.5 * (low + high)
    words[fair + Q.FAIR_MID] = np.float64(mid).view(np.int64)
    words[fair + Q.FAIR_CROSSED_PPM] = math.floor((low - high) * Q.PPM / mid)
    if (low - high) * Q.PPM > float(words[fair + Q.FAIR_CROSSED_PPM_MAX]) * mid:
        currencies = fair + Q.FAIR_CURRENCIES_AT
        is_basis = words[currencies + bid_venue] != words[currencies + ask_venue]
        words[fair + Q.FAIR_MID] = np.float64(math.nan).view(np.int64)
        return BASIS if is_basis else CROSSED, math.nan
    if method == Q.MID:
        return AVAILABLE, mid
    lots = bid_lots + ask_lots
    if not lots > 0.0:
        return NOT_FINITE, math.nan
    return AVAILABLE, low + bid_lots / lots * (high - low)


@inner
def _smooth(words: Words, fair: int, price: float, now_ns: int) -> float:
    """The moving average with `price` in it; `price` where there is nothing to continue."""
    half_life_ns = words[fair + Q.FAIR_HALF_LIFE_NS]
    elapsed_ns = now_ns - words[fair + Q.FAIR_PRICE_NS]
    if words[fair + Q.FAIR_STATUS] != AVAILABLE or half_life_ns <= 0 or elapsed_ns < 0:
        return price
    old = price_at(words, fair)
    return old - math.expm1(-_LN_2 * float(elapsed_ns) / float(half_life_ns)) * (price - old)


@inner
def update_fair(
    book: Words, slot: int, words: Words, fair: int, own: Words, received_ns: int, now_ns: int
) -> int:
    """Compute the fair price of the book in `slot`; its status, left in FAIR_STATUS too.

    `own`: what the book shows of our own orders, which is not counted (engine.maker.own_lots);
    `received_ns`: when the venues last confirmed the book, by the clock of `now_ns`; a book that a
    frame leaves as it was is not published again. One that lies as far in the future as a book may
    be old is believed as little. The slot is read as it is, so the caller is its writer, or holds a
    copy.
    """
    age_ns = now_ns - received_ns
    age_ns_max = words[fair + Q.FAIR_AGE_NS_MAX]
    price = math.nan
    words[fair + Q.FAIR_MID] = np.float64(math.nan).view(np.int64)
    if not _is_any_live(book, slot, words, fair):
        status = NO_VENUE_LIVE
    elif words[fair + Q.FAIR_HAS_RATES] == 0:
        status = NO_RATE
    elif age_ns > age_ns_max or age_ns < -age_ns_max:
        status = TOO_OLD
    else:
        status, price = _price_book(book, slot, words, fair, own)
    if status == AVAILABLE:
        price = _smooth(words, fair, price, now_ns)
        if not (price > 0.0 and price < math.inf):
            status, price = NOT_FINITE, math.nan
    # The average continues only from AVAILABLE: the status itself marks it as void.
    words[fair + Q.FAIR_STATUS] = status
    words[fair + Q.FAIR_PRICE] = np.float64(price).view(np.int64)
    words[fair + Q.FAIR_PRICE_NS] = now_ns
    return status


@kernel("int64(int64[::1], int64, int64[::1], int64, int64[::1], int64, int64)")
def compute_fair(
    book: Words, slot: int, words: Words, fair: int, own: Words, received_ns: int, now_ns: int
) -> int:
    """`update_fair` for Python: the words at `fair` of `words`, the slot at `slot` of `book`."""
    return update_fair(book, slot, words, fair, own, received_ns, now_ns)


def read_price(words: Words, fair: int = 0) -> float:
    """The fair price in common units, read from Python; NaN where there is none."""
    return float(words[fair + Q.FAIR_PRICE : fair + Q.FAIR_PRICE + 1].view(np.float64)[0])


__all__ = [
    "AVAILABLE",
    "BASIS",
    "CROSSED",
    "EMPTY",
    "NOT_COMPUTED",
    "NOT_FINITE",
    "NO_RATE",
    "NO_VENUE_LIVE",
    "NS_MAX",
    "ONE_SIDED",
    "TEXTS",
    "TOO_OLD",
    "WEIGHT_MAX",
    "FairSpec",
    "compute_fair",
    "price_at",
    "read_price",
    "update_fair",
]
