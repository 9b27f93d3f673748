"""Exact decimal text for whole ticks and lots: no float on the way.

Runs on: any thread, pure.
"""

from __future__ import annotations


def decimal_text(mantissa: int, decimals: int, *, grouped: bool = False) -> str:
    """`mantissa * 10**-decimals` with exactly that many fraction digits; thousands by request."""
    assert decimals >= 0
    whole, fraction = divmod(abs(mantissa), 10**decimals)
    sign = "-" if mantissa < 0 else ""
    text = f"{whole:,}" if grouped else str(whole)
    return f"{sign}{text}.{fraction:0{decimals}d}" if decimals else sign + text
