"""What the market maker writes into its journal: every record with its time and its book.

Runs on: the engine thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from engine.layout.layout import VENUES_MAX
from engine.maker.journal_records import JOURNAL_FULL
from net.journal.files import Record


class Journal(Protocol):
    """Where records go: net.journal's writer, or the digest of a replay."""

    def append(self, record: Record) -> int:
        """The record's sequence, or JOURNAL_FULL."""


@dataclass(frozen=True)
class JournalNames:
    """Where the names of a market maker are among those of the journal's run."""

    instrument: int = 0
    venues: tuple[int, ...] = tuple(range(VENUES_MAX))
    """By the instrument's venues."""


class EventJournal:
    """One market maker's records. `journal`: where they go; `wall_ns`: what time it is."""

    def __init__(
        self, journal: Journal, wall_ns: Callable[[], int], names: JournalNames | None = None
    ) -> None:
        self.book_sequence = 0
        """Of the book that the latest step has used."""
        self.is_full = False
        """Whether the last record found no room."""
        self._journal = journal
        self._wall_ns = wall_ns
        self._names = names if names is not None else JournalNames()

    def write(self, record: Record) -> None:
        """Append one record, with the time and the present book's sequence."""
        stamped = record._replace(
            time_ns=self._wall_ns(),
            book_sequence=self.book_sequence,
            instrument=self._names.instrument,
            venue=self._names.venues[record.venue],
        )
        sequence = self._journal.append(stamped)
        self.is_full = sequence == JOURNAL_FULL
