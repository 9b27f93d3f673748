"""Learns what a feed's prices and quantities must be counted in, from those that do not fit.

A venue declares a tick, but prints finer prices where orders of an older grid rest, or where it has
changed its tick meanwhile; and some markets' quantities need another lot than 1e-8. What does not
fit says which units would do (engine.units). The book is built anew in those, and the venue is
asked again for the tick that it declares.
Runs on: the engine thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.decoding.scale import decimal_unit
from engine.engine import Engine, Stage
from engine.layout import layout as L
from engine.layout import status as S
from engine.units import Units
from net.feed.events import FeedEvent
from net.feed.sync_host import SyncHost

if TYPE_CHECKING:
    from net.feed.book_sync import BookSync


class UnitLearning:
    """One feed's."""

    def __init__(self, engine: Engine, sync: BookSync, host: SyncHost) -> None:
        self._engine = engine
        self._sync = sync
        self._feed = sync.feed
        self._host = host

    def takes(self, frame: bytes, now_ns: int) -> bool:
        """Whether a frame that did not fit does so now: other units were learned.

        A book that was shown is withdrawn; the frame is the first of those for the next one.
        """
        stage = Stage(L.FRAME_LEVELS_MAX)
        self._engine.stage(self._feed, frame, stage, is_frame=True)
        return self.fitted(stage, now_ns) == S.APPLIED

    def fitted(self, stage: Stage, now_ns: int) -> int:
        """Stage again what was staged in other units, or needs others: the status."""
        self.refreshed(stage)
        units = self._engine.units_for(self._feed, stage) if stage.status in S.UNFIT else None
        if units is not None:
            self._change(units, "a price or a quantity that needs another unit", now_ns)
            self._host.ask_tick_size(self._sync)
            self._engine.stage_again(self._feed, stage)
        if not stage.is_frame:  # the kernel counts a frame's
            self._sync.counters.dropped_levels += int(stage.words[L.STAGE_DROPPED])
        return stage.status

    def refreshed(self, stage: Stage) -> int:
        """Stage again what was staged in other units: the status."""
        if stage.epoch != self._engine.units_epoch(self._feed):
            self._engine.stage_again(self._feed, stage)
        return stage.status

    def declared(self, tick_size: str, now_ns: int) -> None:
        """The venue declares this tick now: its next prices may be as fine."""
        self._host.note(self._sync, FeedEvent.TICK_DECLARED, tick_size=tick_size)
        units = self._engine.units(self._feed).with_price(decimal_unit(tick_size))
        if self._engine.can_count_in(self._feed, units):
            self._change(units, "the venue declares a finer tick", now_ns)

    def _change(self, units: Units, reason: str, now_ns: int) -> None:
        sync = self._sync
        if sync.state in (L.LIVE, L.STALE):
            sync.break_off(reason, now_ns)
        self._engine.set_units(self._feed, units, self._host.wall_ns())
        sync.counters.units_learned += 1
        self._host.note(sync, FeedEvent.UNITS_LEARNED, reason=reason, **units.texts)
