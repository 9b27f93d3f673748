"""What Binance says about a market: exchangeInfo as the rules of orders.

Sources: Binance's filters.md and enums.md.
Runs on: the main thread.
"""

from __future__ import annotations

from typing import Any

from engine.decoding.scale import QUANTITY_LIMIT, ScaleError, exact_count
from net.orders import json_fields
from net.orders.markets import MarketRules
from net.orders.messages import EntryError, Market, quoted

PPM = 6
"""Decimals of a share in ppm."""


BAND_PPM_MAX = 10**12


def binance_market(body: Any, symbol: str) -> MarketRules:
    """One symbol of exchangeInfo; EntryError where it is missing or cannot be quoted in."""
    listed = json_fields.records(json_fields.record(body, "exchangeInfo").get("symbols"), "symbols")
    found = json_fields.row_with(listed, "symbol", symbol)
    if found is None:
        raise EntryError(f"binance: exchangeInfo has no symbol {quoted(symbol)}")
    kinds = found.get("orderTypes")
    if not isinstance(kinds, list) or "LIMIT_MAKER" not in kinds:
        raise EntryError(f"binance: {symbol} takes no post-only orders (LIMIT_MAKER)")
    if not json_fields.flag(found, "cancelReplaceAllowed"):
        raise EntryError(f"binance: {symbol} does not allow order.cancelReplace")
    filters = {
        json_fields.text(each, "filterType"): each
        for each in json_fields.records(found.get("filters"), "filters")
    }
    price, size = _filter(filters, symbol, "PRICE_FILTER"), _filter(filters, symbol, "LOT_SIZE")
    base, quote = json_fields.text(found, "baseAsset"), json_fields.text(found, "quoteAsset")
    market = Market(
        symbol, base, quote, json_fields.text(price, "tickSize"), json_fields.text(size, "stepSize")
    )
    step_lots = market.step_lots
    up_ppm, down_ppm = _bands(filters)
    # Zero disables a rule of a filter.
    return MarketRules(
        market,
        max(-(-json_fields.lots(size, "minQty") // step_lots), 1) * step_lots,
        (json_fields.lots(size, "maxQty") or QUANTITY_LIMIT) // step_lots * step_lots,
        _notional_min(filters),
        up_ppm,
        down_ppm,
        json_fields.text(found, "status") == "TRADING",
    )


def _filter(filters: dict[str, json_fields.Record], symbol: str, name: str) -> json_fields.Record:
    if name not in filters:
        raise EntryError(f"binance: exchangeInfo has no {name} for {symbol}")
    return filters[name]


def _notional_min(filters: dict[str, json_fields.Record]) -> str:
    """NOTIONAL is the newer form of MIN_NOTIONAL; a market has one of them, or none."""
    found = filters.get("NOTIONAL") or filters.get("MIN_NOTIONAL")
    if found is None:
        return "0"
    json_fields.lots(found, "minNotional")  # a decimal number, or refused
    return json_fields.text(found, "minNotional")


def _bands(filters: dict[str, json_fields.Record]) -> tuple[int, int]:
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


def _ppm(found: json_fields.Record, key: str) -> int:
    number = json_fields.text(found, key)
    try:
        return exact_count(number, 1, PPM, BAND_PPM_MAX)
    except ScaleError as error:
        raise EntryError(f"{key}: {quoted(number)!r} {error}") from None
