"""The lock-free handoff: a shared-memory segment the engine writes and any local process may read.

Each instrument has a *ring*: a ring of slots, each one a seqlock (Boehm, "Can seqlocks get along
with programming language memory models?", MSPC 2012). The writer makes the slot's version odd,
writes the data, makes the version even, then moves the ring's sequence. A reader copies the slot
the sequence points to between two looks at its version; a changed version means a torn copy, and
it tries again, a bounded number of times. A ring of 64 makes a torn latest slot a rarity: the
writer must come round once within one copy.

Readers never write: the segment is mapped read-only by them. A writer that died is known by its
heartbeat, never by a lock.
Runs on: the engine thread (writer), gateway threads and processes (readers).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np

from engine.compiling.atomics import (
    Words,
    fence_acquire,
    fence_release,
    load_acquire,
    store_release,
)
from engine.compiling.jit import inner, kernel
from engine.layout import layout as L
from engine.sharing.directory import HandoffError
from engine.sharing.segment import (
    NAME_PATTERN,
    READONLY_WORDS,
    OwnedSegment,
    find_segment,
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


@inner
def slot_at(ring: int, sequence: int) -> int:
    """The first word of the slot that holds, or will hold, a sequence."""
    return ring + L.RING_SLOTS_AT + (sequence % L.RING_SLOTS) * L.SLOT_WORDS


@inner
def begin_slot(handoff: Words, ring: int, sequence: int) -> int:
    """Open the slot for `sequence`: from here until `end_slot` readers see it as torn."""
    slot = slot_at(ring, sequence)
    store_release(handoff, slot + L.SLOT_VERSION, 2 * sequence - 1)
    fence_release()
    handoff[slot + L.SLOT_SEQUENCE] = sequence
    return slot


@inner
def end_slot(handoff: Words, ring: int, slot: int, sequence: int) -> None:
    """Close the slot and make it the latest."""
    store_release(handoff, slot + L.SLOT_VERSION, 2 * sequence)
    store_release(handoff, ring + L.RING_SEQUENCE, sequence)
    published = load_acquire(handoff, L.HANDOFF_PUBLISHED)
    store_release(handoff, L.HANDOFF_PUBLISHED, published + 1)


@inner
def copy_slot(handoff: Words, ring: int, sequence: int, out: Words) -> bool:
    """Copy the slot of a sequence into `out`; False where it is torn, or another's by now."""
    slot = slot_at(ring, sequence)
    before = load_acquire(handoff, slot + L.SLOT_VERSION)
    if before != 2 * sequence:
        return False
    for index in range(L.SLOT_WORDS):
        out[index] = handoff[slot + index]
    fence_acquire()
    is_whole = load_acquire(handoff, slot + L.SLOT_VERSION) == before
    assert not is_whole or out[L.SLOT_SEQUENCE] == sequence, "a whole slot of another book"
    return is_whole


@kernel(f"int64({READONLY_WORDS}, int64, int64[::1])")
def read_latest(handoff: Words, ring: int, out: Words) -> int:
    """Copy a ring's latest book into `out`; its sequence, or READ_NOTHING_YET or READ_BUSY."""
    for _ in range(READ_TRIES_MAX):
        sequence = load_acquire(handoff, ring + L.RING_SEQUENCE)
        if sequence == 0:
            return READ_NOTHING_YET
        if copy_slot(handoff, ring, sequence, out):
            return sequence
    return READ_BUSY


@kernel(f"int64({READONLY_WORDS}, int64, int64, int64[::1])")
def read_exact(handoff: Words, ring: int, sequence: int, out: Words) -> int:
    """Copy one numbered book; READ_NOTHING_YET if still to come, READ_OVERWRITTEN if gone."""
    if sequence > load_acquire(handoff, ring + L.RING_SEQUENCE) or sequence <= 0:
        return READ_NOTHING_YET
    if copy_slot(handoff, ring, sequence, out):
        return sequence
    return READ_OVERWRITTEN


@dataclass(frozen=True)
class InstrumentInfo:
    """What is fixed about an instrument: its symbol, venues, depth and checks; and scales.

    The scales are those of the start, or of one book: a price is `ticks * tick_mantissa *
    10**-tick_decimals`, an amount `lots * 10**-lot_decimals`.
    """

    symbol: str
    venues: tuple[str, ...]
    depth: int
    tick_mantissa: int
    tick_decimals: int
    lot_decimals: int = L.LOT_DECIMALS
    checked_by: tuple[str, ...] = ()
    """How each venue's book is known to be right, in words; none where nobody says it."""

    def counted_as(self, slot: Words) -> InstrumentInfo:
        """The same with the scales of a book, the copied slot."""
        names = ("tick_mantissa", "tick_decimals", "lot_decimals")
        words = slot[L.SLOT_TICK_MANTISSA : L.SLOT_LOT_DECIMALS + 1].tolist()
        scales = dict(zip(names, words, strict=True))
        is_same = all(getattr(self, name) == value for name, value in scales.items())
        return self if is_same else replace(self, **scales)

    @property
    def tick_size(self) -> Decimal:
        return Decimal(self.tick_mantissa).scaleb(-self.tick_decimals)


class HandoffWriter:
    """Creates and owns the segment; `words` is its memory. `name=""` keeps it private (replay).

    `start_ns`: steady time (tuning.clock), as the heartbeats after it.
    """

    def __init__(self, name: str, instruments: tuple[InstrumentInfo, ...], start_ns: int) -> None:
        assert instruments, "a handoff without a ring"
        self.path = segment_path(name) if name else None
        self.instruments = instruments
        image = np.zeros(L.HANDOFF_WORDS + len(instruments) * L.RING_WORDS, np.int64)
        self._describe(image, start_ns)
        self._segment = OwnedSegment(self.path, image, L.HANDOFF_VERSION_AT, L.HANDOFF_VERSION)
        self.words = self._segment.words

    def _describe(self, words: Words, start_ns: int) -> None:
        instruments = self.instruments
        words[L.HANDOFF_MAGIC_AT] = L.HANDOFF_MAGIC
        words[L.HANDOFF_WRITER_PID] = os.getpid()
        words[L.HANDOFF_START_NS] = start_ns
        words[L.HANDOFF_HEARTBEAT_NS] = start_ns
        words[L.HANDOFF_RINGS] = len(instruments)
        words[L.HANDOFF_RING_WORDS] = L.RING_WORDS
        words[L.HANDOFF_RING_SLOTS] = L.RING_SLOTS
        words[L.HANDOFF_ENGINE_STATE] = L.ENGINE_IS_STARTING
        for index, info in enumerate(instruments):
            assert 1 <= info.depth <= L.DEPTH_MAX and 1 <= len(info.venues) <= L.VENUES_MAX
            at = self.ring_at(index)
            words[at + L.RING_DEPTH] = info.depth
            words[at + L.RING_VENUES] = len(info.venues)
            words[at + L.RING_TICK_MANTISSA] = info.tick_mantissa
            words[at + L.RING_TICK_DECIMALS] = info.tick_decimals
            words[at + L.RING_LOT_DECIMALS] = info.lot_decimals
            words[at + L.RING_SYMBOL_BYTES] = put_text(
                words, at + L.RING_SYMBOL_AT, info.symbol, L.SYMBOL_BYTES_MAX
            )
            for venue, venue_name in enumerate(info.venues):
                name_at = at + L.RING_VENUE_NAMES_AT + venue * L.VENUE_NAME_WORDS
                put_text(words, name_at, venue_name, L.VENUE_NAME_BYTES_MAX)
            assert len(info.checked_by) in (0, len(info.venues)), "one for each venue, or none"
            for venue, text in enumerate(info.checked_by):
                text_at = at + L.RING_CHECKED_BY_AT + venue * L.CHECKED_BY_WORDS
                put_text(words, text_at, text, L.CHECKED_BY_BYTES_MAX)

    @staticmethod
    def ring_at(index: int) -> int:
        """The first word of a ring."""
        return L.HANDOFF_WORDS + index * L.RING_WORDS

    def beat(self, now_ns: int) -> None:
        """Tell readers that the engine is alive; `now_ns`: steady time."""
        assert now_ns > 0, "a heartbeat without a time"
        write_word(self.words, L.HANDOFF_HEARTBEAT_NS, now_ns)

    def set_engine_state(self, state: int) -> None:
        assert state in (L.ENGINE_IS_STARTING, L.ENGINE_IS_RUNNING, L.ENGINE_IS_STOPPED)
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
        instruments, ring_words = int(view[L.HANDOFF_RINGS]), int(view[L.HANDOFF_RING_WORDS])
        is_whole = instruments > 0 and len(view) >= L.HANDOFF_WORDS + instruments * L.RING_WORDS
        if not is_whole or ring_words != L.RING_WORDS:
            raise HandoffError("the segment is not as long as its header says")
        self.words = view
        """The segment, read-only; for kernels."""
        self.book: Words = np.zeros(L.SLOT_WORDS, np.int64)
        self.instruments = tuple(self._instrument(i) for i in range(int(view[L.HANDOFF_RINGS])))

    @classmethod
    def attach(cls, name: str) -> HandoffReader:
        """Map the segment of a running daemon; HandoffError says why it cannot be."""
        path = find_segment(name, "", f"no daemon named {name!r} is running")
        return cls(map_words(path, "a Pollux handoff"))

    def _instrument(self, index: int) -> InstrumentInfo:
        words, at = self.words, HandoffWriter.ring_at(index)
        count = int(words[at + L.RING_VENUES])

        def texts(first: int, words_each: int) -> tuple[str, ...]:
            places = range(at + first, at + first + count * words_each, words_each)
            return tuple(get_text(words, place, words_each * 8) for place in places)

        checked_by = texts(L.RING_CHECKED_BY_AT, L.CHECKED_BY_WORDS)
        return InstrumentInfo(
            symbol=get_text(words, at + L.RING_SYMBOL_AT, L.SYMBOL_BYTES_MAX),
            venues=texts(L.RING_VENUE_NAMES_AT, L.VENUE_NAME_WORDS),
            depth=int(words[at + L.RING_DEPTH]),
            tick_mantissa=int(words[at + L.RING_TICK_MANTISSA]),
            tick_decimals=int(words[at + L.RING_TICK_DECIMALS]),
            lot_decimals=int(words[at + L.RING_LOT_DECIMALS]),
            checked_by=checked_by if any(checked_by) else (),
        )

    @property
    def writer_pid(self) -> int:
        return int(self.words[L.HANDOFF_WRITER_PID])

    @property
    def heartbeat_ns(self) -> int:
        """When the engine last said it was alive, in steady time."""
        return read_word(self.words, L.HANDOFF_HEARTBEAT_NS)

    @property
    def engine_state(self) -> int:
        """ENGINE_IS_STARTING, ENGINE_IS_RUNNING or ENGINE_IS_STOPPED."""
        return read_word(self.words, L.HANDOFF_ENGINE_STATE)

    @property
    def published(self) -> int:
        """Books published so far, all instruments together."""
        return read_word(self.words, L.HANDOFF_PUBLISHED)

    def sequence(self, index: int) -> int:
        """The sequence of an instrument's latest book; 0 before the first."""
        return read_word(self.words, HandoffWriter.ring_at(index) + L.RING_SEQUENCE)

    def read(self, index: int) -> int:
        """Copy an instrument's latest book into `book`; its sequence, 0 if none, READ_BUSY."""
        return read_latest(self.words, HandoffWriter.ring_at(index), self.book)

    def read_exact(self, index: int, sequence: int) -> int:
        """Copy one numbered book into `book`; READ_NOTHING_YET or READ_OVERWRITTEN otherwise."""
        return read_exact(self.words, HandoffWriter.ring_at(index), sequence, self.book)


__all__ = [
    "NAME_PATTERN",
    "READ_BUSY",
    "READ_NOTHING_YET",
    "READ_OVERWRITTEN",
    "READ_TRIES_MAX",
    "HandoffError",
    "HandoffReader",
    "HandoffWriter",
    "InstrumentInfo",
    "begin_slot",
    "copy_slot",
    "end_slot",
    "read_exact",
    "read_latest",
    "segment_path",
    "slot_at",
    "write_word",
]
