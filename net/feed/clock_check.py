"""Whether this host keeps up, and whether its clock agrees with the venues'.

The engine's timer looks 20 times a second, for an operator who has to know although every book is
right.

* A clock is off where the times in a LIVE feed's frames have been out of bounds for a while, not on
  one late frame; it agrees again in the same way. A feed that is not LIVE is not judged.
* A beat is late where the timer came later than it was set for: something else had the engine's
  CPU, or one turn of its loop was long.
No I/O, no clock.
Runs on: the engine thread (`look`), the page's threads (they only read).
"""

from __future__ import annotations

from collections.abc import Callable

from engine.engine import Engine
from engine.layout import layout as L
from engine.layout.units import NS_PER_MS, NS_PER_S

LAG_NS_MAX = 1 * NS_PER_S
"""Data that is older on arrival: a slow network, or a clock that is fast."""
LAG_NS_MIN = -100 * NS_PER_MS
"""Data from the future: this host's clock, or the venue's, is wrong by more than clocks are."""
HOLD_NS = 2 * NS_PER_S
"""How long all frames must agree before a change is believed."""
LATE_NS_MIN = 100 * NS_PER_MS
"""A beat that is later is logged: scheduling alone costs a few ms even on a busy host."""
RECENT_NS = 60 * NS_PER_S
"""Late beats are shown for so long."""

CLOCK_ADVICE = "timedatectl shows how this host's clock is kept"
SLOW_ADVICE = ", but a slow network looks the same"
LATE_ADVICE = "something else had the engine's CPU, or one turn was long: run pollux doctor"


def lag_ns(engine: Engine, feed: int) -> int | None:
    """From the venue's time of its last frame to its arrival; None before the first."""
    # In this order a frame that comes in between makes it look late, not early.
    venue_ns, receive_ns = engine.venue_ns(feed), engine.receive_ns(feed)
    return receive_ns - venue_ns if venue_ns and receive_ns else None


def lag_text(lag: int) -> str:
    """A lag in words, to follow "is" or "are"."""
    return f"{abs(lag) / NS_PER_S:.3f} s {'behind' if lag > 0 else 'ahead of'} this host's clock"


def feed_names(engine: Engine) -> tuple[dict[str, str], ...]:
    """Each feed's instrument, venue and symbol, as the log names them."""
    return tuple(
        {"instrument": each.symbol, "venue": feed.venue, "symbol": feed.symbol}
        for each in engine.instruments
        for feed in each.feeds
    )


class ClockCheck:
    """One feed's times against this host's clock."""

    def __init__(self) -> None:
        self.is_off = False
        self._stamp_ns = self._since_ns = 0
        """When a frame first contradicted `is_off` with none after it that agreed; 0: none."""

    def forget(self) -> None:
        """The feed is not LIVE: nothing can be said."""
        self.is_off, self._since_ns = False, 0

    def take(self, lag: int, stamp_ns: int, now_ns: int) -> bool:
        """The last frame's lag and stamp, in steady time; whether `is_off` has changed with it."""
        if stamp_ns == self._stamp_ns:
            return False
        self._stamp_ns = stamp_ns
        if (not LAG_NS_MIN <= lag <= LAG_NS_MAX) == self.is_off:
            self._since_ns = 0
            return False
        self._since_ns = self._since_ns or now_ns
        if now_ns - self._since_ns < HOLD_NS:
            return False
        self.is_off, self._since_ns = not self.is_off, 0
        return True


class Beats:
    """The engine's timer against a steady clock."""

    def __init__(self, period_ns: int) -> None:
        self.late_count = 0
        """Since the start."""
        self._period_ns = period_ns
        self._last_ns = 0
        self._late: tuple[tuple[int, int], ...] = ()
        """When and by how much, of the last minute; replaced as a whole, for other threads."""

    def take(self, steady_ns: int) -> int:
        """A beat, now; how late it was where that is worth telling, else 0."""
        late_ns = steady_ns - self._last_ns - self._period_ns
        is_first, self._last_ns = self._last_ns == 0, steady_ns
        if is_first or late_ns < LATE_NS_MIN:
            return 0
        self.late_count += 1
        kept = (each for each in self._late if steady_ns - each[0] < RECENT_NS)
        self._late = (*kept, (steady_ns, late_ns))
        return late_ns

    def recent(self, steady_ns: int) -> tuple[int, int]:
        """The late beats of the last minute: how many, and the longest in ns."""
        late = [ns for at_ns, ns in self._late if steady_ns - at_ns < RECENT_NS]
        return len(late), max(late, default=0)


class HostCheck:
    """The clock check of each feed and the check of the beat, for one engine; `log` is called where
    something begins or ends."""

    def __init__(self, engine: Engine, log: Callable[..., None], period_ns: int) -> None:
        self.beats = Beats(period_ns)
        self.clocks = tuple(ClockCheck() for _ in engine.feeds)
        self._engine = engine
        self._log = log
        self._names = feed_names(engine)

    def look(self, steady_ns: int) -> None:
        """Called by the engine's timer."""
        late_ns = self.beats.take(steady_ns)
        if late_ns:
            times, longest_ns = self.beats.recent(steady_ns)
            self._log(
                "warning",
                "engine held up",
                late_ms=late_ns // NS_PER_MS,
                longest_ms=longest_ns // NS_PER_MS,
                times_in_last_minute=times,
                reason=LATE_ADVICE,
            )
        for feed, clock in enumerate(self.clocks):
            self._look_at_clock(feed, clock, steady_ns)

    def _look_at_clock(self, feed: int, clock: ClockCheck, steady_ns: int) -> None:
        lag = lag_ns(self._engine, feed)
        if self._engine.state(feed) != L.LIVE or lag is None:
            clock.forget()
            return
        if clock.take(lag, self._engine.receive_ns(feed), steady_ns):
            facts = {**self._names[feed], "lag_ms": lag // NS_PER_MS}
            if clock.is_off:
                advice = CLOCK_ADVICE + (SLOW_ADVICE if lag > 0 else "")
                reason = f"its times are {lag_text(lag)}; {advice}"
                self._log("warning", "clock off", **facts, reason=reason)
            else:
                self._log("info", "clock agrees again", **facts)
