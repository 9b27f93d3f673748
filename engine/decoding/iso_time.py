"""RFC 3339 text in UTC to nanoseconds, without a calendar library.

Runs on: the engine thread and the housekeeping thread, inside kernels.
"""

from __future__ import annotations

from engine.compiling.atomics import Bytes, int64
from engine.compiling.jit import inner
from engine.decoding.scan import DOT, NINE, POWERS_OF_TEN, ZERO

_COLON, _DASH, _T, _Z = 0x3A, 0x2D, 0x54, 0x5A
_SECONDS_BYTES = 19
"""Characters of `2024-08-08T23:54:15`."""
FRACTION_DIGITS_MAX = 9
NOT_A_TIME = -1


@inner
def _digits(frame: Bytes, at: int, count: int) -> int:
    """The number that `count` characters spell; below zero where one is no digit."""
    value = int64(0)
    for index in range(at, at + count):
        byte = int64(frame[index])
        is_digit = ZERO <= byte <= NINE and value >= 0
        value = value * 10 + byte - ZERO if is_digit else int64(-1)
    return value


@inner
def _month_days(year: int, month: int) -> int:
    """The days of a month."""
    if month == 2:
        is_leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        return 29 if is_leap else 28
    return 30 if month == 4 or month == 6 or month == 9 or month == 11 else 31


@inner
def iso_ns(frame: Bytes, start: int, stop: int) -> int:
    """`YYYY-MM-DDTHH:MM:SS[.fraction]Z` in ns since 1970; NOT_A_TIME for anything else.

    Days by H. Hinnant's "days from civil". A leap second is 23:59:60, and counts as the next one.
    """
    if stop - start < _SECONDS_BYTES + 1 or frame[stop - 1] != _Z:
        return NOT_A_TIME
    if frame[start + 4] != _DASH or frame[start + 7] != _DASH or frame[start + 10] != _T:
        return NOT_A_TIME
    if frame[start + 13] != _COLON or frame[start + 16] != _COLON:
        return NOT_A_TIME
    year, month = _digits(frame, start, 4), _digits(frame, start + 5, 2)
    day, hour = _digits(frame, start + 8, 2), _digits(frame, start + 11, 2)
    minute, second = _digits(frame, start + 14, 2), _digits(frame, start + 17, 2)
    if year < 1970 or year > 2200 or not 1 <= month <= 12 or not 1 <= day <= 31:
        return NOT_A_TIME
    if not 0 <= hour <= 23 or not 0 <= minute <= 59 or not 0 <= second <= 60:
        return NOT_A_TIME
    if day > _month_days(year, month) or (second == 60 and (hour != 23 or minute != 59)):
        return NOT_A_TIME
    fraction = int64(0)
    if stop - start > _SECONDS_BYTES + 1:
        count = stop - start - _SECONDS_BYTES - 2
        if frame[start + _SECONDS_BYTES] != DOT or not 1 <= count <= FRACTION_DIGITS_MAX:
            return NOT_A_TIME
        fraction = _digits(frame, start + _SECONDS_BYTES + 1, count)
        fraction *= POWERS_OF_TEN[FRACTION_DIGITS_MAX - count]
        if fraction < 0:
            return NOT_A_TIME
    march_year = year - 1 if month <= 2 else year
    era_year = march_year % 400
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    day_of_era = era_year * 365 + era_year // 4 - era_year // 100 + day_of_year
    days = march_year // 400 * 146_097 + day_of_era - 719_468
    seconds = ((days * 24 + hour) * 60 + minute) * 60 + second
    return seconds * 10**9 + fraction
