"""One venue's orders: accepts, matches, settles, and reports what happened.

What Binance and Bitstamp have in common; their protocols stand in files of their own and turn a
`RejectedError` and a `Report` into their words. Orders are numbered from one seeded start, time is
passed in, so the same requests at the same times give the same answers.
Invariants (`check`): those of accounts.py and matching.py; an order is open exactly while it
rests in its market's queue.
Runs on: the simulator's event loop; no I/O, no clock, and no timer but that of a fault
(`settle_later`).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from net.simulator.flow import Step
from net.simulator.market import BID
from net.simulator.options import VenueInstrument
from net.simulator.orders.accounts import (
    CANCELED,
    EXPIRED,
    PREVENTED,
    Account,
    Execution,
    Order,
)
from net.simulator.orders.amounts import quote_lots_up
from net.simulator.orders.matching import OWN_ORDERS_MAX, Fill, OwnOrders
from net.simulator.synthetic import SyntheticFeed

FIRST_ORDER_ID = 12_569_099_453
ORDERS_KEPT_MAX = 100_000  # closed orders beyond this are forgotten, oldest first
EXECUTIONS_KEPT_MAX = 100_000

BALANCE, WOULD_TAKE, DUPLICATE, UNKNOWN = "balance", "would take", "duplicate", "unknown"
TOO_MANY, NO_LIQUIDITY = "too many", "no liquidity"


class RejectedError(Exception):
    """An order, a cancel or an amendment that is refused; `reason` is one of the words above."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Wanted(NamedTuple):
    """An order as a customer asks for it, checked and converted by the venue's protocol.

    `price_ticks` 0 is a market order. `time_in_force` is GTC, IOC or FOK.
    """

    instrument: VenueInstrument
    client_order_id: str
    side: int
    kind: str
    time_in_force: str
    price_ticks: int
    qty_lots: int
    is_post_only: bool = False
    self_trade: str = "NONE"


class Report(NamedTuple):
    """Something that happened to an order, which is in the state after it.

    `what` is NEW, TRADE, CANCELED, REPLACED, EXPIRED or TRADE_PREVENTION.
    """

    what: str
    order: Order
    time_ns: int
    execution: Execution | None = None
    request_id: str = ""  # the client's own id of a cancel


class Desk:
    """The order side of one venue with a synthetic market and one account."""

    def __init__(
        self, feed: SyntheticFeed, account: Account, *, are_client_ids_unique: bool
    ) -> None:
        self.account = account
        self.orders: dict[int, Order] = {}
        self.executions: dict[int, Execution] = {}
        self.listeners: list[Callable[[Report], None]] = []
        self._are_client_ids_unique = are_client_ids_unique
        self._next_order_id = FIRST_ORDER_ID
        self._next_execution_id = 1
        self._markets: dict[str, OwnOrders] = {}
        for symbol in feed.instruments:
            flow = feed.market(symbol)
            self._markets[symbol] = OwnOrders(flow.engine)
            flow.observer = partial(self._on_step, symbol)

    # -- asking --------------------------------------------------------------------------------

    def open_orders(self, symbol: str | None = None) -> list[Order]:
        """What rests, oldest first."""
        markets = self._markets.values() if symbol is None else [self._markets[symbol]]
        found = [self.orders[order_id] for market in markets for order_id in market.orders]
        return sorted(found, key=lambda order: order.order_id)

    def find(
        self, order_id: int | None, client_order_id: str | None, symbol: str | None = None
    ) -> Order:
        """An order by its number or the newest of a client's own id; UNKNOWN if there is none."""
        if order_id is not None:
            order = self.orders.get(order_id)
        else:
            named = (
                o for o in reversed(self.orders.values()) if o.client_order_id == client_order_id
            )
            order = next(named, None)
        if order is None or (symbol is not None and order.symbol != symbol):
            raise RejectedError(UNKNOWN)
        return order

    def market(self, symbol: str) -> OwnOrders:
        """One market's own orders."""
        return self._markets[symbol]

    # -- orders --------------------------------------------------------------------------------

    def place(self, wanted: Wanted, time_ns: int) -> Order:
        """Accept and match an order, or raise `RejectedError` and change nothing."""
        market = self._markets[wanted.instrument.venue_symbol]
        order = Order(
            self._next_order_id,
            wanted.instrument,
            wanted.client_order_id or self._own_name(),
            wanted.side,
            wanted.kind,
            wanted.time_in_force,
            wanted.price_ticks,
            wanted.qty_lots,
            time_ns,
            wanted.self_trade,
            updated_ns=time_ns,
        )
        required_lots = self._admit(market, order, wanted.is_post_only)
        if not self.account.lock(order, required_lots):
            raise RejectedError(BALANCE)
        self._next_order_id += 1
        self._keep(order)
        self._report(Report("NEW", order, time_ns))
        self._match(market, order, time_ns)
        return order

    def _own_name(self) -> str:
        """What an order without a name is called where every order has one."""
        return f"auto-{self._next_order_id}" if self._are_client_ids_unique else ""

    def _admit(self, market: OwnOrders, order: Order, is_post_only: bool) -> int:
        """Every refusal but that of the balance; returns what must be set aside."""
        if self._are_client_ids_unique and any(
            each.client_order_id == order.client_order_id for each in self.open_orders()
        ):
            raise RejectedError(DUPLICATE)
        if len(market.orders) >= OWN_ORDERS_MAX:
            raise RejectedError(TOO_MANY)
        if order.price_ticks:
            if is_post_only and market.would_take(order.side, order.price_ticks):
                raise RejectedError(WOULD_TAKE)
            return self.account.required_lots(order, order.qty_lots)
        levels = market.preview(order.side, order.qty_lots)
        if not levels:
            raise RejectedError(NO_LIQUIDITY)
        if order.side != BID:
            return order.qty_lots
        if order.self_trade == "NONE":
            levels = market.preview_with_own(order.side, order.qty_lots)
        cost = sum(quote_lots_up(order.instrument, price, lots) for price, lots in levels)
        return self.account.with_fee(cost)

    def _match(self, market: OwnOrders, order: Order, time_ns: int) -> None:
        limit_ticks = order.price_ticks or None
        if order.time_in_force == "FOK":
            levels = market.preview(order.side, order.qty_lots, limit_ticks)
            if sum(lots for _, lots in levels) < order.qty_lots:
                self._close(order, EXPIRED, "EXPIRED", time_ns)
                return
        outcome = market.place(
            order.order_id,
            order.side,
            order.qty_lots,
            time_ns,
            limit_ticks=limit_ticks,
            rests=order.time_in_force == "GTC" and limit_ticks is not None,
            self_trade=order.self_trade,
        )
        for fill in outcome.fills:
            self.settle(fill)
        for order_id in outcome.expired:
            self._prevent(self.orders[order_id], time_ns)
        if outcome.is_prevented:
            self._prevent(order, time_ns)
        elif outcome.left_lots:
            self._close(order, EXPIRED, "EXPIRED", time_ns)

    def _prevent(self, order: Order, time_ns: int) -> None:
        order.prevented_lots = order.open_lots
        self._close(order, PREVENTED, "TRADE_PREVENTION", time_ns)

    def cancel(self, order: Order, time_ns: int, request_id: str = "") -> None:
        """Take a resting order out; UNKNOWN if it does not rest."""
        if not self._markets[order.symbol].cancel(order.order_id):
            raise RejectedError(UNKNOWN)
        self._close(order, CANCELED, "CANCELED", time_ns, request_id)

    def reduce(self, order: Order, qty_lots: int, time_ns: int) -> None:
        """A smaller total quantity (above what is filled); the order keeps its place."""
        assert order.is_open and order.filled_lots < qty_lots < order.qty_lots
        self._markets[order.symbol].reduce(order.order_id, order.qty_lots - qty_lots)
        order.qty_lots = qty_lots
        order.updated_ns = time_ns
        self.account.release(order, self.account.required_lots(order, order.open_lots))
        self._report(Report("REPLACED", order, time_ns))

    def cancel_too_late(self, order: Order, time_ns: int, request_id: str = "") -> Fill:
        """A fault: report the cancel of a resting order that has just filled whole.

        Its money stays set aside until the fill that is returned gets settled.
        """
        fill = self._markets[order.symbol].fill_now(order.order_id, time_ns)
        order.status = CANCELED
        self._report(Report("CANCELED", order, time_ns, None, request_id))
        return fill

    def settle_later(self, fill: Fill, delay_s: float) -> None:
        """Book the fill of `cancel_too_late` after so long."""
        asyncio.get_running_loop().call_later(delay_s, self.settle, fill)

    def settle(self, fill: Fill) -> None:
        """Book one fill and report it."""
        order = self.orders[fill.order_id]
        execution = self.account.settle(
            order,
            price_ticks=fill.price_ticks,
            qty_lots=fill.qty_lots,
            is_maker=fill.is_maker,
            execution_id=self._next_execution_id,
            trade_id=fill.trade_id,
            time_ns=fill.time_ns,
        )
        self._next_execution_id += 1
        self.executions[execution.execution_id] = execution
        if len(self.executions) > EXECUTIONS_KEPT_MAX:
            del self.executions[next(iter(self.executions))]
        if order.price_ticks:
            keep_lots = self.account.required_lots(order, order.open_lots)
        else:
            keep_lots = order.locked_lots if order.open_lots else 0
        self.account.release(order, keep_lots)
        self._report(Report("TRADE", order, fill.time_ns, execution))

    def _on_step(self, symbol: str, step: Step) -> None:
        for fill in self._markets[symbol].on_step(step):
            self.settle(fill)

    def _close(
        self, order: Order, status: str, what: str, time_ns: int, request_id: str = ""
    ) -> None:
        order.status = status
        order.updated_ns = time_ns
        self.account.release(order, 0)
        self._report(Report(what, order, time_ns, None, request_id))

    def _report(self, report: Report) -> None:
        for listener in self.listeners:
            listener(report)

    def _keep(self, order: Order) -> None:
        self.orders[order.order_id] = order
        if len(self.orders) > ORDERS_KEPT_MAX:
            oldest = next(each for each in self.orders.values() if not each.is_open)
            del self.orders[oldest.order_id]

    def summary(self) -> dict[str, object]:
        """What `/simulator/stats` tells of orders: what rests, and what all executions come to."""
        net_lots: Counter[str] = Counter()
        for execution in self.executions.values():
            sign = 1 if execution.side == BID else -1
            net_lots[execution.symbol] += sign * execution.qty_lots
        return {
            "open": [
                {
                    "symbol": order.symbol,
                    "client_order_id": order.client_order_id,
                    "side": "buy" if order.side == BID else "sell",
                    "price_ticks": order.price_ticks,
                    "open_lots": order.open_lots,
                }
                for order in self.open_orders()
            ],
            "executions": len(self.executions),
            "net_lots": dict(net_lots),
            "fee_lots": dict(self.account.fees_paid),
        }

    def check(self) -> None:
        """Assert every invariant of the module docstring."""
        resting = self.open_orders()
        assert resting == [order for order in self.orders.values() if order.is_open]
        for order in resting:
            in_queue = self._markets[order.symbol].orders[order.order_id]
            assert in_queue.qty_lots == order.open_lots
            assert order.locked_lots == self.account.required_lots(order, order.open_lots)
        for order in self.orders.values():
            assert order.filled_lots == sum(each.qty_lots for each in order.executions)
            assert 0 <= order.filled_lots <= order.qty_lots
        for market in self._markets.values():
            market.check()
        self.account.check(resting)
