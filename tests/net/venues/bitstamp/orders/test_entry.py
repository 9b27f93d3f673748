"""Bitstamp's order entry at work: requests, events, and the connection's life."""

from __future__ import annotations

import pytest

from engine.maker.order_layout import BUY, SELL
from net.orders import order_names as names
from net.orders.errors import ErrorClass
from net.orders.interface import EntryState
from net.orders.messages import Kind, Request, State
from net.venues.bitstamp.orders import account as bitstamp_account
from net.venues.bitstamp.orders import entry
from net.venues.bitstamp.orders import order_names as bitstamp_names
from tests.net.venues.bitstamp.orders.rig import (
    FAILURES,
    NAME_A,
    NAME_B,
    NOT_FOUND,
    START_NS,
    TRADES,
    A,
    B,
    S,
    Venue,
    error,
    placed,
    ready,
    status,
    transaction,
)

# --- requests ------------------------------------------------------------------------------------


def test_an_order_is_placed_post_only_and_answered() -> None:
    venue = ready()
    venue.entry.place(A, SELL, 60_001, 12_345_678, venue.now_ns)
    assert venue.form("sell/btcusd") == {
        "amount": "0.12345678", "price": "60001", "client_order_id": NAME_A, "moc_order": "True",
    }  # fmt: skip
    assert venue.said() == []
    venue.answer("sell/btcusd", placed(NAME_A, 1))
    ((what, request, order_id, (event,)),) = venue.said()
    assert (what, request, order_id) == ("answer", Request.PLACE, A)
    assert (event.kind, event.client_order_id, event.venue_order_id) == (Kind.ACCEPTED, NAME_A, 1)


def test_cancelling_and_asking_go_by_our_name() -> None:
    venue = ready()
    venue.entry.cancel(A, venue.now_ns)
    venue.entry.ask(B, venue.now_ns)
    assert venue.form("cancel_order") == {"client_order_id": NAME_A}
    assert venue.form("order_status") == {"client_order_id": NAME_B}
    gone = {"id": 1, "amount": 0.5, "price": 60000, "type": 0, "market": "BTC/USD"}
    venue.answer("cancel_order", gone | {"status": "Canceled"})
    venue.answer("order_status", status(NAME_B, 2, "Finished", 21))
    canceled, found = venue.said()
    assert canceled[1:3] == (Request.CANCEL, A) and canceled[3][0].kind is Kind.CANCELED
    assert found[1:3] == (Request.STATUS, B)
    assert [(each.kind, each.state) for each in found[3]] == [
        (Kind.STATE, State.FILLED),
        (Kind.FILL, State.UNKNOWN),
    ]
    venue.entry.ask(A, venue.now_ns)
    venue.answer("order_status", NOT_FOUND, 404)
    ((_, _, _, (event,)),) = venue.said()
    assert (event.kind, event.error) == (Kind.FAILED, ErrorClass.UNKNOWN_ORDER)


def test_nothing_is_replaced() -> None:
    venue = ready()
    with pytest.raises(AssertionError, match="might take"):
        venue.entry.replace(A, B, BUY, 60_000, 1, venue.now_ns)


@pytest.mark.parametrize(
    "how", [how for how in FAILURES if how not in ("not sent", "connection lost", "unreadable")]
)
def test_a_request_ends_once_whatever_comes(how: str) -> None:
    venue = ready()
    venue.place()
    asked = dict(venue.asked)
    FAILURES[how](venue, "buy/btcusd")
    ((what, *about),) = venue.said()
    if how in ("refused", "a page"):
        assert what == "answer" and about[2][0].error is ErrorClass.UNKNOWN_OUTCOME
        assert about[2][0].kind is Kind.FAILED, "the order may be there"
    else:
        assert (what, *about) == ("unanswered", Request.PLACE, A)
    assert venue.state() is EntryState.READY and not venue.dropped
    venue.wait(5)
    for key, request in asked.items():
        venue.answer_key(key, request, placed(NAME_A, 1))
        venue.answer_key(key, request, placed(NAME_A, 1))
    late = venue.said()
    assert [what for what, *_ in late] == (["push"] if how == "too late" else [])


def test_a_doubled_answer_is_heard_once() -> None:
    venue = ready()
    venue.place()
    key = venue.key("buy/btcusd")
    for _ in range(2):
        venue.answer_key(key, venue.asked[key], placed(NAME_A, 1))
    assert [what for what, *_ in venue.said()] == ["answer"]


def test_a_late_answer_brings_what_happened_and_no_refusal() -> None:
    venue = ready()
    venue.entry.ask(A, venue.now_ns)
    venue.entry.ask(B, venue.now_ns)
    venue.entry.place(B, BUY, 60_000, 50_000_000, venue.now_ns)
    venue.wait(5)
    assert [what for what, *_ in venue.said()] == ["unanswered"] * 3
    venue.answer("order_status", status(NAME_A, 1, "Finished", 21))
    venue.answer("order_status", NOT_FOUND, 404)
    venue.answer("buy/btcusd", error("500.017"), 500)
    (_, found), (_, refused) = venue.said()
    assert [each.kind for each in found] == [Kind.STATE, Kind.FILL]
    assert [each.kind for each in refused] == [Kind.REJECTED], "it was never there"


def test_a_late_answer_that_cannot_be_read_ends_nothing_twice() -> None:
    venue = ready()
    venue.place(A)
    venue.place(B)
    venue.wait(5)
    assert [what for what, *_ in venue.said()] == ["unanswered"] * 2
    venue.answer("buy/btcusd", b"{")
    venue.fail("buy/btcusd")
    assert venue.said() == []


def test_a_request_that_never_left_has_done_nothing() -> None:
    venue = ready()
    venue.place()
    venue.entry.ask(B, venue.now_ns)
    venue.fail("buy/btcusd", was_sent=False)
    venue.fail("order_status", was_sent=False)
    (_, *placing, (rejected,)), (_, *asking, (failed,)) = venue.said()
    assert placing == [Request.PLACE, A] and rejected.kind is Kind.REJECTED
    assert rejected.reason == "not sent: broken pipe"
    assert asking == [Request.STATUS, B] and failed.kind is Kind.FAILED
    assert failed.error is not ErrorClass.UNKNOWN_ORDER, "it says nothing about the order"


def test_a_lost_connection_ends_every_request() -> None:
    venue = ready()
    venue.place(A)
    venue.entry.cancel(B, venue.now_ns)
    venue.lose()
    assert venue.said() == [("lost", "connection reset")]
    venue.wait(6)
    venue.answer("buy/btcusd", placed(NAME_A, 1))
    venue.answer("cancel_order", NOT_FOUND, 404)
    ((what, (event,)),) = venue.said()
    assert (what, event.kind, event.client_order_id) == ("push", Kind.ACCEPTED, NAME_A)


def test_what_cannot_be_sent_is_answered_later() -> None:
    venue = ready()
    venue.entry.place(A, BUY, -5, 50_000_000, venue.now_ns)
    assert venue.said() == [] and not venue.asked, "the host is in the middle of something"
    venue.wait(0.1)
    ((_, request, order_id, (event,)),) = venue.said()
    assert (request, order_id, event.kind) == (Request.PLACE, A, Kind.REJECTED)
    assert event.error is ErrorClass.BAD_REQUEST
    venue.wait(0.1)
    assert venue.said() == []
    venue.entry.place(A, BUY, -5, 50_000_000, venue.now_ns)
    venue.lose()
    venue.wait(0.1)
    assert [what for what, _ in venue.said()] == ["lost"]


@pytest.mark.parametrize(
    ("code", "kind"),
    [("API0017", ErrorClass.CLOCK_SKEW), ("API0001", ErrorClass.BAD_KEYS),
     ("400.002", ErrorClass.RATE_LIMITED), ("500.012", ErrorClass.MARKET_SUSPENDED)],
)  # fmt: skip
def test_trouble_comes_beside_the_answer(code: str, kind: ErrorClass) -> None:
    venue = ready()
    venue.place()
    venue.answer("buy/btcusd", error(code), 400)
    trouble, (what, *_) = venue.said()
    assert (what, trouble) == ("answer", ("trouble", kind))
    venue.place(B)
    venue.answer("buy/btcusd", error("500.017", "would take"), 500)
    assert [what for what, *_ in venue.said()] == ["answer"], "one order's is no trouble"


def test_retry_after_is_honoured() -> None:
    venue = ready()
    venue.place()
    venue.answer("buy/btcusd", error("400.002"), 429, retry_after="3")
    venue.said()
    venue.entry.cancel(A, venue.now_ns)
    venue.wait(1)
    assert not venue.asked
    trouble, (_, request, order_id, (event,)) = venue.said()
    assert (request, order_id, event.kind) == (Request.CANCEL, A, Kind.FAILED)
    assert (event.error, trouble[1]) == (ErrorClass.RATE_LIMITED, ErrorClass.RATE_LIMITED)
    venue.wait(2)
    venue.entry.cancel(A, venue.now_ns)
    assert venue.asked
    venue.answer("cancel_order", error("400.002"), 429, retry_after="30")
    venue.lose()
    assert venue.dropped == [("the venue asked to be left alone", 30 * S)]


def test_the_venues_limits_are_kept_and_cancels_have_room_left() -> None:
    venue = ready()
    for number in range(entry.SECOND_REQUESTS_MAX):
        venue.place((7 << 32) + 10 + number)
    orders = sum("buy" in each.path for each in venue.asked.values())
    assert entry.SECOND_REQUESTS_MAX - 60 < orders < entry.SECOND_REQUESTS_MAX - 40
    venue.entry.cancel(A, venue.now_ns)
    assert "cancel_order" in venue.posted[-1]
    venue.wait(1)
    refused = [each for each in venue.said() if each[0] == "answer"]
    assert len(refused) == entry.SECOND_REQUESTS_MAX - orders
    sent = len(venue.posted)
    for second in range(600):
        venue.now_ns = START_NS + (second + 2) * S
        for number in range(20):
            venue.place((8 << 32) + second * 20 + number + 1)
    venue.entry.cancel(A, venue.now_ns)
    assert 8_000 - sent - 1 <= len(venue.posted) - sent <= 8_001
    assert "cancel_order" in venue.posted[-1]


def test_the_account_is_read_again_on_the_same_connection() -> None:
    venue = ready()
    posted = len(venue.posted)
    venue.entry.reread(venue.now_ns)
    assert venue.state() is EntryState.READING and len(venue.posted) == posted
    venue.wait(1)
    assert len(venue.posted) == posted + 4 and "open_orders" in venue.posted[posted]


# --- events --------------------------------------------------------------------------------------


def test_a_fill_before_its_answer_waits_for_the_orders_name() -> None:
    venue = ready()
    venue.place()
    venue.trade(1, 5)
    assert venue.said() == []
    venue.answer("buy/btcusd", placed(NAME_A, 1))
    (what, *_), (pushed, (fill,)) = venue.said()
    assert (what, pushed, fill.client_order_id) == ("answer", "push", NAME_A)
    venue.trade(2, 6)
    venue.order("order_created", NAME_B, 2)
    (_, (created,)), (_, (fill,)) = venue.said()
    assert created.kind is Kind.ACCEPTED and fill.client_order_id == NAME_B
    venue.trade(2, 6)
    assert [kind for kind, _ in venue.said()] == ["push"], "a doubled one is the table's to see"


def test_a_fill_of_an_order_that_is_not_ours_has_no_name() -> None:
    venue = ready()
    venue.trade(1, 5)
    venue.trade(2, 6)
    venue.order("order_created", "", 2)
    (_, (created,)), (_, (fill,)) = venue.said()
    assert created.client_order_id == fill.client_order_id is None and fill.venue_order_id == 2
    venue.wait(bitstamp_names.WAIT_NS / S - 0.1)
    assert venue.said() == []
    venue.wait(0.1)
    ((_, (fill,)),) = venue.said()
    assert (fill.venue_order_id, fill.client_order_id) == (1, None)


def test_the_name_of_a_fill_is_found_on_the_next_connection() -> None:
    """The worst case: the answer is lost, the order fills, and the connection goes."""
    venue = Venue()
    venue.open(trades=[transaction(3, 99)])
    venue.place()
    venue.trade(1, 5)
    venue.lose()
    venue.said()
    venue.asked.clear()
    venue.open(trades=[transaction(5, 1), transaction(3, 99)])
    assert venue.form("order_status") == {"id": "1"}
    venue.answer("order_status", status(NAME_A, 1, "Finished", 5))
    (_, opening), (_, (fill,)) = venue.said()
    assert [each.client_order_id for each in opening.trades] == [None, NAME_A]
    assert fill.client_order_id == NAME_A
    venue.lose()
    venue.open(trades=[transaction(5, 1)])
    assert venue.state() is EntryState.READY, "what is known is not looked up"


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bitstamp_names, "WAITING_MAX", 2)
    monkeypatch.setattr(names, "NAMES_MAX", 2)
    venue = ready()
    for number in (1, 2, 3, 4):
        venue.trade(number, number)
    assert [event.venue_order_id for _, (event,) in venue.said()] == [1, 2], "the oldest go"
    for number in (5, 6, 7):
        venue.order("order_created", NAME_A, number)
    venue.said()
    venue.trade(7, 7)
    assert [event.client_order_id for _, (event,) in venue.said()] == [NAME_A]
    venue.trade(5, 8)
    ((_, (event,)),) = venue.said()
    assert event.venue_order_id == 3, "a forgotten order's fill waits, the oldest goes"


def test_more_trades_than_a_page_are_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bitstamp_account, "TRANSACTIONS_MAX", 2)
    venue = Venue()
    venue.open(trades=[transaction(9, 1), transaction(8, 1)])
    venue.order("order_created", NAME_A, 1)
    venue.lose()
    venue.open(trades=[transaction(11, 1), transaction(9, 1)])
    assert venue.host.notes == []
    venue.lose()
    venue.open(trades=[transaction(14, 1), transaction(13, 1)])
    assert len(venue.host.notes) == 1


def test_what_cannot_be_read_may_have_been_about_an_order() -> None:
    for raw in (b"{", b"[]", b'{"event":"trade","channel":"%s","data":{}}' % TRADES.encode()):
        venue = ready()
        venue.place()
        venue.entry.on_text(raw, venue.now_ns)
        assert [what for what, _ in venue.said()] == ["lost"] and len(venue.dropped) == 1


# --- the connection's life -----------------------------------------------------------------------


def test_the_venue_is_followed_when_it_moves() -> None:
    venue = ready()
    venue.text("bts:request_reconnect", "", "")
    assert venue.renewed and venue.state() is EntryState.READY
    venue.lose()
    venue.open()
    assert [what for what, _ in venue.said()] == ["lost", "ready"]


def test_heartbeats_silence_and_age() -> None:
    venue = ready()
    beat = {"event": "bts:heartbeat"}
    venue.sent.clear()
    for _ in range(41):
        venue.wait(1)
        venue.entry.on_text(b'{"event":"bts:heartbeat","channel":"","data":{}}', venue.now_ns)
    assert venue.sent == [beat, beat]
    venue.wait(65)
    assert not venue.dropped
    venue.wait(1)
    assert venue.said() == [("lost", "the venue says nothing")] and venue.dropped
    venue.open()
    venue.now_ns += 89 * 24 * 3600 * S
    venue.entry.on_text(b'{"event":"bts:heartbeat","channel":"","data":{}}', venue.now_ns)
    venue.wait(1)
    venue.wait(1)
    assert len(venue.renewed) == 1
    assert entry.HEARTBEAT_NS * 3 < entry.SILENCE_NS
