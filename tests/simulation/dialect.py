"""What each venue writes of a market, and what a careful reader makes of such a text.

A dialect is one venue's form: its frames, whole books, answers and other texts; how its ids go on;
how deep its stream is; its checksum. The readers share nothing with engine/: they say whether a
damaged text still means the same.
Runs on: the tests' thread.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import orjson

from engine.book.rules import CHECKSUM_NONE, CONTINUITY_TIME
from net.simulator.registry import simulated_venue
from net.venues.interface import VenueProtocol
from tests.simulation.readers import Read, pairs, whole_number

SNAPSHOT_DEPTH = 20
"""Levels a side of a REST snapshot: sometimes fewer than the book has, so it comes cut."""
VIEW_DEPTH = 15
"""Levels a side of a stream that is cut: fewer than the market has."""
NUMBER = "@NUMBER@"
"""Where the number goes that a frame has on its connection."""

Rows = list[tuple[str, str]]


class Ids(Enum):
    """What an id of a market counts."""

    CHANGES = "changes"
    JUMPS = "changes of this market and of others"
    TIMES = "microseconds"
    FRAMES = "frames"


@dataclass(frozen=True)
class Telling:
    """What a message says of a market: the levels that it sets, as text."""

    symbol: str
    bids: Rows
    asks: Rows
    first_id: int
    last_id: int
    previous_id: int
    now_ns: int
    checksum: int = 0
    is_whole: bool = False


class Dialect(ABC):
    """One venue. Most of what it says is alike; the rest is overridden."""

    kind: VenueProtocol
    ids = Ids.CHANGES
    ticks: tuple[str, ...] = ("0.01", "0.1")
    audit_interval_s = 40
    """The audits' rule on a shorter clock: in the daemon minutes, which would be most of a run."""
    snapshot_depth = SNAPSHOT_DEPTH
    view_depth = 0
    """Levels a side that the stream knows; 0: all."""
    deletes_pushed_out = True
    """Whether a level that leaves the view is deleted in the stream."""
    strips_zeros = False
    has_exponents = False
    """Whether some of its markets write small amounts with an exponent."""
    is_renumbered = False
    """Whether the ids of a published book are not the market's: given by the engine, or counted
    over the connection."""
    nonsense_is_legal: tuple[str, ...] = ()
    """Mutations that mean something here."""
    notice = ""
    """What announces that the connection will end; empty where nothing does."""

    @property
    def is_streamed(self) -> bool:
        """Whether whole books come in the stream."""
        return self.kind.rules.is_streamed

    @property
    def is_blind(self) -> bool:
        """Whether nothing in the stream shows that a diff was lost."""
        return not self.kind.rules.is_self_checking

    @property
    def is_time_the_id(self) -> bool:
        return self.kind.rules.continuity == CONTINUITY_TIME

    @property
    def is_connection_wide(self) -> bool:
        return self.kind.rules.is_connection_wide

    @property
    def has_checksums(self) -> bool:
        return self.kind.rules.checksum != CHECKSUM_NONE

    def symbol(self, name: str) -> str:
        """BTC-USD as this venue calls it."""
        base, _, quote = name.partition("-")
        return simulated_venue(self.kind.name).instrument(base, quote).venue_symbol

    @abstractmethod
    def text(self, told: Telling) -> str:
        """A diff, or a whole book of the stream."""

    def snapshot(self, told: Telling) -> str:
        """A whole book as REST answers it."""
        raise AssertionError(f"{self.kind.name} has no REST books")

    def checksum(self, bids: Rows, asks: Rows) -> int:
        """Of a book's levels, best first, as they are printed; 0 where there is none."""
        return 0

    def acknowledgement(self, symbol: str) -> str:
        """Of one subscription."""
        return ""

    def answers(self, symbols: tuple[str, ...]) -> list[str]:
        """Of requests for all symbols at once, where those are numbered with the frames."""
        return [self.acknowledgement(symbol) for symbol in symbols]

    def refusal(self, symbol: str) -> str:
        """Of one subscription, or of a request for all."""
        return ""

    @abstractmethod
    def stranger(self) -> str:
        """A diff of a symbol that nobody asked for."""

    @abstractmethod
    def read(self, raw: bytes) -> Read | None:
        """What a text says; None where it is no book message. Raises on what must be refused."""

    def read_snapshot(self, raw: bytes) -> object:
        """What a REST answer says; raises on what must be refused."""
        raise AssertionError(f"{self.kind.name} has no REST books")

    def ahead(self, told: Telling, ahead_s: int) -> Telling:
        """The same with a time of the future."""
        return replace(told, now_ns=told.now_ns + ahead_s * 10**9)


def quoted(rows: Rows, *more: str) -> str:
    """Levels as arrays of texts, with more behind."""
    tail = "".join(f',"{each}"' for each in more)
    return "[" + ",".join(f'["{price}","{amount}"{tail}]' for price, amount in rows) + "]"


def listed(bids: Any, asks: Any, last_id: object) -> object:
    """A REST book without the levels at zero or below, where nobody trades."""
    sides = [[row for row in pairs(side) if row[0] > 0] for side in (bids, asks)]
    return whole_number(last_id), sides


def message_of(raw: bytes) -> dict[str, Any]:
    """A text as an object; an empty one where it is other JSON."""
    found = orjson.loads(raw)
    return found if isinstance(found, dict) else {}
