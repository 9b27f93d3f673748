"""The jitter loop: what it counts is what the clock said, and what it prints is what it counted."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest

import pollux
from tuning import jitter

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux only"),
]

MS = 1_000_000


def jitter_of(gaps_ns: list[int], span_ns: int = 1_000 * MS) -> jitter.Jitter:
    """A measurement that met these gaps."""
    counts = np.zeros(jitter.BUCKETS, np.int64)
    for gap in gaps_ns:
        counts[jitter.bucket_of(gap)] += 1
    return jitter.Jitter(3, counts, max(gaps_ns, default=0), sum(gaps_ns), 10**6, span_ns, 7, 0.25)


def test_buckets_hold_what_they_say_and_are_three_percent_wide() -> None:
    starts = [jitter.bucket_start_ns(bucket) for bucket in range(jitter.BUCKETS)]
    assert starts == sorted(set(starts)) and starts[:3] == [0, 1, 2]
    for bucket in range(jitter.BUCKETS - 1):
        first, last = starts[bucket], starts[bucket + 1] - 1
        assert jitter.bucket_of(first) == jitter.bucket_of(last) == bucket
        assert last - first <= first / 32
    assert jitter.bucket_of(1 << 60) == jitter.BUCKETS - 1
    assert starts[-1] > 30_000 * MS


def test_percentiles_are_those_of_the_gaps() -> None:
    rng = np.random.default_rng(1)
    gaps = [int(value) for value in 1_000 * rng.pareto(1.2, 4_999) + 1_000]
    found = jitter_of(gaps)
    assert found.count == 4_999
    for percentile in (50, 90, 99, 99.9):
        exact = float(np.percentile(gaps, percentile, method="inverted_cdf"))
        assert exact <= found.percentile_ns(percentile) <= exact * 1.032
    assert found.percentile_ns(100) == max(gaps)
    quiet = jitter_of([])
    assert quiet.percentile_ns(99) == 0 and quiet.histogram() == []


def test_lines_have_the_figures_under_their_headings() -> None:
    found = jitter_of([1_500] * 50 + [20_000] * 40 + [3 * MS] * 2, span_ns=2_000 * MS)
    line = dict(zip(("cpu", "count", "rate"), jitter.jitter_line(found).split(), strict=False))
    assert line == {"cpu": "3", "count": "92", "rate": "46.0"}
    assert jitter.jitter_line(found).split()[-3:] == ["7", "12.5", "%"]
    assert jitter.decade_line(found).split() == ["3", "50", "40", "0", "2", "0"]
    assert len(jitter.HEAD) == len(jitter.jitter_line(found)) <= 80
    assert len(jitter.DECADE_HEAD) == len(jitter.decade_line(found)) <= 80
    assert jitter.jitter_json(found)["max_ns"] == 3 * MS


def test_time_taken_by_another_thread_of_the_cpu_is_found() -> None:
    """A burst of somebody else's work on the CPU shows as lost time, long gaps and switches."""
    cpu = min(os.sched_getaffinity(0))
    child = os.fork()
    if child == 0:  # a process: a thread would be stopped by the interpreter's lock, not the CPU
        os.sched_setaffinity(0, {cpu})
        while True:
            pass
    try:
        found = jitter.measure(cpu, 0.3)
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert found.lost_ns > 0.2 * found.span_ns
    assert found.switches >= 2 and found.longest_ns >= MS
    assert found.count == sum(count for _, count in found.histogram())
    assert found.span_ns >= 300 * MS and found.steps > 1_000
    assert found.longest_ns <= found.lost_ns <= found.span_ns


def test_measuring_leaves_the_caller_where_it_was() -> None:
    before = os.sched_getaffinity(0)
    started_s = time.monotonic()
    jitter.measure(max(before), 0.01)
    assert time.monotonic() - started_s < 10
    assert os.sched_getaffinity(0) == before
    with pytest.raises(ValueError, match="CPU 8000 cannot be used"):
        jitter.check_cpus((max(before), 8000))
    assert os.sched_getaffinity(0) == before


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        pollux.main(["jitter", "--seconds", "0.02", *arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_the_command_prints_a_table_or_json_and_draws(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cpus = sorted(os.sched_getaffinity(0))
    assert run() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2 : 2 + len(cpus)]] == [str(cpu) for cpu in cpus]
    plot = tmp_path / "jitter.svg"
    assert run("--json", "--cpus", str(cpus[0]), "--plot", str(plot)) == 0
    (entry,) = json.loads(capsys.readouterr().out)["cpus"]
    assert entry["cpu"] == cpus[0] and entry["seconds"] >= 0.02
    assert entry["count"] == sum(count for _, count in entry["histogram"])
    assert plot.read_text().lstrip().startswith("<?xml")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--cpus", "8000"), "--cpus: CPU 8000 cannot be used"),
        (("--cpus", "x"), "--cpus: 'x' is not a list"),
        (("--plot", "a.gif"), "must end with .png or .svg"),
        (("--seconds", "0"), "--seconds"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_measures_nothing(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    printed = capsys.readouterr()
    assert said in printed.err and printed.err.count("\n") == 1 and printed.out == ""
