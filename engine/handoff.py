"""The lock-free handoff: a shared-memory segment the engine writes and any local process may read.

Each instrument has a *board*: a ring of slots, each one a seqlock (Boehm, "Can seqlocks get along
with programming language memory models?", MSPC 2012). The writer makes the slot's version odd,
writes the data, makes the version even, then moves the board's sequence. A reader copies the slot
the sequence points to between two looks at its version; a changed version means a torn copy, and
it tries again, a bounded number of times. A ring of 64 makes a torn latest slot a rarity: the
writer must come round once within one copy.

Readers never write: the segment is mapped read-only by them. A writer that died is known by its
heartbeat, never by a lock.
Runs on: the engine thread (writer), gateway threads and processes (readers).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from decimal import Decimal

import numba.types as nbtypes
import numpy as np

from engine import layout as L
from engine.atomics import (
    Words,
    fence_acquire,
    fence_release,
    load_acquire,
    store_release,
)
from engine.jit import JIT_OFF, inner, kernel
from engine.segment import (
    NAME_PATTERN,
    READONLY_WORDS,
    SEGMENT_MODE,
    HandoffError,
    OwnedSegment,
    get_text,
    map_words,
    put_text,
    read_word,
    segment_path,
    write_word,
)

READ_TRIES_MAX = 1000
"""Copies of one slot that a reader attempts before it reports the slot as busy."""

READ_NOTHING_YET = 0
READ_BUSY = -1
READ_OVERWRITTEN = -2

if JIT_OFF:
    import time

    def _sleep_us(microseconds: int) -> int:
        time.sleep(microseconds / 1e6)
        return 0

else:
    _sleep_us = nbtypes.ExternalFunction("usleep", nbtypes.int32(nbtypes.int32))


@inner
def slot_at(board: int, sequence: int) -> int:
    """The first word of the slot that holds, or will hold, a sequence."""
    return board + L.BOARD_SLOTS_AT + (sequence % L.RING_SLOTS) * L.SLOT_WORDS


@inner
def begin_slot(handoff: Words, board: int, sequence: int) -> int:
    """Open the slot for `sequence`: from here until `end_slot` readers see it as torn."""
    slot = slot_at(board, sequence)
    store_release(handoff, slot + L.SLOT_VERSION, 2 * sequence - 1)
    fence_release()
    handoff[slot + L.SLOT_SEQUENCE] = sequence
    return slot


@inner
def end_slot(handoff: Words, board: int, slot: int, sequence: int) -> None:
    """Close the slot and make it the latest."""
    store_release(handoff, slot + L.SLOT_VERSION, 2 * sequence)
    store_release(handoff, board + L.BOARD_SEQUENCE, sequence)
    published = load_acquire(handoff, L.HANDOFF_PUBLISHED)
    store_release(handoff, L.HANDOFF_PUBLISHED, published + 1)


@inner
def _copy_slot(handoff: Words, board: int, sequence: int, out: Words) -> bool:
    slot = slot_at(board, sequence)
    before = load_acquire(handoff, slot + L.SLOT_VERSION)
    if before != 2 * sequence:
        return False
    for index in range(L.SLOT_WORDS):
        out[index] = handoff[slot + index]
    fence_acquire()
    return load_acquire(handoff, slot + L.SLOT_VERSION) == before


@kernel(f"int64({READONLY_WORDS}, int64, int64[::1])")
def read_latest(handoff: Words, board: int, out: Words) -> int:
    """Copy a board's latest book into `out`; its sequence, or READ_NOTHING_YET or READ_BUSY."""
    for _ in range(READ_TRIES_MAX):
        sequence = load_acquire(handoff, board + L.BOARD_SEQUENCE)
        if sequence == 0:
            return READ_NOTHING_YET
        if _copy_slot(handoff, board, sequence, out):
            return sequence
    return READ_BUSY


@kernel(f"int64({READONLY_WORDS}, int64, int64, int64[::1])")
def read_exact(handoff: Words, board: int, sequence: int, out: Words) -> int:
    """Copy one numbered book; READ_NOTHING_YET if still to come, READ_OVERWRITTEN if gone."""
    if sequence > load_acquire(handoff, board + L.BOARD_SEQUENCE) or sequence <= 0:
        return READ_NOTHING_YET
    if _copy_slot(handoff, board, sequence, out):
        return sequence
    return READ_OVERWRITTEN


@kernel(f"int64({READONLY_WORDS}, int64, int64, int64)", releases_gil=True)
def wait_for_publish(handoff: Words, seen: int, poll_us: int, polls_max: int) -> int:
    """Sleep in steps, without the GIL, until the published count differs from `seen`; the count."""
    published = load_acquire(handoff, L.HANDOFF_PUBLISHED)
    for _ in range(polls_max):
        if published != seen:
            break
        _sleep_us(poll_us)
        published = load_acquire(handoff, L.HANDOFF_PUBLISHED)
    return published


@dataclass(frozen=True)
class BoardInfo:
    """What is fixed about an instrument: its symbol, venues, depth and scales.

    A price is `ticks * tick_mantissa * 10**-tick_decimals`; an amount is
    `lots * 10**-lot_decimals`.
    """

    symbol: str
    venues: tuple[str, ...]
    depth: int
    tick_mantissa: int
    tick_decimals: int
    lot_decimals: int = L.LOT_DECIMALS

    @property
    def tick_size(self) -> Decimal:
        return Decimal(self.tick_mantissa).scaleb(-self.tick_decimals)


class HandoffWriter:
    """Creates and owns the segment; `words` is its memory. `name=""` keeps it private (replay)."""

    def __init__(self, name: str, boards: tuple[BoardInfo, ...], start_ns: int) -> None:
        self.path = segment_path(name) if name else None
        self.boards = boards
        image = np.zeros(L.HANDOFF_WORDS + len(boards) * L.BOARD_WORDS, np.int64)
        self._describe(image, start_ns)
        self._segment = OwnedSegment(self.path, image, L.HANDOFF_VERSION_AT, L.HANDOFF_VERSION)
        self.words = self._segment.words

    def _describe(self, words: Words, start_ns: int) -> None:
        boards = self.boards
        words[L.HANDOFF_MAGIC_AT] = L.HANDOFF_MAGIC
        words[L.HANDOFF_WRITER_PID] = os.getpid()
        words[L.HANDOFF_START_NS] = start_ns
        words[L.HANDOFF_HEARTBEAT_NS] = start_ns
        words[L.HANDOFF_BOARDS] = len(boards)
        words[L.HANDOFF_BOARD_WORDS] = L.BOARD_WORDS
        words[L.HANDOFF_RING_SLOTS] = L.RING_SLOTS
        words[L.HANDOFF_ENGINE_STATE] = L.ENGINE_IS_STARTING
        for index, info in enumerate(boards):
            at = self.board_at(index)
            words[at + L.BOARD_DEPTH] = info.depth
            words[at + L.BOARD_VENUES] = len(info.venues)
            words[at + L.BOARD_TICK_MANTISSA] = info.tick_mantissa
            words[at + L.BOARD_TICK_DECIMALS] = info.tick_decimals
            words[at + L.BOARD_LOT_DECIMALS] = info.lot_decimals
            words[at + L.BOARD_SYMBOL_BYTES] = put_text(
                words, at + L.BOARD_SYMBOL_AT, info.symbol, L.SYMBOL_BYTES_MAX
            )
            for venue, venue_name in enumerate(info.venues):
                name_at = at + L.BOARD_VENUE_NAMES_AT + venue * L.VENUE_NAME_WORDS
                put_text(words, name_at, venue_name, L.VENUE_NAME_BYTES_MAX)

    @staticmethod
    def board_at(index: int) -> int:
        """The first word of a board."""
        return L.HANDOFF_WORDS + index * L.BOARD_WORDS

    def beat(self, now_ns: int) -> None:
        """Tell readers that the engine is alive."""
        write_word(self.words, L.HANDOFF_HEARTBEAT_NS, now_ns)

    def set_engine_state(self, state: int) -> None:
        write_word(self.words, L.HANDOFF_ENGINE_STATE, state)

    def close(self) -> None:
        """Mark the engine stopped and remove the segment's name, if it is still ours."""
        self.set_engine_state(L.ENGINE_IS_STOPPED)
        self._segment.remove()


class HandoffReader:
    """A read-only view of a segment. One per thread: `book` is the buffer of the last read."""

    def __init__(self, words: Words) -> None:
        view = words.view()
        view.flags.writeable = False
        if len(view) < L.HANDOFF_WORDS or int(view[L.HANDOFF_MAGIC_AT]) != L.HANDOFF_MAGIC:
            raise HandoffError("the segment is not a Pollux handoff")
        version = read_word(view, L.HANDOFF_VERSION_AT)
        if version != L.HANDOFF_VERSION:
            raise HandoffError(
                f"the segment has layout version {version}, this program reads {L.HANDOFF_VERSION}"
            )
        boards, board_words = int(view[L.HANDOFF_BOARDS]), int(view[L.HANDOFF_BOARD_WORDS])
        is_whole = boards > 0 and len(view) >= L.HANDOFF_WORDS + boards * L.BOARD_WORDS
        if not is_whole or board_words != L.BOARD_WORDS:
            raise HandoffError("the segment is not as long as its header says")
        self._words = view
        self.book: Words = np.zeros(L.SLOT_WORDS, np.int64)
        self.boards = tuple(self._board(i) for i in range(int(view[L.HANDOFF_BOARDS])))

    @classmethod
    def attach(cls, name: str) -> HandoffReader:
        """Map the segment of a running daemon; HandoffError says why it cannot be."""
        absent = f"no daemon named {name!r} is running"
        return cls(map_words(segment_path(name), "a Pollux handoff", absent))

    def _board(self, index: int) -> BoardInfo:
        words, at = self._words, HandoffWriter.board_at(index)
        venues = tuple(
            get_text(
                words,
                at + L.BOARD_VENUE_NAMES_AT + venue * L.VENUE_NAME_WORDS,
                L.VENUE_NAME_BYTES_MAX,
            )
            for venue in range(int(words[at + L.BOARD_VENUES]))
        )
        return BoardInfo(
            symbol=get_text(words, at + L.BOARD_SYMBOL_AT, L.SYMBOL_BYTES_MAX),
            venues=venues,
            depth=int(words[at + L.BOARD_DEPTH]),
            tick_mantissa=int(words[at + L.BOARD_TICK_MANTISSA]),
            tick_decimals=int(words[at + L.BOARD_TICK_DECIMALS]),
            lot_decimals=int(words[at + L.BOARD_LOT_DECIMALS]),
        )

    @property
    def writer_pid(self) -> int:
        return int(self._words[L.HANDOFF_WRITER_PID])

    @property
    def heartbeat_ns(self) -> int:
        """When the engine last said it was alive (wall clock)."""
        return read_word(self._words, L.HANDOFF_HEARTBEAT_NS)

    @property
    def engine_state(self) -> int:
        """ENGINE_IS_STARTING, ENGINE_IS_RUNNING or ENGINE_IS_STOPPED."""
        return read_word(self._words, L.HANDOFF_ENGINE_STATE)

    @property
    def published(self) -> int:
        """Books published so far, all instruments together."""
        return read_word(self._words, L.HANDOFF_PUBLISHED)

    def sequence(self, index: int) -> int:
        """The sequence of an instrument's latest book; 0 before the first."""
        return read_word(self._words, HandoffWriter.board_at(index) + L.BOARD_SEQUENCE)

    def wait(self, seen: int, poll_us: int, polls_max: int) -> int:
        """Block without the GIL until `published` differs from `seen` or the polls run out."""
        return wait_for_publish(self._words, seen, poll_us, polls_max)

    def read(self, index: int) -> int:
        """Copy an instrument's latest book into `book`; its sequence, 0 if none, READ_BUSY."""
        return read_latest(self._words, HandoffWriter.board_at(index), self.book)

    def read_exact(self, index: int, sequence: int) -> int:
        """Copy one numbered book into `book`; READ_NOTHING_YET or READ_OVERWRITTEN otherwise."""
        return read_exact(self._words, HandoffWriter.board_at(index), sequence, self.book)


__all__ = [
    "NAME_PATTERN",
    "READ_BUSY",
    "READ_NOTHING_YET",
    "READ_OVERWRITTEN",
    "READ_TRIES_MAX",
    "SEGMENT_MODE",
    "BoardInfo",
    "HandoffError",
    "HandoffReader",
    "HandoffWriter",
    "begin_slot",
    "end_slot",
    "read_exact",
    "read_latest",
    "segment_path",
    "slot_at",
    "wait_for_publish",
    "write_word",
]
