"""Volatility, and how fast fills become rare with the distance: from a venue's best prices.

    sigma   sqrt(sum of squared returns of the mid / sum of their times), a return every PERIOD_NS
            (realized variance; engine.maker.model says why not at every book)
    A, k    a quote at distance d from the mid is filled at rate A e^(-k d) (Avellaneda and Stoikov,
            "High-frequency trading in a limit order book", Quantitative Finance 8(3), 2008,
            equation (12), after the exponential tails of how far orders reach)

At every sample a bid and an ask are imagined at each distance of a grid, for the time until the
next. One is filled when the other side's best price first reaches it; its rate is the number of
fills over the time that was waited, which is the estimator of an exponential waiting time that may
be cut off (Fernandez-Tapia, "Modeling, optimization and estimation for the on-line control of
trading algorithms in limit-order markets", thesis, Paris 6, 2015, counts first hits so). A and k
are the line through ln(rate) = ln(A) - k d, each distance with as much weight as it has fills:
that is about 1 / variance of the logarithm of a count.

What a queue at a price costs in time is not in it, nor what our own orders would have moved.
Runs on: the command's main thread.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass

from engine.layout.units import NS_PER_S

PERIOD_NS = NS_PER_S
GAP_NS_MAX = 2 * PERIOD_NS
"""Over a longer silence nothing is known: neither a return nor a wait is counted."""
DISTANCES_BPS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50)
FILLS_MIN = 10
"""A distance with fewer says nothing."""
DISTANCES_MIN = 3
"""A line through fewer says nothing either."""


@dataclass(frozen=True)
class Fit:
    """The line through the rates. `decay`: k, in 1 / price unit; `rate`: A, a second."""

    rate: float
    decay: float
    distances: int
    """How many had fills enough."""
    r_squared: float
    """Of the weighted line."""


class Estimate:
    """One market's estimates: `take` its best prices as they change. `distances`: from the mid, in
    units of the price, rising; none given: DISTANCES_BPS of the first mid."""

    def __init__(self, distances: tuple[float, ...] = ()) -> None:
        self.distances = distances
        self.seconds = 0.0
        """That are counted."""
        self.mid = math.nan
        """The last one."""
        self._squares = 0.0
        self._fills: list[int] = [0] * len(distances)
        self._waited_s: list[float] = [0.0] * len(distances)
        self._begun_ns = 0
        self._seen_ns = 0
        self._start_mid = math.nan
        self._reached = [0, 0]
        """Of the ask's and of the bid's distances, how many are filled since the sample."""

    def take(self, now_ns: int, bid: float, ask: float) -> None:
        """The best prices from now on; 0 where a side is empty, which ends what was waited for."""
        if bid <= 0 or ask <= 0 or bid > ask:
            self._start_mid = math.nan
            return
        mid = (bid + ask) / 2
        if not self.distances:
            self.distances = tuple(mid * bps / 1e4 for bps in DISTANCES_BPS)
            self._fills = [0] * len(self.distances)
            self._waited_s = [0.0] * len(self.distances)
        if math.isnan(self._start_mid) or now_ns - self._seen_ns > GAP_NS_MAX:
            self._begin(now_ns, mid)
        while now_ns - self._begun_ns >= PERIOD_NS:
            # On a grid of its own: a sample that began with a frame would be filled by that frame.
            self._end()
            self._begin(self._begun_ns + PERIOD_NS, self.mid)
        self._seen_ns = now_ns
        self._reach(now_ns, 0, bid - self._start_mid)
        self._reach(now_ns, 1, self._start_mid - ask)
        self.mid = mid

    def _begin(self, now_ns: int, mid: float) -> None:
        self._begun_ns, self._start_mid, self._reached = now_ns, mid, [0, 0]

    def _reach(self, now_ns: int, side: int, far: float) -> None:
        """The other side's best price is so far beyond the mid of the sample."""
        if far < self.distances[0]:
            return
        reached = bisect_right(self.distances, far)
        waited_s = (now_ns - self._begun_ns) / NS_PER_S
        for index in range(self._reached[side], reached):
            self._fills[index] += 1
            self._waited_s[index] += waited_s
        self._reached[side] = max(self._reached[side], reached)

    def _end(self) -> None:
        """The sample is over: what is not filled has waited for all of it."""
        elapsed_s = PERIOD_NS / NS_PER_S
        for reached in self._reached:
            for index in range(reached, len(self.distances)):
                self._waited_s[index] += elapsed_s
        self.seconds += elapsed_s
        self._squares += (self.mid / self._start_mid - 1) ** 2

    @property
    def volatility(self) -> float:
        """Of relative returns, for the square root of a second; NaN before the first return."""
        return math.sqrt(self._squares / self.seconds) if self.seconds else math.nan

    def rates(self) -> list[tuple[float, float, int]]:
        """Of each distance with fills enough: the distance, the fills a second, the fills."""
        rows = zip(self.distances, self._fills, self._waited_s, strict=True)
        return [(far, n / waited_s, n) for far, n, waited_s in rows if n >= FILLS_MIN and waited_s]

    def fit(self) -> Fit | None:
        """None where too few distances were reached, or fills do not become rarer."""
        rows = self.rates()
        if len(rows) < DISTANCES_MIN:
            return None
        total = sum(n for _, _, n in rows)
        mean_x = sum(n * far for far, _, n in rows) / total
        mean_y = sum(n * math.log(rate) for _, rate, n in rows) / total
        spread = sum(n * (far - mean_x) ** 2 for far, _, n in rows)
        shared = sum(n * (far - mean_x) * (math.log(rate) - mean_y) for far, rate, n in rows)
        height = sum(n * (math.log(rate) - mean_y) ** 2 for _, rate, n in rows)
        decay = -shared / spread
        if decay <= 0:
            return None
        r_squared = shared**2 / (spread * height) if height else 1.0
        return Fit(math.exp(mean_y + decay * mean_x), decay, len(rows), r_squared)
