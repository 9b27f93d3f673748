"""Frames of the form the last one had: only their numbers are read.

A venue's frames differ in their numbers alone. When the general reader (engine.decode) has
accepted a diff, the bytes between its numbers and level lists are kept as the feed's *template*:

    {"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E": <number>
    ,"s":"BTCUSDT","U": <number> ,"u": <number> ,"b": <levels> ,"a": <levels> }}

A frame whose fixed bytes equal the template's, and whose places hold plain numbers and levels, is
JSON of the same meaning: every byte of it has been compared or read as a digit. Whatever deviates
is not judged here but left to the general reader, which says what is wrong, or learns anew.

Numbers are read eight digits at a time. The widths of a stream's prices and quantities hardly
change, so each is first tried with the width of the one before: positions then depend on a branch
that is predicted, not on the data, and the processor reads several levels at once.
Runs on: the engine thread. Called by: engine.feed.
"""

from __future__ import annotations

from engine import layout as L
from engine.atomics import Bytes, Words, int64, load_u64, uint64
from engine.decode import (
    FIELD_ASKS,
    FIELD_BIDS,
    FIELD_FIRST_ID,
    FIELD_LAST_ID,
    FIELD_TIME,
)
from engine.jit import inner
from engine.scale import scaled
from engine.scan import (
    CLOSE_BRACKET,
    COMMA,
    DOT,
    OPEN_BRACKET,
    POWERS_OF_TEN,
    QUOTE,
    ZERO,
    decimal,
    digits_value,
    leading_digits,
)
from engine.simd import four_numbers
from engine.stage import rows_at, settle_times

LEVEL_BYTES_MAX = 48
"""The longest level read here, `["12345678.12345678","12345678.12345678"],`, rounded up: where
fewer bytes are left in the frame the general decimal reader, which proves each read, takes over."""

_ALL_BITS = uint64(0xFFFFFFFFFFFFFFFF)
_BETWEEN = 0x22 | COMMA << 8 | 0x22 << 16
"""The bytes `","` as a little-endian number."""
_OPEN = OPEN_BRACKET | QUOTE << 8
_CLOSE = QUOTE | CLOSE_BRACKET << 8
_NOT_THIS_FORM = -1


@inner
def _word_at(frame: Bytes, at: int, end: int) -> int:
    """Eight bytes from `at`, zeros beyond the frame; the frame has at least eight bytes."""
    if at + 8 <= end:
        return load_u64(frame, at)
    return load_u64(frame, end - 8) >> uint64(8 * (at + 8 - end))


@inner
def _has_literal(frame: Bytes, at: int, end: int, arena: Words, words: int, length: int) -> bool:
    """Whether the frame goes on with a literal kept at arena[words:]."""
    if at + length > end:
        return False
    whole = length >> 3
    for index in range(whole):
        if load_u64(frame, at + 8 * index) != uint64(arena[words + index]):
            return False
    rest = length & 7
    if rest == 0:
        return True
    mask = (uint64(1) << uint64(8 * rest)) - uint64(1)
    return (_word_at(frame, at + 8 * whole, end) & mask) == uint64(arena[words + whole])


@inner
def _number(frame: Bytes, at: int, end: int) -> tuple[int, int]:
    """A number of 1 to 18 digits without leading zeros: (position after it, value) or a miss."""
    if at + 24 > end or frame[at] == ZERO:
        return _NOT_THIS_FORM, 0
    value = int64(0)
    for index in range(2):
        word = load_u64(frame, at)
        digits = leading_digits(word)
        if digits == 0:
            return (at, value) if index > 0 else (_NOT_THIS_FORM, 0)
        value = value * POWERS_OF_TEN[digits] + digits_value(word, digits)
        at += digits
        if digits < 8:
            return at, value
    word = load_u64(frame, at)
    digits = leading_digits(word)
    if digits > 2:
        return _NOT_THIS_FORM, 0
    if digits > 0:
        value = value * POWERS_OF_TEN[digits] + digits_value(word, digits)
    return at + digits, value


@inner
def _width(frame: Bytes, at: int) -> tuple[int, int]:
    """Digits before and after the dot of a quoted decimal, for a guess; (0, 0) if not of our form.

    At most seven digits before and eight after, so that both are one load each.
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
def _low_bytes(count: int) -> int:
    """A mask of the first 0 to 8 bytes of a word."""
    half = uint64(4 * (8 - count))
    return (_ALL_BITS >> half) >> half


@inner
def _plan_number(arena: Words, plan: int, lane: int, digits: int) -> None:
    """Tell `four_numbers` how many digits a lane has, 0 to 8."""
    arena[plan + lane] = 64 - 8 * digits
    arena[plan + 4 + lane] = int64(_low_bytes(digits))


@inner
def _plan_level(frame: Bytes, at: int, arena: Words, feed: int) -> bool:
    """Measure the level at `at` and plan for more like it; False if it is not of our form."""
    price_whole, price_fraction = _width(frame, at + 2)
    if price_whole == 0:
        return False
    dot = 1 if price_fraction > 0 else 0
    lots_whole, lots_fraction = _width(frame, at + 5 + price_whole + dot + price_fraction)
    if lots_whole == 0:
        return False
    widths = feed + L.FEED_WIDTHS_AT
    arena[widths + L.WIDTH_PRICE_WHOLE] = price_whole
    arena[widths + L.WIDTH_PRICE_FRACTION] = price_fraction
    arena[widths + L.WIDTH_LOTS_WHOLE] = lots_whole
    arena[widths + L.WIDTH_LOTS_FRACTION] = lots_fraction
    plan = feed + L.FEED_PLAN_AT
    _plan_number(arena, plan, 0, price_whole)
    _plan_number(arena, plan, 1, price_fraction)
    _plan_number(arena, plan, 2, lots_whole)
    _plan_number(arena, plan, 3, lots_fraction)
    return True


@inner
def _last_level(
    frame: Bytes, at: int, end: int, stage: Words, row: int, arena: Words, feed: int
) -> int:
    """Read one level near the frame's end, every read proved: the position after it, or a miss."""
    if at + 2 > end or frame[at] != OPEN_BRACKET or frame[at + 1] != QUOTE:
        return _NOT_THIS_FORM
    at, price, price_decimals = decimal(frame, at + 2, end)
    if at < 0 or at + 2 > end or frame[at] != COMMA or frame[at + 1] != QUOTE:
        return _NOT_THIS_FORM
    at, lots, lot_decimals = decimal(frame, at + 2, end)
    if at < 0 or at + 2 > end or frame[at] != CLOSE_BRACKET:
        return _NOT_THIS_FORM
    ticks = scaled(arena, feed + L.FEED_PRICE_SCALE_AT, price, price_decimals)
    amount = scaled(arena, feed + L.FEED_LOT_SCALE_AT, lots, lot_decimals)
    if ticks <= 0 or amount < 0:
        return _NOT_THIS_FORM
    stage[row + L.ROW_PRICE] = ticks
    stage[row + L.ROW_LOTS] = amount
    return at + 1


@inner
def _levels(
    frame: Bytes, at: int, end: int, stage: Words, rows: int, arena: Words, feed: int
) -> tuple[int, int]:
    """Read a level list into scaled rows: (position after it, how many), or a miss."""
    levels_max = stage[L.STAGE_LEVELS_MAX]
    if at + 2 > end or frame[at] != OPEN_BRACKET:
        return _NOT_THIS_FORM, 0
    at += 1
    if frame[at] == CLOSE_BRACKET:
        return at + 1, 0
    count = 0
    row = rows
    while count < levels_max:
        if at + LEVEL_BYTES_MAX > end:
            at = _last_level(frame, at, end, stage, row, arena, feed)
        else:
            after = _planned_level(frame, at, stage, row, arena, feed)
            if after < 0 and _plan_level(frame, at, arena, feed):
                after = _planned_level(frame, at, stage, row, arena, feed)
            at = after
        if at < 0:
            return _NOT_THIS_FORM, 0
        row += L.ROW_WORDS
        count += 1
        if frame[at] != COMMA:
            return (at + 1, count) if frame[at] == CLOSE_BRACKET else (_NOT_THIS_FORM, 0)
        at += 1
    return _NOT_THIS_FORM, 0


@inner
def _planned_level(frame: Bytes, at: int, stage: Words, row: int, arena: Words, feed: int) -> int:
    """Read a level of the widths planned for: the position after it, or a miss.

    LEVEL_BYTES_MAX bytes are there. Everything is computed first and verified by one branch.
    """
    widths = feed + L.FEED_WIDTHS_AT
    price_fraction = arena[widths + L.WIDTH_PRICE_FRACTION]
    lots_fraction = arena[widths + L.WIDTH_LOTS_FRACTION]
    price_dot = at + 2 + arena[widths + L.WIDTH_PRICE_WHOLE]
    price_close = price_dot + price_fraction + (1 if price_fraction > 0 else 0)
    lots_dot = price_close + 3 + arena[widths + L.WIDTH_LOTS_WHOLE]
    lots_close = lots_dot + lots_fraction + (1 if lots_fraction > 0 else 0)
    numbers = feed + L.FEED_NUMBERS_AT
    is_digits = four_numbers(
        frame, at + 2, price_dot + 1, price_close + 3, lots_dot + 1,
        arena, feed + L.FEED_PLAN_AT, arena, numbers,
    )  # fmt: skip
    wrong = (load_u64(frame, at) ^ uint64(_OPEN)) & uint64(0xFFFF)
    wrong |= (load_u64(frame, price_close) ^ uint64(_BETWEEN)) & uint64(0xFFFFFF)
    wrong |= (load_u64(frame, lots_close) ^ uint64(_CLOSE)) & uint64(0xFFFF)
    is_formed = (price_fraction == 0 or frame[price_dot] == DOT) and (
        lots_fraction == 0 or frame[lots_dot] == DOT
    )
    price = arena[numbers] * POWERS_OF_TEN[price_fraction] + arena[numbers + 1]
    amount = arena[numbers + 2] * POWERS_OF_TEN[lots_fraction] + arena[numbers + 3]
    ticks = scaled(arena, feed + L.FEED_PRICE_SCALE_AT, price, price_fraction)
    lots = scaled(arena, feed + L.FEED_LOT_SCALE_AT, amount, lots_fraction)
    stage[row + L.ROW_PRICE] = ticks
    stage[row + L.ROW_LOTS] = lots
    if is_digits and is_formed and wrong == uint64(0) and ticks > 0 and lots >= 0:
        return lots_close + 2
    return _NOT_THIS_FORM


@inner
def read_by_template(frame: Bytes, arena: Words, feed: int, stage: Words) -> bool:
    """Read a frame into the stage, rows scaled, if it has the form of the feed's template.

    False leaves the stage undefined: the general reader decides then.
    """
    parts = arena[feed + L.FEED_TEMPLATE_PARTS]
    end = len(frame)
    if parts == 0 or end < 8:
        return False
    at = 0
    stage[L.STAGE_FIRST_ID] = 0
    for index in range(parts):
        part = feed + L.FEED_TEMPLATE_PARTS_AT + index * L.PART_WORDS
        length = arena[part + L.PART_LITERAL_BYTES]
        words = feed + L.FEED_TEMPLATE_WORDS_AT + arena[part + L.PART_LITERAL_AT]
        if not _has_literal(frame, at, end, arena, words, length):
            return False
        at += length
        field = arena[part + L.PART_FIELD]
        if field == FIELD_BIDS or field == FIELD_ASKS:
            is_asks = 1 if field == FIELD_ASKS else 0
            at, count = _levels(frame, at, end, stage, rows_at(stage, is_asks), arena, feed)
            if at < 0:
                return False
            stage[L.STAGE_ASKS if is_asks else L.STAGE_BIDS] = count
        elif field != L.PART_END:
            at, value = _number(frame, at, end)
            if at < 0:
                return False
            if field == FIELD_FIRST_ID:
                stage[L.STAGE_FIRST_ID] = value
            elif field == FIELD_LAST_ID:
                stage[L.STAGE_LAST_ID] = value
            elif field == FIELD_TIME:
                stage[L.STAGE_TIME] = value
    if at != end:
        return False
    return settle_times(stage, arena[feed + L.FEED_PROTOCOL]) == 0


@inner
def learn_template(frame: Bytes, arena: Words, feed: int, stage: Words) -> None:
    """Keep the fixed parts of a diff that the general reader has just accepted for this feed."""
    arena[feed + L.FEED_TEMPLATE_PARTS] = 0
    parts = stage[L.STAGE_PARTS]
    if parts > L.PARTS_MAX - 1:
        return
    at = 0
    word_at = 0
    for index in range(parts + 1):
        stop = len(frame)
        field = L.PART_END
        after = stop
        if index < parts:
            noted = L.STAGE_PARTS_AT + index * L.PART_WORDS
            field, stop, after = stage[noted], stage[noted + 1], stage[noted + 2]
        length = stop - at
        words = (length + 7) >> 3
        if length < 0 or word_at + words > L.TEMPLATE_WORDS:
            return
        part = feed + L.FEED_TEMPLATE_PARTS_AT + index * L.PART_WORDS
        arena[part + L.PART_FIELD] = field
        arena[part + L.PART_LITERAL_AT] = word_at
        arena[part + L.PART_LITERAL_BYTES] = length
        for word in range(words):
            packed = int64(0)
            for byte in range(min(length - 8 * word, 8)):
                packed |= int64(frame[at + 8 * word + byte]) << (8 * byte)
            arena[feed + L.FEED_TEMPLATE_WORDS_AT + word_at + word] = packed
        word_at += words
        at = after
    arena[feed + L.FEED_TEMPLATE_PARTS] = parts + 1
