"""What all plots share: the colours, on light and on dark ground, and SVG that follows the page.

A figure is drawn in the light colours, so that a PNG of it is right as it is; in SVG each of them
becomes the page's variable of that name. A venue has the colour that the daemon's page gives it.
It needs matplotlib (the extra `bench`).
Runs on: the main thread of a command.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator, Sequence
from typing import Any

COLOURS = {
    "ground": ("#f2f4f7", "#11151a"), "panel": ("#fefefe", "#181e25"),
    "line": ("#ced6dd", "#2a333d"), "text": ("#1b2228", "#dbe3ea"), "dim": ("#5a6875", "#8494a3"),
    "good": ("#157347", "#4cc38a"), "warn": ("#8a5a00", "#f0b84a"), "bad": ("#c02626", "#ff6b6b"),
    "buy": ("#00778f", "#45c8dc"), "sell": ("#c24a12", "#ff9a6b"),
    "v0": ("#a06c00", "#f0b849"), "v1": ("#0069a8", "#4fb3e8"), "v2": ("#7c3fa3", "#c792ea"),
    "v3": ("#00806b", "#7fdbca"), "v4": ("#c4541c", "#ff9f68"), "v5": ("#4d7a1a", "#9ccc65"),
    "v6": ("#b32f63", "#f48fb1"), "v7": ("#546d7a", "#b0bec5"),
}  # fmt: skip
"""Light and dark; v0 to v7 are the venues'. No red beside green: buy and sell differ for all eyes.
"""
assert len({light for light, _ in COLOURS.values()}) == len(COLOURS), "a colour names its variable"

VENUE_COLOURS = 8
STYLES = ("solid", "dashed", "dotted", "dashdot")
WIDTH_INCHES = 10.0
LEGEND_COLUMNS = 7


def light(name: str) -> str:
    """A colour to draw with."""
    return COLOURS[name][0]


def venue_colour(index: int) -> str:
    """Of the venue of this place in the configuration, as on the daemon's page."""
    return light(f"v{index % VENUE_COLOURS}")


def line_style(index: int) -> dict[str, Any]:
    """Colour and dashes of a series: neighbours differ in both."""
    return {"color": venue_colour(index), "linestyle": STYLES[index % len(STYLES)]}


@contextlib.contextmanager
def drawing(salt: str) -> Iterator[None]:
    """While figures are drawn and saved. `salt` tells one drawing's marks from another's."""
    import matplotlib as mpl

    text, dim = light("text"), light("dim")
    settings = {
        "svg.fonttype": "none", "svg.hashsalt": salt, "text.parse_math": False,
        "font.family": "DejaVu Sans", "font.size": 10, "axes.titlesize": 11,
        "text.color": text, "axes.labelcolor": text, "axes.titlecolor": text,
        "xtick.color": dim, "ytick.color": dim, "axes.edgecolor": dim, "grid.color": light("line"),
        "axes.facecolor": light("panel"), "figure.facecolor": light("panel"),
        "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True,
        "legend.frameon": False, "legend.fontsize": 9, "lines.linewidth": 1.4,
        "axes.formatter.useoffset": False,
    }  # fmt: skip
    with mpl.rc_context(settings):
        yield


def new_figure(height_inches: float) -> Any:
    """A figure that leaves room for what stands around its axes."""
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH_INCHES, height_inches), layout="constrained")


def legend_above(axes: Any, handles: Sequence[Any] = ()) -> None:
    """The legend over the axes, at the right of the title's line, never over the data."""
    found = list(handles) or axes.get_legend_handles_labels()[0]
    if found:
        axes.legend(handles=found, loc="lower right", bbox_to_anchor=(1, 1), ncols=LEGEND_COLUMNS,
                    borderaxespad=0.2, handlelength=2.4, columnspacing=1.2)  # fmt: skip


def plain_log(axis: Any) -> None:
    """A logarithmic axis with plain numbers at 1, 2, 5, 10, ... instead of powers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:,g}"))
    axis.set_minor_formatter(NullFormatter())


def svg_of(figure: Any) -> str:
    """A figure as an element for a page: without prolog and addresses, in the page's colours."""
    file = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(file, format="svg", metadata=nothing)
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r' (xmlns(:xlink)?|version)="[^"]*"', "", text)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    names = {pair[0]: f"var(--{name})" for name, pair in COLOURS.items()}
    return re.sub("|".join(names), lambda found: names[found[0]], text)
