"""The market maker of one instrument: what a step decides is sent, what comes back is counted.

    book published -> step_maker (compiled) -> actions -> VenueEntry -> venue
    venue -> answers, pushes, silence -> OrderBook (order table) -> step_maker again

Nothing is quoted before every quoted venue has said what is open, traded and held there, and no
order of ours from an earlier life is left. An order in doubt is asked about until the venue has
told where it stands. `kill` cancels everything and stays until `release`.
Runs on: the engine thread. Called by: net.live, net.replay.
"""

from __future__ import annotations

import random
from typing import Protocol

import numpy as np

from engine.engine import Engine
from engine.maker import board_layout as B
from engine.maker import journal_codes as J
from engine.maker import order_layout as L
from engine.maker import risk as R
from engine.maker import step as S
from engine.maker.board import MakerBoardInfo
from engine.maker.board_writer import MakerBoardWriter
from engine.maker.client_ids import format_client_id
from engine.maker.orders import new_table
from net.entry.order import EntryError, Kind, OrderEvent, Request
from net.entry.refusals import Refusal
from net.entry.session import WARNINGS, EntryState, Opening, VenueEntry
from net.maker import reasons
from net.maker.book import Journal, OrderBook, Sent, side_of
from net.maker.manners import Manners
from net.maker.opening import Openings
from net.maker.paper import PaperEntry
from net.maker.rules import MakerRules
from net.maker.view import trouble_code

ASK_EVERY_NS = 1_000_000_000
TELL_EVERY_NS = 60_000_000_000
"""A limit that refuses orders again and again is told of so often; each refusal is counted."""
ASKS_A_TURN_MAX = 4
"""Questions to one venue in one turn of the timer: a lost connection may leave twenty."""


class MakerHost(Protocol):
    """What the market maker tells outside."""

    def note_maker(self, level: str, what: str, **facts: object) -> None:
        """Something an operator should see."""


class Maker:
    """Fair price, quotes, risk and orders of one instrument. `now_ns` is passed into everything.

    `instrument`: its index in the engine; `epoch`: larger than that of every earlier run.
    """

    def __init__(
        self,
        engine: Engine,
        instrument: int,
        rules: MakerRules,
        journal: Journal,
        host: MakerHost,
        openings: Openings,
        *,
        epoch: int,
        rng: random.Random,
    ) -> None:
        venues = len(rules.is_quoted)
        self.rules = rules
        self.symbol = engine.instruments[instrument].symbol
        self.venue_names = tuple(f.venue for f in engine.instruments[instrument].feeds)
        self.table = new_table(venues, epoch, rules.value_scale)
        self.risk = R.new_risk(rules.limits, venues)
        self.fair = rules.fair.words()
        self.quotes = np.concatenate([spec.words() for spec in rules.quotes])
        self.entries: list[VenueEntry | None] = [None] * venues
        self.book = OrderBook(self.table, rules.tick_units, journal)
        self.manners = Manners(venues, rng)
        self.openings = openings
        self.is_stopping = False
        self.is_blocked = False
        """Whether a release is refused: an operator's kill file is there."""
        self.is_guarded = True
        """Whether our orders would be cancelled if this process ended: if not, none is placed."""
        self.board = MakerBoardWriter("", self.board_info(is_live=False), 0)
        self._is_started = False
        """Whether the position is known."""
        self._requests = (0, 0)
        self._host = host
        self._engine = engine
        self._wanted = np.zeros(L.wanted_words(venues), np.int64)
        self._actions = np.zeros(L.actions_words(venues), np.int64)
        self._step = np.zeros(S.STEP_WORDS, np.int64)
        self._describe_step(instrument)
        self._step_address = int(self._step.ctypes.data)
        self._papers: dict[int, PaperEntry] = {}
        self._first_feed = sum(len(each.feeds) for each in engine.instruments[:instrument])
        self._halts = 0
        self._risk_state = L.NORMAL
        self._refusals = self.risk[L.RISK_REFUSALS_AT :][: L.REFUSALS_MAX].copy()
        self._told_ns: dict[int, int] = {}

    def _describe_step(self, instrument: int) -> None:
        step, arena = self._step, self._engine.arena
        step[S.STEP_ARENA], step[S.STEP_ARENA_WORDS] = arena.ctypes.data, len(arena)
        step[S.STEP_INSTRUMENT] = self._engine.instrument_at(instrument)
        step[S.STEP_VENUES] = len(self.entries)
        step[S.STEP_FAIR] = self.fair.ctypes.data
        step[S.STEP_QUOTES] = self.quotes.ctypes.data
        step[S.STEP_TABLE], step[S.STEP_TABLE_WORDS] = self.table.ctypes.data, len(self.table)
        step[S.STEP_RISK], step[S.STEP_RISK_WORDS] = self.risk.ctypes.data, len(self.risk)
        step[S.STEP_WANTED] = self._wanted.ctypes.data
        step[S.STEP_ACTIONS] = self._actions.ctypes.data

    def board_info(self, *, is_live: bool) -> MakerBoardInfo:
        """What others are told once."""
        scale = self.rules.value_scale
        return MakerBoardInfo(self.symbol, self.venue_names, is_live, *self.rules.unit, scale)

    def attach(self, venue: int, entry: VenueEntry) -> None:
        """Give a quoted venue its order entry."""
        self.entries[venue] = entry
        if isinstance(entry, PaperEntry):
            self._papers[venue] = entry
        at = L.ACCOUNT_WORDS + venue * L.VENUE_WORDS
        self.table[at + L.VENUE_CANNOT_REPLACE] = not entry.can_replace

    @property
    def is_quiet(self) -> bool:
        """Whether no order of ours may be open."""
        return self.book.live_orders == 0 and not self.openings.has_strays

    @property
    def is_halted(self) -> bool:
        return int(self.risk[L.RISK_STATE]) == L.HALTED

    # --- steps -----------------------------------------------------------------------------------

    def on_book(self, now_ns: int) -> None:
        """A frame has been handled: the book may have changed."""
        if not self._is_started:
            return
        if self._papers:
            self._fill_on_paper(now_ns)
        count = S.step_maker(self._step_address, now_ns, 0)
        if count:
            self._act(count, now_ns)

    def on_timer(self, now_ns: int) -> None:
        """Called several times a second: answers that are due, questions, waits that are over."""
        for venue, entry in enumerate(self.entries):
            if entry is not None:
                entry.on_timer(now_ns)
                if entry.state is EntryState.READY:
                    self._ask(venue, entry, now_ns)
                    self.openings.press(venue, entry, now_ns)
        if self.book.is_journal_full and not self.is_halted:
            self.kill(J.REASON_JOURNAL_FULL, now_ns)
        self._take_requests(now_ns)
        self._run(now_ns)
        self._publish(now_ns)

    def _take_requests(self, now_ns: int) -> None:
        """Kills and releases that others have asked for through the board."""
        asked = self.board.requests()
        if asked == self._requests:
            return
        kills, releases = asked
        if releases != self._requests[1]:
            self.release(now_ns)
        if kills != self._requests[0]:
            self.kill(J.REASON_OPERATOR, now_ns)
        self._requests = asked
        self._publish(now_ns)
        self.board.answer(kills, releases)

    def _publish(self, now_ns: int) -> None:
        for venue, entry in enumerate(self.entries):
            if entry is not None:
                self.board.set_venue(venue, B.VENUE_ENTRY_STATE, entry.state)
                self.board.set_venue(venue, B.VENUE_FILLS, self.book.fills[venue])
        self.board.publish(self.table, self.risk, self.fair, now_ns)

    def _fill_on_paper(self, now_ns: int) -> None:
        for venue, entry in self._papers.items():
            bid, ask = self._engine.best_ticks(self._first_feed + venue)
            if entry.fill_through(bid, ask):
                entry.on_timer(now_ns)

    def _run(self, now_ns: int) -> None:
        """A step outside the path of a frame: something else than the book has changed."""
        self._permit(now_ns)
        # Before the position is known there is nothing to decide, nor a result to value.
        count = S.step_maker(self._step_address, now_ns, 1) if self._is_started else 0
        if count:
            self._act(count, now_ns)
        self._look_at_risk(now_ns)

    def _permit(self, now_ns: int) -> None:
        """What each side of each venue may do now."""
        for venue, entry in enumerate(self.entries):
            at = S.STEP_VENUES_AT + venue * S.VENUE_WORDS
            for side in range(L.SIDES):
                self._step[at + S.VENUE_MAY_BUY + side] = self._may(venue, side, entry, now_ns)

    def _may(self, venue: int, side: int, entry: VenueEntry | None, now_ns: int) -> int:
        if entry is None or entry.state is not EntryState.READY:
            return S.LEAVE
        if self.manners.must_wait(venue, now_ns):
            return S.LEAVE
        if self.is_stopping or not self.is_guarded:
            return S.CANCEL
        if not self.openings.is_known or not self.openings.is_clean(venue):
            return S.CANCEL
        return S.CANCEL if self.manners.must_pause(venue, side, now_ns) else S.QUOTE

    def _look_at_risk(self, now_ns: int) -> None:
        """Tell what the gate has decided by itself: halts, and refusals that are new."""
        risk = self.risk
        state = int(risk[L.RISK_STATE])
        if state != self._risk_state:
            before, self._risk_state = self._risk_state, state
            states = {"before": L.RISK_STATE_NAMES[before], "after": L.RISK_STATE_NAMES[state]}
            position = self.book.position_lots
            self._host.note_maker("info", "risk state", **states, position_lots=position)
        halts = int(risk[L.RISK_HALTS])
        if halts != self._halts:
            self._halts = halts
            reason = int(risk[L.RISK_HALT_REASON])
            code = reasons.HALTS.get(reason, J.REASON_NONE)
            self.book.write(J.EVENT_KILL, now_ns, reason=code)
            self._host.note_maker("error", "quoting halted", reason=R.TEXTS[reason])
        counts = risk[L.RISK_REFUSALS_AT :][: L.REFUSALS_MAX]
        for code in np.flatnonzero(counts != self._refusals).tolist():
            if now_ns - self._told_ns.get(code, 0) >= TELL_EVERY_NS:
                self._told_ns[code] = now_ns
                reason = reasons.REFUSALS.get(code, J.REASON_NONE)
                self.book.write(J.EVENT_RISK_REFUSAL, now_ns, reason=reason, lots=code)
                self._host.note_maker("warning", "order refused by risk", reason=R.TEXTS[code])
        self._refusals[:] = counts

    # --- actions ---------------------------------------------------------------------------------

    def _act(self, count: int, now_ns: int) -> None:
        """Send the first `count` actions: the table has taken them already.

        All go out before any is written down: an order whose record a death cuts off is found by
        its name.
        """
        words = self._actions[: count * L.ACTION_WORDS].tolist()
        actions = [words[at : at + L.ACTION_WORDS] for at in range(0, len(words), L.ACTION_WORDS)]
        failures = [self._send(action, now_ns) for action in actions]
        self.book.book_sequence = int(self._step[S.STEP_SEQUENCE])
        for action, failure in zip(actions, failures, strict=True):
            self._record(action, failure, now_ns)
        if not self._papers:
            # Whoever cleans up after a process that was killed knows what is open from here alone.
            self.board.publish(self.table, self.risk, self.fair, now_ns)
        for action, failure in zip(actions, failures, strict=True):
            if failure and action[0] != L.ACTION_CANCEL:
                self._could_not_write(action, failure, now_ns)

    def _send(self, action: list[int], now_ns: int) -> str:
        """Hand one action to the venue; why it could not be, nothing where it was."""
        kind, slot, order_id, new_id, price, lots = action
        venue = slot // L.VENUE_SLOTS
        entry = self.entries[venue]
        if kind == L.ACTION_CANCEL:
            is_ready = entry is not None and entry.state is EntryState.READY
            if not is_ready or order_id not in self.book.sent:
                return "not now"
            assert entry is not None
            entry.cancel(order_id, now_ns)
            return ""
        assert entry is not None, "only a venue that is READY may quote"
        ticks = price // self.rules.tick_units[venue]
        try:
            if kind == L.ACTION_SUBMIT:
                entry.place(new_id, side_of(slot), ticks, lots, now_ns)
            else:
                entry.replace(order_id, new_id, side_of(slot), ticks, lots, now_ns)
        except EntryError as error:
            return str(error)
        return ""

    def _record(self, action: list[int], failure: str, now_ns: int) -> None:
        """Remember and journal one action; `failure`: why it was not sent."""
        kind, slot, order_id, new_id, price, lots = action
        venue, book = slot // L.VENUE_SLOTS, self.book
        old = book.sent.get(order_id)
        if kind == L.ACTION_CANCEL:
            if failure or old is None:
                # It is UNKNOWN from here on: asked about once that is possible, then cancelled.
                book.take_unanswered(venue, Request.CANCEL, order_id, now_ns)
                return
            book.write(J.EVENT_CANCEL, now_ns, venue, order_id, old)
            self.board.count_venue(venue, B.VENUE_CANCELS)
            old.state, old.sent_ns = L.PENDING_CANCEL, now_ns
            return
        sent = book.sent[new_id] = Sent(venue, slot, price, lots, now_ns)
        if kind == L.ACTION_REPLACE:
            assert old is not None, "only an order that was sent is replaced"
            old.state, old.sent_ns = L.PENDING_REPLACE, now_ns
        if failure:
            return
        if kind == L.ACTION_SUBMIT:
            book.write(J.EVENT_SUBMIT, now_ns, venue, new_id, sent)
            self.board.count_venue(venue, B.VENUE_ORDERS)
        else:
            book.write(J.EVENT_REPLACE, now_ns, venue, new_id, sent, filled_lots=order_id)
            self.board.count_venue(venue, B.VENUE_REPLACES)

    def _could_not_write(self, action: list[int], reason: str, now_ns: int) -> None:
        """A request that cannot be written down has not been sent: stop, it will not get better."""
        kind, slot, _, new_id, _, _ = action
        request = Request.PLACE if kind == L.ACTION_SUBMIT else Request.REPLACE
        venue = slot // L.VENUE_SLOTS
        self.book.take_unanswered(venue, request, new_id, now_ns)
        facts = {"venue": self.venue_names[venue], "order": format_client_id(new_id)}
        self._host.note_maker("error", "an order could not be written", **facts, reason=reason)
        self.kill(J.REASON_VENUE_REFUSED, now_ns)

    # --- kill, release, stop ---------------------------------------------------------------------

    def kill(self, reason: int, now_ns: int) -> None:
        """Halt, cancel everything, stay so until `release`. `reason`: of the journal's."""
        was_halted = self.is_halted
        count = R.kill(self.table, self.risk, self._actions)
        self._act(count, now_ns)
        self._halts = int(self.risk[L.RISK_HALTS])
        if not was_halted:
            name = J.REASON_NAMES[reason]
            self.book.write(J.EVENT_KILL, now_ns, reason=reason)
            level = "info" if self.is_stopping else "warning"
            self._host.note_maker(level, "quoting killed", reason=name, cancels=count)

    def release(self, now_ns: int) -> None:
        """Quote again: an operator's word."""
        if self.is_stopping:
            return
        if self.is_blocked:
            self._host.note_maker("error", "release refused: the kill file is there")
        elif self.is_halted:
            R.release(self.table, self.risk)
            self.book.write(J.EVENT_RELEASE, now_ns, reason=J.REASON_OPERATOR)
            self._host.note_maker("warning", "quoting released")
            self._run(now_ns)

    def stop(self, now_ns: int) -> None:
        """Quote no more and cancel everything: the end. `is_quiet` tells when it is done."""
        self.is_stopping = True
        self.kill(J.REASON_SHUTDOWN, now_ns)

    def unconfirmed(self) -> list[str]:
        """Orders that may be open, by name and state."""
        found = []
        for order_id, sent in self.book.sent.items():
            name = self.venue_names[sent.venue]
            found.append(f"{name} {format_client_id(order_id)} {L.STATE_NAMES[sent.state]}")
        return found + self.openings.strays(self.venue_names)

    # --- orders in doubt -------------------------------------------------------------------------

    def _ask(self, venue: int, entry: VenueEntry, now_ns: int) -> None:
        """Ask where UNKNOWN orders stand: at once, and then every second."""
        at = L.ACCOUNT_WORDS + venue * L.VENUE_WORDS + L.VENUE_ROWS_AT
        rows = self.table[at : at + L.VENUE_SLOTS * L.SLOT_WORDS].reshape(-1, L.ORDER_WORDS)
        asked = 0
        for index in np.flatnonzero(rows[:, L.ORDER_STATE] == L.UNKNOWN):
            row = rows[index].tolist()
            order_id = row[L.ORDER_ID]
            sent = self.book.sent.get(order_id)
            if sent is None:
                slot, price, lots = row[L.ORDER_SLOT], row[L.ORDER_PRICE], row[L.ORDER_LOTS]
                sent = self.book.sent[order_id] = Sent(venue, slot, price, lots, 0, L.UNKNOWN)
            if now_ns - sent.asked_ns >= ASK_EVERY_NS and asked < ASKS_A_TURN_MAX:
                sent.asked_ns = now_ns
                asked += 1
                entry.ask(order_id, now_ns)

    # --- what venues tell ------------------------------------------------------------------------

    def on_answer(
        self,
        venue: int,
        request: Request,
        order_id: int,
        replaced_id: int,
        events: tuple[OrderEvent, ...],
        now_ns: int,
    ) -> None:
        entry = self.entries[venue]
        assert entry is not None
        if self.openings.is_stray(venue, order_id):
            self.openings.take_answer(venue, order_id, events, entry, now_ns)
            return
        sent = self.book.sent.get(order_id)
        side = side_of(sent.slot) if sent is not None else L.NO_SIDE
        settle_ns = entry.settle_ns
        self.book.take_answer(venue, request, order_id, replaced_id, events, now_ns, settle_ns)
        for event in events:
            if event.kind is Kind.ACCEPTED and request is not Request.STATUS:
                self.manners.succeed(venue, side)
            elif event.kind is Kind.REJECTED and request in (Request.PLACE, Request.REPLACE):
                self._note_rejection(venue, side, order_id, event, now_ns)
        self._run(now_ns)

    def _note_rejection(
        self, venue: int, side: int, order_id: int, event: OrderEvent, now_ns: int
    ) -> None:
        is_ordinary, wait_ns = self.manners.fail(venue, side, event.error, now_ns)
        if not is_ordinary:
            self._host.note_maker(
                "warning",
                "order rejected",
                venue=self.venue_names[venue],
                side=J.SIDE_NAMES[side],
                order=format_client_id(order_id),
                meaning=event.error.value,
                reason=event.reason,
                again_in_ms=wait_ns // 1_000_000,
            )

    def on_unanswered(
        self, venue: int, request: Request, order_id: int, replaced_id: int, now_ns: int
    ) -> None:
        self.book.take_unanswered(venue, request, order_id, now_ns)
        self._run(now_ns)

    def on_push(
        self, venue: int, events: tuple[OrderEvent, ...], balances: object, now_ns: int
    ) -> None:
        self.book.take_push(venue, events, now_ns)
        for event in events:
            if event.kind is Kind.ACCEPTED:
                self.openings.meet(venue, event, int(self.table[L.ACCOUNT_EPOCH]))
        self._run(now_ns)

    def on_ready(self, venue: int, opening: Opening, now_ns: int) -> None:
        entry = self.entries[venue]
        assert entry is not None
        known = self.book.sent
        strays, others = self.openings.take(venue, opening, known, entry, now_ns)
        name = self.venue_names[venue]
        facts = {"others": others} if others else {}
        self._host.note_maker("info", "order entry ready", venue=name, strays=strays, **facts)
        self.book.write(J.EVENT_RECONNECT, now_ns, venue)
        if self.book.counts[venue]:
            self.book.take_missed(venue, opening.trades, now_ns)
        elif self.openings.has_told(venue):
            self.book.begin(venue, opening.trades)
        if self.openings.is_known and not self._is_started:
            self._start(now_ns)
        self._run(now_ns)

    def _start(self, now_ns: int) -> None:
        """Every quoted venue has told what it holds: from here on fills alone count.

        One that has told before the others may have reported fills since, which stand in the table.
        """
        self._is_started = True
        self.table[L.ACCOUNT_POSITION_LOTS] += self.openings.position_lots
        position, neutral = self.book.position_lots, self.openings.neutral_lots
        side = L.BUY if position >= 0 else L.SELL
        self.book.write(
            J.EVENT_RECONCILED, now_ns, lots=neutral, filled_lots=abs(position), side=side
        )
        self._host.note_maker("info", "position at the start", lots=position, neutral_lots=neutral)

    def on_entry_lost(self, venue: int, reason: str, now_ns: int) -> None:
        self.openings.lose(venue)
        self.book.lose(venue, now_ns)
        name = self.venue_names[venue]
        level = "info" if self.is_stopping else "warning"
        self._host.note_maker(level, "order entry lost", venue=name, reason=reason)
        self._permit(now_ns)

    def on_trouble(self, venue: int, refusal: Refusal, now_ns: int) -> None:
        wait_ns = self.manners.on_trouble(venue, refusal, now_ns)
        self.board.set_venue(venue, B.VENUE_TROUBLE, trouble_code(refusal.error))
        self._host.note_maker(
            "error",
            "trouble at a venue",
            venue=self.venue_names[venue],
            meaning=refusal.error.value,
            reason=refusal.text,
            again_in_ms=wait_ns // 1_000_000,
        )
        self._permit(now_ns)

    def note_entry(self, venue: int, what: str, **facts: object) -> None:
        level = "warning" if what in WARNINGS and not self.is_stopping else "info"
        self._host.note_maker(level, what, venue=self.venue_names[venue], **facts)
