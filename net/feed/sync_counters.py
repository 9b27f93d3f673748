"""What a feed has been through since the start: its part of the engine's meters.

Runs on: the engine thread (writes); any thread reads.
"""

from __future__ import annotations

from engine.layout import status as S
from engine.sharing import meter_layout as M
from engine.sharing.meters import Count, Counted


class RefusedFrames(Counted):
    """Refused frames by the kernel's status, which says why."""

    def __getitem__(self, status: int) -> int:
        return int(self.words[self.at + S.REFUSALS.index(status)])

    def __setitem__(self, status: int, count: int) -> None:
        self.words[self.at + S.REFUSALS.index(status)] = count

    def total(self) -> int:
        return sum(self[status] for status in S.REFUSALS)


class SyncCounters(Counted):
    """What a book sync has been through since the start: its part of the feed's meters."""

    resyncs = Count(M.FEED_RESYNCS)
    gaps = Count(M.FEED_GAPS)
    snapshots_asked = Count(M.FEED_SNAPSHOTS_ASKED)
    snapshots_refused = Count(M.FEED_SNAPSHOTS_REFUSED)
    audits_passed = Count(M.FEED_AUDITS_PASSED)
    audits_failed = Count(M.FEED_AUDITS_FAILED)
    checksums_failed = Count(M.FEED_CHECKSUMS_FAILED)
    units_learned = Count(M.FEED_UNITS_LEARNED)
    dropped_levels = Count(M.FEED_DROPPED_LEVELS)

    def count_fault(self, status: int) -> None:
        """Count what the kernel said of a frame, where it has a counter of its own."""
        self.checksums_failed += status == S.BAD_CHECKSUM
        if status <= S.BAD_JSON:
            self.refused[status] += 1

    @property
    def refused(self) -> RefusedFrames:
        return RefusedFrames(self.words, self.at + M.FEED_REFUSED_AT)

    @property
    def refused_frames(self) -> int:
        return self.refused.total()
