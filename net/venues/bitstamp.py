"""Bitstamp: the facts. Source: the exchange's WebSocket v2 page and HTTP API v2 description."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlsplit

import orjson

from engine import layout as L
from net.said import said
from net.venues.base import Control, MetadataError, RestLimit, tick_text

BOOK_PATH = "/api/v2/order_book/"
MARKETS_PATH = "/api/v2/markets/"


class Bitstamp:
    """Diffs that carry a microtimestamp and no sequence, snapshots of the whole book."""

    name = "bitstamp"
    protocol = L.PROTOCOL_BITSTAMP
    ws_url = "wss://ws.bitstamp.net"
    rest_url = "https://www.bitstamp.net"
    trade_url = "https://www.bitstamp.net"
    rest_limit = RestLimit(weight_max=10_000, window_s=600)
    used_weight_header = ""
    audit_interval_s = 180
    """A lost diff cannot be seen in the stream: compare with a fresh book every few minutes."""
    has_gap_detection = False
    connection_age_max_s = 89 * 24 * 3600
    """Cut by the venue at 90 days."""

    def stream_url(self, ws_url: str, symbols: Sequence[str], interval_ms: int) -> str:
        return ws_url

    def subscriptions(self, symbols: Sequence[str]) -> list[bytes]:
        return [
            orjson.dumps(
                {"event": "bts:subscribe", "data": {"channel": f"diff_order_book_{symbol}"}}
            )
            for symbol in symbols
        ]

    def heartbeat(self) -> bytes | None:
        return b'{"event":"bts:heartbeat"}'

    def snapshot_path(self, symbol: str, depth: int, nonce_ms: int) -> str:
        # The edge caches the book for about a second; a nonce asks for a fresh one.
        return f"{BOOK_PATH}{quote(symbol)}/?group=1&_={nonce_ms}"

    def snapshot_weight(self, depth: int) -> int:
        return 1

    def levels_limit(self, depth: int) -> int:
        return 0

    def snapshot_symbol(self, path: str) -> str | None:
        route = urlsplit(path).path
        return route.removeprefix(BOOK_PATH).strip("/") if route.startswith(BOOK_PATH) else None

    def metadata_path(self, symbol: str) -> str:
        return MARKETS_PATH

    def is_metadata(self, path: str) -> bool:
        return urlsplit(path).path.rstrip("/") == MARKETS_PATH.rstrip("/")

    def tick_size(self, body: Any, symbol: str) -> str:
        try:
            entry = next(each for each in body if each["market_symbol"] == symbol)
        except (KeyError, TypeError, StopIteration) as error:
            is_final = isinstance(error, StopIteration) and bool(body)
            raise MetadataError(f"bitstamp: markets has no {symbol}", is_final=is_final) from None
        try:
            # tick_size is documented but was missing on the wire; counter_decimals was there.
            if entry.get("tick_size"):
                return tick_text(entry["tick_size"])
            return "1" if entry["counter_decimals"] == 0 else f"1E-{int(entry['counter_decimals'])}"
        except (AttributeError, KeyError, TypeError, ValueError):
            text = f"bitstamp: markets has no tick size for {symbol}"
            raise MetadataError(text, is_final=False) from None

    def joins(self, snapshot_id: int, first_id: int) -> bool:
        return snapshot_id >= first_id

    def control(self, message: Any) -> tuple[Control, str]:
        event = message.get("event") if isinstance(message, dict) else None
        if event == "bts:subscription_succeeded":
            return Control.SUBSCRIBED, said(message.get("channel", ""))
        if event == "bts:request_reconnect":
            return Control.RECONNECT, "bts:request_reconnect"
        if event == "bts:error":
            data = message.get("data")
            return Control.ERROR, said(data.get("message") if isinstance(data, dict) else data)
        if isinstance(event, str) and event.startswith("bts:"):
            return Control.IGNORED, ""
        channel = message.get("channel") if isinstance(message, dict) else None
        if isinstance(event, str) and isinstance(channel, str) and channel:
            if not channel.startswith("diff_order_book_"):
                return Control.IGNORED, ""
        return Control.UNKNOWN, "a message of unknown form"


BITSTAMP = Bitstamp()
