"""How long a heartbeat has been missing, by the time in which it was looked at.

Time in which this process itself did not run (a suspended laptop, SIGSTOP, a host that stood still)
says nothing about others: between two looks no more than a little counts.
Runs on: any thread.
"""

from __future__ import annotations

LOOK_COUNTS_NS_MAX = 200_000_000
"""Four of the watchdog's looks: one that comes later was itself held up."""


class HeartbeatMonitor:
    """A number that every heartbeat changes. Times are steady (tuning.clock)."""

    def __init__(self, beat: int, now_ns: int) -> None:
        self.silent_ns = 0
        """Since the last beat, as far as it was looked."""
        self._beat = beat
        self._looked_ns = now_ns

    def look(self, beat: int, now_ns: int) -> int:
        """What the number is now; for how long it has not changed."""
        if beat != self._beat:
            self._beat, self.silent_ns = beat, 0
        else:
            self.silent_ns += min(now_ns - self._looked_ns, LOOK_COUNTS_NS_MAX)
        self._looked_ns = now_ns
        return self.silent_ns
