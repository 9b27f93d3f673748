"""Whether a snapshot without bids, or without asks, can be believed.

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
BEGINNING_NS = 15 * NS_PER_S
"""The same after the stream has begun."""


class SidesSeen:
    """One feed's."""

    def __init__(self, engine: Engine, feed: int) -> None:
        self._engine = engine
        self._feed = feed
        self._doubted_until_ns = [0, 0]
        self._is_one_sided = False

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

    def contradict(self, levels: tuple[int, int], now_ns: int) -> bool:
        """Whether a snapshot of so many bids and asks lacks a side that there must be."""
        pairs = zip(levels, self._doubted_until_ns, strict=True)
        return any(count == 0 and now_ns < until_ns for count, until_ns in pairs)

    @property
    def is_audit_due(self) -> bool:
        """Whether the side that the snapshot lacked has come since: perhaps only a part of it."""
        return self._is_one_sided and all(self._engine.has_sides(self._feed))
