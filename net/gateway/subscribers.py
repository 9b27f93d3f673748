"""Who listens to the gateway: a table in shared memory, readable from outside without tearing.

    segment | header | row 0 | row 1 | ...
    header  | MAGIC | VERSION | WRITER_PID | ROWS | -
    row     | GENERATION | SINCE_NS | SENT | CONFLATED | PEER, 64 bytes | WHAT, 128 bytes | -

A row belongs to one stream at a time. Its texts are written under an odd generation, and the even
one that follows says that they are whole; a row without a time is free. The two counts change
under one generation: each is a word, and whole by itself. A gateway that has more streams than
rows counts the others in its totals alone. SINCE_NS is steady time (tuning.clock).
Runs on: the gateway's event loop (writing), any thread (reading).
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from engine.compiling.atomics import Words
from engine.layout.layout import CACHE_LINE_WORDS
from engine.sharing.directory import HandoffError
from engine.sharing.segment import (
    OwnedSegment,
    find_segment,
    get_text,
    map_words,
    put_text,
    read_word,
    segment_path,
    write_word,
)

ROWS_MAX = 256
"""64 KiB. Whoever has more streams looks at the totals."""
SEGMENT_KIND = "gateway-subscribers"

MAGIC = 0x3A58554C4C4F50
"""The letters POLLUX:, little-endian."""
VERSION = 2
(MAGIC_AT, VERSION_AT, WRITER_PID, ROWS_AT) = range(4)
HEADER_WORDS = CACHE_LINE_WORDS

PEER_BYTES_MAX = 64
WHAT_BYTES_MAX = 128
(GENERATION, SINCE_NS, SENT, CONFLATED, PEER_AT) = range(5)
WHAT_AT = PEER_AT + PEER_BYTES_MAX // 8
_USED_WORDS = WHAT_AT + WHAT_BYTES_MAX // 8
ROW_WORDS = -(-_USED_WORDS // CACHE_LINE_WORDS) * CACHE_LINE_WORDS

READ_TRIES = 8
"""A row is rewritten only when a stream ends and another begins."""


class SubscriberTable:
    """The gateway's side. `name=""` keeps it private. HandoffError: it cannot be made."""

    def __init__(self, name: str, rows: int) -> None:
        self._free = list(range(min(rows, ROWS_MAX)))[::-1]
        # One row more than readers look at: of every stream that found no other.
        image = np.zeros(HEADER_WORDS + (len(self._free) + 1) * ROW_WORDS, np.int64)
        image[MAGIC_AT], image[WRITER_PID] = MAGIC, os.getpid()
        image[ROWS_AT] = self._rows = len(self._free)
        path = segment_path(name, SEGMENT_KIND) if name else None
        self._segment = OwnedSegment(path, image, VERSION_AT, VERSION)
        self.words = self._segment.words
        self.counts = memoryview(self.words)  # type: ignore[arg-type]
        """The same words; single ones are changed faster so."""

    def enter(self, peer: str, what: str, now_ns: int) -> int:
        """A stream begins; where its row is in `counts`."""
        at = HEADER_WORDS + (self._free.pop() if self._free else self._rows) * ROW_WORDS
        fresh = np.zeros(ROW_WORDS, np.int64)
        fresh[SINCE_NS] = now_ns
        put_text(fresh, PEER_AT, _cut(peer, PEER_BYTES_MAX), PEER_BYTES_MAX)
        put_text(fresh, WHAT_AT, _cut(what, WHAT_BYTES_MAX), WHAT_BYTES_MAX)
        self._write(at, fresh)
        return at

    def leave(self, at: int) -> None:
        """It ends: the row is free."""
        row = (at - HEADER_WORDS) // ROW_WORDS
        if row < self._rows:
            self._write(at, np.zeros(ROW_WORDS, np.int64))
            self._free.append(row)

    def _write(self, at: int, fresh: Words) -> None:
        generation = self.counts[at + GENERATION]
        write_word(self.words, at + GENERATION, generation + 1)
        for word in range(GENERATION + 1, _USED_WORDS):
            # Each store is a release: none is seen before the odd generation.
            write_word(self.words, at + word, int(fresh[word]))
        write_word(self.words, at + GENERATION, generation + 2)

    def close(self) -> None:
        """Remove the segment's name, if it is still ours."""
        self._segment.remove()


def _cut(text: str, bytes_max: int) -> str:
    raw = text.encode()
    if len(raw) <= bytes_max:
        return text
    return raw[: bytes_max - 2].decode(errors="ignore") + ".."


@dataclass(frozen=True)
class SubscriberRow:
    """One stream, as a reader sees it."""

    peer: str
    what: str
    since_ns: int
    sent: int
    conflated: int


class SubscriberReader:
    """A read-only view of a gateway's table; HandoffError says why there is none."""

    def __init__(self, name: str) -> None:
        path = find_segment(name, SEGMENT_KIND, f"no gateway of {name!r} shows who listens")
        words = map_words(path, "a gateway's table")
        rows = int(words[ROWS_AT]) if len(words) >= HEADER_WORDS else -1
        is_whole = 0 <= rows <= ROWS_MAX and len(words) == HEADER_WORDS + (rows + 1) * ROW_WORDS
        if not is_whole or words[MAGIC_AT] != MAGIC or read_word(words, VERSION_AT) != VERSION:
            raise HandoffError(f"{path} is not a table of subscribers that this program reads")
        self._words = words
        self._rows = rows

    @property
    def writer_pid(self) -> int:
        return int(self._words[WRITER_PID])

    def read(self) -> list[SubscriberRow]:
        """The streams in the table, the oldest first."""
        rows = (self._read_row(HEADER_WORDS + row * ROW_WORDS) for row in range(self._rows))
        return sorted((row for row in rows if row), key=lambda row: row.since_ns)

    def _read_row(self, at: int) -> SubscriberRow | None:
        """One row; None where it is free, or changes hands over and over."""
        words = self._words
        for _ in range(READ_TRIES):
            generation = read_word(words, at + GENERATION)
            if generation % 2:
                continue
            if not read_word(words, at + SINCE_NS):
                return None
            # Each load is an acquire: none is made after the second look at the generation.
            row = np.array([read_word(words, at + word) for word in range(_USED_WORDS)], np.int64)
            if read_word(words, at + GENERATION) == generation:
                return SubscriberRow(
                    peer=get_text(row, PEER_AT, PEER_BYTES_MAX),
                    what=get_text(row, WHAT_AT, WHAT_BYTES_MAX),
                    since_ns=int(row[SINCE_NS]),
                    sent=int(row[SENT]),
                    conflated=int(row[CONFLATED]),
                )
        return None
