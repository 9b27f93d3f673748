"""What a feed's next frame will touch, brought near the CPU: nothing is read for its value.

Between two frames of a quiet market the lines of its book go cold: the caches are shared with
whatever else the host runs, and with all other books. One of few books is asked for now and then,
whole; one of many when its frame has come, as far as most frames go.
Runs on: the engine thread.
"""

from __future__ import annotations

from engine.book.merge import ask_for_next_slot
from engine.book.side import bitmap_at, lots_at, side_at, window_slots
from engine.compiling.atomics import Words, prefetch, view_words
from engine.compiling.jit import inner
from engine.layout import layout as L
from engine.sharing import meter_layout as M
from engine.sharing.meter_layout import view_meters

NEAR_SLOTS = 64
"""Of a ladder, from the best price on: where most of a frame's levels are."""


FEW_FEEDS = 16
"""So many books' lines stay in a core's own cache, in half a megabyte."""


@inner
def _prefetch_words(words: Words, first: int, count: int) -> None:
    for at in range(first, first + count, L.CACHE_LINE_WORDS):
        prefetch(words, at)


@inner
def _prefetch_window(arena: Words, side: int) -> None:
    """Ask for the part of a side's window that is next to its best price."""
    slots = window_slots(arena, side)
    best = arena[side + L.SIDE_BEST]
    if best == L.NO_KEY:
        return
    slot = best & (slots - 1)
    first = max(slot - NEAR_SLOTS, 0)
    _prefetch_words(arena, lots_at(side, slots) + first, slot - first + 1)
    prefetch(arena, bitmap_at(side, slots) + (slot >> 6))
    prefetch(arena, side + L.SIDE_SUMMARY_AT + (slot >> 9))


@inner
def _prefetch_slot(arena: Words, instrument: int) -> None:
    ring, sequence = (
        arena[instrument + L.INSTRUMENT_RING],
        arena[instrument + L.INSTRUMENT_SEQUENCE],
    )
    handoff = view_words(arena[L.ENGINE_HANDOFF_ADDRESS], arena[L.ENGINE_HANDOFF_WORDS])
    ask_for_next_slot(arena, instrument, handoff, ring, sequence + 1)


@inner
def prefetch_other(arena: Words, index: int, feed: int) -> None:
    """Ask for a feed's lines where the last frame was another's, of many: they come while the
    frame is read."""
    if arena[L.ENGINE_FEEDS] <= FEW_FEEDS or index == arena[L.ENGINE_LAST_FEED]:
        return
    _prefetch_words(arena, feed, L.FEED_PRICE_SCALE_AT)
    instrument = arena[feed + L.FEED_INSTRUMENT]
    levels = arena[instrument + L.INSTRUMENT_DEPTH]
    for is_asks in range(2):
        side = side_at(arena, feed, arena[feed + L.FEED_ACTIVE_BOOK], is_asks)
        _prefetch_words(arena, side, L.SIDE_TOP_KEYS_AT + levels)
        _prefetch_words(arena, side + L.SIDE_TOP_LOTS_AT, levels)
        _prefetch_window(arena, side)
        merged = instrument + L.INSTRUMENT_MERGED_AT + is_asks * L.MERGED_SIDE_WORDS
        _prefetch_words(arena, merged, levels * L.LEVEL_WORDS)
    _prefetch_words(arena, instrument, L.INSTRUMENT_HEADS_AT + L.HEAD_WORDS)
    _prefetch_slot(arena, instrument)
    prefetch(view_meters(arena), arena[feed + L.FEED_METERS])
    prefetch(view_meters(arena), arena[instrument + L.INSTRUMENT_METERS])


@inner
def prefetch_feed(arena: Words, feed: int) -> None:
    """Ask for all lines that a diff of this feed and its publication may begin with."""
    _prefetch_words(arena, feed, L.FEED_BOOKS_AT)
    for is_asks in range(2):
        side = side_at(arena, feed, arena[feed + L.FEED_ACTIVE_BOOK], is_asks)
        _prefetch_words(arena, side, L.SIDE_SUMMARY_AT)
        _prefetch_window(arena, side)
    instrument = arena[feed + L.FEED_INSTRUMENT]
    _prefetch_words(arena, instrument, L.INSTRUMENT_WORDS)
    _prefetch_slot(arena, instrument)
    meters = view_meters(arena)
    _prefetch_words(meters, arena[feed + L.FEED_METERS], M.FEED_SIDES_AT)
