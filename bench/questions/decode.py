"""Is decode + check + apply + top-10 + publish faster than parsing the JSON alone?

Recorded BTCUSDT frames, in order, through the whole compiled call, against `orjson.loads` on the
same bytes in the same process. The book is loaded anew from the recorded snapshot before each pass,
so that it changes as the market did. The bar is on the call as net/feed/connection.py makes it, one
from Python for each frame, which is how orjson is called too; beside it the same from a compiled
loop.

What of it is the counting is measured too: the counters and histograms of a frame that changes the
published book, in a loop of their own.

A repetition is several passes of each contender, alternating; of each chunk of frames the quickest
pass counts, so what the machine took away in one pass does not. Garbage collection is off.
Runs on: the harness's main thread, pinned to the last CPU.
"""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import orjson

from bench.load import frames as F
from bench.load.venue_recordings import recording
from bench.options import Options, Say
from bench.report.result import Bar, Result, Table, skipped
from bench.report.stats import Floats, ratios, spread
from bench.rig.compiled_loop import Batch, new_engine, seed
from bench.rig.kernels import bench_kernel
from bench.rig.venue_names import RECORDED
from engine.compiling.atomics import Words
from engine.engine import Engine
from engine.sharing import meter_layout as M
from engine.sharing.meter_layout import EngineMeters
from engine.sharing.meters import observe
from engine.specs import InstrumentSpec

QUESTION = "decode + check + apply + top-10 + publish against orjson.loads alone"
BAR_RATIO = 5.0
VENUE_BAR_RATIO = 4.0
"""Of the other venues, whose frames are smaller or of other forms."""
COUNTING_NS_MAX = 50
"""What a frame's counters and histograms may cost: a small part of the smallest frame."""
CHUNK = 50
"""Frames timed together: short enough to fall between two disturbances, long against the clock."""
CALLED, COMPILED, ORJSON = CONTENDERS = ("by Python", "compiled loop", "orjson.loads")


@bench_kernel("void(int64[::1], int64, int64, int64[::1])")
def count_frames(meters: Words, feed: int, instrument: int, waits_ns: Words) -> None:
    """All that the engine's kernel counts of a frame, once for each of so many waits."""
    for wait_ns in waits_ns:
        meters[feed + M.FEED_FRAMES] += 1
        meters[feed + M.FEED_BYTES] += wait_ns
        meters[feed + M.FEED_LEVELS] += 1
        meters[feed + M.FEED_UNKNOWN_DELETES] += wait_ns & 1
        for side in range(2):
            meters[feed + M.FEED_SIDES_AT + side * M.SIDE_WORDS + M.SIDE_FAR_LEVELS] = wait_ns
        observe(meters, feed + M.FEED_RECEIVE_LAG, wait_ns)
        meters[instrument + M.INSTRUMENT_PUBLISHED] += 1
        meters[instrument + M.INSTRUMENT_CROSSED] += wait_ns & 1
        observe(meters, instrument + M.INSTRUMENT_PUBLISH_LATENCY, wait_ns)


@bench_kernel("void(int64[::1], int64, int64[::1])")
def observe_all(meters: Words, at: int, waits_ns: Words) -> None:
    """One histogram alone."""
    for wait_ns in waits_ns:
        observe(meters, at, wait_ns)


class Counting:
    """The engine's meters without an engine; ns a frame, one value a repetition."""

    def __init__(self, count: int) -> None:
        self._meters = EngineMeters("", (F.instrument(),), 0)
        rng = np.random.default_rng(5)
        # Over some 200 buckets, as waits on a network are.
        self._waits_ns = rng.lognormal(np.log(20_000), 0.8, count).astype(np.int64)
        self.ns: dict[str, list[float]] = {"one histogram": [], "all of a frame": []}

    def run(self, repetitions: int) -> None:
        meters, waits = self._meters, self._waits_ns
        feed, instrument = meters.feed_at[0], meters.instrument_at[0]
        for _ in range(repetitions):
            started_ns = time.perf_counter_ns()
            observe_all(meters.words, feed + M.FEED_RECEIVE_LAG, waits)
            between_ns = time.perf_counter_ns()
            count_frames(meters.words, feed, instrument, waits)
            ended_ns = time.perf_counter_ns()
            self.ns["one histogram"].append((between_ns - started_ns) / len(waits))
            self.ns["all of a frame"].append((ended_ns - between_ns) / len(waits))

    def table(self) -> Table:
        rows = tuple((name, spread(values, 1)) for name, values in self.ns.items())
        return Table("counting: median (min-max) of the repetitions", ("what", "ns"), rows)


class Contest:
    """One set of frames through the contenders; ns a frame, one value a repetition."""

    def __init__(
        self,
        frames: Sequence[bytes],
        begin: Callable[[Engine], None],
        levels: float,
        instrument: InstrumentSpec | None = None,
    ) -> None:
        """`begin` shows the book that the first frame goes on from."""
        self.frames = tuple(frames)
        self.levels = levels
        self._begin = begin
        self._batch = Batch(frames)
        self._engine = new_engine(instrument or F.instrument())
        self._handle = self._engine.frame_handler(0)
        edges = (*range(0, len(frames), CHUNK), len(frames))
        self._chunks = tuple(pairwise(edges))
        self.ns: dict[str, list[float]] = {name: [] for name in CONTENDERS}
        self.published = 0

    def run(self, repetitions: int, passes: int) -> None:
        """Alternate pass by pass, the order turned round each time."""
        self._pass_all(np.full((len(CONTENDERS), len(self._chunks)), np.inf), 0)  # warm up
        gc.collect()
        gc.disable()
        try:
            for _ in range(repetitions):
                quickest = np.full((len(CONTENDERS), len(self._chunks)), np.inf)
                for index in range(passes):
                    self._pass_all(quickest, index)
                for number, name in enumerate(CONTENDERS):
                    self.ns[name].append(float(quickest[number].sum()) / len(self.frames))
        finally:
            gc.enable()

    def _pass_all(self, quickest: Floats, index: int) -> None:
        order = range(len(CONTENDERS))
        for number in order if index % 2 else reversed(order):
            taken = self._pass(CONTENDERS[number])
            np.minimum(quickest[number], taken, out=quickest[number])

    def _pass(self, name: str) -> list[int]:
        """Every chunk once, in order; the ns of each."""
        if name == ORJSON:
            return [self._parse(first, last) for first, last in self._chunks]
        self._begin(self._engine)
        before, books = self._engine.counters(0), self._engine.reader().published
        if name == COMPILED:
            taken = [self._batch.run(self._engine, *chunk) for chunk in self._chunks]
        else:
            taken = [self._call(first, last) for first, last in self._chunks]
        after = self._engine.counters(0)
        assert after.frames - before.frames == len(self.frames) and after.old == before.old
        self.published = self._engine.reader().published - books
        return taken

    def _parse(self, first: int, last: int) -> int:
        loads, frames = orjson.loads, self.frames[first:last]
        started_ns = time.perf_counter_ns()
        for raw in frames:
            loads(raw)
        return time.perf_counter_ns() - started_ns

    def _call(self, first: int, last: int) -> int:
        handle, frames = self._handle, self.frames[first:last]
        started_ns = time.perf_counter_ns()
        for raw in frames:
            handle(raw, 1, 1)
        return time.perf_counter_ns() - started_ns

    @property
    def levels_mean(self) -> float:
        """Of a frame, as the engine has counted."""
        seen = self._engine.counters(0)
        return seen.levels / max(seen.frames, 1)

    def row(self, name: str) -> tuple[str | float | int, ...]:
        """A table row: sizes, ns a frame of each, ns a level, the ratios."""
        size = sum(map(len, self.frames)) / len(self.frames)
        called, compiled, parsed = (self.ns[name] for name in CONTENDERS)
        return (
            name, len(self.frames), round(size), round(self.levels, 1),
            *(spread(self.ns[each], 0) for each in CONTENDERS),
            float(np.median(compiled)) / self.levels,
            spread(ratios(parsed, called)), spread(ratios(parsed, compiled)),
        )  # fmt: skip


COLUMNS = (
    "frames", "count", "bytes", "levels", *(f"{name} ns" for name in CONTENDERS),
    "ns a level", "orjson / by Python", "orjson / compiled",
)  # fmt: skip


def synthetic(levels: int, count: int, seed_number: int = 7) -> list[bytes]:
    """Frames with so many levels and rising ids."""
    frames = F.frame_set(levels, min(count, F.ROWS), seed_number)
    made = []
    for index in range(count):
        row = index % frames.rows
        frames.renumber(row, 1, F.FIRST_ID + 1 + index)
        made.append(frames.matrix[row, frames.header_bytes :].tobytes())
    return made


def seeded(snapshot: bytes, levels_limit: int = 0) -> Callable[[Engine], None]:
    """What brings an engine to a snapshot of the first venue, which holds no more levels a side."""

    def begin(engine: Engine) -> None:
        seed(engine, snapshot, levels_limit=levels_limit)

    return begin


def venue_contests(options: Options, say: Say) -> dict[str, Contest]:
    """A contest for each other venue that is recorded, run."""
    found = {}
    for name in RECORDED:
        recorded = recording(name, options.pick(100, 3000, None))
        if recorded is None or not recorded.frames:
            continue
        say(f"{len(recorded.frames)} recorded frames of {name}")
        contest = Contest(recorded.frames, recorded.begin, 1, recorded.instrument)
        contest.run(options.repetitions, options.pick(2, 12, 30))
        contest.levels = contest.levels_mean
        found[name] = contest
    return found


def run(options: Options, say: Say) -> Result:
    """Recorded frames of every venue, and synthetic small and large ones."""
    command = options.command("decode")
    recorded = F.recording(options.pick(200, None, None))
    if recorded is None:
        return skipped("decode", QUESTION, command, F.NO_TAPE)
    begin = seeded(recorded.snapshot, F.RECORDED_LEVELS_LIMIT)
    main = Contest(recorded.frames, begin, recorded.levels_mean)
    say(f"{len(recorded.frames)} recorded frames")
    passes = options.pick(2, 12, 30)
    main.run(options.repetitions, passes)
    rows = [main.row("recorded BTCUSDT")]
    few = options.pick(50, 2000, 10_000)
    rng = random.Random(3)
    for levels, count in ((1, few), (2, few), (F.LEVELS, few), (1000, max(few // 50, 20))):
        say(f"synthetic frames of {levels} levels")
        made = synthetic(levels, count, rng.randrange(99))
        contest = Contest(made, seeded(F.snapshot()), levels)
        contest.run(options.repetitions, passes)
        rows.append(contest.row(f"synthetic, {levels} level{'s' if levels > 1 else ''}"))
    venues = venue_contests(options, say)
    rows += [contest.row(f"recorded {name}") for name, contest in venues.items()]
    venue_bars = tuple(
        Bar(
            f"recorded {name}: orjson.loads / the whole call by Python",
            ratios(contest.ns[ORJSON], contest.ns[CALLED]), VENUE_BAR_RATIO, is_at_least=True,
        )
        for name, contest in venues.items()
    )  # fmt: skip
    bar = Bar(
        "recorded frames: orjson.loads / the whole call by Python",
        ratios(main.ns[ORJSON], main.ns[CALLED]), BAR_RATIO, is_at_least=True,
    )  # fmt: skip
    say("counting")
    counting = Counting(options.pick(2000, 200_000, 1_000_000))
    counting.run(options.repetitions)
    cost = Bar("counters and histograms of a frame", tuple(counting.ns["all of a frame"]),
               COUNTING_NS_MAX, is_at_least=False, unit="ns")  # fmt: skip
    table = Table("ns a frame: median (min-max) of the repetitions", COLUMNS, tuple(rows))
    note = (
        f"of {len(recorded.frames)} recorded frames, every one applied in each pass, "
        f"{main.published} changed the published book"
    )
    tables, bars = (table, counting.table()), (bar, *venue_bars, cost)
    return Result("decode", QUESTION, command, tables, bars, notes=(note,))
