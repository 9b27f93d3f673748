"""A stage: one decoded frame or snapshot, between its bytes and a book.

Filled by engine.decoding.decode or engine.decoding.frame_template; here is what both need, and what
turns its numbers into a feed's units. The layout is engine.layout.layout's.
Runs on: the engine thread (frames) and the housekeeping thread (snapshots).
"""

from __future__ import annotations

from engine.compiling.atomics import Bytes, Words, int64, load_u64
from engine.compiling.jit import inner
from engine.decoding.scale import scaled
from engine.decoding.schema import (
    FIELD_LAST_ID,
    FIELD_PREVIOUS_ID,
    IDS_LINK,
    IDS_ONE,
    IDS_PREVIOUS,
    ISO_TEXT,
    MS_OR_US,
)
from engine.layout import layout as L
from engine.layout import status as S
from engine.layout.units import NS_PER_MS, NS_PER_US

MICROSECONDS_FROM = 100_000_000_000_000
"""An event time from here on is in microseconds: in milliseconds it would be the year 5138."""
TIME_US_MAX = (2**63 - 1) // NS_PER_US
TIME_MS_MAX = (2**63 - 1) // NS_PER_MS
"""Times beyond these do not fit in nanoseconds."""


@inner
def rows_at(stage: Words, is_asks: int) -> int:
    """The first row of a side in a stage."""
    return L.STAGE_ROWS_AT + is_asks * stage[L.STAGE_LEVELS_MAX] * L.ROW_WORDS


@inner
def packed(frame: Bytes, start: int, stop: int) -> int:
    """Up to eight bytes of a span as one number, zero padded."""
    length = min(stop - start, 8)
    if length > 0 and start + 8 <= len(frame):
        whole = int64(load_u64(frame, start))
        return whole if length == 8 else whole & ((int64(1) << (8 * length)) - 1)
    word = int64(0)
    for index in range(length):
        word |= int64(frame[start + index]) << (8 * index)
    return word


@inner
def settle(stage: Words, arena: Words, schema: int) -> int:
    """Ids and time as the feed uses them, from the numbers in the message; APPLIED or a refusal."""
    last_id = stage[L.STAGE_LAST_ID]
    ids = arena[schema + L.SCHEMA_IDS]
    if ids == IDS_ONE:
        stage[L.STAGE_FIRST_ID] = last_id
    elif ids == IDS_PREVIOUS or ids == IDS_LINK:
        stage[L.STAGE_FIRST_ID] = stage[L.STAGE_PREVIOUS_ID] + 1
        if not _is_proven(stage):
            return S.BAD_SCHEMA
    time = last_id if arena[schema + L.SCHEMA_IS_TIME_ID] != 0 else stage[L.STAGE_TIME]
    unit_ns = arena[schema + L.SCHEMA_TIME_UNIT_NS]
    time_max = arena[schema + L.SCHEMA_TIME_MAX]
    if unit_ns == MS_OR_US:
        is_us = time >= MICROSECONDS_FROM
        unit_ns, time_max = (NS_PER_US, TIME_US_MAX) if is_us else (NS_PER_MS, TIME_MS_MAX)
    elif unit_ns == ISO_TEXT:
        unit_ns = 1
    if time > time_max:
        return S.BAD_SCHEMA
    stage[L.STAGE_TIME] = time * unit_ns
    is_rising = stage[L.STAGE_FIRST_ID] <= last_id
    return S.APPLIED if is_rising or ids == IDS_LINK else S.BAD_IDS


@inner
def _is_proven(stage: Words) -> bool:
    """Whether the message has both of its ids, or neither, but a checksum."""
    present = stage[L.STAGE_PRESENT]
    both = (1 << FIELD_LAST_ID) | (1 << FIELD_PREVIOUS_ID)
    if present & both == both:
        return True
    return present & both == 0 and stage[L.STAGE_CHECKSUM] > 0


@inner
def scale_rows(stage: Words, arena: Words, feed: int) -> int:
    """Turn the staged mantissas into the feed's ticks and lots, in place; APPLIED or a refusal."""
    price_table = feed + L.FEED_PRICE_SCALE_AT
    lot_table = feed + L.FEED_LOT_SCALE_AT
    for is_asks in range(2):
        count = stage[L.STAGE_ASKS] if is_asks else stage[L.STAGE_BIDS]
        assert 0 <= count <= stage[L.STAGE_LEVELS_MAX], "levels beyond the stage"
        row = rows_at(stage, is_asks)
        for _ in range(count):
            decimals = stage[row + L.ROW_DECIMALS]
            ticks = scaled(arena, price_table, stage[row + L.ROW_PRICE], decimals >> 6)
            lots = scaled(arena, lot_table, stage[row + L.ROW_LOTS], decimals & 63)
            if ticks <= 0:
                return S.BAD_PRICE
            if lots < 0:
                return S.BAD_QUANTITY
            stage[row + L.ROW_PRICE] = ticks
            stage[row + L.ROW_LOTS] = lots
            row += L.ROW_WORDS
    return S.APPLIED


@inner
def drop_priceless(stage: Words, is_whole: bool) -> None:
    """Drop the staged levels whose price is zero, of a whole book those below it too, and count
    them: nobody trades there."""
    for is_asks in range(2):
        count_at = L.STAGE_ASKS if is_asks else L.STAGE_BIDS
        first = rows_at(stage, is_asks)
        kept = 0
        for index in range(stage[count_at]):
            row, to = first + index * L.ROW_WORDS, first + kept * L.ROW_WORDS
            price = stage[row + L.ROW_PRICE]
            if price > 0 or (price < 0 and not is_whole):
                for word in range(L.ROW_WORDS):
                    stage[to + word] = stage[row + word]
                kept += 1
        stage[L.STAGE_DROPPED] += stage[count_at] - kept
        stage[count_at] = kept


@inner
def _survey(stage: Words, mantissa: int, decimals: int, decimals_at: int, digits_at: int) -> None:
    """Note the digits of a decimal behind the dot, without zeros at its end, and before it."""
    while decimals > 0 and mantissa % 10 == 0:
        mantissa //= 10
        decimals -= 1
    digits = -decimals
    while mantissa > 0:
        mantissa //= 10
        digits += 1
    stage[decimals_at] = max(stage[decimals_at], decimals)
    stage[digits_at] = max(stage[digits_at], digits)


@inner
def survey_rows(stage: Words) -> None:
    """Note what the staged mantissas need to be exact."""
    for is_asks in range(2):
        row = rows_at(stage, is_asks)
        for _ in range(stage[L.STAGE_ASKS] if is_asks else stage[L.STAGE_BIDS]):
            decimals, price = stage[row + L.ROW_DECIMALS], stage[row + L.ROW_PRICE]
            if price > 0:
                _survey(stage, price, decimals >> 6, L.STAGE_PRICE_DECIMALS, L.STAGE_PRICE_DIGITS)
            lots = max(stage[row + L.ROW_LOTS], 0)
            _survey(stage, lots, decimals & 63, L.STAGE_LOT_DECIMALS, L.STAGE_LOT_DIGITS)
            row += L.ROW_WORDS


@inner
def is_symbol(frame: Bytes, stage: Words, arena: Words, feed: int) -> bool:
    """Whether the staged symbol is the feed's."""
    start = stage[L.STAGE_SYMBOL_START]
    length = stage[L.STAGE_SYMBOL_END] - start
    if length != arena[feed + L.FEED_SYMBOL_BYTES]:
        return False
    at = 0
    while at < length:
        if start + at + 8 <= len(frame):
            word = int64(load_u64(frame, start + at))
        else:
            word = packed(frame, start + at, start + length)
        rest = length - at
        if rest < 8:
            word &= (1 << (8 * rest)) - 1
        if word != arena[feed + L.FEED_SYMBOL_AT + at // 8]:
            return False
        at += 8
    return True
