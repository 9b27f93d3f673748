"""Bitstamp: the facts.

Source: the exchange's WebSocket v2 page and HTTP API v2 description.
Runs on: any thread (facts only).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import orjson

from net.log.one_line import one_line
from net.venues.bitstamp.schema import CHANNEL, RULES
from net.venues.bitstamp.trades import TRADES_CHANNEL, read_trades, trade_requests
from net.venues.interface import (
    Control,
    Listing,
    MarketStatus,
    MetadataError,
    OwnSettings,
    RestLimit,
    tick_text,
)

if TYPE_CHECKING:
    from net.orders.interface import VenueOrders
    from net.venues.trades import VenueTrade

BOOK_PATH = "/api/v2/order_book/"
MARKETS_PATH = "/api/v2/markets/"


class Bitstamp:
    """Diffs that carry a microtimestamp and no sequence, snapshots of the whole book."""

    name = "bitstamp"
    rules = RULES
    ws_url = "wss://ws.bitstamp.net"
    rest_url = "https://www.bitstamp.net"
    trade_url = "https://www.bitstamp.net"
    rest_limit = RestLimit(weight_max=10_000, window_s=600)
    own_settings = OwnSettings
    used_weight_header = ""
    has_acknowledgements = True
    has_contracts = False
    metadata_weight = 1
    audit_interval_s = 180
    """A lost diff cannot be seen in the stream: compare with a fresh book every few minutes."""
    connection_age_max_s = 89 * 24 * 3600
    """Cut by the venue at 90 days."""
    maker_fee_ppm = 3_000

    def stream_url(self, ws_url: str, symbols: Sequence[str], own: OwnSettings) -> str:
        return ws_url

    @property
    def token_path(self) -> str:
        return ""

    def token_address(self, url: str, answer: Any) -> str:
        raise ValueError

    def subscriptions(self, symbols: Sequence[str], own: OwnSettings) -> list[bytes]:
        return [
            orjson.dumps({"event": "bts:subscribe", "data": {"channel": f"{CHANNEL}{symbol}"}})
            for symbol in symbols
        ]

    def resubscriptions(self, symbol: str) -> list[bytes]:
        return []

    def trade_subscriptions(self, symbols: Sequence[str]) -> list[bytes]:
        return trade_requests(symbols)

    def trades(self, message: Any) -> list[VenueTrade] | None:
        return read_trades(message)

    def heartbeat(self) -> bytes | None:
        return b'{"event":"bts:heartbeat"}'

    @property
    def heartbeat_answer(self) -> bytes:
        return b""

    def snapshot_depths(self, own: OwnSettings) -> tuple[int, ...]:
        return (0,)

    def snapshot_path(self, symbol: str, depth: int, nonce_ms: int) -> str:
        # The edge caches the book for about a second; a nonce asks for a fresh one.
        return f"{BOOK_PATH}{quote(symbol)}/?group=1&_={nonce_ms}"

    def snapshot_weight(self, depth: int) -> int:
        return 1

    def snapshot_of(self, path: str) -> tuple[str, int] | None:
        route = urlsplit(path).path
        if not route.startswith(BOOK_PATH):
            return None
        return route.removeprefix(BOOK_PATH).strip("/"), 0

    def ban_end_ms(self, body: Any) -> int | None:
        return None

    def metadata_path(self, symbol: str) -> str:
        return MARKETS_PATH

    def has_no_symbol(self, body: Any) -> bool:
        return False  # the list of markets is one for all symbols

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

    def listing(self, body: Any, symbol: str) -> Listing:
        tick_size = self.tick_size(body, symbol)
        entry = next(each for each in body if each["market_symbol"] == symbol)
        is_trading = entry.get("trading", "Enabled") == "Enabled"
        decimals = entry.get("base_decimals")
        lot_size = f"1E-{decimals}" if isinstance(decimals, int) else ""
        return Listing(
            tick_size, lot_size, MarketStatus.TRADING if is_trading else MarketStatus.HALTED
        )

    def control(self, message: Any) -> tuple[Control, str]:
        event = message.get("event") if isinstance(message, dict) else None
        if event == "bts:subscription_succeeded":
            channel = message.get("channel")
            if isinstance(channel, str) and channel.startswith(TRADES_CHANNEL):
                return Control.IGNORED, ""
            return Control.SUBSCRIBED, one_line(channel).removeprefix(CHANNEL) if channel else ""
        if event == "bts:request_reconnect":
            return Control.RECONNECT, "bts:request_reconnect"
        if event == "bts:error":
            data = message.get("data")
            return Control.ERROR, one_line(data.get("message") if isinstance(data, dict) else data)
        if isinstance(event, str) and event.startswith("bts:"):
            return Control.IGNORED, ""
        channel = message.get("channel") if isinstance(message, dict) else None
        if isinstance(event, str) and isinstance(channel, str) and channel:
            if not channel.startswith(CHANNEL):
                return Control.IGNORED, ""
        return Control.UNKNOWN, "a message of unknown form"

    @property
    def orders(self) -> VenueOrders | None:
        from net.venues.bitstamp.orders import ORDERS

        return ORDERS


BITSTAMP = Bitstamp()
