"""Requests under way: each is answered once, in time or late, and what is late is bounded."""

from __future__ import annotations

import pytest

from engine.maker.client_ids import format_client_id
from net.orders import pending_requests
from net.orders.messages import OrderRequest, Request
from net.orders.pending_requests import Pending, PendingRequests

ONE, TWO = 7 << 32 | 1, 7 << 32 | 2


def pending(due_ns: int = 10, order_id: int = ONE) -> Pending:
    return Pending("place", 0, due_ns, OrderRequest(Request.PLACE, order_id))


def test_an_answer_is_taken_once() -> None:
    table = PendingRequests()
    assert [table.next_number(), table.next_number()] == [1, 2]
    request = pending()
    table.put(1, request)
    assert table.take(2) == (None, True) and table.take("1") == (None, False)
    assert table.take(1) == (request, False)
    assert table.take(1) == (None, True)


def test_what_is_due_is_late_from_then_on() -> None:
    table = PendingRequests()
    soon, later = pending(10), pending(11)
    table.put(1, soon)
    table.put(2, later)
    assert table.take_due(9) == [] and table.take_due(10) == [soon] and table.take_due(10) == []
    assert table.take(1) == (soon, True) and table.take(1) == (None, True)
    assert table.take(2) == (later, False)


def test_a_lost_connection_ends_all_and_its_answers_come_late_or_never() -> None:
    table = PendingRequests()
    for number in (1, 2):
        table.put(number, pending())
    table.end_all()
    assert table.take_due(99) == [] and table.take(1)[1]
    table.put(3, pending())
    table.forget()
    assert [table.take(number)[0] for number in (2, 3)] == [None, None]


def test_the_late_are_bounded_and_the_oldest_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending_requests, "LATE_MAX", 2)
    table = PendingRequests()
    for number in (1, 2, 3):
        table.put(number, pending(number))
    assert len(table.take_due(9)) == 3
    assert [table.take(number)[0] is not None for number in (1, 2, 3)] == [False, True, True]


def test_a_request_is_named_for_the_log_and_for_its_answer() -> None:
    name = format_client_id(ONE)
    assert pending().names() == (name, None)
    replace = OrderRequest(Request.REPLACE, ONE, TWO)
    assert pending()._replace(about=replace).names() == (name, format_client_id(TWO))
    assert pending().facts() == {"request": "place", "order": name}
    assert Pending("time", 0, 1).facts() == {"request": "time"}
