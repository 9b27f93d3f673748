"""The steps between a connection to Binance and orders, in their order, and what they bring.

Runs on: the engine thread; in the watchdog, the main thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from net.orders.interface import EntryState, Opening
from net.orders.messages import Answer, Balance, Market, OrderEvent, Request
from net.orders.order_names import OrderNames
from net.venues.binance.orders.events import BinanceReader
from net.venues.binance.orders.requests import BinanceRequests

COMMISSION = "commission"
"""The step that a venue may refuse: without it the configured or the standard fee counts."""


class Step(NamedTuple):
    """One request of the opening."""

    what: str
    state: EntryState
    """Where order entry stands meanwhile."""
    build: Callable[[int, int], bytes]
    """Of the request's number and the time in ms."""
    read: Callable[[Answer], object]
    """EntryError for an answer without sense."""


class BinanceOpening:
    """Where the opening of one connection stands. It subscribes before it reads, so that what
    happens meanwhile is pushed."""

    def __init__(self, requests: BinanceRequests, reader: BinanceReader, market: Market) -> None:
        self._requests, self._reader, self._market = requests, reader, market
        self._open_orders: tuple[OrderEvent, ...] = ()
        self._trades: tuple[OrderEvent, ...] = ()
        self._balances: tuple[Balance, ...] = ()
        self._maker_fee_ppm: int | None = None
        self._at = 0
        opening, reading = EntryState.OPENING, EntryState.READING
        logon = Step("session.logon", opening, requests.logon, lambda answer: None)
        self._steps = (
            *((logon,) if requests.is_logged_on else ()),
            Step("subscribe", opening, requests.subscribe, lambda answer: None),
            Step("open orders", reading, self._ask_open_orders, self._read_open_orders),
            Step("trades", reading, self._ask_trades, self._read_trades),
            Step(COMMISSION, reading, self._ask_commission, self._read_commission),
            Step("account", reading, requests.account, self._read_balances),
        )

    @property
    def step(self) -> Step | None:
        """The one that is to be done, None after the last."""
        return self._steps[self._at] if self._at < len(self._steps) else None

    def restart(self) -> None:
        """Another connection."""
        self._at = 0

    def read_again(self) -> None:
        """The same connection; what can be read of the account has changed."""
        self._at = next(at for at, s in enumerate(self._steps) if s.state is EntryState.READING)

    def read(self, answer: Answer) -> None:
        """The step's answer, which is no refusal; then it is the next one's turn. EntryError."""
        self._steps[self._at].read(answer)
        self._at += 1

    def skip(self) -> None:
        """The step is refused, and what it would have brought is not needed."""
        self._at += 1

    def result(self, names: OrderNames) -> Opening:
        """What all the steps have brought, with our names."""
        # Orders first: they give the trades their names.
        open_orders = names.named(self._open_orders)
        trades = names.named(self._trades)
        return Opening(open_orders, trades, self._balances, self._maker_fee_ppm)

    def _ask_open_orders(self, number: int, time_ms: int) -> bytes:
        return self._requests.open_orders(number, time_ms, self._market)

    def _read_open_orders(self, answer: Answer) -> None:
        found = self._reader.order_events(Request.OPEN_ORDERS, answer, self._market)
        self._open_orders = found

    def _ask_trades(self, number: int, time_ms: int) -> bytes:
        return self._requests.latest_trades(number, time_ms, self._market)

    def _read_trades(self, answer: Answer) -> None:
        self._trades = self._reader.order_events(Request.TRADES, answer, self._market)

    def _read_balances(self, answer: Answer) -> None:
        self._balances = self._reader.balances(answer)

    def _ask_commission(self, number: int, time_ms: int) -> bytes:
        return self._requests.commission(number, time_ms, self._market)

    def _read_commission(self, answer: Answer) -> None:
        self._maker_fee_ppm = self._reader.maker_fee_ppm(answer, self._market)
