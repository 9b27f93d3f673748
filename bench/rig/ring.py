"""A ring of slots in shared memory that messages of any form pass through, by the same two kernels.

A slot is a seqlock, as in engine.sharing.handoff: odd version, data, even version; a reader that
finds the version changed has a torn copy. What it costs to be in another process is not here:
writer and reader share a CPU's cache.
Runs on: the harness's main thread.
"""

from __future__ import annotations

import mmap

import numpy as np

from bench.rig.kernels import bench_kernel
from engine.compiling.atomics import (
    Words,
    fence_acquire,
    fence_release,
    load_acquire,
    store_release,
    view_bytes,
    view_words,
)
from engine.layout.layout import CACHE_LINE_WORDS

SLOTS = 64
"""As many as the handoff keeps of an instrument; also the messages that are timed together."""
MESSAGE_BYTES_MAX = (65 << 10) + 64
"""The largest recorded diff, 1,076 levels, is half of this as text. No power of two: that would
put the beginnings of all slots into one set of the cache."""
(SLOT_VERSION, SLOT_BYTES) = range(2)
SLOT_PAYLOAD_AT = CACHE_LINE_WORDS
ROW_WORDS = MESSAGE_BYTES_MAX // 8
SLOT_WORDS = SLOT_PAYLOAD_AT + ROW_WORDS
TORN = -1


@bench_kernel("void(int64, int64, int64, int64)")
def put_message(slot_address: int, sequence: int, address: int, size: int) -> None:
    """Copy a message into a slot: odd version, data, even version (as engine.sharing.handoff)."""
    slot = view_words(slot_address, SLOT_WORDS)
    payload = view_bytes(slot_address + 8 * SLOT_PAYLOAD_AT, size)
    message = view_bytes(address, size)
    store_release(slot, SLOT_VERSION, 2 * sequence - 1)
    fence_release()
    slot[SLOT_BYTES] = size
    for index in range(size):
        payload[index] = message[index]
    store_release(slot, SLOT_VERSION, 2 * sequence)


@bench_kernel("int64(int64, int64, int64)")
def take_message(slot_address: int, sequence: int, address: int) -> int:
    """Copy a slot's message out; its bytes, or TORN."""
    slot = view_words(slot_address, SLOT_WORDS)
    if load_acquire(slot, SLOT_VERSION) != 2 * sequence:
        return TORN
    size = slot[SLOT_BYTES]
    payload = view_bytes(slot_address + 8 * SLOT_PAYLOAD_AT, size)
    message = view_bytes(address, size)
    for index in range(size):
        message[index] = payload[index]
    fence_acquire()
    return size if load_acquire(slot, SLOT_VERSION) == 2 * sequence else TORN


class Ring:
    """Slots in memory that a process started from this one would share, and a consumer's copies."""

    def __init__(self) -> None:
        self._map = mmap.mmap(-1, 8 * SLOTS * SLOT_WORDS)
        self._slots: Words = np.frombuffer(self._map, np.int64)
        self._slots[:] = 0  # every page is there before the first message
        first = int(self._slots.ctypes.data)
        self._addresses = [first + slot * 8 * SLOT_WORDS for slot in range(SLOTS)]
        self.taken = Rows()
        self._sequence = 0

    def pass_on(self, address: int, size: int) -> tuple[int, int]:
        """A message in, and out into a row of `taken`: (row, bytes)."""
        assert size <= MESSAGE_BYTES_MAX, f"a message of {size} bytes, above {MESSAGE_BYTES_MAX}"
        self._sequence = sequence = self._sequence + 1
        row = sequence % SLOTS
        slot_address = self._addresses[row]
        put_message(slot_address, sequence, address, size)
        return row, take_message(slot_address, sequence, self.taken.addresses[row])


class Rows:
    """A row of words for each message that is handled together, as an owner keeps them."""

    def __init__(self) -> None:
        self.words = np.zeros((SLOTS, ROW_WORDS), np.int64)
        first = int(self.words.ctypes.data)
        self.addresses = [first + row * MESSAGE_BYTES_MAX for row in range(SLOTS)]
        self.views = [row.view(np.uint8).data for row in self.words]
        self._next = 0

    def turn(self) -> int:
        """The next row, round and round."""
        row = self._next
        self._next = (row + 1) % SLOTS
        return row
