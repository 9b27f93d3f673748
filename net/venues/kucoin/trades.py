"""KuCoin's trades: the topic `/market/match:<symbol>`, on the connection of the books.

Source: the exchange's page "Match Execution Data", and recordings of 2021: `side` is the taker's,
the time is in nanoseconds.
Runs on: any thread (facts only).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from net.venues.trades import VenueTrade, exact, id_text, side_of, symbol_of, time_ns

TRADES_TOPIC = "/market/match:"


def trade_requests(symbols: Sequence[str]) -> list[bytes]:
    """What to send for these symbols' trades. The number of a request is all that its answer
    names: it is the topic, as no symbol is."""
    return [
        orjson.dumps(
            {
                "id": f"{TRADES_TOPIC}{symbol}",
                "type": "subscribe",
                "topic": f"{TRADES_TOPIC}{symbol}",
                "privateChannel": False,
                "response": True,
            }
        )
        for symbol in symbols
    ]


def is_answer(message: dict[str, Any]) -> bool:
    """Whether a message answers a request for trades."""
    return str(message.get("id", "")).startswith(TRADES_TOPIC)


def read_trades(message: Any) -> list[VenueTrade] | None:
    """The trade of a message; None: another one. KeyError, TypeError or ValueError: malformed."""
    topic = message.get("topic") if isinstance(message, dict) else None
    if not isinstance(topic, str) or not topic.startswith(TRADES_TOPIC):
        return None
    trade = message["data"]
    return [
        VenueTrade(
            symbol=symbol_of(trade["symbol"]),
            side=side_of(trade["side"], "buy", "sell"),
            price=exact(trade["price"]),
            amount=exact(trade["size"]),
            venue_ns=time_ns(trade["time"], 1),
            venue_id=id_text(trade["tradeId"]),
        )
    ]
