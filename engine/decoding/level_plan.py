"""How the levels of one stream are written, byte by byte: what engine.decoding.simd reads them by.

A venue writes `["60234.01000000","0.00123000"]` with the same widths again and again. A plan for
such widths holds, for each byte of the level, whether it is fixed (quotes, brackets, dots, and the
fraction digits beyond the tick, which must be zeros) or a digit that counts, and of which weight.
Ticks and lots are then the digits as they stand: nothing is left to scale. So plans exist only for
ticks that are powers of ten; other feeds are read by the general reader.

    level     ["60234.01000000","0.00123000"]      16 to 40 bytes
    first     ["60234.01000000                     the first sixteen
    last                      0","0.00123000"]     the last sixteen
    middle                                         eight more, where those two leave a gap
Runs on: the engine thread.
"""

from __future__ import annotations

from engine.compiling.atomics import Bytes, Words, int64, load_u64
from engine.compiling.jit import inner
from engine.decoding.scan import (
    CLOSE_BRACKET,
    COMMA,
    DOT,
    OPEN_BRACKET,
    QUOTE,
    ZERO,
    leading_digits,
)
from engine.decoding.simd import EXPECTED, FIXED, LANE_BYTES, LANE_WORDS, NO_BYTE, ORDER
from engine.layout import layout as L

LEVEL_BYTES_MIN = LANE_BYTES
LEVEL_BYTES_MAX = 2 * LANE_BYTES + 8

WIDTHS_BYTES = 2 + 17 + 3 + 17
"""Bytes that `widths` reads from a level's first byte on, at most."""


@inner
def _width(frame: Bytes, at: int) -> tuple[int, int]:
    """Digits before and after the dot of a quoted decimal; (0, 0) if it is not of our form.

    At most seven digits before and eight after, so that each is one load.
    """
    whole = leading_digits(load_u64(frame, at))
    if whole == 0 or whole == 8:
        return 0, 0
    if frame[at + whole] == QUOTE:
        return whole, 0
    if frame[at + whole] != DOT:
        return 0, 0
    fraction = leading_digits(load_u64(frame, at + whole + 1))
    if fraction == 0 or frame[at + whole + 1 + fraction] != QUOTE:
        return 0, 0
    return whole, fraction


@inner
def _text_bytes(whole: int, fraction: int) -> int:
    """Characters of a decimal without its quotes."""
    return whole + fraction + (1 if fraction > 0 else 0)


@inner
def widths(frame: Bytes, at: int) -> int:
    """The four digit counts of the level at `at` in one number, 0 if it is not of our form.

    The caller proves WIDTHS_BYTES.
    """
    price_whole, price_fraction = _width(frame, at + 2)
    if price_whole == 0:
        return 0
    price_bytes = _text_bytes(price_whole, price_fraction)
    lots_whole, lots_fraction = _width(frame, at + 5 + price_bytes)
    if lots_whole == 0:
        return 0
    return price_whole | price_fraction << 8 | lots_whole << 16 | lots_fraction << 24


@inner
def _put_byte(arena: Words, words: int, index: int, value: int) -> None:
    at = words + (index >> 3)
    shift = 8 * (index & 7)
    arena[at] = (arena[at] & ~(int64(0xFF) << shift)) | (int64(value) << shift)


@inner
def _fix(arena: Words, plan: int, length: int, place: int, byte: int) -> None:
    """Expect `byte` at `place` of a level, in whichever of the three reads see it."""
    vectors = plan + L.PLAN_VECTORS_AT
    fixed = vectors + FIXED * LANE_WORDS
    expected = vectors + EXPECTED * LANE_WORDS
    last = length - LANE_BYTES
    if place < LANE_BYTES:
        _put_byte(arena, fixed, place, 0xFF)
        _put_byte(arena, expected, place, byte)
    if place >= last:
        _put_byte(arena, fixed, LANE_BYTES + place - last, 0xFF)
        _put_byte(arena, expected, LANE_BYTES + place - last, byte)
    middle = arena[plan + L.PLAN_MIDDLE_AT]
    if LANE_BYTES <= place < last and middle <= place < middle + 8:
        _put_byte(arena, plan + L.PLAN_MIDDLE_FIXED, place - middle, 0xFF)
        _put_byte(arena, plan + L.PLAN_MIDDLE_EXPECTED, place - middle, byte)


@inner
def _plan_number(
    arena: Words, plan: int, length: int, place: int, whole: int, fraction: int, decimals: int,
    lane: int,
) -> int:  # fmt: skip
    """Plan the quoted decimal whose digits begin at `place`: the place after them.

    Of its fraction `decimals` digits count, absent ones as zeros; those beyond must be zeros.
    """
    order = plan + L.PLAN_VECTORS_AT + ORDER * LANE_WORDS
    start = 0 if lane == 0 else length - LANE_BYTES
    to = lane + LANE_BYTES - whole - decimals
    for digit in range(whole + fraction):
        at = place + digit
        if digit >= whole:
            if digit == whole:
                _fix(arena, plan, length, at, DOT)
            at += 1
        if digit >= whole + decimals:
            _fix(arena, plan, length, at, ZERO)
        else:
            _put_byte(arena, order, to + digit, at - start)
    return place + _text_bytes(whole, fraction)


@inner
def _make(arena: Words, feed: int, plan: int, key: int) -> bool:
    """Make the plan of these widths; False, and nothing touched, if there can be none."""
    price_decimals = arena[feed + L.FEED_TICK_DECIMALS]
    price_whole, price_fraction = key & 0xFF, (key >> 8) & 0xFF
    lots_whole, lots_fraction = (key >> 16) & 0xFF, key >> 24
    lots_bytes = _text_bytes(lots_whole, lots_fraction)
    length = 7 + _text_bytes(price_whole, price_fraction) + lots_bytes
    if length < LEVEL_BYTES_MIN or length > LEVEL_BYTES_MAX:
        return False
    if price_whole + price_decimals > arena[feed + L.FEED_PLANNED_DIGITS_MAX]:
        return False
    # The digits that count lie in the first sixteen bytes, or with `"]` in the last sixteen.
    counted = _text_bytes(price_whole, min(price_fraction, price_decimals))
    if 2 + counted > LANE_BYTES or lots_bytes + 2 > LANE_BYTES:
        return False
    lot_decimals = arena[feed + L.FEED_LOT_DECIMALS]
    if lots_whole + lot_decimals > arena[feed + L.FEED_PLANNED_LOT_DIGITS_MAX]:
        return False
    for word in range(L.PLAN_WORDS):
        arena[plan + word] = 0
    arena[plan + L.PLAN_WIDTHS] = key
    arena[plan + L.PLAN_LEVEL_BYTES] = length
    arena[plan + L.PLAN_MIDDLE_AT] = max(length - LANE_BYTES - 8, 0)
    order = plan + L.PLAN_VECTORS_AT + ORDER * LANE_WORDS
    for index in range(2 * LANE_BYTES):
        _put_byte(arena, order, index, NO_BYTE)
    _fix(arena, plan, length, 0, OPEN_BRACKET)
    _fix(arena, plan, length, 1, QUOTE)
    place = _plan_number(arena, plan, length, 2, price_whole, price_fraction, price_decimals, 0)
    _fix(arena, plan, length, place, QUOTE)
    _fix(arena, plan, length, place + 1, COMMA)
    _fix(arena, plan, length, place + 2, QUOTE)
    place = _plan_number(
        arena, plan, length, place + 3, lots_whole, lots_fraction, lot_decimals, LANE_BYTES
    )
    _fix(arena, plan, length, place, QUOTE)
    _fix(arena, plan, length, place + 1, CLOSE_BRACKET)
    return True


@inner
def plan_for(arena: Words, feed: int, key: int) -> int:
    """The plan of these widths, made if need be, and from now on the feed's: its first word, or 0.

    A feed keeps its last few: amounts gain and lose a digit all the time.
    """
    plans = feed + L.FEED_PLANS_AT
    for index in range(L.PLANS):
        plan = plans + index * L.PLAN_WORDS
        if arena[plan + L.PLAN_WIDTHS] == key:
            arena[feed + L.FEED_PLAN] = plan
            return plan
    turn = arena[feed + L.FEED_PLAN_TURN]
    plan = plans + turn * L.PLAN_WORDS
    if not _make(arena, feed, plan, key):
        return 0
    arena[feed + L.FEED_PLAN_TURN] = turn + 1 if turn + 1 < L.PLANS else 0
    arena[feed + L.FEED_PLAN] = plan
    return plan
