"""Percentiles of latencies, and the spread of ratios over repetitions.

Runs on: the harness's main thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PERCENTILES = (50.0, 90.0, 99.0, 99.9, 100.0)
PERCENTILE_NAMES = ("p50", "p90", "p99", "p99.9", "max")
CURVE_PERCENTILES = tuple(
    float(each) for each in (*range(0, 99), *np.linspace(99.0, 99.9, 10), 99.95, 99.99, 100.0)
)
"""Where a percentile curve is kept in JSON."""


@dataclass(frozen=True)
class Latency:
    """The percentiles of one set of latencies, in ns."""

    count: int
    p50_ns: float
    p90_ns: float
    p99_ns: float
    p999_ns: float
    max_ns: float

    def cells_us(self) -> tuple[float, ...]:
        """The percentiles in us, for a table row."""
        values = (self.p50_ns, self.p90_ns, self.p99_ns, self.p999_ns, self.max_ns)
        return tuple(value / 1000 for value in values)


def latency(samples_ns: Floats) -> Latency:
    """Percentiles of samples in ns; at least one sample."""
    assert len(samples_ns) > 0, "no samples"
    values = np.percentile(samples_ns, PERCENTILES)
    return Latency(len(samples_ns), *(float(value) for value in values))


def curve(samples_ns: Floats) -> list[tuple[float, float]]:
    """(percentile, ns) points of a percentile curve."""
    if len(samples_ns) == 0:
        return []
    values = np.percentile(samples_ns, CURVE_PERCENTILES)
    return [(p, float(v)) for p, v in zip(CURVE_PERCENTILES, values, strict=True)]


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> tuple[float, ...]:
    """One ratio a repetition: what ran side by side is compared with each other."""
    pairs = zip(numerators, denominators, strict=True)
    return tuple(a / b if b else float("nan") for a, b in pairs)


def spread(values: Sequence[float], digits: int = 2) -> str:
    """`median (min-max)` of one value a repetition."""
    low, middle, high = np.min(values), np.median(values), np.max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"
