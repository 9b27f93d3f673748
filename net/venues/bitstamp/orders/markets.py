"""What Bitstamp says about a market: markets/ as the rules of orders.

Source: Bitstamp's HTTP API v2 description (markets, and the response codes 400.020 and 400.021).
Runs on: the main thread.
"""

from __future__ import annotations

from typing import Any

from engine.decoding.scale import QUANTITY_LIMIT
from net.orders import json_fields
from net.orders.markets import MarketRules
from net.orders.messages import EntryError, Market, quoted
from net.venues.bitstamp.market_data import BITSTAMP
from net.venues.interface import MetadataError

BITSTAMP_BANDS_PPM = (1_200_000, 800_000)
"""A price more than 20 % away from the market is refused (400.021)."""


def bitstamp_market(body: Any, symbol: str) -> MarketRules:
    """One pair of markets/; EntryError where it is missing or cannot be quoted in."""
    listed = json_fields.records(body, "markets")
    found = json_fields.row_with(listed, "market_symbol", symbol)
    if found is None:
        raise EntryError(f"bitstamp: markets has no pair {quoted(symbol)}")
    kind = json_fields.text(found, "market_type", "SPOT")
    if kind != "SPOT":
        raise EntryError(f"bitstamp: {symbol} is no spot market but {quoted(kind)}")
    try:
        tick_size = BITSTAMP.tick_size(listed, symbol)
    except MetadataError as error:
        raise EntryError(str(error)) from None
    decimals = json_fields.whole(found, "base_decimals")
    base, quote = (
        json_fields.text(found, "base_currency"),
        json_fields.text(found, "counter_currency"),
    )
    market = Market(symbol, base, quote, tick_size, f"1E-{decimals}")
    step_lots = market.step_lots
    # A minimum may be null, which is none; one that is not there at all would be a guess.
    lots_min = _minimum_lots(found, "minimum_order_amount")
    largest = "maximum_order_amount"
    lots_max = QUANTITY_LIMIT if found.get(largest) is None else json_fields.lots(found, largest)
    has_notional = _minimum_lots(found, "minimum_order_value") > 0
    return MarketRules(
        market,
        max(-(-lots_min // step_lots), 1) * step_lots,
        lots_max // step_lots * step_lots,
        str(found["minimum_order_value"]) if has_notional else "0",
        *BITSTAMP_BANDS_PPM,
        json_fields.text(found, "trading") == "Enabled",
    )


def _minimum_lots(found: json_fields.Record, key: str) -> int:
    return 0 if key in found and found[key] is None else json_fields.lots(found, key)
