"""Recorded Coinbase frames: each book the dictionaries', one sequence for all; five mutations."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest

from engine.compiling.jit import JIT_OFF
from engine.engine import Stage
from engine.layout import layout as L
from engine.sharing import meter_layout as M
from net.tape.tape import TapeLine
from tests.net.venues import tape_rig
from tests.net.venues.tape_rig import Market, Oracle, TapeRig, play

pytestmark = pytest.mark.kernel

TAPE = "three-venues-btcusd-20260809-first"
MARKET = Market("BTC-USD", "0.01")
QUANTITY = re.compile(rb'"new_quantity":"([0-9.]+)"')
FRAMES = 60 if JIT_OFF else 10**9
SMALL_LEVELS = 300
"""Levels of the snapshot that are left where its 45,796 would take minutes."""


class CoinbaseOracle(Oracle):
    """One number counts all frames of the connection."""

    venue = "coinbase"

    def __init__(self) -> None:
        super().__init__()
        self.last: int | None = None

    def read(self, message: Any) -> str | None:
        number = message["sequence_num"]
        if self.last is not None:
            self.proofs += number == self.last + 1
            self.breaks += number != self.last + 1
            if number != self.last + 1:
                for book in self.books.values():
                    book.is_live = False
        self.last = number
        if message["channel"] != "l2_data":
            return None
        (event,) = message["events"]
        symbol: str = event["product_id"]
        book = self.book(symbol)
        if event["type"] == "snapshot":
            book.clear()
            book.is_live = True
        for each in event["updates"]:
            side = {"bid": 0, "offer": 1}[each["side"]]
            book.set(side, each["price_level"], each["new_quantity"])
        return symbol


def lines_of(frames: int = FRAMES) -> list[TapeLine]:
    """The tape; without the JIT its snapshot is cut to the levels near the best."""
    lines = tape_rig.lines_of(TAPE, "coinbase", frames)
    if JIT_OFF:
        message = orjson.loads(lines[0].raw)
        updates = message["events"][0]["updates"]
        sides = [[e for e in updates if e["side"] == side] for side in ("bid", "offer")]
        message["events"][0]["updates"] = [e for side in sides for e in side[:SMALL_LEVELS]]
        raw = orjson.dumps(message)
        lines[0] = TapeLine(lines[0].t_ns, lines[0].venue, lines[0].kind, raw)
    return lines


def test_every_frame_is_the_oracles_and_no_number_is_missing() -> None:
    oracle, lines = CoinbaseOracle(), lines_of()
    rig = play(oracle, [MARKET], lines)
    assert oracle.breaks == 0 and oracle.proofs == len(lines) - 1
    frames = sum(b'"l2_data"' in line.raw[:24] for line in lines)
    assert rig.played.compared == frames and rig.total(M.FEED_RESYNCS) == 0
    assert JIT_OFF or rig.meter(MARKET.symbol, M.FEED_UNKNOWN_DELETES) > 0


def test_a_large_snapshot_is_decoded_beside_the_stream_and_joined() -> None:
    oracle, lines = CoinbaseOracle(), lines_of(60)
    rig = TapeRig(oracle, [MARKET])
    rig.engine.arena[L.ENGINE_LARGE_FRAME_BYTES] = 8_000  # the snapshot alone is larger
    assert len(lines[0].raw) > 8_000 > max(len(line.raw) for line in lines[1:])
    for line in lines:
        rig.step(line)
    assert rig.is_live(MARKET.symbol) and rig.played.compared > 40
    assert rig.total(M.FEED_RESYNCS) == 0 and oracle.breaks == 0


def numbered(number: int, kind: str, product: str, price: int) -> TapeLine:
    """A message with one bid and one ask, or with a whole book of some."""
    prices = range(price - 40, price + 1) if kind == "snapshot" else range(price, price + 1)
    updates = [
        {"side": "bid", "event_time": "x", "price_level": str(each), "new_quantity": "1"}
        for each in prices
    ]
    updates.append({**updates[0], "side": "offer", "price_level": str(10_000 + number)})
    event = {"type": kind, "product_id": product, "updates": updates}
    head = {"channel": "l2_data", "timestamp": "2026-08-09T02:31:05Z", "sequence_num": number}
    raw = orjson.dumps({**head, "events": [event]})
    return TapeLine(1_786_242_665_000_000_000 + number * 10**7, "coinbase", "ws", raw)


def test_two_large_snapshots_under_way_at_once_lose_nothing_that_came_between() -> None:
    """The second one must not make the first one's market forget what has been kept for it."""
    markets = [Market("BTC-USD", "0.01"), Market("ETH-USD", "0.01")]
    oracle = CoinbaseOracle()
    rig = TapeRig(oracle, markets)
    rig.engine.arena[L.ENGINE_LARGE_FRAME_BYTES] = 1_000
    kept: list[Any] = []
    host = rig.replay
    host.decode_large = lambda *each: kept.append(each)  # type: ignore[method-assign]
    lines = [
        numbered(0, "snapshot", "BTC-USD", 100), numbered(1, "update", "BTC-USD", 101),
        numbered(2, "snapshot", "ETH-USD", 50), numbered(3, "update", "BTC-USD", 102),
        numbered(4, "update", "ETH-USD", 51),
    ]  # fmt: skip
    for line in lines:
        rig.replay.step(line)
        oracle.read(orjson.loads(line.raw))
    for venue, frame, large in kept:
        stage = Stage()
        feed = rig.engine.stage_large(venue.connection, frame, stage)
        venue.on_large_decoded(large, feed, stage, lines[-1].t_ns)
    for number in range(5, 30):
        line = numbered(number, "update", ("BTC-USD", "ETH-USD")[number % 2], 52)
        rig.step(line)
    assert all(rig.is_live(each.symbol) for each in markets) and rig.played.compared > 0


def test_a_number_that_is_missing_beside_a_large_frame_is_seen() -> None:
    lines = lines_of(60)
    rig = TapeRig(CoinbaseOracle(), [MARKET])
    rig.engine.arena[L.ENGINE_LARGE_FRAME_BYTES] = 8_000
    acknowledged = lines[3].raw.replace(b'"sequence_num":3', b'"sequence_num":97')
    acknowledged = acknowledged.replace(b'"l2_data"', b'"other"')
    whole = lines[0].raw.replace(b'"sequence_num":0', b'"sequence_num":99')  # 98 is missing
    for raw in (acknowledged, whole):
        rig.replay.step(TapeLine(lines[0].t_ns, "coinbase", "ws", raw))
    assert not rig.is_live(MARKET.symbol) and rig.total(M.FEED_RESYNCS) > 0


def played(change: str, *, is_other_channel: bool = False) -> TapeRig:
    lines = lines_of(60)
    mark = b'"heartbeats"' if is_other_channel else b'"update"'
    at = [n for n, line in enumerate(lines) if mark in line.raw[:200]][1]
    if change == "lost":
        lines = tape_rig.lost(lines, at)
    elif change == "repeated":
        lines = tape_rig.repeated(lines, at)
    elif change == "swapped":
        lines = tape_rig.swapped(lines, at, at + 1)
    elif change == "misread":
        lines = tape_rig.misread(lines, at, QUANTITY)
    else:
        lines = tape_rig.cut(lines, at)
    rig = TapeRig(CoinbaseOracle(), [MARKET])
    for line in lines[: at + 2]:
        rig.replay.step(line)
    return rig


@pytest.mark.parametrize("change", ["lost", "repeated", "swapped"])
@pytest.mark.parametrize("is_other_channel", [False, True])
def test_any_frame_out_of_its_sequence_breaks_every_book(
    change: str, is_other_channel: bool
) -> None:
    rig = played(change, is_other_channel=is_other_channel)
    assert not rig.is_live(MARKET.symbol) and rig.meter(MARKET.symbol, M.FEED_GAPS) >= 1


def test_a_wrong_digit_shows_in_nothing_but_a_crossed_book() -> None:
    assert played("misread").is_live(MARKET.symbol)


def test_no_book_goes_on_over_a_lost_connection() -> None:
    assert not played("cut").is_live(MARKET.symbol)
