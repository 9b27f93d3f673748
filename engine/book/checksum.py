"""CRC32 over a book's best levels, from its integers: the text it is told of is never made.

A number's digits are those of the integer that it is in units of its printed decimals: 64838.4 of
a market with one decimal is 648384. Eight digits are one word of ASCII, and a word is one step of
the checksum ("slicing by 8": Kounavis and Berry, "Novel table lookup-based algorithms for
high-performance CRC generation", IEEE Transactions on Computers 57, 2008). The polynomial is that
of zlib and Ethernet.
Runs on: the engine thread.
"""

from __future__ import annotations

import numpy as np

from engine.book.ladder import walk_level
from engine.book.side import side_at
from engine.compiling.atomics import Words, int64, trailing_zeros, uint64
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
def digits_checksum(arena: Words, feed: int, book: int) -> int:
    """Over price and quantity digits, one behind the other, of ten asks and then of ten bids."""
    mantissa = arena[feed + L.FEED_PRICE_MANTISSA]
    price_decimals = arena[feed + L.FEED_PRICE_DECIMALS]
    lot_decimals = arena[feed + L.FEED_LOT_DECIMALS]
    printed_price = arena[feed + L.FEED_PRINTED_PRICE_DECIMALS]
    printed_lot = arena[feed + L.FEED_PRINTED_LOT_DECIMALS]
    crc = int64(_START)
    for step in range(2):
        is_asks = 1 - step
        side = side_at(arena, feed, book, is_asks)
        key, far = arena[side + L.SIDE_BEST], arena[side + L.SIDE_FAR_LEVELS]
        for _ in range(DIGITS_LEVELS):
            level, lots, key, far = walk_level(arena, side, key, far)
            if level == L.NO_KEY:
                break
            crc = _add_number(crc, _printed(abs(level) * mantissa, price_decimals, printed_price))
            crc = _add_number(crc, _printed(lots, lot_decimals, printed_lot))
    return crc ^ _START


@inner
def _add_decimal(crc: int, value: int, decimals: int) -> int:
    """The checksum after a number above zero as its shortest decimal."""
    while decimals > 0 and value % 10 == 0:
        value //= 10
        decimals -= 1
    whole = value // POWERS_OF_TEN[decimals]
    crc = _add_byte(crc, ZERO) if whole == 0 else _add_number(crc, whole)
    if decimals == 0:
        return crc
    crc = _add_byte(crc, DOT)
    fraction = value - whole * POWERS_OF_TEN[decimals]
    if decimals > 2 * _CHUNK_DIGITS:
        divisor = POWERS_OF_TEN[2 * _CHUNK_DIGITS]
        crc = _add_padded(crc, fraction // divisor, decimals - 2 * _CHUNK_DIGITS)
        fraction, decimals = fraction % divisor, 2 * _CHUNK_DIGITS
    if decimals > _CHUNK_DIGITS:
        crc = _add_padded(crc, fraction // _CHUNK, decimals - _CHUNK_DIGITS)
        fraction, decimals = fraction % _CHUNK, _CHUNK_DIGITS
    return _add_padded(crc, fraction, decimals)


@inner
def text_checksum(arena: Words, feed: int, book: int) -> int:
    """Over `price:quantity` of 25 bids and asks in turn, joined by colons; a shorter side ends."""
    mantissa = arena[feed + L.FEED_PRICE_MANTISSA]
    price_decimals = arena[feed + L.FEED_PRICE_DECIMALS]
    contract = arena[feed + L.FEED_CONTRACT_MANTISSA]
    lot_decimals = arena[feed + L.FEED_LOT_DECIMALS] - arena[feed + L.FEED_CONTRACT_DECIMALS]
    times = POWERS_OF_TEN[max(-lot_decimals, 0)]
    crc = int64(_START)
    is_first = True
    bids, asks = side_at(arena, feed, book, 0), side_at(arena, feed, book, 1)
    bid, bid_far = arena[bids + L.SIDE_BEST], arena[bids + L.SIDE_FAR_LEVELS]
    ask, ask_far = arena[asks + L.SIDE_BEST], arena[asks + L.SIDE_FAR_LEVELS]
    for turn in range(2 * TEXT_LEVELS):
        if turn & 1 == 0:
            level, lots, bid, bid_far = walk_level(arena, bids, bid, bid_far)
        else:
            level, lots, ask, ask_far = walk_level(arena, asks, ask, ask_far)
        if level == L.NO_KEY:
            continue
        if not is_first:
            crc = _add_byte(crc, _SEPARATOR)
        is_first = False
        crc = _add_decimal(crc, abs(level) * mantissa, price_decimals)
        crc = _add_byte(crc, _SEPARATOR)
        crc = _add_decimal(crc, lots // contract * times, max(lot_decimals, 0))
    return crc ^ _START
