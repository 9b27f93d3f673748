"""Memory that becomes resident only where it is written, a page at a time.

A book has room for far more levels than most markets have, and a snapshot's room is as large as the
largest book; what nobody writes costs an address and nothing else. Huge pages would make two
megabytes resident for one level, and gain nothing that can be measured: a frame's lines lie on some
fifty pages, which the translation caches hold.
Runs on: the thread that owns the words.
"""

from __future__ import annotations

import contextlib
import mmap

import numpy as np

from engine.compiling.atomics import Words

MAP_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)
"""Of Linux; Python names it from 3.13 on. Room that is never used counts for nothing where the
kernel judges by what it has whether a mapping may be had."""

PAGE_WORDS = mmap.PAGESIZE // 8


class SparseMemory:
    """`count` zero words; the mapping goes with the last array that looks into it."""

    def __init__(self, count: int) -> None:
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE
        self._memory = mmap.mmap(-1, 8 * count, flags=flags)
        # Refused by a kernel without transparent huge pages; absent on other systems than Linux.
        with contextlib.suppress(OSError, AttributeError):
            self._memory.madvise(mmap.MADV_NOHUGEPAGE)
        self.words: Words = np.frombuffer(self._memory, np.int64, count)

    def give_back(self, first: int, end: int) -> None:
        """Let the system have the pages that lie wholly within words[first:end]: they are zero
        when they are next looked at. Where memory is locked they stay as they are."""
        assert 0 <= first <= end <= len(self.words), "words outside the memory"
        first_page, end_page = -(-first // PAGE_WORDS), end // PAGE_WORDS
        if first_page < end_page:
            at, size = first_page * mmap.PAGESIZE, (end_page - first_page) * mmap.PAGESIZE
            with contextlib.suppress(OSError, AttributeError):
                self._memory.madvise(mmap.MADV_DONTNEED, at, size)


def sparse_words(count: int) -> Words:
    """`count` zero words that nobody will give back in part."""
    return SparseMemory(count).words
