"""Whether a feed's frames come in time: the venue's own times against what has gone by here.

A frame that has just been sent and one that has waited for a quarter of an hour arrive alike. What
tells them apart is how far the venue's time of a frame lies behind its arrival, compared with the
best that this feed has shown: a clock that is wrong, here or there, shifts all of it alike and is
no alarm. The best rises slowly, as clocks drift. No I/O, no clock.
Runs on: the engine thread.
"""

from __future__ import annotations

from enum import Enum, auto

from engine.layout.layout import ANY_LAG_NS
from engine.layout.units import NS_PER_MS, NS_PER_S

DRIFT = 1e-4
"""How fast the best lag is forgotten: two clocks that nobody keeps drift apart by less."""
EARLY_NS = 2 * NS_PER_S
"""A frame that is so much earlier than the best, and so far ahead of the wall clock too, is from
the future: where only the first holds, a backlog has been worked off."""
EARLY_FRAMES = 3
"""So many of them in a row, and it was the venue's clock that was set."""
LEAD_MAX_NS = 30 * NS_PER_S
"""A stream whose last frame is so much newer than this one was not overtaken: that frame's time was
wrong, and would make every other look old."""
FEW_FRAMES = 8
"""After so many a feed knows its best lag; until then that of the venue's other feeds counts."""
PEER_NS = 60 * NS_PER_S
"""One that has said nothing for longer is not asked."""
WALL_WRONG_NS = 20 * NS_PER_S
"""Where the best lag seems larger by the wall clock, that is wrong: no feed is so slow."""
GIVE_UP_NS = 600 * NS_PER_S
"""After being late for so long, while the wall clock says otherwise, the venue's clock was set."""


class Timing(Enum):
    """What a frame's time says of it."""

    GOOD = auto()
    LATE = auto()
    EARLY = auto()


class Timeliness:
    """One feed's frames. `late_after_ms` 0: none is ever late, nor early."""

    def __init__(self, late_after_ms: int) -> None:
        self.excess_ns = 0
        """The lag of the last frame minus the smallest lag seen."""
        self.peers: tuple[Timeliness, ...] = ()
        """Those of the same venue, whose times are by the same clock."""
        self._frames = 0
        self._late_after_ns = late_after_ms * NS_PER_MS
        self._best_ns: int | None = None
        self._best_before_ns: int | None = None
        """The best before the venue's clock was set, as it seemed."""
        self.venue_ns = 0
        """The venue's time of the last frame."""
        self._seen_ns = 0
        self._early_frames = 0
        self._early_lag_ns = 0
        """The largest of theirs: one absurd time may be among them."""
        self._leaps = 0
        """Frames in a row that are far earlier than the best, while the wall clock is wrong."""
        self._late_since_ns = 0
        self._is_late = False

    @property
    def is_late(self) -> bool:
        """Whether the last frame was late."""
        return self._is_late

    def take(self, venue_ns: int, stamp_ns: int, arrival_ns: int) -> Timing:
        """A frame: the venue's time of it, when it came by the wall clock, and by the steady one.

        `venue_ns` 0: the venue sends no times, and nothing is known.
        """
        if venue_ns == 0 or self._late_after_ns == 0:
            return Timing.GOOD
        lag_ns, wall_lag_ns = arrival_ns - venue_ns, stamp_ns - venue_ns
        self.venue_ns = venue_ns
        best_ns = lag_ns  # the first: held against the wall clock alone, as one absurd time may be
        if self._best_ns is not None:
            best_ns = self._best_ns + int(max(arrival_ns - self._seen_ns, 0) * DRIFT)
        is_first = self._best_ns is None
        is_early = (is_first or lag_ns < best_ns - EARLY_NS) and wall_lag_ns < -EARLY_NS
        if is_early and self._early_frames < EARLY_FRAMES - 1:
            before_ns = self._early_lag_ns if self._early_frames else lag_ns
            self._early_frames, self._early_lag_ns = self._early_frames + 1, max(before_ns, lag_ns)
            return Timing.EARLY
        if is_early:
            # A clock was set: those before this one were in time, perhaps more than it is itself.
            self._best_before_ns = None if is_first else best_ns
            best_ns = self._early_lag_ns
        self._early_frames = 0
        if self._frames < FEW_FRAMES:
            self._frames += 1
            known = (each._best_known_ns(arrival_ns) for each in self.peers)
            best_ns = min([best_ns, *(each_ns for each_ns in known if each_ns is not None)])
        if lag_ns > best_ns + self._late_after_ns and self._is_back(lag_ns, wall_lag_ns):
            best_ns = lag_ns
        is_wall_wrong = abs(best_ns + stamp_ns - arrival_ns) > WALL_WRONG_NS
        if not is_early and lag_ns < best_ns - EARLY_NS and is_wall_wrong:
            # The wall clock cannot tell whether this one is from the future.
            self._leaps += 1
            if self._leaps < EARLY_FRAMES:
                self._best_ns, self._seen_ns = best_ns, arrival_ns
                self.excess_ns, self._is_late = 0, False
                return Timing.GOOD
        self._leaps = 0
        self._best_ns, self._seen_ns = min(best_ns, lag_ns), arrival_ns
        self.excess_ns = lag_ns - self._best_ns
        was_late, self._is_late = self._is_late, self.excess_ns > self._late_after_ns
        if not self._is_late:
            return Timing.GOOD
        if not was_late:
            self._late_since_ns = arrival_ns
        if arrival_ns - self._late_since_ns > GIVE_UP_NS and wall_lag_ns < self._late_after_ns:
            self._best_ns, self.excess_ns, self._is_late = lag_ns, 0, False
            return Timing.GOOD
        return Timing.LATE

    def lag_bounds_ns(self, wall_ns: int, now_ns: int) -> tuple[int, int] | None:
        """The lags by the wall clock, as it is now, that are good; None: any, for now.

        Before its first frame a feed has the best of the venue's others, if any knows it: none is
        too late without that, but one from the future is known.
        """
        if self._is_late or self._late_after_ns == 0:
            return None
        known_ns = self._best_ns
        if known_ns is None:
            peers = (each._best_known_ns(now_ns) for each in self.peers)
            known_ns = min((each for each in peers if each is not None), default=None)
        if known_ns is None:
            return -EARLY_NS, ANY_LAG_NS
        best_ns = known_ns + wall_ns - now_ns
        return min(best_ns, 0) - EARLY_NS, best_ns + self._late_after_ns

    def _best_known_ns(self, arrival_ns: int) -> int | None:
        """The best lag, where this feed knows it well enough for others."""
        is_heard = arrival_ns - self._seen_ns < PEER_NS
        return self._best_ns if self._frames == FEW_FRAMES and is_heard else None

    def _is_back(self, lag_ns: int, wall_lag_ns: int) -> bool:
        """Whether a frame that seems late is one as they were before the venue's clock was set."""
        if self._best_before_ns is None or abs(wall_lag_ns) > self._late_after_ns:
            return False
        return abs(lag_ns - self._best_before_ns) <= self._late_after_ns
