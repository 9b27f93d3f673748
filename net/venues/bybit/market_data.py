"""Bybit: the facts, for its spot markets and its linear perpetuals.

The category is only in the address, and both use the same topics: two venues.
Source: the exchange's v5 pages, and recordings of 2024 to 2026.
Runs on: any thread (facts only).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import orjson

from net.log.one_line import one_line
from net.venues.bybit.schema import RULES, TOPIC
from net.venues.bybit.trades import is_answer, read_trades, trade_requests
from net.venues.defaults import MarketDataVenue
from net.venues.interface import Control, Listing, MarketStatus, OwnSettings, RestLimit, tick_text
from net.venues.trades import VenueTrade

DEPTH = 50
"""Levels a side: every 20 ms; 200 come every 100 ms."""
UNKNOWN_SYMBOL = 10001
"""Error code of a parameter that is not valid: of this request only the symbol can be."""
STATUSES = {
    "Trading": MarketStatus.TRADING,
    "PreLaunch": MarketStatus.PRE_OPEN,
    "Delivering": MarketStatus.DELISTED,
    "Closed": MarketStatus.DELISTED,
}


def _request(op: str, symbol: str) -> bytes:
    # The number of the request is all that an acknowledgement names.
    return orjson.dumps({"req_id": symbol, "op": op, "args": [f"{TOPIC}{DEPTH}.{symbol}"]})


class Bybit(MarketDataVenue):
    """Fifty levels a side, which the venue keeps; ids step by one."""

    rules = RULES
    rest_url = "https://api.bybit.com"
    rest_limit = RestLimit(weight_max=300, window_s=5)
    """Half of what an address is allowed: beyond that it is banned for ten minutes."""
    metadata_route = "/v5/market/instruments-info"
    maker_fee_ppm = 1_000

    def __init__(self, name: str, category: str) -> None:
        self.name = name
        self.category = category
        self.ws_url = f"wss://stream.bybit.com/v5/public/{category}"

    def subscriptions(self, symbols: Sequence[str], own: OwnSettings) -> list[bytes]:
        # One a symbol: of a request with a topic that is not there all of it is refused.
        return [_request("subscribe", symbol) for symbol in symbols]

    def resubscriptions(self, symbol: str) -> list[bytes]:
        return [_request("unsubscribe", symbol), _request("subscribe", symbol)]

    def heartbeat(self) -> bytes | None:
        return b'{"req_id":"heartbeat","op":"ping"}'

    def trade_subscriptions(self, symbols: Sequence[str]) -> list[bytes]:
        return trade_requests(symbols)

    def trades(self, message: Any) -> list[VenueTrade] | None:
        return read_trades(message)

    def metadata_path(self, symbol: str) -> str:
        return f"{self.metadata_route}?category={self.category}&symbol={quote(symbol)}"

    def has_no_symbol(self, body: Any) -> bool:
        return isinstance(body, dict) and body.get("retCode") == UNKNOWN_SYMBOL

    def listing(self, body: Any, symbol: str) -> Listing:
        if self.has_no_symbol(body):
            raise self.missing(symbol, is_final=True)
        try:
            listed = body["result"]["list"]
            entry = next((each for each in listed if each["symbol"] == symbol), None)
            if entry is None:
                raise self.missing(symbol, is_final=body.get("retCode") == 0)
            sizes = entry["lotSizeFilter"]
            return Listing(
                tick_text(entry["priceFilter"]["tickSize"]),
                tick_text(sizes.get("basePrecision") or sizes["qtyStep"]),
                STATUSES.get(entry.get("status", "Trading"), MarketStatus.HALTED),
            )
        except (AttributeError, KeyError, TypeError):
            raise self.missing(symbol, is_final=False) from None

    def control(self, message: Any) -> tuple[Control, str]:
        if not isinstance(message, dict):
            return Control.UNKNOWN, "not an object"
        op = message.get("op")
        if op == "subscribe" and message.get("success") is True and is_answer(message):
            return Control.IGNORED, ""
        if op == "subscribe" and message.get("success") is True:
            return Control.SUBSCRIBED, one_line(message.get("req_id", ""))
        if op == "subscribe":
            return Control.ERROR, one_line(message.get("ret_msg", message))
        if op in ("unsubscribe", "ping", "pong"):
            return Control.IGNORED, ""
        topic = message.get("topic")
        if isinstance(topic, str) and topic and not topic.startswith(TOPIC):
            return Control.IGNORED, ""
        return Control.UNKNOWN, "a message of unknown form"


BYBIT = Bybit("bybit", "spot")
BYBIT_LINEAR = Bybit("bybit-linear", "linear")
