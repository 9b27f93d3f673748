"""Which instruments wait to be published, and whose a frame may be: many cost what one does.

*Touched* lists the instruments that frames have changed, in that order. *Routes* guess a frame's
feed: a table of feed numbers by a hash of the frame's first bytes and by one of its last, either of
which names the symbol in the forms that venues use. A guess is only that: the feed's template reads
every byte of the frame, or another feed is asked.
Runs on: the engine thread.
"""

from __future__ import annotations

from engine.compiling.atomics import Bytes, Words, int64, load_u64, multiply_wrapping, uint64
from engine.compiling.jit import hot, inner
from engine.layout import layout as L

FEEDS_MIN = 4
"""So few are asked one after the other."""
ROUTES_PER_FEED = 8
"""Two are used where a table is full of what it should hold; the others are for what varies."""
KEY_WORDS = 6
KEY_BYTES = 8 * KEY_WORDS
"""Of a frame's beginning, and of its end: enough to hold the symbol, which comes soon or last."""
_FACTOR = 0x9E3779B97F4A7C15
"""2^64 over the golden ratio (Knuth, The Art of Computer Programming, 6.4)."""
_SHIFT = 40
NOBODY = 0
"""In a route; any other value is a feed's number and one."""


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


@hot
def route_at(arena: Words, frame: Bytes, is_end: bool) -> int:
    """The word that guesses the feed by a frame's beginning or end; 0 where nothing does."""
    routes = arena[L.ENGINE_ROUTES]
    if routes == 0 or len(frame) < KEY_BYTES:
        return 0
    at = len(frame) - KEY_BYTES if is_end else 0
    value = uint64(is_end)
    for word in range(KEY_WORDS):
        value = multiply_wrapping(value ^ load_u64(frame, at + 8 * word), uint64(_FACTOR))
        value ^= value >> uint64(29)
    return arena[L.ENGINE_ROUTES_OFFSET] + (int64(value >> uint64(_SHIFT)) & (routes - 1))


@inner
def remember_route(arena: Words, frame: Bytes, index: int) -> None:
    """Whose the frame was."""
    for is_end in range(2):
        at = route_at(arena, frame, is_end != 0)
        if at != 0:
            arena[at] = index + 1
