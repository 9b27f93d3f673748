"""The journal's writer: makes segments ready, hands them to the engine thread, keeps others out.

The engine thread appends through the control words (engine.maker.journal_records) and makes no
system call. The housekeeping thread calls `tend`, which makes the next segment ready while the
current one fills. A segment's blocks are allocated when it is made, so that a full disk is an error
here and not a SIGBUS in the middle of an order, and each of its pages is touched once.

What was appended survives the process, kill -9 included, because the pages are the kernel's. A
power failure is another matter: a segment is on the disk for certain once it is full or the
journal is closed. A page that the kernel has written back costs a fault, about a microsecond, at
its next record: where that matters the folder lies on tmpfs.

One writer a folder: the folder itself is locked (flock(2)), which the kernel takes back however
its owner ends, with nothing left to clean up.
Runs on: the engine thread (append), the housekeeping thread (the rest).
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import stat
import struct
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from engine.compiling.atomics import Words
from engine.maker import journal_records as JR
from engine.maker.journal_codes import EVENT_JOURNAL_CLOSED
from net.journal.files import (
    Header,
    JournalError,
    Record,
    header_page,
    read_header,
    segment_numbers,
    segment_path,
)

RECORDS_PER_SEGMENT = 1 << 18
"""32 MiB: at 1,000 events a second four minutes, and made ready in some 10 ms."""
RECORDS_PER_SEGMENT_MAX = 1 << 24
"""2 GiB: more is a mistake."""

UNFINISHED_SUFFIX = ".unfinished"
"""A segment gets its name when it is whole; one that was not finished before a death is removed."""

FILE_MODE, FOLDER_MODE = 0o640, 0o750
"""The owner writes, the group reads: other users have no business with a desk's orders."""

_PAGE_WORDS = mmap.PAGESIZE // 8
_DRAFT = struct.Struct(f"={JR.DRAFT_WORDS}q")


class _Segment:
    """One file, whole and mapped."""

    def __init__(self, folder: Path, header: Header) -> None:
        self.header = header
        self.path = segment_path(folder, header.segment)
        page = header_page(header)
        unfinished = self.path.with_name(self.path.name + UNFINISHED_SUFFIX)
        try:
            self._memory = _map_new(unfinished, header.size_bytes)
            self._words: Words = np.frombuffer(self._memory, np.int64)
            self._words[::_PAGE_WORDS] = 0
            self._words[: JR.HEADER_WORDS] = page
            # A link, not a rename: it refuses where a file has the name already.
            os.link(unfinished, self.path)
        except OSError as error:
            raise JournalError(
                f"{self.path}: {error.strerror} (a segment takes {header.size_bytes} bytes)"
            ) from None
        finally:
            unfinished.unlink(missing_ok=True)

    @property
    def address(self) -> int:
        """Of the first record."""
        return int(self._words.ctypes.data) + JR.HEADER_BYTES

    def flush(self) -> None:
        """Have it all on the disk."""
        try:
            self._memory.flush()
        except OSError as error:
            raise JournalError(f"{self.path}: {error.strerror}") from None


def _map_new(path: Path, size_bytes: int) -> mmap.mmap:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    descriptor = os.open(path, flags, FILE_MODE)
    try:
        os.fchmod(descriptor, FILE_MODE)  # whatever the umask is
        os.posix_fallocate(descriptor, 0, size_bytes)
        return mmap.mmap(descriptor, size_bytes)
    finally:
        os.close(descriptor)


def _lock_folder(folder: Path) -> int:
    """Hold the folder until the descriptor is closed; JournalError where another writer has it."""
    try:
        if not folder.is_dir():
            folder.mkdir(parents=True)
            folder.chmod(FOLDER_MODE)  # whatever the umask is
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileExistsError, NotADirectoryError):
        raise JournalError(f"{folder}: is no folder, or lies in none") from None
    except OSError as error:
        raise JournalError(f"{folder}: {error.strerror}") from None
    mode = os.fstat(descriptor).st_mode
    if mode & stat.S_IWOTH:
        os.close(descriptor)
        raise JournalError(
            f"{folder}: everybody may write there (mode {stat.S_IMODE(mode):04o}): chmod o-w"
        )
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        is_taken = isinstance(error, BlockingIOError)
        what = "another journal is being written here" if is_taken else error.strerror
        raise JournalError(f"{folder}: {what}") from None
    return descriptor


class JournalWriter:
    """Begins a new run in a folder; `control` is what kernels append through.

    JournalError: the folder is another writer's, cannot be written, has no room for two segments,
    or its last segment is no journal of this version.
    """

    def __init__(
        self,
        folder: Path,
        instruments: Sequence[str],
        venues: Sequence[str],
        start_ns: int,
        records_per_segment: int = RECORDS_PER_SEGMENT,
        *,
        markets: Sequence[str] = (),
    ) -> None:
        if not JR.RECORDS_MIN <= records_per_segment <= RECORDS_PER_SEGMENT_MAX:
            raise JournalError(
                f"a segment holds {JR.RECORDS_MIN} to {RECORDS_PER_SEGMENT_MAX} records, "
                f"not {records_per_segment}"
            )
        self.folder = folder
        self.control: Words = np.zeros(JR.CONTROL_WORDS, np.int64)
        self._draft_bytes = bytearray(JR.RECORD_BYTES)
        self._draft: Words = np.frombuffer(self._draft_bytes, np.int64)
        self._lock = _lock_folder(folder)
        try:
            number, epoch = self._survey()
            header = Header(
                epoch=epoch,
                start_ns=start_ns,
                segment=number,
                first_sequence=1,
                records_max=records_per_segment,
                writer_pid=os.getpid(),
                instruments=tuple(instruments),
                venues=tuple(venues),
                markets=tuple(markets),
            )
            self._current = _Segment(folder, header)
            self._next: _Segment | None = None
            self.control[JR.CONTROL_ADDRESS] = self._current.address
            self.control[JR.CONTROL_RECORDS_MAX] = records_per_segment
            self.control[JR.CONTROL_EPOCH] = epoch
            try:
                self.tend()
            except BaseException:
                self._current.path.unlink()
                raise
        except BaseException:
            os.close(self._lock)
            raise

    def _survey(self) -> tuple[int, int]:
        """The first segment's number and the epoch, after those that are there."""
        for unfinished in self.folder.glob(f"*.pollux{UNFINISHED_SUFFIX}"):
            unfinished.unlink()
        numbers = segment_numbers(self.folder)
        if not numbers:
            return 1, 1
        last = read_header(segment_path(self.folder, numbers[-1]))
        return numbers[-1] + 1, last.epoch + 1

    @property
    def header(self) -> Header:
        """Of the present segment: the names are the whole run's."""
        return self._current.header

    @property
    def epoch(self) -> int:
        """The run's number in its folder, from 1."""
        return self._current.header.epoch

    @property
    def sequence(self) -> int:
        """Of the last record."""
        return JR.load_word(self.control, JR.CONTROL_SEQUENCE)

    @property
    def refused(self) -> int:
        """Records that found no room."""
        return JR.load_word(self.control, JR.CONTROL_REFUSED)

    def append(self, record: Record) -> int:
        """Append an event; its sequence, or JOURNAL_FULL. `record.sequence` is left out of it."""
        _DRAFT.pack_into(self._draft_bytes, 0, *record[: JR.DRAFT_WORDS])
        return JR.append_record(self.control, self._draft)

    def tend(self) -> bool:
        """Have the next segment ready; whether one was made. To be called a few times a second.

        JournalError where it cannot be made: the current segment still takes what has room in it.
        """
        if JR.load_word(self.control, JR.CONTROL_NEXT_ADDRESS):
            return False
        full = None
        if self._next is not None:
            # The engine thread took it: nobody writes into the one before any more.
            full, self._current, self._next = self._current, self._next, None
        header = self._current.header
        following = replace(
            header,
            segment=header.segment + 1,
            first_sequence=header.first_sequence + header.records_max,
        )
        self._next = _Segment(self.folder, following)
        JR.offer_segment(self.control, self._next.address)
        if full is not None:
            full.flush()
        return True

    def close(self, now_ns: int) -> None:
        """Note the end as the last record and have all on the disk; the engine thread has ended.

        JournalError where the note finds no room; all else is done then.
        """
        if self._lock < 0:
            return
        try:
            self._note_the_end(now_ns)
        finally:
            try:
                self._let_go()
            finally:
                os.close(self._lock)
                self._lock = -1

    def _let_go(self) -> None:
        # From here on there is no room: an append is refused.
        self.control[JR.CONTROL_RECORDS_MAX] = self.control[JR.CONTROL_RECORDS] = 0
        is_spare = JR.load_word(self.control, JR.CONTROL_NEXT_ADDRESS) != 0
        JR.offer_segment(self.control, 0)
        if self._next is not None and is_spare:
            with contextlib.suppress(OSError):
                self._next.path.unlink()
        elif self._next is not None:
            self._next.flush()
        self._current.flush()

    def _note_the_end(self, now_ns: int) -> None:
        note = Record(EVENT_JOURNAL_CLOSED, now_ns)
        if self.append(note) == JR.JOURNAL_FULL:
            self.tend()
            self.append(note)
