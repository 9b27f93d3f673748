"""What does a publication cost, by the number of venues and the published depth?

Frames of one level that changes a venue's best, each venue in turn: read, set, top read again,
merged over all venues, written to the handoff. Against it the same frames for a level that is far
too deep to be published: the difference is the top, the merge and the slot.
Runs on: the harness's main thread, pinned to the last CPU.
"""

from __future__ import annotations

from bench.load import frames as F
from bench.options import Options, Say
from bench.report.result import Result, Table
from bench.report.stats import spread
from bench.rig.compiled_loop import Batch, new_engine, seed

QUESTION = "cost of a publication by venues and depth"
VENUES = (1, 2, 4, 8)
DEPTHS = (10, 50)
DEEP_CENTS = 3 * 400
"""A level that no published depth reaches."""
WARM_UP = 1


def one_level_frames(venues: int, count: int, is_deep: bool) -> tuple[list[bytes], list[int]]:
    """Frames that change one bid of each venue in turn, and the connections they come on."""
    cents = F.MID_CENTS - (DEEP_CENTS if is_deep else 0)
    made, connections = [], []
    for index in range(count):
        number = F.FIRST_ID + 1 + index // venues
        made.append(F.diff(number, number, [[F.price(cents), F.quantity(10**8 + 1 + index)]], []))
        connections.append(index % venues)
    return made, connections


class Case:
    """One number of venues at one depth; ns a frame, one value a repetition."""

    def __init__(self, venues: int, depth: int, count: int, is_deep: bool) -> None:
        frames, connections = one_level_frames(venues, count, is_deep)
        self._batch = Batch(frames, connections)
        self._engine = new_engine(F.instrument(venues, depth))
        self._venues, self._is_deep = venues, is_deep
        self._snapshot = F.snapshot()
        self.ns: list[float] = []

    def run(self, counts: bool) -> None:
        for feed in range(self._venues):
            seed(self._engine, self._snapshot, feed)
        before = self._engine.reader().published
        taken_ns = self._batch.run(self._engine)
        published = self._engine.reader().published - before
        wanted = 0 if self._is_deep else self._batch.count
        assert published == wanted, f"{published} published of {wanted}"
        if counts:
            self.ns.append(taken_ns / self._batch.count)


def run(options: Options, say: Say) -> Result:
    """Every combination."""
    count = options.pick(80, 8000, 40_000)
    rows = []
    for depth in DEPTHS:
        for venues in VENUES:
            say(f"{venues} venues, depth {depth}")
            top, deep = (Case(venues, depth, count, is_deep) for is_deep in (False, True))
            for repetition in range(WARM_UP + options.repetitions):
                for case in (top, deep) if repetition % 2 else (deep, top):
                    case.run(repetition >= WARM_UP)
            part = [a - b for a, b in zip(top.ns, deep.ns, strict=True)]
            rows.append((venues, depth, spread(top.ns, 0), spread(deep.ns, 0), spread(part, 0)))
    columns = ("venues", "depth", "best changes ns", "deep level changes ns", "difference ns")
    table = Table("ns a frame of one level: median (min-max)", columns, tuple(rows))
    return Result("merge", QUESTION, options.command("merge"), (table,))
