"""The parts of a template's frame that the first venues' frames lack, by the general reader.

Levels that are no pairs of quoted decimals, and times as text, are read by the general reader's
own functions, in their places (engine.decoding.frame_template). Called by its address, which stands
in the arena: compiled into the path of a frame they take its registers, and cost the frames that
have none of them a tenth of their time. With bounds checked they are compiled in all the same: what
fails in a kernel that is called by its address raises nothing in its caller.
Runs on: the engine thread.
"""

from __future__ import annotations

from engine.compiling.arena import view_arena, view_stage
from engine.compiling.atomics import Bytes, Words, view_bytes
from engine.compiling.c_calls import call_words
from engine.compiling.jit import BOUNDS_CHECKED, JIT_OFF, inner, kernel
from engine.decoding.decode import read_iso_time, read_side
from engine.decoding.schema import FIELD_TIME
from engine.decoding.staging import drop_priceless, rows_at, scale_rows
from engine.layout import layout as L
from engine.layout import status as S

NOT_THIS_FORM = -1


@inner
def _are_as_printed(stage: Words, arena: Words, feed: int) -> bool:
    """Whether all staged rows have the decimals that the venue has printed before.

    Of an amount of zero nothing is known: some readers leave its decimals out.
    """
    printed = arena[feed + L.FEED_PRINTED_PRICE_DECIMALS] << 6
    printed |= arena[feed + L.FEED_PRINTED_LOT_DECIMALS]
    for is_asks in range(2):
        row = rows_at(stage, is_asks)
        for _ in range(stage[L.STAGE_ASKS] if is_asks else stage[L.STAGE_BIDS]):
            decimals = stage[row + L.ROW_DECIMALS]
            if decimals != printed and (
                stage[row + L.ROW_LOTS] != 0 or decimals >> 6 != printed >> 6
            ):
                return False
            row += L.ROW_WORDS
    return True


@inner
def _scale(stage: Words, arena: Words, feed: int) -> bool:
    """Scale all rows; False where the general reader must judge.

    Where digits are summed up (FEED_PRINTED is not zero), they must be as many as before.
    """
    printed = arena[feed + L.FEED_PRINTED_PRICE_DECIMALS]
    if printed + arena[feed + L.FEED_PRINTED_LOT_DECIMALS] != 0:
        if not _are_as_printed(stage, arena, feed):
            return False
    if arena[arena[feed + L.FEED_RULES] + L.RULES_HAS_ZERO_PRICES] != 0:
        drop_priceless(stage, False)
    return scale_rows(stage, arena, feed) == S.APPLIED


@inner
def _read(
    frame: Bytes, at: int, end: int, stage: Words, field: int, arena: Words, feed: int
) -> int:
    """`read_other_part`, of arrays."""
    if field == L.PART_END:
        return at if _scale(stage, arena, feed) else NOT_THIS_FORM
    if at >= end:
        return NOT_THIS_FORM
    if field == FIELD_TIME:
        return read_iso_time(frame, at, end, stage)
    schema = arena[feed + L.FEED_RULES] + L.RULES_FRAME_AT
    return read_side(frame, at, end, stage, field, arena, schema)


@kernel("int64(int64, int64, int64, int64, int64, int64)")
def read_part(
    arena_address: int, feed: int, frame_address: int, frame_bytes: int, at: int, field: int
) -> int:
    """`read_other_part` of the frame at this address into the arena's own stage."""
    arena, frame = view_arena(arena_address), view_bytes(frame_address, frame_bytes)
    return _read(frame, at, frame_bytes, view_stage(arena), field, arena, feed)


if JIT_OFF or BOUNDS_CHECKED:
    read_other_part = _read
else:

    @inner
    def read_other_part(
        frame: Bytes, at: int, end: int, stage: Words, field: int, arena: Words, feed: int
    ) -> int:
        """Read the levels or the time at `at`: the position after it, or below zero.

        PART_END, behind the last one, scales what was read. The stage is the arena's own.
        """
        return call_words(
            arena[L.ENGINE_PART_KERNEL], arena.ctypes.data, feed, frame.ctypes.data, end, at, field
        )
