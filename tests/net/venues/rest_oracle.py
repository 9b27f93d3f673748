"""The oracle of venues whose whole books come by REST: diffs wait for one, and join it by ids.

Runs on: the tests' thread.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import defaultdict
from typing import Any, NamedTuple

from tests.net.venues.tape_rig import Oracle, OracleBook

Rows = list[tuple[str, str]]


class Diff(NamedTuple):
    """One message of a stream. `follows`: the last id of the one before, as the message has it."""

    symbol: str
    follows: int
    last_id: int
    bids: Rows
    asks: Rows


class RestOracle(Oracle):
    """A diff that ends no later than the book is old; the next must go on from where it stands."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: dict[str, list[Diff]] = defaultdict(list)
        self.streams: dict[str, int] = {}

    @abstractmethod
    def diff(self, message: Any) -> Diff | None:
        """A message as a diff; None for another one."""

    @abstractmethod
    def body(self, path: str, body: Any) -> tuple[str, int, Rows, Rows] | None:
        """A REST book: symbol, id, bids, asks."""

    @abstractmethod
    def joins(self, diff: Diff, book_id: int) -> bool:
        """Whether a diff may be the first after a snapshot."""

    def read(self, message: Any) -> str | None:
        found = self.diff(message)
        if found is None:
            return None
        symbol = found.symbol
        if symbol in self.streams:
            self.breaks += found.follows != self.streams[symbol]
            self.proofs += found.follows == self.streams[symbol]
        self.streams[symbol] = found.last_id
        book = self.book(symbol)
        if book.id is None:
            self.waiting[symbol].append(found)
        else:
            self._apply(book, found)
        return symbol

    def rest(self, path: str, body: Any) -> str | None:
        found = self.body(path, body)
        if found is None:
            return None
        symbol, book_id, bids, asks = found
        book = self.book(symbol)
        book.clear()
        book.id, book.is_live = book_id, True
        for is_asks, rows in enumerate((bids, asks)):
            for price, qty in rows:
                book.set(is_asks, price, qty)
        for each in self.waiting.pop(symbol, []):
            self._apply(book, each)
        return symbol

    def _apply(self, book: OracleBook, diff: Diff) -> None:
        assert book.id is not None
        if diff.last_id <= book.id:
            return
        if not self.joins(diff, book.id):
            book.is_live, book.id = False, None
            return
        for is_asks, rows in enumerate((diff.bids, diff.asks)):
            for price, qty in rows:
                book.set(is_asks, price, qty)
        book.id = diff.last_id
