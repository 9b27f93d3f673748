"""Recorded Gate frames: each book the dictionaries', each sequence whole; five mutations."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest

from engine.sharing import meter_layout as M
from net.tape.tape import TapeLine
from tests.net.venues import tape_rig
from tests.net.venues.rest_oracle import Diff, RestOracle, Rows
from tests.net.venues.tape_rig import Market, TapeRig, play

pytestmark = pytest.mark.kernel

TAPE = "gate-spot-ten-20210422"
QUANTITY = re.compile(rb'\["[0-9.]+","([0-9.]+)"\]')
SYMBOL = "HAI_ETH"


class GateOracle(RestOracle):
    """The page "Changed order book levels": U <= id + 1 <= u, then U is the last u and one."""

    venue = "gate"

    def diff(self, message: Any) -> Diff | None:
        if message["channel"] != "spot.order_book_update" or message["event"] != "update":
            return None
        data = message["result"]
        return Diff(data["s"], data["U"] - 1, data["u"], data["b"], data["a"])

    def body(self, path: str, body: Any) -> tuple[str, int, Rows, Rows] | None:
        symbol = path.partition("currency_pair=")[2].partition("&")[0]
        return symbol, body["id"], body["bids"], body["asks"]

    def joins(self, diff: Diff, book_id: int) -> bool:
        return diff.follows <= book_id


def lines_of() -> list[TapeLine]:
    return tape_rig.lines_of(TAPE, "gate")


def markets() -> list[Market]:
    """Every market with a REST book, with the decimals of its prices there."""
    found = []
    for line in lines_of():
        if line.kind == "rest":
            symbol = line.path.partition("currency_pair=")[2].partition("&")[0]
            body = orjson.loads(line.raw)
            rows = [*body["bids"], *body["asks"]]
            decimals = max(len(price.partition(".")[2]) for price, _ in rows)
            found.append(Market(symbol, f"1e-{decimals}"))
    return found


def test_every_frame_is_the_oracles_and_no_sequence_is_missing() -> None:
    oracle = GateOracle()
    rig = play(oracle, markets(), lines_of())
    assert oracle.breaks == 0 and oracle.proofs == 162
    assert rig.total(M.FEED_GAPS) == 0
    assert rig.played.compared > 100 and len(rig.played.live) >= 8
    assert rig.total(M.FEED_UNITS_LEARNED) > 0, "a quantity of ten decimals needs another lot"


def played(change: str) -> TapeRig:
    lines = lines_of()
    mine = [n for n, line in enumerate(lines) if f'"s":"{SYMBOL}"'.encode() in line.raw]
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
    rig = TapeRig(GateOracle(), markets())
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
