"""Decimals as text, exact: a mantissa and how many of its digits are decimals.

Quoted ones, as most venues write them, and JSON numbers. Never through a float: a checksum over
digits must find every one of them.
Runs on: the engine thread and the housekeeping thread, inside kernels.
"""

from __future__ import annotations

from engine.compiling.atomics import Bytes, int64, load_u64
from engine.compiling.jit import inner
from engine.decoding.scan import (
    DIGITS_MAX,
    DOT,
    LOWER_E,
    MINUS,
    NINE,
    PLUS,
    POWERS_OF_TEN,
    QUOTE,
    UPPER_E,
    ZERO,
    digits_value,
    leading_digits,
    number_end,
)
from engine.layout import status as S

DECIMAL_BYTES_MAX = 2 * DIGITS_MAX
"""Characters of a quoted number's digits, and of its exponent's."""

MANTISSA_TENTH = (2**63 - 1 - 9) // 10
"""A mantissa up to this takes one more digit."""


@inner
def _decimal_by_digit(frame: Bytes, at: int, end: int) -> tuple[int, int, int]:
    """The general form of `decimal`: any length, any place in the frame, a sign, an exponent."""
    is_negative = at < end and frame[at] == MINUS
    start = at + 1 if is_negative else at
    at = start
    mantissa = 0
    decimals = -1
    while at < end and (ZERO <= frame[at] <= NINE or frame[at] == DOT):
        byte = int64(frame[at])
        if byte == DOT:
            if decimals >= 0 or at == start:
                return S.BAD_DECIMAL, 0, 0
            decimals = 0
        elif decimals == DIGITS_MAX - 1 or mantissa > (2**63 - 1 - (byte - ZERO)) // 10:
            if decimals < 0 or byte != ZERO:  # zeros behind everything that counts add nothing
                return S.BAD_DECIMAL, 0, 0
        else:
            mantissa = mantissa * 10 + byte - ZERO
            decimals += 1 if decimals >= 0 else 0
        if at - start > DECIMAL_BYTES_MAX:
            return S.BAD_DECIMAL, 0, 0
        at += 1
    if at >= end:
        return S.BAD_JSON, 0, 0
    if at == start or decimals == 0:
        return S.BAD_DECIMAL, 0, 0
    exponent = int64(0)
    if frame[at] == LOWER_E or frame[at] == UPPER_E:
        stop = _exponent_end(frame, at + 1, end)
        if stop < 0:
            return stop, 0, 0
        exponent = _exponent(frame, at + 1, stop)
        at = stop
    if frame[at] != QUOTE:
        return S.BAD_DECIMAL, 0, 0
    decimals, mantissa = _shifted(mantissa, max(decimals, 0), exponent)
    if decimals < 0:
        return S.BAD_DECIMAL, 0, 0
    return at + 1, -mantissa if is_negative else mantissa, decimals


@inner
def _exponent_end(frame: Bytes, at: int, end: int) -> int:
    """Behind a quoted number's exponent, which begins at `at`; a status where there is none."""
    if at < end and (frame[at] == MINUS or frame[at] == PLUS):
        at += 1
    first = at
    while at < end and ZERO <= frame[at] <= NINE:
        at += 1
        if at - first > DECIMAL_BYTES_MAX:
            return S.BAD_DECIMAL
    if at >= end:
        return S.BAD_JSON
    return at if at > first else S.BAD_DECIMAL


@inner
def _shifted(mantissa: int, decimals: int, exponent: int) -> tuple[int, int]:
    """A decimal times a power of ten: (decimals, mantissa), decimals below zero if not exact."""
    if mantissa == 0:
        return 0, 0
    decimals -= exponent
    while decimals > DIGITS_MAX - 1 and mantissa % 10 == 0:
        mantissa //= 10
        decimals -= 1
    while decimals < 0 and mantissa <= MANTISSA_TENTH:
        mantissa *= 10
        decimals += 1
    return decimals if decimals <= DIGITS_MAX - 1 else -1, mantissa


@inner
def decimal(frame: Bytes, at: int, end: int) -> tuple[int, int, int]:
    """A quoted decimal from just after its opening quote.

    Returns (position after the closing quote, mantissa, decimals), or a status first. Digits with
    at most one dot between them, perhaps an exponent; no white space, at most 19 digits that count
    and 18 decimals. One below zero has its sign, so that no price and no quantity takes it.
    """
    if at + 9 <= end:
        word = load_u64(frame, at)
        whole_digits = leading_digits(word)
        if 0 < whole_digits < 8:
            whole = digits_value(word, whole_digits)
            dot = at + whole_digits
            if frame[dot] == QUOTE:
                return dot + 1, whole, 0
            if frame[dot] == DOT and dot + 10 <= end:
                word = load_u64(frame, dot + 1)
                decimals = leading_digits(word)
                close = dot + 1 + decimals
                if decimals > 0 and frame[close] == QUOTE:
                    mantissa = whole * POWERS_OF_TEN[decimals] + digits_value(word, decimals)
                    return close + 1, mantissa, decimals
    return _decimal_by_digit(frame, at, end)  # called at one place: it is compiled into each


@inner
def _exponent(frame: Bytes, at: int, stop: int) -> int:
    """The exponent of a verified number, from behind its "e"; 1000 or -1000 where it is larger."""
    is_negative = frame[at] == MINUS
    if is_negative or frame[at] == PLUS:
        at += 1
    value = int64(0)
    while at < stop:
        value = min(value * 10 + int64(frame[at]) - ZERO, 1000)
        at += 1
    return -value if is_negative else value


@inner
def _may_go_on(byte: int) -> bool:
    """Whether a number's digits do not end before this character for certain."""
    return ZERO <= byte <= NINE or byte == DOT or byte == LOWER_E or byte == UPPER_E


@inner
def bare_decimal(frame: Bytes, at: int, end: int) -> tuple[int, int, int]:
    """A JSON number without quotes: (position after it, mantissa, decimals), or a status first.

    Exact or refused: BAD_DECIMAL for more than some 18 digits or more than 18 decimals. Zero has no
    decimals, however it is written.
    """
    if at + 9 <= end:
        word = load_u64(frame, at)
        whole_digits = leading_digits(word)
        if 0 < whole_digits < 8 and (whole_digits == 1 or frame[at] != ZERO):
            whole = digits_value(word, whole_digits)
            dot = at + whole_digits
            if not _may_go_on(frame[dot]):
                return dot, whole, 0
            if frame[dot] == DOT and dot + 10 <= end:
                word = load_u64(frame, dot + 1)
                decimals = leading_digits(word)
                stop = dot + 1 + decimals
                if decimals > 0 and not _may_go_on(frame[stop]):
                    mantissa = whole * POWERS_OF_TEN[decimals] + digits_value(word, decimals)
                    return stop, mantissa, decimals if mantissa > 0 else 0
    return _bare_by_digit(frame, at, end)


@inner
def _bare_by_digit(frame: Bytes, at: int, end: int) -> tuple[int, int, int]:
    """`bare_decimal`, of any number."""
    if at >= end or not (frame[at] == MINUS or ZERO <= frame[at] <= NINE):
        return S.BAD_SCHEMA, 0, 0
    stop = number_end(frame, at, end)
    if stop < 0:
        return stop, 0, 0
    is_negative = frame[at] == MINUS
    at += 1 if is_negative else 0
    mantissa = int64(0)
    decimals = int64(0)
    is_fraction = False
    while at < stop and frame[at] != LOWER_E and frame[at] != UPPER_E:
        if frame[at] == DOT:
            is_fraction = True
        elif mantissa > MANTISSA_TENTH:
            if frame[at] != ZERO or not is_fraction:  # as in `_decimal_by_digit`
                return S.BAD_DECIMAL, 0, 0
        else:
            mantissa = mantissa * 10 + int64(frame[at]) - ZERO
            decimals += 1 if is_fraction else 0
        at += 1
    exponent = _exponent(frame, at + 1, stop) if at < stop else 0
    decimals, mantissa = _shifted(mantissa, decimals, exponent)
    if decimals < 0:
        return S.BAD_DECIMAL, 0, 0
    return stop, -mantissa if is_negative else mantissa, decimals
