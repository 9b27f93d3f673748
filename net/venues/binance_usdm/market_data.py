"""Binance USD-M futures: the facts.

Source: the exchange's derivatives pages and their notice of 2026-03-06 (routed addresses), and
recordings of 2021 and 2024.
Runs on: any thread (facts only).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from net.log.one_line import one_line
from net.venues.binance.channels import channel, stream_address, stream_requests
from net.venues.binance_usdm.schema import RULES
from net.venues.defaults import DAY_S, MarketDataVenue
from net.venues.interface import (
    Control,
    Listing,
    MarketStatus,
    OwnSettings,
    RestLimit,
    tick_text,
)

BOOK_ROUTE = "/fapi/v1/depth"
WEIGHTS = ((50, 2), (100, 5), (500, 10), (1000, 20))
"""Snapshot depth up to, and its request weight."""
DEFAULT_DEPTH = 500
UNKNOWN_SYMBOL = -1121
STATUSES = {
    "TRADING": MarketStatus.TRADING,
    "PENDING_TRADING": MarketStatus.PRE_OPEN,
    "PRE_SETTLE": MarketStatus.HALTED,
    "SETTLING": MarketStatus.DELISTED,
    "CLOSE": MarketStatus.DELISTED,
}


class BinanceUsdm(MarketDataVenue):
    """Diffs that name the one before them, snapshots of at most 1,000 levels a side."""

    name = "binance-usdm"
    rules = RULES
    ws_url = "wss://fstream.binance.com/public"
    """Depth lives on this tier alone; another one connects, and delivers nothing."""
    rest_url = "https://fapi.binance.com"
    rest_limit = RestLimit(weight_max=2400, window_s=60)
    used_weight_header = "X-MBX-USED-WEIGHT-1M"
    metadata_route = "/fapi/v1/exchangeInfo"
    connection_age_max_s = DAY_S - 600
    """Cut by the venue at 24 h; we move ten minutes earlier, at our own time."""
    maker_fee_ppm = 200

    def stream_url(self, ws_url: str, symbols: Sequence[str], own: OwnSettings) -> str:
        return stream_address(ws_url, [channel(symbol, "@100ms") for symbol in symbols])

    def subscriptions(self, symbols: Sequence[str], own: OwnSettings) -> list[bytes]:
        return stream_requests([channel(symbol, "@100ms") for symbol in symbols])

    def snapshot_depths(self, own: OwnSettings) -> tuple[int, ...]:
        return (100, 1000)

    def snapshot_path(self, symbol: str, depth: int, nonce_ms: int) -> str:
        return f"{BOOK_ROUTE}?symbol={quote(symbol)}&limit={depth}"

    def snapshot_weight(self, depth: int) -> int:
        return next(weight for limit, weight in WEIGHTS if depth <= limit)

    def snapshot_of(self, path: str) -> tuple[str, int] | None:
        parts = urlsplit(path)
        query = parse_qs(parts.query)
        if parts.path.rstrip("/") != BOOK_ROUTE or "symbol" not in query:
            return None
        limit = query.get("limit", [""])[0]
        return query["symbol"][0], int(limit) if limit.isdecimal() else DEFAULT_DEPTH

    def metadata_path(self, symbol: str) -> str:
        return self.metadata_route  # one answer for all symbols

    def has_no_symbol(self, body: Any) -> bool:
        return isinstance(body, dict) and body.get("code") == UNKNOWN_SYMBOL

    def listing(self, body: Any, symbol: str) -> Listing:
        try:
            entry = next((each for each in body["symbols"] if each["symbol"] == symbol), None)
            if entry is None:
                raise self.missing(symbol, is_final=bool(body["symbols"]))
            filters = {each["filterType"]: each for each in entry["filters"]}
            return Listing(
                tick_text(filters["PRICE_FILTER"]["tickSize"]),
                tick_text(filters["LOT_SIZE"]["stepSize"]),
                STATUSES.get(entry.get("status", "TRADING"), MarketStatus.HALTED),
            )
        except (AttributeError, KeyError, TypeError):
            raise self.missing(symbol, is_final=False) from None

    def control(self, message: Any) -> tuple[Control, str]:
        if not isinstance(message, dict):
            return Control.UNKNOWN, "not an object"
        if "result" in message:
            return Control.SUBSCRIBED, ""
        if "code" in message or "error" in message:
            return Control.ERROR, one_line(message.get("msg", message))
        data = message.get("data", message)
        if isinstance(data, dict) and data.get("e") == "serverShutdown":
            return Control.RECONNECT, "serverShutdown"
        stream = str(message.get("stream", ""))
        event = data.get("e") if isinstance(data, dict) else None
        if not stream.partition("@")[2].startswith("depth") and (stream or event):
            return Control.IGNORED, ""
        return Control.UNKNOWN, "a message of unknown form"


BINANCE_USDM = BinanceUsdm()
