"""Recorded OKX frames: each book the dictionaries', each checksum zlib's; five mutations."""

from __future__ import annotations

import re
import zlib
from decimal import Decimal
from typing import Any

import orjson
import pytest

from engine.sharing import meter_layout as M
from net.tape.tape import TapeLine
from tests.net.venues import tape_rig
from tests.net.venues.tape_rig import Market, Oracle, OracleBook, TapeRig, play

pytestmark = pytest.mark.kernel

BOOKS, TICK_BY_TICK = "okx-books-three-20220513", "okx-books-l2-tbt-ten-20210722"
QUANTITY = re.compile(rb'\["[0-9.]+","([0-9.]+)","0","[0-9]+"\]')
PLACE = 30


class OkxOracle(Oracle):
    """Levels are absolute; the text of the checksum is of the strings as they were sent."""

    venue = "okx"

    def __init__(self) -> None:
        super().__init__()
        self.texts: dict[tuple[str, int, Any], str] = {}

    def read(self, message: Any) -> str | None:
        if "action" not in message:
            return None
        (data,) = message["data"]
        symbol: str = message["arg"]["instId"]
        book = self.book(symbol)
        is_chained = "seqId" in data
        if message["action"] == "snapshot":
            book.clear()
            book.is_live = True
        elif is_chained and data["prevSeqId"] != book.id:
            book.is_live = False
            self.breaks += 1
        book.id = data.get("seqId")
        for is_asks, key in enumerate(("bids", "asks")):
            for price, qty, _, _ in data[key]:
                book.set(is_asks, price, qty)
                self.texts[symbol, is_asks, Decimal(price)] = f"{price}:{qty}"
        if book.is_live and data.get("checksum"):
            found = zlib.crc32(self.text(symbol, book).encode())
            book.is_live = found == data["checksum"] % 2**32
            self.proofs += book.is_live
            self.breaks += not book.is_live
        return symbol

    def text(self, symbol: str, book: OracleBook) -> str:
        """25 bids and asks in turn."""
        sides = [
            [self.texts[symbol, is_asks, price] for price, _ in book.ordered(is_asks, 25)]
            for is_asks in range(2)
        ]
        rows = [side[at] for at in range(25) for side in sides if at < len(side)]
        return ":".join(rows)


def markets_of(lines: list[TapeLine]) -> list[Market]:
    """Every market that has a whole book on the tape, with the decimals that it prints."""
    decimals: dict[str, int] = {}
    for line in lines:
        message = orjson.loads(line.raw)
        if line.kind == "ws" and "action" in message:
            symbol = message["arg"]["instId"]
            for row in [*message["data"][0]["bids"], *message["data"][0]["asks"]]:
                found = len(row[0].partition(".")[2])
                decimals[symbol] = max(decimals.get(symbol, 0), found)
    return [Market(symbol, f"1e-{count}") for symbol, count in decimals.items()]


def is_update(raw: bytes) -> bool:
    return b'"action":"update"' in raw


@pytest.mark.parametrize(("tape", "markets"), [(BOOKS, 3), (TICK_BY_TICK, 10)])
def test_every_frame_is_the_oracles_and_every_checksum_holds(tape: str, markets: int) -> None:
    oracle, lines = OkxOracle(), tape_rig.lines_of(tape, "okx")
    rig = play(oracle, markets_of(lines), lines)
    frames = sum(b'"action"' in line.raw for line in lines if line.kind == "ws")
    assert len(rig.markets) == markets and oracle.breaks == 0
    assert oracle.proofs == frames == rig.total(M.FEED_CHECKSUMS)
    assert rig.total(M.FEED_CHECKSUMS_FAILED) == 0
    assert rig.played.compared == frames and len(rig.played.live) == markets


def with_ids(lines: list[TapeLine]) -> list[TapeLine]:
    """The tape as the venue sends it since 2026: with ids that link, and checksums of zero."""
    last: dict[str, int] = {}
    found = []
    for each in lines:
        line, message = each, orjson.loads(each.raw)
        if line.kind == "ws" and "action" in message:
            symbol, (data,) = message["arg"]["instId"], message["data"]
            data["checksum"] = 0
            data["prevSeqId"] = last.get(symbol, -1)
            data["seqId"] = last[symbol] = last.get(symbol, 1000) + 7
            line = TapeLine(line.t_ns, line.venue, line.kind, orjson.dumps(message))
        found.append(line)
    return found


def played(change: str, *, has_ids: bool) -> tuple[TapeRig, str]:
    """The tape with one frame spoiled; whose it was."""
    lines = tape_rig.lines_of(BOOKS, "okx")
    markets = markets_of(lines)
    lines = with_ids(lines) if has_ids else lines
    mine = [n for n, line in enumerate(lines) if is_update(line.raw) and b'"BTC-USDT"' in line.raw]
    at, after = mine[PLACE], mine[PLACE + 1]
    if change == "lost":
        lines = tape_rig.lost(lines, at)
    elif change == "repeated":
        lines = tape_rig.repeated(lines, at)
    elif change == "swapped":
        lines = tape_rig.swapped(lines, at, after)
    else:
        lines = tape_rig.misread(lines, at, QUANTITY, 0)
    rig = TapeRig(OkxOracle(), markets)
    for line in lines[: after + 1]:
        rig.replay.step(line)
    return rig, "BTC-USDT"


@pytest.mark.parametrize("change", ["lost", "swapped", "misread"])
def test_a_wrong_frame_is_seen_by_its_checksum(change: str) -> None:
    rig, symbol = played(change, has_ids=False)
    assert not rig.is_live(symbol) and rig.meter(symbol, M.FEED_CHECKSUMS_FAILED) == 1
    assert rig.is_live("UNI-USD-SWAP"), "the others go on"


@pytest.mark.parametrize("change", ["lost", "repeated", "swapped"])
def test_a_frame_out_of_its_chain_is_seen_by_its_ids(change: str) -> None:
    rig, symbol = played(change, has_ids=True)
    assert not rig.is_live(symbol) and rig.meter(symbol, M.FEED_GAPS) >= 1
    assert rig.is_live("UNI-USD-SWAP"), "the others go on"


def test_a_wrong_digit_without_a_checksum_waits_for_the_audit() -> None:
    rig, symbol = played("misread", has_ids=True)
    assert rig.is_live(symbol), "nothing in the stream tells: REST does, every 180 s"


def test_no_book_goes_on_over_a_lost_connection() -> None:
    lines = tape_rig.lines_of(BOOKS, "okx")
    at = [n for n, line in enumerate(lines) if is_update(line.raw)][PLACE]
    rig = TapeRig(OkxOracle(), markets_of(lines))
    for line in tape_rig.cut(lines, at):
        rig.replay.step(line)
        if line.kind == "lost":
            assert not any(rig.is_live(each.symbol) for each in rig.markets)
    assert not any(rig.is_live(each.symbol) for each in rig.markets), "updates begin no book"
