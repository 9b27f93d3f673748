"""Coinbase Advanced Trade: the facts.

Source: the exchange's Advanced Trade pages, and recordings of 2026-08-09.
Runs on: any thread (facts only).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import orjson

from net.log.one_line import one_line
from net.venues.coinbase.schema import CHANNEL, DATA_CHANNEL, RULES
from net.venues.coinbase.trades import read_trades, trade_requests
from net.venues.defaults import MarketDataVenue
from net.venues.interface import Control, Listing, MarketStatus, OwnSettings, RestLimit, tick_text
from net.venues.trades import VenueTrade

HEARTBEATS = b'{"type":"subscribe","channel":"heartbeats"}'
"""Without this channel quiet subscriptions are closed after a minute or so."""


class Coinbase(MarketDataVenue):
    """Whole books of some 46,000 levels; one sequence for all of a connection."""

    name = "coinbase"
    rules = RULES
    ws_url = "wss://advanced-trade-ws.coinbase.com"
    rest_url = "https://api.coinbase.com"
    rest_limit = RestLimit(weight_max=10, window_s=1)
    metadata_route = "/api/v3/brokerage/market/products/"
    maker_fee_ppm = 6_000

    def subscriptions(self, symbols: Sequence[str], own: OwnSettings) -> list[bytes]:
        # All products at once: eight messages a second are allowed.
        books = {"type": "subscribe", "product_ids": list(symbols), "channel": CHANNEL}
        return [orjson.dumps(books), HEARTBEATS]

    # resubscriptions: none. After a gap nothing of the connection is certain, and only a new one
    # counts from zero again.

    def trade_subscriptions(self, symbols: Sequence[str]) -> list[bytes]:
        return trade_requests(symbols)

    def trades(self, message: Any) -> list[VenueTrade] | None:
        return read_trades(message)

    def metadata_path(self, symbol: str) -> str:
        return f"{self.metadata_route}{quote(symbol)}"

    def has_no_symbol(self, body: Any) -> bool:
        return isinstance(body, dict) and body.get("error") in ("NOT_FOUND", "INVALID_ARGUMENT")

    def listing(self, body: Any, symbol: str) -> Listing:
        if self.has_no_symbol(body):
            raise self.missing(symbol, is_final=True)
        try:
            if body["product_id"] != symbol:
                raise self.missing(symbol, is_final=False)
            is_off = body.get("trading_disabled") or body.get("is_disabled")
            if body.get("status", "online") == "delisted":
                status = MarketStatus.DELISTED
            else:
                status = MarketStatus.HALTED if is_off else MarketStatus.TRADING
            increment = tick_text(body["price_increment"])
            return Listing(increment, tick_text(body["base_increment"]), status)
        except (AttributeError, KeyError, TypeError):
            raise self.missing(symbol, is_final=False) from None

    def control(self, message: Any) -> tuple[Control, str]:
        if not isinstance(message, dict):
            return Control.UNKNOWN, "not an object"
        if message.get("type") == "error":
            return Control.ERROR, one_line(message.get("message", message))
        channel = message.get("channel")
        if channel == "subscriptions":
            return Control.SUBSCRIBED, " ".join(_subscribed(message))
        if isinstance(channel, str) and channel and channel != DATA_CHANNEL:
            return Control.IGNORED, ""
        return Control.UNKNOWN, "a message of unknown form"


def _subscribed(message: dict[str, Any]) -> list[str]:
    """The products of the book channel, of all that an acknowledgement lists."""
    events = message.get("events")
    listed = events[0].get("subscriptions") if isinstance(events, list) and events else None
    products = listed.get(CHANNEL, []) if isinstance(listed, dict) else []
    return [one_line(each) for each in products]


COINBASE = Coinbase()
