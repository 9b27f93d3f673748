"""One venue and market, for tests of the market maker's parts."""

from __future__ import annotations

import random
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction

from net.maker.fees import FeeCounter, FeeRules


def fee_rules(rates: Mapping[str, str] | None = None) -> FeeRules:
    """BTC for USDT at the one venue, where the standard fee is ten basis points."""
    found = {asset: Fraction(rate) for asset, rate in (rates or {}).items()}
    return FeeRules(("BTC",), ("USDT",), found, (1_000,), (False,))


def no_fees() -> FeeCounter:
    """For fills that cost nothing."""
    return FeeCounter(fee_rules(), Decimal("0.01"))


def seeded() -> random.Random:
    """The same chances every time."""
    return random.Random(1)
