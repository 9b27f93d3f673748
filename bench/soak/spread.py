"""How values are spread, in bounded memory: counted by their two leading digits.

Runs on: the watcher's thread (`add`), the main thread (the rest).
"""

from __future__ import annotations

from collections import Counter


class Spread:
    """A histogram whose percentiles are right to two digits, and whose largest value is exact."""

    def __init__(self) -> None:
        self.count = 0
        self.largest = 0.0
        self._counts: Counter[float] = Counter()

    def add(self, value: float) -> None:
        self.count += 1
        self.largest = max(self.largest, value)
        self._counts[float(f"{value:.1e}")] += 1

    def percentile(self, share: float) -> float:
        """The value that so much of all stays at or below; 0 where there is none."""
        left = share * self.count
        for value, count in sorted(self._counts.copy().items()):
            left -= count
            if left <= 0:
                return value
        return self.largest

    def as_json(self) -> dict[str, float]:
        shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}
        found = {name: self.percentile(share) for name, share in shares.items()}
        return {"count": self.count, **found, "max": round(self.largest, 3)}
