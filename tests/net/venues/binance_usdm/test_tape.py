"""Recorded USD-M frames: each book the dictionaries', each link whole; five mutations."""

from __future__ import annotations

import re
from typing import Any

import pytest

from engine.compiling.jit import JIT_OFF
from engine.sharing import meter_layout as M
from net.tape.tape import TapeLine
from tests.net.venues import tape_rig
from tests.net.venues.rest_oracle import Diff, RestOracle, Rows
from tests.net.venues.tape_rig import Market, TapeRig, play

pytestmark = pytest.mark.kernel

FIVE, BTCUSDT = "binance-usdm-five-pairs-20210405", "binance-usdm-btcusdt-20240808"
MARKETS = {
    FIVE: [
        Market("BATUSDT", "0.0001"), Market("CTKUSDT", "0.00001"), Market("NEOUSDT", "0.001"),
        Market("SANDUSDT", "0.00001"), Market("CHRUSDT", "0.0001"),
    ],
    BTCUSDT: [Market("BTCUSDT", "0.10")],
}  # fmt: skip
LINES_MAX = {FIVE: 1500, BTCUSDT: 2500}
"""Lines that are played without the JIT: what is not depth costs nothing."""
QUANTITY = re.compile(rb'\["[0-9.]+","([0-9.]+)"\]')
PLACE = 60


class UsdmOracle(RestOracle):
    """The page "How to manage a local order book ": U <= id <= u, then pu is the last u."""

    venue = "binance-usdm"

    def diff(self, message: Any) -> Diff | None:
        data = message["data"]
        if data["e"] != "depthUpdate":
            return None
        self.starts = data["U"]
        return Diff(data["s"], data["pu"], data["u"], data["b"], data["a"])

    def body(self, path: str, body: Any) -> tuple[str, int, Rows, Rows] | None:
        symbol = path.partition("symbol=")[2].partition("&")[0]
        return symbol, body["lastUpdateId"], body["bids"], body["asks"]

    def joins(self, diff: Diff, book_id: int) -> bool:
        return diff.follows <= book_id


def lines_of(tape: str) -> list[TapeLine]:
    count = LINES_MAX[tape] if JIT_OFF else 10**9
    lines = tape_rig.lines_of(tape, "binance-usdm", count)
    return [line for line in lines if line.kind == "rest" or is_depth(line.raw)]


def is_depth(raw: bytes) -> bool:
    return b'"depthUpdate"' in raw[:80]


@pytest.mark.parametrize("tape", [FIVE, BTCUSDT])
def test_every_frame_is_the_oracles_and_no_link_is_missing(tape: str) -> None:
    oracle, lines = UsdmOracle(), lines_of(tape)
    rig = play(oracle, MARKETS[tape], lines)
    assert oracle.breaks == 0 and oracle.proofs > 150
    assert rig.total(M.FEED_GAPS) == 0 and rig.total(M.FEED_RESYNCS) == 0
    assert rig.played.compared > 100
    assert rig.played.live == {each.symbol for each in MARKETS[tape]}


def played(change: str) -> TapeRig:
    """The five pairs, one frame of BATUSDT spoiled once its book is shown."""
    lines = lines_of(FIVE)
    mine = [n for n, line in enumerate(lines) if b'"s":"BATUSDT"' in line.raw]
    at, after = mine[PLACE], mine[PLACE + 1]
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
    rig = TapeRig(UsdmOracle(), MARKETS[FIVE])
    for line in lines[: after + 1]:
        rig.replay.step(line)
    return rig


@pytest.mark.parametrize("change", ["lost", "swapped"])
def test_a_frame_out_of_its_chain_is_a_gap(change: str) -> None:
    rig = played(change)
    assert not rig.is_live("BATUSDT") and rig.meter("BATUSDT", M.FEED_GAPS) >= 1
    assert rig.is_live("NEOUSDT"), "the others go on"


def test_a_frame_that_comes_twice_is_old() -> None:
    rig = played("repeated")
    assert rig.is_live("BATUSDT") and rig.meter("BATUSDT", M.FEED_OLD) >= 1


def test_a_wrong_digit_waits_for_the_audit() -> None:
    assert played("misread").is_live("BATUSDT"), "nothing in the stream tells: REST does"


def test_no_book_goes_on_over_a_lost_connection() -> None:
    rig = played("cut")
    assert not any(rig.is_live(each.symbol) for each in MARKETS[FIVE])
