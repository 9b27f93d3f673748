"""The simulator's clocks: the only file here that asks the computer what time it is.

Invariant: `now_ns` never runs backwards. Everything below (market, flow, publishers, tape) takes
time as an argument.
Runs on: the simulator's event loop.
"""

from __future__ import annotations

import time

from tuning.clock import wall_ns

NS_PER_US, NS_PER_MS, NS_PER_S = 1_000, 1_000_000, 1_000_000_000


class SimulatorClock:
    """Simulated nanoseconds since the epoch: wall time at the start, then times `speed`."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self.start_ns = wall_ns()
        self._start_monotonic_ns = time.monotonic_ns()

    def now_ns(self) -> int:
        """The simulated time now."""
        return self.start_ns + int((time.monotonic_ns() - self._start_monotonic_ns) * self._speed)


def monotonic_s() -> float:
    """Real seconds, for rate limits, caches and timeouts."""
    return time.monotonic()


def wall_s() -> float:
    """Real seconds since the epoch, for clock-aligned limits."""
    return wall_ns() / 1e9
