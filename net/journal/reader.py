"""The journal's reader: every record in order, and exactly where and why there are no more.

A run ends with its writer's own note (CLOSED) or without it (OPEN, TORN: it runs, or was killed).
The journal ends with its last run, or before the first thing that is not as it was written: what
comes after that, later runs included, is not read.

Files are read, never mapped, so that a file cut short under the reader is an answer and not a
signal. Each record proves itself by checksum and number, so no order of reading matters, with one
care: a writer goes on while the reader looks. What looks wrong is therefore read again, after what
made it look so: the writer stores a record before the next one.
Runs on: any thread of any process, one thread a reader.
"""

from __future__ import annotations

import enum
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from engine.compiling.atomics import Words
from engine.maker import journal_records as JR
from engine.maker.journal_codes import EVENT_JOURNAL_CLOSED
from net.journal.files import (
    Header,
    JournalError,
    OtherVersionError,
    Record,
    open_segment,
    parse_header,
    segment_numbers,
    segment_path,
)

RECORDS_PER_READ = 4096
"""Half a megabyte at a time."""
TRIES = 5
RETRY_S = 0.002
"""A record is written in nanoseconds; its writer may lose its CPU for some milliseconds."""


class End(enum.Enum):
    """Why there are no more records."""

    CLOSED = "closed"
    OPEN = "open"
    TORN = "torn"
    DAMAGED = "damaged"
    GAP = "gap"
    TRUNCATED = "truncated"
    FOREIGN = "foreign"
    VERSION = "version"


END_TEXTS = {
    End.CLOSED: "its writer closed it",
    End.OPEN: "its writer runs, or was killed between two records",
    End.TORN: "a record that was not finished: its writer is at it, or was killed",
    End.DAMAGED: "not as it was written",
    End.GAP: "records are missing",
    End.TRUNCATED: "the file is shorter than it was made",
    End.FOREIGN: "not a segment of this journal",
    End.VERSION: "a segment of another version",
}


@dataclass(frozen=True)
class JournalEnd:
    """Where a run ends: file, the last whole record's sequence, why, and one line about it."""

    reason: End
    path: Path
    epoch: int
    sequence: int
    detail: str

    @property
    def is_damage(self) -> bool:
        """Whether the journal is not as a writer leaves it, alive, closed or killed."""
        return self.reason not in (End.CLOSED, End.OPEN, End.TORN)

    def __str__(self) -> str:
        text = f"{self.path}: run {self.epoch} ends after record {self.sequence}: "
        return text + END_TEXTS[self.reason] + (f" ({self.detail})" if self.detail else "")


class _NotYetError(Exception):
    """Something that a writer at work explains, or else is the end of the journal."""

    def __init__(self, reason: End, detail: str = "", path: Path | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.path = path


class JournalReader:
    """Reads a folder's journal from a segment on, its first; JournalError where there is none.

    `read` gives what is there; it may be called again for what came since. `header` is the one of
    the present segment, `ends` are those of the runs before, `end` is the journal's, after `read`.
    """

    def __init__(self, folder: Path, first: int | None = None) -> None:
        self.folder = folder
        numbers = segment_numbers(folder)
        if not numbers:
            raise JournalError(f"{folder}: has no journal (JOURNAL-*.pollux)")
        self.ends: list[JournalEnd] = []
        self.end: JournalEnd | None = None
        self._path = segment_path(folder, numbers[0] if first is None else first)
        self._file, self.header = self._open(self._path)
        self._record = 0
        self._sequence = self.header.first_sequence - 1
        self._last_kind = 0

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def read(self, *, is_following: bool = False) -> Iterator[list[Record]]:
        """The records from here on, in batches; then `end` says why there are no more.

        `is_following`: another call comes soon, so the rest of a segment, megabytes of zeros, is
        not looked through.
        """
        self.end = None
        tries = 0
        while self.end is None:
            records = self._whole_records()
            if records:
                tries = 0
                yield records
                continue
            try:
                self._go_on(is_following)
                tries = 0
            except _NotYetError as end:
                tries += 1
                if end.reason in (End.CLOSED, End.OPEN) or tries == TRIES:
                    self.end = self._end_of_run(end)
                else:
                    time.sleep(RETRY_S)

    def _end_of_run(self, end: _NotYetError) -> JournalEnd:
        where = end.path or self._path
        return JournalEnd(end.reason, where, self.header.epoch, self._sequence, end.detail)

    def _open(self, path: Path) -> tuple[BinaryIO, Header]:
        file = open_segment(path)  # closed when the next one is open
        try:
            return file, parse_header(os.pread(file.fileno(), JR.HEADER_BYTES, 0), path)
        except BaseException:
            file.close()
            raise

    def _words_at(self, record: int, records: int) -> Words:
        """Whole words of the file from a record on; fewer where it ends."""
        at = JR.HEADER_BYTES + record * JR.RECORD_BYTES
        raw = os.pread(self._file.fileno(), records * JR.RECORD_BYTES, at)
        return np.frombuffer(raw[: len(raw) // 8 * 8], np.int64).copy()

    def _whole_records(self) -> list[Record]:
        """The next records that prove themselves; none at the end of what is written."""
        wanted = min(RECORDS_PER_READ, self.header.records_max - self._record)
        words = self._words_at(self._record, wanted)
        records = len(words) // JR.RECORD_WORDS
        good = JR.count_valid(words, records, self.header.epoch, self._sequence + 1)
        rows = words[: good * JR.RECORD_WORDS].reshape(-1, JR.RECORD_WORDS)
        found = [Record(*row) for row in rows[:, : JR.RECORD_CHECKSUM].tolist()]
        if found:
            self._record += good
            self._sequence += good
            self._last_kind = found[-1].kind
        return found

    # --- where there is no whole record ----------------------------------------------------------

    def _go_on(self, is_following: bool) -> None:
        """Enter the next segment; _NotYetError where there is none, or why it cannot be."""
        is_full = self._record == self.header.records_max
        reason = End.CLOSED if self._last_kind == EVENT_JOURNAL_CLOSED else End.OPEN
        place = self._words_at(self._record, 1)
        if not is_full:
            reason = self._look_here(reason, is_following)
        self._check_size()
        number = self.header.segment + 1
        file, header = self._open_next(number, reason)
        try:
            self._check_follows(header, number)
            if not is_full and header.epoch == self.header.epoch:
                self._check_spare(file, header, is_following)
                file.close()
                file, header = self._open_next(number + 1, reason)
                self._check_follows(header, number + 1)
                if header.epoch == self.header.epoch:
                    raise _NotYetError(End.GAP, f"{file.name} is there, but this one is not full")
            # A run that has a successor is over: only now is what stands here its end.
            if not is_full and not np.array_equal(self._words_at(self._record, 1), place):
                raise _NotYetError(End.TORN, "it went on while it was looked at")
        except BaseException:
            file.close()
            raise
        if header.epoch > self.header.epoch:
            self.ends.append(self._end_of_run(_NotYetError(reason)))
            self._sequence = header.first_sequence - 1
            self._last_kind = 0
        self._file.close()
        self._file, self.header, self._record = file, header, 0
        self._path = segment_path(self.folder, header.segment)

    def _open_next(self, number: int, reason: End) -> tuple[BinaryIO, Header]:
        path = segment_path(self.folder, number)
        if not path.exists():
            self._look_beyond(number)
            raise _NotYetError(reason)
        try:
            return self._open(path)
        except OtherVersionError as error:
            raise _NotYetError(End.VERSION, str(error), path) from None
        except JournalError as error:
            raise _NotYetError(End.FOREIGN, str(error), path) from None

    def _look_here(self, reason: End, is_following: bool) -> End:
        """What stands where the next record would be, in a segment that is not full."""
        left = self.header.records_max - self._record
        words = self._words_at(self._record, min(left, RECORDS_PER_READ))
        number = self._record + 1
        if len(words) < JR.RECORD_WORDS:
            raise _NotYetError(End.TRUNCATED, self._size_text())
        row = words[: JR.RECORD_WORDS]
        total = JR.checksum_of(row, JR.RECORD_CHECKSUM, self.header.epoch)
        if not row.any():
            if self._has_more(words[JR.RECORD_WORDS :], is_following):
                raise _NotYetError(End.GAP, f"record {number} of the file is empty, others follow")
            return reason
        if row[JR.RECORD_CHECKSUM] == total:
            found = int(row[JR.RECORD_SEQUENCE])
            raise _NotYetError(End.GAP, f"record {number} of the file has the number {found}")
        if row[JR.RECORD_CHECKSUM] or self._has_more(words[JR.RECORD_WORDS :], is_following):
            raise _NotYetError(End.DAMAGED, f"the checksum of record {number} of the file is wrong")
        return End.TORN

    def _has_more(self, words: Words, is_following: bool) -> bool:
        """Whether anything stands in the file behind the place of the next record."""
        at = self._record + 1 + len(words) // JR.RECORD_WORDS
        while not words.any():
            if is_following or not len(words):
                return False
            words = self._words_at(at, RECORDS_PER_READ)
            at += RECORDS_PER_READ
        return True

    def _check_size(self) -> None:
        size_bytes = os.fstat(self._file.fileno()).st_size
        if size_bytes < self.header.size_bytes:
            raise _NotYetError(End.TRUNCATED, self._size_text())
        if size_bytes > self.header.size_bytes:
            raise _NotYetError(End.DAMAGED, self._size_text())

    def _size_text(self) -> str:
        size_bytes = os.fstat(self._file.fileno()).st_size
        return f"{size_bytes} bytes of {self.header.size_bytes}"

    def _look_beyond(self, number: int) -> None:
        """Segments behind one that is not there are no end of the journal."""
        try:
            numbers = segment_numbers(self.folder)
        except JournalError as error:
            raise _NotYetError(End.GAP, str(error)) from None
        if numbers and numbers[-1] > number:
            name = segment_path(self.folder, number).name
            raise _NotYetError(End.GAP, f"{name} is not there, later segments are")

    def _check_follows(self, header: Header, number: int) -> None:
        """Whether a segment may stand behind this one."""
        here = self.header
        path = segment_path(self.folder, number)
        if header.epoch > here.epoch:
            if header.first_sequence != 1:
                detail = f"run {header.epoch} begins with record {header.first_sequence}"
                raise _NotYetError(End.GAP, detail, path)
            return
        due = here.first_sequence + (number - here.segment) * here.records_max
        if header.epoch < here.epoch or header.first_sequence != due:
            detail = f"run {header.epoch}, record {header.first_sequence} and later"
            raise _NotYetError(End.FOREIGN, detail, path)

    def _check_spare(self, file: BinaryIO, header: Header, is_following: bool) -> None:
        """The segment made ready while this one fills has nothing in it."""
        at, left = JR.HEADER_BYTES, header.size_bytes - JR.HEADER_BYTES
        while left > 0 and (raw := os.pread(file.fileno(), RECORDS_PER_READ * JR.RECORD_BYTES, at)):
            if any(raw):
                detail = f"record {self._record + 1} of the file is empty, the next segment is not"
                raise _NotYetError(End.GAP, detail)
            if is_following:
                return
            at, left = at + len(raw), left - len(raw)
