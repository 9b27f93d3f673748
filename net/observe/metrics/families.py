"""A process's meters as Prometheus' families: whatever they describe, under names by its rules.

A series `name` of unit "ns" is `pollux_name_seconds`, a counter ends with `_total`
(https://prometheus.io/docs/practices/naming); the values of a histogram that are below zero, which
no bucket holds, are a counter of their own.
Runs on: the page's threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TypeVar

import numpy as np
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from engine.sharing.meters import HIGHEST, Histogram, Kind, MeterReader, Series

EDGES_NS = tuple((1 << bits) - 1 for bits in range(10, 32))
"""The upper ends of the buckets, 1 us to 2 s: a power of two less the one nanosecond that `le`,
at most, takes in. So each count is exact: a finer bucket ends there too."""
_EDGE_BUCKETS = np.searchsorted(HIGHEST, EDGES_NS)
"""The finer bucket that each edge is the end of."""
_UNITS = {"ns": "_seconds", "bytes": "_bytes", "": ""}

_Family = TypeVar("_Family", bound=Metric)


def meter_families(reader: MeterReader) -> Iterator[Metric]:
    """Every series of a process, those of one name together, as they are now."""
    named: dict[str, list[Series]] = {}
    for series in reader.series:
        named.setdefault(series.name, []).append(series)
    for several in named.values():
        yield from _FAMILIES[several[0].kind](reader, several)


def _family(
    kind: type[_Family], several: list[Series], ending: str = "", text: str = ""
) -> _Family:
    first = several[0]
    name = f"pollux_{first.name}{_UNITS[first.unit]}{ending}"
    return kind(name, text or first.text, labels=tuple(first.labels))  # type: ignore[call-arg]


def _counters(reader: MeterReader, several: list[Series]) -> Iterator[Metric]:
    family = _family(CounterMetricFamily, several)
    for series in several:
        family.add_metric(_labels(series), _scaled(series.unit, reader.value(series)))
    yield family


def _gauges(reader: MeterReader, several: list[Series]) -> Iterator[Metric]:
    family = _family(GaugeMetricFamily, several)
    for series in several:
        value = reader.value(series)
        # A moment that has not come has no time.
        if value or not series.name.endswith("_timestamp"):
            family.add_metric(_labels(series), _scaled(series.unit, value))
    yield family


def _histograms(reader: MeterReader, several: list[Series]) -> Iterator[Metric]:
    family = _family(HistogramMetricFamily, several)
    text = f"{several[0].text}: values below zero, which no bucket holds"
    negative = _family(CounterMetricFamily, several, "_negative", text)
    for series in several:
        seen = reader.histogram(series)
        labels = _labels(series)
        family.add_metric(labels, _buckets(series, seen), _scaled(series.unit, seen.sum))
        negative.add_metric(labels, seen.negative)
    yield family
    yield negative


def _buckets(series: Series, seen: Histogram) -> list[tuple[str, float]]:
    """Cumulative; the last one is the count, too."""
    # As Histogram.below, of all edges at once: an engine may wait for the interpreter.
    ends = np.cumsum(seen.counts)
    below = (float(end) for end in ends[_EDGE_BUCKETS])
    return [*zip(_edge_texts(series.unit), below, strict=True), ("+Inf", float(ends[-1]))]


@cache
def _edge_texts(unit: str) -> tuple[str, ...]:
    """The edges as `le` shows them."""
    return tuple(str(_scaled(unit, edge)) for edge in EDGES_NS)


def _labels(series: Series) -> tuple[str, ...]:
    return tuple(series.labels.values())


def _scaled(unit: str, value: int) -> float:
    """In the base unit."""
    return value / 1e9 if unit == "ns" else value


_FAMILIES = {Kind.COUNTER: _counters, Kind.GAUGE: _gauges, Kind.HISTOGRAM: _histograms}
