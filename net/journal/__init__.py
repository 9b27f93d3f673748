"""The journal: every order event and decision with its book sequence, in files that only grow."""

from net.journal.files import JournalError, Record
from net.journal.reader import END_TEXTS, End, JournalEnd, JournalReader
from net.journal.writer import JournalWriter

__all__ = [
    "END_TEXTS",
    "End",
    "JournalEnd",
    "JournalError",
    "JournalReader",
    "JournalWriter",
    "Record",
]
