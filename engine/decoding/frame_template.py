"""Frames of the form the last one had: only their numbers are read.

A venue's frames differ in their numbers alone. When the general reader (engine.decoding.decode) has
accepted a diff, the bytes between its numbers and level lists are kept as the feed's *template*:

    {"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E": <number>
    ,"s":"BTCUSDT","U": <number> ,"u": <number> ,"b": <levels> ,"a": <levels> }}

A frame whose fixed bytes equal the template's, and whose places hold plain numbers and levels, is
JSON of the same meaning: every byte of it has been compared or read as a digit. Whatever deviates
is not judged here but left to the general reader, which says what is wrong, or learns anew. Levels
that are no pairs of quoted decimals, and times as text, are engine.decoding.other_parts's.

The widths of a stream's numbers hardly change, so each is first tried with those of the one before
(levels by a plan: engine.decoding.level_plan). Positions then depend on a branch that is predicted,
not on the data, and the processor reads several levels at once.
Runs on: the engine thread.
"""

from __future__ import annotations

from engine.compiling.atomics import Bytes, Words, int64, load_u64, uint64
from engine.compiling.jit import hot, inner
from engine.decoding.decimals import decimal
from engine.decoding.level_plan import WIDTHS_BYTES, plan_for, widths
from engine.decoding.other_parts import NOT_THIS_FORM, read_other_part
from engine.decoding.scale import scaled
from engine.decoding.scan import (
    CLOSE_BRACKET,
    COMMA,
    NINE,
    OPEN_BRACKET,
    POWERS_OF_TEN,
    QUOTE,
    ZERO,
    digits_value,
    leading_digits,
    non_digits,
)
from engine.decoding.schema import (
    CHECKSUM_MAX,
    FIELD_ASKS,
    FIELD_BIDS,
    FIELD_CHECKSUM,
    FIELD_FIRST_ID,
    FIELD_LAST_ID,
    FIELD_LEVELS,
    FIELD_PREVIOUS_ID,
    FIELD_TIME,
    ISO_TEXT,
    NO_CHECKSUM,
)
from engine.decoding.simd import LANE_BYTES, two_numbers
from engine.decoding.staging import rows_at, settle
from engine.layout import layout as L
from engine.layout import status as S

_ALL_BITS = uint64(0xFFFFFFFFFFFFFFFF)


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
        return NOT_THIS_FORM, 0
    value = int64(0)
    for index in range(2):
        word = load_u64(frame, at)
        digits = leading_digits(word)
        if digits == 0:
            return (at, value) if index > 0 else (NOT_THIS_FORM, 0)
        value = value * POWERS_OF_TEN[digits] + digits_value(word, digits)
        at += digits
        if digits < 8:
            return at, value
    word = load_u64(frame, at)
    digits = leading_digits(word)
    if digits > 2:
        return NOT_THIS_FORM, 0
    if digits > 0:
        value = value * POWERS_OF_TEN[digits] + digits_value(word, digits)
    return at + digits, value


@inner
def _number_as_wide(frame: Bytes, at: int, width: int) -> int:
    """A number of 9 to 16 digits at `at`, or a miss; the caller proves `width` bytes.

    Where it ends depends on nothing that has just been read, so the processor goes on meanwhile.
    """
    head = width - 8
    first = load_u64(frame, at)
    last = load_u64(frame, at + head)
    mask = (uint64(1) << uint64(8 * head)) - uint64(1) if head < 8 else _ALL_BITS
    wrong = (non_digits(first) & mask) | non_digits(last)
    if wrong != uint64(0) or frame[at] == ZERO:
        return NOT_THIS_FORM
    return digits_value(first, head) * POWERS_OF_TEN[8] + digits_value(last, 8)


@inner
def _any_level(
    frame: Bytes, at: int, end: int, stage: Words, row: int, arena: Words, feed: int
) -> int:
    """Read one level of any widths, every read proved: the position after it, or a miss."""
    if at + 2 > end or frame[at] != OPEN_BRACKET or frame[at + 1] != QUOTE:
        return NOT_THIS_FORM
    at, price, price_decimals = decimal(frame, at + 2, end)
    if at < 0 or at + 2 > end or frame[at] != COMMA or frame[at + 1] != QUOTE:
        return NOT_THIS_FORM
    at, lots, lot_decimals = decimal(frame, at + 2, end)
    if at < 0 or at + 2 > end or frame[at] != CLOSE_BRACKET:
        return NOT_THIS_FORM
    ticks = scaled(arena, feed + L.FEED_PRICE_SCALE_AT, price, price_decimals)
    amount = scaled(arena, feed + L.FEED_LOT_SCALE_AT, lots, lot_decimals)
    if ticks <= 0 or amount < 0:
        return NOT_THIS_FORM
    stage[row + L.ROW_PRICE] = ticks
    stage[row + L.ROW_LOTS] = amount
    return at + 1


@inner
def _planned_level(
    frame: Bytes, at: int, end: int, stage: Words, row: int, arena: Words, plan: int
) -> int:
    """Read a level of the widths planned for: the position after it, or a miss."""
    after = at + arena[plan + L.PLAN_LEVEL_BYTES]
    if plan == 0 or after > end:
        return NOT_THIS_FORM
    if arena[plan + L.PLAN_MIDDLE_FIXED] != 0:
        middle = load_u64(frame, at + arena[plan + L.PLAN_MIDDLE_AT])
        wrong = middle ^ uint64(arena[plan + L.PLAN_MIDDLE_EXPECTED])
        if wrong & uint64(arena[plan + L.PLAN_MIDDLE_FIXED]) != uint64(0):
            return NOT_THIS_FORM
    is_right, ticks, lots = two_numbers(
        frame, at, after - LANE_BYTES, arena, plan + L.PLAN_VECTORS_AT
    )
    stage[row + L.ROW_PRICE] = ticks
    stage[row + L.ROW_LOTS] = lots
    return after if is_right and ticks > 0 else NOT_THIS_FORM


@inner
def _other_level(
    frame: Bytes, at: int, end: int, stage: Words, row: int, arena: Words, feed: int
) -> int:
    """Read a level of other widths than the one before: the position after it, or a miss."""
    if arena[feed + L.FEED_PLANNED_DIGITS_MAX] > 0 and at + WIDTHS_BYTES <= end:
        key = widths(frame, at)
        plan = plan_for(arena, feed, key) if key != 0 else 0
        after = _planned_level(frame, at, end, stage, row, arena, plan)
        if after >= 0:
            return after
    return _any_level(frame, at, end, stage, row, arena, feed)


@inner
def _levels(
    frame: Bytes, at: int, end: int, stage: Words, rows: int, arena: Words, feed: int
) -> tuple[int, int]:
    """Read a level list into scaled rows: (position after it, how many), or a miss."""
    levels_max = stage[L.STAGE_LEVELS_MAX]
    if at + 2 > end or frame[at] != OPEN_BRACKET:
        return NOT_THIS_FORM, 0
    at += 1
    if frame[at] == CLOSE_BRACKET:
        return at + 1, 0
    plan = arena[feed + L.FEED_PLAN]
    row = rows
    for count in range(1, levels_max + 1):
        after = _planned_level(frame, at, end, stage, row, arena, plan)
        if after < 0:
            after = _other_level(frame, at, end, stage, row, arena, feed)
            plan = arena[feed + L.FEED_PLAN]
        if after < 0 or after >= end:
            return NOT_THIS_FORM, 0
        row += L.ROW_WORDS
        at = after + 1
        if frame[after] != COMMA:
            return (at, count) if frame[after] == CLOSE_BRACKET else (NOT_THIS_FORM, 0)
    return NOT_THIS_FORM, 0


@hot
def _number_as_before(frame: Bytes, at: int, end: int, arena: Words, part: int) -> tuple[int, int]:
    """A number, tried first with the digits it had before: (position after it, value) or a miss."""
    width = arena[part + L.PART_DIGITS]
    if 9 <= width <= 16 and at + width < end:
        value = _number_as_wide(frame, at, width)
        if value >= 0 and not ZERO <= frame[at + width] <= NINE:
            return at + width, value
    after, value = _number(frame, at, end)
    arena[part + L.PART_DIGITS] = after - at
    return after, value


@hot
def read_by_template(frame: Bytes, arena: Words, feed: int, stage: Words) -> bool:
    """Read a frame into the stage, rows scaled, if it has the form of the feed's template.

    False leaves the stage undefined: the general reader decides then.
    """
    parts = arena[feed + L.FEED_TEMPLATE_PARTS]
    end = len(frame)
    if parts == 0 or end < 8:
        return False
    at = 0
    schema = arena[feed + L.FEED_RULES] + L.RULES_FRAME_AT
    stage[L.STAGE_FIRST_ID] = 0
    stage[L.STAGE_TIME] = 0
    stage[L.STAGE_CHECKSUM] = NO_CHECKSUM
    stage[L.STAGE_PRESENT] = arena[feed + L.FEED_TEMPLATE_PRESENT]
    for index in range(parts):
        part = feed + L.FEED_TEMPLATE_PARTS_AT + index * L.PART_WORDS
        length = arena[part + L.PART_LITERAL_BYTES]
        words = feed + L.FEED_TEMPLATE_WORDS_AT + arena[part + L.PART_LITERAL_AT]
        if not _has_literal(frame, at, end, arena, words, length):
            return False
        at += length
        field = arena[part + L.PART_FIELD]
        if arena[part + L.PART_IS_OTHER] != 0:
            at = read_other_part(frame, at, end, stage, field, arena, feed)
            if at < 0:
                return False
        elif field == FIELD_BIDS or field == FIELD_ASKS:
            is_asks = 1 if field == FIELD_ASKS else 0
            at, count = _levels(frame, at, end, stage, rows_at(stage, is_asks), arena, feed)
            if at < 0:
                return False
            stage[L.STAGE_ASKS if is_asks else L.STAGE_BIDS] = count
        elif field != L.PART_END:
            at, value = _number_as_before(frame, at, end, arena, part)
            if at < 0:
                return False
            if field == FIELD_FIRST_ID:
                stage[L.STAGE_FIRST_ID] = value
            elif field == FIELD_LAST_ID:
                stage[L.STAGE_LAST_ID] = value
            elif field == FIELD_TIME:
                stage[L.STAGE_TIME] = value
            elif field == FIELD_PREVIOUS_ID:
                stage[L.STAGE_PREVIOUS_ID] = value
            elif field == FIELD_CHECKSUM:
                if value > CHECKSUM_MAX:
                    return False
                stage[L.STAGE_CHECKSUM] = value
    if at != end or settle(stage, arena, schema) != S.APPLIED:
        return False
    if arena[schema + L.SCHEMA_HAS_PLAIN_LEVELS] != 0:
        return True
    return read_other_part(frame, at, end, stage, L.PART_END, arena, feed) >= 0


@inner
def _is_other(arena: Words, schema: int, field: int) -> bool:
    """Whether a part is read by engine.decoding.other_parts."""
    if field == FIELD_TIME:
        return arena[schema + L.SCHEMA_TIME_UNIT_NS] == ISO_TEXT
    is_list = field == FIELD_LEVELS or field == FIELD_BIDS or field == FIELD_ASKS
    return is_list and arena[schema + L.SCHEMA_HAS_PLAIN_LEVELS] == 0


@inner
def learn_template(frame: Bytes, arena: Words, feed: int, stage: Words) -> None:
    """Keep the fixed parts of a diff that the general reader has just accepted for this feed."""
    arena[feed + L.FEED_TEMPLATE_PARTS] = 0
    schema = arena[feed + L.FEED_RULES] + L.RULES_FRAME_AT
    parts = stage[L.STAGE_PARTS]
    if arena[schema + L.SCHEMA_HAS_TEMPLATE] == 0 or parts > L.PARTS_MAX - 1:
        return
    at = 0
    word_at = 0
    for index in range(parts + 1):
        stop = len(frame)
        field = L.PART_END
        after = stop
        if index < parts:
            noted = L.STAGE_PARTS_AT + index * L.NOTE_WORDS
            field, stop, after = stage[noted], stage[noted + 1], stage[noted + 2]
        length = stop - at
        words = (length + 7) >> 3
        if length < 0 or word_at + words > L.TEMPLATE_WORDS:
            return
        part = feed + L.FEED_TEMPLATE_PARTS_AT + index * L.PART_WORDS
        arena[part + L.PART_FIELD] = field
        arena[part + L.PART_LITERAL_AT] = word_at
        arena[part + L.PART_LITERAL_BYTES] = length
        arena[part + L.PART_DIGITS] = after - stop
        arena[part + L.PART_IS_OTHER] = 1 if _is_other(arena, schema, field) else 0
        for word in range(words):
            packed = int64(0)
            for byte in range(min(length - 8 * word, 8)):
                packed |= int64(frame[at + 8 * word + byte]) << (8 * byte)
            arena[feed + L.FEED_TEMPLATE_WORDS_AT + word_at + word] = packed
        word_at += words
        at = after
    assert at == len(frame) and word_at <= L.TEMPLATE_WORDS, "a template of another frame"
    arena[feed + L.FEED_TEMPLATE_PARTS] = parts + 1
    arena[feed + L.FEED_TEMPLATE_PRESENT] = stage[L.STAGE_PRESENT]
