"""From a handoff slot to protobuf bytes, compiled: the plain summary, the v1 book, venue states.

The bytes are those that net.gateway.book_messages makes in Python, which the tests hold against
these. Fields that have their default are left out; two encoded messages of one type, one after the
other, are the encoding of their merger, so the v1 book's times come first and its content behind
them (https://protobuf.dev/programming-guides/encoding/).
Invariants: prices, amounts and spreads are integers until the one division that makes the double,
so each is the double nearest to the exact decimal, as long as ticks times mantissa fits an int64.
Runs on: the gateway's event loop.
"""

from __future__ import annotations

import numpy as np

from engine.compiling.atomics import (
    Bytes,
    Words,
    copy_bytes,
    float_bits,
    int64,
    leading_zeros,
    load_u64,
    multiply_wrapping,
    store_u64,
    uint64,
)
from engine.compiling.jit import JIT_OFF, inner
from engine.layout import layout as L
from net.gateway.data_path import layout as D

VARINT, DOUBLE, BYTES = 0, 1, 2
"""Wire types: a tag is the field's number times eight, and one of these."""

POWERS: Words = np.array([10**decimals for decimals in range(L.DECIMALS_MAX + 1)], np.int64)
EXACT_MAX = 1 << 53
"""Doubles hold every integer up to it."""
assert L.DECIMALS_MAX <= 22, "powers of ten are doubles up to the 22nd"

DOUBLE_BITS = 53
HASH_FACTOR = 0x9E3779B97F4A7C15
"""2**64 divided by the golden ratio (Knuth, The Art of Computer Programming 3, section 6.4)."""

if JIT_OFF:

    def unsigned(value: int) -> int:
        """The 64 bits of an int64 as a number without a sign."""
        return uint64(int(value) & ((1 << 64) - 1))

else:

    @inner
    def unsigned(value: int) -> int:
        return uint64(value)


@inner
def quotient_bits(number: int, divisor: int) -> int:
    """The bits of the double nearest to number / divisor, ties to even; a power of ten to 10**18.

    Where both are exact doubles IEEE 754's division is that. Beyond 2**53 the quotient is divided
    out bit by bit: 54 bits and whether anything is left.
    """
    if -EXACT_MAX <= number <= EXACT_MAX:
        return float_bits(float(number) / float(divisor))
    sign = int64(0)
    magnitude = unsigned(number)
    if number < 0:
        sign = int64(-(1 << 63))
        magnitude = unsigned(-number)
    wide = uint64(divisor)
    quotient = magnitude // wide
    rest = magnitude - quotient * wide
    exponent = int64(0)
    while leading_zeros(quotient) > 63 - DOUBLE_BITS:
        rest = rest + rest
        quotient = quotient + quotient
        if rest >= wide:
            rest = rest - wide
            quotient = quotient + uint64(1)
        exponent -= 1
    spare = 64 - leading_zeros(quotient) - DOUBLE_BITS
    mantissa = int64(quotient >> uint64(spare))
    cut = int64(quotient) & ((1 << spare) - 1)
    half = 1 << (spare - 1)
    if cut > half or (cut == half and (rest > uint64(0) or mantissa & 1 == 1)):
        mantissa += 1
    # A carry out of the mantissa is one to the exponent: the fields lie side by side.
    return sign | (((exponent + spare + 1075 - 1) << 52) + mantissa)


@inner
def put_varint(raw: Bytes, at: int, value: int) -> int:
    """A field's integer, seven bits a byte, the lowest first; where it ends."""
    left = unsigned(value)
    while left > uint64(127):
        raw[at] = int64(left & uint64(127)) | 128
        left = left >> uint64(7)
        at += 1
    raw[at] = int64(left)
    return at + 1


@inner
def put_integer(raw: Bytes, at: int, field: int, value: int) -> int:
    """An integer field below 16, unless it is zero; where it ends."""
    if value == 0:
        return at
    raw[at] = field << 3 | VARINT
    return put_varint(raw, at + 1, value)


@inner
def put_double(raw: Bytes, at: int, field: int, bits: int) -> int:
    """A double by its bits, unless it is zero; where it ends."""
    if bits == 0:
        return at
    raw[at] = field << 3 | DOUBLE
    store_u64(raw, at + 1, bits)
    return at + 9


@inner
def put_text(raw: Bytes, at: int, field: int, text: int) -> int:
    """A text of TEXTS, unless it is empty; where it ends."""
    size = int64(raw[text])
    if size == 0:
        return at
    raw[at] = field << 3 | BYTES
    copy_bytes(raw, at + 1, raw, text, size + 1)
    return at + 2 + size


@inner
def texts_of(words: Words, instrument: int) -> int:
    """Where an instrument's symbol is; its venues' names follow."""
    return words[D.TEXTS_AT] + instrument * D.TEXTS_BYTES


@inner
def name_of(words: Words, instrument: int, venue: int) -> int:
    return texts_of(words, instrument) + (1 + venue) * D.TEXT_BYTES


@inner
def _spread_ticks(words: Words, slot: int) -> int:
    best_ask = words[slot + L.SLOT_ASKS_AT + L.LEVEL_PRICE]
    return best_ask - words[slot + L.SLOT_BIDS_AT + L.LEVEL_PRICE]


@inner
def _price_bits(words: Words, slot: int, ticks: int) -> int:
    number = ticks * words[slot + L.SLOT_TICK_MANTISSA]
    return quotient_bits(number, POWERS[words[slot + L.SLOT_TICK_DECIMALS]])


@inner
def _put_levels(
    words: Words, raw: Bytes, at: int, instrument: int, slot: int, field: int, side: int, depth: int
) -> int:
    """One side as summary levels (`depth` 0) or v1 levels; where they end. `side`: 0 bids, 1 asks.

    A level is shorter than 128 bytes: its length is one byte, written last.
    """
    count = words[slot + L.SLOT_BIDS + side]
    level_at = slot + L.SLOT_BIDS_AT + side * (L.SLOT_ASKS_AT - L.SLOT_BIDS_AT)
    if depth > 0:
        count = min(count, depth)
    divisor = POWERS[words[slot + L.SLOT_LOT_DECIMALS]]
    for _ in range(count):
        raw[at] = field << 3 | BYTES
        start = at + 2
        ticks, lots = words[level_at + L.LEVEL_PRICE], words[level_at + L.LEVEL_LOTS]
        venue = words[level_at + L.LEVEL_VENUE]
        at = put_text(raw, start, 1, name_of(words, instrument, venue))
        double_field = 2
        if depth > 0:
            at = put_integer(raw, at, 2, ticks)
            at = put_integer(raw, at, 3, lots)
            double_field = 4
        at = put_double(raw, at, double_field, _price_bits(words, slot, ticks))
        at = put_double(raw, at, double_field + 1, quotient_bits(lots, divisor))
        raw[start - 1] = at - start
        level_at += L.LEVEL_WORDS
    return at


@inner
def _put_statuses(
    words: Words, raw: Bytes, at: int, instrument: int, slot: int, field: int, count: int
) -> int:
    """Every venue's status; where they end."""
    for venue in range(count):
        venue_at = slot + L.SLOT_VENUES_AT + venue * L.VENUE_WORDS
        raw[at] = field << 3 | BYTES
        start = at + 2
        at = put_text(raw, start, 1, name_of(words, instrument, venue))
        at = put_integer(raw, at, 2, words[venue_at + L.VENUE_STATE] + 1)
        at = put_integer(raw, at, 3, words[venue_at + L.VENUE_FLAGS] & L.FLAG_INCOMPLETE)
        at = put_integer(raw, at, 4, words[venue_at + L.VENUE_VENUE_NS])
        at = put_integer(raw, at, 5, words[venue_at + L.VENUE_RECEIVE_NS])
        at = put_integer(raw, at, 6, words[venue_at + L.VENUE_UPDATE_ID])
        raw[start - 1] = at - start
    return at


@inner
def _states_hash(words: Words, slot: int, venues: int) -> int:
    """What a subscriber counts as a change of the venues: states and flags, not times."""
    value = uint64(venues)
    for venue in range(venues):
        at = slot + L.SLOT_VENUES_AT + venue * L.VENUE_WORDS
        state = words[at + L.VENUE_STATE] << 8 | (words[at + L.VENUE_FLAGS] & 255)
        value = multiply_wrapping(value ^ uint64(state), HASH_FACTOR)
        value = value ^ (value >> uint64(29))
    return int64(value >> uint64(1))


@inner
def _bytes_hash(raw: Bytes, start: int, end: int, seed: int) -> int:
    """A hash of raw[start:end], with zeros behind; equal bytes and seeds give the same one."""
    store_u64(raw, end, 0)
    value = uint64(seed) ^ uint64(end - start)
    for at in range(start, end, 8):
        value = multiply_wrapping(value ^ load_u64(raw, at), HASH_FACTOR)
        value = value ^ (value >> uint64(29))
    return int64(value >> uint64(1))


@inner
def _put_summary(words: Words, raw: Bytes, at: int, instrument: int, slot: int) -> int:
    has_spread = words[slot + L.SLOT_BIDS] > 0 and words[slot + L.SLOT_ASKS] > 0
    if has_spread:
        at = put_double(raw, at, 1, _price_bits(words, slot, _spread_ticks(words, slot)))
    at = _put_levels(words, raw, at, instrument, slot, 2, 0, 0)
    return _put_levels(words, raw, at, instrument, slot, 3, 1, 0)


@inner
def _put_times(words: Words, raw: Bytes, at: int, instrument: int, slot: int, venues: int) -> int:
    """What changes with every v1 book."""
    at = put_integer(raw, at, 2, words[slot + L.SLOT_SEQUENCE])
    at = put_integer(raw, at, 3, words[slot + L.SLOT_PUBLISH_NS])
    at = put_integer(raw, at, 4, words[slot + L.SLOT_RECEIVE_NS])
    at = put_integer(raw, at, 5, words[slot + L.SLOT_VENUE_NS])
    trigger = words[slot + L.SLOT_TRIGGER_VENUE]
    if 0 <= trigger < venues:
        at = put_text(raw, at, 6, name_of(words, instrument, trigger))
    return _put_statuses(words, raw, at, instrument, slot, 15, venues)


@inner
def _put_content(words: Words, raw: Bytes, at: int, instrument: int, slot: int, depth: int) -> int:
    """What makes a v1 book differ from the one before."""
    at = put_text(raw, at, 1, texts_of(words, instrument))
    at = put_integer(raw, at, 7, words[slot + L.SLOT_FLAGS] & L.FLAG_CROSSED)
    if words[slot + L.SLOT_BIDS] > 0 and words[slot + L.SLOT_ASKS] > 0:
        # An optional field is there even where it is zero.
        ticks = _spread_ticks(words, slot)
        raw[at] = 8 << 3 | VARINT
        at = put_varint(raw, at + 1, ticks)
        raw[at] = 9 << 3 | DOUBLE
        store_u64(raw, at + 1, _price_bits(words, slot, ticks))
        at += 9
    at = put_integer(raw, at, 10, words[slot + L.SLOT_TICK_MANTISSA])
    at = put_integer(raw, at, 11, words[slot + L.SLOT_TICK_DECIMALS])
    at = put_integer(raw, at, 12, words[slot + L.SLOT_LOT_DECIMALS])
    at = _put_levels(words, raw, at, instrument, slot, 13, 0, depth)
    return _put_levels(words, raw, at, instrument, slot, 14, 1, depth)


@inner
def message_at(words: Words, form: int) -> int:
    """Where a form's message is: gRPC's prefix, then the bytes."""
    return words[D.MESSAGES_AT] + form * (D.MESSAGE_BYTES_MAX + D.HASH_BYTES)


@inner
def encode_form(words: Words, raw: Bytes, form: int) -> None:
    """Write a form's message of its instrument's newest slot, unless it holds that already."""
    instrument, kind = form // D.FORMS_EACH, form % D.FORMS_EACH
    instrument_at = D.HEADER_WORDS + instrument * D.INSTRUMENT_WORDS
    form_at = words[D.FORMS_AT] + form * D.FORM_WORDS
    sequence = words[instrument_at + D.INSTRUMENT_SEQUENCE]
    if words[form_at + D.FORM_SEQUENCE] == sequence:
        return
    slot = instrument_at + D.INSTRUMENT_SLOT_AT
    venues = words[instrument_at + D.INSTRUMENT_VENUES]
    start = message_at(words, form)
    body = start + D.PREFIX_BYTES
    if kind == D.SUMMARY:
        at = _put_summary(words, raw, body, instrument, slot)
        content = _bytes_hash(raw, body, at, 0)
    elif kind == D.STATUS:
        at = put_text(raw, body, 1, texts_of(words, instrument))
        at = put_integer(raw, at, 2, words[slot + L.SLOT_SEQUENCE])
        at = put_integer(raw, at, 3, words[slot + L.SLOT_PUBLISH_NS])
        at = _put_statuses(words, raw, at, instrument, slot, 4, venues)
        content = _states_hash(words, slot, venues)
    else:
        middle = _put_times(words, raw, body, instrument, slot, venues)
        at = _put_content(words, raw, middle, instrument, slot, kind - D.BOOK + 1)
        content = _bytes_hash(raw, middle, at, _states_hash(words, slot, venues))
    size = at - body
    assert size + D.PREFIX_BYTES <= D.MESSAGE_BYTES_MAX, "a book beyond the largest there is"
    raw[start] = 0
    for place in range(4):
        raw[start + 1 + place] = size >> (24 - 8 * place) & 255
    words[form_at + D.FORM_SEQUENCE] = sequence
    words[form_at + D.FORM_CONTENT] = content
    words[form_at + D.FORM_BYTES] = size + D.PREFIX_BYTES
