"""The plots: the distribution and the percentile curve of latencies, and lines for growth.

Latencies are on a logarithmic x axis in both; the percentile curve's y axis is logarithmic in the
distance to 100 %, so that p99 and p99.9 are as easy to read as the median. Each is drawn once: as
PNG, which a forge shows beside committed figures, and as SVG for the report.
Runs on: the harness's main thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.report.result import Plot, Result
from bench.report.stats import Floats
from net.replay.report.drawing import (
    drawing,
    legend_above,
    line_style,
    new_figure,
    plain_log,
    svg_of,
)

BINS = 120
CURVE_POINTS = 500
"""Of a percentile curve, evenly over its logarithmic axis: more than a page has pixels for."""
LOG_FROM = 10.0
"""A y axis that spans more than one decade is logarithmic."""
TICKS = (0.0, 50.0, 90.0, 99.0, 99.9, 99.99)
DPI = 110


@dataclass(frozen=True)
class Drawn:
    """One plot as a PNG file and as SVG; `bench` is the name of its bench."""

    bench: str
    title: str
    path: Path
    svg: str


def draw(results: list[Result], folder: Path) -> list[Drawn]:
    """Every plot; the PNGs are written into the folder."""
    drawn = []
    for result in results:
        for number, plot in enumerate(result.plots):
            suffix = f"-{number + 1}" if len(result.plots) > 1 else ""
            path = folder / f"{result.name}{suffix}.png"
            with drawing(path.name):
                figure = _draw_latency(plot) if plot.samples_ns else _draw_lines(plot)
                figure.savefig(path, dpi=DPI)
                drawn.append(Drawn(result.name, plot.title, path, svg_of(figure)))
    return drawn


def _draw_latency(plot: Plot) -> Any:
    figure = new_figure(8.5)
    above, below = figure.subplots(2, 1, sharex=True)
    samples_us = {name: values / 1000 for name, values in plot.samples_ns.items() if len(values)}
    every = np.concatenate(list(samples_us.values()))
    low, high = max(float(every.min()), 0.1) * 0.9, float(np.percentile(every, 99.99)) * 1.1
    edges = np.geomspace(low, max(high, low * 2), BINS)
    for index, (name, values) in enumerate(samples_us.items()):
        look = line_style(index)
        heights, _ = np.histogram(values, edges)
        above.stairs(heights / len(values) * 100, edges, label=name, fill=False, **look)
        below.plot(*tail(values), **look)
    above.set_ylabel("% of frames a bin")
    above.set_title(plot.title, loc="left")
    legend_above(above)
    below.set_ylabel("percentile")
    below.set_yscale("log")
    below.set_yticks([1 - p / 100 for p in TICKS], [f"{p:g}" for p in TICKS])
    below.invert_yaxis()
    below.set_ylim(1.0, 0.5 / max(len(values) for values in samples_us.values()))
    _finish(below, plot)
    above.set_xscale("log")
    plain_log(above.xaxis)
    above.grid(True, which="both", alpha=0.5)
    return figure


def tail(values: Floats) -> tuple[Floats, Floats]:
    """Values, falling from the largest, and the part of all that is at or above each."""
    count = len(values)
    ranks = np.unique(np.geomspace(1, count, CURVE_POINTS).round().astype(np.int64))
    return np.sort(values)[count - ranks], ranks / count


def _draw_lines(plot: Plot) -> Any:
    figure = new_figure(5.0)
    axes = figure.subplots()
    for index, (name, (xs, ys)) in enumerate(plot.lines.items()):
        axes.plot(xs, ys, marker="o", markersize=4, label=name, **line_style(index))
    axes.set_title(plot.title, loc="left")
    axes.set_ylabel(plot.y_label)
    every = [y for _, ys in plot.lines.values() for y in ys]
    if min(every) > 0 and max(every) > LOG_FROM * min(every):
        axes.set_yscale("log")
        plain_log(axes.yaxis)
    else:
        axes.set_ylim(0, 1.15 * max(every))
    if list(plot.lines) != [plot.title]:
        legend_above(axes)
    _finish(axes, plot)
    return figure


def _finish(axes: Any, plot: Plot) -> None:
    # Counts (levels, subscribers) in steps of ten; a time that starts at nothing stays linear.
    if plot.samples_ns or all(min(xs) >= 1 for xs, _ in plot.lines.values()):
        axes.set_xscale("log")
        plain_log(axes.xaxis)
    axes.set_xlabel(plot.x_label)
    axes.grid(True, which="both", alpha=0.5)
