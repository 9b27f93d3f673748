"""Coinbase's trades: the channel `market_trades`, on the connection of the books.

The connection's numbers go on through it. Source: the exchange's page "Market trades": collected
over 250 ms, single. `side` is the maker's, so the aggressor's is the other one. The first event has
past trades, which are passed over.
Runs on: any thread (facts only).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from net.venues.trades import VenueTrade, exact, id_text, iso_time_ns, side_of, symbol_of

TRADES_CHANNEL = "market_trades"


def trade_requests(symbols: Sequence[str]) -> list[bytes]:
    """What to send for these symbols' trades: one message for all, as for the books."""
    if not symbols:
        return []
    asked = {"type": "subscribe", "product_ids": list(symbols), "channel": TRADES_CHANNEL}
    return [orjson.dumps(asked)]


def read_trades(message: Any) -> list[VenueTrade] | None:
    """The trades of a message, the oldest first; None: another one. KeyError, TypeError or
    ValueError: malformed."""
    if not isinstance(message, dict) or message.get("channel") != TRADES_CHANNEL:
        return None
    # The newest comes first in an event.
    return [
        VenueTrade(
            symbol=symbol_of(trade["product_id"]),
            side=side_of(trade["side"], "SELL", "BUY"),
            price=exact(trade["price"]),
            amount=exact(trade["size"]),
            venue_ns=iso_time_ns(trade["time"]),
            venue_id=id_text(trade["trade_id"]),
        )
        for event in message["events"]
        if event["type"] == "update"
        for trade in reversed(event["trades"])
    ]
