"""Message bytes to a stage: one strict reader for the book messages of every venue.

What the messages look like is data, a schema in the arena (engine.decoding.schema):

    {"stream":"..","data":{"e":"depthUpdate","E":..,"s":"BTCUSDT","U":..,"u":..,
     "b":[["61837.63000000","3.78826000"],..],"a":[..]}}          enveloped, levels as quoted pairs
    {"channel":"book","type":"update","time":"2024-..Z","bids":[{"price":61837.6,"qty":0.5},..],..}

Keys may come in any order, with white space and with keys we do not know; every byte is verified.
A field that is missing, doubled or of another type is BAD_SCHEMA. Whatever is JSON but no book
message is OTHER, for net to look at. Nothing touches a book here: the result is a stage, with
prices and quantities as mantissas and decimals until `scale_rows` makes them ticks and lots.
Runs on: the engine thread (frames) and the housekeeping thread (snapshots).
"""

from __future__ import annotations

from engine.compiling.atomics import Bytes, Words
from engine.compiling.jit import inner
from engine.decoding.iso_time import iso_ns
from engine.decoding.level_list import is_text, levels_end
from engine.decoding.scan import (
    CLOSE_BRACE,
    CLOSE_BRACKET,
    COMMA,
    DOT,
    LOWER_E,
    MINUS,
    OPEN_BRACE,
    OPEN_BRACKET,
    QUOTE,
    UPPER_E,
    has_plain_escape,
    key_end,
    skip_space,
    string_end,
    unsigned,
    value_end,
)
from engine.decoding.schema import (
    CHECKSUM_MAX,
    CHECKSUM_MIN,
    FIELD_ASKS,
    FIELD_BIDS,
    FIELD_CHECKSUM,
    FIELD_DOUBLED,
    FIELD_ENVELOPE,
    FIELD_ESCAPED,
    FIELD_EVENT,
    FIELD_FIRST_ID,
    FIELD_HEADER,
    FIELD_IGNORED,
    FIELD_INNER,
    FIELD_LAST_ID,
    FIELD_LEVELS,
    FIELD_PREVIOUS_ID,
    FIELD_SYMBOL,
    FIELD_TIME,
    FIELD_TOPIC,
    FIELD_UNKNOWN,
    FIELD_WHOLE,
    ISO_TEXT,
    NO_CHECKSUM,
)
from engine.decoding.staging import packed, rows_at, settle
from engine.layout import layout as L
from engine.layout import status as S

KIND_OTHER = 0
KIND_DIFF = 1
KIND_SNAPSHOT = 2

(_TOP, _PAYLOAD, _HEADER, _INNER) = range(4)
"""Which object a member stands in."""


@inner
def _field_of(
    frame: Bytes, start: int, stop: int, arena: Words, schema: int, is_inside: bool
) -> int:
    """What a key means in a message of this schema."""
    length = stop - start
    if length > L.TEXT_BYTES_MAX:
        return FIELD_UNKNOWN
    first = packed(frame, start, stop)
    second = packed(frame, start + 8, stop)
    for index in range(arena[schema + L.SCHEMA_KEYS]):
        key = schema + L.SCHEMA_KEYS_AT + index * L.KEY_WORDS
        if (
            arena[key + L.TEXT_FIRST] == first
            and arena[key + L.TEXT_SECOND] == second
            and arena[key + L.TEXT_LENGTH] == length
            and not (is_inside and arena[key + L.KEY_IS_OUTSIDE] != 0)
        ):
            field: int = arena[key + L.KEY_FIELD]
            return field
    return FIELD_UNKNOWN


@inner
def _read_text(frame: Bytes, at: int, end: int, stage: Words, start_at: int) -> int:
    """Keep a string's span at stage[start_at] and [start_at + 1]; BAD_SCHEMA if it is no string."""
    if frame[at] != QUOTE:
        return S.BAD_SCHEMA
    close = string_end(frame, at + 1, end)
    if close < 0:
        return close
    if has_plain_escape(frame, at + 1, close):
        stage[L.STAGE_PRESENT] |= 1 << FIELD_ESCAPED
    stage[start_at] = at + 1
    stage[start_at + 1] = close
    return close + 1


@inner
def _note_part(stage: Words, field: int, start: int, stop: int, is_quoted: bool) -> None:
    """Note where a number or a level list was, for engine.decoding.frame_template; texts belong to
    the rest."""
    if field == FIELD_EVENT or field == FIELD_TOPIC or field == FIELD_SYMBOL:
        return
    count = stage[L.STAGE_PARTS]
    stage[L.STAGE_PARTS] = count + 1
    if count < L.PARTS_MAX:
        part = L.STAGE_PARTS_AT + count * L.NOTE_WORDS
        quote = 1 if is_quoted else 0
        stage[part] = field
        stage[part + 1] = start + quote
        stage[part + 2] = stop - quote


@inner
def _skip_ignored(frame: Bytes, at: int, end: int, stage: Words) -> int:
    """Past a number that nothing uses, but that changes from frame to frame."""
    after = value_end(frame, at, end)
    if after > at:
        quote = 1 if frame[at] == QUOTE else 0
        stop, _ = unsigned(frame, at + quote, after - quote)
        if stop == after - quote:
            _note_part(stage, FIELD_IGNORED, at, after, quote == 1)
    return after


@inner
def read_side(
    frame: Bytes, at: int, end: int, stage: Words, field: int, arena: Words, schema: int
) -> int:
    """Read a list of levels into the rows of its side, or of both: the position after it."""
    if frame[at] != OPEN_BRACKET:
        return S.BAD_SCHEMA
    bids, asks = rows_at(stage, 0), rows_at(stage, 1)
    if field == FIELD_LEVELS:
        at, bids_count, asks_count = levels_end(frame, at, end, stage, bids, asks, arena, schema)
        stage[L.STAGE_BIDS] = bids_count
        stage[L.STAGE_ASKS] = asks_count
        return at
    is_asks = field == FIELD_ASKS
    rows = asks if is_asks else bids
    at, count, _ = levels_end(frame, at, end, stage, rows, rows, arena, schema)
    stage[L.STAGE_ASKS if is_asks else L.STAGE_BIDS] = count
    return at


@inner
def read_iso_time(frame: Bytes, at: int, end: int, stage: Words) -> int:
    """Read a quoted time: the position after it, or a refusal."""
    if frame[at] != QUOTE:
        return S.BAD_SCHEMA
    close = string_end(frame, at + 1, end)
    if close < 0:
        return close
    time_ns = iso_ns(frame, at + 1, close)
    if time_ns < 0:
        return S.BAD_SCHEMA
    stage[L.STAGE_TIME] = time_ns
    return close + 1


@inner
def _read_number(frame: Bytes, at: int, end: int, stage: Words, field: int, quoted: bool) -> int:
    """Read an id or a time: the position after it."""
    if quoted:
        if frame[at] != QUOTE:
            return S.BAD_SCHEMA
        at += 1
    can_be_negative = field == FIELD_PREVIOUS_ID or field == FIELD_CHECKSUM
    is_negative = can_be_negative and at < end and frame[at] == MINUS
    at, value = unsigned(frame, at + 1 if is_negative else at, end)
    if at < 0:
        return at
    if is_negative:
        value = -value
    if at < end and (frame[at] == DOT or frame[at] == LOWER_E or frame[at] == UPPER_E):
        return S.BAD_SCHEMA
    if quoted:
        if at >= end or frame[at] != QUOTE:
            return S.BAD_SCHEMA
        at += 1
    if field == FIELD_FIRST_ID:
        stage[L.STAGE_FIRST_ID] = value
    elif field == FIELD_LAST_ID:
        stage[L.STAGE_LAST_ID] = value
    elif field == FIELD_PREVIOUS_ID:
        stage[L.STAGE_PREVIOUS_ID] = value
    elif field == FIELD_CHECKSUM:
        if not CHECKSUM_MIN <= value <= CHECKSUM_MAX:
            return S.BAD_SCHEMA
        stage[L.STAGE_CHECKSUM] = value & CHECKSUM_MAX  # of one that is written with a sign too
    else:
        stage[L.STAGE_TIME] = value
    return at


@inner
def _read_field(
    frame: Bytes, at: int, end: int, stage: Words, field: int, arena: Words, schema: int
) -> int:
    """Read one known field's value: the position after it, BAD_SCHEMA if of another type."""
    if field == FIELD_BIDS or field == FIELD_ASKS or field == FIELD_LEVELS:
        return read_side(frame, at, end, stage, field, arena, schema)
    if field == FIELD_EVENT:
        return _read_text(frame, at, end, stage, L.STAGE_EVENT_START)
    if field == FIELD_TOPIC:
        return _read_text(frame, at, end, stage, L.STAGE_TOPIC_START)
    if field == FIELD_SYMBOL:
        return _read_text(frame, at, end, stage, L.STAGE_SYMBOL_START)
    if field == FIELD_TIME and arena[schema + L.SCHEMA_TIME_UNIT_NS] == ISO_TEXT:
        return read_iso_time(frame, at, end, stage)
    is_quoted = arena[schema + L.SCHEMA_QUOTED] & (1 << field) != 0
    return _read_number(frame, at, end, stage, field, is_quoted)


@inner
def _mark_present(stage: Words, field: int) -> None:
    is_doubled = stage[L.STAGE_PRESENT] & (1 << field) != 0
    stage[L.STAGE_PRESENT] |= 1 << (FIELD_DOUBLED if is_doubled else field)


@inner
def _read_member(
    frame: Bytes, at: int, end: int, stage: Words, field: int, arena: Words, schema: int
) -> int:
    """Read or pass over one member's value: the position after it, or a status."""
    is_object = field == FIELD_ENVELOPE or field == FIELD_HEADER or field == FIELD_INNER
    if field == FIELD_UNKNOWN or is_object:
        return value_end(frame, at, end)
    if field == FIELD_IGNORED:
        return _skip_ignored(frame, at, end, stage)
    _mark_present(stage, field)
    if field == FIELD_WHOLE:
        return value_end(frame, at, end)
    after = _read_field(frame, at, end, stage, field, arena, schema)
    if after < 0 and after != S.BAD_UTF8 and after != S.TOO_DEEP:
        # Perhaps valid JSON that merely is no book message: let the whole be judged.
        if stage[L.STAGE_MISTYPED] == 0:
            stage[L.STAGE_MISTYPED] = after
        return value_end(frame, at, end)
    is_quoted = arena[schema + L.SCHEMA_QUOTED] & (1 << field) != 0
    _note_part(stage, field, at, after, is_quoted)
    return after


@inner
def _members_start(frame: Bytes, at: int, end: int, field: int, place: int, is_listed: bool) -> int:
    """Where the members of an object that is one with the message begin; -1 where it is none."""
    is_top = field == FIELD_ENVELOPE or field == FIELD_HEADER
    if not (place == _TOP and is_top) and not (place == _PAYLOAD and field == FIELD_INNER):
        return -1
    if field == FIELD_ENVELOPE and is_listed:
        if frame[at] != OPEN_BRACKET:
            return -1
        at = skip_space(frame, at + 1, end)
    if at >= end or frame[at] != OPEN_BRACE:
        return -1
    return skip_space(frame, at + 1, end)


@inner
def _list_end(frame: Bytes, at: int, end: int, stage: Words) -> int:
    """Past the list that the envelope stands in; `at` is behind the envelope's brace.

    A second member makes it SEVERAL, if nothing is wrong with the first.
    """
    at = skip_space(frame, at, end)
    while at < end and frame[at] == COMMA:
        if stage[L.STAGE_MISTYPED] == 0:
            stage[L.STAGE_MISTYPED] = S.SEVERAL
        at = value_end(frame, skip_space(frame, at + 1, end), end)
        if at < 0:
            return at
        at = skip_space(frame, at, end)
    return at + 1 if at < end and frame[at] == CLOSE_BRACKET else S.BAD_JSON


@inner
def _place_in(field: int) -> int:
    """Where the members of such an object stand."""
    if field == FIELD_HEADER:
        return _HEADER
    return _PAYLOAD if field == FIELD_ENVELOPE else _INNER


@inner
def _objects_end(
    frame: Bytes, at: int, end: int, stage: Words, place: int, is_listed: bool
) -> tuple[int, int]:
    """Past the braces behind a member, but the message's own: (position, where that is).

    A status instead of the position.
    """
    at = skip_space(frame, at, end)
    while at < end and frame[at] == CLOSE_BRACE and place != _TOP:
        at += 1
        if place == _PAYLOAD and is_listed:
            at = _list_end(frame, at, end, stage)
            if at < 0:
                return at, place
        place = _PAYLOAD if place == _INNER else _TOP
        at = skip_space(frame, at, end)
    return at, place


@inner
def _read_members(frame: Bytes, arena: Words, schema: int, stage: Words) -> int:
    """Read the message, and the objects that are one with it, to the end; 0 or a status."""
    end = len(frame)
    at = skip_space(frame, 0, end)
    if at >= end:
        return S.BAD_JSON
    if frame[at] != OPEN_BRACE:
        at = value_end(frame, at, end)
        return at if at < 0 else (S.OTHER if skip_space(frame, at, end) == end else S.BAD_JSON)
    is_listed = arena[schema + L.SCHEMA_IS_LISTED] != 0
    place = _TOP
    at = skip_space(frame, at + 1, end)
    is_empty = at < end and frame[at] == CLOSE_BRACE
    while not is_empty:
        key_start = at + 1
        at = key_end(frame, at, end)
        if at < 0:
            return at
        if at >= end:
            return S.BAD_JSON
        key_stop = string_end(frame, key_start, end)
        if has_plain_escape(frame, key_start, key_stop):
            stage[L.STAGE_PRESENT] |= 1 << FIELD_ESCAPED
        is_inside = place == _PAYLOAD or place == _INNER
        field = _field_of(frame, key_start, key_stop, arena, schema, is_inside)
        is_object = field == FIELD_ENVELOPE or field == FIELD_HEADER or field == FIELD_INNER
        if is_object and (place == _TOP or field == FIELD_INNER):
            _mark_present(stage, field)
        start = _members_start(frame, at, end, field, place, is_listed)
        if start >= 0:
            place = _place_in(field)
            at = start
            if at < end and frame[at] != CLOSE_BRACE:
                continue
        else:
            if not is_inside:
                stage[L.STAGE_OUTSIDE] |= 1 << field
            at = _read_member(frame, at, end, stage, field, arena, schema)
            if at < 0:
                return at
        at, place = _objects_end(frame, at, end, stage, place, is_listed)
        if at < 0:
            return at
        if at >= end:
            return S.BAD_JSON
        if frame[at] == CLOSE_BRACE:
            break
        if frame[at] != COMMA:
            return S.BAD_JSON
        at = skip_space(frame, at + 1, end)
    return 0 if skip_space(frame, at + 1, end) == end else S.BAD_JSON


@inner
def _refusal(stage: Words, arena: Words, schema: int) -> int:
    """0 when all wanted fields came once, well typed, the payload in one place; else a refusal.

    The payload belongs into the envelope where there is one, and nowhere else. SEVERAL where that
    is one of a list's members, whatever they are.
    """
    present = stage[L.STAGE_PRESENT]
    wanted, payload = arena[schema + L.SCHEMA_WANTED], arena[schema + L.SCHEMA_PAYLOAD]
    if stage[L.STAGE_MISTYPED] != 0:
        return stage[L.STAGE_MISTYPED]
    if present & wanted != wanted or present & ((1 << FIELD_DOUBLED) | (1 << FIELD_ESCAPED)):
        return S.BAD_SCHEMA
    if present & (1 << FIELD_ENVELOPE) and stage[L.STAGE_OUTSIDE] & payload:
        return S.BAD_SCHEMA
    return 0


@inner
def _event_kind(frame: Bytes, stage: Words, arena: Words, schema: int) -> int:
    """What kind of message its event says it is; KIND_OTHER where it names another event."""
    if arena[schema + L.SCHEMA_HAS] & (1 << FIELD_EVENT) == 0:
        return KIND_SNAPSHOT if arena[schema + L.SCHEMA_IS_SNAPSHOT] != 0 else KIND_DIFF
    if stage[L.STAGE_PRESENT] & (1 << FIELD_EVENT) == 0:
        return KIND_OTHER
    start, stop = stage[L.STAGE_EVENT_START], stage[L.STAGE_EVENT_END]
    if stop == start:
        return KIND_OTHER
    if is_text(frame, start, stop, arena, schema + L.SCHEMA_DIFF_AT):
        return KIND_SNAPSHOT if stage[L.STAGE_PRESENT] & (1 << FIELD_WHOLE) else KIND_DIFF
    if is_text(frame, start, stop, arena, schema + L.SCHEMA_SNAPSHOT_AT):
        return KIND_SNAPSHOT
    return KIND_OTHER


@inner
def _take_topic(frame: Bytes, stage: Words, arena: Words, schema: int) -> bool:
    """Whether the topic is the book's; where no key names the symbol, it is the topic's rest."""
    has = arena[schema + L.SCHEMA_HAS]
    if has & (1 << FIELD_TOPIC) == 0:
        return True
    if stage[L.STAGE_PRESENT] & (1 << FIELD_TOPIC) == 0:
        return False
    start, stop = stage[L.STAGE_TOPIC_START], stage[L.STAGE_TOPIC_END]
    if has & (1 << FIELD_SYMBOL) != 0:
        if arena[schema + L.SCHEMA_IS_TOPIC_PREFIX] != 0:
            stop = min(start + arena[schema + L.SCHEMA_TOPIC_AT + L.TEXT_LENGTH], stop)
        return is_text(frame, start, stop, arena, schema + L.SCHEMA_TOPIC_AT)
    symbol = start + arena[schema + L.SCHEMA_TOPIC_AT + L.TEXT_LENGTH]
    if symbol >= stop or not is_text(frame, start, symbol, arena, schema + L.SCHEMA_TOPIC_AT):
        return False
    stage[L.STAGE_SYMBOL_START] = symbol
    stage[L.STAGE_SYMBOL_END] = stop
    return True


@inner
def decode(frame: Bytes, arena: Words, schema: int, stage: Words) -> int:
    """Read one message: APPLIED when the stage holds a book message, OTHER, SEVERAL, or a refusal.

    STAGE_KIND says whether it is a diff or a whole book.
    """
    for index in range(L.STAGE_KIND, L.STAGE_ROWS_AT):
        stage[index] = 0
    stage[L.STAGE_CHECKSUM] = NO_CHECKSUM
    status = _read_members(frame, arena, schema, stage)
    if status != 0:
        return status
    kind = _event_kind(frame, stage, arena, schema)
    if kind == KIND_OTHER or not _take_topic(frame, stage, arena, schema):
        # A message that names itself otherwise must do so in plain words.
        is_escaped = stage[L.STAGE_PRESENT] & (1 << FIELD_ESCAPED)
        return S.BAD_SCHEMA if is_escaped else S.OTHER
    status = _refusal(stage, arena, schema)
    if status == 0:
        status = settle(stage, arena, schema)
    if status != S.APPLIED:
        return status
    stage[L.STAGE_KIND] = kind
    return S.APPLIED
