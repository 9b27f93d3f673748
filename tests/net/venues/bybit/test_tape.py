"""Recorded Bybit frames, and the deltas that this recording has not, beside dictionaries."""

from __future__ import annotations

import random
import re
from typing import Any

import orjson
import pytest

from engine.sharing import meter_layout as M
from net.tape.tape import TapeLine
from tests.net.venues import tape_rig
from tests.net.venues.tape_rig import Market, Oracle, TapeRig, play

pytestmark = pytest.mark.kernel

TAPE = "bybit-linear-orderbook1-20250613"
START_NS = 1_750_000_000 * 10**9


class BybitOracle(Oracle):
    """A snapshot replaces everything; u steps by one from there."""

    def __init__(self, venue: str) -> None:
        super().__init__()
        self.venue = venue

    def read(self, message: Any) -> str | None:
        if "topic" not in message:
            return None
        data = message["data"]
        book = self.book(data["s"])
        if message["type"] == "snapshot":
            book.clear()
            book.is_live = True
        elif book.id is not None and data["u"] != book.id + 1:
            book.is_live = False
            self.breaks += 1
        book.id = data["u"]
        for is_asks, key in enumerate("ba"):
            for price, qty in data[key]:
                book.set(is_asks, price, qty)
        symbol: str = data["s"]
        return symbol


def markets(lines: list[TapeLine]) -> list[Market]:
    decimals: dict[str, int] = {}
    for line in lines:
        message = orjson.loads(line.raw)
        if "topic" in message:
            data = message["data"]
            for price, _ in [*data["b"], *data["a"]]:
                found = len(price.partition(".")[2])
                decimals[data["s"]] = max(decimals.get(data["s"], 0), found)
    return [Market(symbol, f"1e-{count}") for symbol, count in decimals.items()]


def test_every_recorded_frame_is_the_oracles() -> None:
    lines = tape_rig.lines_of(TAPE, "bybit-linear")
    rig = play(BybitOracle("bybit-linear"), markets(lines), lines)
    frames = sum(b'"topic"' in line.raw[:10] for line in lines if line.kind == "ws")
    assert rig.played.compared == frames > 190 and len(rig.played.live) == 4
    assert rig.total(M.FEED_RESYNCS) == 0


def stream(seed: int, *, is_spot: bool) -> list[TapeLine]:
    """A snapshot and deltas as the venue writes them: spot strips zeros, linear pads them."""
    rng = random.Random(seed)
    frames: list[TapeLine] = []
    for number in range(120):
        rows: list[list[list[str]]] = [[], []]
        for _ in range(40 if number == 0 else rng.randrange(4)):
            is_asks = rng.randrange(2)
            ticks = 651_000 + (1 if is_asks else -1) * rng.randrange(1, 80)
            lots = 0 if number and rng.random() < 0.3 else rng.randrange(1, 10**7)
            price, qty = f"{ticks / 10:.2f}", f"{lots / 10**6:.6f}"
            if is_spot:
                price, qty = (text.rstrip("0").rstrip(".") for text in (price, qty))
            rows[is_asks].append([price, qty if lots else "0"])
        data = {"s": "BTCUSDT", "b": rows[0], "a": rows[1], "u": 1000 + number, "seq": 7 * number}
        kind = "snapshot" if number == 0 else "delta"
        head = {"topic": "orderbook.50.BTCUSDT", "ts": 1_750_000_000_000 + 20 * number}
        keys = {**head, "type": kind} if is_spot else {"topic": head["topic"], "type": kind, **head}
        raw = orjson.dumps({**keys, "data": data, "cts": 1_750_000_000_000 + 20 * number - 3})
        venue = "bybit" if is_spot else "bybit-linear"
        frames.append(TapeLine(START_NS + number * 20_000_000, venue, "ws", raw))
    return frames


MARKET = Market("BTCUSDT", "0.1")


@pytest.mark.parametrize("is_spot", [True, False])
def test_deltas_after_a_snapshot_are_the_oracles(is_spot: bool) -> None:
    lines = stream(3, is_spot=is_spot)
    rig = play(BybitOracle(lines[0].venue), [MARKET], lines)
    assert rig.played.compared == len(lines) and rig.oracle.breaks == 0
    assert rig.total(M.FEED_RESYNCS) == 0


@pytest.mark.parametrize("change", ["lost", "repeated", "swapped", "misread", "cut", "anew"])
def test_what_five_mutations_show(change: str) -> None:
    lines, at = stream(4, is_spot=True), 40
    if change == "lost":
        lines = tape_rig.lost(lines, at)
    elif change == "repeated":
        lines = tape_rig.repeated(lines, at)
    elif change == "swapped":
        lines = tape_rig.swapped(lines, at, at + 1)
    elif change == "misread":
        lines = tape_rig.misread(lines, at, re.compile(rb'\["[0-9.]+","([0-9.]+)"\]'))
    elif change == "cut":
        lines = tape_rig.cut(lines, at)
    else:  # the venue's service was started anew, and says so in an id alone
        raw = orjson.loads(lines[at].raw)
        raw["data"]["u"] = 1
        lines[at] = TapeLine(lines[at].t_ns, "bybit", "ws", orjson.dumps(raw))
    rig = TapeRig(BybitOracle("bybit"), [MARKET])
    for line in lines:
        rig.replay.step(line)
    is_noticed = change not in ("repeated", "misread")
    assert rig.is_live("BTCUSDT") != is_noticed
    if change in ("lost", "swapped", "anew"):
        assert rig.meter("BTCUSDT", M.FEED_GAPS) >= 1
