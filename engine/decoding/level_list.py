"""A list of levels in the shape that a schema says: price and quantity of each to a stage row.

Runs on: the engine thread (frames) and the housekeeping thread (snapshots), inside kernels.
"""

from __future__ import annotations

from engine.compiling.atomics import Bytes, Words
from engine.compiling.jit import inner
from engine.decoding.decimals import bare_decimal, decimal
from engine.decoding.scan import (
    CLOSE_BRACE,
    CLOSE_BRACKET,
    COMMA,
    OPEN_BRACE,
    OPEN_BRACKET,
    QUOTE,
    has_plain_escape,
    key_end,
    skip_space,
    string_end,
    value_end,
)
from engine.decoding.schema import (
    LEVELS_LONGER,
    LEVELS_PAIRS,
    LEVELS_SIDED,
    LEVELS_SIDED_ARRAYS,
)
from engine.decoding.staging import packed
from engine.layout import layout as L
from engine.layout import status as S

(_PRICE, _QTY, _SIDE) = (1, 2, 4)
"""Bits of what an object level has brought."""


@inner
def is_text(frame: Bytes, start: int, stop: int, arena: Words, text: int) -> bool:
    """Whether a span of the frame is the text kept at arena[text:]."""
    return (
        stop - start == arena[text + L.TEXT_LENGTH]
        and packed(frame, start, stop) == arena[text + L.TEXT_FIRST]
        and packed(frame, start + 8, stop) == arena[text + L.TEXT_SECOND]
    )


@inner
def _put_row(stage: Words, row: int, price: int, lots: int, decimals: int) -> None:
    stage[row + L.ROW_PRICE] = price
    stage[row + L.ROW_LOTS] = lots
    stage[row + L.ROW_DECIMALS] = decimals


@inner
def _amount(frame: Bytes, at: int, end: int, is_quoted: bool) -> tuple[int, int, int]:
    """A price or a quantity: (position after it, mantissa, decimals), or a status first."""
    if not is_quoted:
        return bare_decimal(frame, at, end)
    if at >= end or frame[at] != QUOTE:
        return S.BAD_SCHEMA, 0, 0
    return decimal(frame, at + 1, end)


@inner
def _array_level(
    frame: Bytes, at: int, end: int, is_quoted: bool, is_longer: bool
) -> tuple[int, int, int, int]:
    """`[price,quantity]`, or with more behind: (position after it, price, lots, decimals)."""
    if at >= end or frame[at] != OPEN_BRACKET:
        return S.BAD_SCHEMA, 0, 0, 0
    at = skip_space(frame, at + 1, end)
    return _array_rest(frame, at, end, is_quoted, is_longer)


@inner
def _sided_array_level(
    frame: Bytes, at: int, end: int, arena: Words, schema: int
) -> tuple[int, int, int, int, int]:
    """`[side,price,quantity]`: (position after it, price, lots, decimals, 1 for an ask's)."""
    if at >= end or frame[at] != OPEN_BRACKET:
        return S.BAD_SCHEMA, 0, 0, 0, 0
    value = skip_space(frame, at + 1, end)
    if value >= end or frame[value] != QUOTE:
        return S.BAD_SCHEMA, 0, 0, 0, 0
    at = value_end(frame, value, end)
    if at < 0:
        return at, 0, 0, 0, 0
    side = _side_of(frame, value, at, arena, schema)
    at = skip_space(frame, at, end)
    if side < 0 or at >= end or frame[at] != COMMA:
        return S.BAD_SCHEMA, 0, 0, 0, 0
    is_quoted = arena[schema + L.SCHEMA_LEVELS_QUOTED] != 0
    at = skip_space(frame, at + 1, end)
    at, price, lots, decimals = _array_rest(frame, at, end, is_quoted, False)
    return at, price, lots, decimals, side


@inner
def _array_rest(
    frame: Bytes, at: int, end: int, is_quoted: bool, is_longer: bool
) -> tuple[int, int, int, int]:
    """A price and a quantity to the end of their array."""
    at, price, price_decimals = _amount(frame, at, end, is_quoted)
    if at < 0:
        return at, 0, 0, 0
    at = skip_space(frame, at, end)
    if at >= end or frame[at] != COMMA:
        return S.BAD_SCHEMA, 0, 0, 0
    at = skip_space(frame, at + 1, end)
    at, lots, lot_decimals = _amount(frame, at, end, is_quoted)
    if at < 0:
        return at, 0, 0, 0
    at = skip_space(frame, at, end)
    while is_longer and at < end and frame[at] == COMMA:
        at = value_end(frame, skip_space(frame, at + 1, end), end)
        if at < 0:
            return at, 0, 0, 0
        at = skip_space(frame, at, end)
    if at >= end or frame[at] != CLOSE_BRACKET:
        return S.BAD_SCHEMA, 0, 0, 0
    return at + 1, price, lots, price_decimals * 64 + lot_decimals


@inner
def _side_of(frame: Bytes, at: int, stop: int, arena: Words, schema: int) -> int:
    """0 where a value is the quoted name of a bid, 1 for an ask, BAD_SCHEMA for anything else."""
    if frame[at] == QUOTE:
        if is_text(frame, at + 1, stop - 1, arena, schema + L.SCHEMA_BID_AT):
            return 0
        if is_text(frame, at + 1, stop - 1, arena, schema + L.SCHEMA_ASK_AT):
            return 1
    return S.BAD_SCHEMA


@inner
def _part_of(frame: Bytes, start: int, stop: int, arena: Words, schema: int) -> int:
    """What a key of an object level brings; 0 for one that is not asked for."""
    if is_text(frame, start, stop, arena, schema + L.SCHEMA_PRICE_KEY_AT):
        return _PRICE
    if is_text(frame, start, stop, arena, schema + L.SCHEMA_QTY_KEY_AT):
        return _QTY
    is_sided = arena[schema + L.SCHEMA_LEVELS] == LEVELS_SIDED
    if is_sided and is_text(frame, start, stop, arena, schema + L.SCHEMA_SIDE_KEY_AT):
        return _SIDE
    return 0


@inner
def _object_level(
    frame: Bytes, at: int, end: int, arena: Words, schema: int
) -> tuple[int, int, int, int, int]:
    """`{"price":p,"qty":q}`: (position after it, price, lots, decimals, 1 for an ask's).

    Other members are passed over; one that is missing, doubled or escaped is BAD_SCHEMA.
    """
    is_quoted = arena[schema + L.SCHEMA_LEVELS_QUOTED] != 0
    missing = _PRICE | _QTY
    if arena[schema + L.SCHEMA_LEVELS] == LEVELS_SIDED:
        missing |= _SIDE
    price, price_decimals, lots, lot_decimals, side = 0, 0, 0, 0, 0
    if at >= end or frame[at] != OPEN_BRACE:
        return S.BAD_SCHEMA, 0, 0, 0, 0
    at = skip_space(frame, at + 1, end)
    if at < end and frame[at] == CLOSE_BRACE:
        return S.BAD_SCHEMA, 0, 0, 0, 0
    while True:
        start = at + 1
        at = key_end(frame, at, end)
        if at < 0 or at >= end:
            return min(at, S.BAD_JSON), 0, 0, 0, 0
        stop = string_end(frame, start, end)
        part = _part_of(frame, start, stop, arena, schema)
        if (part != 0 and missing & part == 0) or has_plain_escape(frame, start, stop):
            return S.BAD_SCHEMA, 0, 0, 0, 0
        missing &= ~part
        value = at
        if part == _PRICE:
            at, price, price_decimals = _amount(frame, at, end, is_quoted)
        elif part == _QTY:
            at, lots, lot_decimals = _amount(frame, at, end, is_quoted)
        else:
            at = value_end(frame, at, end)
        if at < 0:
            return at, 0, 0, 0, 0
        if part == _SIDE:
            side = _side_of(frame, value, at, arena, schema)
        at = skip_space(frame, at, end)
        if at >= end or (frame[at] != COMMA and frame[at] != CLOSE_BRACE):
            return S.BAD_JSON, 0, 0, 0, 0
        if frame[at] == CLOSE_BRACE:
            break
        at = skip_space(frame, at + 1, end)
    if missing != 0 or side < 0:
        return S.BAD_SCHEMA, 0, 0, 0, 0
    return at + 1, price, lots, price_decimals * 64 + lot_decimals, side


@inner
def _other_levels_end(
    frame: Bytes, at: int, end: int, stage: Words, rows: int, asks: int, arena: Words, schema: int
) -> tuple[int, int, int]:
    """`levels_end` for every shape but pairs of quoted decimals; `at` is behind the bracket."""
    shape = arena[schema + L.SCHEMA_LEVELS]
    is_array = shape == LEVELS_PAIRS or shape == LEVELS_LONGER
    is_quoted = arena[schema + L.SCHEMA_LEVELS_QUOTED] != 0
    levels_max = stage[L.STAGE_LEVELS_MAX]
    count, asks_count = 0, 0
    while True:
        side = 0
        if is_array:
            after, price, lots, decimals = _array_level(
                frame, at, end, is_quoted, shape == LEVELS_LONGER
            )
        elif shape == LEVELS_SIDED_ARRAYS:
            after, price, lots, decimals, side = _sided_array_level(frame, at, end, arena, schema)
        else:
            after, price, lots, decimals, side = _object_level(frame, at, end, arena, schema)
        at = after
        if at < 0:
            return at, 0, 0
        if (asks_count if side == 1 else count) == levels_max:
            return S.TOO_MANY_LEVELS, 0, 0
        if side == 1:
            _put_row(stage, asks + asks_count * L.ROW_WORDS, price, lots, decimals)
            asks_count += 1
        else:
            _put_row(stage, rows + count * L.ROW_WORDS, price, lots, decimals)
            count += 1
        at = skip_space(frame, at, end)
        if at >= end:
            return S.BAD_JSON, 0, 0
        if frame[at] == CLOSE_BRACKET:
            return at + 1, count, asks_count
        if frame[at] != COMMA:
            return S.BAD_JSON, 0, 0
        at = skip_space(frame, at + 1, end)


@inner
def _quoted_pairs_end(frame: Bytes, at: int, end: int, stage: Words, rows: int) -> tuple[int, int]:
    """The rest of `[["price","quantity"],..]`, the commonest shape, from behind its bracket."""
    levels_max = stage[L.STAGE_LEVELS_MAX]
    count = 0
    while True:
        if at >= end or frame[at] != OPEN_BRACKET:
            return S.BAD_SCHEMA, 0
        at = skip_space(frame, at + 1, end)
        if at >= end or frame[at] != QUOTE:
            return S.BAD_SCHEMA, 0
        at, price, price_decimals = decimal(frame, at + 1, end)
        if at < 0:
            return at, 0
        at = skip_space(frame, at, end)
        if at >= end or frame[at] != COMMA:
            return S.BAD_SCHEMA, 0
        at = skip_space(frame, at + 1, end)
        if at >= end or frame[at] != QUOTE:
            return S.BAD_SCHEMA, 0
        at, lots, lot_decimals = decimal(frame, at + 1, end)
        if at < 0:
            return at, 0
        at = skip_space(frame, at, end)
        if at >= end or frame[at] != CLOSE_BRACKET:
            return S.BAD_SCHEMA, 0
        if count == levels_max:
            return S.TOO_MANY_LEVELS, 0
        row = rows + count * L.ROW_WORDS
        _put_row(stage, row, price, lots, price_decimals * 64 + lot_decimals)
        count += 1
        at = skip_space(frame, at + 1, end)
        if at >= end:
            return S.BAD_JSON, 0
        if frame[at] == CLOSE_BRACKET:
            return at + 1, count
        if frame[at] != COMMA:
            return S.BAD_JSON, 0
        at = skip_space(frame, at + 1, end)


@inner
def levels_end(
    frame: Bytes, at: int, end: int, stage: Words, rows: int, asks: int, arena: Words, schema: int
) -> tuple[int, int, int]:
    """Read a list of levels into stage rows: (position after it, how many, how many more asks).

    `at` is the list's bracket. `asks` is where rows of asks go if the list holds both sides. A
    status instead of the position: BAD_SCHEMA where it is JSON of another shape.
    """
    at = skip_space(frame, at + 1, end)
    if at < end and frame[at] == CLOSE_BRACKET:
        return at + 1, 0, 0
    if arena[schema + L.SCHEMA_LEVELS] == LEVELS_PAIRS and (
        arena[schema + L.SCHEMA_LEVELS_QUOTED] != 0
    ):
        at, count = _quoted_pairs_end(frame, at, end, stage, rows)
        return at, count, 0
    return _other_levels_end(frame, at, end, stage, rows, asks, arena, schema)
