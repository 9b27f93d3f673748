"""The synthetic market against the figures of calibration.py, and those against the tapes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from tests.net.simulator.reference import recorded
from tests.net.simulator.tapes import lines
from tests.net.simulator.test_synthetic import feed, run


@dataclass
class Figures:
    """What is measured of a diff stream."""

    levels: list[int] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    new_bps: list[float] = field(default_factory=list)
    gone_bps: list[float] = field(default_factory=list)
    qty: list[float] = field(default_factory=list)
    spread_ticks: list[int] = field(default_factory=list)
    mids: list[float] = field(default_factory=list)
    deletes: int = 0
    seconds: float = 0.0

    def row(self) -> dict[str, float]:
        """The table's figures."""
        levels, mids = np.array(self.levels), np.array(self.mids)
        moves = np.abs(np.diff(mids)) / mids[:-1] * 1e4
        return {
            "frames a second": len(levels) / self.seconds,
            "levels median": float(np.median(levels)),
            "levels mean": float(levels.mean()),
            "levels p90": float(np.percentile(levels, 90)),
            "levels p99": float(np.percentile(levels, 99)),
            "ids median": float(np.median(self.ids)) if self.ids else 0.0,
            "deletes": self.deletes / float(levels.sum()),
            "new distance median": float(np.median(self.new_bps)),
            "new distance p90": float(np.percentile(self.new_bps, 90)),
            "deleted distance median": float(np.median(self.gone_bps)),
            "qty median": float(np.median(self.qty)),
            "qty p90": float(np.percentile(self.qty, 90)),
            "spread median": float(np.median(self.spread_ticks)),
            "moved": float(np.mean(moves > 0)),
        }


# figure: (recorded, factor); a factor of 2 allows half to twice.
STATED: dict[str, dict[str, tuple[float, float]]] = {
    "binance": {
        "frames a second": (9.975, 1.1),
        "levels median": (16, 1.6),
        "levels mean": (36, 1.6),
        "levels p90": (70, 1.8),
        "levels p99": (389, 2.5),
        "ids median": (19, 1.6),
        "deletes": (0.477, 1.15),
        "new distance median": (5.46, 1.5),
        "new distance p90": (33.3, 2.0),
        "deleted distance median": (5.23, 1.7),
        "qty median": (0.0525, 2.5),
        "qty p90": (0.76, 4.0),
        "spread median": (1, 1.0),
        "moved": (0.081, 1.6),
    },
    "bitstamp": {
        "frames a second": (2.889, 1.15),
        "levels median": (6, 1.4),
        "levels mean": (6.28, 1.6),
        "levels p90": (10, 2.0),
        "levels p99": (34, 2.0),
        "deletes": (0.474, 1.15),
        "new distance median": (2.175, 1.5),
        "new distance p90": (32.9, 2.5),
        "deleted distance median": (2.178, 1.7),
        "qty median": (0.772, 1.4),
        "qty p90": (2.317, 1.4),
        "spread median": (1, 1.0),
    },
}


def ticks(levels: list[list[str]]) -> dict[int, float]:
    """Levels by price in hundredths."""
    return {round(float(price) * 100): float(qty) for price, qty in levels}


def measure(
    frames: list[dict[str, Any]], bids: dict[int, float], asks: dict[int, float], last: int
) -> Figures:
    """Apply diffs in the order given and measure each."""
    out = Figures()
    for frame in frames:
        binance = "u" in frame
        changed = ticks(frame["b" if binance else "bids"]), ticks(frame["a" if binance else "asks"])
        stamp = int(frame["u"] if binance else frame["microtimestamp"])
        out.levels.append(len(changed[0]) + len(changed[1]))
        out.deletes += sum(not qty for levels in changed for qty in levels.values())
        if binance:
            out.ids.append(frame["u"] - frame["U"] + 1)
        if stamp <= last:
            continue
        middle = (max(bids) + min(asks)) / 2
        for book, levels, sign, best in (
            (bids, changed[0], 1, max(bids)),
            (asks, changed[1], -1, min(asks)),
        ):
            for price, qty in levels.items():
                away = (best - price) * sign / middle * 1e4
                if not qty:
                    if book.pop(price, None) is not None:
                        out.gone_bps.append(away)
                    continue
                if price not in book:
                    out.new_bps.append(away)
                out.qty.append(qty)
                book[price] = qty
        out.spread_ticks.append(min(asks) - max(bids))
        out.mids.append((max(bids) + min(asks)) / 2)
    return out


def synthetic(venue: str, seconds: int) -> Figures:
    source = feed(venue, seed=3, far_levels_share=1.0)
    book = source.book(next(iter(source.instruments)))
    bids, asks = (
        {price: qty / 1e8 for price, qty in levels.items()} for levels in (book.bids, book.asks)
    )
    channel = "btcusdt@depth@100ms" if venue == "binance" else "diff_order_book_btcusd"
    messages = [m for m in run(source, seconds, 50) if m.channel == channel]
    frames = [json.loads(m.text) for m in messages]
    found = measure([each.get("data", each) for each in frames], bids, asks, 0)
    found.seconds = seconds
    return found


def tape(venue: str) -> Figures:
    path = recorded(
        "binance-btcusdt-20240808" if venue == "binance" else "three-venues-btcusd-20260809"
    )
    frames, body, times = [], None, []
    for line in lines(path, venue):
        if line["kind"] == "rest":
            body = body or json.loads(line["raw"])
        elif "depthUpdate" in line["raw"] or '"event":"data"' in line["raw"][-20:]:
            frames.append(json.loads(line["raw"])["data"])
            times.append(line["t"])
    assert body is not None
    last = int(body["lastUpdateId"] if venue == "binance" else body["microtimestamp"])
    found = measure(frames, ticks(body["bids"]), ticks(body["asks"]), last)
    found.seconds = (times[-1] - times[0]) / 1e9
    return found


def compare(found: dict[str, float], venue: str, exact: bool) -> None:
    wrong = []
    for name, (stated, factor) in STATED[venue].items():
        allowed = 1.05 if exact else factor
        if not stated / allowed - 1e-9 <= found[name] <= stated * allowed + 1e-9:
            wrong.append(f"{name}: {found[name]:.4g}, stated {stated} within {allowed}")
    assert not wrong, wrong


@pytest.mark.parametrize("venue", ["binance", "bitstamp"])
def test_the_stated_figures_are_the_tapes(venue: str) -> None:
    compare(tape(venue).row(), venue, exact=True)


@pytest.mark.parametrize("venue", ["binance", "bitstamp"])
def test_the_synthetic_market_is_within_the_factors(venue: str) -> None:
    compare(synthetic(venue, 90 if venue == "binance" else 240).row(), venue, exact=False)


@pytest.mark.parametrize("venue", ["binance", "bitstamp"])
def test_the_book_is_as_deep_as_recorded(venue: str) -> None:
    source = feed(venue, far_levels_share=1.0)
    book = source.book(next(iter(source.instruments)))
    bids, asks = book.sorted_bids(), book.sorted_asks()
    assert len(bids) + len(asks) > 6000
    assert bids[-1][0] == 100 and asks[-1][0] == 100_000_000  # 1.00 and 1,000,000.00
    middle = (bids[0][0] + asks[0][0]) / 2
    for rank, near, far in (((1000, 20, 60) if venue == "binance" else (500, 250, 700)),):
        for levels in (bids, asks):
            assert near < abs(levels[rank - 1][0] / middle - 1) * 1e4 < far
