"""Kraken spot: the facts.

Source: the exchange's WebSocket v2 and REST pages, and recordings of 2026-08-09.
Runs on: any thread (facts only).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import orjson

from net.log.one_line import one_line
from net.venues.defaults import MarketDataVenue
from net.venues.interface import Control, Listing, MarketStatus, OwnSettings, RestLimit, tick_text
from net.venues.kraken.schema import CHANNEL, DEPTH, RULES
from net.venues.kraken.trades import TRADES_CHANNEL, read_trades, trade_requests
from net.venues.trades import VenueTrade

REST_NAMES = {"BTC": "XBT", "DOGE": "XDG"}
"""Assets that REST calls otherwise than WebSocket v2 does."""
STATUSES = {
    "online": MarketStatus.TRADING,
    "post_only": MarketStatus.TRADING,
    "limit_only": MarketStatus.TRADING,
    "cancel_only": MarketStatus.HALTED,
    "reduce_only": MarketStatus.HALTED,
    "maintenance": MarketStatus.HALTED,
    "work_in_progress": MarketStatus.PRE_OPEN,
    "delisted": MarketStatus.DELISTED,
}


def rest_name(symbol: str) -> str:
    """BTC/USD as REST writes it: XBT/USD."""
    return "/".join(REST_NAMES.get(asset, asset) for asset in symbol.split("/"))


def _request(method: str, symbol: str) -> bytes:
    params = {"channel": CHANNEL, "symbol": [symbol], "depth": DEPTH}
    if method == "subscribe":
        params["snapshot"] = True
    return orjson.dumps({"method": method, "params": params})


class Kraken(MarketDataVenue):
    """Ten levels a side, and a checksum of them in every message."""

    name = "kraken"
    rules = RULES
    ws_url = "wss://ws.kraken.com/v2"
    rest_url = "https://api.kraken.com"
    rest_limit = RestLimit(weight_max=15, window_s=15)
    """About one public request a second, per address."""
    metadata_route = "/0/public/AssetPairs"
    maker_fee_ppm = 2_500

    def subscriptions(self, symbols: Sequence[str], own: OwnSettings) -> list[bytes]:
        # One a symbol: each is acknowledged, or refused, by itself.
        return [_request("subscribe", symbol) for symbol in symbols]

    def resubscriptions(self, symbol: str) -> list[bytes]:
        return [_request("unsubscribe", symbol), _request("subscribe", symbol)]

    def heartbeat(self) -> bytes | None:
        return b'{"method":"ping"}'  # an idle connection is cut after about a minute

    def trade_subscriptions(self, symbols: Sequence[str]) -> list[bytes]:
        return trade_requests(symbols)

    def trades(self, message: Any) -> list[VenueTrade] | None:
        return read_trades(message)

    def metadata_path(self, symbol: str) -> str:
        return f"{self.metadata_route}?pair={quote(rest_name(symbol).replace('/', ''))}"

    def has_no_symbol(self, body: Any) -> bool:
        errors = body.get("error") if isinstance(body, dict) else None
        return isinstance(errors, list) and "EQuery:Unknown asset pair" in errors

    def listing(self, body: Any, symbol: str) -> Listing:
        if self.has_no_symbol(body):
            raise self.missing(symbol, is_final=True)
        try:
            wanted = rest_name(symbol)
            entry = next(each for each in body["result"].values() if each["wsname"] == wanted)
            return Listing(
                tick_text(entry["tick_size"]),
                f"1E-{int(entry['lot_decimals'])}",
                STATUSES.get(entry.get("status", "online"), MarketStatus.HALTED),
            )
        except (AttributeError, KeyError, TypeError, ValueError, StopIteration):
            raise self.missing(symbol, is_final=False) from None

    def control(self, message: Any) -> tuple[Control, str]:
        if not isinstance(message, dict):
            return Control.UNKNOWN, "not an object"
        method = message.get("method")
        if method == "subscribe" and message.get("success") is True:
            result = message.get("result")
            symbol = result.get("symbol") if isinstance(result, dict) else None
            if isinstance(result, dict) and result.get("channel") == TRADES_CHANNEL:
                return Control.IGNORED, ""
            return Control.SUBSCRIBED, one_line(symbol) if symbol else ""
        if method == "subscribe" or "Error" in message:
            return Control.ERROR, one_line(message.get("error", message.get("Error", message)))
        if method in ("unsubscribe", "pong"):
            return Control.IGNORED, ""
        channel = message.get("channel")
        if isinstance(channel, str) and channel and channel != CHANNEL:
            return Control.IGNORED, ""  # heartbeat, status, and channels that nobody asked for
        return Control.UNKNOWN, "a message of unknown form"


KRAKEN = Kraken()
