"""Binance spot: the facts.

Source: the exchange's public streams, REST and change-log documents.
Runs on: any thread (facts only).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import parse_qs, quote, urlsplit

from pydantic import Field

from net.log.one_line import one_line
from net.venues.binance.channels import channel, stream_address, stream_requests
from net.venues.binance.schema import RULES
from net.venues.binance.trades import FIRST_REQUEST, read_trades, trade_requests
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

WEIGHTS = ((100, 5), (500, 25), (1000, 50), (5000, 250))
"""Snapshot depth up to, and its request weight."""
SHALLOW_DEPTH = WEIGHTS[0][0]
DEFAULT_DEPTH = 100
"""Of a request that names none."""
INVALID_SYMBOL = -1121
"""Binance's error code of a symbol that it does not have."""
STATUSES = {
    "TRADING": MarketStatus.TRADING,
    "HALT": MarketStatus.HALTED,
    "BREAK": MarketStatus.HALTED,
    "PRE_TRADING": MarketStatus.PRE_OPEN,
    "END_OF_DAY": MarketStatus.DELISTED,
}
BANNED_UNTIL = re.compile(r"banned until (\d{13})\b")
"""Binance's error -1003: `Way too much request weight used; IP banned until 1659146400000.`"""


class BinanceSettings(OwnSettings):
    """What a configuration may say of this venue alone."""

    stream_interval_ms: Literal[100, 1000] = 100
    """How often the stream brings changes."""
    time_unit: Literal["ms", "us"] = "ms"
    """Of the times in the stream: `us` asks for microseconds."""
    snapshot_depth: Annotated[int, Field(ge=5, le=5000)] = 1000
    """Levels a side of a snapshot; more cost more of the request limit."""


def _of(own: OwnSettings) -> BinanceSettings:
    assert isinstance(own, BinanceSettings)
    return own


def _channels(symbols: Sequence[str], own: OwnSettings) -> list[str]:
    suffix = "@100ms" if _of(own).stream_interval_ms == 100 else ""
    return [channel(symbol, suffix) for symbol in symbols]


class Binance:
    """Diff streams with first and last update ids, snapshots of at most 5,000 levels a side."""

    name = "binance"
    rules = RULES
    ws_url = "wss://stream.binance.com:9443"
    rest_url = "https://api.binance.com"
    trade_url = "wss://ws-api.binance.com:443/ws-api/v3"
    rest_limit = RestLimit(weight_max=6000, window_s=60)
    own_settings: type[OwnSettings] = BinanceSettings
    used_weight_header = "X-MBX-USED-WEIGHT-1M"
    has_acknowledgements = True
    has_contracts = False
    metadata_weight = 20
    audit_interval_s = 600
    connection_age_max_s = 24 * 3600 - 600
    """Cut by the venue at 24 h; we move ten minutes earlier, at our own time."""
    maker_fee_ppm = 1_000

    def stream_url(self, ws_url: str, symbols: Sequence[str], own: OwnSettings) -> str:
        options = ["timeUnit=MICROSECOND"] if _of(own).time_unit == "us" else []
        return stream_address(ws_url, _channels(symbols, own), *options)

    @property
    def token_path(self) -> str:
        return ""

    def token_address(self, url: str, answer: Any) -> str:
        raise ValueError

    def subscriptions(self, symbols: Sequence[str], own: OwnSettings) -> list[bytes]:
        return stream_requests(_channels(symbols, own))

    def resubscriptions(self, symbol: str) -> list[bytes]:
        return []

    def trade_subscriptions(self, symbols: Sequence[str]) -> list[bytes]:
        return trade_requests(symbols)

    def trades(self, message: Any) -> list[VenueTrade] | None:
        return read_trades(message)

    def heartbeat(self) -> bytes | None:
        return None

    @property
    def heartbeat_answer(self) -> bytes:
        return b""

    def snapshot_depths(self, own: OwnSettings) -> tuple[int, ...]:
        depth = _of(own).snapshot_depth
        return (depth,) if depth <= SHALLOW_DEPTH else (SHALLOW_DEPTH, depth)

    def snapshot_path(self, symbol: str, depth: int, nonce_ms: int) -> str:
        return f"/api/v3/depth?symbol={quote(symbol)}&limit={depth}"

    def snapshot_weight(self, depth: int) -> int:
        return next(weight for limit, weight in WEIGHTS if depth <= limit)

    def snapshot_of(self, path: str) -> tuple[str, int] | None:
        parts = urlsplit(path)
        query = parse_qs(parts.query)
        if parts.path.rstrip("/") != "/api/v3/depth" or "symbol" not in query:
            return None
        limit = query.get("limit", [""])[0]
        return query["symbol"][0], int(limit) if limit.isdecimal() else DEFAULT_DEPTH

    def ban_end_ms(self, body: Any) -> int | None:
        text = body.get("msg") if isinstance(body, dict) else None
        found = BANNED_UNTIL.search(text) if isinstance(text, str) else None
        return int(found[1]) if found else None

    def metadata_path(self, symbol: str) -> str:
        return f"/api/v3/exchangeInfo?symbol={quote(symbol)}"

    def has_no_symbol(self, body: Any) -> bool:
        return isinstance(body, dict) and body.get("code") == INVALID_SYMBOL

    def is_metadata(self, path: str) -> bool:
        return urlsplit(path).path == "/api/v3/exchangeInfo"

    def tick_size(self, body: Any, symbol: str) -> str:
        try:
            if isinstance(body, dict) and "code" in body:
                text = f"binance: {symbol}: {one_line(body.get('msg', body))}"
                raise MetadataError(text, is_final=self.has_no_symbol(body))
            entry = next(each for each in body["symbols"] if each["symbol"] == symbol)
            price = next(f for f in entry["filters"] if f["filterType"] == "PRICE_FILTER")
            return tick_text(price["tickSize"])
        except (KeyError, TypeError, StopIteration):
            # For a symbol it does not know the venue says so, in a message with a code.
            text = f"binance: exchangeInfo has no tick size for {symbol}"
            raise MetadataError(text, is_final=False) from None

    def listing(self, body: Any, symbol: str) -> Listing:
        tick_size = self.tick_size(body, symbol)
        entry = next(each for each in body["symbols"] if each["symbol"] == symbol)
        try:
            found = [each["stepSize"] for each in entry["filters"] if "stepSize" in each]
            status = STATUSES.get(entry.get("status", "TRADING"), MarketStatus.HALTED)
            return Listing(tick_size, tick_text(found[0]) if found else "", status)
        except (AttributeError, KeyError, TypeError):
            text = f"binance: exchangeInfo has no listing of {symbol}"
            raise MetadataError(text, is_final=False) from None

    def control(self, message: Any) -> tuple[Control, str]:
        if not isinstance(message, dict):
            return Control.UNKNOWN, "not an object"
        if "result" in message:
            number = message.get("id")
            if isinstance(number, int) and number >= FIRST_REQUEST:
                return Control.IGNORED, ""
            return Control.SUBSCRIBED, ""
        if "code" in message or "error" in message:
            return Control.ERROR, one_line(message.get("msg", message))
        data = message.get("data", message)
        if isinstance(data, dict) and data.get("e") == "serverShutdown":
            return Control.RECONNECT, "serverShutdown"
        stream = str(message.get("stream", ""))
        if isinstance(data, dict) and not stream.partition("@")[2].startswith("depth"):
            is_ticker = {"u", "s", "b", "B", "a", "A"} <= data.keys()
            if stream or "e" in data or is_ticker:
                return Control.IGNORED, ""
        return Control.UNKNOWN, "a message of unknown form"

    @property
    def orders(self) -> VenueOrders | None:
        from net.venues.binance.orders import ORDERS

        return ORDERS


BINANCE = Binance()
