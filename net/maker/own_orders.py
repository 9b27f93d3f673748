"""What venues say of orders, as events of the order table; every event goes into the journal.

The table (engine.maker.orders) is the truth. Here is only what it cannot hold: how an order was
last seen and when something was last sent or asked about it.
Runs on: the engine thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from engine.compiling.atomics import Words
from engine.maker import journal_codes as J
from engine.maker import order_layout as O
from engine.maker.orders import on_disconnect, on_event, on_fill, unknown_orders
from net.journal.files import Record
from net.maker.event_journal import EventJournal
from net.maker.fees import Fee, FeeCounter
from net.maker.journal_reasons import VENUE_ERRORS
from net.orders.errors import ErrorClass
from net.orders.interface import VenueEntry
from net.orders.messages import CLOSED_STATES, Kind, OrderEvent, OrderRequest, Request, State

PUSHED = {
    Kind.ACCEPTED: O.ACK,
    # With its filled lots the venue's last word, also on an order that was in doubt.
    Kind.CANCELED: O.FOUND_CLOSED,
    Kind.EXPIRED: O.EXPIRE,
    Kind.REJECTED: O.REJECT,
}
JOURNALED = {
    O.ACK: J.EVENT_ACK,
    O.DISCONNECT: J.EVENT_DISCONNECT,
    O.CANCEL_REJECT: J.EVENT_CANCEL_REJECT,
    O.REPLACE_REJECT: J.EVENT_REJECT,
    O.REJECT: J.EVENT_REJECT,
    O.EXPIRE: J.EVENT_EXPIRED,
    O.TIMEOUT: J.EVENT_DISCONNECT,
    O.FOUND_OPEN: J.EVENT_RECONCILED,
    O.FOUND_CLOSED: J.EVENT_RECONCILED,
    O.NOT_FOUND: J.EVENT_RECONCILED,
}
REFUSED_WITHIN_NS = 2_000_000_000
"""A venue decides on a post-only order when it takes it: what is later was cancelled by hand, or
for another reason. The way there and back is in it."""
ASK_EVERY_NS = 1_000_000_000
ASKS_A_TURN_MAX = 4
"""Questions to one venue in one turn of the timer: a lost connection may leave twenty."""
MISSED_MAX = O.EXECUTIONS // 2
"""Trades that are looked through after a break: fewer than are known again when told twice."""


@dataclass
class Sent:
    """What is remembered of an order beside its row."""

    venue: int
    slot: int
    price: int
    lots: int
    sent_ns: int
    state: int = O.PENDING_NEW
    asked_ns: int = 0
    takes: bool = False


def side_of(slot: int) -> int:
    """BUY or SELL."""
    return slot // O.SLOT_LEVELS & 1


def order_record(kind: int, venue: int, order_id: int, sent: Sent) -> Record:
    """A record about an order, with its slot, side, price and lots."""
    return Record(
        kind,
        venue=venue,
        slot=sent.slot,
        order=order_id,
        side=side_of(sent.slot),
        price_ticks=sent.price,
        lots=sent.lots,
    )


class OwnOrders:
    """Our orders of one instrument. `tick_units`: common units in a tick of each venue."""

    def __init__(
        self,
        table: Words,
        tick_units: tuple[int, ...],
        journal: EventJournal,
        fees: FeeCounter,
        on_execution: Callable[[int, int], None] = lambda execution_id, venue: None,
    ) -> None:
        """`on_execution`: told of each that was counted, before the journal is."""
        self.table = table
        self.fees = fees
        self.sent: dict[int, Sent] = {}
        """Orders that may be open, by id."""
        self.counts = [False] * len(tick_units)
        """Whose fills count: of a venue that has told what it holds, which has the earlier ones."""
        self._held: list[frozenset[int]] = [frozenset()] * len(tick_units)
        """By venue: executions that are in what it held."""
        self.foreign_events = 0
        self.fills = [0] * len(tick_units)
        self._tick_units = tick_units
        self._journal = journal
        self._on_execution = on_execution

    @property
    def live_orders(self) -> int:
        return int(self.table[O.ACCOUNT_LIVE_ORDERS])

    @property
    def position_lots(self) -> int:
        return int(self.table[O.ACCOUNT_POSITION_LOTS])

    def ask_unknown(self, venue: int, entry: VenueEntry, now_ns: int) -> None:
        """Ask the venue where UNKNOWN orders stand: at once, and then every second."""
        if unknown_orders(self.table, venue) == 0:
            return
        at = O.venue_word(venue, O.VENUE_ROWS_AT)
        rows = self.table[at : at + O.VENUE_SLOTS * O.SLOT_WORDS].reshape(-1, O.ORDER_WORDS)
        asked = 0
        for index in np.flatnonzero(rows[:, O.ORDER_STATE] == O.UNKNOWN):
            row = rows[index].tolist()
            order_id = row[O.ORDER_ID]
            sent = self.sent.get(order_id)
            if sent is None:
                slot, price, lots = row[O.ORDER_SLOT], row[O.ORDER_PRICE], row[O.ORDER_LOTS]
                sent = self.sent[order_id] = Sent(venue, slot, price, lots, 0, O.UNKNOWN)
            if now_ns - sent.asked_ns >= ASK_EVERY_NS and asked < ASKS_A_TURN_MAX:
                sent.asked_ns = now_ns
                asked += 1
                entry.ask(order_id, now_ns)

    # --- what venues say -------------------------------------------------------------------------

    def lose(self, venue: int) -> None:
        """The venue's connection is gone: what may be open there is UNKNOWN."""
        on_disconnect(self.table, venue)
        for sent in self.sent.values():
            if sent.venue == venue:
                sent.state = O.UNKNOWN
        reason = J.REASON_DISCONNECTED
        self._journal.write(Record(J.EVENT_DISCONNECT, venue=venue, reason=reason))

    def begin(self, venue: int, trades: Iterable[OrderEvent]) -> None:
        """The venue has told what it holds; the trades that it lists are in that."""
        self.counts[venue] = True
        self._held[venue] = frozenset(trade.execution_id for trade in trades)

    def take_missed(self, venue: int, trades: tuple[OrderEvent, ...]) -> None:
        """The latest trades, oldest first: some may have been told while nobody listened."""
        self._take_fills(venue, trades[-MISSED_MAX:])

    def take_uncounted(self, venue: int, trades: Iterable[OrderEvent]) -> None:
        """Trades of ours from before the start, also those whose order the venue does not name."""
        for trade in trades:
            self._count_fill(venue, trade, trade.order_id or 0)

    def take_unanswered(self, venue: int, request: Request, order_id: int) -> None:
        """A request's outcome is unknown."""
        if request in (Request.PLACE, Request.CANCEL, Request.REPLACE):
            self._tell(O.TIMEOUT, venue, order_id, 0, reason=J.REASON_TIMED_OUT)

    def take_answer(
        self,
        venue: int,
        asked: OrderRequest,
        events: tuple[OrderEvent, ...],
        settle_ns: int,
    ) -> None:
        """What an answer says of the order it was about, and of the one it replaced."""
        request, order_id, replaced_id = asked
        self._take_fills(venue, events)
        named = [event for event in events if event.kind is not Kind.FILL]
        about = [e for e in named if e.order_id in (order_id, None)]
        if request is Request.PLACE:
            self._take_placed(venue, order_id, about)
        elif request is Request.CANCEL:
            self._take_canceled(venue, order_id, about)
        elif request is Request.REPLACE:
            gone = [e for e in named if e.order_id == replaced_id]
            new = [e for e in named if e.order_id == order_id]
            self._take_replaced(venue, order_id, replaced_id, gone, new)
        elif request is Request.STATUS:
            self._take_status(venue, order_id, about, settle_ns)

    def mark_refused(self, event: OrderEvent, now_ns: int) -> OrderEvent:
        """The event, as WOULD_TAKE where it says that a venue refused an order after accepting it.

        Where a venue does not document how it refuses a post-only order, it may accept it and then
        delete it, without a reason. So it is an order that nobody has asked to cancel, gone without
        a fill right after it was sent.
        """
        sent = self.sent.get(event.order_id) if event.order_id is not None else None
        is_unasked = sent is not None and sent.state in (O.PENDING_NEW, O.OPEN) and not sent.takes
        if event.kind is not Kind.CANCELED or event.filled_lots != 0 or not is_unasked:
            return event
        assert sent is not None
        is_soon = now_ns - sent.sent_ns <= REFUSED_WITHIN_NS
        return event._replace(error=ErrorClass.WOULD_TAKE) if is_soon else event

    def take_push(self, venue: int, events: Iterable[OrderEvent]) -> None:
        """What the venue says of its own accord."""
        events = tuple(events)
        self._take_fills(venue, events)
        for event in events:
            order_id = event.order_id
            if order_id is None:
                self.foreign_events += event.kind is not Kind.FILL
            elif event.kind is Kind.CANCELED and event.filled_lots < 0:
                self._tell(O.DISCONNECT, venue, order_id, 0)  # gone, who knows how filled
            elif event.kind in PUSHED:
                self._tell(PUSHED[event.kind], venue, order_id, _filled(event), event.error)
            elif event.kind is Kind.STATE and event.state in CLOSED_STATES:
                self._tell(O.FOUND_CLOSED, venue, order_id, _filled(event))
            elif event.kind is Kind.STATE and event.filled_lots > 0:
                self._tell(O.ACK, venue, order_id, event.filled_lots)

    def _take_placed(self, venue: int, order_id: int, events: list[OrderEvent]) -> None:
        for event in events:
            if event.kind is Kind.ACCEPTED:
                self._tell(O.ACK, venue, order_id, _filled(event))
                if event.state in CLOSED_STATES:
                    self._tell(O.FOUND_CLOSED, venue, order_id, _filled(event))
            elif event.kind in PUSHED:
                self._tell(PUSHED[event.kind], venue, order_id, 0, event.error)
            else:
                self._tell(O.TIMEOUT, venue, order_id, 0, event.error)

    def _take_canceled(self, venue: int, order_id: int, events: list[OrderEvent]) -> None:
        for event in events:
            if event.kind in (Kind.CANCELED, Kind.EXPIRED):
                # Where it is not said how much was filled, only the venue's answer to that tells.
                is_told = event.filled_lots >= 0
                kind = O.FOUND_CLOSED if is_told else O.CANCEL_REJECT
                self._tell(kind, venue, order_id, _filled(event))
            else:
                self._tell(O.CANCEL_REJECT, venue, order_id, 0, event.error)

    def _take_replaced(
        self,
        venue: int,
        order_id: int,
        replaced_id: int,
        gone: list[OrderEvent],
        new: list[OrderEvent],
    ) -> None:
        """Two halves: the old order's cancel, then the new order."""
        is_gone = any(event.kind is Kind.CANCELED and event.filled_lots >= 0 for event in gone)
        for event in gone:
            if event.kind is Kind.CANCELED and event.filled_lots >= 0:
                self._tell(O.FOUND_CLOSED, venue, replaced_id, event.filled_lots)
        for event in new:
            if event.kind is Kind.ACCEPTED:
                self._tell(O.ACK, venue, order_id, _filled(event))
            elif event.kind in PUSHED:
                kind = PUSHED[event.kind] if is_gone else O.REPLACE_REJECT
                self._tell(kind, venue, order_id, 0, event.error)
            else:
                self._tell(O.TIMEOUT, venue, order_id, 0, event.error)
        if not is_gone:
            # Refused, or its fills are not told: no transition where the new half has settled it.
            self._tell(O.TIMEOUT, venue, replaced_id, 0)

    def _take_status(
        self, venue: int, order_id: int, events: list[OrderEvent], settle_ns: int
    ) -> None:
        for event in events:
            if event.kind is Kind.FAILED or event.kind is Kind.REJECTED:
                sent = self.sent.get(order_id)
                # A question that was faster than the order proves nothing.
                is_final = sent is not None and sent.asked_ns - sent.sent_ns >= settle_ns
                if event.error is ErrorClass.UNKNOWN_ORDER and is_final:
                    self._tell(O.NOT_FOUND, venue, order_id, 0)
            elif event.state in CLOSED_STATES:
                self._tell(O.FOUND_CLOSED, venue, order_id, _filled(event))
            elif event.state is State.OPEN:
                self._tell(O.FOUND_OPEN, venue, order_id, _filled(event))

    def _tell(
        self,
        event: int,
        venue: int,
        order_id: int,
        filled_lots: int,
        error: ErrorClass = ErrorClass.NONE,
        *,
        reason: int = J.REASON_NONE,
    ) -> None:
        """One event of one order, to the table and to the journal."""
        sent = self.sent.get(order_id)
        before = sent.state if sent is not None else O.FREE
        after = on_event(self.table, event, venue, order_id, filled_lots)
        if sent is None or after < 0:
            return
        if error is not ErrorClass.NONE:
            reason = VENUE_ERRORS.get(error, J.REASON_VENUE_REFUSED)
        record = order_record(JOURNALED[event], venue, order_id, sent)
        self._journal.write(
            record._replace(
                filled_lots=filled_lots, state_before=before, state_after=after, reason=reason
            )
        )
        self.set_state(order_id, after)

    def reopen(self, venue: int, order_id: int) -> bool:
        """The venue lists an order that is closed here: whether its row is still there, and the
        venue is asked about it now."""
        return on_event(self.table, O.FOUND_OPEN, venue, order_id, 0) == O.UNKNOWN

    def doubt(self, venue: int, order_id: int) -> None:
        """An order may be gone: the venue is asked about it."""
        self._tell(O.DISCONNECT, venue, order_id, 0, reason=J.REASON_AUDIT)

    def set_state(self, order_id: int, state: int) -> None:
        """Remember an order's state; one that is closed is forgotten here."""
        sent = self.sent.get(order_id)
        if sent is None:
            return
        sent.state = state
        if state > O.UNKNOWN:
            del self.sent[order_id]

    def _take_fills(self, venue: int, events: Iterable[OrderEvent]) -> None:
        for event in events:
            if event.kind is Kind.FILL:
                self._take_fill(venue, event)

    def _take_fill(self, venue: int, event: OrderEvent) -> None:
        """Count one execution of ours: known by its order's name alone."""
        order_id = event.order_id
        if order_id is None:
            self.foreign_events += 1
            return
        if self.counts[venue] and event.execution_id not in self._held[venue]:
            self._count_fill(venue, event, order_id)

    def _count_fill(self, venue: int, event: OrderEvent, order_id: int) -> None:
        table, sent = self.table, self.sent.get(order_id)
        price = event.last_price_ticks * self._tick_units[venue]
        side = event.side if event.side >= 0 else side_of(sent.slot) if sent is not None else -1
        fills = int(table[O.ACCOUNT_FILLS])
        number, lots, filled_lots = event.execution_id, event.last_lots, _filled(event)
        fee = self.fees.of(venue, event)
        fees = (fee.base_lots, fee.value)
        after = on_fill(table, venue, order_id, number, side, price, lots, filled_lots, *fees)
        if int(table[O.ACCOUNT_FILLS]) == fills:
            return  # a second time, or nonsense: both are counted by the table
        self.fills[venue] += 1
        self._on_execution(number, venue)
        record = Record(
            J.EVENT_FILL,
            venue=venue,
            slot=sent.slot if sent is not None else 0,
            order=order_id,
            side=side_of(sent.slot) if sent is not None else side,
            price_ticks=price,
            lots=lots,
            filled_lots=filled_lots,
            state_before=sent.state if sent is not None else O.FREE,
            state_after=max(after, O.FREE),
            reason=number,
        )
        self._journal.write(record)
        self._take_fee(venue, event, fee, record)
        if after >= 0:
            self.set_state(order_id, after)

    def _take_fee(self, venue: int, event: OrderEvent, fee: Fee, fill: Record) -> None:
        """An execution's fee, once it has counted: into the sums and after it into the journal."""
        if fee.reason == J.REASON_NONE:
            return
        self.fees.pay(venue, event, fee)
        self.table[O.ACCOUNT_UNVALUED_FEES] += fee.reason == J.REASON_FEE_NOT_VALUED
        told = fill._replace(kind=J.EVENT_FEE, lots=event.fee_lots, filled_lots=fee.value)
        self._journal.write(told._replace(reason=fee.reason))


def _filled(event: OrderEvent) -> int:
    return max(event.filled_lots, 0)
