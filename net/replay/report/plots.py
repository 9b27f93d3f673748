"""The plots of a replay: each instrument's book, the venues' streams, the market maker.

It needs matplotlib (the extra `bench`).
Runs on: the main thread.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.layout import layout as L
from net.replay.report.bins import Bins, Floats, Series
from net.replay.report.drawing import (
    legend_above,
    light,
    line_style,
    new_figure,
    svg_of,
    venue_colour,
)
from net.replay.report.timeline import BADNESS, BookTrack, Timeline

if TYPE_CHECKING:
    from net.replay.report.maker_track import MakerTrack

TIME_UNITS = ((2 * 3600, 3600, "h"), (600, 60, "min"), (0, 1, "s"))
"""From so many seconds on, a tape's time is in units of so many."""
HALF_STRIP = 0.36
STATE_LOOKS: dict[int, tuple[str, str]] = {
    L.CONNECTING: ("dim", "xxxx"), L.BUFFERING: ("dim", "\\\\\\\\"), L.SYNCING: ("dim", "////"),
    L.STALE: ("bad", "----"), L.DISCONNECTED: ("bad", ""),
}  # fmt: skip
"""Colour and hatching of a state, none like another; LIVE has the venue's colour. Only lines: dots
are a quarter of a megabyte of SVG."""


def draw_book(timeline: Timeline, track: BookTrack) -> str:
    """Best prices, spread, and each venue's state, one above the other, as SVG."""
    strips = 0.5 + 0.36 * len(track.venues)
    figure = new_figure(6.0 + strips)
    price, spread, states = figure.subplots(3, 1, sharex=True, height_ratios=(3.2, 2, strips))
    bins, edges = timeline.bins, _times(timeline.bins)
    bid, ask = (_prices(bins, each) for each in (track.bid, track.ask))
    _steps(price, edges, (bid + ask) / 2, color=light("dim"), linewidth=0.8, label="mid")
    _steps(price, edges, bid, color=light("buy"), label="best bid")
    # Dashes over a line: where the spread is small both are seen.
    _steps(price, edges, ask, color=light("sell"), linestyle=(0, (3, 3)), label="best ask")
    _titled(price, f"{track.symbol}: merged best prices", "price")
    _draw_spread(spread, bins, edges, track)
    _draw_states(states, timeline, edges, track)
    _label_time(states, bins)
    return svg_of(figure)


def _draw_spread(axes: Any, bins: Bins, edges: Floats, track: BookTrack) -> None:
    last = bins.held(track.spread_bps)
    _steps(axes, edges, np.where(np.isinf(last), np.nan, last), color=light("text"),
           linewidth=1, label="last")  # fmt: skip
    axes.stairs(bins.known(track.spread_high_bps), edges, fill=True, color=light("v1"), alpha=0.35,
                baseline=bins.known(track.spread_low_bps), label="lowest to highest")  # fmt: skip
    for number, (start, end) in enumerate(crossed_spans(bins, track)):
        axes.axvspan(edges[start], edges[end], alpha=0.22, linewidth=0, color=light("warn"),
                     label="_" if number else "crossed")  # fmt: skip
    axes.axhline(0, color=light("dim"), linewidth=0.8)
    _titled(axes, f"{track.symbol}: spread", "bps of the mid")


def crossed_spans(bins: Bins, track: BookTrack) -> list[tuple[int, int]]:
    """The first bin and the one behind the last of each time in which every bin was crossed."""
    known, last = bins.known(track.crossed), bins.held(track.spread_bps)
    # In a bin without a book the last one stands.
    crossed = np.where(np.isnan(known), last <= 0, known)
    return [(start, end) for start, end, is_crossed in _runs(crossed) if is_crossed]


def _draw_states(axes: Any, timeline: Timeline, edges: Floats, track: BookTrack) -> None:
    bins, names = timeline.bins, list(timeline.venues)
    seen: set[int] = set()
    resyncs: list[tuple[float, int]] = []
    for row, venue in enumerate(track.venues):
        worst, held = bins.known(track.badness_worst[row]), bins.held(track.badness_last[row])
        for start, end, badness in _runs(np.where(np.isnan(worst), held, worst)):
            state = BADNESS[badness]
            seen.add(state)
            colour, hatch = venue_colour(names.index(venue)), ""
            if state != L.LIVE:
                colour, hatch = light(STATE_LOOKS[state][0]), STATE_LOOKS[state][1]
            axes.broken_barh(
                [(edges[start], edges[end] - edges[start])], (row - HALF_STRIP, 2 * HALF_STRIP),
                facecolor=colour if not hatch else light("panel"), edgecolor=colour, hatch=hatch,
                linewidth=0.5,
            )  # fmt: skip
        resyncs += [(edges[bin_], row) for bin_ in np.flatnonzero(bins.known(track.resyncs[row]))]
    if resyncs:
        axes.plot(*zip(*resyncs, strict=True), "v", color=light("text"), markersize=6,
                  clip_on=False, label="resync")  # fmt: skip
    axes.set_yticks(range(len(track.venues)), track.venues)
    axes.set_ylim(len(track.venues) - 0.5, -0.5)
    patches = [_patch(state) for state in STATE_LOOKS if state in seen]
    axes.set_title("states (in colour: LIVE)", loc="left")
    legend_above(axes, [*axes.get_legend_handles_labels()[0], *patches])


def _patch(state: int) -> Any:
    """A state in the legend."""
    from matplotlib.patches import Patch

    colour, hatch = light(STATE_LOOKS[state][0]), STATE_LOOKS[state][1]
    inside = light("panel") if hatch else colour
    return Patch(facecolor=inside, edgecolor=colour, hatch=hatch, label=L.STATE_NAMES[state])


def draw_streams(timeline: Timeline) -> str:
    """Book updates a second of each venue, as SVG."""
    figure = new_figure(3.4)
    axes = figure.subplots()
    bins, edges = timeline.bins, _times(timeline.bins)
    for index, (name, venue) in enumerate(timeline.venues.items()):
        rates = bins.known(venue.frames) / bins.width_s
        # The last bin is rarely whole: what it has is no rate.
        rates[1:][-1:] = np.nan
        _steps(axes, edges, rates, label=name, **line_style(index))
    axes.set_ylim(0)
    _titled(axes, "book updates by venue", "updates a second")
    _label_time(axes, bins)
    return svg_of(figure)


def draw_lags(timeline: Timeline) -> str:
    """From each venue's own time of a frame to its arrival, a panel each, as SVG."""
    names = list(timeline.venues)
    figure = new_figure(0.8 + 2.2 * len(names))
    panels = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    bins, edges = timeline.bins, _times(timeline.bins)
    for index, (name, axes) in enumerate(zip(names, panels, strict=True)):
        lags = timeline.venues[name].lags_ns[: bins.count]
        for percent, style in ((50, "solid"), (99, (0, (2, 1)))):
            values = np.array([each.percentile(percent) for each in lags]) / 1e6
            _steps(axes, edges, values, color=venue_colour(index), linestyle=style,
                   label="median" if percent == 50 else f"p{percent}")  # fmt: skip
        _titled(axes, f"{name}: from the venue's time to arrival", "ms")
    _label_time(panels[-1], bins)
    return svg_of(figure)


def draw_maker(timeline: Timeline, track: MakerTrack) -> str:
    """Quotes around the fair price with the fills, position, and result, as SVG."""
    figure = new_figure(8.0)
    quotes, position, result = figure.subplots(3, 1, sharex=True, height_ratios=(3, 1, 1))
    bins, edges = timeline.bins, _times(timeline.bins)
    _steps(quotes, edges, _prices(bins, track.fair), color=light("text"), label="fair price")
    middles = (edges[:-1] + edges[1:]) / 2
    for side, (name, series, mark) in enumerate(
        (("buy", track.buy, "^"), ("sell", track.sell, "v"))
    ):
        _steps(quotes, edges, _prices(bins, series), color=light(name), linewidth=1,
               linestyle="dashed" if side else "solid", label=f"best {name} quote")  # fmt: skip
        lots, values = (bins.known(each[side]) for each in (track.fill_lots, track.fill_values))
        where = np.flatnonzero(lots)
        quotes.plot(middles[where], values[where] / lots[where], mark, color=light(name),
                    markeredgecolor=light("text"), markersize=7,
                    label=f"filled: {name}")  # fmt: skip
    _titled(quotes, f"{track.symbol}: quotes and fills", "price")
    _steps(position, edges, bins.held(track.position), color=light("v2"))
    _titled(position, "position", "base currency")
    _steps(result, edges, bins.held(track.result), color=light("v1"))
    _titled(result, "result, marked to the fair price", "quote currency")
    for axes in (position, result):
        axes.axhline(0, color=light("dim"), linewidth=0.8)
    _label_time(result, bins)
    return svg_of(figure)


# --- parts ---------------------------------------------------------------------------------------


def _unit(bins: Bins) -> tuple[int, str]:
    """How many seconds the axis' unit has, and its name."""
    span_s = bins.count * bins.width_s
    return next((size, name) for least, size, name in TIME_UNITS if span_s >= least)


def _times(bins: Bins) -> Floats:
    """The bins' edges in the axis' unit."""
    return bins.edges_s() / _unit(bins)[0]


def _label_time(axes: Any, bins: Bins) -> None:
    begin = datetime.fromtimestamp(bins.start_ns // 10**9, UTC)
    axes.set_xlabel(f"{_unit(bins)[1]} since {begin:%Y-%m-%d %H:%M:%S} UTC")
    axes.set_xlim(0, bins.edges_s()[-1] / _unit(bins)[0])


def _titled(axes: Any, title: str, unit: str) -> None:
    axes.set_title(title, loc="left")
    axes.set_ylabel(unit)
    axes.grid(True, linewidth=0.6)
    legend_above(axes)


def _prices(bins: Bins, series: Series) -> Floats:
    """Prices as they stood at each bin's end, NaN where there was none."""
    values = bins.held(series)
    return np.where(values == 0, np.nan, values)


def _to_edges(values: Floats) -> Floats:
    """The last value once more: it stands until the last bin's end."""
    return np.append(values, values[-1:])


def _steps(axes: Any, edges: Floats, values: Floats, **look: Any) -> None:
    axes.step(edges, _to_edges(values), where="post", **look)


def _runs(values: Floats) -> Sequence[tuple[int, int, int]]:
    """(first, one behind the last, value) of each run of equal values; those of NaN left out."""
    cuts = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
    runs = [(start, end, values[start]) for start, end in itertools.pairwise(cuts)]
    return [(start, end, int(value)) for start, end, value in runs if not np.isnan(value)]
