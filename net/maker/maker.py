"""The market maker of one instrument: what a step decides is sent, what comes back is counted.

    book published -> step_maker (compiled) -> actions -> OrderSender -> VenueEntry -> venue
    venue -> answers, pushes, silence -> OwnOrders (order table) -> step_maker again

Nothing is quoted before every quoted venue has told what is open, traded and held there, and no
order of an earlier run of this program is left. An order whose state is UNKNOWN is asked about
until the venue has told where it stands.
Runs on: the engine thread.
"""

from __future__ import annotations

import random

import numpy as np

from engine.engine import Engine
from engine.layout.units import DAY_NS
from engine.maker import journal_codes as J
from engine.maker import order_layout as O
from engine.maker import risk_gate
from engine.maker import state_board_layout as B
from engine.maker.client_ids import format_client_id
from engine.maker.funds import limit_venues
from engine.maker.orders import new_table
from engine.maker.state_board_writer import StateBoardWriter
from engine.maker.step import CANCEL, LEAVE, QUOTE, Action, MakerStep, step_maker
from net.journal.files import Record
from net.journal.ledger import Ledger
from net.log.note import Note
from net.maker.accounts import Accounts, AccountsSpec
from net.maker.audit import Audit
from net.maker.balances import Balances
from net.maker.basis_report import BasisReport
from net.maker.event_journal import EventJournal, Journal, JournalNames
from net.maker.fees import FeeCounter
from net.maker.halts import Halts
from net.maker.model_report import ModelReport
from net.maker.order_sender import OrderSender
from net.maker.own_orders import OwnOrders, side_of
from net.maker.paper_orders import PaperEntry
from net.maker.price_fit import PriceFit
from net.maker.recovery import Recovery, Start
from net.maker.refusal_backoff import RefusalBackoff
from net.maker.risk_report import MakerHost
from net.maker.scaled_settings import MakerRules
from net.maker.taking import Taking
from net.maker.tick_fit import TickFit
from net.maker.transfers import TransferReader
from net.maker.turn_rehearsal import TurnRehearsal
from net.maker.venue_report import (
    tell_fee,
    tell_rejected,
    tell_start,
    tell_transfers,
    tell_trouble,
)
from net.orders.errors import ErrorClass, Refusal
from net.orders.interface import EntryState, Opening, VenueEntry
from net.orders.messages import Balance, Kind, OrderEvent, OrderRequest, Request
from net.orders.transfers import Transfer
from net.orders.trouble_codes import trouble_code


class Maker:
    """Fair price, quotes, risk and orders of one instrument.

    `now_ns`, passed into everything, is steady time (tuning.clock).
    `instrument`: its index in the engine; `epoch`: larger than that of every earlier run; `number`:
    among the market makers of this one; `names`: the journal's; `board`: where others see it.
    """

    def __init__(
        self,
        engine: Engine,
        instrument: int,
        rules: MakerRules,
        journal: Journal,
        host: MakerHost,
        accounts: AccountsSpec,
        board: StateBoardWriter,
        *,
        ledger: Ledger,
        epoch: int,
        rng: random.Random,
        number: int = 0,
        names: JournalNames | None = None,
    ) -> None:
        venues = len(rules.is_quoted)
        assert len(board.info.venues) == venues
        self.rules = rules
        self.instrument = instrument
        spec = engine.instruments[instrument]
        self.symbol, self.venue_names = spec.symbol, tuple(feed.venue for feed in spec.feeds)
        self.table = new_table(venues, epoch, rules.value_scale, maker=number)
        self.risk = risk_gate.new_risk(rules.limits, venues)
        self.fair = rules.fair.words()
        self.fees = FeeCounter(rules.fees, rules.value_size)
        self._step = self._new_step(engine, instrument, is_shown=board.info.is_live)
        self._set_rates(engine)
        limit_venues(self._step.funds, rules.venue_limits)
        self.balances = Balances(self.table, self._step.funds, self.fees)
        self.entries: list[VenueEntry | None] = [None] * venues
        events = self._journal = EventJournal(journal, host.wall_ns, names)
        self.accounts = Accounts(ledger, accounts, self.table, self.risk)
        units, look = rules.tick_units, self.accounts.look
        orders = self.orders = OwnOrders(self.table, units, events, self.fees, look)
        self.board = board
        self.sender = OrderSender(
            self._step, orders, self.entries, units, events, board, host.wall_ns
        )
        self.refusal_backoff = RefusalBackoff(venues, rng)
        self.recovery = Recovery(self.accounts.memories())
        self.epoch = epoch
        self.audit = Audit(
            orders, self.recovery, self.balances, self.venue_names, epoch, host.note_maker
        )
        self.transfers = TransferReader(self.accounts, self.recovery)
        self.is_guarded = True
        """Whether our orders would be cancelled if this process ended: if not, none is placed."""
        self._is_started = False
        """Whether the position is known."""
        self.host = host
        self._reports = (
            BasisReport(rules, self.venue_names, self.fair, host),
            ModelReport(rules.model, self._step.model, host),
            PriceFit(rules, self.venue_names, self.risk, host),
        )
        parts = self.accounts, self.recovery, events, board, host
        self.halts = Halts(self._step, *parts, self._act, rules.limit_texts)
        self.papers: dict[int, PaperEntry] = {}
        """The entries that are on paper, by venue; on a tape they are asked when they are due."""
        self._tick_fit = TickFit(engine, self.venue_names, host)
        self.accounts.resume(self.wall_ns() // DAY_NS)
        self._first_feed = sum(len(each.feeds) for each in engine.instruments[:instrument])
        self.taking = None
        if rules.taking is not None:
            self.taking = Taking(
                rules, self._step, orders, engine, self._first_feed, self.venue_names, host,
                self._may_take, self._act,
            )  # fmt: skip

    def _new_step(self, engine: Engine, instrument: int, *, is_shown: bool) -> MakerStep:
        """The step's words. `is_shown`: whether the venues' books show our orders."""
        rules = self.rules
        quotes = np.concatenate([spec.words() for spec in rules.quotes])
        return MakerStep(
            engine.arena, engine.instrument_at(instrument), self.table, self.risk, self.fair,
            quotes, pause_ns=rules.pause_ns, is_shown=is_shown, takes=rules.taking is not None,
            model=rules.model,
        )  # fmt: skip

    def _set_rates(self, engine: Engine) -> None:
        """Venues that quote in another currency than the maker's have their rate."""
        self.fees.rates = self.rate_of
        symbols = [each.symbol for each in engine.instruments]
        for venue, rate in enumerate(self.rules.rates):
            if isinstance(rate, str):
                market_at = engine.instrument_at(symbols.index(rate))
                self._step.rate(venue, O.RATE_ONE, market_at)
            elif rate != O.RATE_ONE:
                self._step.rate(venue, rate)

    def rate_of(self, venue: int) -> int:
        """What one of a venue's quote currency is worth in the maker's, in 1e-8."""
        return int(self.table[O.venue_word(venue, O.VENUE_RATE)])

    def attach(self, venue: int, entry: VenueEntry) -> None:
        """Give a quoted venue its order entry."""
        self.entries[venue] = entry
        self.sender.attach(venue, entry)
        if isinstance(entry, PaperEntry):
            self.papers[venue] = entry
        self.table[O.venue_word(venue, O.VENUE_CANNOT_REPLACE)] = not entry.can_replace

    @property
    def is_quiet(self) -> bool:
        """Whether no order of ours may be open."""
        is_left = self.recovery.has_strays or self.accounts.left_behind
        return self.orders.live_orders == 0 and not is_left

    @property
    def step_address(self) -> int:
        """What `step_maker` takes, for a loop that steps by itself; 0 while nothing is decided."""
        return self._step.address if self._is_started else 0

    @property
    def compiled_step(self) -> int:
        """The same for the spin, which also sends: 0 where a step wants Python before or after."""
        is_compiled = self.sender.is_compiled and not self.papers
        return self.step_address if is_compiled else 0

    def rehearsal(self) -> TurnRehearsal:
        """Its turn, for the spin to rehearse; with the entries that it has now."""
        return TurnRehearsal(self._step, self.sender.compiled)

    # --- steps -----------------------------------------------------------------------------------

    def on_book(self, now_ns: int) -> None:
        """A frame has been handled: the book may have changed."""
        if not self._is_started:
            return
        for paper in self.papers.values():
            paper.on_book(now_ns)
        count = step_maker(self._step.address, now_ns, 0)
        if count:
            self._act(count, now_ns)

    def on_timer(self, now_ns: int) -> None:
        """Called several times a second: answers that are due, questions, waits that are over."""
        for venue, entry in enumerate(self.entries):
            if entry is not None:
                entry.on_timer(now_ns)
                if entry.state is EntryState.READY:
                    self.orders.ask_unknown(venue, entry, now_ns)
                    self.recovery.cancel_again(venue, entry, now_ns)
                    self.audit.on_timer(venue, entry, now_ns)
                    self.transfers.on_timer(venue, entry, now_ns)
        if self._journal.is_full and not self.halts.is_halted:
            self.halts.kill(J.REASON_JOURNAL_FULL, now_ns)
        for venue, asset in self.fees.take_untold():
            facts = {"venue": self.venue_names[venue], "asset": asset}
            self.host.note_maker("warning", "fees without a rate are in no result", **facts)
        self._run(now_ns)
        self._publish(now_ns)

    def _publish(self, now_ns: int) -> None:
        for venue, entry in enumerate(self.entries):
            if entry is not None:
                self.board.set_venue(venue, B.VENUE_ENTRY_STATE, entry.state)
                self.board.set_venue(venue, B.VENUE_FILLS, self.orders.fills[venue])
                fees = int(self.table[O.venue_word(venue, O.VENUE_FEE_VALUE)])
                self.board.set_venue(venue, B.VENUE_FEE_VALUE, fees)
                self.board.set_venue(venue, B.VENUE_FEE_PPM, self.fees.maker_ppm[venue])
                self.board.set_venue(venue, B.VENUE_RATE, self.rate_of(venue))
        self.table[O.ACCOUNT_UNCONFIRMED] = len(self.halts.earlier)
        self.table[O.ACCOUNT_OBSTACLE] = self.halts.obstacle
        self.board.publish(self.table, self.risk, self.fair, self.wall_ns(), now_ns)

    def _run(self, now_ns: int) -> None:
        """A step outside the path of a frame: something else than the book has changed."""
        today = self.wall_ns() // DAY_NS
        self.risk[O.RISK_TODAY] = max(today, int(self.risk[O.RISK_TODAY]))
        self._permit(now_ns)
        self.balances.on_timer(now_ns)
        # Before the position is known there is nothing to decide, nor a result to value.
        count = step_maker(self._step.address, now_ns, 1) if self._is_started else 0
        if count:
            self._act(count, now_ns)
        self.halts.look(now_ns)
        for report in self._reports:
            report.look(now_ns)
        if self.taking is not None and self._is_started:
            self.taking.look(self.accounts.halt, now_ns)
        self.accounts.on_timer(now_ns)

    def _permit(self, now_ns: int) -> None:
        """What each side of each venue may do now: quote once nothing is left behind elsewhere."""
        most = CANCEL if self.accounts.left_behind else QUOTE
        for venue, entry in enumerate(self.entries):
            for side in range(O.SIDES):
                may = self._may(venue, side, entry, now_ns)
                self._step.permit(venue, side, most if may == QUOTE else may)

    def _may(self, venue: int, side: int, entry: VenueEntry | None, now_ns: int) -> int:
        if entry is None or entry.state is not EntryState.READY:
            return LEAVE
        if self.refusal_backoff.must_wait(venue, now_ns):
            return LEAVE
        if self.halts.is_stopping or not self.is_guarded or venue in self._tick_fit.off_tick:
            return CANCEL
        if not self.recovery.is_known or not self.recovery.is_clean(venue):
            return CANCEL
        if self.taking is not None and self.taking.is_in_the_way(venue, side):
            return CANCEL
        return CANCEL if self.refusal_backoff.must_pause(venue, side, now_ns) else QUOTE

    def _may_take(self, venue: int, side: int, now_ns: int) -> bool:
        return self._may(venue, side, self.entries[venue], now_ns) == QUOTE

    # --- actions ---------------------------------------------------------------------------------

    def take_actions(self, count: int, now_ns: int) -> None:
        """A step that a loop has taken by itself wants its first `count` actions done."""
        self._act(count, now_ns)

    def finish_actions(self, count: int, now_ns: int) -> None:
        """Compiled code has sent of a step's first `count` actions what it could."""
        self._tell_unsent(self.sender.finish(count, now_ns), now_ns)

    def _act(self, count: int, now_ns: int) -> None:
        """Send the first `count` actions: the table has taken them already."""
        self._tell_unsent(self.sender.send(count, now_ns), now_ns)

    def _tell_unsent(self, unsent: list[tuple[Action, str]], now_ns: int) -> None:
        for action, reason in unsent:
            # What cannot be written was not sent, and the next one would not be: stop.
            is_replace = action.kind == O.ACTION_REPLACE
            request = Request.REPLACE if is_replace else Request.PLACE
            self.orders.take_unanswered(action.venue, request, action.new_id)
            name, order = self.venue_names[action.venue], format_client_id(action.new_id)
            facts = {"venue": name, "order": order, "reason": reason}
            self.host.note_maker("error", "an order could not be written", **facts)
            self.halts.kill(J.REASON_VENUE_REFUSED, now_ns)

    # --- the end ---------------------------------------------------------------------------------

    def stop(self, now_ns: int) -> None:
        """Quote no more and cancel everything: the end. `is_quiet` tells when it is done."""
        self.halts.is_stopping = True
        self.halts.kill(J.REASON_SHUTDOWN, now_ns)

    def unconfirmed(self) -> list[str]:
        """Orders that may be open, by name and state."""
        found = []
        for order_id, sent in self.orders.sent.items():
            name = self.venue_names[sent.venue]
            found.append(f"{name} {format_client_id(order_id)} {O.STATE_NAMES[sent.state]}")
        return found + self.halts.earlier

    def end(self) -> list[str]:
        """After `stop`: what may be open, and the ledger knows where. Nothing is written after."""
        ours = {sent.venue for sent in self.orders.sent.values()}
        self.accounts.end(ours | self.recovery.open_venues)
        return self.unconfirmed()

    def wall_ns(self) -> int:
        return self.host.wall_ns()

    # --- what venues tell ------------------------------------------------------------------------

    def on_answer(
        self, venue: int, asked: OrderRequest, events: tuple[OrderEvent, ...], now_ns: int
    ) -> None:
        entry, order_id = self.entries[venue], asked.order_id
        assert entry is not None
        if self.recovery.is_stray(venue, order_id):
            self.recovery.take_answer(venue, order_id, events, entry, now_ns)
            return
        sent = self.orders.sent.get(order_id)
        side = side_of(sent.slot) if sent is not None else O.NO_SIDE
        self.orders.take_answer(venue, asked, events, entry.settle_ns)
        for event in events:
            if event.kind is Kind.ACCEPTED and asked.kind is not Request.STATUS:
                self.refusal_backoff.succeed(venue, side)
            elif event.kind is Kind.REJECTED and asked.kind in (Request.PLACE, Request.REPLACE):
                self._note_rejection(venue, side, order_id, event, now_ns)
        self._run(now_ns)

    def _note_rejection(
        self, venue: int, side: int, order_id: int, event: OrderEvent, now_ns: int
    ) -> None:
        is_ordinary, wait_ns = self.refusal_backoff.fail(venue, side, event.error, now_ns)
        if event.error is ErrorClass.INSUFFICIENT_BALANCE and side != O.NO_SIDE:
            self.balances.refuse(venue, side, now_ns, wait_ns)
        if not is_ordinary:
            tell_rejected(self.host, self.venue_names[venue], side, order_id, event, wait_ns)

    def on_unanswered(self, venue: int, asked: OrderRequest, now_ns: int) -> None:
        self.orders.take_unanswered(venue, asked.kind, asked.order_id)
        self._run(now_ns)

    def on_push(
        self, venue: int, events: tuple[OrderEvent, ...], balances: tuple[Balance, ...], now_ns: int
    ) -> None:
        events = tuple(self.orders.mark_refused(event, now_ns) for event in events)
        for event in events:
            if event.error is ErrorClass.WOULD_TAKE and event.kind is Kind.CANCELED:
                sent = self.orders.sent[event.order_id or 0]
                self.refusal_backoff.fail(venue, side_of(sent.slot), event.error, now_ns)
        self.orders.take_push(venue, events)
        self.balances.take(venue, balances)
        for event in events:
            if event.kind is Kind.ACCEPTED:
                self.recovery.meet(venue, event, self.epoch)
        if self._is_newer_run(events):
            self.halts.yield_to_another(self.venue_names[venue], now_ns)
        self._run(now_ns)

    def on_audit(self, venue: int, reading: Opening, now_ns: int) -> None:
        entry = self.entries[venue]
        assert entry is not None
        if self.audit.take(venue, entry, reading, now_ns) and self._is_started:
            self.halts.yield_to_another(self.venue_names[venue], now_ns)
        self._run(now_ns)

    def _is_newer_run(self, events: tuple[OrderEvent, ...]) -> bool:
        """Whether an order of a market maker is open that was started after this one."""
        ids = (event.order_id for event in events if event.kind in (Kind.ACCEPTED, Kind.STATE))
        return self._is_started and any(
            order_id is not None and order_id >> 32 > self.epoch for order_id in ids
        )

    def on_ready(self, venue: int, opening: Opening, now_ns: int) -> None:
        entry = self.entries[venue]
        assert entry is not None
        if self._is_newer_run(opening.open_orders):
            self.halts.yield_to_another(self.venue_names[venue], now_ns)
            ours = tuple(o for o in opening.open_orders if not self._is_newer_run((o,)))
            opening = opening._replace(open_orders=ours)
        self._take_fee_rate(venue, opening.maker_fee_ppm)
        known = self.orders.sent
        strays, others = self.recovery.take(venue, opening, known, entry, now_ns)
        name = self.venue_names[venue]
        facts = {"others": others} if others else {}
        self.host.note_maker("info", "order entry ready", venue=name, strays=strays, **facts)
        self._journal.write(Record(J.EVENT_RECONNECT, venue=venue))
        if self.orders.counts[venue]:
            self.orders.take_missed(venue, opening.trades)
        elif (start := self.recovery.starts[venue]) is not None:
            missed = {trade.execution_id for trade in start.missed}
            listed = (trade for trade in opening.trades if trade.execution_id not in missed)
            before = self.balances.positions()
            self.accounts.open(venue, start, self.wall_ns())
            self.balances.bring(before)
            self.orders.begin(venue, listed)
            self.orders.take_uncounted(venue, start.missed)
            self._tell_start(venue, start, now_ns)
        self.balances.take(venue, opening.balances)  # they hold what was missed
        if self.recovery.is_known and not self._is_started:
            self._start()
        self._run(now_ns)

    def _take_fee_rate(self, venue: int, told_ppm: int | None) -> None:
        """Quote with what the venue takes of a fill: as configured, as told, else its standard."""
        spec = self.rules.quotes[venue]
        is_new = self.fees.quote_with(self._step.quotes, venue, spec, told_ppm)
        if is_new:
            name, fee_ppm = self.venue_names[venue], self.fees.maker_ppm[venue]
            tell_fee(self.host, name, fee_ppm, spec, self.rules)

    def _tell_start(self, venue: int, start: Start, now_ns: int) -> None:
        """What is so of an account at the start; halt where only an operator can say."""
        tell_start(self.host, self.venue_names[venue], start, self.accounts.base_of(venue))
        self.board.set_venue(venue, B.VENUE_DIFFERENCE_LOTS, start.difference_lots)
        if start.is_disputed:
            self.halts.dispute(now_ns)

    def on_transfers(self, venue: int, transfers: tuple[Transfer, ...], now_ns: int) -> None:
        found = self.transfers.take(venue, transfers)
        tell_transfers(self.host, self.venue_names[venue], transfers, found)
        if found:
            self.halts.settle([venue])
        self._run(now_ns)

    def _start(self) -> None:
        """Every quoted venue has told what it holds: from here on there is something to decide."""
        self._is_started = True
        self.risk[O.RISK_IS_KNOWN] = 1
        lots = self.orders.position_lots
        side = O.BUY if lots >= 0 else O.SELL
        self._journal.write(Record(J.EVENT_RECONCILED, side=side, filled_lots=abs(lots)))
        self.host.note_maker("info", "position at the start", lots=lots)
        if self.accounts.is_day_anew:
            text = "other venues are quoted: the day's result is counted anew"
            self.host.note_maker("warning", text)

    def on_entry_lost(self, venue: int, reason: str, now_ns: int) -> None:
        self.recovery.lose(venue)
        self.orders.lose(venue)
        self.audit.lose(venue)
        name = self.venue_names[venue]
        level = "info" if self.halts.is_stopping else "warning"
        self.host.note_maker(level, "order entry lost", venue=name, reason=reason)
        self._permit(now_ns)

    def on_tick_size(self, feed: int, tick_size: str, now_ns: int) -> None:
        """A venue declares this tick now."""
        if 0 <= (venue := feed - self._first_feed) < len(self.entries) and self.entries[venue]:
            self._tick_fit.take(venue, feed, tick_size)
            self._run(now_ns)

    def on_trouble(self, venue: int, refusal: Refusal, now_ns: int) -> None:
        wait_ns = self.refusal_backoff.on_trouble(venue, refusal, now_ns)
        self.board.set_venue(venue, B.VENUE_TROUBLE, trouble_code(refusal.error))
        tell_trouble(self.host, self.venue_names[venue], refusal, wait_ns)
        self._permit(now_ns)

    def note_entry(self, venue: int, note: Note, **facts: object) -> None:
        level = "info" if self.halts.is_stopping else note.level
        self.host.note_maker(level, note.text, venue=self.venue_names[venue], **facts)
