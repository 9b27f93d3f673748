"""What venues say, as events of the table: counted once, believed when it is certain."""

from __future__ import annotations

import pytest

from engine.maker import journal_codes as J
from engine.maker import order_layout as O
from engine.maker.client_ids import format_client_id
from net.journal.files import Record
from net.maker.event_journal import EventJournal
from net.maker.own_orders import MISSED_MAX, REFUSED_WITHIN_NS, OwnOrders, Sent
from net.orders.errors import ErrorClass
from net.orders.messages import Kind, OrderEvent, OrderRequest, Request, State
from tests.engine.maker.rig import EPOCH, NOW_NS
from tests.engine.maker.rig import Maker as Gate
from tests.net.maker.rig import no_fees

pytestmark = pytest.mark.kernel

S = 10**9
SETTLE_NS = 160 * S
TICK_UNITS = 100
PRICE, LOTS = 10_000, 20
STRANGER = (EPOCH - 1) << 32 | 5


class Notes:
    """A journal in memory."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def append(self, record: Record) -> int:
        self.records.append(record)
        return len(self.records)


class Bench:
    """One venue's table with an order in it, and its book."""

    def __init__(self, state: int = O.OPEN) -> None:
        self.gate = Gate()
        self.notes = Notes()
        self.orders = OwnOrders(
            self.gate.table,
            (TICK_UNITS,),
            EventJournal(self.notes, lambda: NOW_NS),
            no_fees(),
        )
        self.order = self.gate.new(O.BUY, PRICE, LOTS)
        if state != O.PENDING_NEW:
            self.gate.event(O.ACK, self.order)
        self.orders.sent[self.order] = Sent(0, 0, PRICE, LOTS, NOW_NS, state)

    def send(self, kind: int) -> int:
        """Ask for a cancel or a replace; the new order's id."""
        (action,) = self.gate.submit(kind, 0, PRICE - 100, LOTS, self.order)
        if action.new_id:
            self.orders.sent[action.new_id] = Sent(0, 0, PRICE - 100, LOTS, NOW_NS)
        return action.new_id

    def answer(self, request: Request, order_id: int, *events: OrderEvent, old_id: int = 0) -> None:
        asked = OrderRequest(request, order_id, old_id)
        self.orders.take_answer(0, asked, events, SETTLE_NS)

    def push(self, *events: OrderEvent) -> None:
        self.orders.take_push(0, events)

    def state(self, order_id: int = 0) -> int:
        return self.gate.state(order_id or self.order)


def event(kind: Kind, state: State, order_id: int, filled_lots: int = -1) -> OrderEvent:
    return OrderEvent(kind, state, "btcusd", format_client_id(order_id), filled_lots=filled_lots)


def fill(order_id: int, execution: int, lots: int = 5) -> OrderEvent:
    return event(Kind.FILL, State.UNKNOWN, order_id)._replace(
        side=O.BUY, last_lots=lots, last_price_ticks=PRICE // TICK_UNITS, execution_id=execution
    )


def failed(error: ErrorClass, order_id: int) -> OrderEvent:
    return event(Kind.FAILED, State.UNKNOWN, order_id)._replace(error=error)


def test_an_execution_counts_once_wherever_it_is_told_and_only_beyond_what_was_held() -> None:
    bench = Bench()
    bench.push(fill(STRANGER, 1))
    assert bench.orders.position_lots == 0, "the venue has not told yet what it holds"
    bench.orders.begin(0, (fill(STRANGER, 1), fill(STRANGER, 2)))
    bench.push(fill(STRANGER, 1), fill(STRANGER, 2), fill(STRANGER, 3))
    assert bench.orders.position_lots == 5, "an earlier life's order that was filled since"
    bench.push(fill(bench.order, 4))
    bench.answer(Request.STATUS, bench.order, fill(bench.order, 4))
    bench.orders.take_missed(0, tuple(fill(bench.order, number) for number in range(1, 7)))
    assert bench.orders.position_lots == 20 and bench.orders.fills == [4]
    assert bench.gate.row(bench.order).filled_lots == 15
    records = [each for each in bench.notes.records if each.kind == J.EVENT_FILL]
    assert [each.reason for each in records] == [3, 4, 5, 6]
    bench.push(fill(0x7_0000_0001, 99)._replace(client_order_id="somebody's"))
    assert bench.orders.position_lots == 20 and bench.orders.foreign_events == 1


def test_a_long_list_of_trades_is_counted_once_however_often_it_is_read() -> None:
    bench = Bench()
    bench.orders.begin(0, ())
    trades = tuple(fill(STRANGER, number, 1) for number in range(1, 2 * MISSED_MAX))
    for _ in range(3):
        bench.orders.take_missed(0, trades)
    assert bench.orders.position_lots == MISSED_MAX


def test_a_cancel_closes_an_order_only_where_its_fills_are_told() -> None:
    for filled_lots, state in ((-1, O.UNKNOWN), (0, O.CANCELED), (8, O.CANCELED)):
        bench = Bench()
        bench.send(O.ACTION_CANCEL)
        canceled = event(Kind.CANCELED, State.CANCELED, bench.order, filled_lots)
        bench.answer(Request.CANCEL, bench.order, canceled)
        assert bench.state() == state
        assert bench.orders.position_lots == max(filled_lots, 0)
        assert (bench.order in bench.orders.sent) == (state == O.UNKNOWN)
    bench = Bench()
    bench.push(event(Kind.CANCELED, State.CANCELED, bench.order))
    assert bench.state() == O.UNKNOWN


def test_not_found_is_final_once_the_request_cannot_arrive_any_more() -> None:
    for asked_ns, state in ((SETTLE_NS - 1, O.UNKNOWN), (SETTLE_NS, O.REJECTED)):
        bench = Bench(O.PENDING_NEW)
        bench.orders.take_unanswered(0, Request.PLACE, bench.order)
        bench.orders.sent[bench.order].asked_ns = NOW_NS + asked_ns
        for error in (ErrorClass.RATE_LIMITED, ErrorClass.UNKNOWN_OUTCOME):
            bench.answer(Request.STATUS, bench.order, failed(error, bench.order))
        assert bench.state() == O.UNKNOWN
        bench.answer(Request.STATUS, bench.order, failed(ErrorClass.UNKNOWN_ORDER, bench.order))
        assert bench.state() == state


def test_each_half_of_a_replace_has_its_own_outcome() -> None:
    accepted, rejected = (Kind.ACCEPTED, State.OPEN), (Kind.REJECTED, State.REJECTED)
    for is_gone, new, states in (
        (True, accepted, (O.CANCELED, O.OPEN)),
        (True, rejected, (O.CANCELED, O.REJECTED)),
        (False, rejected, (O.UNKNOWN, O.REJECTED)),
        (False, (Kind.FAILED, State.UNKNOWN), (O.UNKNOWN, O.UNKNOWN)),
    ):
        bench = Bench()
        new_id = bench.send(O.ACTION_REPLACE)
        old = event(Kind.CANCELED, State.CANCELED, bench.order, 3)
        old = old if is_gone else failed(ErrorClass.UNKNOWN_ORDER, bench.order)
        bench.answer(Request.REPLACE, new_id, old, event(*new, new_id), old_id=bench.order)
        assert (bench.state(), bench.state(new_id)) == states
        assert bench.orders.position_lots == (3 if is_gone else 0)
        bench.gate.check()


def test_on_a_lost_connection_everything_open_is_in_doubt() -> None:
    bench = Bench()
    bench.orders.lose(0)
    assert bench.state() == O.UNKNOWN and bench.orders.sent[bench.order].state == O.UNKNOWN
    assert bench.orders.live_orders == 1
    bench.answer(Request.STATUS, bench.order, event(Kind.STATE, State.FILLED, bench.order, LOTS))
    assert bench.orders.live_orders == 0 and bench.orders.position_lots == LOTS
    assert bench.order not in bench.orders.sent


@pytest.mark.parametrize("state", [O.PENDING_NEW, O.OPEN])
def test_an_order_that_goes_unasked_and_unfilled_at_once_would_have_taken(state: int) -> None:
    bench = Bench(state)
    gone = event(Kind.CANCELED, State.CANCELED, bench.order, 0)
    soon_ns, late_ns = NOW_NS + REFUSED_WITHIN_NS, NOW_NS + REFUSED_WITHIN_NS + 1
    assert bench.orders.mark_refused(gone, soon_ns).error is ErrorClass.WOULD_TAKE
    filled = gone._replace(filled_lots=1)
    stranger = event(Kind.CANCELED, State.CANCELED, STRANGER, 0)
    unnamed = gone._replace(client_order_id=None)
    assert bench.orders.mark_refused(gone, late_ns) == gone
    for other in (filled, stranger, unnamed):
        assert bench.orders.mark_refused(other, soon_ns) == other
    bench.push(bench.orders.mark_refused(gone, soon_ns))
    assert bench.state() == O.CANCELED
    assert bench.notes.records[-1].reason == J.REASON_WOULD_TAKE


def test_an_order_that_goes_as_asked_is_no_refusal() -> None:
    bench = Bench()
    bench.orders.sent[bench.order].state = O.PENDING_CANCEL
    gone = event(Kind.CANCELED, State.CANCELED, bench.order, 0)
    assert bench.orders.mark_refused(gone, NOW_NS) == gone
