"""Whether we may quote at a venue in the tick that it declares now.

What we quote in must be a multiple of it: if it is none any more, our orders there go, and it is
quoted again after a restart.
Runs on: the engine thread.
"""

from __future__ import annotations

from engine.decoding.scale import common_unit, decimal_unit
from engine.engine import Engine
from net.maker.risk_report import MakerHost


class TickFit:
    """`engine` knows the ticks that we quote in, by feed."""

    def __init__(self, engine: Engine, venues: tuple[str, ...], host: MakerHost) -> None:
        self.off_tick: set[int] = set()
        """Venues whose tick does not divide the one that we quote in."""
        self._engine, self._venues, self._host = engine, venues, host

    def take(self, venue: int, feed: int, tick_size: str) -> None:
        """A venue declares this tick now."""
        ours = self._engine.feeds[feed].tick_size
        if common_unit([decimal_unit(ours), decimal_unit(tick_size)]) == decimal_unit(tick_size):
            self.off_tick.discard(venue)
            return
        self.off_tick.add(venue)
        facts = {"venue": self._venues[venue], "tick_size": tick_size, "ours": ours}
        self._host.note_maker("error", "the tick has changed: not quoted until a restart", **facts)
