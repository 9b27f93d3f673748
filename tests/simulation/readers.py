"""What the readers of tests.simulation.dialects have in common: levels and numbers of a message.

Runs on: the tests' thread.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import orjson

from tests.oracle import Levels

BARE = "#"
"""Before a number that stood without quotes."""


@dataclass(frozen=True)
class Read:
    """What a careful reader makes of a book message."""

    symbol: str
    ids: tuple[int, ...]
    time_ns: int
    bids: Levels
    asks: Levels
    checksum: int = 0
    is_whole: bool = False


def whole_number(number: object) -> int:
    """An id or a time."""
    assert type(number) is int
    return number


def pairs(rows: Any, *, longer: bool = False, is_bare: bool = False) -> Levels:
    """Levels of texts; `longer`: with more behind; `is_bare`: numbers without quotes."""
    levels = []
    for row in rows:
        price, amount = row[:2] if longer else row
        assert isinstance(price, str) and isinstance(amount, str)
        assert price.startswith(BARE) == is_bare and amount.startswith(BARE) == is_bare
        if is_bare:
            price, amount = price[1:], amount[1:]
        levels.append((Decimal(price), Decimal(amount)))
    return levels


def sided(rows: Any) -> tuple[Levels, Levels]:
    """Coinbase's list of both sides."""
    sides: tuple[Levels, Levels] = ([], [])
    for row in rows:
        at = {"bid": 0, "offer": 1}[row["side"]]
        sides[at].extend(pairs([[row["price_level"], row["new_quantity"]]]))
    return sides


def numbers_as_text(raw: bytes) -> dict[str, Any]:
    """A message whose bare numbers are texts that begin with BARE, digit by digit as they stood."""
    orjson.loads(raw)  # the stricter of the two

    def marked(number: str) -> str:
        return BARE + number

    found = json.loads(raw.decode(), parse_float=marked, parse_int=marked)
    return found if isinstance(found, dict) else {}
