"""Binance spot, WebSocket API v3: what its answers and its account events mean.

Source: the exchange's web-socket-api.md, user-data-stream.md and enums.md. An order is named as it
was when it was placed: on a cancel the venue sends the cancel's own name as `c`, the order's as
`C`. A fill is known by its trade's number in its market, which reports, answers and lists of trades
share, so that one that comes three times is counted once.
Runs on: the engine thread.
"""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from engine.layout.units import NS_PER_MS
from engine.maker.order_layout import BUY, NO_SIDE, SELL
from net.log.one_line import one_line
from net.orders.errors import ErrorClass, Refusal
from net.orders.event_reader import EventReader, Events, check_symbol, execution
from net.orders.json_fields import (
    Record,
    flag,
    lots,
    one_of,
    optional,
    optional_text,
    rate_ppm,
    read_strict,
    record,
    records,
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
    failure,
    quoted,
)
from net.venues.binance.orders.refusals import binance_class

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
COMMISSIONS = ("standard", "special", "tax")
WAIT_NS_MAX = 3 * 24 * 3600 * 10**9
"""Binance bans for up to three days."""


class BinanceReader(EventReader):
    """Reads one connection. `markets` are ours."""

    def __init__(self, markets: Iterable[Market]) -> None:
        super().__init__(markets)
        self.lists = {Request.OPEN_ORDERS: self._stated, Request.TRADES: self._traded}
        self.singles = {
            Request.PLACE: self._placed,
            Request.CANCEL: self._canceled,
            Request.STATUS: self._stated,
        }

    def read(self, raw: bytes) -> Answer | Push:
        """A text frame; EntryError where it is neither an answer nor an event."""
        message = record(read_strict(raw), "message")
        if "status" in message:
            return self._answer(message)
        if "event" in message:
            return self._push(record(message["event"], "event"))
        raise EntryError(f"binance: neither answer nor event: {quoted(message)!r}")

    def request_id(self, raw: bytes) -> int | None:
        """The number of the request that a text without sense answers, None if there is none."""
        try:
            message = record(read_strict(raw), "message")
            return None if "event" in message else whole(message, "id")
        except EntryError:
            return None

    def _answer(self, message: Record) -> Answer:
        request_id, status = message.get("id"), whole(message, "status")
        if not isinstance(request_id, str | int | None) or isinstance(request_id, bool):
            raise EntryError(f"binance: an answer's id is {quoted(request_id)!r}")
        if status == HTTPStatus.OK:
            if "result" not in message:
                raise EntryError(f"binance: no result in {quoted(message)!r}")
            return Answer(request_id, message["result"], None)
        if status < 400:
            raise EntryError(f"binance: status {status} in {quoted(message)!r}")
        error = record(message.get("error") or {}, "error")
        return Answer(request_id, error.get("data"), self._refusal(status, error))

    def _refusal(self, status: int, error: Record) -> Refusal:
        code, reason, data = error.get("code"), one_line(error.get("msg", "")), error.get("data")
        number = code if isinstance(code, int) and not isinstance(code, bool) else 0
        kind = binance_class(status, number, reason)
        wait_ns = NOT_SAID
        if kind is ErrorClass.RATE_LIMITED and isinstance(data, dict) and "retryAfter" in data:
            until = time_ns(data, "retryAfter", NS_PER_MS)
            wait_ns = until - time_ns(data, "serverTime", NS_PER_MS)
            wait_ns = min(max(wait_ns, 0), WAIT_NS_MAX)
        return Refusal(kind, reason, wait_ns)

    # --- what was asked -------------------------------------------------------------------------

    def balances(self, answer: Answer) -> tuple[Balance, ...]:
        """What account.status says of our markets' assets; () where it was refused."""
        if answer.refusal is not None:
            return ()
        given = record(answer.result, "result").get("balances")
        return self._balances(given, "asset", "free", "locked")

    def maker_fee_ppm(self, answer: Answer, market: Market) -> int:
        """What account.commission says of a maker's fill, in millionths, the dearer side's.

        Source: the exchange's commission FAQ: standard, special and tax commissions add up, each
        of a maker's and a buyer's or seller's part. The discount for paying in another asset is
        left out: it holds only as long as there is some of that asset.
        """
        told = record(answer.result, "result")
        check_symbol(told.get("symbol"), market.symbol, "binance")
        kinds = [record(told.get(f"{kind}Commission") or {}, kind) for kind in COMMISSIONS]
        sums = [
            sum(rate_ppm(kind, name) for kind in kinds if name in kind)
            for name in ("maker", "buyer", "seller")
        ]
        return sums[0] + max(sums[1:])

    def server_time_ns(self, answer: Answer) -> int:
        """What `time` answers; EntryError where it was refused."""
        return time_ns(record(answer.result, "result"), "serverTime", NS_PER_MS)

    def _base(self, order: Record, market: Market, kind: Kind, time_key: str) -> OrderEvent:
        """What every form of an order has in common."""
        check_symbol(order.get("symbol"), market.symbol, "binance")
        return OrderEvent(
            kind,
            one_of(order, "status", STATES) if "status" in order else State.UNKNOWN,
            market.symbol,
            optional_text(order, "origClientOrderId", "clientOrderId"),
            whole(order, "orderId"),
            one_of(order, "side", SIDES) if "side" in order else NO_SIDE,
            optional(ticks, order, "price", market),
            optional(lots, order, "origQty"),
            optional(lots, order, "executedQty"),
            time_ns=time_ns(order, time_key, NS_PER_MS),
        )

    def _placed(self, order: Record, market: Market, name: str | None) -> Events:
        base = self._base(order, market, Kind.ACCEPTED, "transactTime")
        fills = records(order.get("fills", []), "fills")
        if fills:
            one_of(order, "side", SIDES)  # a position cannot be counted without
        return (base, *(self._filled(each, base, market) for each in fills))

    def _filled(self, fill: Record, base: OrderEvent, market: Market) -> OrderEvent:
        return base._replace(
            kind=Kind.FILL,
            filled_lots=NOT_SAID,
            fee_asset=text(fill, "commissionAsset", ""),
            is_maker=False,
            last_lots=lots(fill, "qty"),
            **execution(fill, market, "price", "tradeId", "commission"),
        )

    def _canceled(self, order: Record, market: Market, name: str | None) -> Events:
        event = self._base(order, market, Kind.CANCELED, "transactTime")
        return (event if "status" in order else event._replace(state=State.CANCELED),)

    def _stated(self, order: Record, market: Market, name: str | None) -> Events:
        return (self._base(order, market, Kind.STATE, "updateTime"),)

    def _traded(self, trade: Record, market: Market, name: str | None) -> Events:
        check_symbol(trade.get("symbol"), market.symbol, "binance")
        event = OrderEvent(
            Kind.FILL,
            State.UNKNOWN,
            market.symbol,
            venue_order_id=whole(trade, "orderId"),
            side=MAKER_SIDES[flag(trade, "isBuyer")],
            fee_asset=text(trade, "commissionAsset", ""),
            is_maker=flag(trade, "isMaker"),
            time_ns=time_ns(trade, "time", NS_PER_MS),
            last_lots=lots(trade, "qty"),
            **execution(trade, market, "price", "id", "commission"),
        )
        return (event,)

    def _replaced(
        self, answer: Answer, market: Market, name: str | None, replaced: str | None
    ) -> Events:
        """cancelReplace: two halves, each with its own outcome, whatever the whole is called."""
        refusal = answer.refusal
        if refusal is not None and not _has_halves(answer.result):
            both = ((Request.CANCEL, replaced), (Request.PLACE, name))
            return tuple(failure(each, market.symbol, named, refusal) for each, named in both)
        halves = record(answer.result, "result")
        if one_of(halves, "cancelResult", OUTCOMES) == "SUCCESS":
            first = self._canceled(_half(halves, "cancelResponse"), market, replaced)
        else:
            first = self._failed_half(Request.CANCEL, answer, market, replaced)
        if one_of(halves, "newOrderResult", OUTCOMES) == "SUCCESS":
            return first + self._placed(_half(halves, "newOrderResponse"), market, name)
        return first + self._failed_half(Request.PLACE, answer, market, name)

    def _failed_half(
        self, request: Request, answer: Answer, market: Market, name: str | None
    ) -> Events:
        prefix = "cancel" if request is Request.CANCEL else "newOrder"
        halves, refusal = answer.result, answer.refusal
        if one_of(halves, f"{prefix}Result", OUTCOMES) == "FAILURE":
            refusal = self._refusal(400, _half(halves, f"{prefix}Response"))
        elif refusal is None or refusal.error is not ErrorClass.RATE_LIMITED:
            refusal = Refusal(ErrorClass.REJECTED, "not attempted")
        return (failure(request, market.symbol, name, refusal),)

    # --- what the venue says of its own accord ---------------------------------------------------

    def _push(self, event: Record) -> Push:
        name = event.get("e")
        if name == "executionReport":
            market = self._markets.get(text(event, "s"))
            return Push() if market is None else Push((self._report(event, market),))
        if name == "outboundAccountPosition":
            return Push(balances=self._balances(event.get("B"), "a", "f", "l"))
        if not isinstance(name, str):
            raise EntryError(f"binance: an event of no kind: {quoted(event)!r}")
        return Push(notice=NOTICES.get(name, Notice.NONE), text=quoted(name))

    def _report(self, report: Record, market: Market) -> OrderEvent:
        kind = one_of(report, "x", KINDS)
        reason = text(report, "r", "NONE")
        event = OrderEvent(
            kind,
            one_of(report, "X", STATES),
            market.symbol,
            text(report, "C", "") or text(report, "c"),
            NOT_SAID if report.get("i") == NOT_SAID else whole(report, "i"),
            one_of(report, "S", SIDES),
            ticks(report, "p", market),
            lots(report, "q"),
            lots(report, "z"),
            time_ns=time_ns(report, "T", NS_PER_MS),
            reason="" if reason == "NONE" else reason,
        )
        if kind is Kind.REJECTED:
            return event._replace(error=binance_class(400, -2010, reason))
        if kind is Kind.EXPIRED:
            return event._replace(reason=text(report, "eR", "") or event.reason)
        if kind is not Kind.FILL:
            return event
        return event._replace(
            fee_asset=text(report, "N", ""),
            is_maker=flag(report, "m"),
            last_lots=lots(report, "l"),
            **execution(report, market, "L", "t", "n"),
        )


def _has_halves(data: Any) -> bool:
    return isinstance(data, dict) and "cancelResult" in data and "newOrderResult" in data


def _half(halves: Record, name: str) -> Record:
    return record(halves.get(name), name)
