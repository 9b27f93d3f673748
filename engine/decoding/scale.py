"""Exact conversion between decimal text and integer units: the only place where it happens.

A decimal with k fraction digits is a mantissa m: value = m * 10^-k. In units of u = a * 10^-d it
is q = m * 10^(d-k) / a, which must come out whole. A table has one row per k, so that the kernel
needs one multiplication to scale, and one to divide exactly: for an odd divisor D, q = x * D^-1
modulo 2^64, and x was a multiple of D exactly when q is not above (2^64-1)/D; the power of two in
the divisor becomes a rotation. (Granlund and Montgomery, "Division by invariant integers using
multiplication", PLDI 1994, section 9.)
Runs on: any thread.
"""

from __future__ import annotations

import re
from decimal import Decimal
from math import gcd

import numpy as np

from engine.compiling.atomics import Words, int64, multiply_wrapping, uint64
from engine.compiling.jit import inner
from engine.layout import layout as L

INT64_MAX = 2**63 - 1
QUANTITY_LIMIT = INT64_MAX
"""92233720368.54775807, the largest quantity that venues name as a cap, is this many lots."""
PRICE_LIMIT = 2**62
"""Ticks times the venue's multiplier stay below this, so that key arithmetic cannot overflow."""


_DECIMAL = re.compile(r"[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]{1,2})?", re.ASCII)

_COUNTED = re.compile(r"([0-9]{1,28})(?:\.([0-9]{1,28}))?(?:[eE]([-+]?[0-9]{1,2}))?", re.ASCII)

DIGITS_MAX = 28
"""Digits of a tick size: the decimal module rounds beyond these."""


class ScaleError(ValueError):
    """A decimal that cannot be what it should: a tick size, or a whole number of units."""


def decimal_unit(text: str) -> tuple[int, int]:
    """A positive decimal as (mantissa, decimals), reduced: "0.05" is (5, 2), "10" is (10, 0)."""
    if not _DECIMAL.fullmatch(text):
        raise ScaleError(f"{text!r} is not a decimal number greater than zero")
    value = Decimal(text)
    if value <= 0:
        raise ScaleError(f"{text!r} must be greater than zero")
    if len(value.as_tuple().digits) > DIGITS_MAX:
        raise ScaleError(f"{text!r} has more than {DIGITS_MAX} digits")
    _, digits, exponent = value.normalize().as_tuple()
    mantissa = int("".join(map(str, digits)))
    assert isinstance(exponent, int)
    if exponent > 0:
        mantissa, exponent = mantissa * 10**exponent, 0
    if -exponent > L.DECIMALS_MAX or mantissa > PRICE_LIMIT:
        raise ScaleError(f"{text!r} has more than {L.DECIMALS_MAX} decimals or is too large")
    return mantissa, -exponent


def common_unit(units: list[tuple[int, int]]) -> tuple[int, int]:
    """The greatest common divisor of several units, each (mantissa, decimals)."""
    decimals = max(d for _, d in units)
    mantissa = gcd(*(m * 10 ** (decimals - d) for m, d in units))
    while decimals and mantissa % 10 == 0:
        mantissa, decimals = mantissa // 10, decimals - 1
    return mantissa, decimals


def units_per(unit: tuple[int, int], common: tuple[int, int]) -> int:
    """How many common units one unit is; ScaleError if that is not whole."""
    (mantissa, decimals), (common_mantissa, common_decimals) = unit, common
    shared = max(decimals, common_decimals)
    size = mantissa * 10 ** (shared - decimals)
    common_size = common_mantissa * 10 ** (shared - common_decimals)
    if size % common_size:
        raise ScaleError(f"unit {unit} is no multiple of {common}")
    if size // common_size > PRICE_LIMIT:
        raise ScaleError(f"units {unit} and {common} are too far apart for 64-bit prices")
    return size // common_size


def scale_table(
    unit: tuple[int, int], quotient_limit: int, worth: tuple[int, int] = (1, 0)
) -> Words:
    """The rows for one unit, shape (DECIMALS_MAX + 1) * SCALE_WORDS, flat. `worth`: what a number
    of one stands for, where that is not one.

    A row: multiplier, largest mantissa that may be multiplied, inverse, shift, largest quotient.
    """
    (mantissa, decimals), (worth_mantissa, worth_decimals) = unit, worth
    decimals -= worth_decimals
    rows = []
    for k in range(L.DECIMALS_MAX + 1):
        multiplier = worth_mantissa * 10 ** max(decimals - k, 0)
        divisor = mantissa * 10 ** max(k - decimals, 0)
        common = gcd(multiplier, divisor)
        multiplier, divisor = multiplier // common, divisor // common
        if divisor > INT64_MAX:
            # No mantissa but zero is a multiple: an inverse of one and a limit of zero say so.
            rows += [multiplier, INT64_MAX // multiplier, 1, 0, 0]
            continue
        shift = (divisor & -divisor).bit_length() - 1
        inverse = pow(divisor >> shift, -1, 2**64)
        signed = inverse - 2**64 if inverse > INT64_MAX else inverse
        largest = min(INT64_MAX // divisor, quotient_limit)
        rows += [multiplier, INT64_MAX // multiplier, signed, shift, largest]
    return np.array(rows, np.int64)


@inner
def scaled(arena: Words, table: int, mantissa: int, decimals: int) -> int:
    """mantissa * 10^-decimals in the table's unit, or -1 if that is not whole or out of range."""
    row = table + decimals * L.SCALE_WORDS
    if uint64(mantissa) > uint64(arena[row + 1]):  # so is one below zero
        return -1
    shift = uint64(arena[row + 3])
    product = multiply_wrapping(uint64(mantissa), uint64(arena[row]))
    product = multiply_wrapping(product, uint64(arena[row + 2]))
    rotated = (product >> shift) | (product << ((uint64(64) - shift) & uint64(63)))
    if rotated > uint64(arena[row + 4]):
        return -1
    return int64(rotated)


def exact_text(count: int, mantissa: int, decimals: int, digits: int | None = None) -> str:
    """count * mantissa * 10^-decimals, written exactly, with `digits` (default: all) decimals."""
    value = count * mantissa
    sign, value = ("-", -value) if value < 0 else ("", value)
    whole, fraction = divmod(value, 10**decimals)
    text = str(fraction).rjust(decimals, "0") if decimals else ""
    if digits is not None:
        text = text.ljust(digits, "0")
    return f"{sign}{whole}.{text}" if text else f"{sign}{whole}"


def exact_count(text: str, mantissa: int, decimals: int, limit: int) -> int:
    """How many units of mantissa * 10^-decimals a decimal text is: 0 to `limit`.

    The inverse of `exact_text`. ScaleError where it is no decimal, not whole or out of range.
    """
    found = _COUNTED.fullmatch(text)
    if found is None:
        raise ScaleError("is not a decimal number")
    whole, fraction, exponent = found.groups(default="")
    value = int(whole + fraction)
    power = int(exponent or 0) - len(fraction) + decimals
    count, rest = divmod(value * 10 ** max(power, 0), mantissa * 10 ** max(-power, 0))
    if rest:
        raise ScaleError(f"is no multiple of {exact_text(1, mantissa, decimals)}")
    if count > limit:
        raise ScaleError("is too large")
    return count
