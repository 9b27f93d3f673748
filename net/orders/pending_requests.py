"""The requests of one order entry that are to be answered, by their numbers.

A request leaves the table with its answer, when its time is up, or with its connection. After that
its answer may still come and tell what has happened: it stays in a second table, which is bounded.
How many wait at once is bounded by their time limit and by what the venue and the risk gate let
through.
Runs on: the engine thread; in the watchdog, the main thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from engine.compiling.atomics import Words
from engine.maker.client_ids import format_client_id
from net.orders.http_requests import HttpRequest
from net.orders.messages import Answer, OrderEvent, OrderRequest, Request

LATE_MAX = 1024
"""Ended requests whose answer may still come; the transport gives each up after a while."""

Next = Callable[[int], None]
"""What an entry does next; it is given `now_ns`."""


NO_ORDER = OrderRequest(Request.STATUS, 0)
"""Of a request about the connection or the account."""


class Pending(NamedTuple):
    """One request that has been sent."""

    what: str
    """For the log."""
    sent_ns: int
    due_ns: int
    about: OrderRequest = NO_ORDER
    then: Callable[[Pending, Answer, int], Next] | None = None
    """Who reads the answer to what the entry asks for itself (EntryError where it cannot), and says
    what is next; None: the answer is the host's."""
    may_be_gone: bool = False
    """Whether "no such order" is an answer that `then` reads, and no refusal."""
    may_be_refused: bool = False
    """Whether `then` reads a refusal for good: what it asks for can be done without."""
    fail: Callable[[str, int], None] | None = None
    """Who is told that `then` gets no answer; None: it was a step of the opening, which ends."""
    state: tuple[OrderEvent, ...] = ()
    """Of a question: what has been answered already, before its trades."""
    message: HttpRequest | None = None
    """What was sent, where an answer's signature is over it."""

    def names(self) -> tuple[str, str | None]:
        """The client ids of the order and of the one that it replaces."""
        _, order_id, replaced_id = self.about
        replaced = format_client_id(replaced_id) if replaced_id else None
        return format_client_id(order_id), replaced

    def facts(self) -> dict[str, str]:
        """The request as the log names it."""
        order_id = self.about.order_id
        order = {"order": format_client_id(order_id)} if order_id else {}
        return {"request": self.what, **order}


class PendingRequests:
    """What is to be answered, and what is late."""

    def __init__(self) -> None:
        self.last_number: Words = np.zeros(1, np.int64)
        """Of the request that was numbered last, by whoever numbers them."""
        self._pending: dict[int, Pending] = {}
        self._late: dict[int, Pending] = {}

    def next_number(self) -> int:
        """The number of the next request."""
        self.last_number[0] += 1
        return int(self.last_number[0])

    def put(self, number: int, pending: Pending) -> None:
        """A request is being sent."""
        self._pending[number] = pending

    def take(self, number: object) -> tuple[Pending | None, bool]:
        """Whose answer this is, once, and whether it comes late; None: of nothing that waits."""
        if not isinstance(number, int):
            return None, False
        pending = self._pending.pop(number, None)
        if pending is not None:
            return pending, False
        return self._late.pop(number, None), True

    def take_due(self, now_ns: int) -> list[Pending]:
        """Those whose time is up."""
        numbers = [number for number, each in self._pending.items() if now_ns >= each.due_ns]
        return [self._end(number) for number in numbers]

    def end_all(self) -> None:
        """The connection is gone; answers may still come (HTTP), and are late then."""
        for number in list(self._pending):
            self._end(number)

    def forget(self) -> None:
        """The connection is gone, and its answers cannot come any more (WebSocket)."""
        self._pending.clear()
        self._late.clear()

    def _end(self, number: int) -> Pending:
        pending = self._late[number] = self._pending.pop(number)
        if len(self._late) > LATE_MAX:
            del self._late[next(iter(self._late))]
        return pending
