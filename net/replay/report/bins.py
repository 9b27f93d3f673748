"""Series over the time of a tape, in memory that does not grow with it.

All bins are equally long, a second at first; once a tape has more than BINS_MAX of them, each two
become one.
Runs on: the main thread.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BINS_MAX = 1200
"""Twenty minutes by the second, and more than a plot has points to show."""
WIDTH_NS = 1_000_000_000
NONE = 0.0
"""A price where there is none: an empty side, no quote. NaN: nothing new in this bin."""
LAGS_MAX = 512
"""Of one bin; beyond, they are thinned evenly. All bins of a venue hold five megabytes at most."""


def later(first: Floats, second: Floats) -> Floats:
    """The second where it is a number."""
    return np.where(np.isnan(second), first, second)


class Series:
    """One value a bin. `merge` makes one of two bins; `empty` is what a bin holds without any."""

    def __init__(self, merge: Callable[[Floats, Floats], Floats], empty: float) -> None:
        self.values = np.full(BINS_MAX, empty)
        self._merge = merge
        self._empty = empty

    def halve(self) -> None:
        self.values[: BINS_MAX // 2] = self._merge(self.values[::2], self.values[1::2])
        self.values[BINS_MAX // 2 :] = self._empty

    def add(self, bin_: int, value: float) -> None:
        """One more value of a bin."""
        one = self.values[bin_ : bin_ + 1]
        one[:] = self._merge(one, np.array([value], np.float64))


class Lags:
    """Samples of one bin: all of them, or every second, fourth, ... where there are too many."""

    def __init__(self) -> None:
        self.values = array("q")
        self._stride = 1
        self._seen = 0

    def add(self, value: int) -> None:
        if self._seen % self._stride == 0:
            self.values.append(value)
        self._seen += 1
        while len(self.values) > LAGS_MAX:
            self._thin()

    def _thin(self) -> None:
        self.values = self.values[::2]
        self._stride *= 2

    def merge(self, other: Lags) -> None:
        """Take another's samples; each stands for as many as one of ours."""
        while self._stride < other._stride:
            self._thin()
        while other._stride < self._stride:
            other._thin()
        self.values.extend(other.values)
        while len(self.values) > LAGS_MAX:
            self._thin()
        self._seen = self._stride * len(self.values)

    def percentile(self, percent: float) -> float:
        """NaN without a sample."""
        return float(np.percentile(self.values, percent)) if self.values else math.nan


class Bins:
    """The bins' common width, and all series that are in them."""

    def __init__(self) -> None:
        self.width_ns = WIDTH_NS
        self.start_ns = 0
        self.count = 0
        """Bins up to the last one that was asked for."""
        self._series: list[Series] = []
        self._lags: list[list[Lags]] = []

    def total(self) -> Series:
        return self._new(Series(np.add, 0.0))

    def lowest(self) -> Series:
        return self._new(Series(np.fmin, math.nan))

    def highest(self) -> Series:
        return self._new(Series(np.fmax, math.nan))

    def last(self) -> Series:
        return self._new(Series(later, math.nan))

    def lags(self) -> list[Lags]:
        """One a bin."""
        self._lags.append([Lags() for _ in range(BINS_MAX)])
        return self._lags[-1]

    def _new(self, series: Series) -> Series:
        self._series.append(series)
        return series

    def at(self, now_ns: int) -> int:
        """The bin of a time; times never go back before the first."""
        self.start_ns = self.start_ns or now_ns
        bin_ = (now_ns - self.start_ns) // self.width_ns
        while bin_ >= BINS_MAX:
            self._halve()
            bin_ = (now_ns - self.start_ns) // self.width_ns
        self.count = max(self.count, bin_ + 1)
        return bin_

    def _halve(self) -> None:
        self.width_ns *= 2
        self.count = -(-self.count // 2)
        for series in self._series:
            series.halve()
        for lags in self._lags:
            for bin_ in range(BINS_MAX // 2):
                lags[bin_] = lags[2 * bin_]
                lags[bin_].merge(lags[2 * bin_ + 1])
            lags[BINS_MAX // 2 :] = [Lags() for _ in range(BINS_MAX // 2)]

    @property
    def width_s(self) -> float:
        return self.width_ns / 1e9

    def edges_s(self) -> Floats:
        """Where the bins begin, and the last one ends, in s from the first."""
        return np.arange(self.count + 1, dtype=np.float64) * self.width_s

    def known(self, series: Series) -> Floats:
        """A series as far as it goes."""
        return series.values[: self.count]

    def held(self, series: Series) -> Floats:
        """The same, where a bin without a value has that of the one before."""
        values = self.known(series).copy()
        places = np.where(np.isnan(values), 0, np.arange(len(values)))
        return values[np.maximum.accumulate(places)]
