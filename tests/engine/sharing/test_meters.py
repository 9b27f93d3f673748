"""Meters: every value lands in a bucket that holds it, and a reader finds what was described."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.sharing import meters
from engine.sharing.directory import HandoffError
from engine.sharing.meters import Block, Histogram, Kind, MeterReader, MeterTable, MeterWriter
from engine.sharing.segment import segment_path

pytestmark = pytest.mark.kernel

METERS = MeterTable()
FRAMES = METERS.counter("frames", "frames taken")
WAIT = METERS.histogram("wait", "how long it waited", "ns")
REFUSED = METERS.counter("refused", "frames refused", labels=(("reason", "bad é"),))
BLOCKS = (Block(METERS, (("venue", "one"),)), Block(METERS, (("venue", "two"),)))


@pytest.fixture
def writer() -> MeterWriter:
    return MeterWriter("", "engine", BLOCKS, 5)


@pytest.fixture
def name() -> Iterator[str]:
    chosen = f"test-{os.getpid()}"
    yield chosen
    segment_path(chosen, "engine-meters").unlink(missing_ok=True)


def histogram(writer: MeterWriter, block: int = 0) -> Histogram:
    reader = writer.reader()
    return reader.histogram([s for s in reader.series if s.kind is Kind.HISTOGRAM][block])


@given(st.lists(st.integers(-(2**20), 2**62), min_size=1, max_size=50))
def test_percentiles_are_those_of_the_values_and_at_most_3_2_percent_above(
    values: list[int],
) -> None:
    writer = MeterWriter("", "engine", BLOCKS, 0)
    for value in values:
        meters.observe_value(writer.words, writer.block_at[0] + WAIT, value)
    seen = histogram(writer)
    counted = sorted(value for value in values if value >= 0)
    assert seen.count == len(counted)
    assert seen.negative == len(values) - len(counted)
    if not counted:
        assert seen.percentile(50) is None
        return
    assert seen.max == counted[-1]
    assert seen.sum == sum(min(value, meters.VALUE_MAX) for value in counted)
    for percent in (1, 50, 90, 99, 100):
        exact = counted[-(-len(counted) * percent // 100) - 1]
        told = seen.percentile(percent)
        assert told is not None
        if exact <= meters.VALUE_MAX:
            assert exact <= told <= exact + exact // 32
        else:
            assert told >= meters.VALUE_MAX


@given(st.integers(0, meters.VALUE_MAX))
def test_a_bucket_ends_at_its_highest_value(value: int) -> None:
    writer = MeterWriter("", "engine", BLOCKS, 0)
    meters.observe_value(writer.words, writer.block_at[0] + WAIT, value)
    (bucket,) = np.flatnonzero(histogram(writer).counts)
    assert value <= meters.HIGHEST[bucket]
    assert bucket == 0 or meters.HIGHEST[bucket - 1] < value


def test_the_last_bucket_is_the_last_words() -> None:
    assert meters.HIGHEST[-1] == meters.VALUE_MAX
    assert (np.diff(meters.HIGHEST) > 0).all()


def test_what_came_between_two_looks(writer: MeterWriter) -> None:
    at = writer.block_at[0] + WAIT
    for value in (10, 5000, 70_000):
        meters.observe_value(writer.words, at, value)
    before = histogram(writer)
    for value in (100, 100, 100, 2000):
        meters.observe_value(writer.words, at, value)
    came = histogram(writer).since(before)
    assert (came.count, came.sum) == (4, 2300)
    assert came.percentile(50) == meters.HIGHEST[np.flatnonzero(came.counts)[0]]
    assert 2000 <= came.max <= 2000 * 33 // 32
    assert came.since(came).percentile(99) is None and came.since(came).max == 0
    assert histogram(writer).below(128) == 4 and histogram(writer).below(4096) == 5


def test_a_reader_of_another_process_finds_what_was_described(name: str) -> None:
    writer = MeterWriter(name, "engine", BLOCKS, 77)
    writer.words[writer.block_at[1] + FRAMES] = 12
    writer.words[writer.block_at[1] + REFUSED] = 3
    meters.observe_value(writer.words, writer.block_at[1] + WAIT, 1000)
    reader = MeterReader.attach(name, "engine")
    assert (reader.writer_pid, reader.start_ns, reader.heartbeat_ns) == (os.getpid(), 77, 77)
    writer.beat(99)
    assert reader.heartbeat_ns == 99
    found = {(s.name, s.labels["venue"]): s for s in reader.series}
    assert len(found) == 2 * len(METERS.meters)
    assert reader.value(found["frames", "two"]) == 12 and reader.value(found["frames", "one"]) == 0
    assert found["refused", "two"].labels == {"venue": "two", "reason": "bad é"}
    assert reader.value(found["refused", "two"]) == 3
    assert reader.histogram(found["wait", "two"]).count == 1
    assert reader.histogram(found["wait", "one"]).count == 0
    assert found["wait", "one"].unit == "ns" and found["wait", "one"].text == METERS.meters[1].text
    writer.close()
    with pytest.raises(HandoffError, match="counts nothing"):
        MeterReader.attach(name, "engine")
    assert reader.value(found["frames", "two"]) == 12, "readable after the writer has gone"


@pytest.mark.parametrize(
    ("word", "value", "text"),
    [
        (meters.MAGIC_AT, 1, "not one of"),
        (meters.VERSION_AT, 99, "version 99"),
        (meters.VALUES_AT, 10**9, "damaged"),
        (meters.DESCRIPTION_BYTES, 7, "damaged"),
        (meters.HEADER_WORDS, 0, "damaged"),
    ],
)
def test_a_damaged_segment_is_refused(
    writer: MeterWriter, word: int, value: int, text: str
) -> None:
    words = writer.words.copy()
    words[word] = value
    with pytest.raises(HandoffError, match=text):
        MeterReader(words)
    with pytest.raises(HandoffError, match="not one of"):
        MeterReader(words[:3])
