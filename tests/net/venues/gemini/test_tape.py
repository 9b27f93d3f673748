"""Recorded Gemini frames: each book the dictionaries'; what five mutations show, and do not."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest

from net.tape.tape import TapeLine
from tests.net.venues import tape_rig
from tests.net.venues.tape_rig import Market, Oracle, TapeRig, play

pytestmark = pytest.mark.kernel

TAPE = "gemini-ten-20210624"
QUANTITY = re.compile(rb'\["(?:buy|sell)","[0-9.]+","([0-9.]+)"\]')


class GeminiOracle(Oracle):
    """The first message of a market is its whole book, and has trades."""

    venue = "gemini"

    def read(self, message: Any) -> str | None:
        if message["type"] != "l2_updates":
            return None
        symbol: str = message["symbol"]
        book = self.book(symbol)
        if "trades" in message:
            book.clear()
            book.is_live = True
        for side, price, qty in message["changes"]:
            book.set({"buy": 0, "sell": 1}[side], price, qty)
        return symbol


def lines_of() -> list[TapeLine]:
    return tape_rig.lines_of(TAPE, "gemini")


def markets() -> list[Market]:
    decimals: dict[str, int] = {}
    for line in lines_of():
        message = orjson.loads(line.raw)
        for _, price, _ in message.get("changes", []):
            symbol = message["symbol"]
            decimals[symbol] = max(decimals.get(symbol, 0), len(price.partition(".")[2]))
    return [Market(symbol, f"1e-{count}") for symbol, count in decimals.items()]


def test_every_frame_is_the_oracles() -> None:
    lines = lines_of()
    rig = play(GeminiOracle(), markets(), lines)
    frames = sum(b'"l2_updates"' in line.raw[:30] for line in lines if line.kind == "ws")
    assert rig.played.compared == frames > 300 and len(rig.played.live) == 10


def played(change: str) -> tuple[TapeRig, str]:
    lines = lines_of()
    mine = [n for n, line in enumerate(lines) if b'l2_updates","symbol":"BTCGBP"' in line.raw[:60]]
    at, after = mine[5], mine[6]
    if change == "lost":
        lines = tape_rig.lost(lines, at)
    elif change == "repeated":
        lines = tape_rig.repeated(lines, at)
    elif change == "swapped":
        lines = tape_rig.swapped(lines, at, after)
    elif change == "misread":
        lines = tape_rig.misread(lines, at, QUANTITY)
    else:
        lines = tape_rig.cut(lines, at)
    rig = TapeRig(GeminiOracle(), markets())
    for line in lines[: after + 1]:
        rig.replay.step(line)
    return rig, "BTCGBP"


@pytest.mark.parametrize("change", ["lost", "repeated", "swapped", "misread"])
def test_what_this_stream_cannot_show_is_bounded_by_the_renewal(change: str) -> None:
    """No id, no checksum: the book is asked for anew every few minutes, and a crossed one at
    once."""
    rig, symbol = played(change)
    assert rig.is_live(symbol)


def test_no_book_goes_on_over_a_lost_connection() -> None:
    rig, _ = played("cut")
    assert not any(rig.is_live(each.symbol) for each in markets())
