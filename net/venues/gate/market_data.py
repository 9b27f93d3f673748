"""Gate: the facts of its spot markets.

Source: the exchange's v4 pages, and recordings of 2021.
Runs on: any thread (facts only).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import orjson

from net.log.one_line import one_line
from net.venues.defaults import MarketDataVenue
from net.venues.gate.schema import CHANNEL, RULES
from net.venues.gate.trades import read_trades, trade_requests
from net.venues.interface import (
    Control,
    Listing,
    MarketStatus,
    OwnSettings,
    RestLimit,
)
from net.venues.trades import VenueTrade

BOOK_ROUTE = "/api/v4/spot/order_book"
SNAPSHOT_LEVELS = 100
DEFAULT_DEPTH = 10
"""Of a request that names none."""
STATUSES = {
    "tradable": MarketStatus.TRADING,
    "buyable": MarketStatus.HALTED,
    "sellable": MarketStatus.HALTED,
    "untradable": MarketStatus.HALTED,
}


class Gate(MarketDataVenue):
    """Diffs of 100 ms with first and last update ids, snapshots of 100 levels a side."""

    name = "gate"
    rules = RULES
    ws_url = "wss://api.gateio.ws/ws/v4/"
    rest_url = "https://api.gateio.ws"
    rest_limit = RestLimit(weight_max=200, window_s=10)
    metadata_route = "/api/v4/spot/currency_pairs/"
    maker_fee_ppm = 1_000

    def subscriptions(self, symbols: Sequence[str], own: OwnSettings) -> list[bytes]:
        return [
            orjson.dumps({
                "time": 0, "channel": CHANNEL, "event": "subscribe", "payload": [symbol, "100ms"],
            })
            for symbol in symbols
        ]  # fmt: skip

    def heartbeat(self) -> bytes | None:
        return b'{"time":0,"channel":"spot.ping"}'

    def snapshot_depths(self, own: OwnSettings) -> tuple[int, ...]:
        return (SNAPSHOT_LEVELS,)

    def snapshot_path(self, symbol: str, depth: int, nonce_ms: int) -> str:
        return f"{BOOK_ROUTE}?currency_pair={quote(symbol)}&limit={depth}&with_id=true"

    def snapshot_of(self, path: str) -> tuple[str, int] | None:
        parts = urlsplit(path)
        query = parse_qs(parts.query)
        if parts.path.rstrip("/") != BOOK_ROUTE or "currency_pair" not in query:
            return None
        limit = query.get("limit", [""])[0]
        return query["currency_pair"][0], int(limit) if limit.isdecimal() else DEFAULT_DEPTH

    def trade_subscriptions(self, symbols: Sequence[str]) -> list[bytes]:
        return trade_requests(symbols)

    def trades(self, message: Any) -> list[VenueTrade] | None:
        return read_trades(message)

    def metadata_path(self, symbol: str) -> str:
        return f"{self.metadata_route}{quote(symbol)}"

    def has_no_symbol(self, body: Any) -> bool:
        return isinstance(body, dict) and body.get("label") == "INVALID_CURRENCY_PAIR"

    def listing(self, body: Any, symbol: str) -> Listing:
        if self.has_no_symbol(body):
            raise self.missing(symbol, is_final=True)
        try:
            if body["id"] != symbol:
                raise self.missing(symbol, is_final=False)
            decimals, qty_decimals = int(body["precision"]), int(body["amount_precision"])
            status = STATUSES.get(body.get("trade_status", "tradable"), MarketStatus.HALTED)
            return Listing(f"1E-{decimals}", f"1E-{qty_decimals}", status)
        except (KeyError, TypeError, ValueError):
            raise self.missing(symbol, is_final=False) from None

    def control(self, message: Any) -> tuple[Control, str]:
        if not isinstance(message, dict):
            return Control.UNKNOWN, "not an object"
        channel, event = message.get("channel"), message.get("event")
        if message.get("error"):
            error = message["error"]
            text = error.get("message", error) if isinstance(error, dict) else error
            return Control.ERROR, one_line(text)
        if channel == CHANNEL and event == "subscribe":
            return Control.SUBSCRIBED, ""
        if event in ("subscribe", "unsubscribe"):
            return Control.IGNORED, ""
        if isinstance(channel, str) and channel and channel != CHANNEL:
            return Control.IGNORED, ""
        return Control.UNKNOWN, "a message of unknown form"


GATE = Gate()
