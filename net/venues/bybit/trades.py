"""Bybit's trades: the topic `publicTrade.<symbol>`, on the connection of the books.

Source: the exchange's page "Trade": `S` is the taker's side, `BT` a block trade, which took nothing
from the book and is passed over.
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

TRADES_TOPIC = "publicTrade."


def trade_requests(symbols: Sequence[str]) -> list[bytes]:
    """What to send for these symbols' trades. The number of a request is all that its answer
    names: it begins with the topic's name, as no symbol does."""
    return [
        orjson.dumps(
            {
                "req_id": f"{TRADES_TOPIC}{symbol}",
                "op": "subscribe",
                "args": [f"{TRADES_TOPIC}{symbol}"],
            }
        )
        for symbol in symbols
    ]


def is_answer(message: dict[str, Any]) -> bool:
    """Whether a message answers a request for trades."""
    return str(message.get("req_id", "")).startswith(TRADES_TOPIC)


def read_trades(message: Any) -> list[VenueTrade] | None:
    """The trades of a message; None: another one. KeyError, TypeError or ValueError: malformed."""
    topic = message.get("topic") if isinstance(message, dict) else None
    if not isinstance(topic, str) or not topic.startswith(TRADES_TOPIC):
        return None
    return [
        VenueTrade(
            symbol=symbol_of(trade["s"]),
            side=side_of(trade["S"], "Buy", "Sell"),
            price=exact(trade["p"]),
            amount=exact(trade["v"]),
            venue_ns=time_ns(trade["T"], NS_PER_MS),
            venue_id=id_text(trade["i"]),
        )
        for trade in message["data"]
        if not ("BT" in trade and trade["BT"] is True)
    ]
