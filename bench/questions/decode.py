"""Is decode + check + apply + top-10 + publish faster than parsing the JSON alone?

Recorded BTCUSDT frames, each once and in order, through the whole compiled call, against
`orjson.loads` on the same bytes, alternating; the book is loaded anew before each repetition. The
bar is on frames handed over by a compiled loop (as a C++ parser is timed); beside it stands the
same called from Python, frame by frame, which is what orjson's figure pays too.
Runs on: the harness's main thread, pinned to the last CPU.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

import orjson

from bench.load import frames as F
from bench.options import Options, Say
from bench.report.result import Bar, Result, Table, skipped
from bench.report.stats import ratios, spread
from bench.rig.drive import Batch, new_engine, seed
from engine.atomics import address_of
from engine.engine import Engine
from engine.layout import PROTOCOL_BINANCE

QUESTION = "decode + check + apply + top-10 + publish against orjson.loads alone"
BAR_RATIO = 5.0
WARM_UP = 2
"""Repetitions before the first that counts: caches, branch predictors, the CPU's clock."""


def python_loop_ns(call: Callable[[bytes], object], frames: Sequence[bytes]) -> int:
    """One call a frame from Python."""
    started_ns = time.perf_counter_ns()
    for frame in frames:
        call(frame)
    return time.perf_counter_ns() - started_ns


def _handler(engine: Engine) -> Callable[[bytes], object]:
    handle = engine.frame_handler(0, PROTOCOL_BINANCE)

    def call(frame: bytes) -> int:
        return handle(address_of(frame), len(frame), 1, 1)

    return call


class Contest:
    """One set of frames through the three contenders; ns a frame, one value a repetition."""

    def __init__(self, frames: Sequence[bytes], snapshot: bytes, levels: float) -> None:
        self.frames = tuple(frames)
        self.levels = levels
        self._snapshot = snapshot
        self._batch = Batch(frames)
        self._engine = new_engine(F.instrument())
        self._call = _handler(self._engine)
        self.compiled: list[float] = []
        self.called: list[float] = []
        self.orjson: list[float] = []

    def run(self, repetitions: int) -> None:
        """Alternate, the order turned round each time."""
        for index in range(WARM_UP + repetitions):
            steps = [self._run_compiled, self._run_orjson, self._run_called]
            for step in steps if index % 2 else reversed(steps):
                step(index >= WARM_UP)

    def _run_compiled(self, counts: bool) -> None:
        seed(self._engine, self._snapshot)
        self._keep(self.compiled, self._batch.run(self._engine), counts)

    def _run_called(self, counts: bool) -> None:
        seed(self._engine, self._snapshot)
        before = self._engine.counters(0)
        self._keep(self.called, python_loop_ns(self._call, self.frames), counts)
        after = self._engine.counters(0)
        assert after.frames - before.frames == len(self.frames) and after.old == before.old

    def _run_orjson(self, counts: bool) -> None:
        self._keep(self.orjson, python_loop_ns(orjson.loads, self.frames), counts)

    def _keep(self, kept: list[float], taken_ns: int, counts: bool) -> None:
        if counts:
            kept.append(taken_ns / len(self.frames))

    @property
    def published(self) -> int:
        return self._engine.reader().published

    def row(self, name: str) -> tuple[str | float | int, ...]:
        """A table row: sizes, ns a frame of each, ns a level, the ratios."""
        size = sum(map(len, self.frames)) / len(self.frames)
        best = spread(self.compiled, 0)
        return (
            name, len(self.frames), round(size), round(self.levels, 1),
            best, spread(self.called, 0), spread(self.orjson, 0),
            sorted(self.compiled)[len(self.compiled) // 2] / self.levels,
            spread(ratios(self.orjson, self.compiled)), spread(ratios(self.orjson, self.called)),
        )  # fmt: skip


COLUMNS = (
    "frames", "count", "bytes", "levels", "compiled ns", "by Python ns", "orjson.loads ns",
    "ns a level", "orjson / compiled", "orjson / from Python",
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


def run(options: Options, say: Say) -> Result:
    """Recorded frames, and synthetic small and large ones."""
    command = options.command("decode")
    recorded = F.recording(options.pick(200, None, None))
    if recorded is None:
        return skipped("decode", QUESTION, command, F.NO_TAPE)
    main = Contest(recorded.frames, recorded.snapshot, recorded.levels_mean)
    say(f"{len(recorded.frames)} recorded frames")
    main.run(options.repetitions)
    rows = [main.row("recorded BTCUSDT")]
    few = options.pick(50, 2000, 10_000)
    rng = random.Random(3)
    for levels, count in ((1, few), (2, few), (F.LEVELS, few), (1000, max(few // 50, 20))):
        say(f"synthetic frames of {levels} levels")
        contest = Contest(synthetic(levels, count, rng.randrange(99)), F.snapshot(), levels)
        contest.run(options.repetitions)
        rows.append(contest.row(f"synthetic, {levels} level{'s' if levels > 1 else ''}"))
    bar = Bar(
        "recorded frames: orjson.loads / whole compiled call",
        ratios(main.orjson, main.compiled), BAR_RATIO, is_at_least=True,
    )  # fmt: skip
    table = Table("ns a frame: median (min-max) of the repetitions", COLUMNS, tuple(rows))
    note = f"{main.published} books were published; every frame was applied"
    return Result("decode", QUESTION, command, (table,), (bar,), notes=(note,))
