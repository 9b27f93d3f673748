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
from engine.atomics import Bytes, Words, int64, load_u64, multiply_wrapping, uint64
from engine.decode import (
    FIELD_ASKS,
    FIELD_BIDS,
    FIELD_FIRST_ID,
    FIELD_LAST_ID,
    FIELD_TIME,
    rows_at,
    settle_times,
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
    non_digits,
)

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
    for _ in range(2):
        word = load_u64(frame, at)
        digits = leading_digits(word)
        if digits == 0:
            return at, value
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
def _divided(
    mantissa: int, multiplier: int, limit: int, inverse: int, shift: int, largest: int
) -> int:
    """engine.scale.scaled with the row already in registers."""
    product = multiply_wrapping(
        multiply_wrapping(uint64(mantissa), uint64(multiplier)), uint64(inverse)
    )
    turn = uint64(shift)
    rotated = (product >> turn) | (product << ((uint64(64) - turn) & uint64(63)))
    if mantissa > limit or rotated > uint64(largest):
        return -1
    return int64(rotated)


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
def _fits(frame: Bytes, at: int, whole: int, fraction: int) -> bool:
    """Whether a decimal of this width may start here: dot and closing quote are in place."""
    if fraction == 0:
        return whole > 0 and frame[at + whole] == QUOTE
    return frame[at + whole] == DOT and frame[at + whole + 1 + fraction] == QUOTE


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
    prices = feed + L.FEED_PRICE_SCALE_AT
    lots_scale = feed + L.FEED_LOT_SCALE_AT
    price_whole = price_fraction = lots_whole = lots_fraction = -1
    price_mask = lots_mask = price_tail = lots_tail = uint64(0)
    price_row = lots_row = 0
    count = 0
    row = rows
    while True:
        if count == levels_max:
            return _NOT_THIS_FORM, 0
        if at + LEVEL_BYTES_MAX > end:
            at = _last_level(frame, at, end, stage, row, arena, feed)
            if at < 0:
                return _NOT_THIS_FORM, 0
            row += L.ROW_WORDS
            count += 1
            if frame[at] == CLOSE_BRACKET:
                return at + 1, count
            if frame[at] != COMMA:
                return _NOT_THIS_FORM, 0
            at += 1
            continue
        opening = load_u64(frame, at) & uint64(0xFFFF)
        at += 2
        if not _fits(frame, at, price_whole, price_fraction):
            price_whole, price_fraction = _width(frame, at)
            if price_whole == 0:
                return _NOT_THIS_FORM, 0
            price_mask = _low_bytes(price_whole)
            price_tail = _low_bytes(price_fraction)
            price_row = prices + price_fraction * L.SCALE_WORDS
        word = load_u64(frame, at)
        wrong = non_digits(word) & price_mask
        mantissa = digits_value(word, price_whole)
        if price_fraction > 0:
            word = load_u64(frame, at + price_whole + 1)
            wrong |= non_digits(word) & price_tail
            mantissa = mantissa * POWERS_OF_TEN[price_fraction] + digits_value(word, price_fraction)
            at += 1
        at += price_whole + price_fraction
        ticks = _divided(
            mantissa,
            arena[price_row],
            arena[price_row + 1],
            arena[price_row + 2],
            arena[price_row + 3],
            arena[price_row + 4],
        )
        between = load_u64(frame, at) & uint64(0xFFFFFF)
        at += 3
        if not _fits(frame, at, lots_whole, lots_fraction):
            lots_whole, lots_fraction = _width(frame, at)
            if lots_whole == 0:
                return _NOT_THIS_FORM, 0
            lots_mask = _low_bytes(lots_whole)
            lots_tail = _low_bytes(lots_fraction)
            lots_row = lots_scale + lots_fraction * L.SCALE_WORDS
        word = load_u64(frame, at)
        wrong |= non_digits(word) & lots_mask
        mantissa = digits_value(word, lots_whole)
        if lots_fraction > 0:
            word = load_u64(frame, at + lots_whole + 1)
            wrong |= non_digits(word) & lots_tail
            mantissa = mantissa * POWERS_OF_TEN[lots_fraction] + digits_value(word, lots_fraction)
            at += 1
        at += lots_whole + lots_fraction
        lots = _divided(
            mantissa,
            arena[lots_row],
            arena[lots_row + 1],
            arena[lots_row + 2],
            arena[lots_row + 3],
            arena[lots_row + 4],
        )
        closing = load_u64(frame, at) & uint64(0xFFFF)
        wrong |= (
            (opening ^ uint64(_OPEN)) | (between ^ uint64(_BETWEEN)) | (closing ^ uint64(_CLOSE))
        )
        if wrong != uint64(0) or ticks <= 0 or lots < 0:
            return _NOT_THIS_FORM, 0
        stage[row + L.ROW_PRICE] = ticks
        stage[row + L.ROW_LOTS] = lots
        row += L.ROW_WORDS
        count += 1
        at += 2
        if frame[at] == CLOSE_BRACKET:
            return at + 1, count
        if frame[at] != COMMA:
            return _NOT_THIS_FORM, 0
        at += 1


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
