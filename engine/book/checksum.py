"""CRC32 over a book's best levels, from its integers: the text it is told of is never made.

A number's digits are those of the integer that it is in units of its printed decimals: 64838.4 of
a market with one decimal is 648384. Eight digits are one word of ASCII, and a word is one step of
the checksum ("slicing by 8": Kounavis and Berry, "Novel table lookup-based algorithms for
high-performance CRC generation", IEEE Transactions on Computers 57, 2008). The polynomial is that
of zlib and Ethernet.

Few levels change from frame to frame, so what a level's text does to a checksum is kept. A checksum
is linear: that of a text is that of its beginning, moved on by as many zeros as follow, xor that of
the rest begun at zero.
Runs on: the engine thread.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.book.ladder import walk_level
from engine.book.rules import CHECKSUM_DIGITS
from engine.book.side import side_at
from engine.compiling.atomics import Words, int64, multiply_wrapping, trailing_zeros, uint64
from engine.compiling.jit import inner
from engine.decoding.scan import DOT, POWERS_OF_TEN, ZERO
from engine.layout import layout as L

DIGITS_LEVELS, TEXT_LEVELS = 10, 25
"""Levels a side that the two kinds of checksum cover."""

_POLYNOMIAL = 0xEDB88320
_CHUNK_DIGITS = 8
_CHUNK = 10**_CHUNK_DIGITS
_FOUR = 10**4
_SEPARATOR = 0x3A
_ASCII_ZEROS = 0x3030303030303030
_START = 0xFFFFFFFF


def _tables() -> Words:
    """T[n][b] at 256 n + b: what a byte b does to the checksum when n more have followed."""
    first = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
        first.append(value)
    found = list(first)
    for at in range(256, _CHUNK_DIGITS * 256):
        before = found[at - 256]
        found.append((before >> 8) ^ first[before & 0xFF])
    return np.array(found, np.int64)


_TABLES = _tables()

_SHIFT_BYTES_MAX = 40
"""A level of the recorded venues has up to 22 bytes; of longer ones the rest is shifted by."""


def _shifts() -> NDArray[np.uint32]:
    """S[n][k][b] at 1024 n + 256 k + b: what byte k of a checksum is after n zeros, if it is b."""
    rows = [np.concatenate([np.arange(256, dtype=np.int64) << 8 * k for k in range(4)])]
    for _ in range(_SHIFT_BYTES_MAX):
        rows.append((rows[-1] >> 8) ^ _TABLES[rows[-1] & 0xFF])
    return np.concatenate(rows).astype(np.uint32)


_SHIFTS = _shifts()


def _before(crc: int, byte: int) -> int:
    """The checksum that is `crc` after one more byte."""
    (row,) = np.flatnonzero(_TABLES[:256] >> 24 == crc >> 24)
    return int((crc ^ _TABLES[row]) << 8 | row ^ byte)


_START_BEFORE_SEPARATOR = _before(_START, _SEPARATOR)
"""So that the first level may have a separator before it as the others have."""
_HASH = uint64(0x9E3779B97F4A7C15)
_HASH_SHIFT = uint64(64 - L.KEPT_BITS)
"""Multiplicative hashing (Knuth, The Art of Computer Programming, volume 3, section 6.4)."""


@inner
def _shift(crc: int, count: int) -> int:
    """The checksum after `count` zeros, up to _SHIFT_BYTES_MAX."""
    row = 1024 * count
    low = int64(_SHIFTS[row + (crc & 0xFF)]) ^ int64(_SHIFTS[row + 256 + ((crc >> 8) & 0xFF)])
    high = int64(_SHIFTS[row + 512 + ((crc >> 16) & 0xFF)])
    return low ^ high ^ int64(_SHIFTS[row + 768 + ((crc >> 24) & 0xFF)])


@inner
def _eight_digits(value: int) -> int:
    """Eight digits of a number below 10^8, the first in the lowest byte, each as its value."""
    high = value // _FOUR
    word = high | (value - high * _FOUR) << 32
    hundreds = ((word * 10486) >> 20) & 0x0000007F0000007F
    word = hundreds | (word - 100 * hundreds) << 16
    tens = ((word * 103) >> 10) & 0x000F000F000F000F
    return tens | (word - 10 * tens) << 8


@inner
def _add_word(crc: int, word: int, count: int) -> int:
    """The checksum after `count` more bytes, 1 to 8, the lowest ones of a word."""
    mixed = word ^ crc
    crc = crc >> (8 * count) if count < 4 else int64(0)
    for index in range(count):
        byte = (mixed >> (8 * index)) & 0xFF
        crc ^= _TABLES[256 * (count - 1 - index) + byte]
    return crc


@inner
def _add_byte(crc: int, byte: int) -> int:
    return (crc >> 8) ^ _TABLES[(crc ^ byte) & 0xFF]


@inner
def _add_padded(crc: int, value: int, digits: int) -> int:
    """The checksum after exactly so many digits of a number, 1 to 8 of them."""
    word = (_eight_digits(value) | _ASCII_ZEROS) >> (8 * (_CHUNK_DIGITS - digits))
    return _add_word(crc, word, digits)


@inner
def _add_number(crc: int, value: int) -> int:
    """The checksum after a number without leading zeros; zero itself has no digit."""
    if value >= _CHUNK * _CHUNK:
        crc = _add_number_below(crc, value // (_CHUNK * _CHUNK))
        crc = _add_padded(crc, value // _CHUNK % _CHUNK, _CHUNK_DIGITS)
        return _add_padded(crc, value % _CHUNK, _CHUNK_DIGITS)
    if value >= _CHUNK:
        crc = _add_number_below(crc, value // _CHUNK)
        return _add_padded(crc, value % _CHUNK, _CHUNK_DIGITS)
    return _add_number_below(crc, value)


@inner
def _add_number_below(crc: int, value: int) -> int:
    """The same of one below 10^8."""
    if value == 0:
        return crc
    zeros = trailing_zeros(uint64(_eight_digits(value))) >> 3
    return _add_padded(crc, value, _CHUNK_DIGITS - zeros)


@inner
def _printed(value: int, decimals: int, printed_decimals: int) -> int:
    """A number of so many decimals in units of the last decimal that is printed."""
    if printed_decimals >= decimals:
        return value * POWERS_OF_TEN[printed_decimals - decimals]
    return value // POWERS_OF_TEN[decimals - printed_decimals]


@inner
def _add_digits(crc: int, value: int) -> tuple[int, int]:
    """(the checksum after a number without leading zeros, its digits); zero itself has none."""
    digits = 0
    rest = value
    while rest > 0:
        rest //= 10
        digits += 1
    return _add_number(crc, value), digits


@inner
def _add_decimal(crc: int, value: int, decimals: int) -> tuple[int, int]:
    """(the checksum after a number above zero as its shortest decimal, how many bytes it has)."""
    while decimals > 0 and value % 10 == 0:
        value //= 10
        decimals -= 1
    whole = value // POWERS_OF_TEN[decimals]
    crc, count = (_add_byte(crc, ZERO), 1) if whole == 0 else _add_digits(crc, whole)
    if decimals == 0:
        return crc, count
    count += 1 + decimals
    crc = _add_byte(crc, DOT)
    fraction = value - whole * POWERS_OF_TEN[decimals]
    if decimals > 2 * _CHUNK_DIGITS:
        divisor = POWERS_OF_TEN[2 * _CHUNK_DIGITS]
        crc = _add_padded(crc, fraction // divisor, decimals - 2 * _CHUNK_DIGITS)
        fraction, decimals = fraction % divisor, 2 * _CHUNK_DIGITS
    if decimals > _CHUNK_DIGITS:
        crc = _add_padded(crc, fraction // _CHUNK, decimals - _CHUNK_DIGITS)
        fraction, decimals = fraction % _CHUNK, _CHUNK_DIGITS
    return _add_padded(crc, fraction, decimals), count


@inner
def _level_text(arena: Words, feed: int, price: int, lots: int) -> tuple[int, int]:
    """(what the text of a level alone does to a checksum of zero, how many bytes it has).

    `price` in the feed's ticks. Digits: price and quantity without dot and leading zeros. Text:
    `:price:quantity`, each as short as can be.
    """
    mantissa = arena[feed + L.FEED_PRICE_MANTISSA]
    price_decimals = arena[feed + L.FEED_PRICE_DECIMALS]
    lot_decimals = arena[feed + L.FEED_LOT_DECIMALS]
    if arena[arena[feed + L.FEED_RULES] + L.RULES_CHECKSUM] == CHECKSUM_DIGITS:
        printed_price = arena[feed + L.FEED_PRINTED_PRICE_DECIMALS]
        printed_lot = arena[feed + L.FEED_PRINTED_LOT_DECIMALS]
        price = _printed(price * mantissa, price_decimals, printed_price)
        crc, count = _add_digits(int64(0), price)
        crc, more = _add_digits(crc, _printed(lots, lot_decimals, printed_lot))
        return crc, count + more
    lot_decimals -= arena[feed + L.FEED_CONTRACT_DECIMALS]
    times = POWERS_OF_TEN[max(-lot_decimals, 0)]
    amount = lots // arena[feed + L.FEED_CONTRACT_MANTISSA] * times
    crc, count = _add_decimal(_add_byte(int64(0), _SEPARATOR), price * mantissa, price_decimals)
    crc, more = _add_decimal(_add_byte(crc, _SEPARATOR), amount, max(lot_decimals, 0))
    return crc, count + more + 2


@inner
def _add_level(arena: Words, feed: int, crc: int, key: int, lots: int) -> int:
    """The checksum after the text of one level, which most often was told of before."""
    mixed = multiply_wrapping(uint64(key), _HASH) >> _HASH_SHIFT
    at = _kept_at(arena, feed) + 1 + int64(mixed) * L.KEPT_WORDS
    if arena[at + L.KEPT_LOTS] != lots or arena[at + L.KEPT_KEY] != key:
        text, count = _level_text(arena, feed, abs(key), lots)
        arena[at + L.KEPT_KEY], arena[at + L.KEPT_LOTS] = key, lots
        arena[at + L.KEPT_CRC], arena[at + L.KEPT_BYTES] = text, count
    count = arena[at + L.KEPT_BYTES]
    while count > _SHIFT_BYTES_MAX:
        crc = _shift(crc, _SHIFT_BYTES_MAX)
        count -= _SHIFT_BYTES_MAX
    return _shift(crc, count) ^ arena[at + L.KEPT_CRC]


@inner
def _kept_at(arena: Words, feed: int) -> int:
    """Where what the levels do to a checksum is kept, behind the feed's books."""
    return feed + L.FEED_BOOKS_AT + 4 * arena[L.ENGINE_SIDE_WORDS]


@inner
def _forget_other_units(arena: Words, feed: int) -> None:
    """Forget what was kept while numbers were printed in another way."""
    units = arena[feed + L.FEED_UNITS_EPOCH] << 12
    units |= arena[feed + L.FEED_PRINTED_PRICE_DECIMALS] << 6
    units |= arena[feed + L.FEED_PRINTED_LOT_DECIMALS]
    at = _kept_at(arena, feed)
    if arena[at] != units:
        arena[at] = units
        for index in range(L.KEPT_LEVELS):
            arena[at + 1 + index * L.KEPT_WORDS + L.KEPT_LOTS] = 0  # no level has none


@inner
def digits_checksum(arena: Words, feed: int, book: int) -> int:
    """Over price and quantity digits, one behind the other, of ten asks and then of ten bids."""
    _forget_other_units(arena, feed)
    crc = int64(_START)
    for step in range(2):
        side = side_at(arena, feed, book, 1 - step)
        key, far = arena[side + L.SIDE_BEST], arena[side + L.SIDE_FAR_LEVELS]
        for _ in range(DIGITS_LEVELS):
            level, lots, key, far = walk_level(arena, side, key, far)
            if level == L.NO_KEY:
                break
            crc = _add_level(arena, feed, crc, level, lots)
    return crc ^ _START


@inner
def text_checksum(arena: Words, feed: int, book: int) -> int:
    """Over `price:quantity` of 25 bids and asks in turn, joined by colons; a shorter side ends."""
    _forget_other_units(arena, feed)
    crc = int64(_START_BEFORE_SEPARATOR)
    bids, asks = side_at(arena, feed, book, 0), side_at(arena, feed, book, 1)
    bid, bid_far = arena[bids + L.SIDE_BEST], arena[bids + L.SIDE_FAR_LEVELS]
    ask, ask_far = arena[asks + L.SIDE_BEST], arena[asks + L.SIDE_FAR_LEVELS]
    if bid == L.NO_KEY and ask == L.NO_KEY:
        return 0
    for turn in range(2 * TEXT_LEVELS):
        if turn & 1 == 0:
            level, lots, bid, bid_far = walk_level(arena, bids, bid, bid_far)
        else:
            level, lots, ask, ask_far = walk_level(arena, asks, ask, ask_far)
        if level != L.NO_KEY:
            crc = _add_level(arena, feed, crc, level, lots)
    return crc ^ _START
