"""Mutants by the million through the compiled kernels, each judged (target.py).

Every batch begins from the same state, so (seed, batch, index) is all that it takes to see an input
again. Where a kernel ends the process, those three are left in a file.
Runs on: the main thread of `python -m tests.fuzz`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.engine.decoding.rig import BINANCE, BITSTAMP
from tests.fuzz.corpus import corpus, large
from tests.fuzz.mutate import LARGE_ROOM, Mutants
from tests.fuzz.target import DIFFS, SNAPSHOTS, FuzzError, Target

BATCH, LARGE_BATCH = 2048, 64
KINDS = ((DIFFS, BINANCE), (DIFFS, BITSTAMP), (SNAPSHOTS, BINANCE), (SNAPSHOTS, BITSTAMP))
SHARES = (0, 1, 0, 1, 0, 1, 2, 3)
"""Which kind a batch is, in turn: three diffs for a snapshot."""


@dataclass(frozen=True)
class Place:
    """Where an input is to be found again."""

    seed: int
    batch: int
    index: int

    def __str__(self) -> str:
        return f"--seed {self.seed} --batch {self.batch} --index {self.index}"


class Blind:
    """Batches of every kind in turn; `is_large`: of frames with hundreds of levels."""

    def __init__(self, seed: int, note: Path | None = None, *, is_large: bool = False) -> None:
        self.seed = seed
        self.inputs = 0
        self.targets = tuple(Target(at_end=end, is_large=is_large) for end in (True, False))
        self._makers = [
            Mutants(large(*kind), LARGE_BATCH, LARGE_ROOM)
            if is_large
            else Mutants(corpus(*kind), BATCH)
            for kind in KINDS
        ]
        self._note = None if note is None else np.memmap(note, np.int64, "w+", shape=(3,))

    def run(self, inputs: int, seconds: float) -> None:
        """Until so many inputs or so much time; FuzzError says which input failed, and how."""
        end_s = time.monotonic() + seconds
        batch = 0
        while self.inputs < inputs and time.monotonic() < end_s:
            self.batch(batch)
            batch += 1

    def batch(self, number: int, only: int | None = None) -> None:
        """One batch, or the inputs of it up to one."""
        which = SHARES[number % len(SHARES)]
        kind, feed = KINDS[which]
        maker, target = self._makers[which], self.targets[number // len(SHARES) & 1]
        target.reset()
        made = maker.make(self.seed, number)
        entries, address = maker.pile.entries, int(maker.out.ctypes.data)
        for index, (origin, length) in enumerate(made):
            if self._note is not None:
                self._note[:] = (self.seed, number, index)
            where = target.place(address + index * maker.room, length, index)
            try:
                if kind == DIFFS:
                    target.diff(feed, entries[origin], where, length, index)
                else:
                    target.snapshot(feed, where, length, index)
            except FuzzError as error:
                place = Place(self.seed, number, index)
                raw = maker.raw(index, length)
                raise FuzzError(f"{place}: feed {feed}, {kind} {raw!r}: {error}") from None
            if index == only:
                return
        self.inputs += len(made)
        target.check_books()

    def input(self, place: Place) -> tuple[str, int, bytes]:
        """The kind, the feed and the bytes of an input."""
        which = SHARES[place.batch % len(SHARES)]
        made = self._makers[which].make(place.seed, place.batch)
        return *KINDS[which], self._makers[which].raw(place.index, made[place.index][1])
