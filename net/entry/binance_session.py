"""Binance's order entry for one market: one connection of its WebSocket API, from open to lost.

    OPENING   the venue's clock -> session.logon, where the key can -> the account's events
    READING   open orders -> latest trades -> balances
    READY     orders, cancels, questions; the clock again every few minutes

One step of the opening is under way at a time; a step that fails ends the connection. Every
request carries a number of its own, and its answer is known by that number alone. An answer that
comes after its time is up is no answer any more, but what it tells of orders is handed on.

Orders are named as they were placed. A request is timed by the venue's clock, as far as it is
known, so that one that is late is refused by the venue instead of coming true.
Runs on: the engine thread; in the watchdog, the main thread. Called by: net.maker, net.watchdog.
"""

from __future__ import annotations

from engine.maker.client_ids import format_client_id
from engine.maker.order_layout import BUY, SELL
from net.entry.asked import Asked, AskedTable
from net.entry.binance import (
    BinanceRequests,
    CancelTemplate,
    PlaceTemplate,
    ReplaceTemplate,
    server_time,
)
from net.entry.binance_events import BinanceReader
from net.entry.binance_opening import BinanceOpening
from net.entry.keys import BinanceKeys
from net.entry.names import OrderNames
from net.entry.order import (
    Answer,
    EntryError,
    Kind,
    Market,
    Notice,
    OrderEvent,
    Push,
    Request,
    Style,
    quoted,
)
from net.entry.refusals import ErrorClass, Refusal
from net.entry.session import EntryHost, EntryState, Wire

NS_PER_MS, NS_PER_S = 1_000_000, 1_000_000_000

RECV_WINDOW_MS = 2000
"""A request that reaches the matching engine later than this is refused (-1021)."""
ROUND_TRIP_NS_MAX = NS_PER_S
"""A clock reading that took longer is not used: it may be wrong by half of it."""
ANSWER_LIMIT_NS = 3 * NS_PER_S
"""An answer is missing when the window, the clock's error and a way back are over."""
SETTLE_NS = 5 * NS_PER_S
OPENING_LIMIT_NS = 10 * NS_PER_S
"""For each step of the opening: a thousand trades take the venue longer than an order."""
assert RECV_WINDOW_MS * NS_PER_MS + ROUND_TRIP_NS_MAX // 2 < ANSWER_LIMIT_NS < SETTLE_NS

CLOCK_EVERY_NS = 180 * NS_PER_S
"""Two good crystals drift apart by some 10 ms meanwhile, two bad ones by 50."""
CLOCK_RETRY_NS = 10 * NS_PER_S
AGE_NS_MAX = (24 * 60 - 10) * 60 * NS_PER_S
"""The venue closes a connection after 24 hours."""

BARRED_NS = 600 * NS_PER_S
SKEW_FIRST_NS, SKEW_NS_MAX = 30 * NS_PER_S, BARRED_NS
LIMIT_WAIT_NS = 60 * NS_PER_S
"""Where a rate limit ends the opening and the venue names no time: its window is a minute."""

TROUBLES = frozenset(
    {
        ErrorClass.RATE_LIMITED,
        ErrorClass.BAD_KEYS,
        ErrorClass.CLOCK_SKEW,
        ErrorClass.NO_PERMISSION,
    }
)
"""Refusals that are about us, whatever was asked."""
BARRING = frozenset({ErrorClass.BAD_KEYS, ErrorClass.NO_PERMISSION})


class BinanceEntry:
    """A `net.entry.session.VenueEntry` and a `net.entry.line.LineOwner`."""

    def __init__(
        self,
        venue: int,
        market: Market,
        keys: BinanceKeys,
        wire: Wire,
        host: EntryHost,
        *,
        self_trade_mode: str = "",
    ) -> None:
        """`venue`: its index in the instrument. `self_trade_mode`: "" for the market's default."""
        self.clock_offset_ns = 0
        """The venue's clock less ours, as last read."""
        self.late_answers = self.unmatched_answers = self.unreadable_frames = 0
        self._venue, self._market, self._wire, self._host = venue, market, wire, host
        requests = BinanceRequests(
            keys, is_logged_on=keys.signer.can_log_on, recv_window_ms=RECV_WINDOW_MS
        )
        self._requests = requests
        style, mode = Style.POST_ONLY, self_trade_mode
        self._place = {s: PlaceTemplate(requests, market, s, style, mode) for s in (BUY, SELL)}
        self._replace = {s: ReplaceTemplate(requests, market, s, style, mode) for s in (BUY, SELL)}
        self._cancel = CancelTemplate(requests, market)
        self._reader = BinanceReader([market])
        self._opening = BinanceOpening(requests, self._reader, market)
        self._state = EntryState.DISCONNECTED
        self._last_number = 0
        self._asked = AskedTable()
        self._names = OrderNames()
        self._has_reread_clock = False
        self._is_renewing = False
        self._skew_wait_ns = SKEW_FIRST_NS
        self._opened_ns = self._clock_due_ns = 0

    @property
    def state(self) -> EntryState:
        return self._state

    @property
    def can_replace(self) -> bool:
        return True  # LIMIT_MAKER holds for the order that comes

    @property
    def settle_ns(self) -> int:
        return SETTLE_NS

    # --- what the market maker asks for ----------------------------------------------------------

    def place(self, order_id: int, side: int, price_ticks: int, lots: int, now_ns: int) -> None:
        """Send a post-only order; EntryError, and nothing sent, for what cannot be written."""
        number, time_ms = self._next(now_ns)
        message = self._place[side].write(number, order_id, price_ticks, lots, time_ms)
        self._ask_about(number, message, Request.PLACE, now_ns, order_id)

    def cancel(self, order_id: int, now_ns: int) -> None:
        number, time_ms = self._next(now_ns)
        message = self._cancel.write(number, order_id, time_ms)
        self._ask_about(number, message, Request.CANCEL, now_ns, order_id)

    def replace(
        self, old_id: int, new_id: int, side: int, price_ticks: int, lots: int, now_ns: int
    ) -> None:
        """Send a replace; EntryError, and nothing sent, for what cannot be written."""
        number, time_ms = self._next(now_ns)
        message = self._replace[side].write(number, old_id, new_id, price_ticks, lots, time_ms)
        self._ask_about(number, message, Request.REPLACE, now_ns, new_id, old_id)

    def ask(self, order_id: int, now_ns: int) -> None:
        """Ask where one order stands; where it was filled, its trades are asked for too."""
        number, time_ms = self._next(now_ns)
        name = format_client_id(order_id)
        message = self._requests.order_status(number, time_ms, self._market, name)
        self._ask_about(number, message, Request.STATUS, now_ns, order_id)

    def reread(self, now_ns: int) -> None:
        self._opening.read_again()
        self._next_step(now_ns)

    def on_timer(self, now_ns: int) -> None:
        for asked in self._asked.take_due(now_ns):
            asked.fail(asked, "no answer in time", now_ns)
        if self._state is not EntryState.READY:
            return
        if now_ns >= self._clock_due_ns:
            self._clock_due_ns = now_ns + CLOCK_EVERY_NS
            self._read_clock(now_ns)
        if now_ns - self._opened_ns >= AGE_NS_MAX:
            self._renew("the connection is near the venue's age limit")

    # --- what the line tells ---------------------------------------------------------------------

    def on_open(self, now_ns: int) -> None:
        self._state = EntryState.OPENING
        self._opening.restart()
        self._opened_ns = now_ns
        self._has_reread_clock = self._is_renewing = False
        self._read_clock(now_ns)

    def on_text(self, raw: bytes, now_ns: int) -> None:
        if self._state is EntryState.BARRED:
            return
        try:
            message = self._reader.read(raw)
        except EntryError as error:
            self._on_unreadable(raw, str(error), now_ns)
            return
        if isinstance(message, Push):
            self._on_push(message, now_ns)
        else:
            self._on_answer(message, now_ns)

    def on_lost(self, reason: str, now_ns: int) -> None:
        if self._state is not EntryState.BARRED:
            self._state = EntryState.DISCONNECTED
        self._asked.clear()
        self._host.on_entry_lost(self._venue, reason, now_ns)

    def note_line(self, what: str, **facts: object) -> None:
        self._note(what, **facts)

    # --- opening ---------------------------------------------------------------------------------

    def _next_step(self, now_ns: int) -> None:
        step = self._opening.step
        if step is None:
            self._become_ready(now_ns)
            return
        self._state = step.state
        number, due_ns = self._number(), now_ns + OPENING_LIMIT_NS
        asked = Asked(self._read_step, self._fail_opening, step.what, now_ns, due_ns)
        self._send(number, step.build(number, self._venue_time_ms(now_ns)), asked)

    def _read_step(self, asked: Asked, answer: Answer, now_ns: int) -> None:
        if answer.refusal is not None:
            self._on_opening_refused(asked.what, answer.refusal, now_ns)
            return
        try:
            self._opening.read(answer)
        except EntryError as error:
            self._fail_unreadable(asked, error, now_ns)
            return
        self._next_step(now_ns)

    def _become_ready(self, now_ns: int) -> None:
        self._state = EntryState.READY
        self._skew_wait_ns = SKEW_FIRST_NS
        self._clock_due_ns = now_ns + CLOCK_EVERY_NS
        self._note("order entry is ready", clock_offset_ms=self.clock_offset_ns // NS_PER_MS)
        self._host.on_ready(self._venue, self._opening.result(self._names), now_ns)

    def _on_opening_refused(self, what: str, refusal: Refusal, now_ns: int) -> None:
        if refusal.error is ErrorClass.CLOCK_SKEW and not self._has_reread_clock:
            self._has_reread_clock = True
            self._read_clock(now_ns)
            return
        if refusal.error in TROUBLES:
            self._host.on_trouble(self._venue, refusal, now_ns)
        reason = f"{what}: {refusal.text or refusal.error.value}"
        if refusal.error in BARRING:
            self._bar(reason, BARRED_NS)
        elif refusal.error is ErrorClass.CLOCK_SKEW:
            wait_ns = self._skew_wait_ns
            self._skew_wait_ns = min(2 * wait_ns, SKEW_NS_MAX)
            self._bar(reason, wait_ns)
        elif refusal.error is ErrorClass.RATE_LIMITED:
            self._wire.drop(reason, refusal.wait_ns if refusal.wait_ns >= 0 else LIMIT_WAIT_NS)
        else:
            self._wire.drop(reason)

    def _fail_opening(self, asked: Asked, reason: str, now_ns: int) -> None:
        self._wire.drop(f"{asked.what}: {reason}")

    def _bar(self, reason: str, wait_ns: int) -> None:
        """We are not accepted: asking again soon would only make it worse."""
        self._state = EntryState.BARRED
        self._note("order entry is barred", reason=reason, again_in_s=wait_ns // NS_PER_S)
        self._wire.drop(reason, wait_ns)

    # --- the venue's clock -----------------------------------------------------------------------

    def _venue_time_ms(self, now_ns: int) -> int:
        return (now_ns + self.clock_offset_ns) // NS_PER_MS

    def _read_clock(self, now_ns: int) -> None:
        number = self._number()
        is_ready = self._state is EntryState.READY
        fail = self._fail_clock if is_ready else self._fail_opening
        due_ns = now_ns + (ANSWER_LIMIT_NS if is_ready else OPENING_LIMIT_NS)
        asked = Asked(self._read_time, fail, "time", now_ns, due_ns)
        self._send(number, server_time(number), asked)

    def _read_time(self, asked: Asked, answer: Answer, now_ns: int) -> None:
        is_ready = self._state is EntryState.READY
        if answer.refusal is not None:
            if is_ready:
                self._fail_clock(asked, answer.refusal.text, now_ns)
                self._tell_trouble((answer.refusal,), now_ns)
            else:
                self._on_opening_refused(asked.what, answer.refusal, now_ns)
            return
        round_trip_ns = now_ns - asked.sent_ns
        if not 0 <= round_trip_ns <= ROUND_TRIP_NS_MAX:
            asked.fail(asked, f"took {round_trip_ns // NS_PER_MS} ms", now_ns)
            return
        try:
            there_ns = self._reader.server_time_ns(answer)
        except EntryError as error:
            self._fail_unreadable(asked, error, now_ns)
            return
        self.clock_offset_ns = there_ns - (asked.sent_ns + round_trip_ns // 2)
        if not is_ready:
            self._next_step(now_ns)

    def _fail_clock(self, asked: Asked, reason: str, now_ns: int) -> None:
        self._note("the venue's clock was not read", reason=reason)
        self._clock_due_ns = now_ns + CLOCK_RETRY_NS

    # --- requests and their answers --------------------------------------------------------------

    def _number(self) -> int:
        self._last_number += 1
        return self._last_number

    def _next(self, now_ns: int) -> tuple[int, int]:
        """The next request's number and time."""
        assert self._state is EntryState.READY, self._state
        return self._number(), self._venue_time_ms(now_ns)

    def _send(self, number: int, message: bytes, asked: Asked) -> None:
        self._wire.send(message)
        self._asked.put(number, asked)

    def _ask_about(
        self,
        number: int,
        message: bytes,
        request: Request,
        now_ns: int,
        order_id: int,
        replaced_id: int = 0,
        state: tuple[OrderEvent, ...] = (),
    ) -> None:
        self._wire.send(message)  # at once: no answer can come before this returns
        read, fail, due_ns = self._read_request, self._fail_request, now_ns + ANSWER_LIMIT_NS
        about = (request, order_id, replaced_id, state)
        self._asked.put(number, Asked(read, fail, request.value, now_ns, due_ns, *about))

    def _on_answer(self, answer: Answer, now_ns: int) -> None:
        number = answer.request_id
        asked = self._asked.take(number)
        if asked is not None:
            asked.read(asked, answer, now_ns)
            return
        late = self._asked.take_late(number)
        if late is not None:
            self._on_late(late, answer, now_ns)
            return
        self.unmatched_answers += 1
        reason = answer.refusal.text if answer.refusal else ""
        self._note("an answer to nothing", id=quoted(number), reason=reason)
        if answer.refusal is not None and number is None:
            # So the venue tells that the session's key has become invalid.
            self._tell_trouble((answer.refusal,), now_ns)

    def _on_late(self, late: Asked, answer: Answer, now_ns: int) -> None:
        """Its request has been reported as unanswered: what is left of it are its events."""
        self.late_answers += 1
        about = _named(late.what, late.order_id)
        self._note("late answer", **about, took_ms=(now_ns - late.sent_ns) // NS_PER_MS)
        try:
            events = self._events_of(late, answer)
        except EntryError as error:
            self.unreadable_frames += 1
            self._note("unreadable answer", **about, reason=str(error))
            return
        # That a request failed, or how an order stood, has not happened to the order.
        news = tuple(event for event in events if event.kind not in (Kind.FAILED, Kind.STATE))
        if news:
            self._host.on_push(self._venue, news, (), now_ns)
        self._tell_trouble(_refusals(answer, events), now_ns)

    def _events_of(self, asked: Asked, answer: Answer) -> tuple[OrderEvent, ...]:
        """What an answer says about the orders that were asked about; EntryError."""
        name, replaced = asked.names()
        if asked.state:
            trades = self._reader.order_events(Request.TRADES, answer, self._market)
            return self._names.named((*asked.state, *trades))
        found = self._reader.order_events(asked.request, answer, self._market, name, replaced)
        if asked.request in (Request.CANCEL, Request.STATUS):
            # They were asked for by this name, which a cancelled order may have lost.
            found = tuple(event._replace(client_order_id=name) for event in found)
        elif any(event.client_order_id not in (name, replaced) for event in found):
            raise EntryError(f"binance: an answer about another order than {name}")
        return self._names.named(found)

    def _read_request(self, asked: Asked, answer: Answer, now_ns: int) -> None:
        try:
            events = self._events_of(asked, answer)
        except EntryError as error:
            self._fail_unreadable(asked, error, now_ns)
            return
        # Trouble first: who hears of the answer may want to send the next order at once.
        self._tell_trouble(_refusals(answer, events), now_ns)
        if asked.state and sum(event.last_lots for event in events[1:]) < events[0].filled_lots:
            # Refused, or not in the venue's list yet. The state alone would be half of the truth.
            self._fail_request(asked, "not all of the order's trades are known", now_ns)
        elif asked.request is Request.STATUS and not asked.state and events[0].filled_lots > 0:
            self._ask_trades(asked, events, now_ns)
        else:
            about = (asked.request, asked.order_id, asked.replaced_id)
            self._host.on_answer(self._venue, *about, events, now_ns)

    def _ask_trades(self, asked: Asked, state: tuple[OrderEvent, ...], now_ns: int) -> None:
        number, time_ms = self._number(), self._venue_time_ms(now_ns)
        order = state[0].venue_order_id
        message = self._requests.order_trades(number, time_ms, self._market, order)
        self._ask_about(number, message, asked.request, now_ns, asked.order_id, state=state)

    def _fail_unreadable(self, asked: Asked, error: EntryError, now_ns: int) -> None:
        self.unreadable_frames += 1
        asked.fail(asked, str(error), now_ns)

    def _fail_request(self, asked: Asked, reason: str, now_ns: int) -> None:
        self._note("unanswered", **_named(asked.what, asked.order_id), reason=reason)
        about = (asked.request, asked.order_id, asked.replaced_id)
        self._host.on_unanswered(self._venue, *about, now_ns)

    def _tell_trouble(self, refusals: tuple[Refusal, ...], now_ns: int) -> None:
        """The first refusal that is about us, and what follows from it here."""
        found = next((each for each in refusals if each.error in TROUBLES), None)
        if found is None:
            return
        self._host.on_trouble(self._venue, found, now_ns)
        if self._state is not EntryState.READY:
            return
        if found.error is ErrorClass.BAD_KEYS:
            self._bar(found.text, BARRED_NS)
        elif found.error is ErrorClass.CLOCK_SKEW:
            self._clock_due_ns = now_ns

    # --- what the venue says of its own accord ---------------------------------------------------

    def _on_push(self, push: Push, now_ns: int) -> None:
        if push.events or push.balances:
            events = self._names.named(push.events)
            self._host.on_push(self._venue, events, push.balances, now_ns)
        elif push.notice is Notice.RECONNECT:
            self._renew("the venue is about to close the connection")
        elif push.notice is Notice.STREAM_ENDED:
            self._wire.drop("the account's events have ended")

    def _renew(self, reason: str) -> None:
        if not self._is_renewing:
            self._is_renewing = True
            self._wire.renew(reason)

    def _on_unreadable(self, raw: bytes, reason: str, now_ns: int) -> None:
        """A frame without sense. If no request is known to be meant, it may have been an event."""
        self.unreadable_frames += 1
        number = self._reader.request_id(raw)
        self._note("unreadable frame", reason=reason, id=number)
        asked = self._asked.take(number)
        if asked is not None:
            asked.fail(asked, reason, now_ns)
        elif self._asked.take_late(number) is None:
            self._wire.drop("a frame that cannot be read")

    def _note(self, what: str, **facts: object) -> None:
        self._host.note_entry(self._venue, what, **facts)


def _named(what: str, order_id: int) -> dict[str, str]:
    """A request as the log names it."""
    order = {"order": format_client_id(order_id)} if order_id else {}
    return {"request": what, **order}


def _refusals(answer: Answer, events: tuple[OrderEvent, ...]) -> tuple[Refusal, ...]:
    """Why an answer, or a half of it, is none."""
    halves = tuple(Refusal(event.error, "", event.reason) for event in events)
    return halves if answer.refusal is None else (answer.refusal, *halves)
