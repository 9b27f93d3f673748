"""The way out: what is sent, remembered, journaled and counted, and what is not sent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from engine.maker import journal_codes as J
from engine.maker import order_layout as O
from engine.maker import quote_layout as Q
from engine.maker import state_board_layout as B
from engine.maker.state_board import StateBoardInfo
from engine.maker.state_board_writer import StateBoardWriter
from engine.maker.step import MakerStep
from net.journal.files import Record
from net.maker.event_journal import EventJournal
from net.maker.order_sender import OrderSender
from net.maker.own_orders import OwnOrders, Sent
from net.orders.interface import EntryState
from net.orders.messages import EntryError
from tests.engine.maker.rig import NOW_NS
from tests.engine.maker.rig import Maker as Gate
from tests.net.maker.rig import no_fees

pytestmark = pytest.mark.kernel

TICK_UNITS = 100
PRICE, LOTS = 10_000, 20


class Entry:
    """A venue's order entry that writes down what it is asked; `error`: why it cannot write."""

    can_replace, settle_ns = True, 0
    compiled = None

    def __init__(self) -> None:
        self.state = EntryState.READY
        self.calls: list[tuple[Any, ...]] = []
        self.error: str | None = None

    def _call(self, *words: Any) -> None:
        if self.error is not None:
            raise EntryError(self.error)
        self.calls.append(words)

    def place(self, *words: int) -> None:
        self._call("place", *words)

    def take(self, *words: int) -> None:
        self._call("take", *words)

    def cancel(self, *words: int) -> None:
        self._call("cancel", *words)

    def cancel_all(self, order_ids: Iterable[int], now_ns: int) -> None:
        for order_id in order_ids:
            self.cancel(order_id, now_ns)

    def replace(self, *words: int) -> None:
        self._call("replace", *words)

    def ask(self, *words: int) -> None:
        self._call("ask", *words)

    audit_every_ns = 0

    def read_transfers(self, asset: str, since_ns: int, now_ns: int) -> None: ...

    def audit(self, now_ns: int) -> None: ...

    def note_sent(self, *_: object) -> None:
        raise AssertionError("nothing is sent by compiled code")

    def reread(self, now_ns: int) -> None: ...

    def on_timer(self, now_ns: int) -> None: ...


class Rig:
    """A gate, and the way out of what it has passed."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.entry = Entry()
        self.records: list[Record] = []
        journal = EventJournal(self, lambda: NOW_NS)
        self.orders = OwnOrders(self.gate.table, (TICK_UNITS,), journal, no_fees())
        self.board = StateBoardWriter(None, StateBoardInfo("X", ("v",), True, 1, 2), 0)
        fair, quotes = np.zeros(Q.FAIR_WORDS, np.int64), np.zeros(Q.QUOTE_WORDS, np.int64)
        arena = np.zeros(8, np.int64)  # no step is taken here
        self.step = MakerStep(arena, 0, self.gate.table, self.gate.risk, fair, quotes)
        self.sender = OrderSender(
            self.step,
            self.orders,
            [self.entry],
            (TICK_UNITS,),
            journal,
            self.board,
            lambda: NOW_NS,
        )

    def append(self, record: Record) -> int:
        self.records.append(record)
        return len(self.records)

    def send(self, kind: int, old_id: int = 0) -> tuple[int, list[str]]:
        """Pass one action through the gate and send it: the new id, and why it was not sent."""
        (action,) = self.gate.submit(kind, 0, PRICE, LOTS, old_id)
        self.step.actions[: O.ACTION_WORDS] = self.gate.actions[: O.ACTION_WORDS]
        return action.new_id, [reason for _, reason in self.sender.send(1, NOW_NS)]

    def venue_word(self, word: int) -> int:
        return int(self.board.venues[word])


def test_an_order_goes_out_in_ticks_and_is_written_down() -> None:
    rig = Rig()
    new, failures = rig.send(O.ACTION_SUBMIT)
    assert failures == []
    assert rig.entry.calls == [("place", new, O.BUY, PRICE // TICK_UNITS, LOTS, NOW_NS)]
    assert rig.orders.sent[new] == Sent(0, 0, PRICE, LOTS, NOW_NS)
    (record,) = rig.records
    assert (record.kind, record.order, record.lots) == (J.EVENT_SUBMIT, new, LOTS)
    assert rig.venue_word(B.VENUE_ORDERS) == 1
    assert rig.board.words[B.SEQUENCE] == 1, "the watchdog knows of it"


def test_an_order_that_takes_goes_out_as_one_and_is_written_down_as_one() -> None:
    rig = Rig()
    rig.gate.table[O.ACCOUNT_POSITION_LOTS] = -LOTS
    (action,) = rig.gate.submit(O.ACTION_TAKE, O.TAKE_LEVEL, PRICE, LOTS)
    rig.step.actions[: O.ACTION_WORDS] = rig.gate.actions[: O.ACTION_WORDS]
    assert rig.sender.send(1, NOW_NS) == []
    assert rig.entry.calls == [("take", action.new_id, O.BUY, PRICE // TICK_UNITS, LOTS, NOW_NS)]
    assert rig.orders.sent[action.new_id].takes and rig.records[-1].kind == J.EVENT_TAKE


def test_a_replace_names_both_orders_and_a_cancel_one() -> None:
    rig = Rig()
    old, _ = rig.send(O.ACTION_SUBMIT)
    rig.gate.event(O.ACK, old)
    new, failures = rig.send(O.ACTION_REPLACE, old)
    assert failures == [] and rig.entry.calls[-1][:3] == ("replace", old, new)
    assert rig.orders.sent[old].state == O.PENDING_REPLACE
    assert (rig.records[-1].kind, rig.records[-1].filled_lots) == (J.EVENT_REPLACE, old)
    _, failures = rig.send(O.ACTION_CANCEL, new)
    assert failures == [] and rig.entry.calls[-1] == ("cancel", new, NOW_NS)
    assert rig.orders.sent[new].state == O.PENDING_CANCEL
    assert rig.records[-1].kind == J.EVENT_CANCEL


def test_a_cancel_that_cannot_be_sent_leaves_its_order_unknown() -> None:
    rig = Rig()
    order, _ = rig.send(O.ACTION_SUBMIT)
    rig.entry.state = EntryState.DISCONNECTED
    _, failures = rig.send(O.ACTION_CANCEL, order)
    assert failures == [], "only what is new is given back"
    assert len(rig.entry.calls) == 1 and rig.orders.sent[order].state == O.UNKNOWN
    assert rig.records[-1].reason == J.REASON_TIMED_OUT
    assert rig.venue_word(B.VENUE_CANCELS) == 0


def test_an_order_that_cannot_be_written_is_given_back_with_the_reason() -> None:
    rig = Rig()
    rig.entry.error = "a price of too many digits"
    order, failures = rig.send(O.ACTION_SUBMIT)
    assert failures == ["a price of too many digits"]
    assert order in rig.orders.sent and rig.records == []
    assert rig.venue_word(B.VENUE_ORDERS) == 0
