"""The plot of `pollux jitter`: how many interruptions a second are longer than so much.

It needs matplotlib (the extra `bench`).
Runs on: the command's main thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tuning.jitter import Jitter

KINDS = (".png", ".svg")


def plot_jitter(found: Sequence[Jitter], path: Path) -> None:
    """Write the plot as PNG or SVG, by the name's end. ImportError: no matplotlib; OSError."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(10, 6))
    for each in found:
        starts_us = [start / 1000 for start, _ in each.histogram()]
        counts = np.array([count for _, count in each.histogram()], np.float64)
        longer = np.cumsum(counts[::-1])[::-1] / each.seconds
        axes.step(
            [*starts_us, each.longest_ns / 1000], [*longer, 1 / each.seconds][: len(longer) + 1],
            where="post", label=f"CPU {each.cpu}",
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("length of the interruption, us")
    axes.set_ylabel("interruptions a second that are at least as long")
    axes.set_title(f"a spinning thread, {found[0].seconds:.3g} s on each CPU in turn")
    axes.grid(True, which="both", alpha=0.25)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
