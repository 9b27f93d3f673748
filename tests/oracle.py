"""The plain book: dictionaries of Decimals, written as obviously as possible.

What the engine must agree with. Nothing here is shared with engine/, nothing is clever: orjson
reads the text, Decimal holds the numbers, a dictionary is the book, sorting is the merge.
Runs on: the tests' thread.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeVar

import orjson

Levels = list[tuple[Decimal, Decimal]]
Merged = list[tuple[Decimal, Decimal, int]]
"""Price, amount, venue's place in the configuration; best first."""
Number = TypeVar("Number", Decimal, int)
"""The merge is the same for prices and for ticks."""


@dataclass(frozen=True)
class Diff:
    """One book message: what it covers and the levels it sets."""

    symbol: str
    first_id: int
    last_id: int
    time_ns: int
    bids: Levels
    asks: Levels


@dataclass(frozen=True)
class Snapshot:
    """One REST answer."""

    last_id: int
    bids: Levels
    asks: Levels


def _levels(rows: Any) -> Levels:
    levels = []
    for row in rows:
        price, amount = row
        assert isinstance(price, str) and isinstance(amount, str)
        levels.append((Decimal(price), Decimal(amount)))
    return levels


def _whole(number: Any) -> int:
    assert type(number) is int
    return number


def read_binance_diff(raw: bytes) -> Diff | None:
    """A depthUpdate, bare or in a combined stream's envelope; None for any other JSON.

    Raises on a depthUpdate that lacks a field, and on what is not JSON.
    """
    message = orjson.loads(raw)
    if not isinstance(message, dict):
        return None
    if isinstance(message.get("data"), dict):
        message = message["data"]
    if message.get("e") != "depthUpdate":
        return None
    return Diff(
        symbol=message["s"],
        first_id=_whole(message["U"]),
        last_id=_whole(message["u"]),
        # Milliseconds, or with timeUnit=MICROSECOND sixteen digits of microseconds.
        time_ns=_whole(message["E"]) * (1_000 if message["E"] >= 10**14 else 1_000_000),
        bids=_levels(message["b"]),
        asks=_levels(message["a"]),
    )


def read_bitstamp_diff(raw: bytes) -> Diff | None:
    """A diff_order_book frame; None for any other JSON."""
    message = orjson.loads(raw)
    if not isinstance(message, dict) or message.get("event") != "data":
        return None
    channel = message.get("channel")
    prefix = "diff_order_book_"
    if not isinstance(channel, str) or not channel.startswith(prefix) or channel == prefix:
        return None
    data = message["data"]
    assert isinstance(data["microtimestamp"], str)
    microseconds = int(data["microtimestamp"])
    return Diff(
        symbol=channel.removeprefix(prefix),
        first_id=microseconds,
        last_id=microseconds,
        time_ns=microseconds * 1000,
        bids=_levels(data["bids"]),
        asks=_levels(data["asks"]),
    )


def _priced(rows: Any) -> Levels:
    """A snapshot's levels but for those at zero or below, where nobody trades."""
    return [(price, amount) for price, amount in _levels(rows) if price > 0]


def read_binance_snapshot(raw: bytes) -> Snapshot:
    """The answer to /api/v3/depth."""
    body = orjson.loads(raw)
    return Snapshot(_whole(body["lastUpdateId"]), _priced(body["bids"]), _priced(body["asks"]))


def read_bitstamp_snapshot(raw: bytes) -> Snapshot:
    """The answer to /api/v2/order_book/."""
    body = orjson.loads(raw)
    return Snapshot(int(body["microtimestamp"]), _priced(body["bids"]), _priced(body["asks"]))


@dataclass
class Book:
    """One venue's book of one symbol, and the start-up rule that both venues share."""

    bids: dict[Decimal, Decimal] = field(default_factory=dict)
    asks: dict[Decimal, Decimal] = field(default_factory=dict)
    id: int | None = None
    buffer: list[Diff] = field(default_factory=list)
    unknown_deletes: int = 0

    def side(self, is_asks: int) -> dict[Decimal, Decimal]:
        return self.asks if is_asks else self.bids

    def set(self, is_asks: int, price: Decimal, amount: Decimal) -> None:
        """Amounts are totals; zero removes."""
        levels = self.side(is_asks)
        if amount > 0:
            levels[price] = amount
        elif price in levels:
            del levels[price]
        else:
            self.unknown_deletes += 1

    def apply(self, diff: Diff) -> None:
        for price, amount in diff.bids:
            self.set(0, price, amount)
        for price, amount in diff.asks:
            self.set(1, price, amount)
        self.id = diff.last_id

    def is_gap(self, diff: Diff) -> bool:
        raise NotImplementedError

    def is_too_old(self, snapshot: Snapshot) -> bool:
        raise NotImplementedError

    def on_diff(self, diff: Diff) -> str:
        """What became of it: buffered, old, gap or applied."""
        if self.id is None:
            self.buffer.append(diff)
            return "buffered"
        if diff.last_id <= self.id:
            return "old"
        if self.is_gap(diff):
            self.id = None
            self.buffer = [diff]
            return "gap"
        self.apply(diff)
        return "applied"

    def on_snapshot(self, snapshot: Snapshot) -> bool:
        """Load it and run the buffer through; False: too old, fetch again."""
        if self.is_too_old(snapshot):
            return False
        self.bids = {price: amount for price, amount in snapshot.bids if amount > 0}
        self.asks = {price: amount for price, amount in snapshot.asks if amount > 0}
        self.id = snapshot.last_id
        buffer, self.buffer = self.buffer, []
        return all(self.on_diff(diff) != "gap" for diff in buffer)


class BinanceBook(Book):
    """https://developers.binance.com: "How to manage a local order book correctly"."""

    def is_gap(self, diff: Diff) -> bool:
        assert self.id is not None
        return diff.first_id > self.id + 1

    def is_too_old(self, snapshot: Snapshot) -> bool:
        return bool(self.buffer) and snapshot.last_id + 1 < self.buffer[0].first_id


class BitstampBook(Book):
    """Microtimestamps: newer is all that can be known."""

    def is_gap(self, diff: Diff) -> bool:
        return False

    def is_too_old(self, snapshot: Snapshot) -> bool:
        return bool(self.buffer) and snapshot.last_id < self.buffer[0].last_id


def best(levels: dict[Number, Number], depth: int, is_asks: int) -> list[tuple[Number, Number]]:
    """The best `depth` levels, best first."""
    if is_asks:
        return heapq.nsmallest(depth, levels.items())
    return heapq.nlargest(depth, levels.items())


def merge_side(
    sides: Sequence[dict[Number, Number] | None], depth: int, is_asks: int
) -> list[tuple[Number, Number, int]]:
    """Better price, then larger amount, then venue order. None: a venue that is not live."""
    rows = []
    for venue, levels in enumerate(sides):
        for price, amount in best(levels or {}, depth, is_asks):
            rows.append((price, amount, venue))
    rows.sort(key=lambda row: (row[0] if is_asks else -row[0], -row[1], row[2]))
    return rows[:depth]


def merge(books: list[Book | None], depth: int) -> tuple[Merged, Merged]:
    """The consolidated bids and asks of several venues."""
    bids = merge_side([book.bids if book else None for book in books], depth, 0)
    asks = merge_side([book.asks if book else None for book in books], depth, 1)
    return bids, asks


def is_crossed(bids: Merged, asks: Merged) -> bool:
    """Whether the best bid is at or above the best ask."""
    return bool(bids) and bool(asks) and bids[0][0] >= asks[0][0]
