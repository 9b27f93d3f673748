"""Journals for the tests: small segments, records that follow from their number.

Runs on: the tests' thread.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

from engine.maker import journal_codes as J
from engine.maker import journal_records as JR
from net.journal.files import Record, segment_path
from net.journal.reader import JournalEnd, JournalReader
from net.journal.writer import JournalWriter

START_NS = 1_700_000_000_000_000_000
INSTRUMENTS = ("BTC-USD", "ETH-€")
VENUES = ("binance", "bitstamp")
SMALL = 8
"""Records of a segment: small ones change often."""


def writer_of(folder: Path, records: int = SMALL, start_ns: int = START_NS) -> JournalWriter:
    return JournalWriter(folder, INSTRUMENTS, VENUES, start_ns, records)


def nth(number: int) -> Record:
    """A record all of whose words follow from its number."""
    chance = random.Random(number)
    words = [chance.randrange(-(2**63), 2**63) for _ in range(JR.DRAFT_WORDS - 1)]
    return Record._make([J.EVENT_SUBMIT, *words, number])


def write(writer: JournalWriter, first: int, last: int) -> None:
    for number in range(first, last + 1):
        writer.tend()
        assert writer.append(nth(number)) == number


def read(folder: Path) -> tuple[list[Record], JournalEnd, list[JournalEnd]]:
    reader = JournalReader(folder)
    records = [record for batch in reader.read() for record in batch]
    assert reader.end is not None
    reader.close()
    return records, reader.end, reader.ends


def journal_of(folder: Path, records: int, per_segment: int = SMALL) -> Path:
    """A closed journal of nth(1), nth(2), ...; its first segment."""
    writer = writer_of(folder, per_segment)
    write(writer, 1, records)
    writer.close(START_NS + 1)
    return segment_path(folder, 1)


def abandon(writer: JournalWriter) -> None:
    """Leave everything as a writer that was killed leaves it."""
    os.close(writer._lock)
    writer._lock = -1
