"""What a venue says about a market: its units, its limits, and whether orders are taken now.

A market on which a post-only order cannot be placed or replaced, and a body that does not say what
is needed, are refused: an order is never sized by a guess.
Runs on: the main thread.
"""

from __future__ import annotations

from dataclasses import dataclass

from net.orders.messages import Market


@dataclass(frozen=True)
class MarketRules:
    """One market and what its orders have to keep to."""

    market: Market
    lots_min: int
    """The smallest order: at least one step."""
    lots_max: int
    notional_min: str
    """The least price x quantity of an order, in the quote currency; "0" for none."""
    band_up_ppm: int
    """The highest price that an order may have, in millionths of the venue's average price, and
    the lowest; 0 for none. Where buying and selling differ: what holds for both."""
    band_down_ppm: int
    is_trading: bool
    """Whether orders are taken at present."""
