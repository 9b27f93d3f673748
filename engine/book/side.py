"""Where the parts of a book's side are: offsets, computed from where the side begins.

Runs on: any thread.
"""

from __future__ import annotations

from engine.compiling.atomics import Words
from engine.compiling.jit import inner
from engine.layout import layout as L


@inner
def side_at(arena: Words, feed: int, book: int, is_asks: int) -> int:
    """The first word of a side."""
    return feed + L.FEED_BOOKS_AT + (2 * book + is_asks) * arena[L.ENGINE_SIDE_WORDS]


@inner
def window_slots(arena: Words, side: int) -> int:
    """Of the side's window as it is now: a power of two."""
    return arena[side + L.SIDE_WINDOW_SLOTS]


@inner
def summary_words(slots: int) -> int:
    """Words of the summary: eight bytes, each for a bitmap word of 64 slots."""
    return (slots + 511) >> 9


@inner
def bitmap_at(side: int, slots: int) -> int:
    return side + L.SIDE_SUMMARY_AT + summary_words(slots)


@inner
def lots_at(side: int, slots: int) -> int:
    return bitmap_at(side, slots) + (slots >> 6)


@inner
def far_keys_at(arena: Words, side: int) -> int:
    return side + arena[L.ENGINE_FAR_AT]
