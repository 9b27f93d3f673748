"""A stage: one decoded frame or snapshot, between its bytes and a book.

Filled by engine.decode or engine.template; here is what both need, and what turns its numbers into
a feed's units. The layout is engine.layout's.
Runs on: the engine thread (frames) and the housekeeping thread (snapshots). Called by:
engine.decode, engine.template, engine.feed.
"""

from __future__ import annotations

from engine import layout as L
from engine import status as S
from engine.atomics import Bytes, Words, int64, load_u64
from engine.jit import inner
from engine.scale import scaled

NS_PER_MS = 1_000_000
NS_PER_US = 1_000
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
    word = int64(0)
    for index in range(length):
        word |= int64(frame[start + index]) << (8 * index)
    return word


@inner
def settle_times(stage: Words, protocol: int) -> int:
    """Ids and times as the feed uses them, from the numbers in the frame; APPLIED or a refusal."""
    last_id = stage[L.STAGE_LAST_ID]
    if protocol == L.PROTOCOL_BITSTAMP:
        if last_id > TIME_US_MAX:
            return S.BAD_SCHEMA
        stage[L.STAGE_FIRST_ID] = last_id
        stage[L.STAGE_TIME] = last_id * NS_PER_US
        return S.APPLIED
    time = stage[L.STAGE_TIME]
    is_us = time >= MICROSECONDS_FROM
    if time > (TIME_US_MAX if is_us else TIME_MS_MAX):
        return S.BAD_SCHEMA
    stage[L.STAGE_TIME] = time * (NS_PER_US if is_us else NS_PER_MS)
    return S.BAD_IDS if stage[L.STAGE_FIRST_ID] > last_id else S.APPLIED


@inner
def scale_rows(stage: Words, arena: Words, feed: int) -> int:
    """Turn the staged mantissas into the feed's ticks and lots, in place; APPLIED or a refusal."""
    price_table = feed + L.FEED_PRICE_SCALE_AT
    lot_table = feed + L.FEED_LOT_SCALE_AT
    for is_asks in range(2):
        count = stage[L.STAGE_ASKS] if is_asks else stage[L.STAGE_BIDS]
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
