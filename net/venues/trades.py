"""A venue's trade as its message has it, and how its numbers are read: exactly, or not at all.

Messages of trades are decoded with `decode`, which keeps a bare JSON number as the decimal that was
printed: no float is ever made of a price.
Runs on: any thread (facts only).
"""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from engine.layout.units import NS_PER_S
from engine.sharing.trades_layout import BUY, ID_BYTES_MAX, SELL

FRACTION_DIGITS_MAX = 18
"""Of a price or an amount: what an int64 can hold behind its dot."""
UNITS_MAX = 2**63 - 1
US_SINCE_1970_MIN = 10**14
"""A time above it is in microseconds, as in the venue's books: in ms it would be the year 5138."""


class VenueTrade(NamedTuple):
    """One trade: `side` BUY or SELL, the aggressor's; `venue_ns` since 1970."""

    symbol: str
    side: int
    price: tuple[int, int]
    amount: tuple[int, int]
    """Units and decimals: `units * 10**-decimals`."""
    venue_ns: int
    venue_id: str


def decode(raw: bytes) -> Any:
    """A JSON message with its bare numbers as they were printed; ValueError."""
    return json.loads(raw, parse_float=Decimal)


def exact(value: Any) -> tuple[int, int]:
    """A positive decimal number as (units, decimals); ValueError where it is none that fits."""
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise ValueError("not a decimal number")
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise ValueError("not a decimal number") from None
    _, digits, exponent = number.as_tuple()
    if not number.is_finite() or number <= 0 or not isinstance(exponent, int):
        raise ValueError("not a positive number")
    if (
        not -FRACTION_DIGITS_MAX <= exponent <= FRACTION_DIGITS_MAX
        or len(digits) > FRACTION_DIGITS_MAX + 1
    ):
        raise ValueError("a number that does not fit")
    units = int("".join(map(str, digits))) * 10 ** max(exponent, 0)
    if units > UNITS_MAX:
        raise ValueError("a number that does not fit")
    return units, max(-exponent, 0)


def times(amount: tuple[int, int], factor: tuple[int, int]) -> tuple[int, int]:
    """An amount of contracts in the base asset; ValueError where it does not fit."""
    units, decimals = amount[0] * factor[0], amount[1] + factor[1]
    while decimals and units % 10 == 0:
        units, decimals = units // 10, decimals - 1
    if units > UNITS_MAX or decimals > FRACTION_DIGITS_MAX:
        raise ValueError("a number that does not fit")
    return units, decimals


def side_of(value: Any, buy: Any, sell: Any) -> int:
    """BUY or SELL by what the venue writes for each; ValueError."""
    if isinstance(value, type(buy)) and value in (buy, sell):
        return BUY if value == buy else SELL
    raise ValueError("neither of the two sides")


def time_ns(value: Any, unit_ns: int) -> int:
    """A whole number of units as ns since 1970; ValueError."""
    is_number = isinstance(value, int | str) and not isinstance(value, bool)
    if not is_number or not str(value).isascii() or not str(value).isdigit():
        raise ValueError("not a time")
    found = int(value) * unit_ns
    if not 0 < found <= UNITS_MAX:
        raise ValueError("not a time")
    return found


def iso_time_ns(value: Any) -> int:
    """A time such as 2026-08-09T17:04:05.123456789Z as ns since 1970; ValueError."""
    if not isinstance(value, str) or not value.isascii() or not value.endswith("Z"):
        raise ValueError("not a time")
    whole, _, fraction = value.removesuffix("Z").partition(".")
    if len(fraction) > 9 or (fraction and not fraction.isdigit()):
        raise ValueError("not a time")
    seconds = int(datetime.fromisoformat(f"{whole}+00:00").timestamp())
    return seconds * NS_PER_S + int(fraction.ljust(9, "0"))


def symbol_of(value: Any) -> str:
    """A market's symbol; ValueError."""
    if not isinstance(value, str):
        raise ValueError("not a symbol")
    return value


def id_text(value: Any) -> str:
    """A trade's id as text; ValueError."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not 0 < len(text.encode()) <= ID_BYTES_MAX:
        raise ValueError("not an id")
    return text
