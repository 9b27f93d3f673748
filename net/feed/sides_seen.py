"""Whether a snapshot can be believed, by what the stream has said before.

One that is older than that is a cache's: where frames are ordered by their times alone, nobody
would notice what is missing in between.

Some venues' REST answers lack a side now and then. Such a one is not believed for a while after the
stream, or a book that was shown, has had that side; nor soon after the stream has begun, when it
has not shown much. Where the market truly has but one side, that passes.
Runs on: the engine thread.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.engine import Engine
from engine.layout.units import NS_PER_S

DOUBT_NS = 60 * NS_PER_S
"""For so long after a side was seen a snapshot without it is not believed."""
BEGINNING_NS = 30 * NS_PER_S
"""The same after the stream has begun. A venue's REST was wrong for fifteen seconds on end, and the
market too quiet for the stream to contradict it."""


class SidesSeen:
    """One feed's."""

    def __init__(self, engine: Engine, feed: int) -> None:
        self._engine = engine
        self._feed = feed
        self._doubted_until_ns = [0, 0]
        self._is_one_sided = False
        self._newest_id = self._newest_ns = 0

    def begin(self, now_ns: int) -> None:
        """The stream begins."""
        self._doubt((True, True), now_ns + BEGINNING_NS)

    def take(self, sides: Sequence[bool], now_ns: int) -> None:
        """A frame has set levels of these sides, or a book that is withdrawn has had them."""
        self._doubt(sides, now_ns + DOUBT_NS)

    def _doubt(self, sides: Sequence[bool], until_ns: int) -> None:
        before = self._doubted_until_ns
        self._doubted_until_ns = [
            max(was_ns, until_ns) if is_meant else was_ns
            for was_ns, is_meant in zip(before, sides, strict=True)
        ]

    def show(self, levels: tuple[int, int]) -> None:
        """A book is shown that a snapshot of so many bids and asks began."""
        self._is_one_sided = 0 in levels

    def leave(self, last_id: int, now_ns: int) -> None:
        """The stream stood at this id, and what it brings next begins anew."""
        if last_id > self.newest_id(now_ns):
            self._newest_id, self._newest_ns = last_id, now_ns

    def newest_id(self, now_ns: int) -> int:
        """The largest id that the stream was left at; 0 if that is long ago.

        A snapshot before it is a cache's. Ids that begin anew, or were wrong, are forgotten.
        """
        return self._newest_id if now_ns - self._newest_ns < DOUBT_NS else 0

    def contradict(self, levels: tuple[int, int], now_ns: int) -> bool:
        """Whether a snapshot of so many bids and asks lacks a side that there must be."""
        pairs = zip(levels, self._doubted_until_ns, strict=True)
        return any(count == 0 and now_ns < until_ns for count, until_ns in pairs)

    @property
    def is_audit_due(self) -> bool:
        """Whether the side that the snapshot lacked has come since: perhaps only a part of it."""
        return self._is_one_sided and all(self._engine.has_sides(self._feed))
