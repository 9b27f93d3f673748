"""How many requests a venue takes in a window of time, and how many were sent in it.

Runs on: the engine thread; in the watchdog, the main thread.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple


class RateLimit(NamedTuple):
    """So many requests in so long."""

    requests_max: int
    window_ns: int
    spare: int
    """What new orders leave for cancels and questions."""


class RateWindows:
    """The requests to one venue, held against all its limits."""

    def __init__(self, *limits: RateLimit) -> None:
        assert all(0 <= limit.spare < limit.requests_max for limit in limits)
        self._limits = limits
        self._sent_ns: deque[int] = deque(maxlen=max(each.requests_max for each in limits))

    def has_room(self, now_ns: int, is_order: bool) -> bool:
        """Whether the limits allow one more request."""
        for requests_max, window_ns, spare in self._limits:
            if self._is_full(requests_max - is_order * spare, now_ns - window_ns):
                return False
        return True

    def add(self, now_ns: int) -> None:
        """A request is sent."""
        self._sent_ns.append(now_ns)

    def _is_full(self, requests: int, since_ns: int) -> bool:
        return len(self._sent_ns) >= requests and self._sent_ns[-requests] > since_ns
