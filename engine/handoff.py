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

import contextlib
import mmap
import os
import re
import tempfile
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

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

READ_TRIES_MAX = 1000
"""Copies of one slot that a reader attempts before it reports the slot as busy."""

SEGMENT_MODE = 0o640
"""The owner writes, the group reads: other users have no business with a desk's book."""

READ_NOTHING_YET = 0
READ_BUSY = -1
READ_OVERWRITTEN = -2

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class HandoffError(Exception):
    """The segment is absent, of another layout, not finished, or its name is unusable."""


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


# A read-only mapping gives a read-only array, which is another type to the compiler.
_READONLY = "Array(int64, 1, 'C', readonly=True)"


@kernel(f"int64({_READONLY}, int64, int64[::1])")
def read_latest(handoff: Words, board: int, out: Words) -> int:
    """Copy a board's latest book into `out`; its sequence, or READ_NOTHING_YET or READ_BUSY."""
    for _ in range(READ_TRIES_MAX):
        sequence = load_acquire(handoff, board + L.BOARD_SEQUENCE)
        if sequence == 0:
            return READ_NOTHING_YET
        if _copy_slot(handoff, board, sequence, out):
            return sequence
    return READ_BUSY


@kernel(f"int64({_READONLY}, int64, int64, int64[::1])")
def read_exact(handoff: Words, board: int, sequence: int, out: Words) -> int:
    """Copy one numbered book; READ_NOTHING_YET if still to come, READ_OVERWRITTEN if gone."""
    if sequence > load_acquire(handoff, board + L.BOARD_SEQUENCE) or sequence <= 0:
        return READ_NOTHING_YET
    if _copy_slot(handoff, board, sequence, out):
        return sequence
    return READ_OVERWRITTEN


@kernel(f"int64({_READONLY}, int64, int64, int64)", releases_gil=True)
def wait_for_publish(handoff: Words, seen: int, poll_us: int, polls_max: int) -> int:
    """Sleep in steps, without the GIL, until the published count differs from `seen`; the count."""
    published = load_acquire(handoff, L.HANDOFF_PUBLISHED)
    for _ in range(polls_max):
        if published != seen:
            break
        _sleep_us(poll_us)
        published = load_acquire(handoff, L.HANDOFF_PUBLISHED)
    return published


@kernel(f"int64({_READONLY}, int64)")
def read_word(handoff: Words, index: int) -> int:
    """One header word, as it is now."""
    return load_acquire(handoff, index)


@kernel("void(int64[::1], int64, int64)")
def write_word(handoff: Words, index: int, value: int) -> None:
    """Set one header word (heartbeat, engine state): the writer only."""
    store_release(handoff, index, value)


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


def segment_path(name: str) -> Path:
    """Where the segment of this name lives: shared memory, or the temporary folder without it."""
    if not NAME_PATTERN.fullmatch(name):
        raise HandoffError(
            f"handoff name {name!r}: letters, digits, dot, dash and underscore only, at most 64"
        )
    shared_memory = Path("/dev/shm")
    folder = shared_memory if shared_memory.is_dir() else Path(tempfile.gettempdir())
    return folder / f"pollux-{name}"


def _put_text(words: Words, at: int, text: str, bytes_max: int) -> int:
    raw = text.encode()
    if len(raw) > bytes_max:
        raise HandoffError(f"{text!r} is longer than {bytes_max} bytes")
    words[at : at + bytes_max // 8] = np.frombuffer(raw.ljust(bytes_max, b"\0"), np.int64)
    return len(raw)


def _get_text(words: Words, at: int, bytes_max: int) -> str:
    return words[at : at + bytes_max // 8].tobytes().rstrip(b"\0").decode()


class HandoffWriter:
    """Creates and owns the segment; `words` is its memory. `name=""` keeps it private (replay)."""

    def __init__(self, name: str, boards: tuple[BoardInfo, ...], start_ns: int) -> None:
        self.path = segment_path(name) if name else None
        self.boards = boards
        image = np.zeros(L.HANDOFF_WORDS + len(boards) * L.BOARD_WORDS, np.int64)
        self._describe(image, start_ns)
        self._inode = 0
        if self.path is None:
            self._memory = mmap.mmap(-1, image.nbytes)
        else:
            # A new file, never the old one resized: a reader that still maps the segment of a
            # dead writer keeps its own memory.
            fresh = self.path.with_name(f"{self.path.name}.{os.getpid()}")
            # The folder is everybody's: never write through a file or link that was there.
            fresh.unlink(missing_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            descriptor = os.open(fresh, flags, SEGMENT_MODE)
            try:
                os.ftruncate(descriptor, image.nbytes)
                self._memory = mmap.mmap(descriptor, image.nbytes)
                self._inode = os.fstat(descriptor).st_ino
            finally:
                os.close(descriptor)
        self.words: Words = np.frombuffer(self._memory, np.int64)
        self.words[:] = image
        # Written last: a reader that sees the version sees everything above.
        write_word(self.words, L.HANDOFF_VERSION_AT, L.HANDOFF_VERSION)
        if self.path is not None:
            os.rename(fresh, self.path)

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
            words[at + L.BOARD_SYMBOL_BYTES] = _put_text(
                words, at + L.BOARD_SYMBOL_AT, info.symbol, L.SYMBOL_BYTES_MAX
            )
            for venue, venue_name in enumerate(info.venues):
                name_at = at + L.BOARD_VENUE_NAMES_AT + venue * L.VENUE_NAME_WORDS
                _put_text(words, name_at, venue_name, L.VENUE_NAME_BYTES_MAX)

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
        if self.path is not None:
            with contextlib.suppress(OSError):
                if os.stat(self.path).st_ino == self._inode:
                    os.unlink(self.path)


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
        path = segment_path(name)
        try:
            with open(path, "rb") as file:
                memory = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        except FileNotFoundError:
            raise HandoffError(f"no daemon named {name!r} is running (no {path})") from None
        except (OSError, ValueError) as error:
            raise HandoffError(f"cannot map {path}: {error}") from None
        if len(memory) % 8:
            raise HandoffError(f"{path} is not a Pollux handoff")
        return cls(np.frombuffer(memory, np.int64))

    def _board(self, index: int) -> BoardInfo:
        words, at = self._words, HandoffWriter.board_at(index)
        venues = tuple(
            _get_text(
                words,
                at + L.BOARD_VENUE_NAMES_AT + venue * L.VENUE_NAME_WORDS,
                L.VENUE_NAME_BYTES_MAX,
            )
            for venue in range(int(words[at + L.BOARD_VENUES]))
        )
        return BoardInfo(
            symbol=_get_text(words, at + L.BOARD_SYMBOL_AT, L.SYMBOL_BYTES_MAX),
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
