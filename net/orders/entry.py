"""What the order entries of all venues do alike: one connection, from open to lost.

    on_open -> the venue's opening, step by step -> READY -> requests, answers, events -> on_lost

A request ends once: by its answer, by its time limit or with the connection. An answer that comes
after that is no answer any more, but what it tells of orders is handed on. Where a step of the
opening fails, or a message cannot be read that may have been about an order, the connection is
given up, and on the next one everything is read again. A venue's own entry derives from this class
and adds the venue's requests, its steps and what it says of its own accord.
Runs on: the engine thread; in the watchdog, the main thread.
"""

from __future__ import annotations

from collections.abc import Iterable

from engine.layout.units import NS_PER_MS, NS_PER_S
from net.log.note import Note
from net.orders.compiled_requests import CompiledRequests
from net.orders.errors import ErrorClass, Refusal
from net.orders.event_reader import EventReader
from net.orders.interface import EntryHost, EntryNote, EntryState, Wire
from net.orders.messages import Answer, Balance, EntryError, Kind, Market, OrderEvent, Request
from net.orders.order_names import OrderNames
from net.orders.pending_requests import Pending, PendingRequests

BARRED_NS = 600 * NS_PER_S
"""Between two attempts where the venue does not accept our key, permission or clock."""
LIMIT_WAIT_NS = 60 * NS_PER_S
"""Where a rate limit ends the opening and the venue names no time: a usual window is a minute."""
BARRING = frozenset({ErrorClass.BAD_KEYS, ErrorClass.NO_PERMISSION, ErrorClass.CLOCK_SKEW})
TROUBLES = BARRING | {ErrorClass.RATE_LIMITED}
"""Refusals that are about us, whatever was asked. Those of BARRING end an opening for long."""
NOT_GIVEN = frozenset(
    {
        ErrorClass.NO_PERMISSION,
        ErrorClass.REJECTED,
        ErrorClass.BAD_REQUEST,
        ErrorClass.BAD_SYMBOL,
        ErrorClass.UNKNOWN_ORDER,
    }
)
"""Refusals that asking again would not change, of what can be done without."""


class OrderEntry:
    """One account's order entry in one market: most of a `net.orders.interface.VenueEntry`, and a
    `net.sockets.private_connection.LineOwner`.

    A venue's class has `place`, `cancel`, `replace`, `ask`, `reread`, `on_text`, `_begin_opening`.
    """

    settle_ns: int
    can_replace: bool
    age_ns_max: int
    """A connection is renewed at this age, before the venue closes it."""
    compiled: CompiledRequests | None = None
    """Its requests for compiled code to send; here all are Python's to send."""
    troubles = TROUBLES
    """What is told to the host beside the answer that it was in."""
    stale_kinds = frozenset({Kind.FAILED, Kind.STATE})
    """Events that are nothing new in a late answer: that a request failed, or how an order stood
    then, has not happened to the order."""

    def __init__(
        self,
        venue: int,
        market: Market,
        host: EntryHost,
        line: Wire,
        reader: EventReader,
        names: OrderNames,
    ) -> None:
        """`venue`: its index in the instrument."""
        self.state = EntryState.DISCONNECTED
        self.late_answers = self.unmatched_answers = self.unreadable_frames = 0
        self._venue, self._market, self._host, self._line = venue, market, host, line
        self._reader, self._names = reader, names
        self._pending = PendingRequests()
        self._is_open = self._is_renewing = False
        self._opened_ns = 0

    def cancel(self, order_id: int, now_ns: int) -> None:
        raise NotImplementedError

    def note_sent(
        self, number: int, kind: Request, order_id: int, replaced_id: int, now_ns: int
    ) -> None:
        """Compiled code has sent this request."""
        raise AssertionError("nothing of this entry is sent by compiled code")

    def cancel_all(self, order_ids: Iterable[int], now_ns: int) -> None:
        """Send a cancel for each: a venue's own "cancel all" would take orders of others too."""
        for order_id in order_ids:
            self.cancel(order_id, now_ns)

    def on_timer(self, now_ns: int) -> None:
        """Requests that are due, fills that need not wait any longer, the connection's age."""
        for pending in self._pending.take_due(now_ns):
            if self._is_open:  # the one before may have ended it, and all the others with it
                self._fail(pending, "no answer in time", now_ns)
        self._release(now_ns)
        if self._is_open and now_ns - self._opened_ns >= self.age_ns_max:
            self._renew("the connection is near the venue's age limit")

    # --- the private connection ------------------------------------------------------------------

    def on_open(self, now_ns: int) -> None:
        """Connected: the opening begins."""
        self._is_open, self._is_renewing = True, False
        self._opened_ns = now_ns
        self.state = EntryState.OPENING
        self._begin_opening(now_ns)

    def _begin_opening(self, now_ns: int) -> None:
        raise NotImplementedError

    def on_lost(self, reason: str, now_ns: int) -> None:
        """The connection is gone."""
        if self._is_open:
            self._lose(reason, now_ns)

    def note_line(self, note: Note, **facts: object) -> None:
        """What the connection tells of itself."""
        self._note(note, **facts)

    def _lose(self, reason: str, now_ns: int) -> None:
        self._is_open = False
        if self.state is not EntryState.BARRED:
            self.state = EntryState.DISCONNECTED
        self._forget()
        self._host.on_entry_lost(self._venue, reason, now_ns)

    def _forget(self) -> None:
        """What was sent over the connection is answered no more."""
        self._pending.forget()

    def _give_up(self, reason: str, now_ns: int, wait_ns: int = 0) -> None:
        """End this connection; `on_lost` follows."""
        self._line.drop(reason, wait_ns)

    def _bar(self, reason: str, wait_ns: int, now_ns: int) -> None:
        """We are not accepted: asking again soon would only make it worse."""
        self.state = EntryState.BARRED
        self._note(EntryNote.BARRED, reason=reason, again_in_s=wait_ns // NS_PER_S)
        self._give_up(reason, now_ns, wait_ns)

    def _renew(self, reason: str) -> None:
        if not self._is_renewing:
            self._is_renewing = True
            self._line.renew(reason)

    # --- answers ---------------------------------------------------------------------------------

    def _on_answer(self, pending: Pending, answer: Answer, now_ns: int) -> None:
        """An answer in time."""
        if pending.then is not None:
            self._take_own(pending, answer, now_ns)
            return
        try:
            events = self._names.named(self._events_of(pending, answer))
        except EntryError as error:
            self._fail_unreadable(pending, error, now_ns)
            return
        # Trouble first: who hears of the answer may want to send the next order at once.
        self._tell_trouble(_refusals(answer, events), now_ns)
        self._tell_answer(pending, events, now_ns)
        self._release(now_ns)

    def _on_late(self, pending: Pending, answer: Answer, now_ns: int) -> None:
        """Its request has been reported as unanswered: what is left of it are its events."""
        self.late_answers += 1
        took_ms = (now_ns - pending.sent_ns) // NS_PER_MS
        self._note(EntryNote.LATE_ANSWER, **pending.facts(), took_ms=took_ms)
        if pending.then is not None:
            return
        try:
            events = self._events_of(pending, answer)
        except EntryError as error:
            self._note_unreadable(pending, error)
            return
        self._push([each for each in events if each.kind not in self.stale_kinds], (), now_ns)
        self._tell_trouble(_refusals(answer, events), now_ns)

    def _events_of(self, pending: Pending, answer: Answer) -> tuple[OrderEvent, ...]:
        """What an answer says about the orders that were asked about; EntryError."""
        names = pending.names()
        return self._reader.order_events(pending.about.kind, answer, self._market, *names)

    def _tell_answer(self, pending: Pending, events: tuple[OrderEvent, ...], now_ns: int) -> None:
        self._host.on_answer(self._venue, pending.about, events, now_ns)

    def _take_own(self, pending: Pending, answer: Answer, now_ns: int) -> None:
        """The answer to what the entry has asked for itself."""
        assert pending.then is not None
        refusal = answer.refusal
        if refusal is not None and not _is_harmless(pending, refusal):
            if pending.fail is None:
                self._on_opening_refused(pending.what, refusal, now_ns)
            else:
                pending.fail(refusal.text, now_ns)
                self._tell_trouble((refusal,), now_ns)
            return
        try:
            proceed = pending.then(pending, answer, now_ns)
        except EntryError as error:
            self._fail_unreadable(pending, error, now_ns)
            return
        proceed(now_ns)

    def _on_opening_refused(self, what: str, refusal: Refusal, now_ns: int) -> None:
        """A step of the opening was refused."""
        self._tell_trouble((refusal,), now_ns)
        reason = f"{what}: {refusal.text or refusal.error.value}"
        if refusal.error in BARRING:
            self._bar(reason, self._barred_ns(refusal.error), now_ns)
        elif refusal.error is ErrorClass.RATE_LIMITED:
            wait_ns = refusal.wait_ns if refusal.wait_ns >= 0 else LIMIT_WAIT_NS
            self._give_up(reason, now_ns, wait_ns)
        else:
            self._give_up(reason, now_ns)

    def _barred_ns(self, error: ErrorClass) -> int:
        return BARRED_NS

    def _fail_unreadable(self, pending: Pending, error: EntryError, now_ns: int) -> None:
        self.unreadable_frames += 1
        self._fail(pending, str(error), now_ns)

    def _note_unreadable(self, pending: Pending, error: EntryError) -> None:
        self.unreadable_frames += 1
        self._note(EntryNote.UNREADABLE_ANSWER, **pending.facts(), reason=str(error))

    def _fail(self, pending: Pending, reason: str, now_ns: int) -> None:
        """No answer, or none that can be read."""
        if pending.fail is not None:
            pending.fail(reason, now_ns)
        elif pending.then is not None:
            self._give_up(f"{pending.what}: {reason}", now_ns)
        else:
            self._note(EntryNote.UNANSWERED, **pending.facts(), reason=reason)
            self._host.on_unanswered(self._venue, pending.about, now_ns)

    def _tell_trouble(self, refusals: tuple[Refusal, ...], now_ns: int) -> None:
        """The first refusal that is about us."""
        found = next((each for each in refusals if each.error in self.troubles), None)
        if found is not None:
            self._host.on_trouble(self._venue, found, now_ns)
            if self.state is EntryState.READY:
                self._on_trouble(found, now_ns)

    def _on_trouble(self, refusal: Refusal, now_ns: int) -> None:
        """What follows from trouble while READY, beside what the host does; here nothing."""

    # --- what the venue says of its own accord ---------------------------------------------------

    def _push(
        self, events: Iterable[OrderEvent], balances: tuple[Balance, ...], now_ns: int
    ) -> None:
        told = self._names.pushed(events, now_ns)
        if told or balances:
            self._host.on_push(self._venue, told, balances, now_ns)
        self._release(now_ns)

    def _release(self, now_ns: int) -> None:
        """Fills that have waited for the name of their order."""
        told = self._names.released(now_ns)
        if told:
            self._host.on_push(self._venue, told, (), now_ns)

    def _note(self, note: Note, **facts: object) -> None:
        self._host.note_entry(self._venue, note, **facts)


def _is_harmless(pending: Pending, refusal: Refusal) -> bool:
    """Whether who reads an answer can do with this refusal."""
    is_gone = pending.may_be_gone and refusal.error is ErrorClass.UNKNOWN_ORDER
    return is_gone or (pending.may_be_refused and refusal.error in NOT_GIVEN)


def _refusals(answer: Answer, events: tuple[OrderEvent, ...]) -> tuple[Refusal, ...]:
    """The refusals in an answer, those of one half of a replace included."""
    halves = tuple(Refusal(event.error, event.reason) for event in events)
    return halves if answer.refusal is None else (answer.refusal, *halves)
