"""PNG plots: the distribution and the percentile curve of latencies, and lines for growth.

Latencies are on a logarithmic x axis in both; the percentile curve's y axis is logarithmic in the
distance to 100 %, so that p99 and p99.9 are as easy to read as the median.
Runs on: the harness's main thread. Called by: bench.run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bench.report.result import Plot, Result

BINS = 120
LOG_FROM = 10.0
"""A y axis that spans more than one decade is logarithmic."""
TICKS = (0.0, 50.0, 90.0, 99.0, 99.9, 99.99)


def draw(results: list[Result], folder: Path) -> list[Path]:
    """One PNG a plot; the files that were written."""
    import matplotlib as mpl

    mpl.use("Agg")
    written = []
    for result in results:
        for number, plot in enumerate(result.plots):
            suffix = f"-{number + 1}" if len(result.plots) > 1 else ""
            path = folder / f"{result.name}{suffix}.png"
            if plot.samples_ns:
                _draw_latency(plot, path)
            else:
                _draw_lines(plot, path)
            written.append(path)
    return written


def _draw_latency(plot: Plot, path: Path) -> None:
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(2, 1, figsize=(10, 9), sharex=True)
    samples_us = {name: values / 1000 for name, values in plot.samples_ns.items() if len(values)}
    every = np.concatenate(list(samples_us.values()))
    low, high = max(float(every.min()), 0.1) * 0.9, float(np.percentile(every, 99.99)) * 1.1
    edges = np.geomspace(low, max(high, low * 2), BINS)
    for name, values in samples_us.items():
        heights, _ = np.histogram(values, edges)
        above.stairs(heights / len(values) * 100, edges, label=name, fill=False, linewidth=1.5)
        tail = 1 - np.arange(len(values)) / len(values)
        below.plot(np.sort(values), tail, label=name, linewidth=1.5)
    above.set_ylabel("% of frames a bin")
    above.set_title(plot.title)
    above.legend()
    below.set_ylabel("percentile")
    below.set_yscale("log")
    below.set_yticks([1 - p / 100 for p in TICKS], [f"{p:g}" for p in TICKS])
    below.invert_yaxis()
    below.set_ylim(1.0, 0.5 / max(len(values) for values in samples_us.values()))
    _finish(below, plot)
    above.set_xscale("log")
    above.grid(True, which="both", alpha=0.25)
    _save(figure, path)


def _draw_lines(plot: Plot, path: Path) -> None:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(10, 6))
    for name, (xs, ys) in plot.lines.items():
        axes.plot(xs, ys, marker="o", label=name)
    axes.set_title(plot.title)
    axes.set_ylabel(plot.y_label)
    every = [y for _, ys in plot.lines.values() for y in ys]
    if min(every) > 0 and max(every) > LOG_FROM * min(every):
        axes.set_yscale("log")
    else:
        axes.set_ylim(0, 1.15 * max(every))
    axes.legend()
    _finish(axes, plot)
    _save(figure, path)


def _finish(axes: Any, plot: Plot) -> None:
    # Counts (levels, subscribers) in steps of ten; a time that starts at nothing stays linear.
    if plot.samples_ns or all(min(xs) >= 1 for xs, _ in plot.lines.values()):
        axes.set_xscale("log")
    axes.set_xlabel(plot.x_label)
    axes.grid(True, which="both", alpha=0.25)


def _save(figure: Any, path: Path) -> None:
    from matplotlib import pyplot

    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
