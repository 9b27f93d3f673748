"""Bitstamp answers late, twice, wrongly or never, and its trades overtake: seeded.

Whatever comes, every request ends once, and every fill is told once and under our name.
"""

from __future__ import annotations

import random
from collections import Counter

import pytest

from engine.maker.client_ids import format_client_id
from engine.maker.order_layout import BUY
from net.orders.http_requests import HttpRequest
from net.orders.interface import EntryState
from net.orders.messages import Kind, Request
from tests.net.venues.bitstamp.orders.rig import (
    NOT_FOUND,
    Venue,
    error,
    placed,
    ready,
    status,
    transaction,
)

STEPS = 400


class Chaos:
    """One run. An order's venue number is its sequence number; so is its only trade's."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.venue: Venue = ready()
        self.sequence = 0
        self.under_way: dict[tuple[Request, int], int] = {}
        """What was sent and not told to have ended, by what and which order."""
        self.old: list[tuple[int, HttpRequest]] = []
        self.traded: list[int] = []
        self.fills: Counter[tuple[int, str]] = Counter()
        self.ended: Counter[str] = Counter()

    def send(self) -> None:
        self.sequence += 1
        order_id = 7 << 32 | self.sequence
        request = self.random.choice((Request.PLACE, Request.CANCEL, Request.STATUS))
        entry, now_ns = self.venue.entry, self.venue.now_ns
        if request is Request.PLACE:
            ticks = self.random.choice((60_000, 60_000, 60_000, -1))
            entry.place(order_id, BUY, ticks, 50_000_000, now_ns)
        elif request is Request.CANCEL:
            entry.cancel(order_id, now_ns)
        else:
            entry.ask(order_id, now_ns)
        self.under_way[request, order_id] = self.sequence

    def trade(self) -> None:
        """An order placed from here trades, before or after anything else is said of it."""
        self.sequence += 1
        number = self.sequence
        self.traded.append(number)
        name = format_client_id(7 << 32 | number)
        how = self.random.randrange(10)
        if how == 0:
            self.venue.trade(number, number)
            self.lose()  # before a word about the order
        elif how < 5:
            self.venue.trade(number, number)
            self.venue.order("order_deleted", name, number, "0")
        else:
            self.venue.order("order_created", name, number)
            self.venue.trade(number, number)

    def answer(self) -> None:
        venue = self.venue
        if not venue.asked:
            return
        key = self.random.choice(list(venue.asked))
        request = venue.asked.pop(key)
        self.old.append((key, request))
        how = self.random.randrange(7)
        if how == 0:
            venue.entry.on_http_failed(key, "broken pipe", self.random.random() < 0.5, venue.now_ns)
        elif how == 1:
            venue.answer_key(key, request, [], signature="00")
        elif how == 2:
            venue.answer_key(key, request, b"<html>", 502)
        elif how == 3:
            venue.answer_key(key, request, error("500.017"), 400)
        elif "buy" in request.path:
            venue.answer_key(key, request, placed(self.name(request), 10**6 + key))
        elif "status" in request.path and how == 4:
            venue.answer_key(key, request, status(self.name(request), 10**6 + key))
        else:
            venue.answer_key(key, request, NOT_FOUND, 404)

    def name(self, request: HttpRequest) -> str:
        return request.body.decode().split("client_order_id=")[1].split("&")[0]

    def again(self) -> None:
        """An answer that has been given before, or one to a request that was given up."""
        if self.old:
            key, request = self.random.choice(self.old)
            body = self.random.choice((NOT_FOUND, b"{"))
            self.venue.answer_key(key, request, body, 404 if body is NOT_FOUND else 200)

    def lose(self) -> None:
        self.venue.lose()
        self.old += self.venue.asked.items()
        self.hear()
        self.venue.asked.clear()
        rows = [transaction(number, number) for number in self.traded[::-1]]
        self.venue.open(trades=rows)
        while self.venue.asked:
            number = int(self.venue.form("order_status")["id"])
            name = format_client_id(7 << 32 | number)
            self.venue.answer("order_status", status(name, number, "Finished", number))

    def hear(self) -> None:
        """What the host was told ends what it is about, and nothing else."""
        for what, *about in self.venue.said():
            self.ended[what] += 1
            if what in ("answer", "unanswered"):
                del self.under_way[about[0], about[1]]
            elif what == "lost":
                self.under_way.clear()
            elif what == "push":
                for each in about[0]:
                    if each.kind is Kind.FILL:
                        self.fills[each.execution_id, each.client_order_id] += 1


@pytest.mark.parametrize("seed", range(20))
def test_every_request_ends_once_and_every_fill_has_our_name(seed: int) -> None:
    run = Chaos(seed)
    deeds = (run.send, run.answer, run.answer, run.again, run.trade)
    for _ in range(STEPS):
        assert run.venue.state() is EntryState.READY
        if run.random.random() < 0.02:
            run.lose()
        else:
            run.random.choice(deeds)()
        run.venue.wait(run.random.choice((0, 0.01, 0.5)))
        run.hear()
    run.venue.wait(30)
    run.hear()
    assert not run.under_way and not run.venue.dropped
    names = {(n, format_client_id(7 << 32 | n)): 1 for n in run.traded}
    assert run.fills == names
    assert min(run.ended[what] for what in ("answer", "unanswered", "push", "lost")) > 0
