"""One side of one venue's book: a circular window of lots by price, and a sorted far store.

Everything is in *keys*: price in ticks times the side's sign, so the best level of either side has
the largest key and bids and asks are the same code. A window of `slots` ticks covers the keys
[low, low + slots); a key's slot is `key & (slots - 1)`, so moving the window moves no data. A
bitmap has a bit a slot, and a summary a byte a bitmap word: setting a level writes each of them
once and reads one word, and the next occupied slot is found 512 slots a step.

    far store, sorted           window
    | worst .. better |low ............ best ...... low + slots|
                                         `- 3/4 up when the window is placed

Levels worse than the window live in the far store, and none is ever better than the window: a
better key slides it up (evicting its worst levels), a best that sinks into the lowest quarter
slides it down (fetching levels back). So nothing is dropped while the price travels. The far store
is bounded: when it is full its worst quarter goes, is counted, and the *horizon* rises: below the
horizon the book is known only in part, and whoever reads that deep is told so.
Runs on: the engine thread.
"""

from __future__ import annotations

from engine.book.far_levels import far_lots, far_make_room, far_set, far_trim
from engine.book.side import bitmap_at, far_keys_at, lots_at, summary_words, window_slots
from engine.compiling.atomics import (
    Words,
    int64,
    leading_zeros,
    store_byte,
    trailing_zeros,
    uint64,
)
from engine.compiling.jit import inner
from engine.layout import layout as L
from engine.sharing import meter_layout as M
from engine.sharing.meter_layout import view_meters

WINDOW_SLOTS_LEAST = 1 << 13
"""A quarter of it is how far a price may travel before the window follows: 2,048 ticks."""
SLOTS_PER_LEVEL = 128
"""A window of at most so many ticks a level: each may have a kilobyte. Half of them costs 40 ns a
frame more on the recorded BTCUSDT, whose levels are closer than those of other markets."""

_ONE = uint64(1)
_TWO = uint64(2)
_ALL = uint64(0xFFFFFFFFFFFFFFFF)


@inner
def _turn_bit(arena: Words, side: int, slots: int, slot: int, is_set: int) -> int:
    """Mark a slot as occupied (1) or empty (0), without a branch; what it was."""
    word = slot >> 6
    bit = slot & 63
    at = bitmap_at(side, slots) + word
    before = uint64(arena[at])
    after = (before & ~(_ONE << uint64(bit))) | (uint64(is_set) << uint64(bit))
    arena[at] = int64(after)
    store_byte(arena, 8 * (side + L.SIDE_SUMMARY_AT) + word, 1 if after != uint64(0) else 0)
    return int64((before >> uint64(bit)) & _ONE)


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
def _word_to(arena: Words, side: int, word: int) -> int:
    """The highest bitmap word at or below `word` that has a bit set, or -1."""
    group = word >> 3
    bit = _highest_to(arena[side + L.SIDE_SUMMARY_AT + group], 8 * (word & 7) + 7)
    while bit < 0 and group > 0:
        group -= 1
        bit = _highest_to(arena[side + L.SIDE_SUMMARY_AT + group], 63)
    return 8 * group + (bit >> 3) if bit >= 0 else -1


@inner
def _word_from(arena: Words, side: int, slots: int, word: int) -> int:
    """The lowest bitmap word at or above `word` that has a bit set, or -1."""
    group = word >> 3
    groups = summary_words(slots)
    bit = _lowest_from(arena[side + L.SIDE_SUMMARY_AT + group], 8 * (word & 7))
    while bit == 64 and group + 1 < groups:
        group += 1
        bit = _lowest_from(arena[side + L.SIDE_SUMMARY_AT + group], 0)
    return 8 * group + (bit >> 3) if bit < 64 else -1


@inner
def _slot_to(arena: Words, side: int, slots: int, slot: int) -> int:
    """The highest occupied slot at or below `slot`, or -1."""
    bitmap = bitmap_at(side, slots)
    word = slot >> 6
    bit = _highest_to(arena[bitmap + word], slot & 63)
    if bit < 0:
        word = _word_to(arena, side, word - 1) if word > 0 else -1
        if word < 0:
            return -1
        bit = _highest_to(arena[bitmap + word], 63)
    return (word << 6) | bit


@inner
def _slot_from(arena: Words, side: int, slots: int, slot: int) -> int:
    """The lowest occupied slot at or above `slot`, or -1."""
    bitmap = bitmap_at(side, slots)
    word = slot >> 6
    bit = _lowest_from(arena[bitmap + word], slot & 63)
    if bit == 64:
        is_last = word + 1 == slots >> 6
        word = -1 if is_last else _word_from(arena, side, slots, word + 1)
        if word < 0:
            return -1
        bit = _lowest_from(arena[bitmap + word], 0)
    return (word << 6) | bit


@inner
def next_worse(arena: Words, side: int, slots: int, key: int) -> int:
    """The best occupied window key below `key`, or NO_KEY."""
    low = arena[side + L.SIDE_WINDOW_LOW]
    if key <= low or arena[side + L.SIDE_WINDOW_LEVELS] == 0:
        return L.NO_KEY
    mask = slots - 1
    slot = _slot_to(arena, side, slots, (key - 1) & mask)
    if slot < 0:
        slot = _slot_to(arena, side, slots, mask)
    found = low + ((slot - low) & mask)
    return found if slot >= 0 and found < key else L.NO_KEY


@inner
def _next_better(arena: Words, side: int, slots: int, key: int) -> int:
    """The worst occupied window key at or above `key`, or NO_KEY."""
    low = arena[side + L.SIDE_WINDOW_LOW]
    if key >= low + slots or arena[side + L.SIDE_WINDOW_LEVELS] == 0:
        return L.NO_KEY
    mask = slots - 1
    slot = _slot_from(arena, side, slots, key & mask)
    if slot < 0:
        slot = _slot_from(arena, side, slots, 0)
    found = low + ((slot - low) & mask)
    return found if slot >= 0 and found >= key else L.NO_KEY


@inner
def _put(arena: Words, side: int, slots: int, key: int, lots: int) -> None:
    """Fill a slot that is empty and inside the window."""
    assert 0 <= key - arena[side + L.SIDE_WINDOW_LOW] < slots, "a key outside the window"
    assert lots > 0, "an empty level"
    slot = key & (slots - 1)
    arena[lots_at(side, slots) + slot] = lots
    arena[side + L.SIDE_WINDOW_LEVELS] += 1
    _turn_bit(arena, side, slots, slot, 1)


@inner
def _take(arena: Words, side: int, slots: int, key: int) -> int:
    """Empty an occupied slot; what it held."""
    slot = key & (slots - 1)
    at = lots_at(side, slots) + slot
    lots = arena[at]
    assert lots > 0, "the level is not there"
    arena[at] = 0
    arena[side + L.SIDE_WINDOW_LEVELS] -= 1
    _turn_bit(arena, side, slots, slot, 0)
    return lots


@inner
def _slide_to(arena: Words, side: int, slots: int, low: int) -> None:
    """Move the window: evict what falls below it, fetch from the far store what it now covers.

    The caller has made sure that no level is at or above low + slots.
    """
    assert low & 63 == 0, "a bitmap word would hold both ends of the window"
    view_meters(arena)[arena[side + L.SIDE_METERS] + M.SIDE_SLIDES] += 1
    far_max = arena[L.ENGINE_FAR_MAX]
    keys = far_keys_at(arena, side)
    key = _next_better(arena, side, slots, arena[side + L.SIDE_WINDOW_LOW])
    while key != L.NO_KEY and key < low:
        lots = _take(arena, side, slots, key)
        if arena[side + L.SIDE_FAR_LEVELS] == far_max:
            far_make_room(arena, side)
        count = arena[side + L.SIDE_FAR_LEVELS]
        arena[keys + count] = key
        arena[keys + far_max + count] = lots
        arena[side + L.SIDE_FAR_LEVELS] = count + 1
        key = _next_better(arena, side, slots, key + 1)
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
    far_trim(arena, side)


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
def size_window(arena: Words, side: int, levels: int, is_cut: bool) -> int:
    """Give an empty side the window that a book of so many levels wants; its slots.

    Where the venue has cut the side nothing tells what lies behind, and the window is the largest.
    """
    most = arena[L.ENGINE_WINDOW_SLOTS]
    slots = most if is_cut else min(most, WINDOW_SLOTS_LEAST)
    while slots < most and slots < levels * SLOTS_PER_LEVEL:
        slots *= 2
    arena[side + L.SIDE_WINDOW_SLOTS] = slots
    return slots


@inner
def _after_best_left(arena: Words, side: int, slots: int, key: int) -> None:
    """Find the best level again after the one at `key` was deleted; follow it down if need be."""
    best = next_worse(arena, side, slots, key)
    far_levels = arena[side + L.SIDE_FAR_LEVELS]
    if far_levels > 0:
        if best == L.NO_KEY:
            best = arena[far_keys_at(arena, side) + far_levels - 1]
            _slide_to(arena, side, slots, _placed_low(best, slots))
        elif best < arena[side + L.SIDE_WINDOW_LOW] + (slots >> 2):
            low = _placed_low(best, slots)
            if low < arena[side + L.SIDE_WINDOW_LOW]:
                _slide_to(arena, side, slots, low)
    arena[side + L.SIDE_BEST] = best


@inner
def _settle_best(arena: Words, side: int, slots: int, key: int) -> None:
    """Take over as the best level the first one from `key` down: nothing better is occupied."""
    arena[side + L.SIDE_BEST] = key
    slot = key & (slots - 1)
    word = uint64(arena[bitmap_at(side, slots) + (slot >> 6)])
    if (word >> uint64(slot & 63)) & _ONE == uint64(0):
        _after_best_left(arena, side, slots, key)


@inner
def _set_run(
    arena: Words, side: int, slots: int, sign: int, stage: Words, row: int, stop: int
) -> tuple[int, int, int, int]:
    """Set staged levels up to the first one outside the window.

    Returns (its row, the best key touched, levels gained, deletes of levels that were not there).
    No branch depends on whether a level is set, changed or deleted, or on where the best is:
    those would be mispredicted half the time.
    """
    low = arena[side + L.SIDE_WINDOW_LOW]
    first_lots = lots_at(side, slots)
    touched = L.NO_KEY
    held = 0
    unknown = 0
    while row < stop:
        key = sign * stage[row + L.ROW_PRICE]
        lots = stage[row + L.ROW_LOTS]
        if uint64(key - low) >= uint64(slots):
            break
        slot = key & (slots - 1)
        is_held = 1 if lots != 0 else 0
        was_held = _turn_bit(arena, side, slots, slot, is_held)
        arena[first_lots + slot] = lots
        held += is_held - was_held
        unknown += (is_held | was_held) ^ 1
        touched = max(touched, key)
        row += L.ROW_WORDS
    return row, touched, held, unknown


@inner
def set_levels(
    arena: Words, side: int, slots: int, sign: int, depth: int, stage: Words, row: int, count: int
) -> int:
    """Set the levels of `count` staged rows; how many were deletes of levels we do not hold.

    The best level is looked for once a run, when all of its levels are set.
    """
    unknown = 0
    worst_top = L.NO_KEY
    if arena[side + L.SIDE_TOP_LEVELS] >= depth:
        worst_top = arena[side + L.SIDE_TOP_KEYS_AT + depth - 1]
    touched = L.NO_KEY
    stop = row + count * L.ROW_WORDS
    while row < stop:
        best = arena[side + L.SIDE_BEST]
        if best != L.NO_KEY:
            row, highest, held, strange = _set_run(arena, side, slots, sign, stage, row, stop)
            touched = max(touched, highest)
            unknown += strange
            arena[side + L.SIDE_WINDOW_LEVELS] += held
            _settle_best(arena, side, slots, max(best, highest))
        if row < stop:
            key = sign * stage[row + L.ROW_PRICE]
            lots = stage[row + L.ROW_LOTS]
            if not set_level(arena, side, slots, key, lots):
                unknown += 1 if lots == 0 else 0
            touched = max(touched, key)
            row += L.ROW_WORDS
    if touched >= worst_top and count > 0:
        arena[side + L.SIDE_TOP_IS_STALE] = 1
    has_levels = arena[side + L.SIDE_WINDOW_LEVELS] > 0
    assert has_levels == (arena[side + L.SIDE_BEST] != L.NO_KEY), "a best level and no level"
    return unknown


@inner
def set_level(arena: Words, side: int, slots: int, key: int, lots: int) -> bool:
    """Set the lots at a key, zero deletes; whether the book changed: an unknown delete does not."""
    low = arena[side + L.SIDE_WINDOW_LOW]
    offset = key - low
    if 0 <= offset < slots:
        slot = key & (slots - 1)
        at = lots_at(side, slots) + slot
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
        return far_set(arena, side, key, lots)
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
def level_lots(arena: Words, side: int, key: int) -> int:
    """The lots at a key; 0 where the side has no such level."""
    slots = window_slots(arena, side)
    offset = key - arena[side + L.SIDE_WINDOW_LOW]
    if arena[side + L.SIDE_BEST] == L.NO_KEY or offset >= slots:
        return 0
    if offset < 0:
        return far_lots(arena, side, key)
    return arena[lots_at(side, slots) + (key & (slots - 1))]


@inner
def worst_key(arena: Words, side: int, slots: int) -> int:
    """The key of the worst level, wherever it is kept; NO_KEY of an empty side."""
    keys = far_keys_at(arena, side)
    lots = keys + arena[L.ENGINE_FAR_MAX]
    for index in range(arena[side + L.SIDE_FAR_LEVELS]):
        if arena[lots + index] > 0:
            key: int = arena[keys + index]
            return key
    return _next_better(arena, side, slots, arena[side + L.SIDE_WINDOW_LOW])


@inner
def walk_level(arena: Words, side: int, key: int, far: int) -> tuple[int, int, int, int]:
    """One step of a walk over all levels, best first: (key, lots, the next step's two cursors).

    It begins with SIDE_BEST and SIDE_FAR_LEVELS; the key is NO_KEY where it has ended.
    """
    if key != L.NO_KEY:
        slots = window_slots(arena, side)
        lots = arena[lots_at(side, slots) + (key & (slots - 1))]
        return key, lots, next_worse(arena, side, slots, key), far
    keys = far_keys_at(arena, side)
    far_lots_at = keys + arena[L.ENGINE_FAR_MAX]
    while far > 0:
        far -= 1
        if arena[far_lots_at + far] > 0:
            return arena[keys + far], arena[far_lots_at + far], L.NO_KEY, far
    return L.NO_KEY, 0, L.NO_KEY, 0


@inner
def clear_side(arena: Words, side: int) -> None:
    """Forget every level; only words that hold something are written."""
    slots = window_slots(arena, side)
    key = _next_better(arena, side, slots, arena[side + L.SIDE_WINDOW_LOW])
    while key != L.NO_KEY:
        _take(arena, side, slots, key)
        key = _next_better(arena, side, slots, key + 1)
    assert arena[side + L.SIDE_WINDOW_LEVELS] == 0, "a level that the bitmap does not show"
    arena[side + L.SIDE_FAR_LEVELS] = 0
    arena[side + L.SIDE_FAR_DELETED] = 0
    arena[side + L.SIDE_BEST] = L.NO_KEY
    arena[side + L.SIDE_HORIZON] = L.NO_KEY
    arena[side + L.SIDE_TOP_LEVELS] = 0
    arena[side + L.SIDE_TOP_IS_STALE] = 1


@inner
def _worse_group(arena: Words, side: int, slots: int, group: int) -> int:
    """The next summary word with a level in it, towards worse prices; the caller knows of one."""
    groups = summary_words(slots)
    for _ in range(groups):
        group = group - 1 if group > 0 else groups - 1
        if arena[side + L.SIDE_SUMMARY_AT + group] != 0:
            break
    return group


@inner
def read_top(arena: Words, side: int, slots: int, depth: int) -> None:
    """Write the best `depth` levels, best first, to the side's top arrays.

    How many levels share a bitmap word is anybody's guess, so the next word is always looked up
    and taken without a branch once this one is used up.
    """
    bitmap = bitmap_at(side, slots)
    first_lots = lots_at(side, slots)
    low = arena[side + L.SIDE_WINDOW_LOW]
    mask = slots - 1
    keys_to = side + L.SIDE_TOP_KEYS_AT
    lots_to = side + L.SIDE_TOP_LOTS_AT
    count = min(arena[side + L.SIDE_WINDOW_LEVELS], depth)
    word = (arena[side + L.SIDE_BEST] & mask) >> 6
    group = word >> 3
    bits = uint64(arena[bitmap + word])
    ahead = uint64(arena[side + L.SIDE_SUMMARY_AT + group])
    ahead &= (_ONE << uint64(8 * (word & 7))) - _ONE
    for level in range(count):
        if bits | ahead == uint64(0):
            group = _worse_group(arena, side, slots, group)
            ahead = uint64(arena[side + L.SIDE_SUMMARY_AT + group])
        place = (63 - leading_zeros(ahead)) >> 3
        next_word = (group << 3) + place
        next_bits = uint64(arena[bitmap + next_word])
        rest = ahead & ((_ONE << uint64((8 * place) & 63)) - _ONE)
        is_used_up = bits == uint64(0)
        word = next_word if is_used_up else word
        ahead = rest if is_used_up else ahead
        bits = next_bits if is_used_up else bits
        bit = 63 - leading_zeros(bits)
        bits ^= _ONE << uint64(bit)
        slot = (word << 6) | bit
        arena[keys_to + level] = low + ((slot - low) & mask)
        arena[lots_to + level] = arena[first_lots + slot]
    far = arena[side + L.SIDE_FAR_LEVELS] - 1
    keys = far_keys_at(arena, side)
    far_lots = keys + arena[L.ENGINE_FAR_MAX]
    while far >= 0 and count < depth:
        if arena[far_lots + far] > 0:
            arena[keys_to + count] = arena[keys + far]
            arena[lots_to + count] = arena[far_lots + far]
            count += 1
        far -= 1
    assert 0 <= count <= L.DEPTH_MAX, "more levels than a top holds"
    arena[side + L.SIDE_TOP_LEVELS] = count
    arena[side + L.SIDE_TOP_IS_STALE] = 0
