"""JSON by cursor: each function takes a position, proves every read, returns the next position.

A negative position is a status from engine.layout.status. Nothing is copied: strings are spans of
the frame. The grammar is RFC 8259's, UTF-8 included, so that a frame is accepted here only if any
JSON parser accepts it; depth is bounded.
Runs on: the engine thread and the housekeeping thread, inside kernels.
"""

from __future__ import annotations

import numpy as np

from engine.compiling.atomics import (
    Bytes,
    int64,
    load_u64,
    multiply_wrapping,
    trailing_zeros,
    uint64,
)
from engine.compiling.jit import inner
from engine.layout import status as S

DEPTH_MAX = 32
"""Nesting of a skipped value; venues use three levels."""

DIGITS_MAX = 19
"""Digits of a mantissa: int64 max has 19."""

QUOTE, BACKSLASH, COMMA, COLON, DOT = 0x22, 0x5C, 0x2C, 0x3A, 0x2E
OPEN_BRACKET, CLOSE_BRACKET, OPEN_BRACE, CLOSE_BRACE = 0x5B, 0x5D, 0x7B, 0x7D
ZERO, NINE, MINUS, PLUS = 0x30, 0x39, 0x2D, 0x2B
LOWER_E, UPPER_E, LOWER_U = 0x65, 0x45, 0x75
SLASH = 0x2F
SPACE = 0x20

_ZEROS = uint64(0x3030303030303030)
_NINES_CARRY = uint64(0x7676767676767676)
_HIGH_BITS = uint64(0x8080808080808080)
_ONES = uint64(0x0101010101010101)
_SPACES = uint64(0x2020202020202020)
_QUOTES = uint64(0x2222222222222222)
_BACKSLASHES = uint64(0x5C5C5C5C5C5C5C5C)
_PAIRS = uint64(1 + (10 << 8))
_PAIRS_MASK = uint64(0x00FF00FF00FF00FF)
_FOURS = uint64(1 + (100 << 16))
_FOURS_MASK = uint64(0x0000FFFF0000FFFF)
_EIGHTS = uint64(1 + (10000 << 32))

POWERS_OF_TEN = np.array([10**k for k in range(DIGITS_MAX)], np.int64)


@inner
def skip_space(frame: Bytes, at: int, end: int) -> int:
    """The next position that is not JSON white space."""
    while at < end and (
        frame[at] == SPACE or frame[at] == 0x0A or frame[at] == 0x0D or frame[at] == 0x09
    ):
        at += 1
    return at


@inner
def _is_continuation(frame: Bytes, at: int, end: int) -> bool:
    return at < end and 0x80 <= frame[at] <= 0xBF


@inner
def _utf8_end(frame: Bytes, at: int, end: int) -> int:
    """Past one multi-byte character (RFC 3629, section 4: no overlong forms, no surrogates)."""
    lead = int64(frame[at])
    if 0xC2 <= lead <= 0xDF:
        return at + 2 if _is_continuation(frame, at + 1, end) else S.BAD_UTF8
    if at + 1 >= end:
        return S.BAD_UTF8
    second = int64(frame[at + 1])
    if 0xE0 <= lead <= 0xEF:
        low = 0xA0 if lead == 0xE0 else 0x80
        high = 0x9F if lead == 0xED else 0xBF
        width = 3
    elif 0xF0 <= lead <= 0xF4:
        low = 0x90 if lead == 0xF0 else 0x80
        high = 0x8F if lead == 0xF4 else 0xBF
        width = 4
    else:
        return S.BAD_UTF8
    if second < low or second > high:
        return S.BAD_UTF8
    for offset in range(2, width):
        if not _is_continuation(frame, at + offset, end):
            return S.BAD_UTF8
    return at + width


@inner
def _hex4(frame: Bytes, at: int, end: int) -> int:
    """The four hexadecimal digits from `at` as a number, or -1."""
    if at + 4 > end:
        return -1
    value = 0
    for index in range(at, at + 4):
        digit = int64(frame[index])
        if ZERO <= digit <= NINE:
            value = value * 16 + digit - ZERO
        elif 0x41 <= (digit & 0xDF) <= 0x46:
            value = value * 16 + (digit & 0xDF) - 0x41 + 10
        else:
            return -1
    return value


@inner
def _escape_end(frame: Bytes, at: int, end: int) -> int:
    """Past one escape whose backslash is at `at`; a lone surrogate is refused."""
    if at + 1 >= end:
        return S.BAD_JSON
    letter = int64(frame[at + 1])
    if letter != LOWER_U:
        simple = (
            letter == QUOTE
            or letter == BACKSLASH
            or letter == 0x2F
            or letter == 0x62
            or letter == 0x66
            or letter == 0x6E
            or letter == 0x72
            or letter == 0x74
        )
        return at + 2 if simple else S.BAD_JSON
    code = _hex4(frame, at + 2, end)
    if code < 0 or 0xDC00 <= code <= 0xDFFF:
        return S.BAD_JSON
    if not 0xD800 <= code <= 0xDBFF:
        return at + 6
    if at + 8 > end or frame[at + 6] != BACKSLASH or frame[at + 7] != LOWER_U:
        return S.BAD_JSON
    low = _hex4(frame, at + 8, end)
    return at + 12 if 0xDC00 <= low <= 0xDFFF else S.BAD_JSON


@inner
def _no_plain_characters(word: int) -> int:
    """High bits where a word's eight characters are a quote, a backslash, a control character or
    none of ASCII; exact up to the first such one.

    A byte below n leaves a borrow in its high bit when n is taken from it (S. E. Anderson, "Bit
    Twiddling Hacks"); borrows only disturb the characters after it.
    """
    quotes, backslashes = word ^ _QUOTES, word ^ _BACKSLASHES
    found = (quotes - _ONES) & ~quotes
    found |= (backslashes - _ONES) & ~backslashes
    return (found | ((word - _SPACES) & ~word) | word) & _HIGH_BITS


@inner
def string_end(frame: Bytes, at: int, end: int) -> int:
    """The closing quote of the string whose opening quote is just before `at`."""
    while at < end:
        if at + 8 <= end:
            found = _no_plain_characters(load_u64(frame, at))
            at += trailing_zeros(found) >> 3
            if found == uint64(0):
                continue
        byte = int64(frame[at])
        if byte == QUOTE:
            return at
        if byte == BACKSLASH:
            at = _escape_end(frame, at, end)
        elif byte < SPACE:
            return S.BAD_JSON
        elif byte < 0x80:
            at += 1
        else:
            at = _utf8_end(frame, at, end)
        if at < 0:
            return at
    return S.BAD_JSON


@inner
def has_plain_escape(frame: Bytes, start: int, stop: int) -> bool:
    """Whether a verified string spells a printable ASCII character as an escape that none needs:
    \\u and its number, or \\/.

    Its text is then not what its bytes say, though nobody needs to write it so.
    """
    at = start
    while at < stop:
        if frame[at] != BACKSLASH:
            at += 1
        elif frame[at + 1] == LOWER_U:
            if SPACE <= _hex4(frame, at + 2, stop) < 0x7F:
                return True
            at += 6
        elif frame[at + 1] == SLASH:
            return True
        else:
            at += 2
    return False


@inner
def _digits_end(frame: Bytes, at: int, end: int) -> int:
    """Past at least one digit."""
    start = at
    while at < end and ZERO <= frame[at] <= NINE:
        at += 1
    return at if at > start else S.BAD_JSON


@inner
def number_end(frame: Bytes, at: int, end: int) -> int:
    """Past one JSON number, which begins at `at`."""
    if at < end and frame[at] == MINUS:
        at += 1
    if at < end and frame[at] == ZERO:
        at += 1
    else:
        at = _digits_end(frame, at, end)
        if at < 0:
            return at
    if at < end and frame[at] == DOT:
        at = _digits_end(frame, at + 1, end)
        if at < 0:
            return at
    if at < end and (frame[at] == LOWER_E or frame[at] == UPPER_E):
        at += 1
        if at < end and (frame[at] == PLUS or frame[at] == MINUS):
            at += 1
        at = _digits_end(frame, at, end)
    return at


@inner
def _literal_end(frame: Bytes, at: int, end: int) -> int:
    """Past `true`, `false` or `null`."""
    if at + 4 > end:
        return S.BAD_JSON
    word = 0
    for index in range(4):
        word |= int64(frame[at + index]) << (8 * index)
    if word == 0x65757274 or word == 0x6C6C756E:
        return at + 4
    if word == 0x736C6166 and at + 5 <= end and frame[at + 4] == LOWER_E:
        return at + 5
    return S.BAD_JSON


@inner
def _scalar_end(frame: Bytes, at: int, end: int) -> int:
    byte = int64(frame[at])
    if byte == QUOTE:
        at = string_end(frame, at + 1, end)
        return at + 1 if at >= 0 else at
    if byte == MINUS or ZERO <= byte <= NINE:
        return number_end(frame, at, end)
    return _literal_end(frame, at, end)


@inner
def key_end(frame: Bytes, at: int, end: int) -> int:
    """Past `"key" :` and white space, to the value; `at` is where the opening quote should be."""
    if at >= end or frame[at] != QUOTE:
        return S.BAD_JSON
    at = string_end(frame, at + 1, end)
    if at < 0:
        return at
    at = skip_space(frame, at + 1, end)
    if at >= end or frame[at] != COLON:
        return S.BAD_JSON
    return skip_space(frame, at + 1, end)


@inner
def value_end(frame: Bytes, at: int, end: int) -> int:
    """Past one JSON value of any kind, verified; `at` is its first byte."""
    depth = 0
    objects = 0  # bit d: the container at depth d is an object
    while True:
        if at >= end:
            return S.BAD_JSON
        opened = frame[at] == OPEN_BRACE or frame[at] == OPEN_BRACKET
        if opened:
            is_object = frame[at] == OPEN_BRACE
            if depth == DEPTH_MAX:
                return S.TOO_DEEP
            objects = (objects & ~(1 << depth)) | ((1 if is_object else 0) << depth)
            depth += 1
            at = skip_space(frame, at + 1, end)
            if at >= end:
                return S.BAD_JSON
            if frame[at] != (CLOSE_BRACE if is_object else CLOSE_BRACKET):
                if is_object:
                    at = key_end(frame, at, end)
                    if at < 0:
                        return at
                continue
        else:
            at = _scalar_end(frame, at, end)
            if at < 0:
                return at
        while True:  # after a value, or at the close of an empty container
            if depth == 0:
                return at
            at = skip_space(frame, at, end)
            if at >= end:
                return S.BAD_JSON
            is_object = (objects >> (depth - 1)) & 1 == 1
            if frame[at] == (CLOSE_BRACE if is_object else CLOSE_BRACKET):
                depth -= 1
                at += 1
                continue
            if frame[at] != COMMA:
                return S.BAD_JSON
            at = skip_space(frame, at + 1, end)
            if is_object:
                at = key_end(frame, at, end)
                if at < 0:
                    return at
            break


@inner
def unsigned(frame: Bytes, at: int, end: int) -> tuple[int, int]:
    """An unsigned JSON integer: (position after it, value); BAD_SCHEMA if it is anything else."""
    start = at
    value = 0
    while at < end and ZERO <= frame[at] <= NINE:
        if at - start >= DIGITS_MAX - 1:
            return S.BAD_SCHEMA, 0
        value = value * 10 + int64(frame[at]) - ZERO
        at += 1
    if at == start or (frame[start] == ZERO and at > start + 1):
        return S.BAD_SCHEMA, 0
    return at, value


@inner
def non_digits(word: int) -> int:
    """High bits where a word's eight characters are no digits, exact up to the first such one.

    A digit xor '0' is 0..9; adding 0x76 sets the high bit of everything larger. Carries only
    disturb the characters after the first that is no digit.
    """
    values = word ^ _ZEROS
    return ((values + _NINES_CARRY) | values) & _HIGH_BITS


@inner
def leading_digits(word: int) -> int:
    """How many of a word's eight characters, from the first, are digits."""
    return trailing_zeros(non_digits(word)) >> 3


@inner
def digits_value(word: int, count: int) -> int:
    """The number its first `count` (1..8) characters spell, three multiplications for all."""
    values = (word ^ _ZEROS) << uint64(8 * (8 - count))
    values = (multiply_wrapping(values, _PAIRS) >> uint64(8)) & _PAIRS_MASK
    values = (multiply_wrapping(values, _FOURS) >> uint64(16)) & _FOURS_MASK
    return int64(multiply_wrapping(values, _EIGHTS) >> uint64(32))
