"""Bitstamp's trades: `live_trades_<pair>`, on the connection of the books.

Source: the exchange's WebSocket v2 page. `type` 0: a buyer took. The texts are exact; the numbers
beside them are not looked at.
Runs on: any thread (facts only).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from engine.layout.units import NS_PER_US
from net.venues.trades import VenueTrade, exact, id_text, side_of, time_ns

TRADES_CHANNEL = "live_trades_"


def trade_requests(symbols: Sequence[str]) -> list[bytes]:
    """What to send for these symbols' trades."""
    return [
        orjson.dumps({"event": "bts:subscribe", "data": {"channel": f"{TRADES_CHANNEL}{symbol}"}})
        for symbol in symbols
    ]


def read_trades(message: Any) -> list[VenueTrade] | None:
    """The trade of a message; None: another one. KeyError, TypeError or ValueError: malformed."""
    if not isinstance(message, dict) or message.get("event") != "trade":
        return None
    channel, data = message.get("channel"), message["data"]
    if not isinstance(channel, str) or not channel.startswith(TRADES_CHANNEL):
        return None
    trade = VenueTrade(
        symbol=channel.removeprefix(TRADES_CHANNEL),
        side=side_of(data["type"], 0, 1),
        price=exact(data["price_str"]),
        amount=exact(data["amount_str"]),
        venue_ns=time_ns(data["microtimestamp"], NS_PER_US),
        venue_id=id_text(data.get("id_str") or data["id"]),
    )
    return [trade]
