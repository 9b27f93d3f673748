"""Binance spot: the facts. Source: the exchange's public streams, REST and change-log documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from engine import layout as L
from net.said import said
from net.venues.base import Control, MetadataError, RestLimit, tick_text

WEIGHTS = ((100, 5), (500, 25), (1000, 50), (5000, 250))
"""Snapshot depth up to, and its request weight."""


class Binance:
    """Diff streams with first and last update ids, snapshots of at most 5,000 levels a side."""

    name = "binance"
    protocol = L.PROTOCOL_BINANCE
    ws_url = "wss://stream.binance.com:9443"
    rest_url = "https://api.binance.com"
    trade_url = "wss://ws-api.binance.com:443/ws-api/v3"
    rest_limit = RestLimit(weight_max=6000, window_s=60)
    used_weight_header = "X-MBX-USED-WEIGHT-1M"
    audit_interval_s = 600
    has_gap_detection = True
    connection_age_max_s = 24 * 3600 - 600
    """Cut by the venue at 24 h; we move ten minutes earlier, at our own time."""

    def stream_url(self, ws_url: str, symbols: Sequence[str], interval_ms: int) -> str:
        suffix = "@100ms" if interval_ms == 100 else ""
        streams = "/".join(f"{quote(symbol.lower())}@depth{suffix}" for symbol in symbols)
        return f"{ws_url}/stream?streams={streams}"

    def subscriptions(self, symbols: Sequence[str]) -> list[bytes]:
        return []

    def heartbeat(self) -> bytes | None:
        return None

    def snapshot_path(self, symbol: str, depth: int, nonce_ms: int) -> str:
        return f"/api/v3/depth?symbol={quote(symbol)}&limit={depth}"

    def snapshot_weight(self, depth: int) -> int:
        return next(weight for limit, weight in WEIGHTS if depth <= limit)

    def levels_limit(self, depth: int) -> int:
        return depth

    def snapshot_symbol(self, path: str) -> str | None:
        parts = urlsplit(path)
        if parts.path.rstrip("/") != "/api/v3/depth":
            return None
        return next(iter(parse_qs(parts.query).get("symbol", [])), None)

    def metadata_path(self, symbol: str) -> str:
        return f"/api/v3/exchangeInfo?symbol={quote(symbol)}"

    def is_metadata(self, path: str) -> bool:
        return urlsplit(path).path == "/api/v3/exchangeInfo"

    def tick_size(self, body: Any, symbol: str) -> str:
        try:
            if isinstance(body, dict) and "code" in body:
                raise MetadataError(f"binance: {symbol}: {said(body.get('msg', body))}")
            entry = next(each for each in body["symbols"] if each["symbol"] == symbol)
            price = next(f for f in entry["filters"] if f["filterType"] == "PRICE_FILTER")
            return tick_text(price["tickSize"])
        except (KeyError, TypeError, StopIteration):
            # For a symbol it does not know the venue says so, in a message with a code.
            text = f"binance: exchangeInfo has no tick size for {symbol}"
            raise MetadataError(text, is_final=False) from None

    def joins(self, snapshot_id: int, first_id: int) -> bool:
        return snapshot_id + 1 >= first_id

    def control(self, message: Any) -> tuple[Control, str]:
        if not isinstance(message, dict):
            return Control.UNKNOWN, "not an object"
        if "result" in message:
            return Control.SUBSCRIBED, ""
        if "code" in message or "error" in message:
            return Control.ERROR, said(message.get("msg", message))
        data = message.get("data", message)
        if isinstance(data, dict) and data.get("e") == "serverShutdown":
            return Control.RECONNECT, "serverShutdown"
        stream = str(message.get("stream", ""))
        if isinstance(data, dict) and not stream.partition("@")[2].startswith("depth"):
            is_ticker = {"u", "s", "b", "B", "a", "A"} <= data.keys()
            if stream or "e" in data or is_ticker:
                return Control.IGNORED, ""
        return Control.UNKNOWN, "a message of unknown form"


BINANCE = Binance()
