"""OKX: the facts, for its spot markets and its perpetual swaps.

Source: the exchange's v5 pages and change log, and recordings of 2021 and 2022.
Runs on: any thread (facts only).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import orjson

from engine.decoding.scale import ScaleError, decimal_unit, exact_text
from net.log.one_line import one_line
from net.venues.defaults import MarketDataVenue
from net.venues.interface import (
    Control,
    Listing,
    MarketStatus,
    MetadataError,
    OwnSettings,
    RestLimit,
    tick_text,
)
from net.venues.okx.schema import CHANNEL, DEPTH, RULES
from net.venues.okx.trades import read_trades, trade_requests
from net.venues.trades import VenueTrade

BOOK_ROUTE = "/api/v5/market/books"
NO_INSTRUMENT = "51001"
"""Error code of an instrument that is not there."""
STATUSES = {
    "live": MarketStatus.TRADING,
    "suspend": MarketStatus.HALTED,
    "rebase": MarketStatus.HALTED,
    "preopen": MarketStatus.PRE_OPEN,
    "expired": MarketStatus.DELISTED,
}


def _request(op: str, symbol: str) -> bytes:
    return orjson.dumps({"op": op, "args": [{"channel": CHANNEL, "instId": symbol}]})


class Okx(MarketDataVenue):
    """400 levels a side; each message names the one before it."""

    rules = RULES
    ws_url = "wss://ws.okx.com:8443/ws/v5/public"
    rest_url = "https://www.okx.com"
    rest_limit = RestLimit(weight_max=40, window_s=2)
    metadata_weight = 2
    metadata_route = "/api/v5/public/instruments"
    audit_interval_s = 180
    maker_fee_ppm = 800

    def __init__(self, name: str, kind: str) -> None:
        self.name = name
        self.kind = kind
        """The venue's own word: SPOT or SWAP."""
        self.has_contracts = kind != "SPOT"

    def subscriptions(self, symbols: Sequence[str], own: OwnSettings) -> list[bytes]:
        return [_request("subscribe", symbol) for symbol in symbols]

    def resubscriptions(self, symbol: str) -> list[bytes]:
        return [_request("unsubscribe", symbol), _request("subscribe", symbol)]

    def heartbeat(self) -> bytes | None:
        return b"ping"  # a connection without any push is cut after 30 s

    @property
    def heartbeat_answer(self) -> bytes:
        return b"pong"

    def snapshot_depths(self, own: OwnSettings) -> tuple[int, ...]:
        return (DEPTH,)

    def snapshot_path(self, symbol: str, depth: int, nonce_ms: int) -> str:
        return f"{BOOK_ROUTE}?instId={quote(symbol)}&sz={depth}"

    def snapshot_of(self, path: str) -> tuple[str, int] | None:
        parts = urlsplit(path)
        query = parse_qs(parts.query)
        if parts.path != BOOK_ROUTE or "instId" not in query:
            return None
        depth = query.get("sz", ["1"])[0]
        return query["instId"][0], int(depth) if depth.isdecimal() else 1

    def trade_subscriptions(self, symbols: Sequence[str]) -> list[bytes]:
        return trade_requests(symbols)

    def trades(self, message: Any) -> list[VenueTrade] | None:
        return read_trades(message)

    def metadata_path(self, symbol: str) -> str:
        return f"{self.metadata_route}?instType={self.kind}&instId={quote(symbol)}"

    def has_no_symbol(self, body: Any) -> bool:
        return isinstance(body, dict) and body.get("code") == NO_INSTRUMENT

    def listing(self, body: Any, symbol: str) -> Listing:
        if self.has_no_symbol(body):
            raise self.missing(symbol, is_final=True)
        try:
            entry = next(each for each in body["data"] if each["instId"] == symbol)
            status = STATUSES.get(entry.get("state", "live"), MarketStatus.HALTED)
            value = self._contract_value(entry, symbol)
            return Listing(tick_text(entry["tickSz"]), tick_text(entry["lotSz"]), status, value)
        except (AttributeError, KeyError, TypeError, StopIteration, ScaleError):
            raise self.missing(symbol, is_final=False) from None

    def _contract_value(self, entry: dict[str, Any], symbol: str) -> str:
        """What a contract is in the base asset: its value times its multiplier."""
        if not entry.get("ctVal"):
            return "1"
        if entry.get("ctType") == "inverse":
            text = f"{self.name}: {symbol} is counted in its quote currency, not in its base"
            raise MetadataError(text)
        value, decimals = decimal_unit(entry["ctVal"])
        times, more = decimal_unit(entry.get("ctMult") or "1")
        return exact_text(1, value * times, decimals + more)

    def control(self, message: Any) -> tuple[Control, str]:
        if not isinstance(message, dict):
            return Control.UNKNOWN, "not an object"
        event, argument = message.get("event"), message.get("arg")
        named = argument if isinstance(argument, dict) else {}
        channel = named.get("channel")
        if event == "subscribe":
            symbol = one_line(named.get("instId", ""))
            return (Control.SUBSCRIBED, symbol) if channel == CHANNEL else (Control.IGNORED, "")
        if event == "error":
            return Control.ERROR, one_line(message.get("msg", message))
        if event == "notice":
            return Control.RECONNECT, one_line(message.get("msg", "notice"))
        if event in ("unsubscribe", "channel-conn-count"):
            return Control.IGNORED, ""
        if event is None and isinstance(channel, str) and (
            channel != CHANNEL and not channel.startswith(f"{CHANNEL}-")
        ):  # fmt: skip
            return Control.IGNORED, ""
        return Control.UNKNOWN, "a message of unknown form"


OKX = Okx("okx", "SPOT")
OKX_SWAP = Okx("okx-swap", "SWAP")
