"""Memory for the hot path: resident from the start, on huge pages where the host gives them.

A page that is touched for the first time costs a fault in the middle of a frame, and a ladder's
megabytes on 4 KiB pages keep missing the translation caches.
Runs on: the thread that builds the engine.
"""

from __future__ import annotations

import contextlib
import mmap

import numpy as np

from engine.compiling.atomics import Words

HUGE_PAGE_BYTES = 2 << 20


def resident_words(count: int) -> Words:
    """`count` zeros, aligned to a huge page and touched once."""
    size_bytes = 8 * count
    room_bytes = (size_bytes // HUGE_PAGE_BYTES + 2) * HUGE_PAGE_BYTES
    memory = mmap.mmap(-1, room_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError, AttributeError):
        # Refused where transparent huge pages are off; absent on other systems than Linux.
        memory.madvise(mmap.MADV_HUGEPAGE)
    raw = np.frombuffer(memory, np.uint8)
    start = -int(raw.ctypes.data) % HUGE_PAGE_BYTES
    words: Words = raw[start : start + size_bytes].view(np.int64)
    words.fill(0)
    return words
