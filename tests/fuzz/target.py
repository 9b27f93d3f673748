"""What is fuzzed: the kernels, with frame, stage, arena and handoff between inaccessible pages.

A frame is read three times: right after the one it was made of, so that the engine knows its form
and the widths of its numbers; after one of a form that nothing else has; and, if it is a diff, by a
feed that is live, into a book. The first two answers must be the same, and both must be what
orjson and Decimal say. Any read or write outside ends the process with SIGSEGV.
Runs on: the fuzzers' thread.
"""

from __future__ import annotations

import ctypes
from collections import Counter
from typing import Any

import numpy as np
import orjson

from engine.book.frame import on_frame
from engine.book.spare_book import replay_frame, stage_message
from engine.compiling.atomics import Words, address_of
from engine.layout import layout as L
from engine.layout import status as S
from engine.specs import InstrumentSpec
from tests import oracle
from tests.engine.decoding.guard_pages import PAGE, Fence
from tests.engine.decoding.rig import (
    BINANCE,
    BITSTAMP,
    LIMITS,
    NOT_JSON,
    STRANGE,
    TICK,
    Decoded,
    check_answer,
    is_beyond_orjson,
)
from tests.engine.rig import LOT, Rig, binance_spec, bitstamp_spec
from tests.fuzz.mutate import LARGE_ROOM, ROOM

LEVELS_MAX, LARGE_LEVELS_MAX = 16, 1024
"""Levels a side that the stages here hold: few, so that an overrun is soon outside."""
DIFFS, SNAPSHOTS = "diffs", "snapshots"
KNOWN = frozenset(S.TEXTS)
REFUSED_SHARE = 16
"""One of so many refused inputs is held against orjson; every accepted one is."""


class FuzzError(AssertionError):
    """An input that was judged wrong: which, and how."""


def fenced_words(count: int, *, at_end: bool) -> tuple[Fence, Words]:
    """Zeros whose last word (or first) is the last (first) before an inaccessible page."""
    size = 8 * count
    fence = Fence(-(-size // PAGE))
    where = fence.end - size if at_end else fence.first
    buffer = memoryview((ctypes.c_int64 * count).from_address(where)).cast("B")
    return fence, np.frombuffer(buffer, np.int64)


class Target:
    """Two feeds that only decode, Binance and Bitstamp, and their twins that are live."""

    def __init__(self, *, at_end: bool = True, is_large: bool = False) -> None:
        self.answers: Counter[tuple[str, int, int]] = Counter()
        self.judged = 0
        self._levels_max = LARGE_LEVELS_MAX if is_large else LEVELS_MAX
        self._frame = Fence((LARGE_ROOM if is_large else ROOM) // PAGE)
        instruments = [
            InstrumentSpec(name, (binance_spec(connection=at), bitstamp_spec(connection=at + 1)))
            for name, at in (("DECODED", 0), ("LIVE", 2))
        ]
        self.rig = Rig(*instruments, window_slots=64, far_levels_max=64)
        for feed in range(4):
            self.rig.set_state(L.BUFFERING if feed < 2 else L.LIVE, feed)
        engine = self.rig.engine
        self._keep: list[Any] = [engine.arena, engine._stage.words, engine.handoff.words]
        self._handoff = self._move(engine.handoff.words, at_end)
        self._stage = self._fresh(L.stage_words(self._levels_max), at_end)
        self._stage[L.STAGE_LEVELS_MAX] = self._levels_max
        self._arena = self._move(engine.arena, at_end)
        self._arena[L.ENGINE_HANDOFF_ADDRESS] = self._handoff.ctypes.data
        self._arena[L.ENGINE_STAGE_ADDRESS] = self._stage.ctypes.data
        self._arena[L.ENGINE_STAGE_WORDS] = len(self._stage)
        self._pristine = [(words, words.copy()) for words in (self._arena, self._handoff)]
        engine.arena = self._arena
        self._address = int(self._arena.ctypes.data)
        self._feed_at = [self.rig.feed_at(feed) for feed in range(4)]
        self._strange = {feed: STRANGE[feed] for feed in (BINANCE, BITSTAMP)}

    def _fresh(self, count: int, at_end: bool) -> Words:
        fence, words = fenced_words(count, at_end=at_end)
        self._keep.append(fence)
        return words

    def _move(self, words: Words, at_end: bool) -> Words:
        moved = self._fresh(len(words), at_end)
        moved[:] = words
        return moved

    def reset(self) -> None:
        """As it was at the beginning: what comes next does not depend on what came before."""
        for words, pristine in self._pristine:
            words[:] = pristine

    # --- one input -------------------------------------------------------------------------------

    def _send(self, feed: int, address: int, length: int) -> int:
        """A frame at the start of a feed's stream; the status."""
        self._arena[self._feed_at[feed] + L.FEED_LAST_FRAME_ID] = 0
        return on_frame(self._address, feed, address, length, 1, 1)

    def place(self, address: int, length: int, number: int) -> int:
        """A copy against the fence: at its end, every fourth time at its start."""
        where = self._frame.first if number & 3 == 0 else self._frame.end - length
        ctypes.memmove(where, address, length)
        return where

    def diff(self, feed: int, before: bytes, where: int, length: int, number: int) -> int:
        """Judge the frame that was placed; FuzzError if anything is wrong with the answer."""
        self._send(feed, address_of(before), len(before))
        fast = self._send(feed, where, length)
        staged = self._staged() if fast == S.BUFFER else None
        strange = self._strange[feed]
        self._send(feed, address_of(strange), len(strange))
        slow = self._send(feed, where, length)
        if fast != slow:
            raise FuzzError(f"{_text(slow)}, but after the one before it {_text(fast)}")
        if staged is not None:
            if staged != self._staged():
                raise FuzzError("other levels after the frame before it")
            self._live(feed, where, length)
        elif fast not in KNOWN:
            raise FuzzError(f"an unheard-of status {fast}")
        self.answers[DIFFS, feed, fast] += 1
        if staged is not None or fast >= 0 or number % REFUSED_SHARE == 0:
            self._judge(ctypes.string_at(where, length), feed, fast, staged)
        return fast

    def _judge(self, raw: bytes, feed: int, status: int, staged: tuple[Any, ...] | None) -> None:
        if is_beyond_orjson(raw):
            return
        self.judged += 1
        try:
            check_answer(raw, feed, status, lambda: _decoded(staged))
        except (AssertionError, ArithmeticError, ValueError, KeyError, TypeError) as error:
            raise FuzzError(f"{_text(status)}: {type(error).__name__} {error}") from None

    def _live(self, feed: int, where: int, length: int) -> None:
        """Apply the frame to a book that stands right before it, and run it through the spare."""
        live = feed + 2
        at = self._feed_at[live]
        first = int(self._stage[L.STAGE_FIRST_ID])
        for book in range(2):
            self._arena[at + L.FEED_BOOK_ID_0 + book] = first - 1
        status = self._send(live, where, length)
        if status not in (S.APPLIED, S.OLD, S.CROSSED_TOO_LONG):
            raise FuzzError(f"live: {_text(status)}")
        replayed = replay_frame(self._address, live, where, length)
        if replayed not in (S.APPLIED, S.OLD):
            raise FuzzError(f"replayed: {_text(replayed)}")

    def snapshot(self, feed: int, where: int, length: int, number: int) -> int:
        """Judge the REST body that was placed; FuzzError if anything is wrong with the answer."""
        stage = self._stage
        words, size = stage.ctypes.data, len(stage)
        status = stage_message(self._address, feed, where, length, words, size, 0)
        if status not in KNOWN or status > 0:
            raise FuzzError(f"an unheard-of status {status}")
        self.answers[SNAPSHOTS, feed, status] += 1
        if status == S.APPLIED or number % REFUSED_SHARE == 0:
            raw = ctypes.string_at(where, length)
            if not is_beyond_orjson(raw):
                self.judged += 1
                self._judge_snapshot(raw, feed, status)
        return status

    def _judge_snapshot(self, raw: bytes, feed: int, status: int) -> None:
        try:
            orjson.loads(raw)
            is_json = True
        except orjson.JSONDecodeError:
            is_json = False
        if status not in LIMITS and is_json != (status not in NOT_JSON):
            raise FuzzError(f"snapshot {_text(status)}: orjson says {is_json}")
        if status != S.APPLIED:
            return
        read = (oracle.read_binance_snapshot, oracle.read_bitstamp_snapshot)[feed]
        try:
            meant = read(raw)
        except (AssertionError, ArithmeticError, ValueError, KeyError, TypeError) as error:
            raise FuzzError(f"a snapshot to us, not to the oracle: {error!r}") from None
        made = _decoded(self._staged())
        if (meant.last_id, meant.bids, meant.asks) != (made.last_id, made.bids, made.asks):
            raise FuzzError("a snapshot of other levels")

    def _staged(self) -> tuple[Any, ...]:
        """Ids, time and rows in the stage."""
        words = self._stage
        sides = []
        for is_asks, count_at in enumerate((L.STAGE_BIDS, L.STAGE_ASKS)):
            start = L.STAGE_ROWS_AT + is_asks * self._levels_max * L.ROW_WORDS
            count = int(words[count_at])
            if not 0 <= count <= self._levels_max:
                raise FuzzError(f"{count} levels in a stage of {self._levels_max}")
            flat = words[start : start + count * L.ROW_WORDS].tolist()
            sides.append(list(zip(flat[0::3], flat[1::3], strict=True)))
        ids = words[L.STAGE_FIRST_ID : L.STAGE_TIME + 1].tolist()
        return (*ids, *sides)

    def check_books(self) -> None:
        """Every invariant of the live feeds' ladders."""
        for feed in (2, 3):
            self.rig.check(feed)


def _decoded(staged: tuple[Any, ...] | None) -> Decoded:
    assert staged is not None
    first_id, last_id, time_ns, bids, asks = staged
    rows = [[(ticks * TICK, lots * LOT) for ticks, lots in side] for side in (bids, asks)]
    return Decoded(first_id, last_id, time_ns, rows[0], rows[1])


def _text(status: int) -> str:
    return S.TEXTS.get(status, f"status {status}")
