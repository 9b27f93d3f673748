"""What is done about a frame whose time is out of the feed's bounds, and what those are.

Runs on: the engine thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.book.rules import CONTINUITY_TIME
from engine.engine import Engine
from engine.layout import layout as L
from net.feed.sync_host import SyncHost
from net.feed.timeliness import Timing

if TYPE_CHECKING:
    from net.feed.book_sync import BookSync


class FrameTiming:
    """One feed's. `now_ns` is steady time."""

    def __init__(self, engine: Engine, sync: BookSync, host: SyncHost) -> None:
        self._engine = engine
        self._sync = sync
        self._host = host

    def admits(self, now_ns: int) -> bool:
        """Whether a frame that was OUT_OF_TIME goes to the kernel again, with the bounds lifted.

        A late one is applied to a book that is no longer shown as live; one from the future would
        make every frame after it look old.
        """
        sync = self._sync
        self._engine.set_lag_bounds(sync.feed, -L.ANY_LAG_NS, L.ANY_LAG_NS)
        timing = sync.timeliness.take(self._engine.staged_venue_ns, self._host.wall_ns(), now_ns)
        if timing is Timing.LATE and sync.state == L.LIVE:
            sync.go_late(now_ns)
        return not self.breaks_off_early(timing, now_ns)

    def breaks_off_early(self, timing: Timing, now_ns: int) -> bool:
        """Whether a frame was from the future, where times are ids: the book is thrown away."""
        is_by_time = self._sync.protocol.rules.continuity == CONTINUITY_TIME
        if timing is not Timing.EARLY or not is_by_time:
            return False
        self._sync.break_off("a frame from the future", now_ns)
        self._engine.restart_stream(self._sync.feed)
        return True

    def bound(self, now_ns: int) -> None:
        """What a frame's time may be from here on, for the kernel to take it by itself."""
        bounds = self._sync.timeliness.lag_bounds_ns(self._host.wall_ns(), now_ns)
        least_ns, most_ns = bounds or (-L.ANY_LAG_NS, L.ANY_LAG_NS)
        self._engine.set_lag_bounds(self._sync.feed, least_ns, most_ns)
