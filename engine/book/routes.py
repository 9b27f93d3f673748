"""Which instruments wait to be published, and whose a frame may be: many cost what one does.

*Touched* lists the instruments that frames have changed, in that order. *Routes* guess a frame's
feed: a table of feed numbers by a hash of the frame's first bytes and by one of its last, either of
which names the symbol in the forms that venues use. A guess is only that: the feed's template reads
every byte of the frame, or another feed is asked.
Runs on: the engine thread.
"""

from __future__ import annotations

from engine.compiling.atomics import Bytes, Words, int64, load_u64, multiply_wrapping, uint64
from engine.compiling.jit import inner
from engine.layout import layout as L

FEEDS_MIN = 4
"""So few are asked one after the other."""
ROUTES_PER_FEED = 8
"""One or two are used: few of them want the same place."""
KEY_WORDS = 5
KEY_BYTES = 8 * KEY_WORDS
"""Of a frame's beginning, and of its end: enough to hold the symbol, which comes soon or last."""
FEED_BITS = 20
"""A route is a feed's number and one; above them stand the other bits of the hash."""
_FACTOR = 0x9E3779B97F4A7C15
"""2^64 over the golden ratio (Knuth, The Art of Computer Programming, 6.4)."""
_PLACE_SHIFT = 40


def list_words(instruments: int, feeds: int) -> int:
    """Words that both take behind the feeds."""
    return instruments + _routes(feeds)


def _routes(feeds: int) -> int:
    return 0 if feeds <= FEEDS_MIN else 1 << (ROUTES_PER_FEED * feeds - 1).bit_length()


def place_lists(arena: Words, at: int) -> None:
    """Have the lists begin at a word of an arena whose counts are written."""
    arena[L.ENGINE_TOUCHED_OFFSET] = at
    arena[L.ENGINE_ROUTES] = _routes(int(arena[L.ENGINE_FEEDS]))
    arena[L.ENGINE_ROUTES_OFFSET] = at + arena[L.ENGINE_INSTRUMENTS]


@inner
def touch(arena: Words, instrument: int, feed_index: int) -> None:
    """An instrument has been changed by a feed: it waits to be published."""
    arena[instrument + L.INSTRUMENT_TRIGGER] = feed_index
    if arena[instrument + L.INSTRUMENT_IS_LISTED] == 0:
        arena[instrument + L.INSTRUMENT_IS_LISTED] = 1
        count = arena[L.ENGINE_TOUCHED]
        assert count < arena[L.ENGINE_INSTRUMENTS], "each is listed once"
        arena[arena[L.ENGINE_TOUCHED_OFFSET] + count] = instrument
        arena[L.ENGINE_TOUCHED] = count + 1


@inner
def _hash(frame: Bytes, is_end: bool) -> int:
    """Of a frame's beginning or end; 63 bits."""
    at = len(frame) - KEY_BYTES if is_end else 0
    value = uint64(1 if is_end else 2)
    for word in range(KEY_WORDS):
        value = multiply_wrapping(value ^ load_u64(frame, at + 8 * word), uint64(_FACTOR))
        value ^= value >> uint64(29)
    return int64(value >> uint64(1))


@inner
def _place(arena: Words, key: int) -> int:
    """The first of the two words where a key's route may be; the other one is its neighbour."""
    return arena[L.ENGINE_ROUTES_OFFSET] + ((key >> _PLACE_SHIFT) & (arena[L.ENGINE_ROUTES] - 2))


@inner
def guess_feed(arena: Words, frame: Bytes, is_end: bool) -> int:
    """The feed that a frame's beginning or end has meant before; -1: none."""
    if len(frame) < KEY_BYTES:
        return -1
    key = _hash(frame, is_end)
    place = _place(arena, key)
    for at in range(place, place + 2):
        if (arena[at] ^ key) >> FEED_BITS == 0:
            return (arena[at] & ((1 << FEED_BITS) - 1)) - 1
    return -1


@inner
def remember_feed(arena: Words, frame: Bytes, index: int, feed: int) -> None:
    """Whose the frame was, by those of its ends that are the same in all of the feed's frames."""
    parts = feed + L.FEED_TEMPLATE_PARTS_AT
    last = parts + (arena[feed + L.FEED_TEMPLATE_PARTS] - 1) * L.PART_WORDS
    for is_end in range(2):
        if arena[(last if is_end else parts) + L.PART_LITERAL_BYTES] >= KEY_BYTES:
            key = _hash(frame, is_end != 0)
            place = _place(arena, key)
            is_taken = arena[place] != 0 and (arena[place] ^ key) >> FEED_BITS != 0
            at = place + 1 if is_taken else place
            arena[at] = key >> FEED_BITS << FEED_BITS | (index + 1)
