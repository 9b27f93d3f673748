"""What the venues of market data alone say of themselves: requests, control messages, listings."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from net.simulator.registry import MARKET_DATA
from net.venues.interface import Control, Listing, MarketStatus, MetadataError
from net.venues.registry import VENUES

NAMES = [name for name, venue in VENUES.items() if venue.orders is None]
SYMBOLS = {
    "kraken": "BTC/USD", "okx": "BTC-USDT", "okx-swap": "BTC-USDT-SWAP", "bybit": "BTCUSDT",
    "bybit-linear": "BTCUSDT", "binance-usdm": "BTCUSDT", "coinbase": "BTC-USD",
    "gemini": "BTCUSD", "gate": "BTC_USDT", "kucoin": "BTC-USDT",
}  # fmt: skip

SUBSCRIBED, IGNORED = Control.SUBSCRIBED, Control.IGNORED
ERROR, RECONNECT, UNKNOWN = Control.ERROR, Control.RECONNECT, Control.UNKNOWN
CONTROLS: list[tuple[str, Any, Control, str]] = [
    ("kraken", {"method": "subscribe", "result": {"channel": "book", "symbol": "BTC/USD"},
                "success": True}, SUBSCRIBED, "BTC/USD"),
    ("kraken", {"method": "subscribe", "success": False, "error": "no pair"}, ERROR, "no pair"),
    ("kraken", {"method": "unsubscribe", "success": True}, IGNORED, ""),
    ("kraken", {"method": "pong"}, IGNORED, ""),
    ("kraken", {"channel": "heartbeat"}, IGNORED, ""),
    ("kraken", {"channel": "status", "data": [{"system": "maintenance"}]}, IGNORED, ""),
    ("kraken", {"Error": "Exceeded msg rate"}, ERROR, "Exceeded msg rate"),
    ("kraken", {"channel": "book", "type": "new"}, UNKNOWN, ""),
    ("okx", {"event": "subscribe", "arg": {"channel": "books", "instId": "BTC-USDT"}},
     SUBSCRIBED, "BTC-USDT"),
    ("okx", {"event": "subscribe", "arg": {"channel": "trades", "instId": "X"}}, IGNORED, ""),
    ("okx", {"event": "error", "code": "60018", "msg": "wrong"}, ERROR, "wrong"),
    ("okx", {"event": "notice", "code": "64008", "msg": "soon"}, RECONNECT, "soon"),
    ("okx", {"arg": {"channel": "books5", "instId": "X"}, "data": []}, IGNORED, ""),
    ("okx", {"arg": {"channel": "books", "instId": "X"}, "data": []}, UNKNOWN, ""),
    ("bybit", {"success": True, "ret_msg": "", "req_id": "BTCUSDT", "op": "subscribe"},
     SUBSCRIBED, "BTCUSDT"),
    ("bybit", {"success": False, "ret_msg": "no topic", "op": "subscribe"}, ERROR, "no topic"),
    ("bybit", {"success": True, "ret_msg": "pong", "op": "ping"}, IGNORED, ""),
    ("bybit", {"op": "pong", "args": ["1"]}, IGNORED, ""),
    ("bybit", {"topic": "publicTrade.BTCUSDT"}, IGNORED, ""),
    ("bybit", {"topic": "orderbook.50.BTCUSDT", "type": "new"}, UNKNOWN, ""),
    ("binance-usdm", {"result": None, "id": 1}, SUBSCRIBED, ""),
    ("binance-usdm", {"stream": "btcusdt@aggTrade", "data": {"e": "aggTrade"}}, IGNORED, ""),
    ("binance-usdm", {"e": "serverShutdown"}, RECONNECT, "serverShutdown"),
    ("binance-usdm", {"stream": "btcusdt@depth@100ms", "data": {"e": "new"}}, UNKNOWN, ""),
    ("coinbase", {"channel": "subscriptions", "events": [{"subscriptions": {
        "level2": ["BTC-USD", "ETH-USD"], "heartbeats": ["heartbeats"]}}]},
     SUBSCRIBED, "BTC-USD ETH-USD"),
    ("coinbase", {"channel": "heartbeats", "events": []}, IGNORED, ""),
    ("coinbase", {"type": "error", "message": "no"}, ERROR, "no"),
    ("coinbase", {"channel": "l2_data", "events": []}, UNKNOWN, ""),
    ("gemini", {"type": "heartbeat"}, IGNORED, ""),
    ("gemini", {"result": "error", "reason": "InvalidSymbol"}, ERROR, "InvalidSymbol"),
    ("gemini", {"type": "l2_updates"}, UNKNOWN, ""),
    ("gate", {"channel": "spot.order_book_update", "event": "subscribe",
              "result": {"status": "success"}}, SUBSCRIBED, ""),
    ("gate", {"channel": "spot.order_book_update", "event": "subscribe",
              "error": {"code": 2, "message": "unknown pair"}}, ERROR, "unknown pair"),
    ("gate", {"channel": "spot.pong"}, IGNORED, ""),
    ("gate", {"channel": "spot.order_book_update", "event": "update"}, UNKNOWN, ""),
    ("kucoin", {"id": "BTC-USDT", "type": "ack"}, SUBSCRIBED, "BTC-USDT"),
    ("kucoin", {"id": "x", "type": "welcome"}, IGNORED, ""),
    ("kucoin", {"type": "error", "data": "topic"}, ERROR, "topic"),
    ("kucoin", {"type": "message", "topic": "/market/ticker:X"}, IGNORED, ""),
    ("kucoin", {"type": "message", "topic": "/market/level2:X"}, UNKNOWN, ""),
]  # fmt: skip


@pytest.mark.parametrize(("name", "message", "kind", "text"), CONTROLS)
def test_what_a_message_means_that_is_no_book(
    name: str, message: Any, kind: Control, text: str
) -> None:
    found, said = VENUES[name].control(message)
    assert found is kind and (kind is Control.UNKNOWN or said == text)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("message", [[], 1, "x", None, {}, {"channel": 7}, {"type": []}])
def test_nonsense_is_not_understood_or_an_error_and_never_raises(name: str, message: Any) -> None:
    kind, text = VENUES[name].control(message)
    assert kind in (Control.UNKNOWN, Control.ERROR) and "\n" not in text


LISTINGS: list[tuple[str, Any, Listing]] = [
    ("kraken", {"error": [], "result": {"XXBTZUSD": {"wsname": "XBT/USD", "lot_decimals": 8,
     "tick_size": "0.1", "status": "cancel_only"}}}, Listing("0.1", "1E-8", MarketStatus.HALTED)),
    ("okx", {"data": [{"instId": "BTC-USDT", "tickSz": "0.1", "lotSz": "0.00000001",
     "state": "preopen"}]}, Listing("0.1", "0.00000001", MarketStatus.PRE_OPEN)),
    ("bybit", {"retCode": 0, "result": {"list": [{"symbol": "BTCUSDT", "status": "Trading",
     "priceFilter": {"tickSize": "0.1"}, "lotSizeFilter": {"basePrecision": "0.000001"}}]}},
     Listing("0.1", "0.000001")),
    ("bybit-linear", {"retCode": 0, "result": {"list": [{"symbol": "BTCUSDT", "status": "Closed",
     "priceFilter": {"tickSize": "0.10"}, "lotSizeFilter": {"qtyStep": "0.001"}}]}},
     Listing("0.10", "0.001", MarketStatus.DELISTED)),
    ("binance-usdm", {"symbols": [{"symbol": "BTCUSDT", "pricePrecision": 2, "filters": [
     {"filterType": "PRICE_FILTER", "tickSize": "0.10"},
     {"filterType": "LOT_SIZE", "stepSize": "0.001"}]}]}, Listing("0.10", "0.001")),
    ("coinbase", {"product_id": "BTC-USD", "price_increment": "0.01",
     "base_increment": "0.00000001", "trading_disabled": True},
     Listing("0.01", "0.00000001", MarketStatus.HALTED)),
    ("gemini", {"symbol": "BTCUSD", "quote_increment": 0.01, "tick_size": 1e-08, "status": "open"},
     Listing("0.01", "1e-08")),
    ("gate", {"id": "BTC_USDT", "precision": 1, "amount_precision": 6,
     "trade_status": "untradable"}, Listing("1E-1", "1E-6", MarketStatus.HALTED)),
    ("kucoin", {"code": "200000", "data": {"symbol": "BTC-USDT", "priceIncrement": "0.1",
     "baseIncrement": "0.00000001", "enableTrading": True}}, Listing("0.1", "0.00000001")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "body", "wanted"), LISTINGS)
def test_a_listing_has_tick_step_and_status(name: str, body: Any, wanted: Listing) -> None:
    assert VENUES[name].listing(body, SYMBOLS[name]) == wanted
    assert VENUES[name].tick_size(body, SYMBOLS[name]) == wanted.tick_size


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("body", [None, [], {}, {"data": 1}, {"result": []}, {"symbols": [7]}])
def test_a_listing_that_is_none_says_so(name: str, body: Any) -> None:
    with pytest.raises(MetadataError):
        VENUES[name].listing(body, SYMBOLS[name])


@pytest.mark.parametrize("name", NAMES)
def test_requests_are_json_and_rest_paths_are_known_again(name: str) -> None:
    venue, symbol = VENUES[name], SYMBOLS[name]
    own = venue.own_settings()
    for message in (*venue.subscriptions([symbol], own), *venue.resubscriptions(symbol)):
        assert symbol in message.decode() or b"heartbeats" in message
        orjson.loads(message)
    assert venue.is_metadata(venue.metadata_path(symbol))
    if venue.rules.snapshot is not None:
        depth = venue.snapshot_depths(venue.own_settings())[-1]
        assert venue.snapshot_of(venue.snapshot_path(symbol, depth, 0)) == (symbol, depth)
        assert venue.snapshot_weight(depth) > 0


def test_each_of_them_is_simulated() -> None:
    assert sorted(MARKET_DATA) == sorted(NAMES)
