"""Kraken's trades: the channel `trade` of WebSocket v2, on the connection of the books.

Source: the exchange's page "Trade (WebSocket v2)": `side` is the taker's. Numbers are bare, and
read as they are printed. Past trades are not asked for, and passed over where they come.
Runs on: any thread (facts only).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from net.venues.trades import VenueTrade, exact, id_text, iso_time_ns, side_of, symbol_of

TRADES_CHANNEL = "trade"


def trade_requests(symbols: Sequence[str]) -> list[bytes]:
    """What to send for these symbols' trades."""
    return [
        orjson.dumps(
            {
                "method": "subscribe",
                "params": {"channel": TRADES_CHANNEL, "symbol": [symbol], "snapshot": False},
            }
        )
        for symbol in symbols
    ]


def read_trades(message: Any) -> list[VenueTrade] | None:
    """The trades of a message; None: another one. KeyError, TypeError or ValueError: malformed."""
    if not isinstance(message, dict) or message.get("channel") != TRADES_CHANNEL:
        return None
    if message["type"] != "update":
        return []
    return [
        VenueTrade(
            symbol=symbol_of(trade["symbol"]),
            side=side_of(trade["side"], "buy", "sell"),
            price=exact(trade["price"]),
            amount=exact(trade["qty"]),
            venue_ns=iso_time_ns(trade["timestamp"]),
            venue_id=id_text(trade["trade_id"]),
        )
        for trade in message["data"]
    ]
