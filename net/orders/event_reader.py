"""What the venues' readers of answers and account events do alike.

    an answer's result -> json_fields -> one function a kind of request -> order events

A venue's own reader derives from this class: it knows the names and forms of the venue's fields.
Runs on: the engine thread; in the watchdog, the main thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypedDict

from net.orders import json_fields
from net.orders.json_fields import Record
from net.orders.messages import (
    NOT_SAID,
    Answer,
    Balance,
    EntryError,
    Market,
    OrderEvent,
    Request,
    failure,
    quoted,
)

Events = tuple[OrderEvent, ...]
ReadOrder = Callable[[Record, Market, str | None], Events]
"""What one object says about one order; of the market, and of our name for what was asked about."""


class EventReader:
    """Reads one account. `markets` are ours."""

    lists: dict[Request, ReadOrder]
    """Who reads an element of the answer to a request for a list."""
    singles: dict[Request, ReadOrder]
    """Who reads the answer to a request about one order."""

    def __init__(self, markets: Iterable[Market]) -> None:
        self._markets = {market.symbol: market for market in markets}
        ours = self._markets.values()
        self._assets = {a.lower(): a for market in ours for a in (market.base, market.quote)}

    def order_events(
        self,
        request: Request,
        answer: Answer,
        market: Market,
        client_order_id: str | None = None,
        replaced_client_order_id: str | None = None,
    ) -> Events:
        """What an answer says about orders.

        `client_order_id`: of the order that the request was about, or that it was to place;
        `replaced_client_order_id`: of the one that it was to cancel first. A refused request for a
        list says nothing of any order.
        """
        read_single = self.singles.get(request)
        if read_single is not None:
            if answer.refusal is not None:
                number = self._refused_number(answer)
                return (failure(request, market.symbol, client_order_id, answer.refusal, number),)
            return read_single(json_fields.record(answer.result, "answer"), market, client_order_id)
        if request is Request.REPLACE:
            return self._replaced(answer, market, client_order_id, replaced_client_order_id)
        if answer.refusal is not None:
            return ()
        read = self.lists[request]
        rows = json_fields.records(answer.result, "answer")
        return tuple(event for row in rows for event in read(row, market, None))

    def _replaced(
        self, answer: Answer, market: Market, name: str | None, replaced: str | None
    ) -> Events:
        """What has become of the old order and of the new one.

        Never called where the venue has no replace.
        """
        raise EntryError("an answer to a replace, which is never asked for")

    def _refused_number(self, answer: Answer) -> int:
        """The venue's number of an order that was refused, as far as it is said."""
        return NOT_SAID

    def _balances(self, given: Any, asset: str, free: str, locked: str) -> tuple[Balance, ...]:
        """Of our markets' assets, by the keys of their fields."""
        # Others' amounts need not fit our numbers: some tokens are counted in trillions.
        return tuple(
            Balance(ours, json_fields.lots(each, free), json_fields.lots(each, locked))
            for each in json_fields.records(given, "balances")
            if (ours := self._assets.get(json_fields.text(each, asset).lower())) is not None
        )


class Execution(TypedDict):
    """Fields of a FILL that every venue gives in one form."""

    last_price_ticks: int
    execution_id: int
    fee_lots: int


def execution(fields: Record, market: Market, price: str, number: str, fee: str) -> Execution:
    """A trade of ours, by the keys of its fields."""
    return {
        "last_price_ticks": json_fields.ticks(fields, price, market),
        "execution_id": json_fields.whole(fields, number),
        "fee_lots": json_fields.fee_lots(fields, fee),
    }


def check_symbol(given: object, expected: str, venue: str) -> None:
    """EntryError for an answer about another market."""
    if given != expected:
        shown = quoted(given)
        raise EntryError(f"{venue}: an answer about {shown!r}, not {expected}")
