"""The clocks: what time it is, for stamps alone, and how much has gone by, for everything else.

The wall clock is set, back and forth, by whoever keeps it; nothing that waits, times out or expires
may look at it. Time that has gone by includes what the host slept: a book is as old after a sleep
as the sleep was long. No other file reads the wall clock: a lint rule forbids it.
Runs on: any thread.
"""

from __future__ import annotations

import time
from typing import NamedTuple

wall_ns = time.time_ns
"""Nanoseconds since 1970: a stamp for others to read."""

_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def steady_ns() -> int:
    """Nanoseconds that only grow, the same for all processes of a host; only differences mean
    anything. CLOCK_BOOTTIME of clock_gettime(2), which counts while the host sleeps."""
    return time.clock_gettime_ns(_STEADY)


class Moment(NamedTuple):
    """One moment by both clocks, for who shows stamps and ages side by side."""

    wall_ns: int
    steady_ns: int

    def stamp_ns(self, then_ns: int) -> int:
        """Steady time as the wall clock, as it is set at this moment, would have had it."""
        return self.wall_ns - (self.steady_ns - then_ns)


def now() -> Moment:
    """This moment."""
    return Moment(wall_ns(), steady_ns())
