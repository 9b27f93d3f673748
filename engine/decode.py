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
from engine.atomics import Bytes, Words, int64, load_u64
from engine.jit import inner
from engine.scale import scaled
from engine.scan import (
    CLOSE_BRACE,
    CLOSE_BRACKET,
    COMMA,
    OPEN_BRACE,
    OPEN_BRACKET,
    QUOTE,
    decimal,
    has_escape,
    key_end,
    skip_space,
    string_end,
    unsigned,
    value_end,
)

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
_BITSTAMP_DIFF = _SIDES | (1 << FIELD_EVENT) | (1 << FIELD_TOPIC) | (1 << FIELD_LAST_ID)
_SNAPSHOT = _SIDES | (1 << FIELD_LAST_ID)

BITSTAMP_CHANNEL = "diff_order_book_"
_CHANNEL_BYTES = len(BITSTAMP_CHANNEL)
NS_PER_MS = 1_000_000
NS_PER_US = 1_000
MICROSECONDS_FROM = 100_000_000_000_000
"""An event time from here on is in microseconds: in milliseconds it would be the year 5138."""
TIME_MAX = 9_000_000_000_000_000
"""An event time beyond this, in microseconds, does not fit in nanoseconds."""


def _key(text: str) -> int:
    """The first eight bytes of a key as the number `_packed` makes of them."""
    return int.from_bytes(text.encode()[:8].ljust(8, b"\0"), "little")


K_STREAM, K_DATA, K_EVENT, K_CHANNEL = _key("stream"), _key("data"), _key("event"), _key("channel")
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
def _packed(frame: Bytes, start: int, stop: int) -> int:
    """Up to eight bytes of a span as one number, zero padded."""
    length = min(stop - start, 8)
    word = int64(0)
    for index in range(length):
        word |= int64(frame[start + index]) << (8 * index)
    return word


@inner
def _is_span(frame: Bytes, start: int, stop: int, text: tuple[int, int, int]) -> bool:
    """Whether a span is a text of 9 to 16 bytes."""
    return (
        stop - start == text[2]
        and _packed(frame, start, stop) == text[0]
        and _packed(frame, start + 8, stop) == text[1]
    )


@inner
def _binance_field(frame: Bytes, start: int, stop: int) -> int:
    word = _packed(frame, start, stop)
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
    elif length == 4:
        if word == K_DATA:
            return FIELD_ENVELOPE
        if word == K_BIDS:
            return FIELD_BIDS
        if word == K_ASKS:
            return FIELD_ASKS
    elif length == 6 and word == K_STREAM:
        return FIELD_TOPIC
    elif _is_span(frame, start, stop, K_LAST_UPDATE_ID):
        return FIELD_LAST_ID
    return FIELD_UNKNOWN


@inner
def _bitstamp_field(frame: Bytes, start: int, stop: int, is_inside: bool) -> int:
    word = _packed(frame, start, stop)
    length = stop - start
    if length == 4:
        if word == K_DATA:
            return FIELD_ENVELOPE
        if word == K_BIDS:
            return FIELD_BIDS
        if word == K_ASKS:
            return FIELD_ASKS
    elif length == 5 and word == K_EVENT and not is_inside:
        return FIELD_EVENT
    elif length == 7 and word == K_CHANNEL and not is_inside:
        return FIELD_TOPIC
    elif _is_span(frame, start, stop, K_MICROTIMESTAMP):
        return FIELD_LAST_ID
    elif _is_span(frame, start, stop, K_TIMESTAMP):
        return FIELD_SECONDS
    return FIELD_UNKNOWN


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
def rows_at(stage: Words, is_asks: int) -> int:
    """The first row of a side in a stage."""
    return L.STAGE_ROWS_AT + is_asks * stage[L.STAGE_LEVELS_MAX] * L.ROW_WORDS


@inner
def _read_text(frame: Bytes, at: int, end: int, stage: Words, start_at: int) -> int:
    """Keep a string's span at stage[start_at] and [start_at + 1]; BAD_SCHEMA if it is no string."""
    if frame[at] != QUOTE:
        return S.BAD_SCHEMA
    close = string_end(frame, at + 1, end)
    if close < 0:
        return close
    if has_escape(frame, at + 1, close):
        return S.BAD_SCHEMA
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
        part = L.STAGE_PARTS_AT + count * L.PART_WORDS
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
def _read_members(frame: Bytes, protocol: int, stage: Words) -> int:
    """Walk the object and its envelope; 0 or a status. Fields land in the stage."""
    end = len(frame)
    at = skip_space(frame, 0, end)
    if at >= end:
        return S.BAD_JSON
    if frame[at] != OPEN_BRACE:
        at = value_end(frame, at, end)
        return at if at < 0 else (S.OTHER if skip_space(frame, at, end) == end else S.BAD_JSON)
    present = 0
    mistyped = 0
    first_error = S.BAD_SCHEMA
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
        if protocol == L.PROTOCOL_BINANCE:
            field = _binance_field(frame, key_start, key_stop)
        else:
            field = _bitstamp_field(frame, key_start, key_stop, is_inside)
        if field == FIELD_ENVELOPE and not is_inside and frame[at] == OPEN_BRACE:
            if present & (1 << FIELD_ENVELOPE):
                present |= 1 << FIELD_DOUBLED
            present |= 1 << FIELD_ENVELOPE
            is_inside = True
            at = skip_space(frame, at + 1, end)
            if at < end and frame[at] != CLOSE_BRACE:
                continue
        elif field == FIELD_UNKNOWN or field == FIELD_ENVELOPE:
            at = value_end(frame, at, end)
        elif field == FIELD_SECONDS:
            at = _skip_seconds(frame, at, end, stage)
        else:
            present |= 1 << (FIELD_DOUBLED if present & (1 << field) else field)
            start = at
            is_quoted = protocol == L.PROTOCOL_BITSTAMP and field == FIELD_LAST_ID
            at = _read_field(frame, at, end, stage, field, is_quoted)
            _note_part(stage, field, start, at, is_quoted)
            if at < 0 and at != S.BAD_UTF8 and at != S.TOO_DEEP:
                # Perhaps valid JSON that merely is no book message: let the whole be judged.
                if mistyped == 0:
                    first_error = at
                mistyped |= 1 << field
                at = value_end(frame, start, end)
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
    if skip_space(frame, at + 1, end) != end:
        return S.BAD_JSON
    stage[L.STAGE_PRESENT] = present
    stage[L.STAGE_MISTYPED] = first_error if mistyped else 0
    return 0


@inner
def _is_complete(stage: Words, wanted: int) -> int:
    """0 when all wanted fields came once and well typed, else the status to refuse with."""
    present = stage[L.STAGE_PRESENT]
    if stage[L.STAGE_MISTYPED] != 0:
        return stage[L.STAGE_MISTYPED]
    if present & wanted != wanted or present & (1 << FIELD_DOUBLED):
        return S.BAD_SCHEMA
    return 0


@inner
def settle_times(stage: Words, protocol: int) -> int:
    """Ids and times as the feed uses them, from the numbers in the frame; APPLIED or a refusal."""
    last_id = stage[L.STAGE_LAST_ID]
    if protocol == L.PROTOCOL_BITSTAMP:
        stage[L.STAGE_FIRST_ID] = last_id
        stage[L.STAGE_TIME] = last_id * NS_PER_US
        return S.BAD_SCHEMA if last_id > TIME_MAX else S.APPLIED
    time = stage[L.STAGE_TIME]
    if time > TIME_MAX:
        return S.BAD_SCHEMA
    stage[L.STAGE_TIME] = time * (NS_PER_US if time >= MICROSECONDS_FROM else NS_PER_MS)
    return S.BAD_IDS if stage[L.STAGE_FIRST_ID] > last_id else S.APPLIED


@inner
def _judge_binance(frame: Bytes, stage: Words) -> int:
    is_diff = stage[L.STAGE_PRESENT] & (1 << FIELD_EVENT) and _is_span(
        frame, stage[L.STAGE_EVENT_START], stage[L.STAGE_EVENT_END], T_DEPTH_UPDATE
    )
    if not is_diff:
        return S.OTHER
    refusal = _is_complete(stage, _BINANCE_DIFF)
    if refusal != 0:
        return refusal
    return settle_times(stage, L.PROTOCOL_BINANCE)


@inner
def _judge_bitstamp(frame: Bytes, stage: Words) -> int:
    event = stage[L.STAGE_EVENT_START]
    is_data = (
        stage[L.STAGE_PRESENT] & (1 << FIELD_EVENT)
        and stage[L.STAGE_EVENT_END] - event == 4
        and _packed(frame, event, stage[L.STAGE_EVENT_END]) == K_DATA
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
        return S.OTHER
    refusal = _is_complete(stage, _BITSTAMP_DIFF)
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
    status = _read_members(frame, protocol, stage)
    if status != 0:
        return status
    if protocol == L.PROTOCOL_BINANCE:
        status = _judge_binance(frame, stage)
    else:
        status = _judge_bitstamp(frame, stage)
    stage[L.STAGE_KIND] = KIND_DIFF if status == S.APPLIED else KIND_OTHER
    return status


@inner
def decode_snapshot(body: Bytes, protocol: int, stage: Words) -> int:
    """Read one REST body: APPLIED when the stage holds a snapshot, else a refusal."""
    _clear(stage)
    status = _read_members(body, protocol, stage)
    if status == 0:
        status = _is_complete(stage, _SNAPSHOT)
    if status == S.OTHER:
        status = S.BAD_SCHEMA
    if status != 0:
        return status
    if protocol == L.PROTOCOL_BITSTAMP:
        if stage[L.STAGE_LAST_ID] > TIME_MAX:
            return S.BAD_SCHEMA
        stage[L.STAGE_TIME] = stage[L.STAGE_LAST_ID] * NS_PER_US
    stage[L.STAGE_KIND] = KIND_SNAPSHOT
    return S.APPLIED


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
            word = _packed(frame, start + at, start + length)
        rest = length - at
        if rest < 8:
            word &= (1 << (8 * rest)) - 1
        if word != arena[feed + L.FEED_SYMBOL_AT + at // 8]:
            return False
        at += 8
    return True
