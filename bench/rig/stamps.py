"""A shared array of times, one column an update id: intended, sent, published, received.

    header: latest published id, when it was published | intended | actual | published | received

The sender writes the first two rows. The others are written by the collector, out of the handoff's
ring; of a reference without a handoff it writes the third itself, and the fourth stays empty or is
when it began to hand over what the third is the end of.
Times are wall-clock ns.
Each word has one writer; readers look after the run, or only at the header, whose id is written
after its time.
Runs on: sender, reference and harness processes.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from engine.compiling.atomics import Words

HEADER_WORDS = 8
(LATEST_ID, LATEST_NS) = range(2)
ROWS = 4


class Stamps:
    """A mapping of the file; `intended`, `actual`, `published` and `received` are its rows."""

    def __init__(self, path: Path, columns: int) -> None:
        self.path = path
        self.columns = columns
        words_count = HEADER_WORDS + ROWS * columns
        with path.open("r+b") as file:
            file.truncate(words_count * 8)
            self._memory = mmap.mmap(file.fileno(), words_count * 8)
        words: Words = np.frombuffer(self._memory, np.int64)
        self.header = words[:HEADER_WORDS]
        rows = words[HEADER_WORDS:].reshape(ROWS, columns)
        self.intended, self.actual, self.published, self.received = rows

    def note(self, index: int, update_id: int, now_ns: int, begun_ns: int = 0) -> None:
        """An update is visible: the reference's own publication, begun at `begun_ns`."""
        if index < self.columns:
            self.published[index] = now_ns
            self.received[index] = begun_ns
        self.header[LATEST_NS] = now_ns
        self.header[LATEST_ID] = update_id


@contextlib.contextmanager
def new_stamps(columns: int) -> Iterator[Stamps]:
    """Fresh stamps in shared memory, gone after the block and, on Linux, with this process."""
    if hasattr(os, "memfd_create"):
        # Memory without a name: workers reach it through this process's descriptor.
        descriptor = os.memfd_create("pollux-bench-stamps")
        try:
            yield Stamps(Path(f"/proc/{os.getpid()}/fd/{descriptor}"), columns)
        finally:
            os.close(descriptor)
        return
    with tempfile.NamedTemporaryFile(prefix="pollux-bench-") as file:
        yield Stamps(Path(file.name), columns)
