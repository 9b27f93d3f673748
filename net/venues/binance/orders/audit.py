"""One audit of the account at Binance: open orders, latest trades and balances, asked at once.

No I/O and no clock.
Runs on: the engine thread.
"""

from __future__ import annotations

from enum import Enum

from net.orders.interface import Opening
from net.orders.messages import Answer, Balance, Market, OrderEvent, Request
from net.orders.order_names import OrderNames
from net.venues.binance.orders.events import BinanceReader
from net.venues.binance.orders.requests import BinanceRequests

AUDIT_TRADES = 50
"""Those of five seconds at ten a second: reading more would hold the thread for longer."""


class Part(Enum):
    """What an audit asks for, in this order: what trades after the orders were listed is told by
    the next audit, and by its own event."""

    ORDERS = "open orders"
    TRADES = "trades"
    BALANCES = "balances"


class BinanceAudit:
    """What has been read so far."""

    def __init__(self, requests: BinanceRequests, reader: BinanceReader, market: Market) -> None:
        self._requests, self._reader, self._market = requests, reader, market
        self._open_orders: tuple[OrderEvent, ...] | None = None
        self._trades: tuple[OrderEvent, ...] | None = None
        self._balances: tuple[Balance, ...] | None = None

    def write(self, part: Part, number: int, time_ms: int) -> bytes:
        """One of the requests (weights 6, 20 and 20)."""
        asked, market = self._requests, self._market
        if part is Part.ORDERS:
            return asked.open_orders(number, time_ms, market)
        if part is Part.TRADES:
            return asked.latest_trades(number, time_ms, market, AUDIT_TRADES)
        return asked.account(number, time_ms)

    def read(self, part: Part, answer: Answer) -> None:
        """Its answer; EntryError."""
        if part is Part.ORDERS:
            self._open_orders = self._reader.order_events(Request.OPEN_ORDERS, answer, self._market)
        elif part is Part.TRADES:
            self._trades = self._reader.order_events(Request.TRADES, answer, self._market)
        else:
            self._balances = self._reader.balances(answer)

    def result(self, names: OrderNames) -> Opening | None:
        """The account, with our names; None until all is there."""
        if self._open_orders is None or self._trades is None or self._balances is None:
            return None
        # Orders first: they give the trades their names.
        orders = names.named(self._open_orders)
        return Opening(orders, names.named(self._trades), self._balances)
