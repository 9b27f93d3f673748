"""Binance's WebSocket API: sessions, orders, account queries, the user data stream.

Not simulated: RSA keys, stop, trailing, iceberg, pegged and listed orders, DECREMENT and TRANSFER
self-trade prevention; their parameters are refused as unread. The events of a request are sent
before its answer (the exchange promises no order). Times are the simulated venue's, as told by
`time`.
Invariant: every request gets exactly one answer, unless a fault takes it.
Runs on: the simulator's event loop.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import orjson

from net.simulator.binance.orders import entry as binance_entry
from net.simulator.binance.orders import reports as binance_reports
from net.simulator.binance.orders.reports import Json
from net.simulator.binance.orders.requests import (
    FILL_REFUND_MAKER,
    FILL_REFUND_TAKER,
    ApiError,
    OrderCount,
    Params,
    parse,
    request_id,
)
from net.simulator.binance.orders.wallet import Wallet
from net.simulator.clock import NS_PER_MS, NS_PER_US, SimulatorClock
from net.simulator.connection import (
    CANCEL,
    CHANGE,
    FILL,
    PLACE,
    SIGNED,
    Connection,
    Interceptor,
)
from net.simulator.options import SimulatorOptions
from net.simulator.orders.accounts import Account, ApiKey, Execution, api_keys
from net.simulator.orders.desk import Desk, RejectedError, Report
from net.simulator.source import Message
from net.simulator.synthetic import SyntheticFeed

TRADES_DEFAULT, TRADES_MAX = 500, 1000
FREE_WHEN_DONE = ("order.place", "order.cancel", "order.cancelReplace", "openOrders.cancelAll")
CHANGES = (*FREE_WHEN_DONE, "order.amend.keepPriority")
UNKNOWN_ORDER = "Unknown order sent."


@dataclass
class Session:
    """What one connection has: its key after a logon, and its subscription."""

    connection: Connection
    connected_ms: int
    key: ApiKey | None = None
    authorized_ms: int = 0
    subscription_id: int | None = None
    is_by_logon: bool = False
    next_subscription_id: int = 0
    returns_limits: bool = True
    unit_ns: int = NS_PER_MS


class Call(NamedTuple):
    """One request on its way through a method."""

    session: Session
    params: Params
    now_ns: int


Method = Callable[["BinanceOrders", Call], object]


class BinanceOrders:
    """The WebSocket API of one simulated venue."""

    def __init__(
        self,
        feed: SyntheticFeed,
        clock: SimulatorClock,
        options: SimulatorOptions,
        *,
        interceptor: Interceptor,
        weigh: Callable[[int], int],
        publish: Callable[[list[Message]], None],
    ) -> None:
        self.account = Account(options.trading, fee_in_quote=False)
        self.desk = Desk(feed, self.account, are_client_ids_unique=True)
        self.feed = feed
        self._keys = api_keys(options.trading)
        self.wallet = Wallet(self.account, self._keys)
        self._clock = clock
        self._weight_limit = options.weight_limit
        self._interceptor = interceptor
        self._weigh = weigh
        self._publish = publish
        self._sessions: dict[int, Session] = {}
        self._count = OrderCount(options.trading.orders_10s_max, options.trading.orders_day_max)
        self._report_ids = itertools.count(8_641_984)
        self._cancel_ids = itertools.count(1)
        self._last_report_id = 0
        self.desk.listeners.append(self._on_report)

    # -- connections ---------------------------------------------------------------------------

    def opened(self, connection: Connection, returns_limits: bool) -> None:
        """A client connected; `microseconds` of the connection is set."""
        self._weigh(2)
        unit_ns = NS_PER_US if connection.microseconds else NS_PER_MS
        now_ms = self._clock.now_ns() // NS_PER_MS
        session = Session(connection, now_ms, returns_limits=returns_limits, unit_ns=unit_ns)
        self._sessions[connection.connection_id] = session

    def closed(self, connection: Connection) -> None:
        """A client is gone; its orders stay."""
        self._sessions.pop(connection.connection_id, None)

    def receive(self, connection: Connection, data: str) -> None:
        """One request, answered at once."""
        session = self._sessions[connection.connection_id]
        now_ns = self._clock.now_ns()
        self._publish(self.feed.poll(now_ns))
        head: Json = {"id": None}
        name, limits = "", session.returns_limits
        try:
            request = parse(data)
            head["id"] = request_id(request)
            name = str(request.get("method", "")).removeprefix("v3/")
            params = Params(request.get("params", {}))
            if "returnRateLimits" in params:
                limits = params.text("returnRateLimits") == "true"
            result = self._call(name, Call(session, params, now_ns))
        except ApiError as error:
            reply = head | {"status": error.status, "error": error.body()}
        else:
            reply = head | {"status": 200, "result": result}
        if limits:
            reply["rateLimits"] = self._limits(now_ns, has_orders=name in CHANGES)
        spoilt = None
        if name in CHANGES and reply["status"] in (200, 409):
            spoilt = self._interceptor.spoils("binance", CHANGE)
        if spoilt is None:
            connection.send(orjson.dumps(reply).decode())
        elif spoilt[0] == "order-disconnect":
            connection.abort()

    def _call(self, name: str, call: Call) -> object:
        known = METHODS.get(name)
        if known is None:
            raise ApiError(400, -1020, "This operation is not supported.")
        weight, is_signed, method = known
        if name == "myTrades" and "orderId" in call.params:
            weight = 5
        if self._weigh(0) + weight > self._weight_limit:
            retry_ms = (call.now_ns // (60 * 10**9) + 1) * 60_000
            data = {"serverTime": call.now_ns // NS_PER_MS, "retryAfter": retry_ms}
            text = f"Too much request weight used; current limit is {self._weight_limit}."
            raise ApiError(429, -1003, text, data)
        try:
            if is_signed:
                self._authenticate(call)
            result = method(self, call)
        except ApiError:
            self._weigh(weight)
            raise
        except RejectedError as error:
            self._weigh(weight)
            raise binance_entry.refusal(error) from None
        if name not in FREE_WHEN_DONE:
            self._weigh(weight)
        return result

    def _authenticate(self, call: Call) -> ApiKey:
        """A valid signature, or the session's key; and the clock rule either way."""
        key = call.session.key
        if key is None or "apiKey" in call.params or "signature" in call.params:
            key = call.params.key(self._keys)
        skew = self._interceptor.spoils("binance", SIGNED)
        skew_us = int(skew[1] * 1_000) if skew is not None else 0
        call.params.check_time(call.now_ns // NS_PER_US + skew_us)
        return key

    def _limits(self, now_ns: int, has_orders: bool) -> list[Json]:
        weight: Json = {
            "rateLimitType": "REQUEST_WEIGHT",
            "interval": "MINUTE",
            "intervalNum": 1,
            "limit": self._weight_limit,
            "count": self._weigh(0),
        }
        return [*self._count.rows(now_ns), weight] if has_orders else [weight]

    # -- general and session -------------------------------------------------------------------

    def _ping(self, call: Call) -> Json:
        return {}

    def _time(self, call: Call) -> Json:
        return {"serverTime": call.now_ns // call.session.unit_ns}

    def _logon(self, call: Call) -> Json:
        key = self._authenticate(call)
        call.params.finish()
        if key.public_key is None:
            raise ApiError(400, -2015, "Only Ed25519 keys are supported for logon.")  # chosen
        session = call.session
        session.key, session.authorized_ms = key, call.now_ns // NS_PER_MS
        return self._session_status(call)

    def _session_status(self, call: Call) -> Json:
        session = call.session
        return {
            "apiKey": session.key.name if session.key else None,
            "authorizedSince": session.authorized_ms if session.key else None,
            "connectedSince": session.connected_ms,
            "returnRateLimits": session.returns_limits,
            "serverTime": call.now_ns // call.session.unit_ns,
            "userDataStream": session.subscription_id is not None,
        }

    def _logout(self, call: Call) -> Json:
        session = call.session
        session.key, session.authorized_ms = None, 0
        if session.is_by_logon:
            session.subscription_id = None
        return self._session_status(call)

    def _subscribe(self, call: Call) -> Json:
        if call.session.key is None:
            raise ApiError(401, -1099, "Not found, unauthenticated, or unauthorized.")  # chosen
        return self._subscribed(call.session, True)

    def _subscribe_signature(self, call: Call) -> Json:
        call.params.finish()
        return self._subscribed(call.session, False)

    def _subscribed(self, session: Session, is_by_logon: bool) -> Json:
        if session.subscription_id is not None:
            raise ApiError(400, -2035, "User Data Stream subscription already active.")
        session.subscription_id, session.is_by_logon = session.next_subscription_id, is_by_logon
        session.next_subscription_id += 1
        return {"subscriptionId": session.subscription_id}

    def _unsubscribe(self, call: Call) -> Json:
        asked = call.params.integer("subscriptionId")
        current = call.session.subscription_id
        if current is None or asked not in (None, current):
            raise ApiError(400, -2036, "User Data Stream subscription not active.")
        call.session.subscription_id = None
        return {}

    def _subscriptions(self, call: Call) -> list[Json]:
        current = call.session.subscription_id
        return [] if current is None else [{"subscriptionId": current}]

    # -- orders --------------------------------------------------------------------------------

    def _place(self, call: Call) -> Json:
        entry = binance_entry.read(call.params, self.feed, self.desk)
        call.params.finish()
        self._may_place(call.now_ns)
        return self._placed(entry, call)

    def _may_place(self, now_ns: int) -> None:
        if self._interceptor.spoils("binance", PLACE) is not None:
            self._count.refuse(now_ns)
        self._count.check(now_ns)

    def _placed(self, entry: binance_entry.Entry, call: Call) -> Json:
        order = self.desk.place(entry.wanted, call.now_ns)
        self._count.add(call.now_ns)
        if order.executions and not order.executions[0].is_maker:
            self._count.add(call.now_ns, -FILL_REFUND_TAKER)
        self._publish(self.feed.taken(order.symbol))
        return binance_reports.placed(order, entry.response, call.session.unit_ns)

    def _test(self, call: Call) -> Json:
        binance_entry.read(call.params, self.feed, self.desk)
        call.params.finish()
        return {}

    def _cancel(self, call: Call) -> Json:
        cancel = binance_entry.read_cancel(call.params, self.feed)
        call.params.finish()
        return self._canceled(cancel, call)

    def _canceled(self, cancel: binance_entry.Cancel, call: Call) -> Json:
        order = binance_entry.find(self.desk, cancel, (-2011, UNKNOWN_ORDER))
        if not order.is_open:
            raise ApiError(400, -2011, UNKNOWN_ORDER)
        if cancel.restriction and cancel.restriction != f"ONLY_{order.status}":
            text = "Order was not canceled due to cancel restrictions."
            raise ApiError(400, -2011, text)
        request_id = cancel.own_id or self._cancel_id()
        spoilt = self._interceptor.spoils("binance", CANCEL)
        if spoilt is not None and spoilt[0] == "cancel-rejected":
            raise ApiError(400, -2011, UNKNOWN_ORDER)
        if spoilt is not None:
            fill = self.desk.cancel_too_late(order, call.now_ns, request_id)
            self.desk.settle_later(fill, spoilt[1] / 1_000)
        else:
            self.desk.cancel(order, call.now_ns, request_id)
        return binance_reports.canceled(order, request_id, call.session.unit_ns)

    def _cancel_id(self) -> str:
        return f"cancel-{next(self._cancel_ids)}"

    def _replace(self, call: Call) -> Json:
        params = call.params
        modes = ("STOP_ON_FAILURE", "ALLOW_FAILURE")
        mode = params.choice("cancelReplaceMode", modes, -1102, "cancelReplaceMode")
        cancel = binance_entry.read_cancel(params, self.feed, is_replace=True)
        on_limit = params.text("orderRateLimitExceededMode") or "DO_NOTHING"
        entry = binance_entry.read(params, self.feed, self.desk)
        params.finish()
        limited: ApiError | None = None
        try:
            self._may_place(call.now_ns)
        except ApiError as error:
            if on_limit != "CANCEL_ONLY":
                raise
            limited = error
        data: Json = {"cancelResult": "SUCCESS", "newOrderResult": "NOT_ATTEMPTED"}
        data |= {"cancelResponse": None, "newOrderResponse": None}
        try:
            data["cancelResponse"] = self._canceled(cancel, call)
        except ApiError as error:
            data |= {"cancelResult": "FAILURE", "cancelResponse": error.body()}
        stopped = data["cancelResult"] == "FAILURE" and mode == "STOP_ON_FAILURE"
        if limited is not None:
            data |= {"newOrderResult": "FAILURE", "newOrderResponse": limited.body()}
        elif stopped:
            self._count.add(call.now_ns)  # an order that is not attempted counts as well
        else:
            try:
                data |= {
                    "newOrderResponse": self._placed(entry, call),
                    "newOrderResult": "SUCCESS",
                }
            except RejectedError as error:
                body = binance_entry.refusal(error).body()
                data |= {"newOrderResult": "FAILURE", "newOrderResponse": body}
        done = [data["cancelResult"], data["newOrderResult"]].count("SUCCESS")
        if done == 2:
            return data
        status = 429 if limited is not None else (409 if done else 400)
        if done:
            text = "Order cancel-replace partially failed."
            raise ApiError(status, -2021, text, data)
        raise ApiError(status, -2022, "Order cancel-replace failed.", data)

    def _amend(self, call: Call) -> Json:
        cancel = binance_entry.read_cancel(call.params, self.feed)
        instrument = self.feed.instruments[cancel.symbol]
        steps = call.params.scaled("newQty", "LOT_SIZE", instrument.qty_decimals)
        call.params.finish()
        order = binance_entry.find(self.desk, cancel, (-2013, "Order does not exist."))
        qty_lots = steps * instrument.qty_step_lots
        if not order.is_open or not order.filled_lots < qty_lots < order.qty_lots:
            raise ApiError(400, -2038, "The requested action would change no state; rejecting.")
        self.desk.reduce(order, qty_lots, call.now_ns)
        return binance_reports.amended(order, self._last_report_id, call.session.unit_ns)

    def _cancel_all(self, call: Call) -> list[Json]:
        symbol = binance_entry.read_symbol(call.params, self.feed)
        call.params.finish()
        orders = self.desk.open_orders(symbol)
        if not orders:
            raise ApiError(400, -2011, UNKNOWN_ORDER)
        out = []
        for order in orders:
            request_id = self._cancel_id()
            self.desk.cancel(order, call.now_ns, request_id)
            out.append(binance_reports.canceled(order, request_id, call.session.unit_ns))
        return out

    # -- queries -------------------------------------------------------------------------------

    def _status(self, call: Call) -> Json:
        cancel = binance_entry.read_cancel(call.params, self.feed)
        call.params.finish()
        order = binance_entry.find(self.desk, cancel, (-2013, "Order does not exist."))
        return binance_reports.status(order, call.session.unit_ns)

    def _open_orders(self, call: Call) -> list[Json]:
        symbol = None
        if "symbol" in call.params:
            symbol = binance_entry.read_symbol(call.params, self.feed)
        call.params.finish()
        orders = self.desk.open_orders(symbol)
        return [binance_reports.status(order, call.session.unit_ns) for order in orders]

    def _account(self, call: Call) -> Json:
        omits_zero = call.params.text("omitZeroBalances") == "true"
        call.params.finish()
        now = call.now_ns // call.session.unit_ns
        return binance_reports.account_status(self.account, omits_zero, now)

    def _commission(self, call: Call) -> Json:
        symbol = binance_entry.read_symbol(call.params, self.feed)
        call.params.finish()
        return binance_reports.commission(self.account, symbol)

    def _order_limits(self, call: Call) -> list[Json]:
        call.params.finish()
        return self._count.rows(call.now_ns)

    def _trades(self, call: Call) -> list[Json]:
        params, unit_ns = call.params, call.session.unit_ns
        symbol = binance_entry.read_symbol(params, self.feed)
        order_id, from_id = params.integer("orderId"), params.integer("fromId")
        start, end = params.integer("startTime"), params.integer("endTime")
        limit = min(params.integer("limit") or TRADES_DEFAULT, TRADES_MAX)
        params.finish()

        def is_wanted(made: Execution) -> bool:
            time = made.time_ns // NS_PER_MS
            return (
                made.symbol == symbol
                and order_id in (None, made.order_id)
                and (from_id is None or made.trade_id >= from_id)
                and (start is None or time >= start)
                and (end is None or time <= end)
            )

        found = [made for made in self.desk.executions.values() if is_wanted(made)]
        found.sort(key=lambda made: made.trade_id)
        is_forward = from_id is not None or start is not None
        chosen = found[:limit] if is_forward else found[-limit:]
        orders = self.desk.orders
        return [binance_reports.trade(orders[made.order_id], made, unit_ns) for made in chosen]

    # -- events --------------------------------------------------------------------------------

    def _on_report(self, report: Report) -> None:
        order, made = report.order, report.execution
        self._last_report_id = next(self._report_ids)
        is_first = made is not None and len(order.executions) == 1
        if made is not None and is_first and made.is_maker:
            self._count.add(report.time_ns, -FILL_REFUND_MAKER)
        repeats = 1
        if made is not None and self._interceptor.spoils("binance", FILL) is not None:
            repeats = 2
        for session in self._sessions.values():
            if session.subscription_id is None:
                continue
            unit_ns = session.unit_ns
            event = binance_reports.execution_report(report, self._last_report_id, unit_ns)
            for _ in range(repeats):
                _send_event(session, event)
            account = self.account
            position = binance_reports.account_position(account, order, report.time_ns, unit_ns)
            _send_event(session, position)


def _send_event(session: Session, event: Json) -> None:
    message = {"subscriptionId": session.subscription_id, "event": event}
    session.connection.send(orjson.dumps(message).decode())


_O = BinanceOrders
METHODS: dict[str, tuple[int, bool, Method]] = {
    # name: weight, whether it must be signed, method
    "ping": (1, False, _O._ping),
    "time": (1, False, _O._time),
    "session.logon": (2, False, _O._logon),
    "session.status": (2, False, _O._session_status),
    "session.logout": (2, False, _O._logout),
    "session.subscriptions": (2, False, _O._subscriptions),
    "userDataStream.subscribe": (2, False, _O._subscribe),
    "userDataStream.subscribe.signature": (2, True, _O._subscribe_signature),
    "userDataStream.unsubscribe": (2, False, _O._unsubscribe),
    "order.place": (1, True, _O._place),
    "order.test": (1, True, _O._test),
    "order.cancel": (1, True, _O._cancel),
    "order.cancelReplace": (1, True, _O._replace),
    "order.amend.keepPriority": (4, True, _O._amend),
    "openOrders.cancelAll": (1, True, _O._cancel_all),
    "order.status": (4, True, _O._status),
    "openOrders.status": (6, True, _O._open_orders),
    "account.status": (20, True, _O._account),
    "account.commission": (20, True, _O._commission),
    "account.rateLimits.orders": (40, True, _O._order_limits),
    "myTrades": (20, True, _O._trades),
}
