"""A plain simulator of one venue: a tape's text, what was asked for and when, and nothing else.

It reads the tape by itself, keeps the book as a dictionary of Decimals, lets every message travel,
and says which orders are filled, when, by how much and what the market did then. Nothing of the
program is used; what is asked for (the market maker's decisions) is given.
Runs on: the tests' thread.
"""

from __future__ import annotations

import bisect
import gzip
import json
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal
from pathlib import Path
from typing import Any, NamedTuple

from tests.naive_queue import LOT, Book, NaiveFill, NaiveOrder, NaiveQueue

NS_PER_MS = 10**6
HORIZONS_NS = (10**9, 10 * 10**9, 60 * 10**9)


class Ask(NamedTuple):
    """One request: when it was sent, what it was, and about which orders."""

    sent_ns: int
    kind: str
    """place, cancel, replace or ask."""
    name: int
    old: int = 0
    is_buy: bool = True
    price: Decimal = Decimal(0)
    amount: Decimal = Decimal(0)


class Seen(NamedTuple):
    """One fill with everything that is to be known of it."""

    time_ns: int
    name: int
    is_buy: bool
    price: Decimal
    amount: Decimal
    left: Decimal
    cause: str
    fee: Decimal
    position: Decimal
    mids: tuple[Decimal | None, ...]
    """When it was filled, and after each horizon."""


@dataclass
class NaiveBook:
    """One venue's book of one symbol, from the tape's own lines."""

    venue: str
    symbol: str
    bids: Book = field(default_factory=dict)
    asks: Book = field(default_factory=dict)
    is_live: bool = False
    _diffs: list[tuple[int, int, Any, Any]] = field(default_factory=list)
    """First id, last id, bids, asks, since the stream began or broke."""

    def take(self, line: dict[str, Any]) -> bool:
        """One line of the venue; whether it was a frame of its stream."""
        if line["kind"] == "lost":
            self.is_live = False
            self._diffs.clear()
        elif line["kind"] == "rest":
            self._on_rest(line["path"], line["raw"])
        elif line["kind"] == "ws":
            self._on_frame(json.loads(line["raw"]))
            return True
        return False

    def _on_frame(self, message: dict[str, Any]) -> None:
        data = message.get("data", {})
        if self.venue == "binance":
            if data.get("e") != "depthUpdate" or data["s"] != self.symbol:
                return
            diff = data["U"], data["u"], data["b"], data["a"]
            if self._diffs and diff[0] > self._diffs[-1][1] + 1:
                self.is_live = False
                self._diffs.clear()
        else:
            if message.get("channel") != f"diff_order_book_{self.symbol}" or "bids" not in data:
                return
            moment = int(data["microtimestamp"])
            diff = moment, moment, data["bids"], data["asks"]
        self._diffs.append(diff)
        if self.is_live:
            self._apply(diff)

    def _on_rest(self, path: str, raw: str) -> None:
        if self.is_live or self.symbol not in path or not ("depth" in path or "order_book" in path):
            return
        body = json.loads(raw)
        is_ranged = self.venue == "binance"
        last_id = body["lastUpdateId"] if is_ranged else int(body["microtimestamp"])
        if not self._diffs or self._diffs[0][0] > last_id + 1:
            return
        self.bids = {Decimal(row[0]): Decimal(row[1]) for row in body["bids"]}
        self.asks = {Decimal(row[0]): Decimal(row[1]) for row in body["asks"]}
        self.is_live = True
        for diff in self._diffs:
            if diff[1] > last_id:
                self._apply(diff)

    def _apply(self, diff: tuple[int, int, Any, Any]) -> None:
        for side, rows in ((self.bids, diff[2]), (self.asks, diff[3])):
            for price, amount in rows:
                if Decimal(amount) == 0:
                    side.pop(Decimal(price), None)
                else:
                    side[Decimal(price)] = Decimal(amount)

    @property
    def mid(self) -> Decimal | None:
        if not self.is_live or not self.bids or not self.asks:
            return None
        return (max(self.bids) + min(self.asks)) / 2


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt") as file:
        for text in file:
            if text.strip():
                yield json.loads(text)


@dataclass
class NaiveVenue:
    """Orders at one venue over one tape."""

    book: NaiveBook
    asks: deque[Ask]
    least_ms: float
    tail_ms: float
    rng: random.Random
    fee_bps: Decimal
    is_proportional: bool

    def __post_init__(self) -> None:
        self.queue = NaiveQueue(self.is_proportional)
        self.fills: list[Seen] = []
        self.position = Decimal(0)
        self.cash = Decimal(0)
        self._way: deque[tuple[int, Ask]] = deque()
        self._there_ns = 0
        self._times: list[int] = []
        self._mids: list[Decimal | None] = []

    def run(self, lines: Iterator[dict[str, Any]]) -> None:
        """The whole tape."""
        now_ns = 0
        for line in lines:
            now_ns = max(now_ns, line["t"])
            self._travel(now_ns - 1)
            self._arrive(now_ns)
            is_ours = line["venue"] == self.book.venue
            is_frame = self.book.take(line) if is_ours else line["kind"] == "ws"
            if is_ours:
                self._times.append(now_ns)
                self._mids.append(self.book.mid)
            if is_frame and self.book.is_live:
                for fill in self.queue.see(self.book.bids, self.book.asks):
                    self._fill(fill, now_ns)
            self._travel(now_ns)
        self._end_ns = now_ns

    def seen(self) -> list[Seen]:
        """Every fill, with what the market did after it as far as the tape goes."""
        return [
            each._replace(
                mids=(each.mids[0], *(self._mid_before(each.time_ns + h) for h in HORIZONS_NS))
            )
            for each in self.fills
        ]

    def _mid_before(self, when_ns: int) -> Decimal | None:
        if when_ns > self._end_ns:
            return None
        return self._mids[bisect.bisect_left(self._times, when_ns) - 1]

    # --- messages ---

    def _draw_ns(self) -> int:
        if self.tail_ms == 0:
            return round(self.least_ms * NS_PER_MS)
        extra = self.rng.expovariate(1.0) * (self.tail_ms * NS_PER_MS)
        return round(self.least_ms * NS_PER_MS) + round(extra)

    def _travel(self, until_ns: int) -> None:
        """Requests that were sent by then leave, each after what had arrived before it."""
        while self.asks and self.asks[0].sent_ns <= until_ns:
            ask = self.asks.popleft()
            self._arrive(ask.sent_ns)
            self._there_ns = max(self._there_ns, ask.sent_ns + self._draw_ns())
            self._way.append((self._there_ns, ask))

    def _arrive(self, until_ns: int) -> None:
        while self._way and self._way[0][0] <= until_ns:
            ask = self._way.popleft()[1]
            self._draw_ns()  # the answer's way back
            if ask.kind in ("cancel", "replace"):
                left = self.queue.leave(ask.old or ask.name)
                if left is None:
                    continue
            if ask.kind in ("place", "replace"):
                order = NaiveOrder(ask.name, ask.is_buy, ask.price, ask.amount)
                book = self.book
                self.queue.join(order, book.bids, book.asks, is_live=book.is_live)

    def _fill(self, fill: NaiveFill, now_ns: int) -> None:
        self._draw_ns()  # the news' way back
        fee = fill.price * fill.amount * self.fee_bps / 10_000
        fee = (fee / LOT).to_integral_value(ROUND_CEILING) * LOT
        sign = 1 if fill.is_buy else -1
        self.position += sign * fill.amount
        self.cash -= sign * fill.price * fill.amount
        self.fills.append(
            Seen(
                now_ns, fill.name, fill.is_buy, fill.price, fill.amount, fill.left, fill.cause,
                fee, self.position, (self.book.mid,),
            )
        )  # fmt: skip
