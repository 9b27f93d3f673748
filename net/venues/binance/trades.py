"""Binance's trades: `<symbol>@trade`, single trades, on the connection of the books.

Source: the exchange's page of its WebSocket streams ("Trade Streams"). `m`: the buyer was the
maker, so a seller took. `T` is the trade's own time, ms or us as the connection asks for.
Runs on: any thread (facts only).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import orjson

from engine.layout.units import NS_PER_MS, NS_PER_US
from net.venues.binance.channels import MESSAGE_SYMBOLS_MAX
from net.venues.trades import (
    US_SINCE_1970_MIN,
    VenueTrade,
    exact,
    id_text,
    side_of,
    symbol_of,
    time_ns,
)

FIRST_REQUEST = 1_000_000
"""Of the requests for trades; those for books count from 1."""


def trade_requests(symbols: Sequence[str]) -> list[bytes]:
    """What to send for these symbols' trades."""
    names = [f"{quote(symbol.lower())}@trade" for symbol in symbols]
    parts = [
        names[at : at + MESSAGE_SYMBOLS_MAX] for at in range(0, len(names), MESSAGE_SYMBOLS_MAX)
    ]
    return [
        orjson.dumps({"method": "SUBSCRIBE", "params": part, "id": FIRST_REQUEST + number})
        for number, part in enumerate(parts)
    ]


def read_trades(message: Any) -> list[VenueTrade] | None:
    """The trade of a message; None: another one. KeyError or ValueError: malformed."""
    data = message.get("data", message) if isinstance(message, dict) else None
    if not isinstance(data, dict) or data.get("e") != "trade":
        return None
    if data.get("X", "MARKET") != "MARKET":
        return []  # of the futures: an insurance fund's, or none at all
    is_us = isinstance(data["T"], int) and data["T"] > US_SINCE_1970_MIN
    trade = VenueTrade(
        symbol=symbol_of(data["s"]),
        side=side_of(data["m"], False, True),
        price=exact(data["p"]),
        amount=exact(data["q"]),
        venue_ns=time_ns(data["T"], NS_PER_US if is_us else NS_PER_MS),
        venue_id=id_text(data["t"]),
    )
    return [trade]
