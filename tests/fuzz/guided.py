"""Fuzzing that is guided by coverage: without the JIT kernels are Python, and Python can be traced.

An input that takes a step between two lines of engine/ that none took before is kept and mutated
further. What was kept by all runs so far is in tests/fuzz/corpus; a run writes it anew, less what
is no longer needed to reach all its steps.
Runs on: the main thread of `NUMBA_DISABLE_JIT=1 python -m tests.fuzz`.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from engine.compiling.atomics import address_of
from engine.compiling.jit import JIT_OFF
from tests.engine.decoding.rig import BINANCE
from tests.fuzz.blind import KINDS
from tests.fuzz.corpus import corpus, diffs, keep, snapshots
from tests.fuzz.mutate import ROOM, Mutants
from tests.fuzz.target import DIFFS, FuzzError, Target

ENGINE = str(Path(__file__).resolve().parents[2] / "engine")
BATCH = 64
BEFORES = 4
ENTRY_BYTES_MAX = 1200
"""Longer inputs are not kept: the corpus stays small, and a step needs few levels."""
READERS = ("decode", "scan", "stage", "template", "plan")
"""The modules that read outside bytes: how much of them is reached is reported."""
Step = tuple[str, int, int]
"""Module and function, a line, the line after it."""


class Tracer:
    """The steps from line to line that a call takes in engine/."""

    def __init__(self) -> None:
        self.steps: set[Step] = set()
        self._names: dict[CodeType, str | None] = {}

    def __call__(self, work: Callable[[], object]) -> set[Step]:
        self.steps = set()
        sys.settrace(self._enter)
        try:
            work()
        finally:
            sys.settrace(None)
        return self.steps

    def _enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        code = frame.f_code
        if code not in self._names:
            is_ours = code.co_filename.startswith(ENGINE)
            self._names[code] = f"{Path(code.co_filename).stem}.{code.co_name}" if is_ours else None
        name = self._names[code]
        if name is None:
            return None
        last = 0
        steps = self.steps

        def follow(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal last
            if event == "line":
                steps.add((name, last, frame.f_lineno))
                last = frame.f_lineno
            return follow

        return follow


class Guided:
    """One kind of input of one feed: its corpus and the steps that it reaches."""

    def __init__(self, target: Target, kind: str, feed: int) -> None:
        self.kind, self.feed = kind, feed
        self.steps: set[Step] = set()
        self.entries: list[bytes] = []
        self.inputs = 0
        self._target, self._trace = target, Tracer()
        self._given = diffs(feed) if kind == DIFFS else snapshots(feed)
        for raw in corpus(kind, feed):
            # What it reached when it was kept may depend on the frame before it.
            for before in (raw, *self._given[:BEFORES]):
                self.try_one(before, raw, 0)

    def try_one(self, before: bytes, raw: bytes, number: int) -> None:
        """Send it, and keep it if it reaches what none has reached."""
        self.inputs += 1
        target = self._target
        where = target.place(address_of(raw), len(raw), number)

        def send() -> None:
            if self.kind == DIFFS:
                target.diff(self.feed, before, where, len(raw), number)
            else:
                target.snapshot(self.feed, where, len(raw), number)

        try:
            found = self._trace(send)
        except FuzzError as error:
            raise FuzzError(f"feed {self.feed}, {self.kind} {raw!r}: {error}") from None
        if not found <= self.steps and (len(raw) <= ENTRY_BYTES_MAX or raw in self._given):
            self.steps |= found
            if raw not in self.entries:
                self.entries.append(raw)

    def mutate(self, seed: int, number: int) -> None:
        """A batch of mutants of all that is kept."""
        maker = Mutants(tuple(self.entries), BATCH)
        for index, (origin, length) in enumerate(maker.make(seed, number)):
            assert length <= ROOM
            self.try_one(maker.pile.entries[origin], maker.raw(index, length), index)

    def write(self) -> int:
        """Keep on disk what reaches something beyond the frames that are made anyway."""
        given = set(self._given)
        kept = [raw for raw in self.entries if raw not in given]
        keep(self.kind, self.feed, kept)
        return len(kept)


def _lines_of(code: CodeType) -> set[tuple[str, int]]:
    """The lines of the functions in a module's code; a definition itself is none of them."""
    found: set[tuple[str, int]] = set()
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            lines = {line for _, _, line in inner.co_lines() if line is not None}
            if not inner.co_name.startswith("<"):
                found |= {(inner.co_name, line) for line in lines - {inner.co_firstlineno}}
            found |= _lines_of(inner)
    return found


def report_lines(steps: set[Step]) -> None:
    """How many lines of each reader were reached, and which were not."""
    reached = {(name, line) for name, _, line in steps}
    for module in READERS:
        path = Path(ENGINE) / f"{module}.py"
        code = compile(path.read_text(encoding="utf-8"), str(path), "exec")
        # Functions that run at import only, like those that pack constants, are never seen.
        ours = {name for name, _ in reached if name.startswith(f"{module}.")}
        lines = {(f"{module}.{name}", line) for name, line in _lines_of(code)}
        lines = {each for each in lines if each[0] in ours}
        missing = sorted(line for _, line in lines - reached)
        print(f"{module:<10} {len(lines) - len(missing)} of {len(lines)} lines, not {missing}")


def guided(seed: int, seconds: float) -> int:
    """Each kind in turn until the time is over; the exit status."""
    assert JIT_OFF, "compiled kernels cannot be traced"
    # Integers wrap in a kernel; numpy says so each time.
    warnings.filterwarnings("ignore", message=".*overflow encountered.*")
    target = Target()
    runs = [Guided(target, kind, feed) for kind, feed in KINDS]
    end_s = time.monotonic() + seconds
    number = 0
    while time.monotonic() < end_s:
        run = runs[number % len(runs)]
        try:
            run.mutate(seed, number)
        except FuzzError as error:
            print(f"FAILED {error}")
            return 1
        number += 1
    for run in runs:
        venue = "binance" if run.feed == BINANCE else "bitstamp"
        print(
            f"{run.kind:<10} {venue:<9} {run.inputs:>7} inputs, {len(run.steps):>5} steps "
            f"reached, {run.write():>4} inputs kept"
        )
    report_lines(set().union(*(run.steps for run in runs)))
    return 0
