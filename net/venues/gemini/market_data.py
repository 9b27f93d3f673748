"""Gemini: the facts.

Source: the exchange's pages "Market data v2" and "Symbol details", and recordings of 2021.
Runs on: any thread (facts only).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import orjson

from net.log.one_line import one_line
from net.venues.defaults import MarketDataVenue
from net.venues.gemini.schema import RULES, UPDATES
from net.venues.interface import Control, Listing, MarketStatus, OwnSettings, RestLimit, tick_text

STATUSES = {
    "open": MarketStatus.TRADING,
    "post_only": MarketStatus.TRADING,
    "limit_only": MarketStatus.TRADING,
    "cancel_only": MarketStatus.HALTED,
    "closed": MarketStatus.DELISTED,
}


def _request(method: str, symbols: Sequence[str]) -> bytes:
    books = [{"name": "l2", "symbols": list(symbols)}]
    return orjson.dumps({"type": method, "subscriptions": books})


class Gemini(MarketDataVenue):
    """Whole books, and changes without ids."""

    name = "gemini"
    rules = RULES
    ws_url = "wss://api.gemini.com/v2/marketdata"
    rest_url = "https://api.gemini.com"
    rest_limit = RestLimit(weight_max=60, window_s=60)
    metadata_route = "/v1/symbols/details/"
    audit_interval_s = 600
    has_acknowledgements = False
    """The whole book is the answer."""
    maker_fee_ppm = 2_000

    def subscriptions(self, symbols: Sequence[str], own: OwnSettings) -> list[bytes]:
        return [_request("subscribe", [symbol]) for symbol in symbols]

    def resubscriptions(self, symbol: str) -> list[bytes]:
        return [_request("unsubscribe", [symbol]), _request("subscribe", [symbol])]

    def metadata_path(self, symbol: str) -> str:
        return f"{self.metadata_route}{quote(symbol)}"

    def has_no_symbol(self, body: Any) -> bool:
        return isinstance(body, dict) and body.get("reason") == "Bad Request"

    def listing(self, body: Any, symbol: str) -> Listing:
        if self.has_no_symbol(body):
            raise self.missing(symbol, is_final=True)
        try:
            if body["symbol"].upper() != symbol.upper():
                raise self.missing(symbol, is_final=False)
            status = STATUSES.get(body.get("status", "open"), MarketStatus.HALTED)
            return Listing(tick_text(body["quote_increment"]), tick_text(body["tick_size"]), status)
        except (AttributeError, KeyError, TypeError):
            raise self.missing(symbol, is_final=False) from None

    def control(self, message: Any) -> tuple[Control, str]:
        if not isinstance(message, dict):
            return Control.UNKNOWN, "not an object"
        if message.get("result") == "error":
            return Control.ERROR, one_line(message.get("message", message.get("reason", message)))
        kind = message.get("type")
        if kind == "subscription_ack":
            return Control.SUBSCRIBED, ""
        if isinstance(kind, str) and kind and kind != UPDATES:
            return Control.IGNORED, ""  # heartbeat, trade, auctions
        return Control.UNKNOWN, "a message of unknown form"


GEMINI = Gemini()
