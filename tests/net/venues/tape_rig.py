"""A recorded tape of one venue through `pollux replay`'s own path, frame by frame beside an oracle.

The oracle is a dictionary of Decimals for each market, written from the venue's documents: it reads
with orjson, shares nothing with engine/, and says after each line which market's book it holds and
whether the frame proves itself. After each frame the whole book of the engine must be the same.
Runs on: the tests' thread.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import islice
from typing import Any, TypeVar

import orjson

from engine.compiling.jit import JIT_OFF
from engine.layout import layout as L
from net.config.schema import parse_config
from net.replay.replay import Replay
from net.tape.tape import TapeLine
from tests.engine.rig import Rig, check_side, read_side
from tests.recorded import read_tape

FRAMES_MAX = 400 if JIT_OFF else 10**9
"""Frames of a tape that are played."""
WHOLE_BOOK_EVERY = 20 if JIT_OFF else 50
"""Frames between two comparisons of all levels of a book; the best ones are compared at each."""
TOP = 10
Side = dict[Decimal, Decimal]
_Number = TypeVar("_Number", int, Decimal)


def _best(
    levels: Iterable[tuple[_Number, _Number]], count: int | None, *, reverse: bool
) -> list[tuple[_Number, _Number]]:
    """The first `count` of the levels in the order of their prices; None: all of them."""
    if count is None:
        return sorted(levels, reverse=reverse)
    choose = heapq.nlargest if reverse else heapq.nsmallest
    return choose(count, levels)


class OracleBook:
    """One market: sides as dictionaries, set by absolute quantities."""

    def __init__(self) -> None:
        self.sides: tuple[Side, Side] = ({}, {})
        self.is_live = False
        self.id: int | None = None

    def clear(self) -> None:
        """Nothing is known."""
        self.sides[0].clear()
        self.sides[1].clear()

    def set(self, is_asks: int, price: str, qty: str) -> None:
        """One level; zero deletes."""
        amount = Decimal(qty)
        if amount:
            self.sides[is_asks][Decimal(price)] = amount
        else:
            self.sides[is_asks].pop(Decimal(price), None)

    def ordered(self, is_asks: int, count: int | None = None) -> list[tuple[Decimal, Decimal]]:
        """The best `count` levels, or all of them, best first."""
        return _best(self.sides[is_asks].items(), count, reverse=not is_asks)


class Oracle:
    """A venue's markets. `read` is the venue's own: it returns the market a frame has changed."""

    venue = ""

    def __init__(self) -> None:
        self.books: dict[str, OracleBook] = {}
        self.proofs = 0
        """Checksums verified, or frames whose sequence was."""
        self.breaks = 0

    def book(self, symbol: str) -> OracleBook:
        return self.books.setdefault(symbol, OracleBook())

    def read(self, message: Any) -> str | None:
        """Take one frame of the stream; the market that it belongs to, None for another frame."""
        raise NotImplementedError

    def rest(self, path: str, body: Any) -> str | None:
        """Take a REST book."""
        return None


@dataclass
class Market:
    """A market of a tape: its symbol as the venue writes it, and its tick."""

    symbol: str
    tick_size: str


@dataclass
class Played:
    """What a tape came to."""

    frames: int = 0
    compared: int = 0
    whole: int = 0
    live: set[str] = field(default_factory=set)
    notes: dict[str, int] = field(default_factory=dict)


def config_of(venue: str, markets: Sequence[Market], settings: str = "") -> str:
    """A configuration with each market as an instrument of its own."""
    parts = []
    for number, market in enumerate(markets):
        parts.append(
            f'[[instrument]]\nsymbol = "X{number}"\ndepth = {TOP}\n[[instrument.venue]]\n'
            f'name = "{venue}"\nsymbol = "{market.symbol}"\ntick_size = "{market.tick_size}"\n'
        )
    return "".join(parts) + f"[venue.{venue}]\nlate_after_ms = 0\n{settings}"


class TapeRig:
    """The replay of one venue's part of a tape, and the oracle beside it."""

    def __init__(self, oracle: Oracle, markets: Sequence[Market]) -> None:
        self.oracle = oracle
        self.markets = markets
        config = parse_config(config_of(oracle.venue, markets), "test")
        ticks = {(oracle.venue, each.symbol): each.tick_size for each in markets}
        self.replay = Replay(config, ticks)
        self.engine = self.replay.engine
        self.feeds = {each.symbol: number for number, each in enumerate(markets)}
        self.played = Played()
        self.checker = _Checker(self.engine)

    def is_live(self, symbol: str) -> bool:
        return self.engine.state(self.feeds[symbol]) == L.LIVE

    def meter(self, symbol: str, place: int) -> int:
        """What the engine has counted of a market."""
        return int(self.engine.meters.words[self.engine.meters.feed_at[self.feeds[symbol]] + place])

    def total(self, place: int) -> int:
        """The same of all markets."""
        return sum(self.meter(symbol, place) for symbol in self.feeds)

    def levels(
        self, symbol: str, is_asks: int, count: int | None = None
    ) -> list[tuple[Decimal, Decimal]]:
        """The best `count` levels of the engine's book, or all of them, best first."""
        feed = self.feeds[symbol]
        side = read_side(self.checker, feed, self.checker.active_book(feed), is_asks)
        units = self.engine.units(feed)
        mantissa, decimals = units.price
        return [
            (
                (abs(Decimal(key)) * mantissa).scaleb(-decimals),
                Decimal(lots).scaleb(-units.lot_decimals),
            )
            for key, lots in _best(side.levels.items(), count, reverse=True)
        ]

    def step(self, line: TapeLine) -> None:
        """One line to both."""
        self.replay.step(line)
        if line.kind == "rest":
            self.oracle.rest(line.path, orjson.loads(line.raw))
        elif line.kind == "ws":
            self.played.frames += 1
            symbol = self.oracle.read(orjson.loads(line.raw))
            if symbol in self.feeds:
                self.compare(symbol)

    def compare(self, symbol: str) -> None:
        """The market's book, where both hold one; that the engine shows one that is none, never."""
        book = self.oracle.books[symbol]
        if not self.is_live(symbol):
            return
        assert book.is_live, f"{symbol}: a book is shown that the oracle does not have"
        self.played.live.add(symbol)
        self.played.compared += 1
        is_whole = self.played.compared % WHOLE_BOOK_EVERY == 1
        count = None if is_whole else TOP
        for is_asks in range(2):
            wanted = book.ordered(is_asks, count)
            found = self.levels(symbol, is_asks, count)
            assert found == wanted, f"{symbol}, frame {self.played.frames}, asks {is_asks}"
        if is_whole:
            self.played.whole += 1
            for is_asks in range(2):
                feed = self.feeds[symbol]
                check_side(self.checker, feed, self.checker.active_book(feed), is_asks)


class _Checker(Rig):
    """The test rig's looks into an engine that somebody else drives."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine


def lines_of(tape: str, venue: str, frames_max: int = FRAMES_MAX) -> list[TapeLine]:
    """The venue's lines of a tape."""
    records = (each for each in read_tape(tape) if each.venue == venue)
    return [
        TapeLine(each.t, each.venue, each.kind, each.raw, each.path)
        for each in islice(records, frames_max)
    ]


def play(oracle: Oracle, markets: Sequence[Market], lines: Iterable[TapeLine]) -> TapeRig:
    """All lines, compared after each; the rig, to be looked at."""
    rig = TapeRig(oracle, markets)
    for line in lines:
        rig.step(line)
    rig.played.notes = dict(rig.replay.summary.notes)
    return rig


# --- five mutations ------------------------------------------------------------------------------


def _frames(lines: Sequence[TapeLine], is_book: Callable[[bytes], bool]) -> list[int]:
    return [at for at, line in enumerate(lines) if line.kind == "ws" and is_book(line.raw)]


def lost(lines: list[TapeLine], at: int) -> list[TapeLine]:
    """Without the frame."""
    return [*lines[:at], *lines[at + 1 :]]


def repeated(lines: list[TapeLine], at: int) -> list[TapeLine]:
    """With the frame twice."""
    return [*lines[: at + 1], *lines[at:]]


def swapped(lines: list[TapeLine], at: int, other: int) -> list[TapeLine]:
    """Two frames in each other's place, times as they were."""
    changed = list(lines)
    changed[at] = replace(lines[at], raw=lines[other].raw)
    changed[other] = replace(lines[other], raw=lines[at].raw)
    return changed


def misread(
    lines: list[TapeLine], at: int, number: re.Pattern[bytes], which: int = -1
) -> list[TapeLine]:
    """One digit of one of the frame's quantities is another one."""
    raw = lines[at].raw
    found = list(number.finditer(raw))[which]
    place = found.end(1) - 1
    digit = b"1" if raw[place : place + 1] != b"1" else b"2"
    changed = list(lines)
    changed[at] = replace(lines[at], raw=raw[:place] + digit + raw[place + 1 :])
    return changed


def cut(lines: list[TapeLine], at: int) -> list[TapeLine]:
    """The connection is lost before the frame."""
    gone = replace(lines[at], kind="lost", raw=b"cut by the test")
    return [*lines[:at], gone, *lines[at:]]
