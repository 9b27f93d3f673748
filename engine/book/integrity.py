"""What a book must be after each frame by its venue's rules: cut to its bound, its checksum right.

Both come before the merge, so that no level that the venue has dropped and no book that is wrong
is ever published.
Runs on: the engine thread.
"""

from __future__ import annotations

from engine.book.checksum import digits_checksum, text_checksum
from engine.book.ladder import set_level, worst_key
from engine.book.rules import CHECKSUM_DIGITS, CHECKSUM_NONE
from engine.book.side import side_at, window_slots
from engine.compiling.atomics import Words
from engine.compiling.jit import inner
from engine.decoding.staging import rows_at
from engine.layout import layout as L
from engine.layout import status as S
from engine.sharing import meter_layout as M
from engine.sharing.meter_layout import view_meters

_PART_IS_UNKNOWN = L.NO_KEY + 1
"""The horizon of a side that holds as many levels as it may: there may be more below."""


@inner
def note_printed(stage: Words, arena: Words, feed: int, is_anew: bool) -> None:
    """Note the most decimals that staged rows are written with, before they are scaled.

    The digits of a checksum are those that the venue prints, which is one number of decimals a
    market; `is_anew`: a whole book tells it.
    """
    if arena[arena[feed + L.FEED_RULES] + L.RULES_CHECKSUM] != CHECKSUM_DIGITS:
        return
    price_decimals, lot_decimals = 0, 0
    if not is_anew:
        price_decimals = arena[feed + L.FEED_PRINTED_PRICE_DECIMALS]
        lot_decimals = arena[feed + L.FEED_PRINTED_LOT_DECIMALS]
    for is_asks in range(2):
        row = rows_at(stage, is_asks)
        for _ in range(stage[L.STAGE_ASKS] if is_asks else stage[L.STAGE_BIDS]):
            decimals = stage[row + L.ROW_DECIMALS]
            price_decimals = max(price_decimals, decimals >> 6)
            lot_decimals = max(lot_decimals, decimals & 63)
            row += L.ROW_WORDS
    arena[feed + L.FEED_PRINTED_PRICE_DECIMALS] = price_decimals
    arena[feed + L.FEED_PRINTED_LOT_DECIMALS] = lot_decimals


@inner
def _cut_side(arena: Words, side: int, bound: int) -> None:
    """Drop the levels beyond the best `bound`."""
    slots = window_slots(arena, side)
    levels = arena[side + L.SIDE_WINDOW_LEVELS] + arena[side + L.SIDE_FAR_LEVELS]
    levels -= arena[side + L.SIDE_FAR_DELETED]
    for _ in range(levels - bound):
        set_level(arena, side, slots, worst_key(arena, side, slots), 0)
    arena[side + L.SIDE_HORIZON] = _PART_IS_UNKNOWN if levels >= bound else L.NO_KEY


@inner
def settle_book(arena: Words, feed: int, book: int, stage: Words) -> int:
    """Bound and checksum of a book that the staged message leads to: APPLIED, BAD_CHECKSUM."""
    rules = arena[feed + L.FEED_RULES]
    bound, checksum = arena[rules + L.RULES_BOUND], arena[rules + L.RULES_CHECKSUM]
    if bound > 0:
        for is_asks in range(2):
            _cut_side(arena, side_at(arena, feed, book, is_asks), bound)
    if checksum == CHECKSUM_NONE:
        return S.APPLIED
    if checksum == CHECKSUM_DIGITS:
        found = digits_checksum(arena, feed, book)
    elif stage[L.STAGE_CHECKSUM] <= 0:
        return S.APPLIED
    else:
        found = text_checksum(arena, feed, book)
    view_meters(arena)[arena[feed + L.FEED_METERS] + M.FEED_CHECKSUMS] += 1
    return S.APPLIED if found == stage[L.STAGE_CHECKSUM] else S.BAD_CHECKSUM
