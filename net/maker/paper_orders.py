"""Order entry that never leaves the process: orders are filled where the venue's book goes through.

A resting order is filled, whole and at its own price, once the venue's best price of the other side
reaches it: in the real book somebody would have had to take it. Nothing is said of the queue before
it, so fills are fewer than real ones; nothing is taken from the book, so quotes move nobody.
Answers come with the next step, never within the call that asks, in the order of the questions.
Runs on: the engine thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from engine.maker.client_ids import format_client_id
from engine.maker.order_layout import BUY
from net.orders.errors import ErrorClass
from net.orders.interface import EntryHost, EntryState, Opening
from net.orders.messages import Kind, OrderEvent, OrderRequest, Request, State


@dataclass
class _Order:
    side: int
    price_ticks: int
    lots: int


class PaperEntry:
    """One venue's paper order entry; VenueEntry as far as anybody can tell."""

    settle_ns = 0

    def __init__(self, host: EntryHost, venue: int, symbol: str) -> None:
        self.state = EntryState.READING
        self._host = host
        self._venue = venue
        self._symbol = symbol
        self._orders: dict[int, _Order] = {}
        self._answers: list[Callable[[int], None]] = []
        self._executions = 0
        self.reread(0)

    @property
    def can_replace(self) -> bool:
        return True

    def place(self, order_id: int, side: int, price_ticks: int, lots: int, now_ns: int) -> None:
        event = self._open(order_id, side, price_ticks, lots)
        self._answer(Request.PLACE, order_id, 0, event)

    def cancel(self, order_id: int, now_ns: int) -> None:
        self._answer(Request.CANCEL, order_id, 0, self._close(order_id))

    def cancel_all(self, order_ids: Iterable[int], now_ns: int) -> None:
        for order_id in order_ids:
            self.cancel(order_id, now_ns)

    def replace(
        self, old_id: int, new_id: int, side: int, price_ticks: int, lots: int, now_ns: int
    ) -> None:
        gone = self._close(old_id)
        if gone.kind is Kind.FAILED:
            refused = self._event(Kind.REJECTED, State.REJECTED, new_id)
            new = refused._replace(error=ErrorClass.UNKNOWN_ORDER)
        else:
            new = self._open(new_id, side, price_ticks, lots)
        self._answer(Request.REPLACE, new_id, old_id, gone, new)

    def ask(self, order_id: int, now_ns: int) -> None:
        if order_id in self._orders:
            event = self._event(Kind.STATE, State.OPEN, order_id)._replace(filled_lots=0)
        else:
            failed = self._event(Kind.FAILED, State.UNKNOWN, order_id)
            event = failed._replace(error=ErrorClass.UNKNOWN_ORDER)
        self._answer(Request.STATUS, order_id, 0, event)

    def reread(self, now_ns: int) -> None:
        self._answers.append(self._get_ready)

    def on_timer(self, now_ns: int) -> None:
        """Hand over what has been answered; answers to those come with the next call."""
        answers, self._answers = self._answers, []
        for answer in answers:
            answer(now_ns)

    def fill_through(self, bid_ticks: int, ask_ticks: int) -> bool:
        """Fill what the venue's best prices have reached, 0 for a side without any; whether any."""
        fills = self._executions
        for order_id, order in list(self._orders.items()):
            is_buy = order.side == BUY
            best = ask_ticks if is_buy else bid_ticks
            if best and (best <= order.price_ticks if is_buy else best >= order.price_ticks):
                del self._orders[order_id]
                self._executions += 1
                event = self._event(Kind.FILL, State.FILLED, order_id)._replace(
                    side=order.side,
                    last_lots=order.lots,
                    last_price_ticks=order.price_ticks,
                    filled_lots=order.lots,
                    execution_id=self._executions,
                    is_maker=True,
                )
                self._answers.append(partial(self._push, event))
        return self._executions > fills

    def _get_ready(self, now_ns: int) -> None:
        self.state = EntryState.READY
        self._host.on_ready(self._venue, Opening((), (), ()), now_ns)

    def _push(self, event: OrderEvent, now_ns: int) -> None:
        self._host.on_push(self._venue, (event,), (), now_ns)

    def _open(self, order_id: int, side: int, price_ticks: int, lots: int) -> OrderEvent:
        self._orders[order_id] = _Order(side, price_ticks, lots)
        return self._event(Kind.ACCEPTED, State.OPEN, order_id)

    def _close(self, order_id: int) -> OrderEvent:
        if self._orders.pop(order_id, None) is None:
            failed = self._event(Kind.FAILED, State.UNKNOWN, order_id)
            return failed._replace(error=ErrorClass.UNKNOWN_ORDER)
        return self._event(Kind.CANCELED, State.CANCELED, order_id)._replace(filled_lots=0)

    def _event(self, kind: Kind, state: State, order_id: int) -> OrderEvent:
        return OrderEvent(kind, state, self._symbol, format_client_id(order_id))

    def _answer(
        self, request: Request, order_id: int, replaced_id: int, *events: OrderEvent
    ) -> None:
        asked = OrderRequest(request, order_id, replaced_id)
        self._answers.append(partial(self._host.on_answer, self._venue, asked, events))
