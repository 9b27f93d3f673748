"""What a venue says about a market: its units, its limits, and whether orders are taken now.

A market on which a post-only order cannot be placed or replaced, and a body that does not say what
is needed, are refused: an order is never sized by a guess.
Sources: Binance's filters.md and enums.md; Bitstamp's HTTP API v2 description (markets, and the
response codes 400.020 and 400.021).
Runs on: the main thread. Called by: net.daemon.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engine.scale import QUANTITY_LIMIT, ScaleError, exact_count
from net.entry import fields as F
from net.entry.order import EntryError, Market, quoted
from net.venues import MetadataError
from net.venues.bitstamp import BITSTAMP

PPM = 6
"""Decimals of a share in ppm."""
BAND_PPM_MAX = 10**12
BITSTAMP_BANDS_PPM = (1_200_000, 800_000)
"""A price more than 20 % away from the market is refused (400.021)."""


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


def binance_market(body: Any, symbol: str) -> MarketRules:
    """One symbol of exchangeInfo; EntryError where it is missing or cannot be quoted in."""
    listed = F.records(F.record(body, "exchangeInfo").get("symbols"), "symbols")
    found = next((each for each in listed if each.get("symbol") == symbol), None)
    if found is None:
        raise EntryError(f"binance: exchangeInfo has no symbol {quoted(symbol)}")
    kinds = found.get("orderTypes")
    if not isinstance(kinds, list) or "LIMIT_MAKER" not in kinds:
        raise EntryError(f"binance: {symbol} takes no post-only orders (LIMIT_MAKER)")
    if not F.flag(found, "cancelReplaceAllowed"):
        raise EntryError(f"binance: {symbol} does not allow order.cancelReplace")
    filters = {
        F.text(each, "filterType"): each for each in F.records(found.get("filters"), "filters")
    }
    price, size = _filter(filters, symbol, "PRICE_FILTER"), _filter(filters, symbol, "LOT_SIZE")
    base, quote = F.text(found, "baseAsset"), F.text(found, "quoteAsset")
    market = Market(symbol, base, quote, F.text(price, "tickSize"), F.text(size, "stepSize"))
    step_lots = market.step_lots
    up_ppm, down_ppm = _bands(filters)
    # Zero disables a rule of a filter.
    return MarketRules(
        market,
        max(-(-F.lots(size, "minQty") // step_lots), 1) * step_lots,
        (F.lots(size, "maxQty") or QUANTITY_LIMIT) // step_lots * step_lots,
        _notional_min(filters),
        up_ppm,
        down_ppm,
        F.text(found, "status") == "TRADING",
    )


def _filter(filters: dict[str, F.Record], symbol: str, name: str) -> F.Record:
    if name not in filters:
        raise EntryError(f"binance: exchangeInfo has no {name} for {symbol}")
    return filters[name]


def _notional_min(filters: dict[str, F.Record]) -> str:
    """NOTIONAL is the newer form of MIN_NOTIONAL; a market has one of them, or none."""
    found = filters.get("NOTIONAL") or filters.get("MIN_NOTIONAL")
    if found is None:
        return "0"
    F.lots(found, "minNotional")  # a decimal number, or refused
    return F.text(found, "minNotional")


def _bands(filters: dict[str, F.Record]) -> tuple[int, int]:
    by_side, both = filters.get("PERCENT_PRICE_BY_SIDE"), filters.get("PERCENT_PRICE")
    ups: list[int] = []
    downs: list[int] = []
    if by_side is not None:
        ups += (_ppm(by_side, "bidMultiplierUp"), _ppm(by_side, "askMultiplierUp"))
        downs += (_ppm(by_side, "bidMultiplierDown"), _ppm(by_side, "askMultiplierDown"))
    if both is not None:
        ups.append(_ppm(both, "multiplierUp"))
        downs.append(_ppm(both, "multiplierDown"))
    return min(filter(None, ups), default=0), max(downs, default=0)


def _ppm(found: F.Record, key: str) -> int:
    number = F.text(found, key)
    try:
        return exact_count(number, 1, PPM, BAND_PPM_MAX)
    except ScaleError as error:
        raise EntryError(f"{key}: {quoted(number)!r} {error}") from None


def bitstamp_market(body: Any, symbol: str) -> MarketRules:
    """One pair of markets/; EntryError where it is missing or cannot be quoted in."""
    listed = F.records(body, "markets")
    found = next((each for each in listed if each.get("market_symbol") == symbol), None)
    if found is None:
        raise EntryError(f"bitstamp: markets has no pair {quoted(symbol)}")
    kind = F.text(found, "market_type", "SPOT")
    if kind != "SPOT":
        raise EntryError(f"bitstamp: {symbol} is no spot market but {quoted(kind)}")
    try:
        tick_size = BITSTAMP.tick_size(listed, symbol)
    except MetadataError as error:
        raise EntryError(str(error)) from None
    decimals = F.whole(found, "base_decimals")
    base, quote = F.text(found, "base_currency"), F.text(found, "counter_currency")
    market = Market(symbol, base, quote, tick_size, f"1E-{decimals}")
    step_lots = market.step_lots
    # A minimum may be null, which is none; one that is not there at all would be a guess.
    lots_min = _minimum_lots(found, "minimum_order_amount")
    largest = "maximum_order_amount"
    lots_max = QUANTITY_LIMIT if found.get(largest) is None else F.lots(found, largest)
    has_notional = _minimum_lots(found, "minimum_order_value") > 0
    return MarketRules(
        market,
        max(-(-lots_min // step_lots), 1) * step_lots,
        lots_max // step_lots * step_lots,
        str(found["minimum_order_value"]) if has_notional else "0",
        *BITSTAMP_BANDS_PPM,
        F.text(found, "trading") == "Enabled",
    )


def _minimum_lots(found: F.Record, key: str) -> int:
    return 0 if key in found and found[key] is None else F.lots(found, key)
