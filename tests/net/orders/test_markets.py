"""What the venues say of a market: read exactly, or refused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from engine.decoding.scale import QUANTITY_LIMIT
from net.orders.markets import MarketRules
from net.orders.messages import EntryError, Market
from net.orders.request_template import Template
from net.venues.binance.orders.markets import binance_market
from net.venues.bitstamp.orders.markets import bitstamp_market

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


# The form that was seen on the wire; tick_size is documented, and was not there.
PAIR: dict[str, Any] = {
    "name": "BTC/USD",
    "market_symbol": "btcusd",
    "base_currency": "BTC",
    "base_decimals": 8,
    "counter_currency": "USD",
    "counter_decimals": 0,
    "minimum_order_value": "10",
    "maximum_order_value": None,
    "minimum_order_amount": None,
    "maximum_order_amount": None,
    "trading": "Enabled",
    "market_type": "SPOT",
}


def bitstamp(**changes: Any) -> MarketRules:
    """The rules of a pair after changes to it; what is changed to ... is not there."""
    pair = {key: value for key, value in (PAIR | changes).items() if value is not ...}
    return bitstamp_market([{"market_symbol": "ethusd"}, pair], "btcusd")


def test_bitstamp_s_rules() -> None:
    market = Market("btcusd", "BTC", "USD", "1", "1E-8")
    whole = QUANTITY_LIMIT
    assert bitstamp() == MarketRules(market, 1, whole, "10", 1_200_000, 800_000, True)
    assert not bitstamp(trading="Disabled").is_trading
    assert bitstamp(maximum_order_amount=...).lots_max == whole
    assert bitstamp(tick_size="0.05").market.tick == (5, 2)
    rules = bitstamp(
        base_decimals=4,
        counter_decimals=2,
        minimum_order_amount="0.00025",
        maximum_order_amount="12.34567",
        minimum_order_value=None,
    )
    assert (rules.market.step_lots, rules.market.tick) == (10_000, (1, 2))
    assert (rules.lots_min, rules.lots_max) == (30_000, 1_234_560_000), "whole steps inside"
    assert rules.notional_min == "0"
    fields = [rules.market.price_field, rules.market.quantity_field]
    assert Template([b"", b" ", b""], fields).write(123, 1_010_000) == b"1.23 0.0101"


@pytest.mark.parametrize(
    "changes",
    [
        {"market_symbol": "btceur"},
        {"market_type": "PERPETUAL"},
        {"base_decimals": 9},
        {"base_decimals": 2**62},
        {"base_decimals": "many"},
        {"counter_decimals": ...},
        {"tick_size": "0.01x"},
        {"tick_size": "0"},
        {"base_currency": ...},
        {"counter_currency": None},
        {"trading": ...},
        {"minimum_order_value": ...},
        {"minimum_order_value": "10 USD"},
        {"minimum_order_amount": ...},
        {"minimum_order_amount": -1},
        {"maximum_order_amount": 1.5},
    ],
)
def test_bitstamp_s_nonsense_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(EntryError):
        bitstamp(**changes)


@pytest.mark.parametrize("body", [None, {}, [], [7], [{}]])
def test_what_is_no_list_of_markets_is_refused(body: object) -> None:
    with pytest.raises(EntryError):
        bitstamp_market(body, "btcusd")
