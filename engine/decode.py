"""Frame bytes to a stage: one strict reader for the book messages of both venues.

    {"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":..,"s":"BTCUSDT","U":..,"u":..,
     "b":[["61837.63000000","3.78826000"],..],"a":[..]}}                       Binance, a diff
    {"data":{"timestamp":"..","microtimestamp":"..","bids":[["61837.63","3.78826000"],..],
     "asks":[..]},"channel":"diff_order_book_btcusd","event":"data"}           Bitstamp, a diff
    {"lastUpdateId":..,"bids":[..],"asks":[..]}  {"microtimestamp":"..","bids":..}   snapshots

Keys may come in any order, with white space and with keys we do not know; every byte is verified.
A field that is missing, doubled or of another type is BAD_SCHEMA. Whatever is JSON but no book
message is OTHER, for net to look at. Nothing touches a book here: the result is a stage, with
prices and quantities as mantissas and decimals until `scale_rows` makes them ticks and lots.
Runs on: the engine thread (frames) and the housekeeping thread (snapshots). Called by: engine.feed.
"""

from __future__ import annotations

from engine import layout as L
from engine import status as S
from engine.atomics import Bytes, Words
from engine.jit import inner
from engine.scan import (
    CLOSE_BRACE,
    CLOSE_BRACKET,
    COMMA,
    DOT,
    LOWER_E,
    OPEN_BRACE,
    OPEN_BRACKET,
    QUOTE,
    UPPER_E,
    decimal,
    has_plain_escape,
    key_end,
    skip_space,
    string_end,
    unsigned,
    value_end,
)
from engine.stage import packed, rows_at, settle_times

# What a key means. The number is also the field's bit in STAGE_PRESENT and STAGE_MISTYPED.
(
    FIELD_UNKNOWN,
    FIELD_ENVELOPE,
    FIELD_EVENT,
    FIELD_TOPIC,
    FIELD_SYMBOL,
    FIELD_FIRST_ID,
    FIELD_LAST_ID,
    FIELD_TIME,
    FIELD_BIDS,
    FIELD_ASKS,
    FIELD_SECONDS,
) = range(11)
FIELD_DOUBLED = 11
"""The bit that says that some field came twice."""
FIELD_ESCAPED = 12
"""The bit that says that a key, an event or a topic spells plain characters as escapes."""

FORM_BINANCE_DIFF = 0
FORM_BINANCE_SNAPSHOT = 1
FORM_BITSTAMP = 2

KIND_OTHER = 0
KIND_DIFF = 1
KIND_SNAPSHOT = 2

_SIDES = (1 << FIELD_BIDS) | (1 << FIELD_ASKS)
_BINANCE_DIFF = (
    _SIDES
    | (1 << FIELD_EVENT)
    | (1 << FIELD_SYMBOL)
    | (1 << FIELD_FIRST_ID)
    | (1 << FIELD_LAST_ID)
    | (1 << FIELD_TIME)
)
_BITSTAMP_DIFF = (
    _SIDES | (1 << FIELD_ENVELOPE) | (1 << FIELD_EVENT) | (1 << FIELD_TOPIC) | (1 << FIELD_LAST_ID)
)
_SNAPSHOT = _SIDES | (1 << FIELD_LAST_ID)

BITSTAMP_CHANNEL = "diff_order_book_"
_CHANNEL_BYTES = len(BITSTAMP_CHANNEL)


def _key(text: str) -> int:
    """The first eight bytes of a key as the number `_packed` makes of them."""
    return int.from_bytes(text.encode()[:8].ljust(8, b"\0"), "little")


K_DATA, K_EVENT, K_CHANNEL = _key("data"), _key("event"), _key("channel")
K_LOWER_E, K_UPPER_E, K_LOWER_S = _key("e"), _key("E"), _key("s")
K_UPPER_U, K_LOWER_U, K_B, K_A = _key("U"), _key("u"), _key("b"), _key("a")
K_BIDS, K_ASKS = _key("bids"), _key("asks")


def _long(text: str) -> tuple[int, int, int]:
    """A text of 9 to 16 bytes: its first eight bytes, the rest, its length."""
    return _key(text), _key(text[8:]), len(text)


K_LAST_UPDATE_ID = _long("lastUpdateId")
K_TIMESTAMP = _long("timestamp")
K_MICROTIMESTAMP = _long("microtimestamp")
T_DEPTH_UPDATE = _long("depthUpdate")
T_DIFF_ORDER_BOOK = _long(BITSTAMP_CHANNEL)


@inner
def _is_span(frame: Bytes, start: int, stop: int, text: tuple[int, int, int]) -> bool:
    """Whether a span is a text of 9 to 16 bytes."""
    return (
        stop - start == text[2]
        and packed(frame, start, stop) == text[0]
        and packed(frame, start + 8, stop) == text[1]
    )


@inner
def _binance_field(frame: Bytes, start: int, stop: int) -> int:
    word = packed(frame, start, stop)
    length = stop - start
    if length == 1:
        if word == K_B:
            return FIELD_BIDS
        if word == K_A:
            return FIELD_ASKS
        if word == K_LOWER_U:
            return FIELD_LAST_ID
        if word == K_UPPER_U:
            return FIELD_FIRST_ID
        if word == K_LOWER_E:
            return FIELD_EVENT
        if word == K_UPPER_E:
            return FIELD_TIME
        if word == K_LOWER_S:
            return FIELD_SYMBOL
    return FIELD_ENVELOPE if length == 4 and word == K_DATA else FIELD_UNKNOWN


@inner
def _side_field(frame: Bytes, start: int, stop: int) -> int:
    word = packed(frame, start, stop)
    if stop - start == 4:
        if word == K_BIDS:
            return FIELD_BIDS
        if word == K_ASKS:
            return FIELD_ASKS
    return FIELD_UNKNOWN


@inner
def _bitstamp_field(frame: Bytes, start: int, stop: int, is_inside: bool) -> int:
    word = packed(frame, start, stop)
    length = stop - start
    if length == 4 and word == K_DATA:
        return FIELD_ENVELOPE
    if length == 5 and word == K_EVENT and not is_inside:
        return FIELD_EVENT
    if length == 7 and word == K_CHANNEL and not is_inside:
        return FIELD_TOPIC
    if _is_span(frame, start, stop, K_MICROTIMESTAMP):
        return FIELD_LAST_ID
    if _is_span(frame, start, stop, K_TIMESTAMP):
        return FIELD_SECONDS
    return _side_field(frame, start, stop)


@inner
def _field_of(frame: Bytes, start: int, stop: int, form: int, is_inside: bool) -> int:
    """What a key means in a message of this form."""
    if form == FORM_BINANCE_DIFF:
        return _binance_field(frame, start, stop)
    if form == FORM_BITSTAMP:
        return _bitstamp_field(frame, start, stop, is_inside)
    if _is_span(frame, start, stop, K_LAST_UPDATE_ID):
        return FIELD_LAST_ID
    return _side_field(frame, start, stop)


@inner
def _levels_end(frame: Bytes, at: int, end: int, stage: Words, rows: int) -> tuple[int, int]:
    """Read `[["price","quantity"],..]` into stage rows: (position after it, how many).

    A status instead of the position: BAD_SCHEMA where it is JSON of another shape.
    """
    levels_max = stage[L.STAGE_LEVELS_MAX]
    count = 0
    at = skip_space(frame, at + 1, end)
    if at < end and frame[at] == CLOSE_BRACKET:
        return at + 1, 0
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
        stage[row + L.ROW_PRICE] = price
        stage[row + L.ROW_LOTS] = lots
        stage[row + L.ROW_DECIMALS] = price_decimals * 64 + lot_decimals
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
    """Note where a number or a level list was, for engine.template; texts belong to the rest."""
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
def _skip_seconds(frame: Bytes, at: int, end: int, stage: Words) -> int:
    """Past the whole seconds beside a microtimestamp: nothing uses them, but they change."""
    after = value_end(frame, at, end)
    if after > at + 2 and frame[at] == QUOTE:
        stop, _ = unsigned(frame, at + 1, after - 1)
        if stop == after - 1:
            _note_part(stage, FIELD_SECONDS, at, after, True)
    return after


@inner
def _read_field(frame: Bytes, at: int, end: int, stage: Words, field: int, quoted: bool) -> int:
    """Read one known field's value: the position after it, BAD_SCHEMA if of another type."""
    if field == FIELD_BIDS or field == FIELD_ASKS:
        if frame[at] != OPEN_BRACKET:
            return S.BAD_SCHEMA
        is_asks = 1 if field == FIELD_ASKS else 0
        at, count = _levels_end(frame, at, end, stage, rows_at(stage, is_asks))
        stage[L.STAGE_ASKS if is_asks else L.STAGE_BIDS] = count
        return at
    if field == FIELD_EVENT:
        return _read_text(frame, at, end, stage, L.STAGE_EVENT_START)
    if field == FIELD_TOPIC:
        return _read_text(frame, at, end, stage, L.STAGE_TOPIC_START)
    if field == FIELD_SYMBOL:
        return _read_text(frame, at, end, stage, L.STAGE_SYMBOL_START)
    if quoted:
        if frame[at] != QUOTE:
            return S.BAD_SCHEMA
        at += 1
    at, value = unsigned(frame, at, end)
    if at < 0:
        return at
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
    else:
        stage[L.STAGE_TIME] = value
    return at


@inner
def _read_member(frame: Bytes, at: int, end: int, stage: Words, field: int, form: int) -> int:
    """Read or pass over one member's value: the position after it, or a status."""
    if field == FIELD_UNKNOWN or field == FIELD_ENVELOPE:
        return value_end(frame, at, end)
    if field == FIELD_SECONDS:
        return _skip_seconds(frame, at, end, stage)
    is_doubled = stage[L.STAGE_PRESENT] & (1 << field) != 0
    stage[L.STAGE_PRESENT] |= 1 << (FIELD_DOUBLED if is_doubled else field)
    is_quoted = form == FORM_BITSTAMP and field == FIELD_LAST_ID
    after = _read_field(frame, at, end, stage, field, is_quoted)
    if after < 0 and after != S.BAD_UTF8 and after != S.TOO_DEEP:
        # Perhaps valid JSON that merely is no book message: let the whole be judged.
        if stage[L.STAGE_MISTYPED] == 0:
            stage[L.STAGE_MISTYPED] = after
        return value_end(frame, at, end)
    _note_part(stage, field, at, after, is_quoted)
    return after


@inner
def _read_members(frame: Bytes, form: int, stage: Words) -> int:
    """Walk the object and its envelope; 0 or a status. Fields land in the stage."""
    end = len(frame)
    at = skip_space(frame, 0, end)
    if at >= end:
        return S.BAD_JSON
    if frame[at] != OPEN_BRACE:
        at = value_end(frame, at, end)
        return at if at < 0 else (S.OTHER if skip_space(frame, at, end) == end else S.BAD_JSON)
    is_inside = False
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
        field = _field_of(frame, key_start, key_stop, form, is_inside)
        if field == FIELD_ENVELOPE and not is_inside:
            is_doubled = stage[L.STAGE_PRESENT] & (1 << FIELD_ENVELOPE) != 0
            stage[L.STAGE_PRESENT] |= 1 << (FIELD_DOUBLED if is_doubled else FIELD_ENVELOPE)
        if field == FIELD_ENVELOPE and not is_inside and frame[at] == OPEN_BRACE:
            is_inside = True
            at = skip_space(frame, at + 1, end)
            if at < end and frame[at] != CLOSE_BRACE:
                continue
        else:
            if not is_inside:
                stage[L.STAGE_OUTSIDE] |= 1 << field
            at = _read_member(frame, at, end, stage, field, form)
        if at < 0:
            return at
        at = skip_space(frame, at, end)
        if at < end and frame[at] == CLOSE_BRACE and is_inside:
            is_inside = False
            at = skip_space(frame, at + 1, end)
        if at >= end:
            return S.BAD_JSON
        if frame[at] == CLOSE_BRACE:
            break
        if frame[at] != COMMA:
            return S.BAD_JSON
        at = skip_space(frame, at + 1, end)
    return 0 if skip_space(frame, at + 1, end) == end else S.BAD_JSON


@inner
def _is_complete(stage: Words, wanted: int, payload: int) -> int:
    """0 when all wanted fields came once, well typed, the payload in one place; else a refusal.

    The payload belongs into the envelope where there is one, and nowhere else.
    """
    present = stage[L.STAGE_PRESENT]
    if stage[L.STAGE_MISTYPED] != 0:
        return stage[L.STAGE_MISTYPED]
    if present & wanted != wanted or present & ((1 << FIELD_DOUBLED) | (1 << FIELD_ESCAPED)):
        return S.BAD_SCHEMA
    outside = 0 if present & (1 << FIELD_ENVELOPE) else payload
    return 0 if stage[L.STAGE_OUTSIDE] & payload == outside else S.BAD_SCHEMA


@inner
def _no_diff(stage: Words) -> int:
    """The answer to a message that names itself otherwise; it must do so in plain words."""
    return S.BAD_SCHEMA if stage[L.STAGE_PRESENT] & (1 << FIELD_ESCAPED) else S.OTHER


@inner
def _judge_binance(frame: Bytes, stage: Words) -> int:
    is_diff = stage[L.STAGE_PRESENT] & (1 << FIELD_EVENT) and _is_span(
        frame, stage[L.STAGE_EVENT_START], stage[L.STAGE_EVENT_END], T_DEPTH_UPDATE
    )
    if not is_diff:
        return _no_diff(stage)
    refusal = _is_complete(stage, _BINANCE_DIFF, _BINANCE_DIFF)
    if refusal != 0:
        return refusal
    return settle_times(stage, L.PROTOCOL_BINANCE)


@inner
def _judge_bitstamp(frame: Bytes, stage: Words) -> int:
    event = stage[L.STAGE_EVENT_START]
    is_data = (
        stage[L.STAGE_PRESENT] & (1 << FIELD_EVENT)
        and stage[L.STAGE_EVENT_END] - event == 4
        and packed(frame, event, stage[L.STAGE_EVENT_END]) == K_DATA
    )
    topic = stage[L.STAGE_TOPIC_START]
    topic_end = stage[L.STAGE_TOPIC_END]
    is_diff = (
        is_data
        and stage[L.STAGE_PRESENT] & (1 << FIELD_TOPIC)
        and topic_end - topic > _CHANNEL_BYTES
        and _is_span(frame, topic, topic + _CHANNEL_BYTES, T_DIFF_ORDER_BOOK)
    )
    if not is_diff:
        return _no_diff(stage)
    refusal = _is_complete(stage, _BITSTAMP_DIFF, _SNAPSHOT)
    if refusal != 0:
        return refusal
    stage[L.STAGE_SYMBOL_START] = topic + _CHANNEL_BYTES
    stage[L.STAGE_SYMBOL_END] = topic_end
    return settle_times(stage, L.PROTOCOL_BITSTAMP)


@inner
def _clear(stage: Words) -> None:
    for index in range(L.STAGE_KIND, L.STAGE_ROWS_AT):
        stage[index] = 0


@inner
def decode_diff(frame: Bytes, protocol: int, stage: Words) -> int:
    """Read one websocket text frame: APPLIED when the stage holds a diff, OTHER, or a refusal."""
    _clear(stage)
    is_binance = protocol == L.PROTOCOL_BINANCE
    status = _read_members(frame, FORM_BINANCE_DIFF if is_binance else FORM_BITSTAMP, stage)
    if status != 0:
        return status
    status = _judge_binance(frame, stage) if is_binance else _judge_bitstamp(frame, stage)
    stage[L.STAGE_KIND] = KIND_DIFF if status == S.APPLIED else KIND_OTHER
    return status


@inner
def decode_snapshot(body: Bytes, protocol: int, stage: Words) -> int:
    """Read one REST body: APPLIED when the stage holds a snapshot, else a refusal."""
    _clear(stage)
    is_binance = protocol == L.PROTOCOL_BINANCE
    status = _read_members(body, FORM_BINANCE_SNAPSHOT if is_binance else FORM_BITSTAMP, stage)
    if status == 0:
        status = _is_complete(stage, _SNAPSHOT, _SNAPSHOT)
    if status == S.OTHER:
        status = S.BAD_SCHEMA
    if status != 0:
        return status
    if not is_binance:
        status = settle_times(stage, protocol)
    if status != S.APPLIED:
        return status
    stage[L.STAGE_KIND] = KIND_SNAPSHOT
    return S.APPLIED
