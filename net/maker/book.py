"""What venues say of orders, as events of the order table; every event goes into the journal.

The table (engine.maker.orders) is the truth. Here is only what it cannot hold: how an order was
last seen and when something was last sent or asked about it.
Runs on: the engine thread. Called by: net.maker.maker.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from engine.atomics import Words
from engine.maker import journal_codes as J
from engine.maker import order_layout as L
from engine.maker.client_ids import parse_client_id
from engine.maker.journal import JOURNAL_FULL
from engine.maker.orders import on_disconnect, on_event, on_fill
from net.entry.order import Kind, OrderEvent, Request, State
from net.entry.refusals import ErrorClass
from net.journal import Record
from net.maker.reasons import VENUE_ERRORS

CLOSED_STATES = (State.FILLED, State.CANCELED, State.EXPIRED, State.REJECTED)
PUSHED = {
    Kind.ACCEPTED: L.ACK,
    # With its filled lots the venue's last word, also on an order that was in doubt.
    Kind.CANCELED: L.FOUND_CLOSED,
    Kind.EXPIRED: L.EXPIRE,
    Kind.REJECTED: L.REJECT,
}
JOURNALED = {
    L.ACK: J.EVENT_ACK,
    L.DISCONNECT: J.EVENT_DISCONNECT,
    L.CANCEL_REJECT: J.EVENT_CANCEL_REJECT,
    L.REPLACE_REJECT: J.EVENT_REJECT,
    L.REJECT: J.EVENT_REJECT,
    L.EXPIRE: J.EVENT_EXPIRED,
    L.TIMEOUT: J.EVENT_DISCONNECT,
    L.FOUND_OPEN: J.EVENT_RECONCILED,
    L.FOUND_CLOSED: J.EVENT_RECONCILED,
    L.NOT_FOUND: J.EVENT_RECONCILED,
}
MISSED_MAX = L.EXECUTIONS // 2
"""Trades that are looked through after a break: fewer than are known again when told twice."""


class Journal(Protocol):
    """Where records go: net.journal's writer, or the digest of a replay."""

    def append(self, record: Record) -> int:
        """The record's sequence, or JOURNAL_FULL."""


@dataclass
class Sent:
    """What is remembered of an order beside its row."""

    venue: int
    slot: int
    price: int
    lots: int
    sent_ns: int
    state: int = L.PENDING_NEW
    asked_ns: int = 0


def side_of(slot: int) -> int:
    """BUY or SELL."""
    return slot // L.SLOT_LEVELS & 1


class OrderBook:
    """Our orders of one instrument. `tick_units`: common units in a tick of each venue."""

    def __init__(self, table: Words, tick_units: tuple[int, ...], journal: Journal) -> None:
        self.table = table
        self.sent: dict[int, Sent] = {}
        """Orders that may be open, by id."""
        self.book_sequence = 0
        self.counts = [False] * len(tick_units)
        """Whose fills count: of a venue that has told what it holds, which has the earlier ones."""
        self._held: list[frozenset[int]] = [frozenset()] * len(tick_units)
        """By venue: executions that are in what it held."""
        self.foreign_events = 0
        self.fills = [0] * len(tick_units)
        self.is_journal_full = False
        self._tick_units = tick_units
        self._journal = journal

    @property
    def live_orders(self) -> int:
        return int(self.table[L.ACCOUNT_LIVE_ORDERS])

    @property
    def position_lots(self) -> int:
        return int(self.table[L.ACCOUNT_POSITION_LOTS])

    def write(
        self,
        kind: int,
        now_ns: int,
        venue: int = 0,
        order_id: int = 0,
        sent: Sent | None = None,
        *,
        lots: int | None = None,
        price: int | None = None,
        filled_lots: int = 0,
        before: int = 0,
        after: int = 0,
        reason: int = 0,
        side: int = L.NO_SIDE,
    ) -> None:
        """One record."""
        if sent is not None:
            side = side_of(sent.slot)
            price = sent.price if price is None else price
            lots = sent.lots if lots is None else lots
        sequence = self._journal.append(
            Record(
                kind,
                now_ns,
                self.book_sequence,
                0,
                venue,
                sent.slot if sent is not None else 0,
                order_id,
                side,
                price or 0,
                lots or 0,
                filled_lots,
                before,
                after,
                reason,
            )
        )
        self.is_journal_full = sequence == JOURNAL_FULL

    # --- what venues say -------------------------------------------------------------------------

    def lose(self, venue: int, now_ns: int) -> None:
        """The venue's connection is gone: what may be open there is UNKNOWN."""
        on_disconnect(self.table, venue)
        for sent in self.sent.values():
            if sent.venue == venue:
                sent.state = L.UNKNOWN
        self.write(J.EVENT_DISCONNECT, now_ns, venue, reason=J.REASON_DISCONNECTED)

    def begin(self, venue: int, trades: Iterable[OrderEvent]) -> None:
        """The venue has told what it holds; the trades that it lists are in that."""
        self.counts[venue] = True
        self._held[venue] = frozenset(trade.execution_id for trade in trades)

    def take_missed(self, venue: int, trades: tuple[OrderEvent, ...], now_ns: int) -> None:
        """The latest trades, oldest first: some may have been told while nobody listened."""
        self._take_fills(venue, trades[-MISSED_MAX:], now_ns)

    def take_unanswered(self, venue: int, request: Request, order_id: int, now_ns: int) -> None:
        """A request's outcome is unknown."""
        if request in (Request.PLACE, Request.CANCEL, Request.REPLACE):
            self._tell(L.TIMEOUT, venue, order_id, 0, now_ns, reason=J.REASON_TIMED_OUT)

    def take_answer(
        self,
        venue: int,
        request: Request,
        order_id: int,
        replaced_id: int,
        events: tuple[OrderEvent, ...],
        now_ns: int,
        settle_ns: int,
    ) -> None:
        """What an answer says of the order it was about, and of the one it replaced."""
        self._take_fills(venue, events, now_ns)
        named = [event for event in events if event.kind is not Kind.FILL]
        about = [e for e in named if _order_of(e) in (order_id, None)]
        if request is Request.PLACE:
            self._take_placed(venue, order_id, about, now_ns)
        elif request is Request.CANCEL:
            self._take_canceled(venue, order_id, about, now_ns)
        elif request is Request.REPLACE:
            gone = [e for e in named if _order_of(e) == replaced_id]
            new = [e for e in named if _order_of(e) == order_id]
            self._take_replaced(venue, order_id, replaced_id, gone, new, now_ns)
        elif request is Request.STATUS:
            self._take_status(venue, order_id, about, now_ns, settle_ns)

    def take_push(self, venue: int, events: Iterable[OrderEvent], now_ns: int) -> None:
        """What the venue says of its own accord."""
        events = tuple(events)
        self._take_fills(venue, events, now_ns)
        for event in events:
            order_id = _order_of(event)
            if order_id is None:
                self.foreign_events += event.kind is not Kind.FILL
            elif event.kind is Kind.CANCELED and event.filled_lots < 0:
                self._tell(L.DISCONNECT, venue, order_id, 0, now_ns)  # gone, who knows how filled
            elif event.kind in PUSHED:
                self._tell(PUSHED[event.kind], venue, order_id, _filled(event), now_ns, event.error)
            elif event.kind is Kind.STATE and event.state in CLOSED_STATES:
                self._tell(L.FOUND_CLOSED, venue, order_id, _filled(event), now_ns)
            elif event.kind is Kind.STATE and event.filled_lots > 0:
                self._tell(L.ACK, venue, order_id, event.filled_lots, now_ns)

    def _take_placed(
        self, venue: int, order_id: int, events: list[OrderEvent], now_ns: int
    ) -> None:
        for event in events:
            if event.kind is Kind.ACCEPTED:
                self._tell(L.ACK, venue, order_id, _filled(event), now_ns)
                if event.state in CLOSED_STATES:
                    self._tell(L.FOUND_CLOSED, venue, order_id, _filled(event), now_ns)
            elif event.kind in PUSHED:
                self._tell(PUSHED[event.kind], venue, order_id, 0, now_ns, event.error)
            else:
                self._tell(L.TIMEOUT, venue, order_id, 0, now_ns, event.error)

    def _take_canceled(
        self, venue: int, order_id: int, events: list[OrderEvent], now_ns: int
    ) -> None:
        for event in events:
            if event.kind in (Kind.CANCELED, Kind.EXPIRED):
                # Where it is not said how much was filled, only the venue's answer to that tells.
                is_told = event.filled_lots >= 0
                kind = L.FOUND_CLOSED if is_told else L.CANCEL_REJECT
                self._tell(kind, venue, order_id, _filled(event), now_ns)
            else:
                self._tell(L.CANCEL_REJECT, venue, order_id, 0, now_ns, event.error)

    def _take_replaced(
        self,
        venue: int,
        order_id: int,
        replaced_id: int,
        gone: list[OrderEvent],
        new: list[OrderEvent],
        now_ns: int,
    ) -> None:
        """Two halves: the old order's cancel, then the new order."""
        is_gone = any(event.kind is Kind.CANCELED and event.filled_lots >= 0 for event in gone)
        for event in gone:
            if event.kind is Kind.CANCELED and event.filled_lots >= 0:
                self._tell(L.FOUND_CLOSED, venue, replaced_id, event.filled_lots, now_ns)
        for event in new:
            if event.kind is Kind.ACCEPTED:
                self._tell(L.ACK, venue, order_id, _filled(event), now_ns)
            elif event.kind in PUSHED:
                kind = PUSHED[event.kind] if is_gone else L.REPLACE_REJECT
                self._tell(kind, venue, order_id, 0, now_ns, event.error)
            else:
                self._tell(L.TIMEOUT, venue, order_id, 0, now_ns, event.error)
        if not is_gone:
            # Refused, or its fills are not told: no transition where the new half has settled it.
            self._tell(L.TIMEOUT, venue, replaced_id, 0, now_ns)

    def _take_status(
        self, venue: int, order_id: int, events: list[OrderEvent], now_ns: int, settle_ns: int
    ) -> None:
        for event in events:
            if event.kind is Kind.FAILED or event.kind is Kind.REJECTED:
                sent = self.sent.get(order_id)
                # A question that was faster than the order proves nothing.
                is_final = sent is not None and sent.asked_ns - sent.sent_ns >= settle_ns
                if event.error is ErrorClass.UNKNOWN_ORDER and is_final:
                    self._tell(L.NOT_FOUND, venue, order_id, 0, now_ns)
            elif event.state in CLOSED_STATES:
                self._tell(L.FOUND_CLOSED, venue, order_id, _filled(event), now_ns)
            elif event.state is State.OPEN:
                self._tell(L.FOUND_OPEN, venue, order_id, _filled(event), now_ns)

    def _tell(
        self,
        event: int,
        venue: int,
        order_id: int,
        filled_lots: int,
        now_ns: int,
        error: ErrorClass = ErrorClass.NONE,
        *,
        reason: int = J.REASON_NONE,
    ) -> None:
        """One event of one order, to the table and to the journal."""
        sent = self.sent.get(order_id)
        before = sent.state if sent is not None else L.FREE
        after = on_event(self.table, event, venue, order_id, filled_lots)
        if sent is None or after < 0:
            return
        if error is not ErrorClass.NONE:
            reason = VENUE_ERRORS.get(error, J.REASON_VENUE_REFUSED)
        self.write(
            JOURNALED[event],
            now_ns,
            venue,
            order_id,
            sent,
            filled_lots=filled_lots,
            before=before,
            after=after,
            reason=reason,
        )
        self.set_state(order_id, after)

    def set_state(self, order_id: int, state: int) -> None:
        """Remember an order's state; one that is closed is forgotten here."""
        sent = self.sent.get(order_id)
        if sent is None:
            return
        sent.state = state
        if state > L.UNKNOWN:
            del self.sent[order_id]

    def _take_fills(self, venue: int, events: Iterable[OrderEvent], now_ns: int) -> None:
        for event in events:
            if event.kind is Kind.FILL:
                self._take_fill(venue, event, now_ns)

    def _take_fill(self, venue: int, event: OrderEvent, now_ns: int) -> None:
        """Count one execution of ours: known by its order's name alone."""
        order_id = _order_of(event)
        if order_id is None:
            self.foreign_events += 1
            return
        if not self.counts[venue] or event.execution_id in self._held[venue]:
            return
        table, sent = self.table, self.sent.get(order_id)
        price = event.last_price_ticks * self._tick_units[venue]
        side = event.side if event.side >= 0 else side_of(sent.slot) if sent is not None else -1
        fills = int(table[L.ACCOUNT_FILLS])
        after = on_fill(
            table, venue, order_id, event.execution_id, side, price, event.last_lots, _filled(event)
        )
        if int(table[L.ACCOUNT_FILLS]) == fills:
            return  # a second time, or nonsense: both are counted by the table
        self.fills[venue] += 1
        self.write(
            J.EVENT_FILL,
            now_ns,
            venue,
            order_id,
            sent,
            lots=event.last_lots,
            price=price,
            filled_lots=_filled(event),
            before=sent.state if sent is not None else 0,
            after=max(after, 0),
            reason=event.execution_id,
            side=side,
        )
        if after >= 0:
            self.set_state(order_id, after)


def _order_of(event: OrderEvent) -> int | None:
    """The order's id, None where it is not one of ours."""
    return parse_client_id(event.client_order_id)


def _filled(event: OrderEvent) -> int:
    return max(event.filled_lots, 0)
