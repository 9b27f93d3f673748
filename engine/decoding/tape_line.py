"""A tape's line by cursor: `{"t":<ns>,"venue":"<name>","kind":"ws","raw":"<text>"}`, as written.

Only that one form is read here, which nearly every line of a tape has, and of its text only plain
ASCII with the escapes that JSON in JSON needs. Everything else is NOT_PLAIN, and is for a reader of
any JSON to judge: so nothing that is wrong is ever taken for right.
Runs on: the main thread, inside kernels.
"""

from __future__ import annotations

import numpy as np

from engine.compiling.atomics import Bytes, int64, multiply_wrapping, uint64
from engine.compiling.jit import inner
from engine.decoding.scan import BACKSLASH, NINE, QUOTE, SLASH, SPACE, ZERO

NOT_PLAIN = -1
NEWLINE = 0x0A
ASCII_MAX = 0x7E
TIME_DIGITS_MAX = 18
"""Digits of a time behind its first, which is none of 0 and 9: so it fits."""

_TIME = np.frombuffer(b'{"t":', np.uint8).copy()
_VENUE = np.frombuffer(b',"venue":"', np.uint8).copy()
_FRAME = np.frombuffer(b'","kind":"ws","raw":"', np.uint8).copy()
_END = np.frombuffer(b'"}', np.uint8).copy()

_FNV_OFFSET = uint64(0xCBF29CE484222325)
_FNV_PRIME = uint64(0x100000001B3)


@inner
def _past(text: Bytes, at: int, end: int, expected: Bytes) -> int:
    """Behind an expected text, or NOT_PLAIN."""
    if at < 0 or at + len(expected) > end:
        return NOT_PLAIN
    for index in range(len(expected)):
        if text[at + index] != expected[index]:
            return NOT_PLAIN
    return at + len(expected)


@inner
def line_end(text: Bytes, at: int, end: int) -> int:
    """Where the line that begins at `at` ends: its newline, or `end`."""
    while at < end and text[at] != NEWLINE:
        at += 1
    return at


@inner
def read_time(text: Bytes, at: int, end: int) -> tuple[int, int]:
    """The line's time in ns and the position behind it; NOT_PLAIN for the position."""
    at = _past(text, at, end, _TIME)
    if at < 0 or at >= end or not ZERO < text[at] < NINE:
        return 0, NOT_PLAIN
    time_ns = int64(text[at]) - ZERO
    at += 1
    first = at
    while at < end and ZERO <= text[at] <= NINE and at - first < TIME_DIGITS_MAX:
        time_ns = time_ns * 10 + int64(text[at]) - ZERO
        at += 1
    return time_ns, at


@inner
def read_venue(text: Bytes, at: int, end: int) -> tuple[int, int]:
    """First byte of the venue's name, and the position of the quote behind it, or NOT_PLAIN."""
    at = _past(text, at, end, _VENUE)
    if at < 0:
        return 0, NOT_PLAIN
    first = at
    while at < end and SPACE <= text[at] <= ASCII_MAX and text[at] != QUOTE:
        if text[at] == BACKSLASH:
            return 0, NOT_PLAIN
        at += 1
    return first, at if at < end else NOT_PLAIN


@inner
def unescape(text: Bytes, at: int, end: int, raw: Bytes) -> int:
    """The bytes of a frame's text, written to `raw`; `at`: behind the venue's name, `end`: of the
    line. NOT_PLAIN where it is anything else than a frame, or does not fit."""
    at = _past(text, at, end, _FRAME)
    if at < 0 or end - at > len(raw):
        return NOT_PLAIN
    count = 0
    while at < end:
        letter = text[at]
        if letter == QUOTE:
            return count if _past(text, at, end, _END) == end else NOT_PLAIN
        if letter == BACKSLASH:
            at += 1
            if at >= end:
                return NOT_PLAIN
            letter = text[at]
            if letter != QUOTE and letter != BACKSLASH and letter != SLASH:
                return NOT_PLAIN
        elif letter < SPACE or letter > ASCII_MAX:
            return NOT_PLAIN
        raw[count] = letter
        count += 1
        at += 1
    return NOT_PLAIN


@inner
def shape_of(raw: Bytes, count: int, connection: int) -> int:
    """A number of the first `count` bytes that is the same whatever their digits are, and however
    many of them stand together: FNV-1a, 64 bits (Fowler, Noll, Vo), of the others."""
    found = _FNV_OFFSET ^ uint64(connection)
    is_number = False
    for index in range(count):
        letter = raw[index]
        is_digit = ZERO <= letter <= NINE
        if is_digit and is_number:
            continue
        is_number = is_digit
        found = multiply_wrapping(found ^ uint64(ZERO if is_digit else letter), _FNV_PRIME)
    return int64(found)
