"""The requests of one connection that are to be answered, by their numbers.

A request leaves the table with its answer or when its time is up. For one that was about an order
and whose time is up, the answer may still come and tell what has happened: it stays in a second
table, which is bounded. How many wait at once is bounded by their time limit and by what the venue
and the risk gate let through.
Runs on: the engine thread; in the watchdog, the main thread. Called by: net.entry.binance_session.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from engine.maker.client_ids import format_client_id
from net.entry.order import Answer, OrderEvent, Request

LATE_MAX = 1024


class Asked(NamedTuple):
    """One request that has been sent."""

    read: Callable[[Asked, Answer, int], None]
    fail: Callable[[Asked, str, int], None]
    """No answer in time, or one that cannot be read."""
    what: str
    sent_ns: int
    due_ns: int
    request: Request = Request.STATUS
    order_id: int = 0
    """0: not about an order of the table."""
    replaced_id: int = 0
    state: tuple[OrderEvent, ...] = ()
    """Of a question: what has been answered already, before its trades."""

    def names(self) -> tuple[str, str]:
        """The client ids of the order and of the one that it replaces, "" for none."""
        replaced = format_client_id(self.replaced_id) if self.replaced_id else ""
        return format_client_id(self.order_id), replaced


class AskedTable:
    """What is to be answered, and what is late."""

    def __init__(self) -> None:
        self._asked: dict[int, Asked] = {}
        self._late: dict[int, Asked] = {}

    def put(self, number: int, asked: Asked) -> None:
        """A request is being sent."""
        self._asked[number] = asked

    def take(self, number: object) -> Asked | None:
        """Whose answer this is, once."""
        return self._asked.pop(number, None) if isinstance(number, int) else None

    def take_late(self, number: object) -> Asked | None:
        """Whose answer this would have been, once."""
        return self._late.pop(number, None) if isinstance(number, int) else None

    def take_due(self, now_ns: int) -> list[Asked]:
        """Those whose time is up."""
        numbers = [number for number, asked in self._asked.items() if now_ns >= asked.due_ns]
        due = [self._asked.pop(number) for number in numbers]
        for number, asked in zip(numbers, due, strict=True):
            if asked.order_id:
                self._late[number] = asked
        while len(self._late) > LATE_MAX:
            del self._late[next(iter(self._late))]
        return due

    def clear(self) -> None:
        """The connection is gone: nothing more is answered."""
        self._asked.clear()
        self._late.clear()
