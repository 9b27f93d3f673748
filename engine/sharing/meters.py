"""Counters, gauges and latency histograms in shared memory: written in place, read from outside.

A writer describes its *blocks* once: a run of meters that share their labels (a feed's, an
instrument's). The segment then begins with that description, so that a reader of any process
finds every series with its name, unit, labels and text, and no second list of them exists. The
values behind it are int64 words with one writer, each read as it is: they need no lock, and stay
readable where the writer hangs or has died.

    segment   | header | description, JSON | block 0 | block 1 | ...
    block     | its meters' words, in their order; a counter or a gauge has one |
    histogram | SUM | MAX | NEGATIVE | BUCKET 0..N-1 |

Histograms are log-linear (as Gil Tene's HdrHistogram, https://hdrhistogram.org): 32 buckets to
each power of two, so a bucket is at most 3.2 % wide, and one step finds it.
Runs on: the thread that counts (writing), any thread (reading).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from engine.compiling.atomics import Words, leading_zeros, load_acquire
from engine.compiling.jit import inner, kernel
from engine.layout.layout import CACHE_LINE_WORDS
from engine.sharing.directory import HandoffError
from engine.sharing.segment import (
    READONLY_WORDS,
    OwnedSegment,
    find_segment,
    map_words,
    read_word,
    segment_path,
    write_word,
)

MAGIC = 0x2B58554C4C4F50
"""The letters POLLUX+, little-endian."""
VERSION = 2
(MAGIC_AT, VERSION_AT, WRITER_PID, START_NS, DESCRIPTION_BYTES, VALUES_AT) = range(6)
HEARTBEAT_NS = CACHE_LINE_WORDS
"""When the writer last said that it is alive, where it has no other way to say so; steady time
(tuning.clock), as START_NS."""
HEADER_WORDS = 2 * CACHE_LINE_WORDS

SUB_BITS = 5
"""A power of two has 2**5 buckets."""
VALUE_MAX = (1 << 40) - 1
"""Larger values count in the last bucket, and as so much in the sum: 18 minutes, in ns. A venue
that sends times of 1970 must not make the sum of its lags overflow."""
BUCKETS = (40 - SUB_BITS + 1) << SUB_BITS
(SUM, MAX, NEGATIVE, BUCKETS_AT) = range(4)
HISTOGRAM_WORDS = BUCKETS_AT + BUCKETS


def highest_of(bucket: int) -> int:
    """The largest value that counts in a bucket."""
    if bucket < 1 << (SUB_BITS + 1):
        return bucket
    shift = (bucket >> SUB_BITS) - 1
    return ((bucket - (shift << SUB_BITS) + 1) << shift) - 1


HIGHEST: Words = np.array([highest_of(bucket) for bucket in range(BUCKETS)], np.int64)
"""The largest value of each bucket."""


class Kind(Enum):
    """What a series' words mean."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


WORDS = {Kind.COUNTER: 1, Kind.GAUGE: 1, Kind.HISTOGRAM: HISTOGRAM_WORDS}
Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Meter:
    """One thing that is counted. `name` has no unit in it; `unit` is "ns", "bytes" or nothing."""

    name: str
    kind: Kind
    text: str
    unit: str
    labels: Labels
    """Beside its block's: the reason of a refusal, for example."""
    place: int
    """Where it begins in its block."""


class MeterTable:
    """The meters of one sort of block, each declared once: the rest is read from its declaration.

    A declaration returns the meter's place in the block, for kernels and for `Count`.
    """

    def __init__(self) -> None:
        self.meters: list[Meter] = []
        self.words = 0
        """Of a block, as far as it is declared."""

    def counter(self, name: str, text: str, unit: str = "", labels: Labels = ()) -> int:
        return self._add(name, Kind.COUNTER, text, unit, labels)

    def gauge(self, name: str, text: str, unit: str = "", labels: Labels = ()) -> int:
        return self._add(name, Kind.GAUGE, text, unit, labels)

    def histogram(self, name: str, text: str, unit: str = "", labels: Labels = ()) -> int:
        return self._add(name, Kind.HISTOGRAM, text, unit, labels)

    def include(self, other: MeterTable, label: tuple[str, str]) -> None:
        """All of another table's meters, with one label more."""
        for meter in other.meters:
            self._add(meter.name, meter.kind, meter.text, meter.unit, (*meter.labels, label))

    def _add(self, name: str, kind: Kind, text: str, unit: str, labels: Labels) -> int:
        assert name and text, "a meter says what it counts"
        assert unit in ("", "ns", "bytes"), f"{name}: no unit {unit!r}"
        place = self.words
        self.meters.append(Meter(name, kind, text, unit, labels, place))
        self.words += WORDS[kind]
        return place

    def name(self, place: int) -> str:
        """What the meter at a place is called."""
        return next(meter.name for meter in self.meters if meter.place == place)


@dataclass(frozen=True)
class Block:
    """One block: the meters of a table that share their labels."""

    table: MeterTable
    labels: Labels = ()


# --- writing -------------------------------------------------------------------------------------


@inner
def bucket_of(value: int) -> int:
    """The bucket that a value from 0 to VALUE_MAX counts in."""
    if value < 1 << SUB_BITS:
        return value
    shift = 63 - SUB_BITS - leading_zeros(value)
    return (shift << SUB_BITS) + (value >> shift)


@inner
def observe(meters: Words, at: int, value: int) -> None:
    """Count one value in the histogram at `at`: one below zero only as such."""
    if value < 0:
        meters[at + NEGATIVE] += 1
        return
    counted = min(value, VALUE_MAX)
    meters[at + SUM] += counted
    meters[at + MAX] = max(meters[at + MAX], value)
    meters[at + BUCKETS_AT + bucket_of(counted)] += 1


@kernel("void(int64[::1], int64, int64)")
def observe_value(meters: Words, at: int, value: int) -> None:
    """`observe`, for Python: the segment's words, the series' place and a value in ns."""
    observe(meters, at, value)


@kernel(f"void({READONLY_WORDS}, int64, int64[::1])")
def _copy(meters: Words, at: int, out: Words) -> None:
    """Words as they are now; each is whole, all of them may be some moments apart."""
    for word in range(len(out)):
        out[word] = load_acquire(meters, at + word)


def meters_kind(process: str) -> str:
    """The kind of segment that holds the meters of a process: "engine" or "gateway"."""
    return f"{process}-meters"


class MeterWriter:
    """Creates and owns the meters of one process; `words` is their memory.

    `kind`: which process, "engine" or "gateway". `name=""` keeps them private (replay, tests).
    `start_ns`: steady time. HandoffError: the name is unusable or the segment cannot be made.
    """

    def __init__(self, name: str, kind: str, blocks: Sequence[Block], start_ns: int) -> None:
        self.block_at: list[int] = []
        """Where each block begins, in the order they were given."""
        series: list[dict[str, object]] = []
        at = 0
        for block in blocks:
            self.block_at.append(at)
            series += (_described(block, meter, at) for meter in block.table.meters)
            at += -(-block.table.words // CACHE_LINE_WORDS) * CACHE_LINE_WORDS
        raw = json.dumps(series).encode()
        described = -(-len(raw) // (8 * CACHE_LINE_WORDS)) * CACHE_LINE_WORDS
        values_at = HEADER_WORDS + described
        image = np.zeros(values_at + at, np.int64)
        image[MAGIC_AT], image[WRITER_PID] = MAGIC, os.getpid()
        image[START_NS] = image[HEARTBEAT_NS] = start_ns
        image[DESCRIPTION_BYTES], image[VALUES_AT] = len(raw), values_at
        image[HEADER_WORDS:values_at] = np.frombuffer(raw.ljust(described * 8, b"\0"), np.int64)
        path = segment_path(name, meters_kind(kind)) if name else None
        self._segment = OwnedSegment(path, image, VERSION_AT, VERSION)
        self.words = self._segment.words
        self.block_at = [values_at + block_at for block_at in self.block_at]

    def beat(self, now_ns: int) -> None:
        """Tell readers that this process is alive; `now_ns`: steady time."""
        write_word(self.words, HEARTBEAT_NS, now_ns)

    def reader(self) -> MeterReader:
        """A reader in this process."""
        return MeterReader(self.words)

    def close(self) -> None:
        """Remove the segment's name, if it is still ours."""
        self._segment.remove()


class Counted:
    """An object whose attributes are counters of one block: `words`, and where that begins."""

    def __init__(self, words: Words, at: int) -> None:
        self.words = words
        self.at = at


class Count:
    """One counter of a Counted object, by its place in the block: a descriptor.

    For what is rare: some 200 ns a time.
    """

    def __init__(self, place: int) -> None:
        self._place = place

    def __get__(self, counted: Counted, owner: type[Counted]) -> int:
        return int(counted.words[counted.at + self._place])

    def __set__(self, counted: Counted, value: int) -> None:
        counted.words[counted.at + self._place] = value


def _described(block: Block, meter: Meter, at: int) -> dict[str, object]:
    """A meter of the block at `at`, for readers."""
    return {
        "name": meter.name,
        "kind": meter.kind.value,
        "unit": meter.unit,
        "text": meter.text,
        "labels": dict((*block.labels, *meter.labels)),
        "at": at + meter.place,
    }


# --- reading -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Series:
    """One meter of one block, as a reader finds it described."""

    name: str
    kind: Kind
    unit: str
    text: str
    labels: dict[str, str]
    at: int


@dataclass(frozen=True)
class Histogram:
    """A histogram at one moment, or what came between two. Values in the series' unit.

    `counts`: int64, shape (BUCKETS,). `negative`: values below zero, which are in no bucket.
    """

    counts: Words
    sum: int
    max: int
    negative: int

    @property
    def count(self) -> int:
        return int(self.counts.sum())

    def percentile(self, percent: float) -> int | None:
        """The largest value of the bucket that holds the percentile (nearest rank): at most 3.2 %
        too high, never above `max`. None of an empty histogram.
        """
        ends = np.cumsum(self.counts)
        if not ends[-1]:
            return None
        rank = max(int(np.ceil(ends[-1] * percent / 100)), 1)
        return min(int(HIGHEST[np.searchsorted(ends, rank)]), self.max)

    def below(self, limit: int) -> int:
        """How many values are below a limit; exact where that is a power of two, or below 64."""
        return int(self.counts[: np.searchsorted(HIGHEST, limit)].sum())

    def since(self, before: Histogram) -> Histogram:
        """What came after `before`. Its maximum is that of its highest bucket."""
        counts = self.counts - before.counts
        filled = np.flatnonzero(counts)
        highest = min(int(HIGHEST[filled[-1]]), self.max) if len(filled) else 0
        return Histogram(counts, self.sum - before.sum, highest, self.negative - before.negative)


class MeterReader:
    """A read-only view of a writer's meters."""

    def __init__(self, words: Words) -> None:
        view = words.view()
        view.flags.writeable = False
        if len(view) < HEADER_WORDS or int(view[MAGIC_AT]) != MAGIC:
            raise HandoffError("the segment is not one of Pollux' meters")
        version = read_word(view, VERSION_AT)
        if version != VERSION:
            raise HandoffError(f"the meters have version {version}, this program reads {VERSION}")
        self._words = view
        self.series = tuple(self._described())

    @classmethod
    def attach(cls, name: str, kind: str) -> MeterReader:
        """Map the meters of a daemon's engine or gateway; HandoffError says why it cannot be."""
        path = find_segment(name, meters_kind(kind), f"the {kind} of {name!r} counts nothing")
        return cls(map_words(path, "Pollux' meters"))

    def _described(self) -> Iterator[Series]:
        size, values_at = int(self._words[DESCRIPTION_BYTES]), int(self._words[VALUES_AT])
        try:
            if not HEADER_WORDS <= values_at <= len(self._words):
                raise ValueError("it is not as long as its header says")
            raw = self._words[HEADER_WORDS:values_at].tobytes()[:size]
            for each in json.loads(raw):
                kind = Kind(each.pop("kind"))
                series = Series(**{**each, "kind": kind, "at": values_at + each["at"]})
                if not values_at <= series.at <= len(self._words) - WORDS[kind]:
                    raise ValueError(f"{series.name} lies outside")
                yield series
        except (ValueError, TypeError, KeyError) as error:
            raise HandoffError(f"the meters' description is damaged: {error}") from None

    @property
    def writer_pid(self) -> int:
        return int(self._words[WRITER_PID])

    @property
    def start_ns(self) -> int:
        return int(self._words[START_NS])

    @property
    def heartbeat_ns(self) -> int:
        return read_word(self._words, HEARTBEAT_NS)

    def value(self, series: Series) -> int:
        """A counter or a gauge, as it is now."""
        assert series.kind is not Kind.HISTOGRAM, series.name
        return read_word(self._words, series.at)

    def histogram(self, series: Series) -> Histogram:
        """A histogram, as it is now."""
        assert series.kind is Kind.HISTOGRAM, series.name
        out = np.zeros(HISTOGRAM_WORDS, np.int64)
        _copy(self._words, series.at, out)
        head = [int(word) for word in out[:BUCKETS_AT]]
        return Histogram(out[BUCKETS_AT:], head[SUM], head[MAX], head[NEGATIVE])
