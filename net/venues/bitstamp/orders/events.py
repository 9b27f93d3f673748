"""Bitstamp, HTTP API v2 and its private channels: what its answers and its events mean.

Source: the exchange's HTTP API v2 description, its WebSocket page, and recorded samples. Numbers
come as text, as JSON numbers or in scientific form: all are kept as text until they are counted.
There is no status in an order's events: one that is deleted with nothing left was filled.
Runs on: the engine thread.
"""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus

from engine.layout.units import NS_PER_US
from engine.maker.order_layout import BUY, NO_SIDE, SELL
from net.orders.event_reader import EventReader, Events, check_symbol, execution
from net.orders.json_fields import (
    Record,
    datetime_ns,
    lots,
    one_of,
    optional,
    optional_text,
    rate_ppm,
    read_exact,
    record,
    records,
    signed_lots,
    text,
    ticks,
    time_ns,
    whole,
)
from net.orders.messages import (
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
    quoted,
)
from net.venues.bitstamp.orders.refusals import bitstamp_refusal, is_error

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
ORDERS, TRADES = "private-my_orders_", "private-my_trades_"
REPORTS = {
    "order_created": (Kind.ACCEPTED, State.OPEN),
    "order_replaced": (Kind.ACCEPTED, State.OPEN),
    "order_changed": (Kind.STATE, State.OPEN),
    "order_deleted": (Kind.CANCELED, State.CANCELED),
}
EVENTS = frozenset({*REPORTS, "trade"})
"""stop_active and stop_inactive are not among them: we place no stop orders."""
PER_CENT = 100
TRADE_TYPES = ("2", 2)
"""Of a transaction: a trade, and no deposit or withdrawal."""


class BitstampReader(EventReader):
    """Reads answers and private channels. `markets` are ours."""

    def __init__(self, markets: Iterable[Market]) -> None:
        super().__init__(markets)
        self.lists = {Request.OPEN_ORDERS: _stated, Request.TRADES: _traded}
        self.singles = {
            Request.PLACE: _placed,
            Request.CANCEL: _canceled,
            Request.STATUS: _looked_up,
        }

    def read(self, status: int, body: bytes, retry_after: str = "") -> Answer:
        """An answer by its HTTP status, body and Retry-After header.

        EntryError where a request that succeeded was not answered with JSON.
        """
        if status >= 400:
            try:
                value = read_exact(body)
            except EntryError as error:
                value = {"reason": str(error)}  # a page of something that stands before the venue
            return Answer(None, value, bitstamp_refusal(status, value, retry_after))
        if status != HTTPStatus.OK:
            raise EntryError(f"bitstamp: HTTP {status}")
        value = read_exact(body)
        refusal = bitstamp_refusal(status, value, retry_after) if is_error(value) else None
        return Answer(None, value, refusal)

    # --- what was asked -------------------------------------------------------------------------

    def balances(self, answer: Answer) -> tuple[Balance, ...]:
        """What account_balances says of our markets' assets; () where it was refused."""
        if answer.refusal is not None:
            return ()
        return self._balances(answer.result, "currency", "available", "reserved")

    def maker_fee_ppm(self, answer: Answer, market: Market) -> int | None:
        """What fees/trading says of a maker's fill in a market, in millionths; it tells per cent.
        None where it was refused or names the market not at all."""
        if answer.refusal is not None:
            return None
        for row in records(answer.result, "answer"):
            name = optional_text(row, "market", "currency_pair") or ""
            if name.replace("/", "").lower() == market.symbol:
                return rate_ppm(record(row.get("fees"), "fees"), "maker", PER_CENT)
        return None

    def order_history(self, answer: Answer, market: Market) -> tuple[Push, ...]:
        """What account_order_data says, in its order: each an event as my_orders tells it."""
        return tuple(
            Push(
                _reported(name, record(row.get("data"), "data"), market),
                event_id=optional_text(row, "event_id"),
                previous_event_id=optional_text(row, "pre_event_id"),
            )
            for row in records(answer.result, "answer")
            if (name := text(row, "event")) in REPORTS
        )

    def channel_token(self, answer: Answer) -> tuple[str, int]:
        """The token and the user's id for `subscription`; EntryError where there is none."""
        result = record(answer.result, "answer")
        return text(result, "token"), whole(result, "user_id")

    def _refused_number(self, answer: Answer) -> int:
        # An order that was not confirmed in time may be there; the answer has its number then.
        fields = answer.result if isinstance(answer.result, dict) else {}
        return whole(fields, "order_id") if fields.get("order_id") else NOT_SAID

    # --- what the venue says of its own accord ---------------------------------------------------

    def event(self, raw: bytes) -> Push:
        """A text frame of the WebSocket."""
        message = record(read_exact(raw), "message")
        name = text(message, "event")
        channel = text(message, "channel", "")
        if name.startswith("bts:") or name not in EVENTS:
            told = _error_text(message) if name == "bts:error" else quoted(channel)
            return Push(notice=NOTICES.get(name, Notice.NONE), text=told)
        reads_orders = channel.startswith(ORDERS)
        if not reads_orders and not channel.startswith(TRADES):
            return Push()
        pair = channel[len(ORDERS if reads_orders else TRADES) :].rpartition("-")[0]
        market = self._markets.get(pair)
        if market is None:
            return Push()
        data = record(message.get("data"), "data")
        events = _reported(name, data, market) if reads_orders else (_fill(data, market),)
        return Push(
            events,
            event_id=optional_text(message, "event_id"),
            previous_event_id=optional_text(message, "pre_event_id"),
        )


def _check_market(order: Record, market: Market) -> None:
    given = text(order, "market", "")
    if given:
        check_symbol(given.replace("/", "").lower(), market.symbol, "bitstamp")


def _order(
    order: Record, market: Market, kind: Kind, state: State, side: int, name: str | None = None
) -> OrderEvent:
    """What every form of an order has in common."""
    return OrderEvent(
        kind,
        state,
        market.symbol,
        optional_text(order, "client_order_id") or name,
        whole(order, "id_str" if "id_str" in order else "id"),
        side,
    )


def _placed(order: Record, market: Market, name: str | None) -> Events:
    _check_market(order, market)
    # It may have traded already, or been refused for that.
    side = one_of(order, "type", TYPES)
    event = _order(order, market, Kind.ACCEPTED, State.UNKNOWN, side, name)
    return (
        event._replace(
            price_ticks=ticks(order, "price", market),
            quantity_lots=lots(order, "amount"),
            time_ns=datetime_ns(order, "datetime"),
        ),
    )


def _canceled(order: Record, market: Market, name: str | None) -> Events:
    _check_market(order, market)
    state, side = one_of(order, "status", CANCELS), one_of(order, "type", TYPES)
    kind = Kind.CANCELED if state is State.CANCELED else Kind.STATE
    event = _order(order, market, kind, state, side, name)
    return (event._replace(price_ticks=ticks(order, "price", market)),)


def _check_left(left: int, whole_lots: int, order: Record) -> None:
    if NOT_SAID < whole_lots < left:
        raise EntryError(f"bitstamp: more left than there was in {quoted(order)!r}")


def _stated(order: Record, market: Market, name: str | None) -> Events:
    """An entry of open_orders."""
    _check_market(order, market)
    left, created = lots(order, "amount"), optional(lots, order, "amount_at_create")
    _check_left(left, created, order)
    event = _order(order, market, Kind.STATE, State.OPEN, one_of(order, "type", TYPES))
    return (
        event._replace(
            price_ticks=ticks(order, "price", market),
            quantity_lots=created,
            filled_lots=NOT_SAID if created == NOT_SAID else created - left,
        ),
    )


def _looked_up(order: Record, market: Market, name: str | None) -> Events:
    """order_status: where the order stands, then each of its trades."""
    _check_market(order, market)
    trades = records(order.get("transactions", []), "transactions")
    # A position cannot be counted without its side.
    side = one_of(order, "type", TYPES) if trades or "type" in order else NO_SIDE
    state = _order(order, market, Kind.STATE, one_of(order, "status", STATES), side, name)
    if "transactions" not in order:
        return (state,)
    fills = tuple(
        state._replace(
            kind=Kind.FILL,
            state=State.UNKNOWN,
            fee_asset=market.quote,
            time_ns=datetime_ns(each, "datetime"),
            last_lots=lots(each, market.base.lower()),
            **execution(each, market, "price", "tid", "fee"),
        )
        for each in trades
    )
    return (state._replace(filled_lots=sum(each.last_lots for each in fills)), *fills)


def _traded(trade: Record, market: Market, name: str | None) -> Events:
    """An element of user_transactions: the base amount of a trade is a change of the balance."""
    if trade.get("type") not in TRADE_TYPES:
        return ()
    base, quote = market.base.lower(), market.quote.lower()
    change = signed_lots(trade, base)
    if change == 0:
        raise EntryError(f"bitstamp: a trade of nothing: {quoted(trade)!r}")
    event = OrderEvent(
        Kind.FILL,
        State.UNKNOWN,
        market.symbol,
        venue_order_id=whole(trade, "order_id"),
        side=BUY if change > 0 else SELL,
        fee_asset=market.quote,
        time_ns=datetime_ns(trade, "datetime"),
        last_lots=abs(change),
        **execution(trade, market, f"{base}_{quote}", "id", "fee"),
    )
    return (event,)


def _reported(name: str, data: Record, market: Market) -> Events:
    """An event of my_orders."""
    left = lots(data, "amount_str" if "amount_str" in data else "amount")
    created = lots(data, "amount_at_create")
    _check_left(left, created, data)
    if name == "order_deleted" and left == 0:
        kind, state = Kind.STATE, State.FILLED
    elif name in REPORTS:
        kind, state = REPORTS[name]
    else:
        raise EntryError(f"bitstamp: {quoted(name)!r} is no event of an order")
    event = _order(data, market, kind, state, one_of(data, "order_type", TYPES))._replace(
        price_ticks=ticks(data, "price_str" if "price_str" in data else "price", market),
        quantity_lots=created,
        filled_lots=created - left,
        time_ns=time_ns(data, "microtimestamp", NS_PER_US),
    )
    if name != "order_replaced":
        return (event,)
    gone = OrderEvent(
        Kind.CANCELED,
        State.CANCELED,
        market.symbol,
        venue_order_id=whole(data, "orig_order_id"),
        time_ns=event.time_ns,
    )
    return (gone, event)


def _fill(data: Record, market: Market) -> OrderEvent:
    """An event of my_trades."""
    return OrderEvent(
        Kind.FILL,
        State.UNKNOWN,
        market.symbol,
        optional_text(data, "client_order_id"),
        whole(data, "order_id"),
        one_of(data, "side", SIDES),
        fee_asset=market.quote,
        time_ns=time_ns(data, "microtimestamp", NS_PER_US),
        last_lots=lots(data, "amount"),
        **execution(data, market, "price", "id", "fee"),
    )


def _error_text(message: Record) -> str:
    data = message.get("data")
    return quoted(data.get("message") if isinstance(data, dict) else data)
