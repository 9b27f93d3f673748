"""What a venue's metadata says of a market's orders.

Runs on: the main thread. Called by: net.daemon, net.maker.rules.
"""

from __future__ import annotations

from dataclasses import dataclass

from net.entry.order import Market


@dataclass(frozen=True)
class MarketRules:
    """One market and the filters of its orders."""

    market: Market
    lots_min: int
    lots_max: int
    notional_min: str
    """Decimal text of the quote currency; "0" for none."""
    band_up_ppm: int
    band_down_ppm: int
    """How far from the venue's reference a price may be; 0 for no band."""
    is_trading: bool
