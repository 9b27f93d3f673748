"""KuCoin: the facts of its spot markets.

A connection needs a token, which anybody is given: the answer's token is taken, its address is not.
Source: the exchange's pages "Apply connect token", "Level2 market data" and "Get part order book",
and recordings of 2021.
Runs on: any thread (facts only).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import orjson

from net.log.one_line import one_line
from net.venues.defaults import MarketDataVenue
from net.venues.interface import (
    Control,
    Listing,
    MarketStatus,
    OwnSettings,
    RestLimit,
    tick_text,
)
from net.venues.kucoin.schema import RULES, TOPIC
from net.venues.kucoin.trades import is_answer, read_trades, trade_requests
from net.venues.trades import VenueTrade

BOOK_ROUTES = {
    "/api/v1/market/orderbook/level2_100": 100,
    "/api/v1/market/orderbook/level2_20": 20,
    "/api/v3/market/orderbook/level2": 0,
}
"""And how many levels a side they have; the whole book needs a key."""
STREAM_DEPTH = 100
NO_SYMBOL = "900001"
"""Error code of a symbol that is not there."""


class Kucoin(MarketDataVenue):
    """Every change with first and last sequence, snapshots of 100 levels a side without a key."""

    name = "kucoin"
    rules = RULES
    ws_url = "wss://ws-api-spot.kucoin.com/"
    rest_url = "https://api.kucoin.com"
    rest_limit = RestLimit(weight_max=1000, window_s=30)
    metadata_weight = 4
    metadata_route = "/api/v2/symbols/"
    maker_fee_ppm = 1_000

    @property
    def token_path(self) -> str:
        return "/api/v1/bullet-public"

    def token_address(self, url: str, answer: Any) -> str:
        token = answer["data"]["token"]
        if not isinstance(token, str) or not token:
            raise ValueError
        return f"{url}?token={quote(token, safe='')}"

    def subscriptions(self, symbols: Sequence[str], own: OwnSettings) -> list[bytes]:
        # The number of the request is all that an acknowledgement names.
        return [
            orjson.dumps({
                "id": symbol, "type": "subscribe", "topic": f"{TOPIC}{symbol}",
                "privateChannel": False, "response": True,
            })
            for symbol in symbols
        ]  # fmt: skip

    def heartbeat(self) -> bytes | None:
        return b'{"id":"heartbeat","type":"ping"}'  # cut after some 28 s without one

    def snapshot_depths(self, own: OwnSettings) -> tuple[int, ...]:
        return (STREAM_DEPTH,)

    def snapshot_path(self, symbol: str, depth: int, nonce_ms: int) -> str:
        return f"/api/v1/market/orderbook/level2_{depth}?symbol={quote(symbol)}"

    def snapshot_weight(self, depth: int) -> int:
        return 4

    def snapshot_of(self, path: str) -> tuple[str, int] | None:
        parts = urlsplit(path)
        query = parse_qs(parts.query)
        if parts.path not in BOOK_ROUTES or "symbol" not in query:
            return None
        return query["symbol"][0], BOOK_ROUTES[parts.path]

    def trade_subscriptions(self, symbols: Sequence[str]) -> list[bytes]:
        return trade_requests(symbols)

    def trades(self, message: Any) -> list[VenueTrade] | None:
        return read_trades(message)

    def metadata_path(self, symbol: str) -> str:
        return f"{self.metadata_route}{quote(symbol)}"

    def has_no_symbol(self, body: Any) -> bool:
        return isinstance(body, dict) and body.get("code") == NO_SYMBOL

    def listing(self, body: Any, symbol: str) -> Listing:
        if self.has_no_symbol(body):
            raise self.missing(symbol, is_final=True)
        try:
            entry = body["data"]
            if entry["symbol"] != symbol:
                raise self.missing(symbol, is_final=False)
            is_trading = entry.get("enableTrading", True) is True
            return Listing(
                tick_text(entry["priceIncrement"]),
                tick_text(entry["baseIncrement"]),
                MarketStatus.TRADING if is_trading else MarketStatus.HALTED,
            )
        except (AttributeError, KeyError, TypeError):
            raise self.missing(symbol, is_final=False) from None

    def control(self, message: Any) -> tuple[Control, str]:
        if not isinstance(message, dict):
            return Control.UNKNOWN, "not an object"
        kind, topic = message.get("type"), message.get("topic")
        if kind == "ack" and is_answer(message):
            return Control.IGNORED, ""
        if kind == "ack":
            return Control.SUBSCRIBED, one_line(message.get("id", ""))
        if kind == "error":
            return Control.ERROR, one_line(message.get("data", message))
        if kind in ("welcome", "pong"):
            return Control.IGNORED, ""
        if isinstance(topic, str) and topic and not topic.startswith(TOPIC):
            return Control.IGNORED, ""
        return Control.UNKNOWN, "a message of unknown form"


KUCOIN = Kucoin()
