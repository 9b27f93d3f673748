"""A process's meters at one moment, and what came between two: whatever they describe.

Runs on: the main thread of a command.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from engine.sharing.meters import Histogram, Kind, MeterReader, Series
from tuning.clock import Moment

PERCENTS = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9}
"""By the names that are shown."""


@dataclass(frozen=True)
class Sample:
    """One series at one moment."""

    series: Series
    value: int | Histogram
    grown: int | Histogram | None
    """What came since the sample before; None without one, and of a gauge."""


@dataclass(frozen=True)
class Meters:
    """All series of a process at one moment. `samples` know of what came since an earlier one."""

    pid: int
    start_ns: int
    """Steady time, as the heartbeat."""
    heartbeat_ns: int
    taken: Moment
    samples: tuple[Sample, ...]
    interval_s: float | None = None
    """From the earlier sample to this one; None without one."""

    def since(self, before: Meters | None) -> Meters:
        """The same, with what came after `before`, if that was the same process's segment."""
        if before is None or (self.pid, self.start_ns) != (before.pid, before.start_ns):
            return self
        samples = tuple(map(_sample_since, self.samples, before.samples))
        interval_s = (self.taken.steady_ns - before.taken.steady_ns) / 1e9
        return replace(self, samples=samples, interval_s=interval_s)

    def facts(self) -> dict[str, object]:
        """For JSON: every series with its labels and raw values, in its own unit."""
        return {
            "pid": self.pid,
            "start_ns": self.taken.stamp_ns(self.start_ns),
            "interval_s": self.interval_s,
            "series": [dict(_facts(sample, self.interval_s)) for sample in self.samples],
        }


def _sample_since(now: Sample, before: Sample) -> Sample:
    if isinstance(now.value, Histogram):
        assert isinstance(before.value, Histogram)
        return Sample(now.series, now.value, now.value.since(before.value))
    if now.series.kind is Kind.GAUGE:
        return now
    assert isinstance(before.value, int)
    return Sample(now.series, now.value, now.value - before.value)


def _facts(sample: Sample, interval_s: float | None) -> Iterator[tuple[str, object]]:
    series, value, grown = sample.series, sample.value, sample.grown
    yield from (("name", series.name), ("kind", series.kind.value), ("unit", series.unit or None))
    yield "labels", series.labels
    if isinstance(value, Histogram):
        yield from histogram_facts(value).items()
        if isinstance(grown, Histogram):
            yield "interval", histogram_facts(grown)
        return
    yield "value", value
    if isinstance(grown, int) and interval_s:
        yield "per_s", grown / interval_s


def histogram_facts(seen: Histogram) -> dict[str, int | None]:
    """Count, sum, percentiles; a percentile or a maximum of nothing is None."""
    count = seen.count
    return {
        "count": count,
        "sum": seen.sum,
        "negative": seen.negative,
        **{name: seen.percentile(percent) for name, percent in PERCENTS.items()},
        "max": seen.max if count else None,
    }


def read_meters(reader: MeterReader, now: Moment) -> Meters:
    """What a process has counted so far."""
    return Meters(
        pid=reader.writer_pid,
        start_ns=reader.start_ns,
        heartbeat_ns=reader.heartbeat_ns,
        taken=now,
        samples=tuple(
            Sample(each, reader.histogram(each), None)
            if each.kind is Kind.HISTOGRAM
            else Sample(each, reader.value(each), None)
            for each in reader.series
        ),
    )
