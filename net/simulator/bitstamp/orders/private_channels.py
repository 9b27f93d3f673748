"""Bitstamp's private channels: tokens, my_orders and my_trades.

An order's event comes before the trade's (the exchange states no order of the two). There is no
status: `order_deleted` with nothing left means filled, with something left cancelled. Every order
event names its predecessor: in its market or in the account, the exchange does not say which.
Runs on: the simulator's event loop; no I/O, no clock.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable

import orjson

from net.simulator.clock import NS_PER_US
from net.simulator.connection import FILL, Interceptor
from net.simulator.market import BID
from net.simulator.options import InstrumentText
from net.simulator.orders.accounts import Order
from net.simulator.orders.amounts import lots_text
from net.simulator.orders.desk import Report
from net.simulator.source import Message

TOKEN_S = 60
TOKENS_MAX = 1_000
HISTORY_MAX = 10_000
CHANNEL = re.compile(r"private-my_(orders|trades)_([a-z0-9]{2,20})-([0-9]{1,18})")
SUBTYPES = {"GTC": 0, "IOC": 4, "FOK": 6}  # by third parties; 2 is a market order
MARKET_PRICE = {True: "999999999.00", False: "0.00"}  # how a market order shows


class PrivateChannels:
    """What the account's private channels say."""

    def __init__(
        self,
        user_id: int,
        publish: Callable[[list[Message]], None],
        interceptor: Interceptor,
        *,
        chains_by_market: bool = False,
    ) -> None:
        self.replacing: Order | None = None  # its successor is announced instead of its end
        self._user_id = user_id
        self._publish = publish
        self._interceptor = interceptor
        self._tokens: dict[str, float] = {}
        self._tokens_made = 0
        self._events = 0
        self._chains_by_market = chains_by_market
        self._last_events: dict[str, int] = {}
        """The number of the newest event of each chain."""
        self.history: deque[dict[str, object]] = deque(maxlen=HISTORY_MAX)
        """The events of all orders, oldest first."""

    def new_token(self, now_s: float) -> str:
        """A token, good for subscriptions in the next 60 seconds."""
        self._tokens_made += 1
        token = f"{self._user_id:016x}{self._tokens_made:016x}"
        self._tokens[token] = now_s + TOKEN_S
        if len(self._tokens) > TOKENS_MAX:
            del self._tokens[next(iter(self._tokens))]
        return token

    def allows(self, channel: str, token: object, now_s: float) -> bool:
        """Whether a subscription to a private channel is the account's own."""
        found = CHANNEL.fullmatch(channel)
        if found is None or int(found[3]) != self._user_id or not isinstance(token, str):
            return False
        return self._tokens.get(token, 0.0) >= now_s

    def on_report(self, report: Report) -> None:
        """Announce what happened to an order."""
        order = report.order
        if report.what == "CANCELED" and order is self.replacing:
            return
        names = {"NEW": "order_created", "REPLACED": "order_changed"}
        if report.what == "TRADE":
            event = "order_changed" if order.is_open else "order_deleted"
        else:
            event = names.get(report.what, "order_deleted")
        if report.what == "NEW" and self.replacing is not None:
            event = "order_replaced"
        messages = [self._order_message(event, order, report.time_ns)]
        if report.execution is not None:
            repeats = 1 if self._interceptor.spoils("bitstamp", FILL) is None else 2
            messages += [self._trade_message(report)] * repeats
        self._publish(messages)

    def _order_message(self, event: str, order: Order, time_ns: int) -> Message:
        stamp_us = time_ns // NS_PER_US
        is_market = not order.price_ticks
        price = InstrumentText(order.instrument).price(order.price_ticks)
        price = MARKET_PRICE[order.side == BID] if is_market else price
        left = lots_text(order.open_lots)
        data: dict[str, object] = {
            "id": str(order.order_id),
            "id_str": str(order.order_id),
            "order_type": int(order.side != BID),
            "order_subtype": 2 if is_market else SUBTYPES[order.time_in_force],
            "datetime": str(stamp_us // 1_000_000),
            "microtimestamp": str(stamp_us),
            "amount": float(left),
            "amount_str": left,
            "amount_traded": lots_text(order.filled_lots),
            "amount_at_create": lots_text(order.qty_lots),
            "price": float(price),
            "price_str": price,
            "is_liquidation": False,
            "trade_account_id": 0,
        }
        if order.client_order_id:
            data["client_order_id"] = order.client_order_id
        if event == "order_replaced" and self.replacing is not None:
            data["orig_order_id"] = str(self.replacing.order_id)
        event_id, previous_id = self._next_ids(order.symbol)
        channel = f"private-my_orders_{order.symbol}-{self._user_id}"
        message = {
            "data": data,
            "channel": channel,
            "event": event,
            "trade_account_id": 0,
            "event_id": event_id,
            "pre_event_id": previous_id,
            "order_source": "orderbook",
        }
        self.history.append(message)
        return Message(channel, orjson.dumps(message).decode())

    def elsewhere(self) -> None:
        """Something happens to an order in a market that nobody here looks at."""
        self._next_ids("")

    def _next_ids(self, symbol: str) -> tuple[str, str]:
        """Of an event, and of the one that it names before it."""
        chain = symbol if self._chains_by_market else ""
        last = self._last_events.get(chain, 0)
        self._events += 1
        self._last_events[chain] = self._events
        return _event_id(self._events), _event_id(last)

    def history_of(self, symbol: str, since_id: str, until_id: str) -> list[dict[str, object]]:
        """What account_order_data answers: the events of a market from one on, and up to one."""
        return [
            {key: value for key, value in each.items() if key != "channel"}
            for each in self.history
            if str(each["channel"]) == f"private-my_orders_{symbol}-{self._user_id}"
            and since_id <= str(each["event_id"])
            and (not until_id or str(each["event_id"]) <= until_id)
        ]

    def _trade_message(self, report: Report) -> Message:
        order, made = report.order, report.execution
        assert made is not None
        data: dict[str, object] = {
            "id": made.trade_id,
            "amount": lots_text(made.qty_lots),
            "price": InstrumentText(order.instrument).price(made.price_ticks),
            "microtimestamp": str(made.time_ns // NS_PER_US),
            "fee": lots_text(made.fee_lots),
            "order_id": str(order.order_id),
            "trade_account_id": 0,
            "side": "buy" if order.side == BID else "sell",
        }
        channel = f"private-my_trades_{order.symbol}-{self._user_id}"
        message = {"data": data, "channel": channel, "event": "trade", "trade_account_id": 0}
        return Message(channel, orjson.dumps(message).decode())


def _event_id(number: int) -> str:
    """Like the recorded ones: 00065b81-0d69-fe98-0000-006902000020."""
    text = f"{number:016x}"
    return f"00065b81-{text[:4]}-{text[4:8]}-{text[8:12]}-{text[12:]:0>12}"
