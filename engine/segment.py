"""A named segment of shared memory: how it comes into being, how it is mapped, how it goes.

It is written under another name and given its own when it is whole; its version word is written
last. A new segment is a new file, never the old one resized: whoever maps the segment of a dead
writer keeps its memory.
Runs on: the thread that starts a writer or a reader. Called by: engine.handoff, engine.meters,
engine.maker.board.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import re
import tempfile
from pathlib import Path

import numpy as np

from engine.atomics import Words, load_acquire, store_release
from engine.jit import kernel

SEGMENT_MODE = 0o640
"""The owner writes, the group reads: other users have no business with a desk's book."""

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

READONLY_WORDS = "Array(int64, 1, 'C', readonly=True)"
"""A read-only mapping gives a read-only array, which is another type to the compiler."""


class HandoffError(Exception):
    """The segment is absent, of another layout, not finished, or its name is unusable."""


@kernel(f"int64({READONLY_WORDS}, int64)")
def read_word(segment: Words, index: int) -> int:
    """One header word, as it is now."""
    return load_acquire(segment, index)


@kernel("void(int64[::1], int64, int64)")
def write_word(segment: Words, index: int, value: int) -> None:
    """Set one header word (heartbeat, state): the writer only."""
    store_release(segment, index, value)


def segment_path(name: str, kind: str = "") -> Path:
    """Where the segment of this daemon lives: shared memory, or the temporary folder without it.

    `kind`: which one, beside the handoff; behind a sign that no name has, so that no two meet.
    """
    if not NAME_PATTERN.fullmatch(name):
        raise HandoffError(
            f"handoff name {name!r}: letters, digits, dot, dash and underscore only, at most 64"
        )
    shared_memory = Path("/dev/shm")
    folder = shared_memory if shared_memory.is_dir() else Path(tempfile.gettempdir())
    return folder / f"pollux-{name}{'+' + kind if kind else ''}"


def put_text(words: Words, at: int, text: str, bytes_max: int) -> int:
    """Write a text, padded with zeros, to words[at:]; how many bytes it has."""
    raw = text.encode()
    if len(raw) > bytes_max:
        raise HandoffError(f"{text!r} is longer than {bytes_max} bytes")
    words[at : at + bytes_max // 8] = np.frombuffer(raw.ljust(bytes_max, b"\0"), np.int64)
    return len(raw)


def get_text(words: Words, at: int, bytes_max: int) -> str:
    """The text that `put_text` wrote."""
    return words[at : at + bytes_max // 8].tobytes().rstrip(b"\0").decode()


class OwnedSegment:
    """The writer's side: `words` is the memory. Without a path it is private to this process."""

    def __init__(self, path: Path | None, image: Words, version_at: int, version: int) -> None:
        self.path = path
        self._inode = 0
        if path is None:
            self._memory = mmap.mmap(-1, image.nbytes)
        else:
            fresh = path.with_name(f"{path.name}.{os.getpid()}")
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
        write_word(self.words, version_at, version)
        if path is not None:
            os.rename(fresh, path)

    def remove(self) -> None:
        """Remove the segment's name, if it is still ours."""
        if self.path is not None:
            with contextlib.suppress(OSError):
                if os.stat(self.path).st_ino == self._inode:
                    os.unlink(self.path)


def map_words(path: Path, what: str, absent: str) -> Words:
    """The words of a segment, read-only; HandoffError: `absent`, or why it is not a `what`."""
    try:
        with open(path, "rb") as file:
            memory = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    except FileNotFoundError:
        raise HandoffError(f"{absent} (no {path})") from None
    except (OSError, ValueError) as error:
        raise HandoffError(f"cannot map {path}: {error}") from None
    if len(memory) % 8:
        raise HandoffError(f"{path} is not {what}")
    words: Words = np.frombuffer(memory, np.int64)
    return words
