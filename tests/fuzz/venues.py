"""Mutants of each venue's frames against its schema, between inaccessible pages.

    python -m tests.fuzz.venues --inputs 1000000 [--venue NAME] [--seed S]

Whatever is taken for a book must be one to another reader, with the same levels; whatever is said
to be no JSON must be none to orjson; a frame is judged alike after a frame of its form, which the
engine has learned, and after none.
Runs on: the main thread of the program, or the tests'.
"""

from __future__ import annotations

import argparse
import ctypes
import sys
import time
from collections import Counter
from decimal import Decimal
from typing import Any

import orjson

from engine.book.frame import on_frame
from engine.compiling.atomics import address_of
from engine.compiling.jit import compile_kernels
from engine.layout import layout as L
from engine.layout import status as S
from engine.specs import FeedSpec
from net.venues.registry import VENUES
from tests.engine.decoding.guard_pages import PAGE, Fence
from tests.engine.decoding.rig import is_beyond_orjson
from tests.engine.rig import LOT, Rig
from tests.fuzz.mutate import ROOM, Mutants
from tests.fuzz.target import FuzzError
from tests.fuzz.venue_frames import SAMPLES, exact

BATCH = 512
TICK = Decimal("1e-8")
JUDGED_SHARE = 16
"""Of refused inputs every so many are judged too."""
NOT_JSON = (S.BAD_JSON, S.BAD_UTF8)
LIMITS = (S.TOO_DEEP,)
TAKEN = (S.BUFFER, S.SNAPSHOT)


class VenueTarget:
    """One feed of a venue that waits for its book."""

    def __init__(self, name: str) -> None:
        self.sample = SAMPLES[name]
        spec = FeedSpec(name, VENUES[name].rules, 0, self.sample.symbol, str(TICK))
        self.rig = Rig.single(spec)
        self.rig.set_state(L.BUFFERING)
        self.answers: Counter[int] = Counter()
        self._fence = Fence(ROOM // PAGE)
        self._feed = self.rig.feed_at(0)
        self._address = int(self.rig.engine.arena.ctypes.data)

    def send(self, address: int, length: int) -> int:
        """A frame at the start of the stream and of the connection."""
        arena = self.rig.engine.arena
        arena[self._feed + L.FEED_LAST_FRAME_ID] = 0
        self.rig.engine.restart_connection(0)
        return on_frame(self._address, 0, address, length, 1, 1)

    def judge(self, raw: bytes, before: bytes, number: int) -> int:
        """FuzzError if anything is wrong with the answer."""
        arena, size = self.rig.engine.arena, len(raw)
        where = self._fence.at_start(raw) if number & 3 == 0 else self._fence.at_end(raw)
        self.send(address_of(before), len(before))
        fast = self.send(where, size)
        staged = self._staged() if fast in TAKEN else None
        arena[self._feed + L.FEED_TEMPLATE_PARTS] = 0
        slow = self.send(where, size)
        if fast != slow:
            raise FuzzError(f"{_text(slow)}, but after the one before it {_text(fast)}")
        if slow not in S.TEXTS:
            raise FuzzError(f"an unheard-of status {slow}")
        if staged is not None and staged != self._staged():
            raise FuzzError("two readers, two books")
        self.answers[slow] += 1
        if (slow in TAKEN or number % JUDGED_SHARE == 0) and not is_beyond_orjson(raw):
            self._compare(raw, slow, staged)
        return slow

    def _compare(self, raw: bytes, status: int, staged: Any) -> None:
        try:
            orjson.loads(raw)
            is_json = True
        except orjson.JSONDecodeError:
            is_json = False
        if status not in LIMITS and is_json != (status not in NOT_JSON):
            raise FuzzError(f"{_text(status)}: orjson says {is_json}")
        if staged is None:
            return
        try:
            bids, asks = self.sample.read(exact(raw))
        except (ArithmeticError, AttributeError, ValueError, KeyError, TypeError) as error:
            raise FuzzError(f"a book to us, not to the other reader: {error!r}") from None
        if status == S.SNAPSHOT:
            bids, asks = ([row for row in side if row[0] > 0] for side in (bids, asks))
        if staged != (bids, asks):
            raise FuzzError(f"other levels: {staged} {bids} {asks}")

    def _staged(self) -> Any:
        bids, asks = self.rig.staged()
        return tuple([(ticks * TICK, lots * LOT) for ticks, lots in side] for side in (bids, asks))


def _text(status: int) -> str:
    return S.TEXTS.get(status, f"status {status}")


def fuzz(name: str, seed: int, inputs: int) -> VenueTarget:
    """So many mutants; FuzzError names the one that was judged wrong."""
    target, done, number = VenueTarget(name), 0, 0
    mutants = Mutants(SAMPLES[name].frames, min(BATCH, inputs))
    while done < inputs:
        made = mutants.make(seed, number)
        entries, base = mutants.pile.entries, int(mutants.out.ctypes.data)
        for index, (origin, length) in enumerate(made):
            raw = ctypes.string_at(base + index * mutants.room, length)
            try:
                target.judge(raw, entries[origin], done)
            except FuzzError as error:
                raise FuzzError(f"{name}, seed {seed}, input {done}: {error}: {raw!r}") from None
            done += 1
        number += 1
    return target


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.venues", description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--venue", choices=sorted(SAMPLES))
    given = parser.parse_args()
    compile_kernels()
    for name in [given.venue] if given.venue else SAMPLES:
        started_s = time.monotonic()
        try:
            target = fuzz(name, given.seed, given.inputs)
        except FuzzError as error:
            print(f"FAILED {error}")
            return 1
        took_s = time.monotonic() - started_s
        taken = sum(target.answers[status] for status in TAKEN)
        print(f"{name}: {given.inputs} inputs, {taken} taken for books, {took_s:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
