"""What the venues say of a market: read exactly, or refused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from engine.scale import QUANTITY_LIMIT
from net.entry.markets import MarketRules, binance_market
from net.entry.order import EntryError, Market

# Binance's filters.md has these filters; the numbers are such as real markets have.
FILTERS: list[dict[str, Any]] = [
    {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000000", "tickSize": "0.01"},
    {"filterType": "LOT_SIZE", "minQty": "0.00001", "maxQty": "9000.0", "stepSize": "0.00001"},
    {"filterType": "MARKET_LOT_SIZE", "minQty": "0", "maxQty": "84.5", "stepSize": "0"},
    {
        "filterType": "PERCENT_PRICE_BY_SIDE",
        "bidMultiplierUp": "5",
        "bidMultiplierDown": "0.2",
        "askMultiplierUp": "4.5",
        "askMultiplierDown": "0.25",
        "avgPriceMins": 5,
    },
    {"filterType": "NOTIONAL", "minNotional": "5.00000000", "maxNotional": "9000000"},
]
SYMBOL: dict[str, Any] = {
    "symbol": "BTCUSDT",
    "status": "TRADING",
    "baseAsset": "BTC",
    "quoteAsset": "USDT",
    "orderTypes": ["LIMIT", "LIMIT_MAKER"],
    "cancelReplaceAllowed": True,
    "filters": FILTERS,
}


def binance(change: Callable[[dict[str, Any], dict[str, Any]], object]) -> MarketRules:
    """The rules of a symbol after a change to it, or to its filters by their types."""
    symbol = copy.deepcopy(SYMBOL)
    by_type = {each["filterType"]: each for each in symbol["filters"]}
    change(symbol, by_type)
    symbol["filters"] = list(by_type.values()) if symbol["filters"] else symbol["filters"]
    return binance_market({"symbols": [{"symbol": "ETHUSDT"}, symbol]}, "BTCUSDT")


def test_binance_s_rules() -> None:
    assert binance(lambda symbol, filters: None) == MarketRules(
        Market("BTCUSDT", "BTC", "USDT", "0.01", "0.00001"),
        1_000,
        900_000_000_000,
        "5.00000000",
        4_500_000,
        250_000,
        True,
    )
    assert not binance(lambda symbol, _: symbol.update(status="CANCEL_ONLY")).is_trading


def test_binance_s_rules_that_are_off() -> None:
    def less(symbol: dict[str, Any], filters: dict[str, Any]) -> None:
        filters["LOT_SIZE"].update(minQty="0.00000000", maxQty="0.00000000", stepSize="0.003")
        filters["PERCENT_PRICE_BY_SIDE"].update(bidMultiplierUp="0", askMultiplierUp="0")
        del filters["NOTIONAL"]

    rules = binance(less)
    assert rules.lots_min == rules.market.step_lots == 300_000
    assert rules.lots_max == QUANTITY_LIMIT // 300_000 * 300_000
    assert (rules.notional_min, rules.band_up_ppm, rules.band_down_ppm) == ("0", 0, 250_000)

    def older(symbol: dict[str, Any], filters: dict[str, Any]) -> None:
        filters["LOT_SIZE"].update(minQty="0.00001001")
        filters["N"] = {"filterType": "MIN_NOTIONAL", "minNotional": "0.0001"}
        filters["P"] = {
            "filterType": "PERCENT_PRICE",
            "multiplierUp": "1.3000",
            "multiplierDown": "0.7",
        }
        del filters["NOTIONAL"], filters["PERCENT_PRICE_BY_SIDE"]

    rules = binance(older)
    assert rules.lots_min == 2_000, "a step above what is no multiple of it"
    assert (rules.notional_min, rules.band_up_ppm, rules.band_down_ppm) == (
        "0.0001",
        1_300_000,
        700_000,
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda symbol, filters: symbol.update(symbol="BTCUSDC"),
        lambda symbol, filters: symbol.update(orderTypes=["LIMIT"]),
        lambda symbol, filters: symbol.update(orderTypes="LIMIT_MAKER"),
        lambda symbol, filters: symbol.update(cancelReplaceAllowed=False),
        lambda symbol, filters: symbol.pop("cancelReplaceAllowed"),
        lambda symbol, filters: symbol.pop("status"),
        lambda symbol, filters: symbol.pop("quoteAsset"),
        lambda symbol, filters: symbol.update(filters=None),
        lambda symbol, filters: filters.pop("PRICE_FILTER"),
        lambda symbol, filters: filters.pop("LOT_SIZE"),
        lambda symbol, filters: filters["PRICE_FILTER"].update(tickSize="0"),
        lambda symbol, filters: filters["LOT_SIZE"].update(stepSize="0.000000001"),
        lambda symbol, filters: filters["LOT_SIZE"].update(minQty="-1"),
        lambda symbol, filters: filters["LOT_SIZE"].pop("maxQty"),
        lambda symbol, filters: filters["NOTIONAL"].update(minNotional="five"),
        lambda symbol, filters: filters["PERCENT_PRICE_BY_SIDE"].pop("askMultiplierUp"),
        lambda symbol, filters: filters["PERCENT_PRICE_BY_SIDE"].update(bidMultiplierUp="1.3e9"),
    ],
)
def test_binance_s_nonsense_is_refused(change: Callable[..., object]) -> None:
    with pytest.raises(EntryError):
        binance(change)


@pytest.mark.parametrize("body", [None, [], {}, {"symbols": {}}, {"symbols": [7]}])
def test_what_is_no_exchange_info_is_refused(body: object) -> None:
    with pytest.raises(EntryError):
        binance_market(body, "BTCUSDT")
