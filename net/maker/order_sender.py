"""Sends what a step has decided: to the venues first, then into the journal and onto the board.

What compiled code can send (net.orders.compiled_requests) goes out by one call, before anything
else; the rest is given to the venues' entries one by one.

The order table has taken each action before it is sent. A cancel that cannot be sent leaves its
order UNKNOWN; a new order that cannot be written into a request is given back to the caller.
Runs on: the engine thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.maker import journal_codes as J
from engine.maker import order_layout as O
from engine.maker import state_board_layout as B
from engine.maker.state_board_writer import StateBoardWriter
from engine.maker.step import Action, MakerStep
from net.maker.event_journal import EventJournal
from net.maker.own_orders import OwnOrders, Sent, order_record, side_of
from net.orders.compiled_requests import ActionSender
from net.orders.interface import EntryState, VenueEntry
from net.orders.messages import EntryError, Request

NOT_READY = "the venue's order entry is not ready"


class OrderSender:
    """The way out of one market maker. `entries`: by venue, None where it is not quoted.

    `tick_units`: common price units in a tick of each venue; `wall_ns`: what time it is.
    """

    def __init__(
        self,
        step: MakerStep,
        orders: OwnOrders,
        entries: Sequence[VenueEntry | None],
        tick_units: tuple[int, ...],
        journal: EventJournal,
        board: StateBoardWriter,
        wall_ns: Callable[[], int],
    ) -> None:
        self._step = step
        self._orders = orders
        self._entries = entries
        self._tick_units = tick_units
        self._journal = journal
        self._board = board
        self._wall_ns = wall_ns
        self.compiled = ActionSender(step.actions)
        """Sends the actions that compiled code can send."""

    def attach(self, venue: int, entry: VenueEntry) -> None:
        """A venue has this entry from now on."""
        self.compiled.attach(venue, entry.compiled, self._tick_units[venue])

    @property
    def is_compiled(self) -> bool:
        """Whether compiled code sends to any of the venues."""
        return bool(self.compiled.venues)

    def prepare(self) -> None:
        """Say what compiled code may send to: valid until anything else is sent."""
        for venue, requests in self.compiled.venues.items():
            entry = self._entries[venue]
            requests.prepare(entry is not None and entry.state is EntryState.READY)

    def send(self, count: int, now_ns: int) -> list[tuple[Action, str]]:
        """Send the step's first `count` actions; new orders that could not be written, and why."""
        if self.is_compiled:
            self.prepare()
            self.compiled.send(count, now_ns)
        return self.finish(count, now_ns)

    def finish(self, count: int, now_ns: int) -> list[tuple[Action, str]]:
        """Send what compiled code has left of the actions; the same.

        All go out before any is written down: an order whose record a death cuts off is found by
        its name.
        """
        numbers = self.compiled.numbers(count) if self.is_compiled else [0] * count
        actions = self._step.decided(count)
        failures: list[str | None] = []
        for action, number in zip(actions, numbers, strict=True):
            if number:
                self._note_sent(action, number, now_ns)
            failures.append(None if number else self._send(action, now_ns))
        self._journal.book_sequence = self._step.book_sequence
        for action, failure in zip(actions, failures, strict=True):
            self._record(action, failure, now_ns)
        if self._board.info.is_live:
            # The watchdog of a process that was killed knows what is open from the board alone.
            step = self._step
            self._board.publish(step.table, step.risk, step.fair, self._wall_ns(), now_ns)
        return [
            (action, failure)
            for action, failure in zip(actions, failures, strict=True)
            if failure is not None and action.kind != O.ACTION_CANCEL
        ]

    def _send(self, action: Action, now_ns: int) -> str | None:
        """Hand one action to the venue; why it could not be, None where it was."""
        kind, slot, order_id, new_id, price, lots = action
        venue = action.venue
        entry = self._entries[venue]
        if kind == O.ACTION_CANCEL:
            if entry is None or entry.state is not EntryState.READY:
                return NOT_READY
            if order_id not in self._orders.sent:
                return NOT_READY
            entry.cancel(order_id, now_ns)
            return None
        assert entry is not None, "only a venue that is READY may quote"
        ticks = price // self._tick_units[venue]
        assert ticks * self._tick_units[venue] == price, "a price between the venue's ticks"
        try:
            if kind == O.ACTION_SUBMIT:
                entry.place(new_id, side_of(slot), ticks, lots, now_ns)
            elif kind == O.ACTION_TAKE:
                entry.take(new_id, side_of(slot), ticks, lots, now_ns)
            else:
                entry.replace(order_id, new_id, side_of(slot), ticks, lots, now_ns)
        except EntryError as error:
            return str(error)
        return None

    def _note_sent(self, action: Action, number: int, now_ns: int) -> None:
        """Compiled code has sent it, under this number."""
        entry = self._entries[action.venue]
        assert entry is not None
        if action.kind == O.ACTION_CANCEL:
            entry.note_sent(number, Request.CANCEL, action.order_id, 0, now_ns)
        elif action.kind == O.ACTION_REPLACE:
            entry.note_sent(number, Request.REPLACE, action.new_id, action.order_id, now_ns)
        else:
            entry.note_sent(number, Request.PLACE, action.new_id, 0, now_ns)

    def _record(self, action: Action, failure: str | None, now_ns: int) -> None:
        """Remember and journal one action; `failure`: why it was not sent."""
        kind, slot, order_id, new_id, price, lots = action
        venue, sent = action.venue, self._orders.sent
        old = sent.get(order_id)
        if kind == O.ACTION_CANCEL:
            if failure is not None or old is None:
                # It is UNKNOWN from here on: asked about once that is possible, then cancelled.
                self._orders.take_unanswered(venue, Request.CANCEL, order_id)
                return
            self._journal.write(order_record(J.EVENT_CANCEL, venue, order_id, old))
            self._board.count_venue(venue, B.VENUE_CANCELS)
            old.state, old.sent_ns = O.PENDING_CANCEL, now_ns
            return
        takes = kind == O.ACTION_TAKE
        new = sent[new_id] = Sent(venue, slot, price, lots, now_ns, takes=takes)
        if kind == O.ACTION_REPLACE:
            assert old is not None, "only an order that was sent is replaced"
            old.state, old.sent_ns = O.PENDING_REPLACE, now_ns
        if failure is not None:
            return
        if kind != O.ACTION_REPLACE:
            event = J.EVENT_TAKE if takes else J.EVENT_SUBMIT
            self._journal.write(order_record(event, venue, new_id, new))
            self._board.count_venue(venue, B.VENUE_ORDERS)
        else:
            record = order_record(J.EVENT_REPLACE, venue, new_id, new)
            self._journal.write(record._replace(filled_lots=order_id))
            self._board.count_venue(venue, B.VENUE_REPLACES)
