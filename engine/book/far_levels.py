"""The far store: a side's levels beyond its window, sorted by key, the best one last.

Few updates come here (2 % of the recorded BTCUSDT), so a binary search will do. A deleted level
keeps its place with zero lots, because prices come back; the gaps are closed when room is needed.
Runs on: the engine thread.
"""

from __future__ import annotations

from engine.book.side import far_keys_at
from engine.compiling.atomics import Words, move_words
from engine.compiling.jit import inner
from engine.layout import layout as L
from engine.sharing import meter_layout as M
from engine.sharing.meter_layout import view_meters


@inner
def _far_find(arena: Words, keys: int, count: int, key: int) -> int:
    """How many far keys are smaller than `key`: its place in the far store.

    A binary search without a branch on the data, which would be mispredicted at every other step.
    """
    low = keys
    while count > 0:
        half = (count + 1) >> 1
        low += half if arena[low + half - 1] < key else 0
        count -= half
    return low - keys


@inner
def far_lots(arena: Words, side: int, key: int) -> int:
    """The lots of a level worse than the window; 0 where there is none."""
    keys = far_keys_at(arena, side)
    count = arena[side + L.SIDE_FAR_LEVELS]
    place = _far_find(arena, keys, count, key)
    if place < count and arena[keys + place] == key:
        return arena[keys + arena[L.ENGINE_FAR_MAX] + place]
    return 0


@inner
def _far_shift(arena: Words, side: int, place: int) -> None:
    """Make a gap at `place` by moving the better far entries up by one."""
    count = arena[side + L.SIDE_FAR_LEVELS] - place
    assert arena[side + L.SIDE_FAR_LEVELS] < arena[L.ENGINE_FAR_MAX], "the far store is full"
    assert place >= 0 and count >= 0, "a place outside the far store"
    keys = far_keys_at(arena, side) + place
    lots = keys + arena[L.ENGINE_FAR_MAX]
    move_words(arena, keys + 1, keys, count)
    move_words(arena, lots + 1, lots, count)


@inner
def _far_compact(arena: Words, side: int, start: int) -> None:
    """Close the gaps of deleted entries, and forget the first `start` entries."""
    keys = far_keys_at(arena, side)
    lots = keys + arena[L.ENGINE_FAR_MAX]
    kept = 0
    for index in range(start, arena[side + L.SIDE_FAR_LEVELS]):
        if arena[lots + index] > 0:
            arena[keys + kept] = arena[keys + index]
            arena[lots + kept] = arena[lots + index]
            kept += 1
    arena[side + L.SIDE_FAR_LEVELS] = kept
    arena[side + L.SIDE_FAR_DELETED] = 0


@inner
def far_make_room(arena: Words, side: int) -> None:
    """Close the gaps of a full far store; without any, drop its worst quarter, counted.

    The horizon rises over what is dropped.
    """
    far_max = arena[L.ENGINE_FAR_MAX]
    if arena[side + L.SIDE_FAR_DELETED] > 0:
        _far_compact(arena, side, 0)
        return
    dropped = max(far_max >> 2, 1)
    last_dropped = arena[far_keys_at(arena, side) + dropped - 1]
    arena[side + L.SIDE_HORIZON] = max(arena[side + L.SIDE_HORIZON], last_dropped)
    view_meters(arena)[arena[side + L.SIDE_METERS] + M.SIDE_FAR_DROPPED] += dropped
    arena[side + L.SIDE_TOP_IS_STALE] = 1
    _far_compact(arena, side, dropped)
    assert arena[side + L.SIDE_FAR_LEVELS] < far_max, "room was made"


@inner
def far_trim(arena: Words, side: int) -> None:
    """Let the far store end with a level that exists, so that its best one is its last one."""
    lots = far_keys_at(arena, side) + arena[L.ENGINE_FAR_MAX]
    count = arena[side + L.SIDE_FAR_LEVELS]
    while count > 0 and arena[lots + count - 1] == 0:
        count -= 1
        arena[side + L.SIDE_FAR_DELETED] -= 1
    assert 0 <= arena[side + L.SIDE_FAR_DELETED] <= count, "the deleted are miscounted"
    arena[side + L.SIDE_FAR_LEVELS] = count


@inner
def far_set(arena: Words, side: int, key: int, lots: int) -> bool:
    """Set or, with zero lots, delete a level worse than the window; whether anything changed.

    A deleted entry keeps its place with zero lots: prices come back, and nothing has to move.
    """
    keys = far_keys_at(arena, side)
    far_max = arena[L.ENGINE_FAR_MAX]
    count = arena[side + L.SIDE_FAR_LEVELS]
    place = _far_find(arena, keys, count, key)
    if place < count and arena[keys + place] == key:
        at = keys + far_max + place
        before = arena[at]
        arena[at] = lots
        arena[side + L.SIDE_FAR_DELETED] += (1 if lots == 0 else 0) - (1 if before == 0 else 0)
        if lots == 0 and place == count - 1:
            far_trim(arena, side)
        return before != lots
    if lots == 0:
        return False
    if count == far_max:
        far_make_room(arena, side)
        count = arena[side + L.SIDE_FAR_LEVELS]
        place = _far_find(arena, keys, count, key)
    _far_shift(arena, side, place)
    arena[keys + place] = key
    arena[keys + far_max + place] = lots
    arena[side + L.SIDE_FAR_LEVELS] = count + 1
    return True
