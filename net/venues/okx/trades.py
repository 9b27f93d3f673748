"""OKX's trades: the channel `trades`, on the connection of the books.

Source: the exchange's page "Trades channel": `side` is the taker's. Fills of one taker's order at
one price may come as one (`count`); single ones (`trades-all`) are had at another address alone.
Runs on: any thread (facts only).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from engine.layout.units import NS_PER_MS
from net.venues.trades import (
    VenueTrade,
    exact,
    id_text,
    side_of,
    symbol_of,
    time_ns,
)

TRADES_CHANNEL = "trades"


def trade_requests(symbols: Sequence[str]) -> list[bytes]:
    """What to send for these symbols' trades."""
    return [
        orjson.dumps({"op": "subscribe", "args": [{"channel": TRADES_CHANNEL, "instId": symbol}]})
        for symbol in symbols
    ]


def read_trades(message: Any) -> list[VenueTrade] | None:
    """The trades of a message; None: another one. KeyError, TypeError or ValueError: malformed."""
    named = message.get("arg") if isinstance(message, dict) else None
    if not isinstance(named, dict) or named.get("channel") != TRADES_CHANNEL:
        return None
    if "event" in message:
        return None
    return [
        VenueTrade(
            symbol=symbol_of(trade["instId"]),
            side=side_of(trade["side"], "buy", "sell"),
            price=exact(trade["px"]),
            amount=exact(trade["sz"]),
            venue_ns=time_ns(trade["ts"], NS_PER_MS),
            venue_id=id_text(trade["tradeId"]),
        )
        for trade in message["data"]
    ]
