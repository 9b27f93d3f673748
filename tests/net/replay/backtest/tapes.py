"""A small market on a tape of its own: a walk with depth, depletions, noise and a lost connection.

Runs on: the tests' thread.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import orjson

from tests.net.rig import SECOND, START_NS
from tests.net.simulator.tapes import write_tape

FRAME_NS = SECOND // 10
LEVELS = 12
Side = dict[int, int]
"""Hundredths of the base currency by cents."""


class Walk:
    """A book that moves by whole levels. Prices in cents."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.bid, self.spread = 100_000, 2
        self.sides: tuple[Side, Side] = ({}, {})
        self._refill()

    def _refill(self) -> None:
        """Levels from the best on; what lies at the wrong side of the touch is gone."""
        for side, best, away in zip(
            self.sides, (self.bid, self.bid + self.spread), (-1, 1), strict=True
        ):
            for price in [p for p in side if (best - p) * away > 0 or abs(p - best) > 40]:
                del side[price]
            for level in range(LEVELS):
                side.setdefault(best + away * level, self.rng.randint(1, 300))

    def step(self) -> tuple[list[list[str]], list[list[str]]]:
        """One frame's changes, zero for what is gone."""
        before = [dict(side) for side in self.sides]
        if self.rng.random() < 0.25:
            self.bid += self.rng.choice([-3, -2, -1, -1, 1, 1, 2, 3])
            self.spread = self.rng.choice([1, 2, 2, 3])
        for side in self.sides:
            for price in self.rng.sample(sorted(side), 4):
                side[price] = max(1, side[price] + self.rng.randint(-200, 150))
        self._refill()
        return tuple(  # type: ignore[return-value]
            [
                [f"{price / 100:.2f}", f"{side.get(price, 0) / 100:.2f}"]
                for price in sorted(old.keys() | side.keys())
                if old.get(price) != side.get(price)
            ]
            for old, side in zip(before, self.sides, strict=True)
        )

    def rows(self) -> tuple[list[list[str]], list[list[str]]]:
        return tuple(  # type: ignore[return-value]
            [
                [f"{price / 100:.2f}", f"{amount / 100:.2f}"]
                for price, amount in sorted(side.items())
            ]
            for side in self.sides
        )


def market_rows(seed: int = 7, frames: int = 440, start_ns: int = START_NS) -> list[dict[str, Any]]:
    """Binance's stream with tickers between the frames; lost once, and with one gap."""
    walk, rows, last_id = Walk(seed), list[dict[str, Any]](), 100
    walk_rng = random.Random(seed + 1)

    def add(t_ns: int, kind: str, raw: bytes, path: str = "") -> None:
        more = {"path": path} if path else {}
        rows.append({"t": t_ns, "venue": "binance", "kind": kind, **more, "raw": raw.decode()})

    asked_at = {3, frames // 2 + 3, 3 * frames // 4 + 15}
    # After the gap so late that whoever waits a little before asking has asked.
    for number in range(frames):
        t_ns = start_ns + number * FRAME_NS + walk_rng.randrange(9 * FRAME_NS // 10)
        bids, asks = walk.step()
        last_id += 3
        data = {
            "e": "depthUpdate", "E": t_ns // 1_000_000, "s": "BTCUSDT", "U": last_id - 2,
            "u": last_id, "b": bids, "a": asks,
        }  # fmt: skip
        frame = orjson.dumps({"stream": "btcusdt@depth@100ms", "data": data})
        if number == frames // 2:
            add(t_ns, "lost", b"reset by peer")
            add(t_ns + 1, "open", b"")
        if number != 3 * frames // 4:  # the gap
            add(t_ns + 2, "ws", frame)
        ticker = {"u": last_id, "s": "BTCUSDT", "b": f"{walk.bid / 100:.2f}", "B": "1",
                  "a": f"{(walk.bid + walk.spread) / 100:.2f}", "A": "1"}  # fmt: skip
        add(t_ns + 1000, "ws", orjson.dumps({"stream": "btcusdt@bookTicker", "data": ticker}))
        if number in asked_at:
            levels = dict(zip(("bids", "asks"), walk.rows(), strict=True))
            path = "/api/v3/depth?symbol=BTCUSDT&limit=1000"
            add(t_ns + 2000, "rest", orjson.dumps({"lastUpdateId": last_id} | levels), path)
    return rows


def market_tape(path: Path, seed: int = 7, frames: int = 440, start_ns: int = START_NS) -> Path:
    return write_tape(path, market_rows(seed, frames, start_ns))
