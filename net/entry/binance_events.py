"""Binance spot, WebSocket API v3: what its answers and its account events mean.

Source: the exchange's web-socket-api.md, user-data-stream.md and enums.md. An order is named as it
was when it was placed: on a cancel the venue sends the cancel's own name as `c`, the order's as
`C`. A fill is known by its trade's number in its market, which reports, answers and lists of trades
share, so that one that comes three times is counted once.
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
from net.entry.refusals import ErrorClass, Refusal, binance_class
from net.said import said

SIDES = {"BUY": BUY, "SELL": SELL}
MAKER_SIDES = {True: BUY, False: SELL}
STATES = {
    "NEW": State.OPEN,
    "PENDING_NEW": State.OPEN,
    "PARTIALLY_FILLED": State.OPEN,
    "PENDING_CANCEL": State.CANCEL_PENDING,
    "FILLED": State.FILLED,
    "CANCELED": State.CANCELED,
    "REJECTED": State.REJECTED,
    "EXPIRED": State.EXPIRED,
    "EXPIRED_IN_MATCH": State.EXPIRED,
}
KINDS = {
    "NEW": Kind.ACCEPTED,
    "CANCELED": Kind.CANCELED,
    "REPLACED": Kind.REPLACED,
    "REJECTED": Kind.REJECTED,
    "TRADE": Kind.FILL,
    "EXPIRED": Kind.EXPIRED,
    "TRADE_PREVENTION": Kind.PREVENTED,
}
NOTICES = {"serverShutdown": Notice.RECONNECT, "eventStreamTerminated": Notice.STREAM_ENDED}
OUTCOMES = {name: name for name in ("SUCCESS", "FAILURE", "NOT_ATTEMPTED")}
OK = 200
NS_PER_MS, NS_PER_US = 1_000_000, 1_000
WAIT_NS_MAX = 3 * 24 * 3600 * 10**9
"""Binance bans for up to three days."""


class BinanceReader:
    """Reads one connection. `markets` are ours; `is_microseconds` as its address asked for."""

    def __init__(self, markets: Iterable[Market], *, is_microseconds: bool = False) -> None:
        self._markets = {market.symbol: market for market in markets}
        self._assets = {a for m in self._markets.values() for a in (m.base, m.quote)}
        self._unit_ns = NS_PER_US if is_microseconds else NS_PER_MS

    def read(self, raw: bytes) -> Answer | Push:
        """A text frame; EntryError where it is neither an answer nor an event."""
        message = F.record(F.read_strict(raw), "message")
        if "status" in message:
            return self._answer(message)
        if "event" in message:
            return self._push(F.record(message["event"], "event"))
        raise EntryError(f"binance: neither answer nor event: {quoted(message)!r}")

    def request_id(self, raw: bytes) -> int | None:
        """The number of the request that a text without sense answers, None if there is none."""
        try:
            message = F.record(F.read_strict(raw), "message")
            return None if "event" in message else F.whole(message, "id")
        except EntryError:
            return None

    def _answer(self, message: F.Record) -> Answer:
        request_id, status = message.get("id"), F.whole(message, "status")
        if not isinstance(request_id, str | int | None) or isinstance(request_id, bool):
            raise EntryError(f"binance: an answer's id is {quoted(request_id)!r}")
        if status == OK:
            if "result" not in message:
                raise EntryError(f"binance: no result in {quoted(message)!r}")
            return Answer(request_id, message["result"], None)
        if status < 400:
            raise EntryError(f"binance: status {status} in {quoted(message)!r}")
        error = F.record(message.get("error") or {}, "error")
        return Answer(request_id, error.get("data"), self._refusal(status, error))

    def _refusal(self, status: int, error: F.Record) -> Refusal:
        code, text, data = error.get("code"), said(error.get("msg", "")), error.get("data")
        number = code if isinstance(code, int) and not isinstance(code, bool) else 0
        kind = binance_class(status, number, text)
        wait_ns = NOT_SAID
        if kind is ErrorClass.RATE_LIMITED and isinstance(data, dict) and "retryAfter" in data:
            until = F.time_ns(data, "retryAfter", self._unit_ns)
            wait_ns = until - F.time_ns(data, "serverTime", self._unit_ns)
            wait_ns = min(max(wait_ns, 0), WAIT_NS_MAX)
        return Refusal(kind, str(number) if number else "", text, wait_ns)

    # --- what was asked -------------------------------------------------------------------------

    def order_events(
        self,
        request: Request,
        answer: Answer,
        market: Market,
        client_order_id: str = "",
        replaced_client_order_id: str = "",
    ) -> tuple[OrderEvent, ...]:
        """What an answer says about orders.

        `client_order_id`: of the order that the request was about, or that it was to place;
        `replaced_client_order_id`: of the one that it was to cancel first. A refused request for a
        list says nothing of any order.
        """
        if request is Request.REPLACE:
            return self._replaced(answer, market, client_order_id, replaced_client_order_id)
        if answer.refusal is not None:
            if request in (Request.OPEN_ORDERS, Request.TRADES, Request.CANCEL_ALL):
                return ()
            return (failure(request, market.symbol, client_order_id, answer.refusal),)
        if request is Request.PLACE:
            return self._placed(F.record(answer.result, "result"), market)
        if request is Request.CANCEL:
            return (self._canceled(F.record(answer.result, "result"), market),)
        if request is Request.AMEND:
            return (self._amended(F.record(answer.result, "result"), market),)
        if request is Request.STATUS:
            return (self._stated(F.record(answer.result, "result"), market),)
        each_of = F.records(answer.result, "result")
        if request is Request.CANCEL_ALL:
            return tuple(self._canceled(each, market) for each in each_of if "orderId" in each)
        if request is Request.OPEN_ORDERS:
            return tuple(self._stated(each, market) for each in each_of)
        return tuple(self._traded(each, market) for each in each_of)

    def balances(self, answer: Answer) -> tuple[Balance, ...]:
        """What account.status says of our markets' assets; () where it was refused."""
        if answer.refusal is not None:
            return ()
        result = F.record(answer.result, "result")
        return self._balances(result.get("balances"), "asset", "free", "locked")

    def server_time_ns(self, answer: Answer) -> int:
        """What `time` answers; EntryError where it was refused."""
        return F.time_ns(F.record(answer.result, "result"), "serverTime", self._unit_ns)

    def _base(self, order: F.Record, market: Market, kind: Kind, time_key: str) -> OrderEvent:
        """What every form of an order has in common."""
        _check_symbol(order, market)
        named = F.text(order, "origClientOrderId", "") or F.text(order, "clientOrderId", "")
        return OrderEvent(
            kind,
            F.one_of(order, "status", STATES) if "status" in order else State.UNKNOWN,
            market.symbol,
            named,
            F.whole(order, "orderId"),
            F.one_of(order, "side", SIDES) if "side" in order else NO_SIDE,
            F.ticks(order, "price", market) if "price" in order else NOT_SAID,
            F.lots(order, "origQty") if "origQty" in order else NOT_SAID,
            F.lots(order, "executedQty") if "executedQty" in order else NOT_SAID,
            time_ns=F.time_ns(order, time_key, self._unit_ns),
        )

    def _placed(self, order: F.Record, market: Market) -> tuple[OrderEvent, ...]:
        base = self._base(order, market, Kind.ACCEPTED, "transactTime")
        fills = F.records(order.get("fills", []), "fills")
        if fills:
            F.one_of(order, "side", SIDES)  # a position cannot be counted without
        return (base, *(self._filled(each, base, market) for each in fills))

    def _filled(self, fill: F.Record, base: OrderEvent, market: Market) -> OrderEvent:
        return base._replace(
            kind=Kind.FILL,
            filled_lots=NOT_SAID,
            last_lots=F.lots(fill, "qty"),
            last_price_ticks=F.ticks(fill, "price", market),
            execution_id=F.whole(fill, "tradeId"),
            fee_lots=F.fee_lots(fill, "commission"),
            fee_asset=F.text(fill, "commissionAsset", ""),
            is_maker=False,
        )

    def _canceled(self, order: F.Record, market: Market) -> OrderEvent:
        event = self._base(order, market, Kind.CANCELED, "transactTime")
        return event if "status" in order else event._replace(state=State.CANCELED)

    def _stated(self, order: F.Record, market: Market) -> OrderEvent:
        return self._base(order, market, Kind.STATE, "updateTime")

    def _amended(self, result: F.Record, market: Market) -> OrderEvent:
        order = F.record(result.get("amendedOrder"), "amendedOrder")
        timed = {**order, "transactTime": result.get("transactTime")}
        event = self._base(timed, market, Kind.REPLACED, "transactTime")
        return event._replace(quantity_lots=F.lots(order, "qty"))

    def _traded(self, trade: F.Record, market: Market) -> OrderEvent:
        _check_symbol(trade, market)
        return OrderEvent(
            Kind.FILL,
            State.UNKNOWN,
            market.symbol,
            venue_order_id=F.whole(trade, "orderId"),
            side=MAKER_SIDES[F.flag(trade, "isBuyer")],
            last_lots=F.lots(trade, "qty"),
            last_price_ticks=F.ticks(trade, "price", market),
            execution_id=F.whole(trade, "id"),
            fee_lots=F.fee_lots(trade, "commission"),
            fee_asset=F.text(trade, "commissionAsset", ""),
            is_maker=F.flag(trade, "isMaker"),
            time_ns=F.time_ns(trade, "time", self._unit_ns),
        )

    def _replaced(
        self, answer: Answer, market: Market, client_order_id: str, replaced: str
    ) -> tuple[OrderEvent, ...]:
        """cancelReplace: two halves, each with its own outcome, whatever the whole is called."""
        refusal = answer.refusal
        if refusal is not None and not _has_halves(answer.result):
            both = ((Request.CANCEL, replaced), (Request.PLACE, client_order_id))
            return tuple(failure(each, market.symbol, name, refusal) for each, name in both)
        halves = F.record(answer.result, "result")
        first: tuple[OrderEvent, ...]
        second: tuple[OrderEvent, ...]
        if F.one_of(halves, "cancelResult", OUTCOMES) == "SUCCESS":
            first = (self._canceled(_half(halves, "cancelResponse"), market),)
        else:
            first = (self._failed_half(Request.CANCEL, answer, market, replaced),)
        if F.one_of(halves, "newOrderResult", OUTCOMES) == "SUCCESS":
            second = self._placed(_half(halves, "newOrderResponse"), market)
        else:
            second = (self._failed_half(Request.PLACE, answer, market, client_order_id),)
        return first + second

    def _failed_half(
        self, request: Request, answer: Answer, market: Market, name: str
    ) -> OrderEvent:
        prefix = "cancel" if request is Request.CANCEL else "newOrder"
        halves, refusal = answer.result, answer.refusal
        if F.one_of(halves, f"{prefix}Result", OUTCOMES) == "FAILURE":
            refusal = self._refusal(400, _half(halves, f"{prefix}Response"))
        elif refusal is None or refusal.error is not ErrorClass.RATE_LIMITED:
            refusal = Refusal(ErrorClass.REJECTED, "", "not attempted")
        return failure(request, market.symbol, name, refusal)

    # --- what the venue says of its own accord ---------------------------------------------------

    def _push(self, event: F.Record) -> Push:
        name = event.get("e")
        if name == "executionReport":
            market = self._markets.get(F.text(event, "s"))
            return Push() if market is None else Push((self._report(event, market),))
        if name == "outboundAccountPosition":
            return Push(balances=self._balances(event.get("B"), "a", "f", "l"))
        if not isinstance(name, str):
            raise EntryError(f"binance: an event of no kind: {quoted(event)!r}")
        return Push(notice=NOTICES.get(name, Notice.NONE), text=quoted(name))

    def _report(self, report: F.Record, market: Market) -> OrderEvent:
        kind = F.one_of(report, "x", KINDS)
        reason = F.text(report, "r", "NONE")
        expiry = F.text(report, "eR", "")
        event = OrderEvent(
            kind,
            F.one_of(report, "X", STATES),
            market.symbol,
            F.text(report, "C", "") or F.text(report, "c"),
            NOT_SAID if report.get("i") == NOT_SAID else F.whole(report, "i"),
            F.one_of(report, "S", SIDES),
            F.ticks(report, "p", market),
            F.lots(report, "q"),
            F.lots(report, "z"),
            time_ns=F.time_ns(report, "T", self._unit_ns),
            reason="" if reason == "NONE" else reason,
        )
        if kind is Kind.REJECTED:
            return event._replace(error=binance_class(400, -2010, reason))
        if kind is Kind.EXPIRED:
            return event._replace(reason=expiry or event.reason)
        if kind is not Kind.FILL:
            return event
        return event._replace(
            last_lots=F.lots(report, "l"),
            last_price_ticks=F.ticks(report, "L", market),
            execution_id=F.whole(report, "t"),
            fee_lots=F.fee_lots(report, "n"),
            fee_asset=F.text(report, "N", ""),
            is_maker=F.flag(report, "m"),
        )

    def _balances(self, given: Any, asset: str, free: str, locked: str) -> tuple[Balance, ...]:
        # Others' amounts need not fit our numbers: some tokens are counted in trillions.
        return tuple(
            Balance(F.text(each, asset), F.lots(each, free), F.lots(each, locked))
            for each in F.records(given, "balances")
            if F.text(each, asset) in self._assets
        )


def _check_symbol(order: F.Record, market: Market) -> None:
    if order.get("symbol") != market.symbol:
        symbol = quoted(order.get("symbol"))
        raise EntryError(f"binance: an answer about {symbol!r} where {market.symbol} was asked")


def _has_halves(data: Any) -> bool:
    return isinstance(data, dict) and "cancelResult" in data and "newOrderResult" in data


def _half(halves: F.Record, name: str) -> F.Record:
    return F.record(halves.get(name), name)
