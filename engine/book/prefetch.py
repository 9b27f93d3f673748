"""What a feed's next frame will touch, brought near the CPU: nothing is read for its value.

Between two frames of a quiet market the lines of its book go cold: the caches are shared with
whatever else the host runs.
Runs on: the engine thread.
"""

from __future__ import annotations

from engine.book.frame import feed_at, view_handoff
from engine.book.merge import ask_for_next_slot
from engine.book.side import bitmap_at, lots_at, side_at, window_slots
from engine.compiling.atomics import Words, prefetch
from engine.compiling.jit import inner
from engine.layout import layout as L
from engine.sharing import meter_layout as M
from engine.sharing.meter_layout import view_meters

NEAR_SLOTS = 64
"""Of a ladder, from the best price on: where most of a frame's levels are."""


@inner
def _prefetch_words(words: Words, first: int, count: int) -> None:
    for at in range(first, first + count, L.CACHE_LINE_WORDS):
        prefetch(words, at)


@inner
def _prefetch_side(arena: Words, side: int) -> None:
    slots = window_slots(arena, side)
    _prefetch_words(arena, side, L.SIDE_SUMMARY_AT)
    best = arena[side + L.SIDE_BEST]
    if best == L.NO_KEY:
        return
    slot = best & (slots - 1)
    first = max(slot - NEAR_SLOTS, 0)
    _prefetch_words(arena, lots_at(side, slots) + first, slot - first + 1)
    prefetch(arena, bitmap_at(side, slots) + (slot >> 6))
    prefetch(arena, side + L.SIDE_SUMMARY_AT + (slot >> 9))


@inner
def prefetch_feed(arena: Words, index: int) -> None:
    """Ask for the lines that a diff of this feed and its publication begin with."""
    feed = feed_at(arena, index)
    _prefetch_words(arena, feed, L.FEED_BOOKS_AT)
    for is_asks in range(2):
        side = side_at(arena, feed, arena[feed + L.FEED_ACTIVE_BOOK], is_asks)
        _prefetch_side(arena, side)
    instrument = arena[feed + L.FEED_INSTRUMENT]
    _prefetch_words(arena, instrument, L.INSTRUMENT_WORDS)
    ring, sequence = (
        arena[instrument + L.INSTRUMENT_RING],
        arena[instrument + L.INSTRUMENT_SEQUENCE],
    )
    ask_for_next_slot(arena, instrument, view_handoff(arena), ring, sequence + 1)
    meters = view_meters(arena)
    _prefetch_words(meters, arena[feed + L.FEED_METERS], M.FEED_SIDES_AT)
