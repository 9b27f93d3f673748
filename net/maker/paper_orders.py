"""Order entry that never leaves the process: a venue whose queues are estimated from its book.

A request takes its time to the venue and the answer its time back, both drawn anew, and no message
overtakes another: as on one connection. What the venue has when a request arrives decides: a
post-only order that would take is rejected, the others join the end of their level
(engine.maker.queue_position, which says when an order is filled, and by how much). The book counts
as the venue's when it comes here; what it was late is to be counted into the latency.

An order that takes gets what the book shows at its price or better when it arrives; the book is
left as it is, so that the next such order should wait for another one.

A message that is due is handed over by the next call, never within the call that asks; what the
host sends meanwhile waits for the call after that. Where a tape gives the time, `next_due_ns` says
for when that call is to be made, so that nothing is decided on a book that came later.
Runs on: the engine thread.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from engine.compiling.atomics import Words
from engine.engine import Engine
from engine.layout import layout as L
from engine.layout.units import NEVER_NS, NS_PER_MS
from engine.maker import order_layout as O
from engine.maker import queue_layout as P
from engine.maker.client_ids import format_client_id
from engine.maker.queue_position import (
    advance_queue,
    join_queue,
    leave_queue,
    new_queue,
    take_levels,
)
from net.config.paper import PaperSettings
from net.orders.errors import ErrorClass
from net.orders.interface import EntryHost, EntryState, Opening
from net.orders.messages import Kind, Market, OrderEvent, OrderRequest, Request, State

FEE_UNITS = 100
"""A fee is counted in hundredths of a basis point."""
FEE_DIVISOR = 10_000 * FEE_UNITS

REFUSALS = {
    P.WOULD_TAKE: (ErrorClass.WOULD_TAKE, "it would have traded at once"),
    P.NO_ROOM: (ErrorClass.REJECTED, "too many orders rest on paper"),
}


class PaperFill(NamedTuple):
    """One fill as the venue has it, before anybody has heard of it."""

    time_ns: int
    venue: int
    order_id: int
    side: int
    price_ticks: int
    lots: int
    left_lots: int
    cause: int
    """BY_PRICE and the like of engine.maker.queue_layout."""
    fee_lots: int
    """1e-8 of the quote currency, rounded up; below zero where the venue pays."""


@dataclass
class PaperOrder:
    """An order that is open at the venue."""

    side: int
    price_ticks: int
    lots: int
    filled_lots: int = 0


@dataclass
class PaperCounts:
    """What the venue has done with orders; a replace is a cancel and, if it rests, a new one."""

    placed: int = 0
    placed_lots: int = 0
    rejected: int = 0
    cancelled: int = 0


class PaperMarket(NamedTuple):
    """Where a paper venue's book is, and what its numbers mean.

    `feed`: its index in the engine; `fee_bps`, `taker_fee_bps`: of a fill's value, where the order
    rested and where it took.
    """

    engine: Engine
    feed: int
    market: Market
    fee_bps: float
    taker_fee_bps: float

    def fee_lots(self, price_ticks: int, lots: int, *, is_maker: bool) -> int:
        """The fee of a fill in 1e-8 of the quote currency, rounded against us."""
        mantissa, decimals = self.market.tick
        fee_bps = self.fee_bps if is_maker else self.taker_fee_bps
        fee = price_ticks * mantissa * lots * round(fee_bps * FEE_UNITS)
        divisor: int = 10**decimals * FEE_DIVISOR
        return -(-fee // divisor)


Event = tuple[int, Callable[[int], None]]
"""When it is due, in ns, and what happens then: it is given that time."""


class PaperEntry:
    """One venue's paper order entry; VenueEntry as far as anybody can tell."""

    compiled = None
    settle_ns = 0
    """Nothing overtakes: a question is behind the order that it is about."""

    def __init__(
        self, host: EntryHost, venue: int, market: PaperMarket, settings: PaperSettings
    ) -> None:
        self.state = EntryState.READING
        self.on_fill: Callable[[PaperFill], None] | None = None
        """Is told each fill when the venue has it."""
        self.counts = PaperCounts()
        self._host = host
        self._venue = venue
        self._market = market
        self._least_ns = round(settings.latency_ms * NS_PER_MS)
        self._tail_ns = settings.latency_tail_ms * NS_PER_MS
        self._rng = random.Random(settings.seed * O.VENUE_SLOTS + venue)
        self._orders: dict[int, PaperOrder] = {}
        self._queue = new_queue(P.QUEUE_MODEL_NAMES.index(settings.queue))
        self._queue_address = int(self._queue.ctypes.data)
        self._arena_address = int(market.engine.arena.ctypes.data)
        self._requests: deque[Event] = deque()
        """On their way to the venue, in order."""
        self._answers: deque[Event] = deque()
        """On their way back, in order."""
        self._sent = self._taken = 0
        """Requests that have left, and of them those that have arrived."""
        self._executions = 0
        self.reread(0)

    @property
    def can_replace(self) -> bool:
        return True

    def note_sent(
        self, number: int, kind: Request, order_id: int, replaced_id: int, now_ns: int
    ) -> None:
        raise AssertionError("nothing leaves the process")

    @property
    def next_due_ns(self) -> int:
        """When the next message is due, there or here; NEVER_NS."""
        due_ns = self._requests[0][0] if self._requests else NEVER_NS
        return min(due_ns, self._answers[0][0]) if self._answers else due_ns

    @property
    def feed(self) -> int:
        """The index of its book in the engine."""
        return self._market.feed

    @property
    def queue_address(self) -> int:
        """Of the QUEUE words, for a kernel that runs `advance` itself: `take_fills` comes next."""
        return self._queue_address

    # --- requests --------------------------------------------------------------------------------

    def place(self, order_id: int, side: int, price_ticks: int, lots: int, now_ns: int) -> None:
        order = PaperOrder(side, price_ticks, lots)
        self._send(now_ns, partial(self._on_place, order_id, order))

    def take(self, order_id: int, side: int, price_ticks: int, lots: int, now_ns: int) -> None:
        order = PaperOrder(side, price_ticks, lots)
        self._send(now_ns, partial(self._on_take, order_id, order))

    def cancel(self, order_id: int, now_ns: int) -> None:
        self._send(now_ns, partial(self._on_cancel, order_id))

    def cancel_all(self, order_ids: Iterable[int], now_ns: int) -> None:
        for order_id in order_ids:
            self.cancel(order_id, now_ns)

    def replace(
        self, old_id: int, new_id: int, side: int, price_ticks: int, lots: int, now_ns: int
    ) -> None:
        order = PaperOrder(side, price_ticks, lots)
        self._send(now_ns, partial(self._on_replace, old_id, new_id, order))

    def ask(self, order_id: int, now_ns: int) -> None:
        self._send(now_ns, partial(self._on_ask, order_id))

    audit_every_ns = 0

    def audit(self, now_ns: int) -> None:
        """Never: there is nothing that could differ."""

    def read_transfers(self, asset: str, since_ns: int, now_ns: int) -> None:
        """Never asked for: nothing on paper comes or goes."""

    def reread(self, now_ns: int) -> None:
        self._answers.append((now_ns, self._get_ready))

    def on_timer(self, now_ns: int) -> None:
        """Let happen what is due by now, there and here, in the order of its time."""
        sent = self._sent
        while True:
            has_request = bool(self._requests) and self._taken < sent
            due_ns = self._requests[0][0] if has_request else NEVER_NS
            if self._answers and self._answers[0][0] <= due_ns:
                if self._answers[0][0] > now_ns:
                    return
                self._answers.popleft()[1](now_ns)
                continue
            if due_ns > now_ns:
                return
            self._taken += 1
            self._requests.popleft()[1](due_ns)

    def on_book(self, now_ns: int) -> None:
        """The venue's book may have changed: who is filled? And what is due meanwhile?"""
        if self._orders and advance_queue(self._arena_address, self.feed, self._queue_address):
            self.take_fills(now_ns)
        self.on_timer(now_ns)

    def take_fills(self, now_ns: int) -> None:
        """Tell of the fills that `advance` has left in the queue's words."""
        for index in range(int(self._queue[P.QUEUE_FILLS])):
            at = P.QUEUE_FILLS_AT + index * P.FILLED_WORDS
            self._fill(self._queue[at : at + P.FILLED_WORDS].tolist(), now_ns)

    # --- at the venue ----------------------------------------------------------------------------

    def _on_place(self, order_id: int, order: PaperOrder, at_ns: int) -> None:
        self._answer(at_ns, Request.PLACE, order_id, 0, self._open(order_id, order))

    def _on_take(self, order_id: int, order: PaperOrder, at_ns: int) -> None:
        taken: Words = np.zeros(L.DEPTH_MAX * P.TAKEN_WORDS, np.int64)
        count = take_levels(
            self._arena_address, self.feed, order.side, order.price_ticks, order.lots, taken
        )
        self.counts.placed += 1
        self.counts.placed_lots += order.lots
        fills = []
        for price_ticks, lots in taken[: count * P.TAKEN_WORDS].reshape(-1, P.TAKEN_WORDS).tolist():
            order.filled_lots += lots
            fills.append(self._execution(order_id, order, price_ticks, lots, P.BY_TAKING, at_ns))
        state = State.FILLED if order.filled_lots == order.lots else State.EXPIRED
        done = self._event(Kind.ACCEPTED, state, order_id)._replace(filled_lots=order.filled_lots)
        self._answer(at_ns, Request.PLACE, order_id, 0, *fills, done)

    def _on_cancel(self, order_id: int, at_ns: int) -> None:
        self._answer(at_ns, Request.CANCEL, order_id, 0, self._close(order_id))

    def _on_replace(self, old_id: int, new_id: int, order: PaperOrder, at_ns: int) -> None:
        gone = self._close(old_id)
        if gone.kind is Kind.FAILED:
            refused = self._event(Kind.REJECTED, State.REJECTED, new_id)
            new = refused._replace(error=ErrorClass.UNKNOWN_ORDER)
        else:
            new = self._open(new_id, order)
        self._answer(at_ns, Request.REPLACE, new_id, old_id, gone, new)

    def _on_ask(self, order_id: int, at_ns: int) -> None:
        order = self._orders.get(order_id)
        if order is not None:
            event = self._event(Kind.STATE, State.OPEN, order_id)
            event = event._replace(filled_lots=order.filled_lots)
        else:
            event = self._failed(order_id)
        self._answer(at_ns, Request.STATUS, order_id, 0, event)

    def _open(self, order_id: int, order: PaperOrder) -> OrderEvent:
        status = join_queue(
            self._arena_address,
            self.feed,
            self._queue_address,
            order_id,
            order.side,
            order.price_ticks,
            order.lots,
        )
        if status == P.RESTS:
            self._orders[order_id] = order
            self.counts.placed += 1
            self.counts.placed_lots += order.lots
            return self._event(Kind.ACCEPTED, State.OPEN, order_id)
        self.counts.rejected += 1
        error, reason = REFUSALS[status]
        refused = self._event(Kind.REJECTED, State.REJECTED, order_id)
        return refused._replace(error=error, reason=reason)

    def _close(self, order_id: int) -> OrderEvent:
        order = self._orders.pop(order_id, None)
        if order is None:
            return self._failed(order_id)
        self.counts.cancelled += 1
        left_lots = leave_queue(self._queue_address, order_id)
        assert left_lots == order.lots - order.filled_lots, "the queue and its orders differ"
        event = self._event(Kind.CANCELED, State.CANCELED, order_id)
        return event._replace(filled_lots=order.filled_lots)

    def _fill(self, words: list[int], now_ns: int) -> None:
        order_id, _, price_ticks, lots, left_lots, cause = words
        order = self._orders[order_id]
        order.filled_lots += lots
        assert left_lots == order.lots - order.filled_lots, "the queue and its orders differ"
        if left_lots == 0:
            del self._orders[order_id]
        event = self._execution(order_id, order, price_ticks, lots, cause, now_ns)
        self._reply(now_ns, partial(self._push, event))

    def _execution(
        self, order_id: int, order: PaperOrder, price_ticks: int, lots: int, cause: int, now_ns: int
    ) -> OrderEvent:
        """One fill of an order, which counts it already."""
        self._executions += 1
        left_lots, is_maker = order.lots - order.filled_lots, cause != P.BY_TAKING
        fee_lots = self._market.fee_lots(price_ticks, lots, is_maker=is_maker)
        if self.on_fill is not None:
            self.on_fill(
                PaperFill(
                    now_ns, self._venue, order_id, order.side, price_ticks, lots, left_lots, cause,
                    fee_lots,
                )
            )  # fmt: skip
        event = self._event(Kind.FILL, State.OPEN if left_lots else State.FILLED, order_id)
        return event._replace(
            side=order.side,
            last_lots=lots,
            last_price_ticks=price_ticks,
            filled_lots=order.filled_lots,
            execution_id=self._executions,
            fee_lots=fee_lots,
            fee_asset=self._market.market.quote,
            is_maker=is_maker,
        )

    # --- on the way ------------------------------------------------------------------------------

    def _draw_ns(self) -> int:
        """One way's time: the least, and an exponential one on top."""
        if self._tail_ns == 0:
            return self._least_ns
        return self._least_ns + round(self._rng.expovariate(1.0) * self._tail_ns)

    def _send(self, now_ns: int, arrive: Callable[[int], None]) -> None:
        due_ns = now_ns + self._draw_ns()
        if self._requests:
            due_ns = max(due_ns, self._requests[-1][0])
        self._requests.append((due_ns, arrive))
        self._sent += 1

    def _reply(self, at_ns: int, arrive: Callable[[int], None]) -> None:
        due_ns = at_ns + self._draw_ns()
        if self._answers:
            due_ns = max(due_ns, self._answers[-1][0])
        self._answers.append((due_ns, arrive))

    def _answer(
        self, at_ns: int, request: Request, order_id: int, replaced_id: int, *events: OrderEvent
    ) -> None:
        asked = OrderRequest(request, order_id, replaced_id)
        self._reply(at_ns, partial(self._host.on_answer, self._venue, asked, events))

    # --- what is told ----------------------------------------------------------------------------

    def _get_ready(self, now_ns: int) -> None:
        self.state = EntryState.READY
        self._host.on_ready(self._venue, Opening((), (), ()), now_ns)

    def _push(self, event: OrderEvent, now_ns: int) -> None:
        self._host.on_push(self._venue, (event,), (), now_ns)

    def _failed(self, order_id: int) -> OrderEvent:
        failed = self._event(Kind.FAILED, State.UNKNOWN, order_id)
        return failed._replace(error=ErrorClass.UNKNOWN_ORDER)

    def _event(self, kind: Kind, state: State, order_id: int) -> OrderEvent:
        return OrderEvent(kind, state, self._market.market.symbol, format_client_id(order_id))
