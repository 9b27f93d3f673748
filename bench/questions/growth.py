"""How does a frame's cost grow: with levels held, its levels, venues, instruments?

Frames through the compiled call in this process. How tick to publish grows with the subscribers is
the question of the bench of that name.
Runs on: the harness's main thread, pinned to the last CPU.
"""

from __future__ import annotations

import random

import numpy as np

from bench.load import frames as F
from bench.options import Options, Say
from bench.questions.merge import Case as MergeCase
from bench.report.result import Plot, Result, Table
from bench.report.stats import spread
from bench.rig.compiled_loop import Batch, new_engine, seed
from bench.rig.venue_names import MEASURED
from engine.engine import Engine
from engine.specs import FeedSpec, InstrumentSpec

QUESTION = "cost of a frame by levels held, levels a frame, venues, instruments"
HELD = (100, 300, 1000, 3000, 10_000, 30_000)
FRAME_LEVELS = (1, 2, 5, 10, 36, 100, 300, 1000)
VENUES = (1, 2, 4, 8)
INSTRUMENTS = (1, 4, 16, 64)
WINDOW_SLOTS = 1 << 16
SMALL_WINDOW_SLOTS = 1 << 12
"""Sixty-four instruments' ladders in megabytes, not hundreds of them."""
WARM_UP = 1

Points = list[tuple[float, list[float]]]


def spread_frames(levels: int, reach: int, count: int) -> list[bytes]:
    """Frames that set levels anywhere within `reach` steps of the touch, and the touch itself."""
    rng = random.Random(levels * 31 + reach)
    made = []
    for index in range(count):
        number = F.FIRST_ID + 1 + index
        bids = [[F.price(F.MID_CENTS), F.quantity(10**8 + number - F.FIRST_ID)]]
        rest = levels - 1
        for best, sign, share in (
            (F.MID_CENTS, -1, rest // 2), (F.MID_CENTS + 1, 1, rest - rest // 2)
        ):  # fmt: skip
            rows = [
                [F.price(best + sign * rng.randrange(1, max(reach, 2))),
                 F.quantity(rng.randrange(1, 10**9))]
                for _ in range(share)
            ]  # fmt: skip
            if sign < 0:
                bids += rows
            else:
                asks = rows
        made.append(F.diff(number, number, bids, asks))
    return made


def _timed(engine: Engine, batch: Batch, snapshot: bytes, repetitions: int) -> list[float]:
    """ns a frame, one value a repetition."""
    values = []
    for repetition in range(WARM_UP + repetitions):
        seed(engine, snapshot)
        taken_ns = batch.run(engine)
        if repetition >= WARM_UP:
            values.append(taken_ns / batch.count)
    return values


def by_levels_held(options: Options, count: int) -> Points:
    points: Points = []
    for held in options.pick(HELD[:2], HELD, HELD):
        step = max(min(3, 2 * WINDOW_SLOTS // 3 // held), 1)
        batch = Batch(spread_frames(F.LEVELS, held * step, count))
        engine = new_engine(F.instrument())
        snapshot = F.snapshot(held, step)
        points.append((held, _timed(engine, batch, snapshot, options.repetitions)))
    return points


def by_frame_levels(options: Options, count: int) -> Points:
    points: Points = []
    for levels in options.pick(FRAME_LEVELS[:2], FRAME_LEVELS, FRAME_LEVELS):
        frames = max(count * 10 // (levels + 10), 10)
        batch = Batch(spread_frames(levels, 3000, frames))
        engine = new_engine(F.instrument())
        points.append((levels, _timed(engine, batch, F.snapshot(), options.repetitions)))
    return points


def by_venues(options: Options, count: int) -> Points:
    points: Points = []
    for venues in options.pick(VENUES[:2], VENUES, VENUES):
        case = MergeCase(venues, 10, count // venues * venues, is_deep=False)
        for repetition in range(WARM_UP + options.repetitions):
            case.run(repetition >= WARM_UP)
        points.append((venues, case.ns))
    return points


def by_instruments(options: Options, count: int) -> Points:
    """Frames of the last of so many instruments on one connection: the longest way to its feed."""
    points: Points = []
    for instruments in options.pick(INSTRUMENTS[:2], INSTRUMENTS, INSTRUMENTS):
        specs = []
        for number in range(instruments):
            symbol = F.SYMBOL if number == instruments - 1 else f"OTHER{number:02}"
            feed = FeedSpec("venue0", MEASURED.rules, 0, symbol, "0.01")
            specs.append(InstrumentSpec(f"I{number}", (feed,)))
        engine = Engine(
            tuple(specs), start_ns=1, reads_clock=True, window_slots=SMALL_WINDOW_SLOTS,
            far_levels_max=1024,
        )  # fmt: skip
        batch = Batch(spread_frames(F.LEVELS, 1000, count))
        snapshot = F.snapshot(100)
        values = []
        for repetition in range(WARM_UP + options.repetitions):
            seed(engine, snapshot, instruments - 1)
            taken_ns = batch.run(engine)
            if repetition >= WARM_UP:
                values.append(taken_ns / batch.count)
        points.append((instruments, values))
    return points


def _plot(title: str, x_label: str, points: Points) -> Plot:
    xs = [x for x, _ in points]
    ys = [float(np.median(values)) for _, values in points]
    return Plot(title, x_label, "ns", lines={title: (xs, ys)})


def _table(title: str, column: str, points: Points, has_levels: bool) -> Table:
    """A row a point; `has_levels` where x is a number of levels that the cost is divided by."""
    if not has_levels:
        rows = tuple((f"{x:,.0f}", spread(values, 0)) for x, values in points)
        return Table(title, (column, "ns a frame"), rows)
    divided = tuple(
        (f"{x:,.0f}", spread(values, 0), float(np.median(values)) / x) for x, values in points
    )
    return Table(title, (column, "ns a frame", "ns a level"), divided)


def run(options: Options, say: Say) -> Result:
    """Every axis."""
    count = options.pick(40, 1000, 5000)
    say("levels held")
    held = by_levels_held(options, count)
    say("levels a frame")
    levels = by_frame_levels(options, count)
    say("venues")
    venues = by_venues(options, count)
    say("instruments")
    instruments = by_instruments(options, count)
    axes = (
        ("by levels held, 36 a frame", "levels held a side", held),
        ("by levels a frame", "levels a frame", levels),
        ("by venues, one level a frame", "venues", venues),
        ("by instruments, the last one's frames", "instruments", instruments),
    )
    tables = tuple(
        _table(title, column, points, points is levels) for title, column, points in axes
    )
    plots = tuple(_plot(*axis) for axis in axes)
    return Result("growth", QUESTION, options.command("growth"), tables, plots=plots)
