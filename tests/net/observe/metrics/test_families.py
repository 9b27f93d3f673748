"""Meters on Prometheus' page: names and units by its rules, and histograms that add up."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from engine.sharing.meters import (
    VALUE_MAX,
    Block,
    MeterReader,
    MeterTable,
    MeterWriter,
    observe_value,
)
from net.observe.metrics.families import EDGES_NS, meter_families

METERS = MeterTable()
FRAMES = METERS.counter("frames", "frames taken")
FRAME = METERS.counter("frame", "bytes of frames", "bytes")
IDLE = METERS.counter("idle", "time without work", "ns")
FAR_BID = METERS.gauge("far_levels", "levels far away", labels=(("side", "bid"),))
FAR_ASK = METERS.gauge("far_levels", "levels far away", labels=(("side", "ask"),))
SNAPSHOT = METERS.gauge("snapshot_timestamp", "when it came", "ns")
LAG = METERS.histogram("lag", "how late", "ns")

Page = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def page(reader: MeterReader) -> Page:
    """The samples as Prometheus parses them, by name and labels."""

    class Everything(Collector):
        def collect(self) -> object:  # type: ignore[override]
            return meter_families(reader)

    registry = CollectorRegistry()
    registry.register(Everything())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }


def written(*values: int) -> MeterWriter:
    """Two blocks, the second of which has seen these values."""
    blocks = [Block(METERS, (("venue", name),)) for name in ("one", "two")]
    writer = MeterWriter("", "engine", blocks, 0)
    for value in values:
        observe_value(writer.words, writer.block_at[1] + LAG, value)
    return writer


def test_names_units_and_labels() -> None:
    writer = written()
    for place, value in (
        (FRAMES, 3), (FRAME, 4096), (IDLE, 1_500_000_000), (FAR_BID, 5), (FAR_ASK, 6),
        (SNAPSHOT, 1_700_000_000_250_000_000),
    ):  # fmt: skip
        writer.words[writer.block_at[1] + place] = value
    found = page(writer.reader())
    two = (("venue", "two"),)
    assert found["pollux_frames_total", two] == 3
    assert found["pollux_frames_total", (("venue", "one"),)] == 0
    assert found["pollux_frame_bytes_total", two] == 4096
    assert found["pollux_idle_seconds_total", two] == 1.5
    assert found["pollux_far_levels", (("side", "bid"), *two)] == 5
    assert found["pollux_far_levels", (("side", "ask"), *two)] == 6
    assert found["pollux_snapshot_timestamp_seconds", two] == pytest.approx(1_700_000_000.25)
    assert ("pollux_snapshot_timestamp_seconds", (("venue", "one"),)) not in found


EDGES = st.sampled_from([edge + step for edge in EDGES_NS for step in (-1, 0, 1)])


@given(st.lists(EDGES | st.integers(-1000, 2**45), max_size=30))
def test_buckets_are_exact_and_add_up(values: list[int]) -> None:
    found = page(written(*values).reader())
    counted = [value for value in values if value >= 0]
    buckets = {
        dict(labels)["le"]: value
        for (name, labels), value in found.items()
        if name == "pollux_lag_seconds_bucket" and ("venue", "two") in labels
    }
    two = (("venue", "two"),)
    assert len(buckets) == len(EDGES_NS) + 1
    for le, count in buckets.items():
        limit_ns = math.inf if le == "+Inf" else round(float(le) * 1e9)
        assert count == sum(value <= limit_ns for value in counted), le
    assert [*buckets.values()] == sorted(buckets.values())
    assert found["pollux_lag_seconds_count", two] == buckets["+Inf"] == len(counted)
    assert found["pollux_lag_seconds_sum", two] == pytest.approx(
        sum(min(value, VALUE_MAX) for value in counted) / 1e9
    )
    assert found["pollux_lag_seconds_negative_total", two] == len(values) - len(counted)
