"""Volatility, and what a pricing model makes of it: how far quotes lean, and how wide they are.

Volatility is an exponentially weighted mean of squared returns of the mid price, as RiskMetrics has
it (J.P. Morgan, "RiskMetrics - Technical Document", 4th edition, 1996, section 5.2: the variance
is lambda * variance + (1 - lambda) * r^2), for uneven times: with half-life h, both sums

    squares <- 2^(-dt/h) squares + r^2        r = mid / mid before - 1, over dt
    time    <- 2^(-dt/h) time + dt            variance a second = squares / time

A return is taken when `sample` has passed since the last one, not at each book: the bounce of the
mid from book to book is no risk and would count as one (Andersen, Bollerslev, Diebold, Labys,
"Great Realizations", Risk 13, 2000: the signature plot). Over a time without a mid no return is
taken, and what was seen before it fades. While `time` is less than half a half-life there is no
volatility, and a model that needs it does not quote.

    LINEAR   the skew is that of engine.maker.quotes; each level is farther from fair by `widen`
             standard deviations of the mid over the horizon
    AVELLANEDA_STOIKOV   Avellaneda and Stoikov, "High-frequency trading in a limit order book",
             Quantitative Finance 8(3), 2008, equations (29) and (30). With inventory q (of the base
             currency, less its target), risk aversion g, variance v of the price a second,
             time left T - t, and fills that come at rate A e^(-k d) at distance d from fair:
                 reservation price   r = s - q g v (T - t)
                 half the spread     d = g v (T - t) / 2 + ln(1 + g / k) / g
             The market does not close, so that T - t is the horizon, always. g is in 1 / quote
             currency; k too, for orders of one base currency, the unit of the paper.

Half the spread takes the place of the quotes' `first`, and is no less than their edge after fees.
Both are given to the quotes in whole ppm of fair, the spread rounded away from fair, the lean
towards it; the quotes' own rules (edge, post-only, band, limits) hold after them.
Runs on: the engine thread.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from engine.compiling.atomics import Words
from engine.compiling.jit import inner, kernel
from engine.layout.layout import LOT_DECIMALS
from engine.layout.units import NS_PER_S
from engine.maker import quote_layout as Q
from engine.maker.fair import NS_MAX
from engine.maker.quotes import SKEW_PPM_MAX

WIDER_PPM_MAX = Q.PPM
"""Wider than the price itself is nowhere."""
LOTS_PER_UNIT = float(10**LOT_DECIMALS)
FLOATS = ("widen", "risk_aversion", "fill_decay")


@dataclass(frozen=True)
class ModelSpec:
    """Which model, and its parameters; times in ns, `price_unit`: quote currency in a common unit.

    `risk_aversion` and `fill_decay` are in 1 / quote currency, `widen` in standard deviations.
    """

    kind: int = Q.LINEAR
    half_life_ns: int = 60 * NS_PER_S
    sample_ns: int = NS_PER_S
    horizon_ns: int = 60 * NS_PER_S
    widen: float = 0.0
    risk_aversion: float = 0.0
    fill_decay: float = 0.0
    price_unit: float = 1.0

    def words(self) -> Words:
        """The words of a model that has seen nothing, shape (MODEL_WORDS,); SpecError if unfit."""
        Q.check_range("kind", self.kind, 0, len(Q.MODEL_NAMES) - 1)
        Q.check_range("half_life_ns", self.half_life_ns, 1, NS_MAX)
        Q.check_range("sample_ns", self.sample_ns, 0, NS_MAX)
        Q.check_range("horizon_ns", self.horizon_ns, 1, NS_MAX)
        for name in FLOATS:
            if not 0.0 <= getattr(self, name) < math.inf:
                raise Q.SpecError(f"{name} = {getattr(self, name)!r}: must be a number from 0 on")
        is_given = self.risk_aversion > 0.0 and self.fill_decay > 0.0
        if self.kind == Q.AVELLANEDA_STOIKOV and not is_given:
            raise Q.SpecError("risk_aversion and fill_decay must be above 0")
        if not 0.0 < self.price_unit < math.inf:
            raise Q.SpecError(f"price_unit = {self.price_unit!r}: must be a number above 0")
        words = np.zeros(Q.MODEL_WORDS, np.int64)
        words[Q.MODEL_KIND] = self.kind
        words[Q.MODEL_HALF_LIFE_NS] = self.half_life_ns
        words[Q.MODEL_SAMPLE_NS] = self.sample_ns
        words[Q.MODEL_HORIZON_NS] = self.horizon_ns
        floats = words.view(np.float64)
        floats[Q.MODEL_WIDEN] = self.widen
        floats[Q.MODEL_RISK_AVERSION] = self.risk_aversion
        floats[Q.MODEL_FILL_DECAY] = self.fill_decay
        floats[Q.MODEL_PRICE_UNIT] = self.price_unit
        return words


@inner
def _float_at(words: Words, word: int) -> float:
    return np.int64(words[word]).view(np.float64)


@inner
def _put_float(words: Words, word: int, value: float) -> None:
    words[word] = np.float64(value).view(np.int64)


@inner
def needs_volatility(model: Words) -> bool:
    """Whether the model makes anything of it."""
    return model[Q.MODEL_KIND] == Q.AVELLANEDA_STOIKOV or _float_at(model, Q.MODEL_WIDEN) > 0.0


@inner
def variance(model: Words) -> float:
    """Of the mid's relative returns, a second; NaN while too little has been seen."""
    seen_s = _float_at(model, Q.MODEL_TIME_S)
    if seen_s * NS_PER_S < 0.5 * float(model[Q.MODEL_HALF_LIFE_NS]):
        return math.nan
    return _float_at(model, Q.MODEL_SQUARES) / seen_s


@inner
def update_volatility(model: Words, mid: float, now_ns: int) -> None:
    """Take in the mid of now, NaN for none; `now_ns`: steady time."""
    if math.isnan(mid):
        model[Q.MODEL_HAS_MID] = 0
        return
    elapsed_ns = max(now_ns - model[Q.MODEL_MID_NS], 0)
    elapsed_s, change = 0.0, 0.0
    if model[Q.MODEL_HAS_MID] != 0:
        if elapsed_ns == 0 or elapsed_ns < model[Q.MODEL_SAMPLE_NS]:
            return
        elapsed_s = float(elapsed_ns) / float(NS_PER_S)
        change = mid / _float_at(model, Q.MODEL_MID) - 1.0
    kept = math.pow(2.0, -float(elapsed_ns) / float(model[Q.MODEL_HALF_LIFE_NS]))
    squares = kept * _float_at(model, Q.MODEL_SQUARES) + change * change
    _put_float(model, Q.MODEL_SQUARES, squares)
    _put_float(model, Q.MODEL_TIME_S, kept * _float_at(model, Q.MODEL_TIME_S) + elapsed_s)
    model[Q.MODEL_HAS_MID] = 1
    model[Q.MODEL_MID_NS] = now_ns
    _put_float(model, Q.MODEL_MID, mid)


@inner
def _as_ppm(share: float, most: int) -> int:
    """A share of fair in ppm, rounded up, within plus and minus `most`."""
    ppm = share * Q.PPM
    if not ppm < float(most):
        return most
    return max(math.ceil(ppm), -most)


@inner
def put_model(model: Words, quotes: Words, at: int, position_lots: int, fair_price: float) -> bool:
    """Write how far one venue's quotes lean and how much wider they are, for a fair price in common
    units; False while the volatility is needed and not known."""
    quotes[at + Q.QUOTE_IS_LEANING] = 0
    quotes[at + Q.QUOTE_WIDER_PPM] = 0
    if not needs_volatility(model) or math.isnan(fair_price):
        return True
    relative = variance(model)
    if math.isnan(relative):
        return False
    horizon_s = float(model[Q.MODEL_HORIZON_NS]) / float(NS_PER_S)
    if model[Q.MODEL_KIND] == Q.LINEAR:
        wider = _float_at(model, Q.MODEL_WIDEN) * math.sqrt(relative * horizon_s)
        quotes[at + Q.QUOTE_WIDER_PPM] = _as_ppm(wider, WIDER_PPM_MAX)
        return True
    price = fair_price * _float_at(model, Q.MODEL_PRICE_UNIT)
    aversion = _float_at(model, Q.MODEL_RISK_AVERSION)
    # g v (T - t) / s: v is relative * s^2, and what is wanted is relative to s once more.
    lean = aversion * relative * price * horizon_s
    excess = float(position_lots - quotes[at + Q.QUOTE_TARGET_LOTS]) / LOTS_PER_UNIT
    towards = _as_ppm(abs(excess) * lean, SKEW_PPM_MAX)
    if 0 < towards < SKEW_PPM_MAX and float(towards) > abs(excess) * lean * Q.PPM:
        towards -= 1
    half = 0.5 * lean + math.log1p(aversion / _float_at(model, Q.MODEL_FILL_DECAY)) / (
        aversion * price
    )
    quotes[at + Q.QUOTE_IS_LEANING] = 1
    quotes[at + Q.QUOTE_LEAN_PPM] = -towards if excess > 0.0 else towards
    # The paper knows no fees: the grid begins no nearer than the edge after them.
    first = max(_as_ppm(half, WIDER_PPM_MAX), quotes[at + Q.QUOTE_EDGE_PPM_MIN])
    quotes[at + Q.QUOTE_WIDER_PPM] = first - quotes[at + Q.QUOTE_FIRST]
    return True


@kernel("int64(int64[::1], int64[::1], int64, float64, float64, int64, int64)")
def run_model(
    model: Words,
    quotes: Words,
    at: int,
    mid: float,
    fair_price: float,
    position_lots: int,
    now_ns: int,
) -> int:
    """`update_volatility` and `put_model` for Python; whether the quotes have what they need."""
    update_volatility(model, mid, now_ns)
    return int(put_model(model, quotes, at, position_lots, fair_price))


def read_variance(model: Words) -> float:
    """The relative variance a second, read from Python; NaN while too little has been seen."""
    floats = model.view(np.float64)
    seen_s = float(floats[Q.MODEL_TIME_S])
    if seen_s * NS_PER_S < 0.5 * float(model[Q.MODEL_HALF_LIFE_NS]):
        return math.nan
    return float(floats[Q.MODEL_SQUARES]) / seen_s
