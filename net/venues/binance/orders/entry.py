"""Binance's order entry for one market: one connection of its WebSocket API, from open to lost.

    OPENING   the venue's clock -> session.logon, where the key can -> the account's events
    READING   open orders -> latest trades -> fees -> balances
    READY     orders, cancels, questions; the clock again every few minutes

One step of the opening is under way at a time; a step that fails ends the connection. Orders are
named as they were placed. A request is timed by the venue's clock, as far as it is known, so that
one that is late is refused by the venue instead of coming true.
Runs on: the engine thread; in the watchdog, the main thread.
"""

from __future__ import annotations

from functools import partial

from engine.layout.units import NS_PER_MS, NS_PER_S
from engine.maker.client_ids import format_client_id
from engine.maker.order_layout import (
    ACTION_CANCEL,
    ACTION_REPLACE,
    ACTION_SUBMIT,
    ACTION_TAKE,
    BUY,
    SELL,
)
from net.orders.compiled_requests import CompiledRequests
from net.orders.entry import BARRED_NS, NOT_GIVEN, OrderEntry
from net.orders.errors import ErrorClass, Refusal
from net.orders.http_requests import HttpAnswer, HttpWire
from net.orders.interface import EntryHost, EntryNote, EntryState, Wire
from net.orders.messages import (
    Answer,
    EntryError,
    Market,
    Notice,
    OrderEvent,
    OrderRequest,
    Push,
    Request,
    Style,
    quoted,
)
from net.orders.order_names import OrderNames
from net.orders.pending_requests import Next, Pending
from net.venues.binance.market_data import BINANCE
from net.venues.binance.orders.audit import BinanceAudit, Part
from net.venues.binance.orders.credentials import BinanceKeys
from net.venues.binance.orders.events import BinanceReader
from net.venues.binance.orders.logon import COMMISSION, BinanceOpening
from net.venues.binance.orders.requests import (
    BinanceRequests,
    CancelTemplate,
    PlaceTemplate,
    ReplaceTemplate,
    server_time,
)
from net.venues.binance.orders.transfers import Part as TransfersPart
from net.venues.binance.orders.transfers import TransfersReading, read_rest

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

AUDIT_EVERY_NS = 5 * NS_PER_S
"""An audit weighs 46 of the 6,000 in a minute that the address shares with the market data."""
CLOCK_EVERY_NS = 180 * NS_PER_S
"""Two good crystals drift apart by some 10 ms meanwhile, two bad ones by 50."""
CLOCK_RETRY_NS = 10 * NS_PER_S
SKEW_FIRST_NS, SKEW_NS_MAX = 30 * NS_PER_S, BARRED_NS
"""A clock that is wrong after it was read anew is barred for so long, at first and at most."""


class BinanceEntry(OrderEntry):
    """One account's order entry in one market (net.orders.interface.VenueEntry)."""

    settle_ns = SETTLE_NS
    audit_every_ns = AUDIT_EVERY_NS
    can_replace = True  # LIMIT_MAKER holds for the order that comes
    age_ns_max = BINANCE.connection_age_max_s * NS_PER_S
    _reader: BinanceReader

    def __init__(
        self,
        venue: int,
        market: Market,
        keys: BinanceKeys,
        wire: Wire,
        host: EntryHost,
        *,
        http: HttpWire | None = None,
        self_trade_mode: str = "",
    ) -> None:
        """`http`: to the venue's REST side, where there is one. `self_trade_mode`: "" for the
        market's default."""
        super().__init__(venue, market, host, wire, BinanceReader([market]), OrderNames())
        self._clock_offset_ns = 0
        requests = BinanceRequests(
            keys, is_logged_on=keys.signer.can_log_on, recv_window_ms=RECV_WINDOW_MS
        )
        self._requests = requests
        style, mode = Style.POST_ONLY, self_trade_mode
        self._place = {s: PlaceTemplate(requests, market, s, style, mode) for s in (BUY, SELL)}
        self._take = {
            s: PlaceTemplate(requests, market, s, Style.IMMEDIATE, mode) for s in (BUY, SELL)
        }
        self._replace = {s: ReplaceTemplate(requests, market, s, style, mode) for s in (BUY, SELL)}
        self._cancel = CancelTemplate(requests, market)
        self.compiled = self._compile(wire) if requests.is_logged_on else None
        self._opening = BinanceOpening(requests, self._reader, market)
        self._audit: BinanceAudit | None = None
        self._keys, self._http = keys, http
        self._has_reread_clock = False
        self._skew_wait_ns = SKEW_FIRST_NS
        self._clock_due_ns = 0

    def _compile(self, wire: Wire) -> CompiledRequests | None:
        """The requests of a session that is logged on, which needs no signatures."""
        if wire.outlet is None:
            return None
        kinds = (
            (ACTION_SUBMIT, self._place),
            (ACTION_TAKE, self._take),
            (ACTION_REPLACE, self._replace),
            (ACTION_CANCEL, dict.fromkeys((BUY, SELL), self._cancel)),
        )
        templates = {(kind, s): by_side[s].message for kind, by_side in kinds for s in by_side}
        return CompiledRequests(wire.outlet, self._pending.last_number, templates)

    @property
    def clock_offset_ns(self) -> int:
        """The venue's clock less our steady one, as last read: nobody sets either while we run."""
        return self._clock_offset_ns

    @clock_offset_ns.setter
    def clock_offset_ns(self, offset_ns: int) -> None:
        self._clock_offset_ns = offset_ns
        if self.compiled is not None:
            self.compiled.set_clock(offset_ns)

    # --- what the market maker asks for ----------------------------------------------------------

    def place(self, order_id: int, side: int, price_ticks: int, lots: int, now_ns: int) -> None:
        """Send a post-only order; EntryError, and nothing sent, for what cannot be written."""
        number, time_ms = self._next(now_ns)
        message = self._place[side].write(number, order_id, price_ticks, lots, time_ms)
        self._send(number, message, now_ns, Request.PLACE, order_id)

    def take(self, order_id: int, side: int, price_ticks: int, lots: int, now_ns: int) -> None:
        """Send an immediate-or-cancel order; EntryError, and nothing sent, as `place`."""
        number, time_ms = self._next(now_ns)
        message = self._take[side].write(number, order_id, price_ticks, lots, time_ms)
        self._send(number, message, now_ns, Request.PLACE, order_id)

    def cancel(self, order_id: int, now_ns: int) -> None:
        """Send a cancel, by our name."""
        number, time_ms = self._next(now_ns)
        message = self._cancel.write(number, order_id, time_ms)
        self._send(number, message, now_ns, Request.CANCEL, order_id)

    def replace(
        self, old_id: int, new_id: int, side: int, price_ticks: int, lots: int, now_ns: int
    ) -> None:
        """Send a replace; EntryError, and nothing sent, for what cannot be written."""
        number, time_ms = self._next(now_ns)
        message = self._replace[side].write(number, old_id, new_id, price_ticks, lots, time_ms)
        self._send(number, message, now_ns, Request.REPLACE, new_id, old_id)

    def ask(self, order_id: int, now_ns: int) -> None:
        """Ask where one order stands; where it was filled, its trades are asked for too."""
        number, time_ms = self._next(now_ns)
        name = format_client_id(order_id)
        message = self._requests.order_status(number, time_ms, self._market, name)
        self._send(number, message, now_ns, Request.STATUS, order_id)

    def reread(self, now_ns: int) -> None:
        """Read the account again, on the same connection."""
        self._opening.read_again()
        self._next_step(now_ns)

    def audit(self, now_ns: int) -> None:
        """Read the account beside everything else; an audit that is under way goes on."""
        if self._audit is not None or self.state is not EntryState.READY:
            return
        audit = self._audit = BinanceAudit(self._requests, self._reader, self._market)
        for part in Part:
            number, time_ms = self._next(now_ns)
            self._line.send(audit.write(part, number, time_ms))
            then, fail = partial(self._read_audit, audit, part), partial(self._fail_audit, audit)
            due_ns = now_ns + OPENING_LIMIT_NS
            pending = Pending(f"audit: {part.value}", now_ns, due_ns, then=then, fail=fail)
            self._pending.put(number, pending)

    def _read_audit(
        self, audit: BinanceAudit, part: Part, pending: Pending, answer: Answer, now_ns: int
    ) -> Next:
        if audit is self._audit:
            audit.read(part, answer)
        return partial(self._end_audit, audit)

    def _end_audit(self, audit: BinanceAudit, now_ns: int) -> None:
        reading = audit.result(self._names)
        if audit is self._audit and reading is not None:
            self._audit = None
            self._host.on_audit(self._venue, reading, now_ns)

    def _fail_audit(self, audit: BinanceAudit, reason: str, now_ns: int) -> None:
        if audit is self._audit:
            self._audit = None
            self._note(EntryNote.AUDIT_FAILED, reason=reason)

    def _forget(self) -> None:
        super()._forget()
        self._audit = None

    # --- deposits and withdrawals ----------------------------------------------------------------

    def read_transfers(self, asset: str, since_ns: int, now_ns: int) -> None:
        """Read the account's history, two requests at once; the first that fails is told."""
        assert self._http is not None, "an entry that reads a history has a connection for it"
        venue_ns = self._venue_time_ms(now_ns) * NS_PER_MS
        reading = TransfersReading(self._keys, asset, since_ns, venue_ns)
        failed: list[str] = []

        def then(part: TransfersPart, pending: Pending, answer: Answer, now_ns: int) -> Next:
            reading.read(part, answer)
            return tell

        def tell(now_ns: int) -> None:
            if (found := reading.result()) is not None:
                self._host.on_transfers(self._venue, found, now_ns)

        def fail(reason: str, now_ns: int) -> None:
            if not failed:
                self._note(EntryNote.TRANSFERS_NOT_READ, reason=reason)
            failed.append(reason)

        for part in TransfersPart:
            number, time_ms = self._next(now_ns)
            what, due_ns = part.name.lower(), now_ns + OPENING_LIMIT_NS
            read = partial(then, part)
            self._pending.put(number, Pending(what, now_ns, due_ns, then=read, fail=fail))
            self._http.post(reading.write(part, time_ms, RECV_WINDOW_MS), number)

    def on_http(self, key: int, answer: HttpAnswer, now_ns: int) -> None:
        """The answer to one of those."""
        pending, is_late = self._pending.take(key)
        if pending is None or is_late:
            return
        try:
            read = read_rest(answer)
        except EntryError as error:
            self._fail_unreadable(pending, error, now_ns)
            return
        if read.refusal is None:
            self._on_answer(pending, read, now_ns)
            return
        # Orders need no permission to read the wallet: whatever is refused there bars no entry.
        self._fail(pending, read.refusal.text, now_ns)
        if read.refusal.error is ErrorClass.RATE_LIMITED:
            self._tell_trouble((read.refusal,), now_ns)

    def on_http_failed(self, key: int, reason: str, was_sent: bool, now_ns: int) -> None:
        """No answer."""
        pending, is_late = self._pending.take(key)
        if pending is not None and not is_late:
            self._fail(pending, reason, now_ns)

    def on_timer(self, now_ns: int) -> None:
        """Requests that are due, the venue's clock, the connection's age."""
        super().on_timer(now_ns)
        if self.state is EntryState.READY and now_ns >= self._clock_due_ns:
            self._clock_due_ns = now_ns + CLOCK_EVERY_NS
            self._read_clock(now_ns)

    def _next(self, now_ns: int) -> tuple[int, int]:
        """The next request's number and time."""
        assert self.state is EntryState.READY, self.state
        return self._pending.next_number(), self._venue_time_ms(now_ns)

    def _send(
        self,
        number: int,
        message: bytes,
        now_ns: int,
        kind: Request,
        order_id: int,
        replaced_id: int = 0,
        state: tuple[OrderEvent, ...] = (),
    ) -> None:
        self._line.send(message)  # at once: no answer can come before this returns
        self._await(number, now_ns, OrderRequest(kind, order_id, replaced_id), state)

    def note_sent(
        self, number: int, kind: Request, order_id: int, replaced_id: int, now_ns: int
    ) -> None:
        """Compiled code has sent this request; where the connection has failed with it, it ends."""
        self._await(number, now_ns, OrderRequest(kind, order_id, replaced_id))
        assert self.compiled is not None
        if failure := self.compiled.failure:
            self._give_up(failure, now_ns)

    def _await(
        self, number: int, now_ns: int, about: OrderRequest, state: tuple[OrderEvent, ...] = ()
    ) -> None:
        due_ns = now_ns + ANSWER_LIMIT_NS
        self._pending.put(number, Pending(about.kind.value, now_ns, due_ns, about, state=state))

    # --- opening ---------------------------------------------------------------------------------

    def _begin_opening(self, now_ns: int) -> None:
        self._opening.restart()
        self._has_reread_clock = False
        self._read_clock(now_ns)

    def _next_step(self, now_ns: int) -> None:
        step = self._opening.step
        if step is None:
            self._become_ready(now_ns)
            return
        self.state = step.state
        number, due_ns = self._pending.next_number(), now_ns + OPENING_LIMIT_NS
        self._line.send(step.build(number, self._venue_time_ms(now_ns)))
        self._pending.put(number, Pending(step.what, now_ns, due_ns, then=self._read_step))

    def _read_step(self, pending: Pending, answer: Answer, now_ns: int) -> Next:
        self._opening.read(answer)
        return self._next_step

    def _become_ready(self, now_ns: int) -> None:
        self.state = EntryState.READY
        self._skew_wait_ns = SKEW_FIRST_NS
        self._clock_due_ns = now_ns + CLOCK_EVERY_NS
        ahead_ns = now_ns + self.clock_offset_ns - self._host.wall_ns()
        self._note(EntryNote.READY, clock_offset_ms=ahead_ns // NS_PER_MS)
        self._host.on_ready(self._venue, self._opening.result(self._names), now_ns)

    def _on_opening_refused(self, what: str, refusal: Refusal, now_ns: int) -> None:
        if refusal.error is ErrorClass.CLOCK_SKEW and not self._has_reread_clock:
            self._has_reread_clock = True
            self._read_clock(now_ns)
            return
        if what == COMMISSION and refusal.error in NOT_GIVEN:
            self._note(EntryNote.FEES_NOT_READ, reason=refusal.text)
            self._opening.skip()
            self._next_step(now_ns)
            return
        super()._on_opening_refused(what, refusal, now_ns)

    def _barred_ns(self, error: ErrorClass) -> int:
        if error is not ErrorClass.CLOCK_SKEW:
            return BARRED_NS
        wait_ns = self._skew_wait_ns
        self._skew_wait_ns = min(2 * wait_ns, SKEW_NS_MAX)
        return wait_ns

    # --- the venue's clock -----------------------------------------------------------------------

    def _venue_time_ms(self, now_ns: int) -> int:
        return (now_ns + self.clock_offset_ns) // NS_PER_MS

    def _read_clock(self, now_ns: int) -> None:
        number = self._pending.next_number()
        is_ready = self.state is EntryState.READY
        due_ns = now_ns + (ANSWER_LIMIT_NS if is_ready else OPENING_LIMIT_NS)
        fail = self._fail_clock if is_ready else None
        self._line.send(server_time(number))
        self._pending.put(number, Pending("time", now_ns, due_ns, then=self._read_time, fail=fail))

    def _read_time(self, pending: Pending, answer: Answer, now_ns: int) -> Next:
        round_trip_ns = now_ns - pending.sent_ns
        if not 0 <= round_trip_ns <= ROUND_TRIP_NS_MAX:
            reason = f"took {round_trip_ns // NS_PER_MS} ms"
            return lambda now_ns: self._fail(pending, reason, now_ns)
        there_ns = self._reader.server_time_ns(answer)
        self.clock_offset_ns = there_ns - (pending.sent_ns + round_trip_ns // 2)
        return self._next_step if pending.fail is None else lambda now_ns: None

    def _fail_clock(self, reason: str, now_ns: int) -> None:
        self._note(EntryNote.CLOCK_NOT_READ, reason=reason)
        self._clock_due_ns = now_ns + CLOCK_RETRY_NS

    # --- answers ---------------------------------------------------------------------------------

    def on_text(self, raw: bytes, now_ns: int) -> None:
        """One message of the connection."""
        if self.state is EntryState.BARRED:
            return
        try:
            message = self._reader.read(raw)
        except EntryError as error:
            self._on_unreadable(raw, error, now_ns)
            return
        if isinstance(message, Push):
            self._on_push(message, now_ns)
            return
        pending, is_late = self._pending.take(message.request_id)
        if pending is None:
            self._on_unmatched(message, now_ns)
        elif is_late:
            self._on_late(pending, message, now_ns)
        else:
            self._on_answer(pending, message, now_ns)

    def _on_unmatched(self, answer: Answer, now_ns: int) -> None:
        self.unmatched_answers += 1
        number, refusal = answer.request_id, answer.refusal
        reason = refusal.text if refusal else ""
        self._note(EntryNote.UNMATCHED_ANSWER, id=quoted(number), reason=reason)
        if refusal is not None and number is None:
            # So the venue tells that the session's key has become invalid.
            self._tell_trouble((refusal,), now_ns)

    def _events_of(self, pending: Pending, answer: Answer) -> tuple[OrderEvent, ...]:
        name, replaced = pending.names()
        if pending.state:
            trades = self._reader.order_events(Request.TRADES, answer, self._market)
            return (*pending.state, *trades)
        found = self._reader.order_events(pending.about.kind, answer, self._market, name, replaced)
        if pending.about.kind in (Request.CANCEL, Request.STATUS):
            # They were asked for by this name, which a cancelled order may have lost.
            return tuple(event._replace(client_order_id=name) for event in found)
        if any(event.client_order_id not in (name, replaced) for event in found):
            raise EntryError(f"binance: an answer about another order than {name}")
        return found

    def _tell_answer(self, pending: Pending, events: tuple[OrderEvent, ...], now_ns: int) -> None:
        is_question = pending.about.kind is Request.STATUS
        if pending.state and sum(event.last_lots for event in events[1:]) < events[0].filled_lots:
            # Refused, or not in the venue's list yet. The state alone would be half of the truth.
            self._fail(pending, "not all of the order's trades are known", now_ns)
        elif is_question and not pending.state and events[0].filled_lots > 0:
            number, time_ms = self._pending.next_number(), self._venue_time_ms(now_ns)
            order = events[0].venue_order_id
            message = self._requests.order_trades(number, time_ms, self._market, order)
            self._send(number, message, now_ns, *pending.about, state=events)
        else:
            super()._tell_answer(pending, events, now_ns)

    def _on_trouble(self, refusal: Refusal, now_ns: int) -> None:
        if refusal.error is ErrorClass.BAD_KEYS:
            self._bar(refusal.text, BARRED_NS, now_ns)
        elif refusal.error is ErrorClass.CLOCK_SKEW:
            self._clock_due_ns = now_ns

    # --- what the venue says of its own accord ---------------------------------------------------

    def _on_push(self, push: Push, now_ns: int) -> None:
        if push.events or push.balances:
            self._push(push.events, push.balances, now_ns)
        elif push.notice is Notice.RECONNECT:
            self._renew("the venue is about to close the connection")
        elif push.notice is Notice.STREAM_ENDED:
            self._give_up("the account's events have ended", now_ns)

    def _on_unreadable(self, raw: bytes, error: EntryError, now_ns: int) -> None:
        """A frame without sense. If no request is known to be meant, it may have been an event."""
        number = self._reader.request_id(raw)
        self._note(EntryNote.UNREADABLE_FRAME, reason=str(error), id=number)
        pending, is_late = self._pending.take(number)
        if pending is not None and not is_late:
            self._fail_unreadable(pending, error, now_ns)
            return
        self.unreadable_frames += 1
        if pending is None:
            self._give_up("a frame that cannot be read", now_ns)
