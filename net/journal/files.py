"""A journal's files: their names, the header page, and what a record is in Python.

A folder holds the segments JOURNAL-000001.pollux, JOURNAL-000002.pollux, ... of one run after the
other. A *run* is what one writer has written; its number, the *epoch*, and its segments' numbers
go up by one. What the header says never changes after the file has its name.
Runs on: any thread.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from engine.compiling.atomics import Words
from engine.maker import journal_records as JR
from engine.maker.order_layout import NO_SIDE
from engine.sharing.directory import HandoffError, open_regular

NAME_PATTERN = re.compile(r"JOURNAL-([0-9]{6,})\.pollux")
HEADER_SEED = 0
"""Of the header's checksum: epochs, the seeds of records, begin with 1."""


class JournalError(Exception):
    """A journal that cannot be written, or a file that is none: one line naming it."""


class Record(NamedTuple):
    """One event. Codes are engine.maker.journal_codes'; instrument and venue index the run's names.

    `sequence` counts the run's records from 1; it is the writer's to give. Times in ns, prices in
    the instrument's ticks, amounts in lots.
    """

    kind: int
    time_ns: int = 0
    book_sequence: int = 0
    instrument: int = 0
    venue: int = 0
    slot: int = 0
    order: int = 0
    side: int = NO_SIDE
    price_ticks: int = 0
    lots: int = 0
    filled_lots: int = 0
    state_before: int = 0
    state_after: int = 0
    reason: int = 0
    sequence: int = 0


assert len(Record._fields) == JR.RECORD_SEQUENCE + 1


@dataclass(frozen=True)
class Header:
    """What the first page of a segment says."""

    epoch: int
    start_ns: int
    segment: int
    first_sequence: int
    records_max: int
    writer_pid: int
    instruments: tuple[str, ...]
    venues: tuple[str, ...]
    markets: tuple[str, ...] = ()
    """The venues' own symbols that the accounts are named by."""

    @property
    def size_bytes(self) -> int:
        """Of the whole file."""
        return JR.HEADER_BYTES + self.records_max * JR.RECORD_BYTES


def segment_path(folder: Path, number: int) -> Path:
    """Where the segment of this number lives."""
    return folder / f"JOURNAL-{number:06d}.pollux"


def segment_numbers(folder: Path) -> list[int]:
    """The numbers of the segments in a folder, ascending; JournalError where it cannot be read."""
    try:
        names = [entry.name for entry in folder.iterdir()]
    except OSError as error:
        raise JournalError(f"{folder}: {error.strerror}") from None
    found = [match for name in names if (match := NAME_PATTERN.fullmatch(name))]
    return sorted(int(match[1]) for match in found)


def header_page(header: Header) -> Words:
    """The page that says it; JournalError for names that do not fit."""
    names = (*header.instruments, *header.venues, *header.markets)
    for name in names:
        if not name or "\0" in name:
            raise JournalError(f"{name!r} is no name for an instrument, a venue or a market")
    raw = b"".join(name.encode() + b"\0" for name in names)
    if len(raw) > JR.NAMES_BYTES_MAX:
        raise JournalError(
            f"the names of {len(header.instruments)} instruments, {len(header.venues)} venues and "
            f"{len(header.markets)} markets take {len(raw)} bytes, a journal's header has "
            f"{JR.NAMES_BYTES_MAX}"
        )
    words: Words = np.zeros(JR.HEADER_WORDS, np.int64)
    words[JR.HEADER_MAGIC] = JR.JOURNAL_MAGIC
    words[JR.HEADER_VERSION] = JR.JOURNAL_VERSION
    words[JR.HEADER_RECORD_BYTES] = JR.RECORD_BYTES
    words[JR.HEADER_RECORDS_MAX] = header.records_max
    words[JR.HEADER_EPOCH] = header.epoch
    words[JR.HEADER_START_NS] = header.start_ns
    words[JR.HEADER_SEGMENT] = header.segment
    words[JR.HEADER_FIRST_SEQUENCE] = header.first_sequence
    words[JR.HEADER_WRITER_PID] = header.writer_pid
    words[JR.HEADER_INSTRUMENTS] = len(header.instruments)
    words[JR.HEADER_VENUES] = len(header.venues)
    words[JR.HEADER_MARKETS] = len(header.markets)
    words[JR.HEADER_NAMES_BYTES] = len(raw)
    first = JR.HEADER_NAMES_AT * 8
    words.view(np.uint8)[first : first + len(raw)] = np.frombuffer(raw, np.uint8)
    words[JR.HEADER_CHECKSUM] = JR.checksum_of(words, JR.HEADER_CHECKSUM, HEADER_SEED)
    return words


class OtherVersionError(JournalError):
    """A journal, but of a layout that this program does not read."""


def parse_header(raw: bytes, path: Path) -> Header:
    """What a segment's first page says; JournalError where it is not one, or is damaged."""
    if len(raw) < 16 or int.from_bytes(raw[:8], "little") != JR.JOURNAL_MAGIC:
        raise JournalError(f"{path}: is not a Pollux journal")
    version = int.from_bytes(raw[8:16], "little", signed=True)
    if version != JR.JOURNAL_VERSION:
        raise OtherVersionError(
            f"{path}: is a journal of version {version}, this program reads {JR.JOURNAL_VERSION}"
        )
    if len(raw) < JR.HEADER_BYTES:
        raise JournalError(f"{path}: ends within the header, after {len(raw)} bytes")
    words: Words = np.frombuffer(raw[: JR.HEADER_BYTES], np.int64).copy()
    if JR.checksum_of(words, JR.HEADER_CHECKSUM, HEADER_SEED) != words[JR.HEADER_CHECKSUM]:
        raise JournalError(f"{path}: the header is damaged (its checksum does not match)")
    numbers = [int(word) for word in words[: JR.HEADER_NAMES_AT]]
    first = JR.HEADER_NAMES_AT * 8
    text = raw[first : first + numbers[JR.HEADER_NAMES_BYTES]].decode()
    names = text.split("\0")[:-1]
    instruments = numbers[JR.HEADER_INSTRUMENTS]
    markets = len(names) - int(words[JR.HEADER_MARKETS])
    header = Header(
        epoch=numbers[JR.HEADER_EPOCH],
        start_ns=numbers[JR.HEADER_START_NS],
        segment=numbers[JR.HEADER_SEGMENT],
        first_sequence=numbers[JR.HEADER_FIRST_SEQUENCE],
        records_max=numbers[JR.HEADER_RECORDS_MAX],
        writer_pid=numbers[JR.HEADER_WRITER_PID],
        instruments=tuple(names[:instruments]),
        venues=tuple(names[instruments:markets]),
        markets=tuple(names[markets:]),
    )
    is_named = path == segment_path(path.parent, header.segment)
    if not is_named:
        raise JournalError(f"{path}: is segment {header.segment}, under another's name")
    return header


def read_header(path: Path) -> Header:
    """The header of a file; JournalError where there is none."""
    try:
        with open_segment(path) as file:
            return parse_header(file.read(JR.HEADER_BYTES), path)
    except OSError as error:
        raise JournalError(f"{path}: {error.strerror}") from None


def open_segment(path: Path) -> BinaryIO:
    """A file of a journal for reading; JournalError. A pipe in its place is not waited for."""
    try:
        return open(open_regular(path), "rb")
    except HandoffError as error:
        raise JournalError(str(error)) from None
    except OSError as error:
        raise JournalError(f"{path}: {error.strerror}") from None
