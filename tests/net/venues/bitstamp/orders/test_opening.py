"""Bitstamp's order entry opens: every step, and every way in which each of them can fail."""

from __future__ import annotations

import pytest

from net.orders.errors import ErrorClass
from net.orders.interface import EntryNote, EntryState, Opening
from net.orders.messages import Balance, Kind
from tests.net.venues.bitstamp.orders.rig import (
    BALANCES,
    FAILURES,
    FEES,
    NAME_A,
    NAME_B,
    NOT_FOUND,
    OPENING,
    ORDERS,
    TOKEN,
    TRADES,
    USER,
    S,
    Venue,
    drive,
    error,
    listed,
    status,
    transaction,
)


def test_an_opening_goes_step_by_step() -> None:
    venue = Venue()
    entry = venue.entry
    assert venue.state() is EntryState.DISCONNECTED
    entry.on_open(venue.now_ns)
    assert venue.state() is EntryState.OPENING and not venue.sent
    assert [each.path for each in venue.asked.values()] == ["/api/v2/websockets_token/"]
    venue.answer("websockets_token", TOKEN)
    for kind, frame in zip(("my_orders", "my_trades"), venue.sent, strict=True):
        channel = f"private-{kind}_btcusd-{USER}"
        assert frame == {"event": "bts:subscribe", "data": {"channel": channel, "auth": "abc"}}
    venue.text("bts:subscription_succeeded", ORDERS, {})
    venue.text("bts:subscription_succeeded", ORDERS, {})
    venue.text("bts:subscription_succeeded", "private-my_orders_ethusd-1", {})
    assert venue.state() is EntryState.OPENING and not venue.asked
    venue.text("bts:subscription_succeeded", TRADES, {})
    assert venue.state() is EntryState.READING
    venue.answer("account_balances", BALANCES)
    venue.answer("fees/trading", FEES)
    venue.answer("user_transactions", [transaction(9, 70), transaction(8, 71)])
    assert venue.said() == []
    venue.answer("open_orders", [listed("by hand", 70)])
    ((what, opening),) = venue.said()
    assert (what, venue.state()) == ("ready", EntryState.READY)
    (order,) = opening.open_orders
    assert (order.kind, order.client_order_id, order.venue_order_id) == (Kind.STATE, "by hand", 70)
    assert [each.execution_id for each in opening.trades] == [8, 9], "the oldest first"
    assert [each.client_order_id for each in opening.trades] == [None, "by hand"]
    assert opening.balances == (Balance("BTC", 9 * 10**8, 10**8),)
    assert opening.maker_fee_ppm == 3_000
    assert not venue.asked and not venue.dropped


def test_a_venue_that_refuses_to_tell_its_fees_is_quoted_all_the_same() -> None:
    venue = Venue()
    drive(venue, "fees/trading")
    venue.answer("fees/trading", error("403.001", "no such permission"), 400)
    venue.answer("user_transactions", [])
    venue.answer("open_orders", [])
    venue.answer("account_balances", BALANCES)
    ((what, opening),) = venue.said()
    assert (what, opening.maker_fee_ppm) == ("ready", None)


def test_fees_of_other_markets_alone_are_none() -> None:
    venue = Venue()
    drive(venue, "fees/trading")
    venue.answer("fees/trading", FEES[:1])
    venue.answer("user_transactions", [])
    venue.answer("open_orders", [])
    venue.answer("account_balances", BALANCES)
    ((_, opening),) = venue.said()
    assert opening.maker_fee_ppm is None


def test_the_first_reading_waits_until_the_list_cannot_be_older_than_the_subscriptions() -> None:
    venue = Venue(open_orders_age_s=10)
    venue.entry.on_open(venue.now_ns)
    venue.answer("websockets_token", TOKEN)
    venue.acknowledge()
    venue.wait(9.9)
    assert venue.state() is EntryState.READING and not venue.asked
    venue.wait(0.1)
    venue.wait(0.1)
    assert venue.posted[1:] == [
        "/api/v2/open_orders/btcusd/",
        "/api/v2/user_transactions/btcusd/",
        "/api/v2/fees/trading/",
        "/api/v2/account_balances/",
    ], "asked once"
    for path, value in zip(OPENING[1:], ([], [], FEES, BALANCES), strict=True):
        venue.answer(path, value)
    assert venue.state() is EntryState.READY
    venue.lose()
    venue.open()
    assert venue.state() is EntryState.READY, "orders of ours cannot be missed again"


def test_a_listed_order_is_looked_up_because_the_list_may_be_old() -> None:
    venue = Venue()
    venue.open(orders=[listed(NAME_A, 1), listed(NAME_B, 2), listed("pollux-0000", 3)])
    assert venue.state() is EntryState.READING
    assert venue.form("order_status") == {"id": "1"}
    venue.answer("order_status", status(NAME_A, 1, "Open", 11, 12))
    assert venue.form("order_status") == {"id": "2"}
    venue.answer("order_status", status(NAME_B, 2, "Canceled", 13))
    ((_, opening),) = venue.said()
    assert {each.venue_order_id for each in opening.open_orders} == {1, 3}
    ours = next(each for each in opening.open_orders if each.venue_order_id == 1)
    assert (ours.quantity_lots, ours.filled_lots) == (50_000_000, 20_000_000)
    assert [(each.execution_id, each.client_order_id) for each in opening.trades] == [
        (11, NAME_A),
        (12, NAME_A),
        (13, NAME_B),
    ]


def test_a_listed_order_that_is_gone_is_left_out() -> None:
    venue = Venue()
    venue.open(orders=[listed(NAME_A, 1)])
    venue.answer("order_status", NOT_FOUND, 404)
    assert venue.said() == [("ready", Opening((), (), (Balance("BTC", 9 * 10**8, 10**8),), 3_000))]


def test_events_while_it_opens_are_handed_on_in_order() -> None:
    venue = Venue()
    venue.entry.on_open(venue.now_ns)
    venue.answer("websockets_token", TOKEN)
    venue.text("bts:subscription_succeeded", ORDERS, {})
    venue.order("order_changed", NAME_A, 1, "0.3")
    venue.text("bts:subscription_succeeded", TRADES, {})
    venue.trade(1, 5)
    venue.order("order_deleted", NAME_A, 1, "0.3")
    told = [(each.kind, each.client_order_id) for _, (each,) in venue.said()]
    assert told == [(Kind.STATE, NAME_A), (Kind.FILL, NAME_A), (Kind.CANCELED, NAME_A)]


@pytest.mark.parametrize("how", FAILURES)
@pytest.mark.parametrize("step", [*OPENING, "order_status"])
def test_an_opening_that_fails_at_any_step_is_lost_once_and_begins_anew(
    step: str, how: str
) -> None:
    venue = Venue()
    drive(venue, step)
    asked, frames = dict(venue.asked), len(venue.sent)
    FAILURES[how](venue, step)
    ((what, reason),) = venue.said()
    assert what == "lost" and "\n" not in reason
    assert venue.state() is EntryState.DISCONNECTED
    assert len(venue.dropped) == (how != "connection lost"), "one connection is cut once"
    venue.wait(30)
    for key, request in asked.items():
        venue.answer_key(key, request, TOKEN)
    assert (venue.said(), len(venue.sent)) == ([], frames), "a lost opening's answers mean nothing"
    venue.asked.clear()
    venue.open()
    assert [what for what, _ in venue.said()] == ["ready"]


def test_subscriptions_that_are_not_acknowledged() -> None:
    venue = Venue()
    venue.entry.on_open(venue.now_ns)
    venue.answer("websockets_token", TOKEN)
    venue.text("bts:subscription_succeeded", ORDERS, {})
    venue.wait(9.9)
    assert venue.said() == []
    venue.wait(0.1)
    assert venue.said() == [("lost", "the subscriptions were not acknowledged")]
    venue.entry.on_open(venue.now_ns)
    venue.wait(1)
    assert venue.said() == []
    venue.answer("websockets_token", TOKEN)
    venue.text("bts:error", "", {"code": 4009, "message": "Connection is unauthorized."})
    ((what, reason),) = venue.said()
    assert what == "lost" and "unauthorized" in reason


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("API0001", ErrorClass.BAD_KEYS),
        ("API0005", ErrorClass.BAD_KEYS),
        ("API0003", ErrorClass.NO_PERMISSION),
        ("API0017", ErrorClass.CLOCK_SKEW),
    ],
)
@pytest.mark.parametrize("step", ["websockets_token", "account_balances"])
def test_who_is_not_accepted_is_barred_for_ten_minutes(
    step: str, code: str, kind: ErrorClass
) -> None:
    venue = Venue()
    drive(venue, step)
    venue.answer(step, {"status": "error", "reason": "go away", "code": code}, 403)
    trouble, (_, reason) = venue.said()
    assert "go away" in reason and trouble == ("trouble", kind)
    assert venue.state() is EntryState.BARRED
    assert venue.dropped == [(reason, 600 * S)]
    assert [what for what, _ in venue.host.notes] == [EntryNote.BARRED]
    venue.lose()
    assert venue.said() == [] and venue.state() is EntryState.BARRED
    venue.asked.clear()
    venue.open()
    assert venue.state() is EntryState.READY


def test_a_limit_while_it_opens_is_waited_for() -> None:
    venue = Venue()
    drive(venue, "websockets_token")
    venue.answer("websockets_token", error("400.002"), 400, retry_after="17")
    trouble, (_, reason) = venue.said()
    assert trouble == ("trouble", ErrorClass.RATE_LIMITED)
    assert venue.dropped == [(reason, 17 * S)]
    venue.lose()
    venue.wait(17)
    venue.asked.clear()
    drive(venue, "websockets_token")
    venue.answer("websockets_token", error("400.002"), 400)
    assert venue.dropped[-1][1] == 60 * S
