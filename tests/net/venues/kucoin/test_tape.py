"""Recorded KuCoin frames: each book the dictionaries', each sequence whole; five mutations."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import orjson
import pytest

from engine.compiling.jit import JIT_OFF
from engine.sharing import meter_layout as M
from net.tape.tape import TapeLine
from tests.net.venues import tape_rig
from tests.net.venues.rest_oracle import Diff, RestOracle, Rows
from tests.net.venues.tape_rig import Market, TapeRig, play

pytestmark = pytest.mark.kernel

TAPE = "kucoin-nine-20210425"
QUANTITY = re.compile(rb'\["[0-9.]+","([0-9.]+)","[0-9]+"\]')
SYMBOL = "BCHSV-USDT"


class KucoinOracle(RestOracle):
    """The page "Level2 market data": what is not above the snapshot's sequence is skipped."""

    venue = "kucoin"

    def diff(self, message: Any) -> Diff | None:
        if message.get("subject") != "trade.l2update":
            return None
        data = message["data"]
        # A change whose price is zero only moves the sequence.
        bids, asks = (
            [(price, qty) for price, qty, _ in data["changes"][key] if Decimal(price)]
            for key in ("bids", "asks")
        )
        return Diff(data["symbol"], data["sequenceStart"] - 1, data["sequenceEnd"], bids, asks)

    def body(self, path: str, body: Any) -> tuple[str, int, Rows, Rows] | None:
        symbol = path.partition("symbol=")[2].partition("&")[0]
        data = body["data"]
        return symbol, int(data["sequence"]), data["bids"], data["asks"]

    def joins(self, diff: Diff, book_id: int) -> bool:
        return diff.follows <= book_id


def lines_of() -> list[TapeLine]:
    return tape_rig.lines_of(TAPE, "kucoin")


def markets() -> list[Market]:
    """Every market with a REST book, with the decimals of its prices there."""
    found = []
    for line in lines_of():
        if line.kind == "rest":
            symbol = line.path.partition("symbol=")[2].partition("&")[0]
            body = orjson.loads(line.raw)["data"]
            rows = [*body["bids"], *body["asks"]]
            decimals = max(len(price.partition(".")[2]) for price, _ in rows)
            found.append(Market(symbol, f"1e-{decimals}"))
    return found


def test_every_frame_is_the_oracles_and_no_sequence_is_missing() -> None:
    oracle = KucoinOracle()
    rig = play(oracle, markets(), lines_of())
    assert oracle.breaks == 0 and oracle.proofs > 200
    assert rig.total(M.FEED_GAPS) == 0
    assert rig.played.compared > 200 and (JIT_OFF or len(rig.played.live) == 9)


def played(change: str) -> TapeRig:
    lines = lines_of()
    mark = f'"symbol":"{SYMBOL}","changes"'.encode()
    mine = [n for n, line in enumerate(lines) if mark in line.raw]
    at, after = mine[len(mine) // 2], mine[len(mine) // 2 + 1]
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
    rig = TapeRig(KucoinOracle(), markets())
    for line in lines[: after + 1]:
        rig.replay.step(line)
    return rig


@pytest.mark.parametrize("change", ["lost", "swapped"])
def test_a_frame_out_of_its_sequence_is_a_gap(change: str) -> None:
    rig = played(change)
    assert not rig.is_live(SYMBOL) and rig.meter(SYMBOL, M.FEED_GAPS) >= 1


def test_a_frame_that_comes_twice_is_old_and_a_wrong_digit_waits_for_the_audit() -> None:
    rig = played("repeated")
    assert rig.is_live(SYMBOL) and rig.meter(SYMBOL, M.FEED_OLD) >= 1
    assert played("misread").is_live(SYMBOL)


def test_no_book_goes_on_over_a_lost_connection() -> None:
    rig = played("cut")
    assert not any(rig.is_live(each.symbol) for each in markets())
