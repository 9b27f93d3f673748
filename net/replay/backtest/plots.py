"""The plots of a backtest: fills on the price, position, result before and after fees, markouts.

It needs matplotlib (the extra `bench`).
Runs on: the main thread.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np

from engine.layout.layout import LOT_DECIMALS
from net.replay.backtest.outcome import Outcome
from net.replay.report.drawing import legend_above, light, new_figure, svg_of
from net.replay.report.plots import TIME_UNITS

FILLS_DRAWN_MAX = 4000
"""Marks of fills: beyond, they are thinned evenly; each is some 200 bytes of SVG."""
BASE = 10.0**-LOT_DECIMALS


def draw_run(outcome: Outcome) -> str:
    """Price with fills, position, and result, one above the other, as SVG."""
    samples = outcome.results.samples
    start_ns = samples[0].time_ns
    span_s = (samples[-1].time_ns - start_ns) / 1e9
    size, unit = next((size, unit) for least, size, unit in TIME_UNITS if span_s >= least)
    times = np.array([(each.time_ns - start_ns) / 1e9 / size for each in samples])
    figure = new_figure(8.4)
    price, position, result = figure.subplots(3, 1, sharex=True, height_ratios=(3, 1, 1.4))
    fair = np.array([float(outcome.results.unit_price(each.fair_units)) for each in samples])
    _step(price, times, np.where(fair == 0, np.nan, fair), color=light("text"), label="fair price")
    _mark_fills(price, outcome, start_ns, size)
    _titled(price, f"{outcome.symbol}: fair price and fills", "price")
    lots = np.array([each.position_lots for each in samples]) * BASE
    _step(position, times, lots, color=light("v2"))
    _titled(position, "position", "base currency")
    money = outcome.results.money
    before = np.array([float(money(each.result_value)) for each in samples])
    after = before - np.array([each.fee_lots for each in samples]) * BASE
    _step(result, times, before, color=light("v1"), linestyle="dashed", label="before fees")
    _step(result, times, after, color=light("v0"), label="after fees")
    _titled(result, "result, the position at the fair price", "quote currency")
    for axes in (position, result):
        axes.axhline(0, color=light("dim"), linewidth=0.8)
    begin = datetime.fromtimestamp(start_ns // 10**9, UTC)
    result.set_xlabel(f"{unit} since {begin:%Y-%m-%d %H:%M:%S} UTC")
    result.set_xlim(0, max(times[-1], 1e-9))
    return svg_of(figure)


def _mark_fills(axes: Any, outcome: Outcome, start_ns: int, size: int) -> None:
    results = outcome.results
    thin = -(-len(results.fills) // FILLS_DRAWN_MAX) or 1
    for is_buy, name, mark in ((True, "buy", "^"), (False, "sell", "v")):
        fills = [fill for fill in results.fills[::thin] if fill.is_buy == is_buy]
        axes.plot(
            [(fill.time_ns - start_ns) / 1e9 / size for fill in fills],
            [float(results.price(fill.venue, fill.price_ticks)) for fill in fills],
            mark, color=light(name), markeredgecolor=light("text"), markersize=6,
            label=f"filled: {name}",
        )  # fmt: skip


def draw_after(outcome: Outcome) -> str:
    """Markout and adverse selection after each horizon, as SVG."""
    figure = new_figure(3.2)
    axes = figure.subplots()
    known = [each for each in outcome.after if each.markout_bps is not None]
    places = np.arange(len(known), dtype=np.float64)
    for shift, name, colour, hatch in (
        (-0.2, "markout", "v1", ""), (0.2, "adverse selection", "v4", "//"),
    ):  # fmt: skip
        values = [
            (each.markout_bps if name == "markout" else each.adverse_bps) or 0.0 for each in known
        ]
        axes.bar(places + shift, values, 0.36, color=light(colour), hatch=hatch,
                 edgecolor=light("panel"), label=name)  # fmt: skip
    axes.axhline(0, color=light("dim"), linewidth=0.8)
    axes.set_xticks(places, [f"{each.seconds} s" for each in known])
    _titled(axes, "after a fill", "bps")
    return svg_of(figure)


def _step(axes: Any, times: Any, values: Any, **look: Any) -> None:
    axes.step(times, values, where="post", **look)


def _titled(axes: Any, title: str, unit: str) -> None:
    axes.set_title(title, loc="left")
    axes.set_ylabel(unit)
    axes.grid(True, linewidth=0.6)
    legend_above(axes)
