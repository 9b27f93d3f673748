"""Recorded Kraken frames: each book the dictionaries', each checksum zlib's; five mutations."""

from __future__ import annotations

import re
import zlib
from typing import Any

import orjson
import pytest

from engine.sharing import meter_layout as M
from tests.net.venues import tape_rig
from tests.net.venues.tape_rig import Market, Oracle, play

pytestmark = pytest.mark.kernel

FIRST, SECOND = "three-venues-btcusd-20260809-first", "three-venues-btcusd-20260809"
MARKET = Market("BTC/USD", "0.1")
DEPTH = 10
PLACE = 24
"""The update that is spoiled: it changes the book, as the next one does."""
QUANTITY = re.compile(rb'"qty":([0-9.]+)')
NUMBER = re.compile(rb'"(price|qty)":([0-9.]+)')


class KrakenOracle(Oracle):
    """The exchange's page "book checksum": digits without dot and leading zeros, asks then bids."""

    venue = "kraken"

    def read(self, message: Any) -> str | None:
        if message.get("channel") != "book":
            return None
        (data,) = message["data"]
        symbol: str = data["symbol"]
        book = self.book(symbol)
        if message["type"] == "snapshot":
            book.clear()
            book.is_live = True
        for is_asks, key in enumerate(("bids", "asks")):
            for level in data[key]:
                book.set(is_asks, level["price"], level["qty"])
            for price, _ in book.ordered(is_asks)[DEPTH:]:
                del book.sides[is_asks][price]
        if book.is_live:
            book.is_live = zlib.crc32(self._text(book)) == data["checksum"]
            self.proofs += book.is_live
            self.breaks += not book.is_live
        return symbol

    def _text(self, book: Any) -> bytes:
        parts = []
        for is_asks in (1, 0):
            for price, qty in book.ordered(is_asks):
                for number in (price, qty):
                    parts.append(f"{number:f}".replace(".", "").lstrip("0"))
        return "".join(parts).encode()


def as_text(raw: bytes) -> Any:
    """The message with its numbers' texts, which a float would not keep."""
    return orjson.loads(NUMBER.sub(rb'"\1":"\2"', raw))


@pytest.fixture(autouse=True)
def exact_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rig's orjson would make floats of bare numbers."""

    class Exact:
        loads = staticmethod(as_text)

    monkeypatch.setattr(tape_rig, "orjson", Exact)


def is_update(raw: bytes) -> bool:
    return b'"book"' in raw[:20] and b'"update"' in raw[:40]


@pytest.mark.parametrize("tape", [FIRST, SECOND])
def test_every_frame_is_the_oracles_and_every_checksum_holds(tape: str) -> None:
    oracle = KrakenOracle()
    rig = play(oracle, [MARKET], tape_rig.lines_of(tape, "kraken"))
    books = sum(b'"book"' in line.raw[:20] for line in tape_rig.lines_of(tape, "kraken"))
    assert oracle.breaks == 0 and oracle.proofs == books > 150
    assert rig.meter(MARKET.symbol, M.FEED_CHECKSUMS) == books
    assert rig.meter(MARKET.symbol, M.FEED_CHECKSUMS_FAILED) == 0
    assert rig.played.compared == books and rig.is_live(MARKET.symbol)
    assert set(rig.played.notes) <= {"connect", "subscribed", "asked", "live"}


@pytest.mark.parametrize("change", ["lost", "swapped", "misread"])
def test_a_frame_that_is_wrong_withdraws_the_book_until_the_next_snapshot(change: str) -> None:
    lines = tape_rig.lines_of(FIRST, "kraken")
    at = [n for n, line in enumerate(lines) if is_update(line.raw)][PLACE]
    after = next(n for n in range(at + 1, len(lines)) if is_update(lines[n].raw))
    if change == "lost":
        lines = tape_rig.lost(lines, at)
    elif change == "swapped":
        lines = tape_rig.swapped(lines, at, after)
    else:
        lines = tape_rig.misread(lines, at, QUANTITY)
    rig = play(KrakenOracle(), [MARKET], lines)
    assert rig.meter(MARKET.symbol, M.FEED_CHECKSUMS_FAILED) == 1
    assert not rig.is_live(MARKET.symbol), "no snapshot has come since"
    assert rig.played.notes["broken: the book's checksum differs"] == 1


def test_a_frame_that_comes_twice_changes_nothing() -> None:
    """Levels are absolute and the cut keeps the best: the same checksum holds again."""
    lines = tape_rig.lines_of(FIRST, "kraken")
    at = [n for n, line in enumerate(lines) if is_update(line.raw)][PLACE]
    rig = play(KrakenOracle(), [MARKET], tape_rig.repeated(lines, at))
    assert rig.is_live(MARKET.symbol) and rig.meter(MARKET.symbol, M.FEED_CHECKSUMS_FAILED) == 0


def test_no_book_goes_on_over_a_lost_connection() -> None:
    lines = tape_rig.lines_of(FIRST, "kraken")
    at = [n for n, line in enumerate(lines) if is_update(line.raw)][PLACE]
    rig = tape_rig.TapeRig(KrakenOracle(), [MARKET])
    for line in tape_rig.cut(lines, at)[: at + 1]:
        rig.step(line)
    assert not rig.is_live(MARKET.symbol)
    for line in lines[at:]:
        rig.replay.step(line)
        assert not rig.is_live(MARKET.symbol), "updates begin no book"
