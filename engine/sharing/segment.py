"""A named segment of shared memory: how it comes into being, how it is mapped, how it goes.

It lies in the daemon's own directory (engine.sharing.directory) and gets its name when it is
whole; its version word is written last. A new segment is a new file, never the old one resized:
whoever maps the segment of a dead writer keeps its memory.
Runs on: the thread that starts a writer or a reader.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import re
from pathlib import Path

import numpy as np

from engine.compiling.atomics import Words, load_acquire, store_release
from engine.compiling.jit import kernel
from engine.sharing.directory import (
    HandoffError,
    is_left_behind,
    new_file,
    opened,
    own_place,
    reader_places,
)

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

READONLY_WORDS = "Array(int64, 1, 'C', readonly=True)"
"""A read-only mapping gives a read-only array, which is another type to the compiler."""


@kernel(f"int64({READONLY_WORDS}, int64)")
def read_word(segment: Words, index: int) -> int:
    """One header word, as it is now."""
    assert 0 <= index < len(segment), "a word outside the segment"
    return load_acquire(segment, index)


@kernel("void(int64[::1], int64, int64)")
def write_word(segment: Words, index: int, value: int) -> None:
    """Set one header word (heartbeat, state): the writer only."""
    assert 0 <= index < len(segment), "a word outside the segment"
    store_release(segment, index, value)


def segment_path(name: str, kind: str = "") -> Path:
    """Where a daemon that this process starts has its segment.

    `kind`: which one, beside the handoff; behind a sign that no name has, so that no two meet.
    """
    return own_place() / _file_name(name, kind)


def find_segment(name: str, kind: str, absent: str) -> Path:
    """Where a reader finds a daemon's segment; HandoffError: `absent`, and where it looked.

    In the first place that has it; one that a killed daemon has left comes after all others.
    """
    looked, found = [], []
    for place in reader_places():
        path = place / _file_name(name, kind)
        try:
            with opened(path):
                found.append(path)
        except FileNotFoundError:
            looked.append(f"no {path}")
        except HandoffError as error:
            looked.append(str(error))
    if found:
        living = (
            path for path in found if len(found) == 1 or not is_left_behind(path.parent, name)
        )
        return next(living, found[0])
    raise HandoffError(f"{absent} ({'; '.join(looked)})")


def _file_name(name: str, kind: str) -> str:
    if not NAME_PATTERN.fullmatch(name):
        raise HandoffError(
            f"handoff name {name!r}: letters, digits, dot, dash and underscore only, at most 64"
        )
    return f"{name}{'+' + kind if kind else ''}"


def put_text(words: Words, at: int, text: str, bytes_max: int) -> int:
    """Write a text, padded with zeros, to words[at:]; how many bytes it has."""
    assert bytes_max % 8 == 0 and at + bytes_max // 8 <= len(words), "no room for the text"
    raw = text.encode()
    if len(raw) > bytes_max:
        raise HandoffError(f"{text!r} is longer than {bytes_max} bytes")
    words[at : at + bytes_max // 8] = np.frombuffer(raw.ljust(bytes_max, b"\0"), np.int64)
    return len(raw)


def get_text(words: Words, at: int, bytes_max: int) -> str:
    """The text that `put_text` wrote."""
    assert bytes_max % 8 == 0 and at + bytes_max // 8 <= len(words), "a text outside the words"
    return words[at : at + bytes_max // 8].tobytes().rstrip(b"\0").decode()


class OwnedSegment:
    """The writer's side: `words` is the memory. Without a path it is private to this process."""

    def __init__(self, path: Path | None, image: Words, version_at: int, version: int) -> None:
        assert image[version_at] == 0 != version, "the version is written last"
        self.path = path
        self._inode = 0
        if path is None:
            self._fill(mmap.mmap(-1, image.nbytes), image, version_at, version)
            return
        with new_file(path, image.nbytes) as descriptor:
            self._fill(mmap.mmap(descriptor, image.nbytes), image, version_at, version)
            self._inode = os.fstat(descriptor).st_ino

    def _fill(self, memory: mmap.mmap, image: Words, version_at: int, version: int) -> None:
        self.words: Words = np.frombuffer(memory, np.int64)
        self.words[:] = image
        # Written last: a reader that sees the version sees everything above.
        write_word(self.words, version_at, version)

    def remove(self) -> None:
        """Remove the segment's name, if it is still ours."""
        if self.path is not None:
            with contextlib.suppress(OSError):
                if os.stat(self.path, follow_symlinks=False).st_ino == self._inode:
                    os.unlink(self.path)


def map_words(path: Path, what: str) -> Words:
    """The words of a segment, read-only; HandoffError: why it is not a `what`."""
    try:
        with opened(path) as descriptor:
            memory = mmap.mmap(descriptor, 0, prot=mmap.PROT_READ)
    except (OSError, ValueError) as error:
        raise HandoffError(f"cannot map {path}: {error}") from None
    if len(memory) % 8:
        raise HandoffError(f"{path} is not {what}")
    words: Words = np.frombuffer(memory, np.int64)
    return words
