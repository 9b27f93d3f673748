"""What does a changed level cost: near the touch, deep, in the far store, in a small or large book?

Frames of many levels through the whole compiled call, so what is measured is what is paid: decoded,
checked, set, the top read again. Frames with an old id are decoded and then dropped, which gives
the reading's own part of it.
Runs on: the harness's main thread, pinned to the last CPU.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from bench.load import frames as F
from bench.options import Options, Say
from bench.report.result import Bar, Result, Table
from bench.report.stats import ratios, spread
from bench.rig.compiled_loop import Batch, new_engine, seed
from engine.specs import WINDOW_SLOTS

QUESTION = "cost of a changed level, whatever rests in the book"
BAR_RATIO = 1.3
LEVELS = 100
"""A frame's levels here: the call's fixed part is then a small part of each."""
STEP_CENTS = 3
SMALL, LARGE = 100, 10_000
NEAR_LEVELS = 10
FAR_FROM_CENTS = WINDOW_SLOTS + 1000
"""Below the window, wherever in it the best price lies."""
WARM_UP = 1
CASES = ("set near the touch", "set anywhere", "set and delete anywhere", "set far, below window",
         "set and delete far")  # fmt: skip


def _cents(rng: random.Random, case: str, resting: int) -> int:
    """How far from the touch a level lies, in ticks: never the touch itself."""
    if "far" in case:
        return FAR_FROM_CENTS + STEP_CENTS * rng.randrange(max(resting // 10, 10))
    reach = NEAR_LEVELS if "near" in case else resting
    return STEP_CENTS * rng.randrange(1, reach)


def case_frames(case: str, resting: int, count: int, levels: int = LEVELS) -> list[bytes]:
    """Frames that change levels of one kind; with deletes, every other frame takes away again."""
    rng = random.Random(f"{case}{resting}")
    made: list[bytes] = []
    kept: list[list[list[str]]] = []
    for index in range(count):
        is_delete = "delete" in case and index % 2 == 1
        if is_delete:
            sides = [[[price, F.quantity(0)] for price, _ in side] for side in kept]
        else:
            sides = []
            for best, sign in ((F.MID_CENTS, -1), (F.MID_CENTS + 1, 1)):
                offsets = {_cents(rng, case, resting) for _ in range(levels // 2)}
                # Levels to be deleted again lie between the resting ones.
                between = 1 if "delete" in case else 0
                sides.append(
                    [[F.price(best + sign * (n + between)), F.quantity(rng.randrange(1, 10**9))]
                     for n in offsets]
                )  # fmt: skip
            kept = sides
        made.append(F.diff(F.FIRST_ID + 1 + index, F.FIRST_ID + 1 + index, sides[0], sides[1]))
    return made


def level_count(frames: Sequence[bytes]) -> int:
    """Levels in all: each quotes two numbers, the envelope has twenty quotes."""
    import orjson

    data = (orjson.loads(frame)["data"] for frame in frames)
    return sum(len(each["b"]) + len(each["a"]) for each in data)


class Case:
    """One kind of change in a book of one size; ns a level, one value a repetition."""

    def __init__(self, case: str, resting: int, count: int) -> None:
        frames = case_frames(case, resting, count)
        self.name, self.resting = case, resting
        self._levels = level_count(frames)
        self._batch = Batch(frames)
        self._engine = new_engine(F.instrument())
        self._snapshot = F.snapshot(resting, STEP_CENTS)
        self.ns: list[float] = []

    def run(self, counts: bool) -> None:
        seed(self._engine, self._snapshot)
        taken_ns = self._batch.run(self._engine)
        if counts:
            self.ns.append(taken_ns / self._levels)


def run(options: Options, say: Say) -> Result:
    """Every case at both sizes, alternating."""
    count = options.pick(20, 1000, 5000)
    cases = {(case, size): Case(case, size, count) for case in CASES for size in (SMALL, LARGE)}
    for repetition in range(WARM_UP + options.repetitions):
        say(f"repetition {repetition + 1}")
        order = list(cases.values())
        for each in order if repetition % 2 else reversed(order):
            each.run(repetition >= WARM_UP)
    rows = []
    bars = []
    for case in CASES:
        small, large = cases[case, SMALL].ns, cases[case, LARGE].ns
        values = ratios(large, small)
        rows.append((case, spread(small, 1), spread(large, 1), spread(values)))
        if "far" not in case and "near" not in case:
            bars.append(Bar(f"{case}: {LARGE:,} / {SMALL} resting", values, BAR_RATIO, False))
    columns = ("change", f"{SMALL} resting ns", f"{LARGE:,} resting ns", "large / small")
    title = f"ns a changed level, {LEVELS} levels a frame, reading and publishing included"
    table = Table(title, columns, tuple(rows))
    note = "sizes are levels a side, 3 ticks apart; 'far' levels lie below the ladder's window"
    return Result(
        "ladder", QUESTION, options.command("ladder"), (table,), tuple(bars), notes=(note,)
    )
