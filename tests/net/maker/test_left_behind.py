"""Accounts that are not quoted any more: swept, and told once they are clean."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import pytest

from engine.maker.client_ids import format_client_id
from net.journal.ledger import Account
from net.maker.left_behind import TROUBLE_WAIT_NS, LeftBehind
from net.orders.errors import ErrorClass, Refusal
from net.orders.interface import EntryNote, EntryState, Opening
from net.orders.messages import Kind, OrderEvent, OrderRequest, Request, State
from net.orders.sweep import READ_AGAIN_NS

S = 10**9
EPOCH = 1_700_000_000
OURS = tuple((EPOCH - 9) << 32 | number for number in (1, 2))
LATER = (EPOCH + 1) << 32 | 1
ACCOUNTS = (Account(True, "binance", "BTCUSDT"), Account(True, "bitstamp", "ethusd"))


class Entry:
    """A venue where some orders are open; it answers when it is told to."""

    settle_ns = S

    def __init__(self, host: LeftBehind, venue: int, order_ids: Iterable[int]) -> None:
        self.state = EntryState.READY
        self.open = set(order_ids)
        self.asked: list[int] = []
        self.readings = 0
        self._host, self._venue = host, venue

    def cancel_all(self, order_ids: Iterable[int], now_ns: int) -> None:
        self.asked += order_ids

    def ask(self, order_id: int, now_ns: int) -> None: ...

    def reread(self, now_ns: int) -> None:
        self.readings += 1

    def on_timer(self, now_ns: int) -> None: ...

    def show(self, now_ns: int) -> None:
        """The venue's list of what is open, with an order of somebody else."""
        names = [*map(format_client_id, sorted(self.open)), "mine"]
        listed = tuple(OrderEvent(Kind.STATE, State.OPEN, "X", name) for name in names)
        self._host.on_ready(self._venue, Opening(listed, (), ()), now_ns)

    def close(self, order_id: int, now_ns: int) -> None:
        self.open.discard(order_id)
        event = OrderEvent(Kind.CANCELED, State.CANCELED, "X", format_client_id(order_id))
        asked = OrderRequest(Request.CANCEL, order_id)
        self._host.on_answer(self._venue, asked, (event,), now_ns)


class Bench:
    """Both accounts; `now_ns` is the test's."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, dict[str, object]]] = []
        self.clean: list[Account] = []
        self.now_ns = S
        self.left = LeftBehind(ACCOUNTS, EPOCH, self, self.clean.append)
        self.entries = [Entry(self.left, 0, (*OURS, LATER)), Entry(self.left, 1, ())]
        for venue, entry in enumerate(self.entries):
            self.left.attach(venue, cast(Any, entry))

    def note_maker(self, level: str, what: str, **facts: object) -> None:
        self.told.append((level, what, facts))

    def wall_ns(self) -> int:
        return 7

    def step(self, after_ns: int = S) -> None:
        self.now_ns += after_ns
        self.left.on_timer(self.now_ns)


def test_orders_of_earlier_runs_go_and_no_others() -> None:
    bench = Bench()
    entry, empty = bench.entries
    bench.step()
    assert entry.readings == empty.readings == 1 and not entry.asked
    entry.show(bench.now_ns)
    empty.show(bench.now_ns)
    bench.step()
    assert entry.asked == [*OURS], "the later run's is another market maker's"
    for order_id in OURS:
        entry.close(order_id, bench.now_ns)
    for _ in range(2):
        bench.step(READ_AGAIN_NS)
        assert not bench.left.is_done
        for each in bench.entries:
            each.show(bench.now_ns)
    bench.step()
    assert bench.left.is_done and set(bench.clean) == set(ACCOUNTS)
    assert entry.open == {LATER}
    cancelled = {str(facts["market"]): facts["cancelled"] for _, _, facts in bench.told}
    assert cancelled == {"BTCUSDT": 2, "ethusd": 0}


def test_one_reading_is_not_enough() -> None:
    """What was on its way when an earlier run died may be in the book only now."""
    bench = Bench()
    entry = bench.entries[1]
    bench.step()
    entry.show(bench.now_ns)
    bench.step(READ_AGAIN_NS)
    entry.open.add(OURS[0])
    entry.show(bench.now_ns)
    bench.step()
    assert entry.asked == [OURS[0]] and ACCOUNTS[1] not in bench.clean


@pytest.mark.parametrize("wait_ns", [0, 3 * S])
def test_a_venue_in_trouble_is_left_alone(wait_ns: int) -> None:
    bench = Bench()
    entry = bench.entries[0]
    refusal = Refusal(ErrorClass.RATE_LIMITED, "too many", wait_ns)
    bench.left.on_trouble(0, refusal, bench.now_ns)
    until_ns = bench.now_ns + (wait_ns or TROUBLE_WAIT_NS)
    while bench.now_ns + S < until_ns:
        bench.step()
    assert entry.readings == 0
    bench.step()
    assert entry.readings == 1
    assert ("error", "trouble at a venue") in {each[:2] for each in bench.told}


def test_a_lost_connection_reads_anew() -> None:
    bench = Bench()
    entry = bench.entries[0]
    bench.step()
    bench.left.on_entry_lost(0, "reset", bench.now_ns)
    bench.step()
    assert entry.readings == 2
    bench.left.note_entry(0, EntryNote.READY)
    assert bench.told[-1][2] == {"venue": "binance", "market": "BTCUSDT"}
