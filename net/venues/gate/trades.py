"""Gate's trades: the channel `spot.trades`, on the connection of the books.

Source: the exchange's page "Public trades channel", and recordings of 2021: `side` is the taker's,
the time a decimal number of milliseconds.
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

TRADES_CHANNEL = "spot.trades"


def trade_requests(symbols: Sequence[str]) -> list[bytes]:
    """What to send for these symbols' trades."""
    return [
        orjson.dumps(
            {"time": 0, "channel": TRADES_CHANNEL, "event": "subscribe", "payload": [symbol]}
        )
        for symbol in symbols
    ]


def read_trades(message: Any) -> list[VenueTrade] | None:
    """The trade of a message; None: another one. KeyError, TypeError or ValueError: malformed."""
    if not isinstance(message, dict) or message.get("channel") != TRADES_CHANNEL:
        return None
    if message.get("event") != "update":
        return None
    trade = message["result"]
    units, decimals = exact(trade["create_time_ms"])
    return [
        VenueTrade(
            symbol=symbol_of(trade["currency_pair"]),
            side=side_of(trade["side"], "buy", "sell"),
            price=exact(trade["price"]),
            amount=exact(trade["amount"]),
            venue_ns=time_ns(units * NS_PER_MS // 10**decimals, 1),
            venue_id=id_text(trade["id"]),
        )
    ]
