"""Audits at Bitstamp, and events that are missing: read from the history, or a loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from net.orders.interface import EntryNote, EntryState
from net.orders.messages import Kind
from tests.net.venues.bitstamp.orders.rig import (
    BALANCES,
    NAME_A,
    NAME_B,
    Venue,
    error,
    listed,
    ready,
    status,
    transaction,
)


def history(*rows: tuple[int, str, str, int, str]) -> list[dict[str, Any]]:
    """account_order_data: each event's number and kind, its order's name, number and rest."""
    return [
        {
            "event": event, "event_id": f"e{at}", "order_source": "orderbook",
            "trade_account_id": 0,
            "data": {
                "id": number, "order_type": 0, "amount_str": left, "amount_at_create": "0.5",
                "price_str": "6.0E+4", "microtimestamp": "1700000000000000",
                "client_order_id": name,
            },
        }
        for at, event, name, number, left in rows
    ]  # fmt: skip


def gap() -> Venue:
    """Two events that came, one that did not, and one that names it."""
    venue = ready()
    venue.order("order_created", NAME_A, 1)
    venue.order("order_changed", NAME_A, 1, "0.4")
    venue.events -= 1
    venue.order("order_changed", NAME_A, 1, "0.4")
    assert [what for what, _ in venue.said()] == ["push"] * 3 and not venue.asked, "doubled"
    venue.events += 1
    venue.order("order_created", NAME_B, 2)
    ((what, _),) = venue.said()
    assert what == "push" and not venue.dropped
    form = {"order_source": "orderbook", "market": "BTC/USD", "since_id": "e2"}
    assert venue.form("account_order_data") == form
    return venue


def test_a_missing_event_is_read_from_the_history() -> None:
    venue = gap()
    rows = history(
        (2, "order_changed", NAME_A, 1, "0.4"),
        (3, "order_deleted", NAME_A, 1, "0.4"),
        (4, "order_created", NAME_B, 2, "0.5"),
    )
    venue.answer("account_order_data", rows)
    told = [events[0] for what, events in venue.said() if what == "push"]
    assert [(each.kind, each.client_order_id) for each in told] == [
        (Kind.STATE, NAME_A),
        (Kind.CANCELED, NAME_A),
        (Kind.ACCEPTED, NAME_B),
    ]
    assert told[1].filled_lots == 10_000_000 and not venue.dropped
    assert (EntryNote.GAP_FILLED, {"since": "e2", "events": 3}) in venue.host.notes
    assert venue.state() is EntryState.READY
    venue.order("order_changed", NAME_B, 2, "0.1")
    assert not venue.asked, "the chain goes on"


def fall_behind(venue: Venue, times: int) -> None:
    """Histories that end before the break."""
    for _ in range(times):
        assert not venue.dropped
        venue.answer("account_order_data", history((2, "order_changed", NAME_A, 1, "0.4")))
        assert not venue.asked
        venue.wait(1.0)


def test_a_history_that_is_behind_is_read_again() -> None:
    venue = gap()
    fall_behind(venue, 2)
    rows = history((2, "order_changed", NAME_A, 1, "0.4"), (3, "order_deleted", NAME_A, 1, "0.4"))
    venue.answer("account_order_data", rows)
    assert [events[0].kind for what, events in venue.said()] == [Kind.STATE, Kind.CANCELED]
    venue.wait(1.0)
    assert not venue.dropped and not venue.asked
    assert not venue.entry.unreadable_frames


HISTORIES: dict[str, Callable[[Venue], None]] = {
    "it never reaches so far": lambda venue: fall_behind(venue, 3),
    "no answer": lambda venue: venue.wait(5.0),
    "refused": lambda venue: venue.answer("account_order_data", error("403.001"), 400),
    "another form": lambda venue: venue.answer("account_order_data", [{"event": "order_deleted"}]),
}


@pytest.mark.parametrize("how", HISTORIES)
def test_a_missing_event_that_no_history_has_is_a_loss(how: str) -> None:
    venue = gap()
    HISTORIES[how](venue)
    assert "lost" in [what for what, _ in venue.said()] and len(venue.dropped) == 1
    venue.asked.clear()
    venue.open()
    venue.events += 5
    venue.order("order_created", NAME_B, 2)
    assert venue.state() is EntryState.READY, "a new connection begins a new chain"


def shared() -> Venue:
    """A venue whose account has another market, which a history has shown: after e1 and e3."""
    venue = ready()
    venue.order("order_created", NAME_A, 1)
    venue.events += 1
    venue.order("order_changed", NAME_A, 1, "0.4")
    venue.answer(
        "account_order_data",
        history((1, "order_created", NAME_A, 1, "0.5"), (3, "order_changed", NAME_A, 1, "0.4")),
    )
    assert [what for what, _ in venue.said()] == ["push"] * 2, "nothing was missing"
    assert [note for note, _ in venue.host.notes] == [EntryNote.CHAIN_SHARED]
    return venue


def test_events_of_another_market_are_no_gap_and_cost_few_requests() -> None:
    venue = shared()
    for _ in range(20):  # two seconds
        venue.events += 1
        venue.order("order_changed", NAME_A, 1, "0.4")
        venue.wait(0.1)
    assert len(venue.said()) == 20 and venue.form("account_order_data")["since_id"] == "e3"
    rows = history(*((at, "order_changed", NAME_A, 1, "0.4") for at in range(3, 44, 2)))
    venue.answer("account_order_data", rows)
    assert venue.said() == [] and not venue.asked and not venue.dropped
    venue.wait(10.0)
    assert not venue.asked, "nothing is open"
    venue.events += 1
    venue.order("order_changed", NAME_A, 1, "0.4")
    assert venue.form("account_order_data")["since_id"] == "e43"


def test_a_history_that_is_always_a_little_behind_explains_what_it_reaches() -> None:
    venue = shared()
    last = 3
    for _ in range(10):
        for _ in range(2):
            venue.events += 1
            venue.order("order_changed", NAME_A, 1, "0.4")
        venue.wait(2.0)
        assert venue.form("account_order_data")["since_id"] == f"e{last}"
        told = range(last, venue.events, 2)
        rows = ((at, "order_changed", NAME_A, 1, "0.4") for at in told)
        venue.answer("account_order_data", history(*rows))
        last = told[-1]
        assert {what for what, _ in venue.said()} == {"push"} and not venue.dropped
    assert EntryNote.GAP_FILLED not in [note for note, _ in venue.host.notes]


def test_an_event_that_is_missing_among_those_of_another_market_is_found() -> None:
    venue = shared()
    venue.events += 3
    venue.order("order_created", NAME_B, 2)
    assert not venue.asked
    venue.wait(2.0)
    rows = history(
        (3, "order_changed", NAME_A, 1, "0.4"),
        (5, "order_deleted", NAME_A, 1, "0.4"),
        (7, "order_created", NAME_B, 2, "0.5"),
    )
    venue.answer("account_order_data", rows)
    told = [events[0].kind for _, events in venue.said()]
    assert told == [Kind.ACCEPTED, Kind.STATE, Kind.CANCELED, Kind.ACCEPTED]
    assert (EntryNote.GAP_FILLED, {"since": "e3", "events": 3}) in venue.host.notes


def test_what_comes_while_a_history_is_read_waits_for_the_next() -> None:
    venue = gap()
    venue.events += 1
    venue.order("order_changed", NAME_B, 2, "0.3")
    assert len(venue.asked) == 1
    rows = (
        (2, "order_changed", NAME_A, 1, "0.4"),
        (3, "order_deleted", NAME_A, 1, "0.4"),
        (4, "order_created", NAME_B, 2, "0.5"),
    )
    venue.answer("account_order_data", history(*rows))
    assert venue.form("account_order_data")["since_id"] == "e4", "at once: no chain is shared yet"
    rows = (
        (4, "order_created", NAME_B, 2, "0.5"),
        (5, "order_changed", NAME_B, 2, "0.4"),
        (6, "order_changed", NAME_B, 2, "0.3"),
    )
    venue.said()
    venue.answer("account_order_data", history(*rows))
    assert len(venue.said()) == 3 and not venue.asked


def test_where_breaks_are_the_rule_a_history_is_missed_twice() -> None:
    venue = shared()
    venue.events += 1
    venue.order("order_changed", NAME_A, 1, "0.4")
    venue.wait(2.0)
    venue.fail("account_order_data")
    venue.wait(1.0)
    venue.answer("account_order_data", error("500.001"), 500)
    venue.wait(1.0)
    assert not venue.dropped
    venue.wait(5.0)
    assert "lost" in [what for what, _ in venue.said()] and len(venue.dropped) == 1


def test_no_history_is_read_while_the_venue_wants_to_be_left_alone() -> None:
    venue = ready()
    venue.order("order_created", NAME_A, 1)
    venue.place()
    venue.answer("buy/btcusd", error("400.002"), 429, retry_after="9")
    venue.events += 1
    venue.order("order_changed", NAME_A, 1, "0.4")
    venue.wait(8.9)
    assert not venue.asked
    venue.wait(0.1)
    assert venue.form("account_order_data")["since_id"] == "e1"


AUDIT = ("open_orders", "user_transactions", "account_balances")


def audited(venue: Venue, orders: list[Any], trades: list[Any]) -> None:
    venue.entry.audit(venue.now_ns)
    venue.entry.audit(venue.now_ns)
    assert [each.path.split("/")[3] for each in venue.asked.values()] == [
        path.split("/")[0] for path in AUDIT
    ], "one at a time"
    for path, value in zip(AUDIT, (orders, trades, BALANCES), strict=True):
        venue.answer(path, value)


def test_an_audit_reads_the_account_beside_everything_else() -> None:
    venue = ready()
    audited(venue, [listed(NAME_A, 1), listed(NAME_B, 2)], [transaction(5, 1)])
    assert venue.state() is EntryState.READY and venue.said() == []
    # The list may be old: each of ours is looked up.
    venue.answer("order_status", status(NAME_A, 1, "Open", 5))
    venue.answer("order_status", status(NAME_B, 2, "Canceled"))
    ((what, reading),) = venue.said()
    assert what == "audit" and [each.client_order_id for each in reading.open_orders] == [NAME_A]
    assert [(each.execution_id, each.client_order_id) for each in reading.trades] == [(5, NAME_A)]
    assert [each.asset for each in reading.balances] == ["BTC"]
    audited(venue, [], [])
    assert [what for what, _ in venue.said()] == ["audit"]


@pytest.mark.parametrize("path", AUDIT)
@pytest.mark.parametrize("how", ["fail", "refuse", "nonsense", "late"])
def test_an_audit_that_fails_is_told_and_harms_nothing(path: str, how: str) -> None:
    venue = ready()
    venue.entry.audit(venue.now_ns)
    if how == "fail":
        venue.fail(path)
    elif how == "refuse":
        venue.answer(path, error("500.001"), 500)
    elif how == "nonsense":
        venue.answer(path, {"a": 7})
    else:
        venue.wait(5.0)
    assert venue.said() == [] and not venue.dropped and venue.state() is EntryState.READY
    assert [note for note, _ in venue.host.notes].count(EntryNote.AUDIT_FAILED) == 1
    for key, request in list(venue.asked.items()):
        venue.answer_key(key, request, [])
    assert venue.said() == [], "what is left of it proves nothing"
    venue.asked.clear()
    audited(venue, [], [])
    assert [what for what, _ in venue.said()] == ["audit"]


def test_an_audit_ends_with_its_connection() -> None:
    venue = ready()
    venue.entry.audit(venue.now_ns)
    asked = dict(venue.asked)
    venue.lose()
    venue.entry.audit(venue.now_ns)
    assert [what for what, _ in venue.said()] == ["lost"] and dict(venue.asked) == asked
    venue.asked.clear()
    venue.open()
    venue.said()
    for key, request in asked.items():
        venue.answer_key(key, request, [])
    assert venue.said() == []


def test_no_audit_is_made_while_the_venue_wants_to_be_left_alone() -> None:
    venue = ready()
    venue.place()
    venue.answer("buy/btcusd", error("400.002"), 429, retry_after="9")
    venue.asked.clear()
    venue.entry.audit(venue.now_ns)
    assert not venue.asked
