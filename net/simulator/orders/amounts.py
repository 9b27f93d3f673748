"""Decimal texts to exact integers, and amounts of quote money.

Everything counts in lots of 1e-8 and ticks; nothing here is a float.
Runs on: none (pure).
"""

from __future__ import annotations

import re

from net.simulator.options import LOT_DECIMALS, DecimalText, VenueInstrument

PLAIN_DECIMAL = re.compile(r"([0-9]{1,18})(?:\.([0-9]*))?")
LOTS_MAX = 2**63 - 1

lots_text = DecimalText(LOT_DECIMALS, LOT_DECIMALS)
"""Lots as the venues print them: 12345678 is "0.12345678"."""


class PrecisionError(ValueError):
    """More decimals than fit."""


def read_scaled(text: str, decimals: int) -> int:
    """A plain decimal as an integer of 10**-decimals.

    Zeros beyond are fine, other digits raise `PrecisionError`; what is no plain decimal or does not
    fit 64 bits raises `ValueError`.
    """
    found = PLAIN_DECIMAL.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a decimal number")
    part = (found[2] or "").rstrip("0")
    if len(part) > decimals:
        raise PrecisionError(f"{text!r} has more than {decimals} decimals")
    value = int(found[1] + part.ljust(decimals, "0"))
    if value > LOTS_MAX:
        raise ValueError(f"{text!r} does not fit")
    return value


def read_lots(text: str) -> int:
    """A decimal in lots."""
    return read_scaled(text, LOT_DECIMALS)


def quote_lots(instrument: VenueInstrument, price_ticks: int, qty_lots: int) -> int:
    """Price times quantity, in lots of the quote asset, rounded down."""
    return int(price_ticks * qty_lots // 10**instrument.price_decimals)


def quote_lots_up(instrument: VenueInstrument, price_ticks: int, qty_lots: int) -> int:
    """The same rounded up: what must be set aside, so that fills rounded down always fit."""
    return -quote_lots(instrument, -price_ticks, qty_lots)
