"""One side of one venue's book: a circular window of lots by price, and a sorted far store.

Everything is in *keys*: price in ticks times the side's sign, so the best level of either side has
the largest key and bids and asks are the same code. A window of `slots` ticks covers the keys
[low, low + slots); a key's slot is `key & (slots - 1)`, so moving the window moves no data. A
three-level 64-ary bitmap finds the next occupied slot in a few instructions.

    far store, sorted           window
    | worst .. better |low ............ best ...... low + slots|
                                         `- 3/4 up when the window is placed

Levels worse than the window live in the far store, and none is ever better than the window: a
better key slides it up (evicting its worst levels), a best that sinks into the lowest quarter
slides it down (fetching levels back). So nothing is dropped while the price travels. The far store
is bounded: when it is full its worst quarter goes, is counted, and the *horizon* rises: below the
horizon the book is known only in part, and whoever reads that deep is told so.
Runs on: the engine thread. Called by: engine.feed and engine.merge.
"""

from __future__ import annotations

from engine import layout as L
from engine.atomics import Words, int64, leading_zeros, move_words, trailing_zeros, uint64
from engine.jit import inner

_ONE = uint64(1)
_TWO = uint64(2)
_ALL = uint64(0xFFFFFFFFFFFFFFFF)


@inner
def side_at(arena: Words, feed: int, book: int, is_asks: int) -> int:
    """The first word of a side."""
    return feed + L.FEED_BOOKS_AT + (2 * book + is_asks) * arena[L.ENGINE_SIDE_WORDS]


@inner
def _lots_at(side: int, slots: int) -> int:
    return side + L.SIDE_BITMAP_0_AT + (slots >> 6)


@inner
def _far_keys_at(side: int, slots: int) -> int:
    return _lots_at(side, slots) + slots


@inner
def _mark(arena: Words, side: int, slot: int) -> None:
    word = slot >> 6
    group = word >> 6
    arena[side + L.SIDE_BITMAP_0_AT + word] |= int64(_ONE << uint64(slot & 63))
    arena[side + L.SIDE_BITMAP_1_AT + group] |= int64(_ONE << uint64(word & 63))
    arena[side + L.SIDE_BITMAP_2_AT] |= int64(_ONE << uint64(group))


@inner
def _unmark(arena: Words, side: int, slot: int) -> None:
    word = slot >> 6
    group = word >> 6
    at = side + L.SIDE_BITMAP_0_AT + word
    arena[at] &= ~int64(_ONE << uint64(slot & 63))
    if arena[at] != 0:
        return
    at = side + L.SIDE_BITMAP_1_AT + group
    arena[at] &= ~int64(_ONE << uint64(word & 63))
    if arena[at] == 0:
        arena[side + L.SIDE_BITMAP_2_AT] &= ~int64(_ONE << uint64(group))


@inner
def _highest_to(word: int, bit: int) -> int:
    """The highest set bit of a word at or below `bit`, or -1."""
    masked = uint64(word) & ((_TWO << uint64(bit)) - _ONE)
    return 63 - leading_zeros(masked)


@inner
def _lowest_from(word: int, bit: int) -> int:
    """The lowest set bit of a word at or above `bit`; 64 if none."""
    return trailing_zeros(uint64(word) & (_ALL << uint64(bit)))


@inner
def _slot_to(arena: Words, side: int, slot: int) -> int:
    """The highest occupied slot at or below `slot`, or -1."""
    word = slot >> 6
    bit = _highest_to(arena[side + L.SIDE_BITMAP_0_AT + word], slot & 63)
    if bit >= 0:
        return (word << 6) | bit
    group = word >> 6
    bit = -1
    if word & 63 > 0:
        bit = _highest_to(arena[side + L.SIDE_BITMAP_1_AT + group], (word & 63) - 1)
    if bit < 0:
        if group == 0:
            return -1
        group = _highest_to(arena[side + L.SIDE_BITMAP_2_AT], group - 1)
        if group < 0:
            return -1
        bit = _highest_to(arena[side + L.SIDE_BITMAP_1_AT + group], 63)
    word = (group << 6) | bit
    return (word << 6) | _highest_to(arena[side + L.SIDE_BITMAP_0_AT + word], 63)


@inner
def _slot_from(arena: Words, side: int, slot: int) -> int:
    """The lowest occupied slot at or above `slot`, or -1."""
    word = slot >> 6
    bit = _lowest_from(arena[side + L.SIDE_BITMAP_0_AT + word], slot & 63)
    if bit < 64:
        return (word << 6) | bit
    group = word >> 6
    bit = 64
    if word & 63 < 63:
        bit = _lowest_from(arena[side + L.SIDE_BITMAP_1_AT + group], (word & 63) + 1)
    if bit == 64:
        if group == 63:
            return -1
        group = _lowest_from(arena[side + L.SIDE_BITMAP_2_AT], group + 1)
        if group == 64:
            return -1
        bit = _lowest_from(arena[side + L.SIDE_BITMAP_1_AT + group], 0)
    word = (group << 6) | bit
    return (word << 6) | _lowest_from(arena[side + L.SIDE_BITMAP_0_AT + word], 0)


@inner
def next_worse(arena: Words, side: int, slots: int, key: int) -> int:
    """The best occupied window key below `key`, or NO_KEY."""
    low = arena[side + L.SIDE_WINDOW_LOW]
    if key <= low or arena[side + L.SIDE_WINDOW_LEVELS] == 0:
        return L.NO_KEY
    mask = slots - 1
    slot = _slot_to(arena, side, (key - 1) & mask)
    if slot < 0:
        slot = _slot_to(arena, side, mask)
    found = low + ((slot - low) & mask)
    return found if slot >= 0 and found < key else L.NO_KEY


@inner
def _worst_from(arena: Words, side: int, slots: int) -> int:
    """The worst occupied window key, or NO_KEY."""
    low = arena[side + L.SIDE_WINDOW_LOW]
    if arena[side + L.SIDE_WINDOW_LEVELS] == 0:
        return L.NO_KEY
    mask = slots - 1
    slot = _slot_from(arena, side, low & mask)
    if slot < 0:
        slot = _slot_from(arena, side, 0)
    return low + ((slot - low) & mask)


@inner
def _put(arena: Words, side: int, slots: int, key: int, lots: int) -> None:
    """Fill a slot that is empty and inside the window."""
    slot = key & (slots - 1)
    arena[_lots_at(side, slots) + slot] = lots
    arena[side + L.SIDE_WINDOW_LEVELS] += 1
    _mark(arena, side, slot)


@inner
def _take(arena: Words, side: int, slots: int, key: int) -> int:
    """Empty an occupied slot; what it held."""
    slot = key & (slots - 1)
    at = _lots_at(side, slots) + slot
    lots = arena[at]
    arena[at] = 0
    arena[side + L.SIDE_WINDOW_LEVELS] -= 1
    _unmark(arena, side, slot)
    return lots


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
def _far_shift(arena: Words, side: int, slots: int, place: int) -> None:
    """Make a gap at `place` by moving the better far entries up by one."""
    count = arena[side + L.SIDE_FAR_LEVELS] - place
    keys = _far_keys_at(side, slots) + place
    lots = keys + arena[L.ENGINE_FAR_MAX]
    move_words(arena, keys + 1, keys, count)
    move_words(arena, lots + 1, lots, count)


@inner
def _far_compact(arena: Words, side: int, slots: int, start: int) -> None:
    """Close the gaps of deleted entries, and forget the first `start` entries."""
    keys = _far_keys_at(side, slots)
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
def _far_make_room(arena: Words, side: int, slots: int) -> None:
    """Close the gaps of a full far store; without any, drop its worst quarter, counted.

    The horizon rises over what is dropped.
    """
    far_max = arena[L.ENGINE_FAR_MAX]
    if arena[side + L.SIDE_FAR_DELETED] > 0:
        _far_compact(arena, side, slots, 0)
        return
    dropped = max(far_max >> 2, 1)
    last_dropped = arena[_far_keys_at(side, slots) + dropped - 1]
    arena[side + L.SIDE_HORIZON] = max(arena[side + L.SIDE_HORIZON], last_dropped)
    arena[side + L.SIDE_FAR_DROPPED] += dropped
    arena[side + L.SIDE_TOP_IS_STALE] = 1
    _far_compact(arena, side, slots, dropped)


@inner
def _far_trim(arena: Words, side: int, slots: int) -> None:
    """Let the far store end with a level that exists, so that its best one is its last one."""
    lots = _far_keys_at(side, slots) + arena[L.ENGINE_FAR_MAX]
    count = arena[side + L.SIDE_FAR_LEVELS]
    while count > 0 and arena[lots + count - 1] == 0:
        count -= 1
        arena[side + L.SIDE_FAR_DELETED] -= 1
    arena[side + L.SIDE_FAR_LEVELS] = count


@inner
def _far_set(arena: Words, side: int, slots: int, key: int, lots: int) -> bool:
    """Set or, with zero lots, delete a level worse than the window; whether anything changed.

    A deleted entry keeps its place with zero lots: prices come back, and nothing has to move.
    """
    keys = _far_keys_at(side, slots)
    far_max = arena[L.ENGINE_FAR_MAX]
    count = arena[side + L.SIDE_FAR_LEVELS]
    place = _far_find(arena, keys, count, key)
    if place < count and arena[keys + place] == key:
        at = keys + far_max + place
        before = arena[at]
        arena[at] = lots
        arena[side + L.SIDE_FAR_DELETED] += (1 if lots == 0 else 0) - (1 if before == 0 else 0)
        if lots == 0 and place == count - 1:
            _far_trim(arena, side, slots)
        return before != lots
    if lots == 0:
        return False
    if count == far_max:
        _far_make_room(arena, side, slots)
        count = arena[side + L.SIDE_FAR_LEVELS]
        place = _far_find(arena, keys, count, key)
    _far_shift(arena, side, slots, place)
    arena[keys + place] = key
    arena[keys + far_max + place] = lots
    arena[side + L.SIDE_FAR_LEVELS] = count + 1
    return True


@inner
def _slide_to(arena: Words, side: int, slots: int, low: int) -> None:
    """Move the window: evict what falls below it, fetch from the far store what it now covers.

    The caller has made sure that no level is at or above low + slots.
    """
    arena[side + L.SIDE_SLIDES] += 1
    far_max = arena[L.ENGINE_FAR_MAX]
    keys = _far_keys_at(side, slots)
    key = _worst_from(arena, side, slots)
    while key != L.NO_KEY and key < low:
        lots = _take(arena, side, slots, key)
        if arena[side + L.SIDE_FAR_LEVELS] == far_max:
            _far_make_room(arena, side, slots)
        count = arena[side + L.SIDE_FAR_LEVELS]
        arena[keys + count] = key
        arena[keys + far_max + count] = lots
        arena[side + L.SIDE_FAR_LEVELS] = count + 1
        key = _worst_from(arena, side, slots)
    arena[side + L.SIDE_WINDOW_LOW] = low
    count = arena[side + L.SIDE_FAR_LEVELS]
    while count > 0 and arena[keys + count - 1] >= low:
        count -= 1
        lots = arena[keys + far_max + count]
        if lots > 0:
            _put(arena, side, slots, arena[keys + count], lots)
        else:
            arena[side + L.SIDE_FAR_DELETED] -= 1
    arena[side + L.SIDE_FAR_LEVELS] = count
    _far_trim(arena, side, slots)


@inner
def _placed_low(key: int, slots: int) -> int:
    """Where a window starts that has `key` about three quarters up.

    A multiple of 64, so that a bitmap word never holds both ends of the window.
    """
    below = (((slots - 64) >> 2) * 3) & ~63
    return (key & ~63) - below


@inner
def place_window(arena: Words, side: int, slots: int, best_key: int) -> None:
    """Put the empty window of an empty side where a book with this best key wants it."""
    arena[side + L.SIDE_WINDOW_LOW] = _placed_low(best_key, slots)


@inner
def _after_best_left(arena: Words, side: int, slots: int, key: int) -> None:
    """Find the best level again after the one at `key` was deleted; follow it down if need be."""
    best = next_worse(arena, side, slots, key)
    far_levels = arena[side + L.SIDE_FAR_LEVELS]
    if far_levels > 0:
        if best == L.NO_KEY:
            best = arena[_far_keys_at(side, slots) + far_levels - 1]
            _slide_to(arena, side, slots, _placed_low(best, slots))
        elif best < arena[side + L.SIDE_WINDOW_LOW] + (slots >> 2):
            low = _placed_low(best, slots)
            if low < arena[side + L.SIDE_WINDOW_LOW]:
                _slide_to(arena, side, slots, low)
    arena[side + L.SIDE_BEST] = best


@inner
def _turn_bit(arena: Words, at: int, bit: int, is_set: bool) -> int:
    """Set or clear one bit of a word without a branch; the word."""
    mask = int64(_ONE << uint64(bit & 63))
    word = (arena[at] & ~mask) | (mask if is_set else 0)
    arena[at] = word
    return word


@inner
def set_levels(
    arena: Words, side: int, slots: int, sign: int, depth: int, stage: Words, row: int, count: int
) -> int:
    """Set the levels of `count` staged rows; how many were deletes of levels we do not hold.

    The common case, a price inside the window that is worse than the best, has no branch that
    depends on whether it sets, changes or deletes: those would be mispredicted half the time.
    """
    unknown = 0
    lots_at = _lots_at(side, slots)
    top_levels = arena[side + L.SIDE_TOP_LEVELS]
    worst_top = L.NO_KEY
    if top_levels >= depth:
        worst_top = arena[side + L.SIDE_TOP_KEYS_AT + depth - 1]
    touched = 0
    bitmap_0 = side + L.SIDE_BITMAP_0_AT
    bitmap_1 = side + L.SIDE_BITMAP_1_AT
    bitmap_2 = side + L.SIDE_BITMAP_2_AT
    held = 0
    for _ in range(count):
        key = sign * stage[row + L.ROW_PRICE]
        lots = stage[row + L.ROW_LOTS]
        row += L.ROW_WORDS
        offset = key - arena[side + L.SIDE_WINDOW_LOW]
        if 0 <= offset < slots and key < arena[side + L.SIDE_BEST]:
            slot = key & (slots - 1)
            before = arena[lots_at + slot]
            arena[lots_at + slot] = lots
            is_held = 1 if lots != 0 else 0
            was_held = 1 if before != 0 else 0
            held += is_held - was_held
            unknown += (1 - is_held) & (1 - was_held)
            touched |= (1 if key >= worst_top else 0) & (1 if before != lots else 0)
            word = _turn_bit(arena, bitmap_0 + (slot >> 6), slot, lots != 0)
            group = _turn_bit(arena, bitmap_1 + (slot >> 12), slot >> 6, word != 0)
            _turn_bit(arena, bitmap_2, slot >> 12, group != 0)
        else:
            # What follows a lost best level asks how many the window still has.
            arena[side + L.SIDE_WINDOW_LEVELS] += held
            held = 0
            if set_level(arena, side, slots, key, lots):
                touched |= 1 if key >= worst_top else 0
            else:
                unknown += 1 if lots == 0 else 0
    arena[side + L.SIDE_WINDOW_LEVELS] += held
    arena[side + L.SIDE_TOP_IS_STALE] |= touched
    return unknown


@inner
def set_level(arena: Words, side: int, slots: int, key: int, lots: int) -> bool:
    """Set the lots at a key, zero deletes; whether the book changed: an unknown delete does not."""
    low = arena[side + L.SIDE_WINDOW_LOW]
    offset = key - low
    if 0 <= offset < slots:
        slot = key & (slots - 1)
        at = _lots_at(side, slots) + slot
        before = arena[at]
        if lots == before:
            return False
        if before == 0:
            _put(arena, side, slots, key, lots)
            if key > arena[side + L.SIDE_BEST]:
                arena[side + L.SIDE_BEST] = key
        elif lots == 0:
            _take(arena, side, slots, key)
            if key == arena[side + L.SIDE_BEST]:
                _after_best_left(arena, side, slots, key)
        else:
            arena[at] = lots
        return True
    is_empty = arena[side + L.SIDE_BEST] == L.NO_KEY
    if offset < 0 and not is_empty:
        return _far_set(arena, side, slots, key, lots)
    if lots == 0:
        return False
    if is_empty:
        place_window(arena, side, slots, key)
    else:
        _slide_to(arena, side, slots, _placed_low(key, slots))
    _put(arena, side, slots, key, lots)
    arena[side + L.SIDE_BEST] = key
    return True


@inner
def clear_side(arena: Words, side: int, slots: int) -> None:
    """Forget every level; only words that hold something are written."""
    key = _worst_from(arena, side, slots)
    while key != L.NO_KEY:
        _take(arena, side, slots, key)
        key = _worst_from(arena, side, slots)
    arena[side + L.SIDE_FAR_LEVELS] = 0
    arena[side + L.SIDE_FAR_DELETED] = 0
    arena[side + L.SIDE_BEST] = L.NO_KEY
    arena[side + L.SIDE_HORIZON] = L.NO_KEY
    arena[side + L.SIDE_TOP_LEVELS] = 0
    arena[side + L.SIDE_TOP_IS_STALE] = 1


@inner
def lots_at_key(arena: Words, side: int, slots: int, key: int) -> int:
    """The lots at a key, wherever it is kept; 0 if there is no such level."""
    offset = key - arena[side + L.SIDE_WINDOW_LOW]
    if 0 <= offset < slots:
        return arena[_lots_at(side, slots) + (key & (slots - 1))]
    keys = _far_keys_at(side, slots)
    count = arena[side + L.SIDE_FAR_LEVELS]
    place = _far_find(arena, keys, count, key)
    if place < count and arena[keys + place] == key:
        return arena[keys + arena[L.ENGINE_FAR_MAX] + place]
    return 0


@inner
def read_top(arena: Words, side: int, slots: int, depth: int) -> None:
    """Write the best `depth` levels, best first, to the side's top arrays."""
    count = 0
    key = arena[side + L.SIDE_BEST]
    lots_at = _lots_at(side, slots)
    keys_to = side + L.SIDE_TOP_KEYS_AT
    lots_to = side + L.SIDE_TOP_LOTS_AT
    while key != L.NO_KEY and count < depth:
        # All levels of one bitmap word, best first, before the next word is looked for.
        slot = key & (slots - 1)
        first_key = key - (slot & 63)
        word = arena[side + L.SIDE_BITMAP_0_AT + (slot >> 6)]
        bit = slot & 63
        while bit >= 0 and count < depth:
            key = first_key + bit
            arena[keys_to + count] = key
            arena[lots_to + count] = arena[lots_at + (key & (slots - 1))]
            count += 1
            bit = _highest_to(word, bit - 1) if bit > 0 else -1
        key = next_worse(arena, side, slots, first_key)
    far = arena[side + L.SIDE_FAR_LEVELS] - 1
    keys = _far_keys_at(side, slots)
    far_lots = keys + arena[L.ENGINE_FAR_MAX]
    while far >= 0 and count < depth:
        if arena[far_lots + far] > 0:
            arena[keys_to + count] = arena[keys + far]
            arena[lots_to + count] = arena[far_lots + far]
            count += 1
        far -= 1
    arena[side + L.SIDE_TOP_LEVELS] = count
    arena[side + L.SIDE_TOP_IS_STALE] = 0
