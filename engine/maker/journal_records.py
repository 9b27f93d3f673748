"""The journal's records: how one is laid out, sealed, appended and verified. Files are net.journal.

    segment | header page (512 words) | record 1 | record 2 | ... | record N | zeros
    record  | kind .. reason (14 words) | sequence | checksum |

A record is two cache lines of memory that a file is mapped to, so what has been appended survives
the process, however it ends. The checksum is stored last, with a release store: a record that was
cut short by the process' death, or is read while it is written, does not match and is known for
it. It is seeded with the run, so that a record of another run does not match either.

The *control* words hold where to append. The engine thread owns them; the housekeeping thread only
stores the address of a fresh segment where it finds none (CONTROL_NEXT_ADDRESS). A full segment
with no next one makes `append` say so and count: it never waits and never overwrites. As soon as
there is room again, a record says how many were lost.
Runs on: the engine thread (append), any thread (verify).
"""

from __future__ import annotations

from engine.compiling.atomics import (
    Words,
    int64,
    load_acquire,
    multiply_wrapping,
    prefetch,
    store_release,
    uint64,
    view_words,
)
from engine.compiling.jit import inner, kernel
from engine.layout.layout import CACHE_LINE_WORDS
from engine.maker.journal_codes import EVENT_JOURNAL_LOST

JOURNAL_MAGIC = 0x4C4E524A584C4F50
"""The letters POLXJRNL, little-endian."""
JOURNAL_VERSION = 1
"""Of the layout of header and record; the codes of engine.maker.journal_codes only ever grow."""

HEADER_BYTES = 4096
HEADER_WORDS = HEADER_BYTES // 8

(
    HEADER_MAGIC,
    HEADER_VERSION,
    HEADER_RECORD_BYTES,
    HEADER_RECORDS_MAX,
    HEADER_EPOCH,
    HEADER_START_NS,
    HEADER_SEGMENT,
    HEADER_FIRST_SEQUENCE,
    HEADER_WRITER_PID,
    HEADER_INSTRUMENTS,
    HEADER_VENUES,
    HEADER_NAMES_BYTES,
    HEADER_NAMES_AT,
) = range(13)
HEADER_CHECKSUM = HEADER_WORDS - 1
HEADER_MARKETS = HEADER_CHECKSUM - 1
"""How many; zero in a journal of before they were named."""
NAMES_BYTES_MAX = (HEADER_MARKETS - HEADER_NAMES_AT) * 8
"""Instruments, then venues, then markets, in UTF-8, each ended by a zero byte."""

RECORD_WORDS = 16
RECORD_BYTES = RECORD_WORDS * 8
(
    RECORD_KIND,
    RECORD_TIME_NS,
    RECORD_BOOK_SEQUENCE,
    RECORD_INSTRUMENT,
    RECORD_VENUE,
    RECORD_SLOT,
    RECORD_ORDER,
    RECORD_SIDE,
    RECORD_PRICE_TICKS,
    RECORD_LOTS,
    RECORD_FILLED_LOTS,
    RECORD_STATE_BEFORE,
    RECORD_STATE_AFTER,
    RECORD_REASON,
    RECORD_SEQUENCE,
    RECORD_CHECKSUM,
) = range(RECORD_WORDS)
DRAFT_WORDS = RECORD_SEQUENCE
"""What a caller of `append` fills in: the words before the sequence."""

(
    CONTROL_ADDRESS,
    CONTROL_RECORDS_MAX,
    CONTROL_RECORDS,
    CONTROL_EPOCH,
    CONTROL_SEQUENCE,
    CONTROL_REFUSED,
    CONTROL_REPORTED,
) = range(7)
CONTROL_NEXT_ADDRESS = CACHE_LINE_WORDS
"""In a cache line of its own: the other thread polls it."""
CONTROL_WORDS = 2 * CACHE_LINE_WORDS

RECORDS_MIN = 2
"""Of a segment: the note of what was lost and the record that follows it fit together."""

JOURNAL_FULL = -1
"""`append`: no room, nothing was written; a sequence is positive."""

_SEED = uint64(0x9E3779B97F4A7C15)
_MULTIPLIER = uint64(0xBF58476D1CE4E5B9)


@inner
def _mix(hashed: int, word: int) -> int:
    mixed = multiply_wrapping(hashed ^ uint64(word), _MULTIPLIER)
    return mixed ^ (mixed >> uint64(32))


@inner
def checksum(words: Words, start: int, count: int, seed: int) -> int:
    """64 bits over words[start : start + count].

    Each word is mixed in by a step of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom
    number generators", OOPSLA 2014): xor, an odd multiplier, xor with the upper half. Each step is
    a bijection of the word, so a change within one word, of any number of bits, always changes the
    sum; changes of several words escape by chance only, 1 in 2^64. Two chains run side by side,
    the even and the odd words: a chain waits for its multiplications.
    """
    even = _mix(_SEED, seed)
    odd = _mix(_MULTIPLIER, seed)
    for at in range(start, start + count - 1, 2):
        even = _mix(even, words[at])
        odd = _mix(odd, words[at + 1])
    if count & 1:
        even = _mix(even, words[start + count - 1])
    # One step more for the one chain, or equal changes of the last two words would cancel.
    return int64(_mix(even, int64(_mix(odd, count))))


@inner
def _seal(control: Words, segment: Words, at: int) -> int:
    """Number the record that was written at `at` and make it count."""
    sequence = control[CONTROL_SEQUENCE] + 1
    segment[at + RECORD_SEQUENCE] = sequence
    total = checksum(segment, at, RECORD_CHECKSUM, control[CONTROL_EPOCH])
    store_release(segment, at + RECORD_CHECKSUM, total)
    control[CONTROL_RECORDS] += 1
    store_release(control, CONTROL_SEQUENCE, sequence)
    return sequence


@inner
def _change_segment(control: Words, time_ns: int) -> bool:
    """Go on in the next segment, if there is one, with a note of what was lost before."""
    address = load_acquire(control, CONTROL_NEXT_ADDRESS)
    if address == 0:
        store_release(control, CONTROL_REFUSED, control[CONTROL_REFUSED] + 1)
        return False
    control[CONTROL_ADDRESS] = address
    control[CONTROL_RECORDS] = 0
    store_release(control, CONTROL_NEXT_ADDRESS, 0)
    lost = control[CONTROL_REFUSED] - control[CONTROL_REPORTED]
    if lost > 0:
        segment = view_words(address, RECORD_WORDS)
        segment[RECORD_KIND] = EVENT_JOURNAL_LOST
        segment[RECORD_TIME_NS] = time_ns
        segment[RECORD_REASON] = lost
        _seal(control, segment, 0)
        control[CONTROL_REPORTED] += lost
    return True


@inner
def append(control: Words, draft: Words) -> int:
    """Append draft[:DRAFT_WORDS] as the next record; its sequence, or JOURNAL_FULL."""
    if control[CONTROL_RECORDS] == control[CONTROL_RECORDS_MAX]:
        if not _change_segment(control, draft[RECORD_TIME_NS]):
            return JOURNAL_FULL
    records_max = control[CONTROL_RECORDS_MAX]
    segment = view_words(control[CONTROL_ADDRESS], records_max * RECORD_WORDS)
    at = control[CONTROL_RECORDS] * RECORD_WORDS
    for index in range(DRAFT_WORDS):
        segment[at + index] = draft[index]
    sequence = _seal(control, segment, at)
    # Nobody has been at the next record's two lines: have them here before its time comes.
    prefetch(segment, at + RECORD_WORDS)
    prefetch(segment, at + RECORD_WORDS + CACHE_LINE_WORDS)
    return sequence


@kernel("int64(int64[::1], int64[::1])")
def append_record(control: Words, draft: Words) -> int:
    """`append`, for Python."""
    return append(control, draft)


@kernel("int64(int64[::1], int64, int64, int64)")
def count_valid(words: Words, records: int, epoch: int, sequence: int) -> int:
    """How many records in a row, from the first word on, are whole and numbered from `sequence`."""
    for index in range(records):
        at = index * RECORD_WORDS
        total = checksum(words, at, RECORD_CHECKSUM, epoch)
        if words[at + RECORD_CHECKSUM] != total or words[at + RECORD_SEQUENCE] != sequence + index:
            return index
    return records


@kernel("int64(int64[::1], int64, int64)")
def checksum_of(words: Words, count: int, seed: int) -> int:
    """`checksum` from the first word on, for Python."""
    return checksum(words, 0, count, seed)


@kernel("int64(int64[::1], int64)")
def load_word(words: Words, index: int) -> int:
    """A control word that the other thread writes, as it is now."""
    return load_acquire(words, index)


@kernel("void(int64[::1], int64)")
def offer_segment(control: Words, address: int) -> None:
    """Hand the engine thread the first record of a fresh segment: everything before is seen."""
    store_release(control, CONTROL_NEXT_ADDRESS, address)
