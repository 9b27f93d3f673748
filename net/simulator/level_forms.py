"""How exchanges write the levels of a diff: what spoils a message reads and writes them as pairs.

Runs on: none (pure functions).
"""

from __future__ import annotations

import re
from typing import Any

Rows = list[list[Any]]
"""Levels as [price, quantity], texts as they were sent."""


class PairsForm:
    """`[["price","quantity"],..]` under a key for each side. Other forms derive from this."""

    is_plain = True
    """Whether the rows are the message's own lists, so that a change of one is a change of it."""

    def quoted(self, text: str) -> str:
        """A message with bare numbers marked as texts, which a parser would make floats of."""
        return text

    def bare(self, text: str) -> str:
        """The inverse."""
        return text

    def split(self, body: dict[str, Any], sides: tuple[str, str]) -> tuple[Rows, Rows]:
        """Bids and asks."""
        return body[sides[0]], body[sides[1]]

    def join(self, body: dict[str, Any], sides: tuple[str, str], bids: Rows, asks: Rows) -> None:
        """Put them back."""
        body[sides[0]], body[sides[1]] = bids, asks


class LongerForm(PairsForm):
    """Arrays with more behind price and quantity."""

    is_plain = False

    def __init__(self, *more: str) -> None:
        self.more = more

    def split(self, body: dict[str, Any], sides: tuple[str, str]) -> tuple[Rows, Rows]:
        bids, asks = ([row[:2] for row in body[side]] for side in sides)
        return bids, asks

    def join(self, body: dict[str, Any], sides: tuple[str, str], bids: Rows, asks: Rows) -> None:
        for side, rows in zip(sides, (bids, asks), strict=True):
            body[side] = [[*row, *self.more] for row in rows]


class ObjectsForm(PairsForm):
    """Objects of bare numbers."""

    is_plain = False
    MARK = "#"

    def __init__(self, price: str, qty: str) -> None:
        self.price, self.qty = price, qty
        self._number = re.compile(rf'"({price}|{qty})":([0-9.eE+-]+)')

    def quoted(self, text: str) -> str:
        return self._number.sub(rf'"\1":"{self.MARK}\2"', text)

    def bare(self, text: str) -> str:
        return re.sub(rf'"{self.MARK}([^"]*)"', r"\1", text)

    def split(self, body: dict[str, Any], sides: tuple[str, str]) -> tuple[Rows, Rows]:
        bids, asks = (
            [[row[self.price][1:], row[self.qty][1:]] for row in body[side]] for side in sides
        )
        return bids, asks

    def join(self, body: dict[str, Any], sides: tuple[str, str], bids: Rows, asks: Rows) -> None:
        for side, rows in zip(sides, (bids, asks), strict=True):
            body[side] = [
                {self.price: f"{self.MARK}{row[0]}", self.qty: f"{self.MARK}{row[1]}"}
                for row in rows
            ]


class SidedForm(PairsForm):
    """One list of both sides: objects with the keys of side, price and quantity, or arrays."""

    is_plain = False

    def __init__(self, names: tuple[str, str], keys: tuple[str, str, str] | None = None) -> None:
        self.names, self.keys = names, keys

    def split(self, body: dict[str, Any], sides: tuple[str, str]) -> tuple[Rows, Rows]:
        found: tuple[Rows, Rows] = ([], [])
        for row in body[sides[0]]:
            side, price, qty = row if self.keys is None else (row[key] for key in self.keys)
            found[self.names.index(side)].append([price, qty])
        return found

    def join(self, body: dict[str, Any], sides: tuple[str, str], bids: Rows, asks: Rows) -> None:
        rows = [(self.names[at], *row) for at, side in enumerate((bids, asks)) for row in side]
        keys = self.keys
        body[sides[0]] = [
            list(r) if keys is None else dict(zip(keys, r, strict=False)) for r in rows
        ]


PAIRS = PairsForm()
