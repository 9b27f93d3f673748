"""A writer of self-checking books and readers that hunt for torn ones, in processes of their own.

Every word of a book is made from its sequence and its place, so any mixture of two books shows.
Runs on: forked children of the test.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from engine.compiling.atomics import Words, load_acquire
from engine.compiling.jit import JIT_OFF, kernel
from engine.layout import layout as L
from engine.sharing.handoff import HandoffReader, HandoffWriter, begin_slot, end_slot

BATCH = 2 if JIT_OFF else 2_000
"""Books between two looks at the clock."""

STEP = 1_000_003
PAYLOAD = np.arange(L.SLOT_SEQUENCE + 1, L.SLOT_WORDS, dtype=np.int64)

_READONLY = "Array(int64, 1, 'C', readonly=True)"


def in_child(target: Callable[..., None], *args: Any) -> Any:
    """Run a function in a forked process; (process, the connection its answer comes through)."""
    context = multiprocessing.get_context("fork")
    mine, theirs = context.Pipe(duplex=False)
    process = context.Process(target=target, args=(*args, theirs))
    process.start()
    theirs.close()
    return process, mine


@kernel("int64(int64[::1], int64, int64, int64)")
def write_books(handoff: Words, ring: int, first: int, count: int) -> int:
    """Publish `count` books whose words are all different from any other book's."""
    for sequence in range(first, first + count):
        slot = begin_slot(handoff, ring, sequence)
        for index in range(L.SLOT_SEQUENCE + 1, L.SLOT_WORDS):
            handoff[slot + index] = sequence * 1_000_003 + index
        end_slot(handoff, ring, slot, sequence)
    return first + count


@kernel(f"int64({_READONLY}, int64, int64[::1])")
def copy_unchecked(handoff: Words, ring: int, out: Words) -> int:
    """What a reader without the version check would do, of the slot that is written next."""
    sequence = load_acquire(handoff, ring + L.RING_SEQUENCE) + 1
    slot = ring + L.RING_SLOTS_AT + (sequence % L.RING_SLOTS) * L.SLOT_WORDS
    for index in range(L.SLOT_WORDS):
        out[index] = handoff[slot + index]
    return sequence


def is_whole(book: Words) -> bool:
    """Whether every word belongs to the book its sequence word names."""
    sequence = int(book[L.SLOT_SEQUENCE])
    return bool((book[L.SLOT_SEQUENCE + 1 :] == PAYLOAD + sequence * STEP).all())


def write(writer: HandoffWriter, seconds: float, answer: Connection) -> None:
    """Full speed until the time is up; sends how many."""
    ring = writer.ring_at(0)
    sequence = 1
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        sequence = write_books(writer.words, ring, sequence, BATCH)
    answer.send((sequence - 1, 0, 0))


def read(name: str, seconds: float, answer: Connection) -> None:
    """The latest and the oldest book in turn; sends (accepted, torn, refused)."""
    reader = HandoffReader.attach(name)
    accepted = torn = refused = 0
    last = 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for _ in range(20):
            sequence = reader.read(0)
            if sequence > 0:
                accepted += 1
                torn += not is_whole(reader.book) or reader.book[L.SLOT_SEQUENCE] != sequence
                torn += sequence < last
                last = sequence
            # The slot the writer is in right now, or is just about to open.
            oldest = reader.read_exact(0, reader.sequence(0) - L.RING_SLOTS + 1)
            if oldest > 0:
                accepted += 1
                torn += not is_whole(reader.book) or reader.book[L.SLOT_SEQUENCE] != oldest
            else:
                refused += 1
    answer.send((accepted, torn, refused))


def read_unchecked(name: str, seconds: float, answer: Connection) -> None:
    """The broken reader; sends (copied, torn, 0)."""
    reader = HandoffReader.attach(name)
    copied = torn = 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for _ in range(50):
            copy_unchecked(reader.words, HandoffWriter.ring_at(0), reader.book)
            copied += 1
            torn += not is_whole(reader.book)
    answer.send((copied, torn, 0))
