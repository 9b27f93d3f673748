"""A feed's request for its whole book: which one is open, whether it has left, whether it is late.

Waiting for our own turn at the venue's limit is no missing answer: only what has left can be
missed. An answer names its request, so that one which was given up is never taken.
Runs on: the engine thread.
"""

from __future__ import annotations

from typing import NamedTuple

from engine.layout.units import NS_PER_S

ANSWER_LIMIT_NS = 30 * NS_PER_S
"""How long an answer may take; the fetcher's own time limits are shorter."""
WAIT_TOLD_NS = 1 * NS_PER_S
"""A request that waits for so long for its turn is logged."""


class SnapshotRequest(NamedTuple):
    """A book that is asked for. An answer names it: one that was given up is not taken."""

    feed: int
    number: int
    is_audit: bool
    """A book is shown meanwhile: the whole depth, and nobody waits."""


class OpenRequest:
    """The latest request of a feed. All times are steady."""

    def __init__(self) -> None:
        self.is_open = False
        self.number = 0
        self._asked_ns = 0
        self._sent_ns = 0
        """0 while it waits for its turn."""
        self._is_wait_told = False

    def begin(self, now_ns: int) -> None:
        """Another one is made."""
        self.number += 1
        self.is_open, self._asked_ns, self._sent_ns, self._is_wait_told = True, now_ns, 0, False

    def sent(self, number: int, now_ns: int) -> None:
        """It has left."""
        if self.is_open and number == self.number:
            self._sent_ns = now_ns

    def close(self, number: int) -> bool:
        """Its answer is here; False: nobody waits for that one any more."""
        if not self.is_open or number != self.number:
            return False
        self.is_open = False
        return True

    def is_overdue(self, now_ns: int) -> bool:
        """Whether it has left, and its answer does not come."""
        return self.is_open and 0 < self._sent_ns < now_ns - ANSWER_LIMIT_NS

    @property
    def is_waiting(self) -> bool:
        """Whether it has not left yet."""
        return self.is_open and self._sent_ns == 0

    def has_waited(self, now_ns: int) -> bool:
        """Whether it has waited long for its turn; true once."""
        is_new = self.is_waiting and not self._is_wait_told
        self._is_wait_told |= is_new and now_ns - self._asked_ns > WAIT_TOLD_NS
        return is_new and self._is_wait_told
