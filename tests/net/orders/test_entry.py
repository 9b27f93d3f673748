"""What all order entries do alike, by one of a venue that says nothing by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from net.log.note import Note
from net.orders.entry import BARRED_NS, BARRING, LIMIT_WAIT_NS, OrderEntry
from net.orders.errors import ErrorClass, Refusal
from net.orders.event_reader import EventReader
from net.orders.interface import EntryHost, EntryNote, EntryState, Opening
from net.orders.messages import Answer, EntryError, Kind, OrderEvent, OrderRequest, Request, State
from net.orders.order_names import OrderNames
from net.orders.pending_requests import Next, Pending
from net.orders.transfers import Transfer
from tests.net.orders.rig import BTCUSD

LIMIT_NS, AGE_NS = 5, 1_000
ONE, TWO = 7 << 32 | 1, 7 << 32 | 2
FINE = Answer(1, {}, None)


def refused(error: ErrorClass, wait_ns: int = -1) -> Answer:
    return Answer(1, None, Refusal(error, "no", wait_ns))


class Reader(EventReader):
    """An answer says that its order was accepted; one with a text cannot be read."""

    def __init__(self) -> None:
        super().__init__([BTCUSD])
        self.singles = {Request.PLACE: self._accepted, Request.CANCEL: self._accepted}
        self.lists = {}

    def _accepted(self, row: Any, market: Any, name: str | None) -> tuple[OrderEvent, ...]:
        return (OrderEvent(Kind.ACCEPTED, State.OPEN, market.symbol, name, 1),)


class Entry(OrderEntry):
    """Opens with one step; a request's number is told to `sent`."""

    settle_ns, can_replace, age_ns_max = 1, False, AGE_NS

    def __init__(self, bench: Bench) -> None:
        host: EntryHost = bench
        super().__init__(0, BTCUSD, host, bench, Reader(), OrderNames())
        self.sent: list[int] = []

    def request(self, request: Request, order_id: int, now_ns: int, **more: Any) -> Pending:
        pending = Pending(
            "a request", now_ns, now_ns + LIMIT_NS, OrderRequest(request, order_id), **more
        )
        self.sent.append(self._pending.next_number())
        self._pending.put(self.sent[-1], pending)
        return pending

    def cancel(self, order_id: int, now_ns: int) -> None:
        self.request(Request.CANCEL, order_id, now_ns)

    def _begin_opening(self, now_ns: int) -> None:
        self.request(Request.STATUS, 0, now_ns, then=self._read_step)

    def _read_step(self, pending: Pending, answer: Answer, now_ns: int) -> Next:
        if answer.result == "nonsense":
            raise EntryError("nonsense")
        return self._become_ready

    def _become_ready(self, now_ns: int) -> None:
        self.state = EntryState.READY
        self._host.on_ready(self._venue, Opening((), (), ()), now_ns)

    def answer(self, answer: Answer, now_ns: int, number: int = -1) -> None:
        pending, is_late = self._pending.take(self.sent[number])
        assert pending is not None
        (self._on_late if is_late else self._on_answer)(pending, answer, now_ns)


class Bench:
    """The line and the host: both write down what they are told."""

    def __init__(self) -> None:
        self.transfers: list[tuple[Transfer, ...]] = []
        self.told: list[tuple[Any, ...]] = []
        self.notes: list[Note] = []
        self.line: list[tuple[Any, ...]] = []
        self.on_ready_do: Callable[[], None] = lambda: None
        self.entry = Entry(self)

    def ready(self) -> Entry:
        self.entry.on_open(0)
        self.entry.answer(FINE, 0)
        assert self.entry.state is EntryState.READY
        self.told.clear()
        return self.entry

    outlet = None

    def send(self, message: bytes | bytearray) -> None: ...

    def renew(self, reason: str) -> None:
        self.line.append(("renew", reason))

    def drop(self, reason: str, wait_ns: int = 0) -> None:
        self.line.append(("drop", wait_ns))

    def on_answer(
        self, venue: int, asked: OrderRequest, events: tuple[OrderEvent, ...], now_ns: int
    ) -> None:
        self.told.append(("answer", asked.order_id))

    def on_unanswered(self, venue: int, asked: OrderRequest, now_ns: int) -> None:
        self.told.append(("unanswered", asked.order_id))

    def on_push(self, venue: int, events: Any, balances: Any, now_ns: int) -> None:
        self.told.append(("push", *(event.client_order_id for event in events)))

    def on_transfers(self, venue: int, transfers: tuple[Transfer, ...], now_ns: int) -> None:
        self.transfers.append(transfers)

    def on_audit(self, venue: int, reading: Opening, now_ns: int) -> None:
        self.told.append(("audit",))

    def on_ready(self, venue: int, opening: Opening, now_ns: int) -> None:
        self.told.append(("ready",))
        self.on_ready_do()

    def on_entry_lost(self, venue: int, reason: str, now_ns: int) -> None:
        self.told.append(("lost",))

    def on_trouble(self, venue: int, refusal: Refusal, now_ns: int) -> None:
        self.told.append(("trouble", refusal.error))

    def wall_ns(self) -> int:
        return 0

    def note_entry(self, venue: int, note: Note, **facts: object) -> None:
        assert note.level in ("info", "warning") and note.text
        self.notes.append(note)


def test_cancelling_all_is_a_cancel_of_each_and_of_no_other() -> None:
    bench = Bench()
    entry = bench.ready()
    sent = len(entry.sent)
    entry.cancel_all([ONE, TWO], 0)
    entry.cancel_all([], 0)
    assert len(entry.sent) == sent + 2
    entry.on_timer(LIMIT_NS)
    assert bench.told == [("unanswered", ONE), ("unanswered", TWO)]
    assert bench.notes == [EntryNote.UNANSWERED] * 2


def test_a_late_answer_is_what_has_happened() -> None:
    bench = Bench()
    entry = bench.ready()
    entry.request(Request.PLACE, ONE, 0)
    entry.on_timer(LIMIT_NS)
    entry.answer(FINE, 9)
    assert [told[0] for told in bench.told] == ["unanswered", "push"]
    assert entry.late_answers == 1 and bench.notes[-1] is EntryNote.LATE_ANSWER


@pytest.mark.parametrize("is_late", [False, True])
def test_an_answer_that_cannot_be_read_is_none(is_late: bool) -> None:
    bench = Bench()
    entry = bench.ready()
    entry.request(Request.PLACE, ONE, 0)
    if is_late:
        entry.on_timer(LIMIT_NS)
    entry.answer(Answer(1, "nonsense", None), 9)
    assert bench.told == [("unanswered", ONE)] and entry.unreadable_frames == 1
    assert (bench.notes[-1] is EntryNote.UNREADABLE_ANSWER) == is_late


@pytest.mark.parametrize("error", [each for each in ErrorClass if each is not ErrorClass.NONE])
def test_what_a_refused_opening_leads_to(error: ErrorClass) -> None:
    bench = Bench()
    bench.entry.on_open(0)
    bench.entry.answer(refused(error), 0)
    is_barred, is_limited = error in BARRING, error is ErrorClass.RATE_LIMITED
    wait_ns = BARRED_NS if is_barred else LIMIT_WAIT_NS if is_limited else 0
    assert bench.line == [("drop", wait_ns)]
    assert bench.told == ([("trouble", error)] if is_barred or is_limited else [])
    assert bench.notes == ([EntryNote.BARRED] if is_barred else [])
    bench.entry.on_lost("dropped", 1)
    bench.entry.on_lost("dropped", 1)
    assert bench.told[-1] == ("lost",) and bench.told.count(("lost",)) == 1
    state = EntryState.BARRED if is_barred else EntryState.DISCONNECTED
    assert bench.entry.state is state
    bench.ready()


def test_a_limit_is_waited_for_as_long_as_it_says() -> None:
    bench = Bench()
    bench.entry.on_open(0)
    bench.entry.answer(refused(ErrorClass.RATE_LIMITED, 0), 0)
    assert bench.line == [("drop", 0)]


@pytest.mark.parametrize("how", ["silence", "nonsense"])
def test_a_step_without_an_answer_ends_the_connection(how: str) -> None:
    bench = Bench()
    bench.entry.on_open(0)
    if how == "silence":
        bench.entry.on_timer(LIMIT_NS)
    else:
        bench.entry.answer(Answer(1, how, None), 0)
    assert bench.line == [("drop", 0)] and bench.told == []


def test_no_such_order_answers_a_question_of_the_entry_where_it_says_so() -> None:
    for may_be_gone in (False, True):
        bench = Bench()
        bench.entry.on_open(0)
        more = {"then": bench.entry._read_step, "may_be_gone": may_be_gone}
        bench.entry.request(Request.STATUS, 0, 0, **more)
        bench.entry.answer(refused(ErrorClass.UNKNOWN_ORDER), 0)
        assert (bench.told == [("ready",)]) == may_be_gone == (bench.line == [])


def test_a_mistake_of_the_host_is_not_taken_for_the_venue_s() -> None:
    bench = Bench()

    def fail() -> None:
        raise EntryError("the host's")

    bench.on_ready_do = fail
    bench.entry.on_open(0)
    with pytest.raises(EntryError, match="the host's"):
        bench.entry.answer(FINE, 0)
    assert bench.entry.unreadable_frames == 0 and bench.line == []


def test_trouble_is_told_first_and_once() -> None:
    bench = Bench()
    entry = bench.ready()
    entry.request(Request.PLACE, ONE, 0)
    entry.answer(refused(ErrorClass.RATE_LIMITED), 0)
    entry.request(Request.PLACE, TWO, 0)
    entry.answer(refused(ErrorClass.WOULD_TAKE), 0)
    trouble = ("trouble", ErrorClass.RATE_LIMITED)
    assert bench.told == [trouble, ("answer", ONE), ("answer", TWO)]


def test_a_connection_is_renewed_once_at_its_age() -> None:
    bench = Bench()
    entry = bench.ready()
    entry.on_timer(AGE_NS - 1)
    assert bench.line == []
    entry.on_timer(AGE_NS)
    entry.on_timer(AGE_NS + 1)
    assert [what for what, _ in bench.line] == ["renew"]
    entry.on_lost("closed", AGE_NS + 2)
    entry.on_timer(3 * AGE_NS)
    assert len(bench.line) == 1, "there is none to renew"


def test_what_is_under_way_ends_with_the_connection_alone() -> None:
    bench = Bench()
    entry = bench.ready()
    entry.request(Request.PLACE, ONE, 0)
    entry.on_lost("cut", 1)
    entry.on_timer(LIMIT_NS)
    assert bench.told == [("lost",)]
