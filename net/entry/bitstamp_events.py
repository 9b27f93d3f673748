"""Bitstamp, HTTP API v2 and its private channels: what its answers and its events mean.

Source: the exchange's HTTP API v2 description, its WebSocket page, and recorded samples. Numbers
come as text, as JSON numbers or in scientific form: all are kept as text until they are counted.
There is no status in an order's events: one that is deleted with nothing left was filled.
Runs on: the engine thread. Called by: net.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from engine.maker.order_layout import BUY, NO_SIDE, SELL
from net.entry import fields as F
from net.entry.order import (
    NOT_SAID,
    Answer,
    Balance,
    EntryError,
    Kind,
    Market,
    Notice,
    OrderEvent,
    Push,
    Request,
    State,
    failure,
    quoted,
)
from net.entry.refusals import ErrorClass, Refusal, bitstamp_class
from net.said import said

TYPES = {"0": BUY, "1": SELL, 0: BUY, 1: SELL}
SIDES = {"buy": BUY, "sell": SELL}
STATES = {
    "Open": State.OPEN,
    "In Queue": State.OPEN,
    "Finished": State.FILLED,
    "Expired": State.EXPIRED,
    "Canceled": State.CANCELED,
    "Cancel pending": State.CANCEL_PENDING,
}
CANCELS = {"Canceled": State.CANCELED, "Cancel pending": State.CANCEL_PENDING}
NOTICES = {
    "bts:subscription_succeeded": Notice.SUBSCRIBED,
    "bts:request_reconnect": Notice.RECONNECT,
    "bts:error": Notice.ERROR,
    "self_trade": Notice.SELF_TRADE,
}
EVENTS = frozenset({"order_created", "order_changed", "order_deleted", "order_replaced", "trade"})
"""stop_active and stop_inactive are not among them: we place no stop orders."""
ORDERS, TRADES = "private-my_orders_", "private-my_trades_"
TRADE_TYPES = {"2": True, 2: True}
"""Of a transaction: a trade, and no deposit or withdrawal."""
OK = 200
NS_PER_US, NS_PER_S = 1_000, 10**9
WAIT_DIGITS_MAX = 6
"""Retry-After in seconds: longer numbers are no waiting times."""


class BitstampReader:
    """Reads answers and private channels. `markets` are ours."""

    def __init__(self, markets: Iterable[Market]) -> None:
        self._markets = {market.symbol: market for market in markets}
        markets = self._markets.values()
        self._assets = {a.lower(): a for m in markets for a in (m.base, m.quote)}

    def read(self, status: int, body: bytes, retry_after: str = "") -> Answer:
        """An answer by its HTTP status, body and Retry-After header.

        EntryError where a request that succeeded was not answered with JSON.
        """
        if status >= 400:
            try:
                value = F.read_exact(body)
            except EntryError as error:
                value = {"reason": str(error)}  # a page of something that stands before the venue
            return Answer(None, value, _refusal(status, value, retry_after))
        if status != OK:
            raise EntryError(f"bitstamp: HTTP {status}")
        value = F.read_exact(body)
        if _is_error(value):
            return Answer(None, value, _refusal(status, value, retry_after))
        return Answer(None, value, None)

    # --- what was asked -------------------------------------------------------------------------

    def order_events(
        self,
        request: Request,
        answer: Answer,
        market: Market,
        client_order_id: str = "",
        replaced_client_order_id: str = "",
    ) -> tuple[OrderEvent, ...]:
        """What an answer says about orders; the names as in BinanceReader.order_events."""
        if request is Request.AMEND:
            raise EntryError("bitstamp has no amend that keeps the order")
        if answer.refusal is not None:
            if request in (Request.OPEN_ORDERS, Request.TRADES, Request.CANCEL_ALL):
                return ()
            return _failures(request, answer, market, client_order_id, replaced_client_order_id)
        if request is Request.OPEN_ORDERS:
            return tuple(_stated(each, market) for each in F.records(answer.result, "answer"))
        if request is Request.TRADES:
            each_of = F.records(answer.result, "answer")
            return tuple(_traded(each, market) for each in each_of if _is_trade(each))
        result = F.record(answer.result, "answer")
        if request is Request.PLACE:
            return (_placed(result, market, client_order_id),)
        if request is Request.CANCEL:
            return (_canceled(result, market, client_order_id),)
        if request is Request.CANCEL_ALL:
            # Only what was cancelled is listed: there is no status with it.
            each_of = F.records(result.get("canceled"), "canceled")
            done = ({**each, "status": "Canceled"} for each in each_of)
            return tuple(_canceled(each, market, "") for each in done)
        if request is Request.REPLACE:
            return _replaced(result, market, client_order_id, replaced_client_order_id)
        return _looked_up(result, market, client_order_id)

    def balances(self, answer: Answer) -> tuple[Balance, ...]:
        """What account_balances says of our markets' assets; () where it was refused."""
        if answer.refusal is not None:
            return ()
        return tuple(
            Balance(
                self._assets[F.text(each, "currency").lower()],
                F.lots(each, "available"),
                F.lots(each, "reserved"),
            )
            for each in F.records(answer.result, "answer")
            if F.text(each, "currency").lower() in self._assets
        )

    def channel_token(self, answer: Answer) -> tuple[str, int]:
        """The token and the user's id for `subscription`; EntryError where there is none."""
        result = F.record(answer.result, "answer")
        return F.text(result, "token"), F.whole(result, "user_id")

    # --- what the venue says of its own accord ---------------------------------------------------

    def event(self, raw: bytes) -> Push:
        """A text frame of the WebSocket."""
        message = F.record(F.read_exact(raw), "message")
        name = F.text(message, "event")
        channel = F.text(message, "channel", "")
        if name.startswith("bts:") or name not in EVENTS:
            text = _error_text(message) if name == "bts:error" else quoted(channel)
            return Push(notice=NOTICES.get(name, Notice.NONE), text=text)
        reads_orders = channel.startswith(ORDERS)
        if not reads_orders and not channel.startswith(TRADES):
            return Push()
        pair = channel[len(ORDERS if reads_orders else TRADES) :].rpartition("-")[0]
        market = self._markets.get(pair)
        if market is None:
            return Push()
        data = F.record(message.get("data"), "data")
        events = _reported(name, data, market) if reads_orders else (_fill(data, market),)
        return Push(
            events,
            event_id=F.text(message, "event_id", ""),
            previous_event_id=F.text(message, "pre_event_id", ""),
        )


def _is_error(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    is_coded = "code" in value and "message" in value
    return value.get("status") == "error" or "error" in value or is_coded


def _refusal(status: int, value: Any, retry_after: str) -> Refusal:
    """One of the venue's several shapes of error."""
    fields = value if isinstance(value, dict) else {}
    code = fields.get("response_code") or fields.get("code") or ""
    code = code if isinstance(code, str) and len(code) <= F.TEXT_CHARACTERS_MAX else ""
    names = ("reason", "error", "message", "response_explanation")
    reason = next((fields[name] for name in names if fields.get(name)), "")
    text = said(reason).encode("utf-8", "replace").decode()  # half a surrogate pair is no text
    kind = bitstamp_class(status, code, text)
    wait_ns = NOT_SAID
    is_number = retry_after.isascii() and retry_after.isdigit()
    if kind is ErrorClass.RATE_LIMITED and is_number and len(retry_after) <= WAIT_DIGITS_MAX:
        wait_ns = int(retry_after) * NS_PER_S
    return Refusal(kind, code, text, wait_ns)


def _failures(
    request: Request, answer: Answer, market: Market, name: str, replaced: str
) -> tuple[OrderEvent, ...]:
    assert answer.refusal is not None
    # An order that was not confirmed in time may be there; the answer has its number then.
    fields = answer.result if isinstance(answer.result, dict) else {}
    order_id = F.whole(fields, "order_id") if fields.get("order_id") else NOT_SAID
    if request is not Request.REPLACE:
        return (failure(request, market.symbol, name, answer.refusal, order_id),)
    # It is done as a whole or not at all.
    return (
        failure(Request.CANCEL, market.symbol, replaced, answer.refusal),
        failure(Request.PLACE, market.symbol, name, answer.refusal, order_id),
    )


def _check_market(order: F.Record, market: Market) -> None:
    given = F.text(order, "market", "")
    if given and given.replace("/", "").lower() != market.symbol:
        raise EntryError(f"bitstamp: an answer about {quoted(given)!r}, not {market.symbol}")


def _placed(order: F.Record, market: Market, name: str) -> OrderEvent:
    _check_market(order, market)
    return OrderEvent(
        Kind.ACCEPTED,
        State.UNKNOWN,  # it may have traded already, or been refused for that
        market.symbol,
        F.text(order, "client_order_id", "") or name,
        F.whole(order, "id"),
        F.one_of(order, "type", TYPES),
        F.ticks(order, "price", market),
        F.lots(order, "amount"),
        time_ns=F.datetime_ns(order, "datetime"),
    )


def _canceled(order: F.Record, market: Market, name: str) -> OrderEvent:
    _check_market(order, market)
    state = F.one_of(order, "status", CANCELS)
    return OrderEvent(
        Kind.CANCELED if state is State.CANCELED else Kind.STATE,
        state,
        market.symbol,
        F.text(order, "client_order_id", "") or name,
        F.whole(order, "id"),
        F.one_of(order, "type", TYPES),
        F.ticks(order, "price", market),
    )


def _replaced(result: F.Record, market: Market, name: str, replaced: str) -> tuple[OrderEvent, ...]:
    """One order is gone, another is there; how much of the first was filled is not said."""
    _check_market(result, market)
    state = F.one_of(result, "status", STATES)
    gone, new = F.whole(result, "orig_order_id"), F.whole(result, "order_id")
    return (
        OrderEvent(Kind.CANCELED, State.CANCELED, market.symbol, replaced, gone),
        OrderEvent(Kind.ACCEPTED, state, market.symbol, name, new),
    )


def _stated(order: F.Record, market: Market) -> OrderEvent:
    """An entry of open_orders."""
    _check_market(order, market)
    left = F.lots(order, "amount")
    whole = F.lots(order, "amount_at_create") if "amount_at_create" in order else NOT_SAID
    if NOT_SAID < whole < left:
        raise EntryError(f"bitstamp: more left than there was in {quoted(order)!r}")
    return OrderEvent(
        Kind.STATE,
        State.OPEN,
        market.symbol,
        F.text(order, "client_order_id", ""),
        F.whole(order, "id"),
        F.one_of(order, "type", TYPES),
        F.ticks(order, "price", market),
        whole,
        NOT_SAID if whole == NOT_SAID else whole - left,
    )


def _looked_up(order: F.Record, market: Market, name: str) -> tuple[OrderEvent, ...]:
    """order_status: where the order stands, then each of its trades."""
    _check_market(order, market)
    state = OrderEvent(
        Kind.STATE,
        F.one_of(order, "status", STATES),
        market.symbol,
        F.text(order, "client_order_id", "") or name,
        F.whole(order, "id"),
        F.one_of(order, "type", TYPES) if "type" in order else NO_SIDE,
    )
    if "transactions" not in order:
        return (state,)
    trades = F.records(order["transactions"], "transactions")
    if trades:
        F.one_of(order, "type", TYPES)  # a position cannot be counted without its side
    fills = tuple(
        state._replace(
            kind=Kind.FILL,
            state=State.UNKNOWN,
            last_lots=F.lots(each, market.base.lower()),
            last_price_ticks=F.ticks(each, "price", market),
            execution_id=F.whole(each, "tid"),
            fee_lots=F.fee_lots(each, "fee"),
            fee_asset=market.quote,
            time_ns=F.datetime_ns(each, "datetime"),
        )
        for each in trades
    )
    return (state._replace(filled_lots=sum(each.last_lots for each in fills)), *fills)


def _is_trade(transaction: F.Record) -> bool:
    kind = transaction.get("type")
    return isinstance(kind, str | int) and TRADE_TYPES.get(kind, False)


def _traded(trade: F.Record, market: Market) -> OrderEvent:
    """A trade of user_transactions: the base amount is a change of the balance."""
    base, quote = market.base.lower(), market.quote.lower()
    change = F.signed_lots(trade, base)
    if change == 0:
        raise EntryError(f"bitstamp: a trade of nothing: {quoted(trade)!r}")
    return OrderEvent(
        Kind.FILL,
        State.UNKNOWN,
        market.symbol,
        venue_order_id=F.whole(trade, "order_id"),
        side=BUY if change > 0 else SELL,
        last_lots=abs(change),
        last_price_ticks=F.ticks(trade, f"{base}_{quote}", market),
        execution_id=F.whole(trade, "id"),
        fee_lots=F.fee_lots(trade, "fee"),
        fee_asset=market.quote,
        time_ns=F.datetime_ns(trade, "datetime"),
    )


def _reported(name: str, data: F.Record, market: Market) -> tuple[OrderEvent, ...]:
    """An event of my_orders."""
    left = F.lots(data, "amount_str" if "amount_str" in data else "amount")
    whole = F.lots(data, "amount_at_create")
    if left > whole:
        raise EntryError(f"bitstamp: more left than there was in {quoted(data)!r}")
    if name == "order_deleted":
        kind, state = (Kind.STATE, State.FILLED) if left == 0 else (Kind.CANCELED, State.CANCELED)
    elif name == "order_changed":
        kind, state = Kind.STATE, State.OPEN
    elif name in ("order_created", "order_replaced"):
        kind, state = Kind.ACCEPTED, State.OPEN
    else:
        raise EntryError(f"bitstamp: {quoted(name)!r} is no event of an order")
    event = OrderEvent(
        kind,
        state,
        market.symbol,
        F.text(data, "client_order_id", ""),
        F.whole(data, "id_str" if "id_str" in data else "id"),
        F.one_of(data, "order_type", TYPES),
        F.ticks(data, "price_str" if "price_str" in data else "price", market),
        whole,
        whole - left,
        time_ns=F.time_ns(data, "microtimestamp", NS_PER_US),
    )
    if name != "order_replaced":
        return (event,)
    gone = OrderEvent(
        Kind.CANCELED,
        State.CANCELED,
        market.symbol,
        venue_order_id=F.whole(data, "orig_order_id"),
        time_ns=event.time_ns,
    )
    return (gone, event)


def _fill(data: F.Record, market: Market) -> OrderEvent:
    """An event of my_trades."""
    return OrderEvent(
        Kind.FILL,
        State.UNKNOWN,
        market.symbol,
        F.text(data, "client_order_id", ""),
        F.whole(data, "order_id"),
        F.one_of(data, "side", SIDES),
        last_lots=F.lots(data, "amount"),
        last_price_ticks=F.ticks(data, "price", market),
        execution_id=F.whole(data, "id"),
        fee_lots=F.fee_lots(data, "fee"),
        fee_asset=market.quote,
        time_ns=F.time_ns(data, "microtimestamp", NS_PER_US),
    )


def _error_text(message: F.Record) -> str:
    data = message.get("data")
    return quoted(data.get("message") if isinstance(data, dict) else data)
