"""That every verdict can fail: bars, rates, latencies and growth, on known data."""

from __future__ import annotations

import importlib.util
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.contenders.servers import OURS, TONIC
from bench.load import frames as F
from bench.options import Options
from bench.questions import (
    cold,
    edge,
    fanout,
    instruments,
    ladder,
    memory,
    saturation,
    subscribers,
    tick,
    wire,
)
from bench.registry import BENCHES
from bench.report.page import bench_document
from bench.report.plots import CURVE_POINTS, draw, tail
from bench.report.result import Bar, Plot, Rate, Result, Table, skipped
from bench.report.stats import latency, ratios, spread
from bench.report.tables import blocks, new_console, print_result, report_json, text_of
from bench.rig import compiled_loop
from bench.rig.host import describe, jitter, placement
from bench.rig.rig import Load, Run, alternating, evaluate
from bench.run import BenchError, Request, chosen, list_benches, run_benches
from engine.sharing.handoff import HandoffReader
from tests.markup import Report

TABLE = Table("t", ("a", "b"), (("x", 1.0),))
TINY = Options("tiny")


def result_with(*bars: Bar, rates: tuple[Rate, ...] = ()) -> Result:
    return Result("tick", "q", "pollux bench tick", (TABLE,), bars, rates)


def run_of(latency_ns: float, missing: int = 0) -> Run:
    samples = np.full(100, latency_ns)
    return Run(samples, samples, 100 + missing, 2000.0, 0, missing)


def test_a_bar_fails_on_its_wrong_side_and_on_no_number() -> None:
    assert Bar("x", (5.0, 6.0, 4.9), 5.0, is_at_least=True).verdict == "PASS"
    assert Bar("x", (4.0, 6.0, 4.9), 5.0, is_at_least=True).verdict == "FAIL"
    assert Bar("x", (1.0, 1.6, 1.4), 1.5, is_at_least=False).verdict == "PASS"
    assert Bar("x", (1.0, 1.6, 1.7), 1.5, is_at_least=False).verdict == "FAIL"
    for least in (True, False):
        assert Bar("x", (math.nan,), 1.0, least).verdict == "FAIL"
    with pytest.raises(AssertionError):
        Bar("x", (), 1.0, True)


def test_a_rate_that_is_not_reached_fails_the_bench() -> None:
    good = Bar("x", (9.0,), 5.0, True)
    assert result_with(good, rates=(Rate("r", 2000.0, 1981.0),)).verdict == "PASS"
    assert result_with(good, rates=(Rate("r", 2000.0, 1979.0),)).verdict == "FAIL"


@pytest.mark.parametrize(
    ("ours", "bare", "naive", "missing", "failing"),
    [
        (11.0, 10.0, 100.0, 0, []),
        (21.0, 10.0, 200.0, 0, ["median, ours / bare", "p99, ours / bare"]),
        (11.0, 10.0, 50.0, 0, ["median, naive / ours", "p99, naive / ours"]),
        (11.0, 10.0, 100.0, 1, ["frames that never became visible"]),
    ],
)
def test_the_tick_bars_can_fail(
    ours: float, bare: float, naive: float, missing: int, failing: list[str]
) -> None:
    runs = {"ours": [run_of(ours, missing)], "bare": [run_of(bare)], "naive": [run_of(naive)]}
    bars = tick.compared(runs)
    assert [bar.what for bar in bars if not bar.passes] == failing


def test_the_subscriber_bar_can_fail() -> None:
    load, options = Load(2000.0, 1.0), TINY
    for with_many, verdict in ((1090.0, "PASS"), (1110.0, "FAIL")):
        runs = {
            (placement_name, count): [run_of(with_many if count else 1000.0)]
            for placement_name in subscribers.PLACEMENTS
            for count in (0, 100)
        }
        result = subscribers._result(options, load, runs, dict.fromkeys(runs, 1))
        assert result.bars[0].verdict == verdict


def test_the_fanout_bar_can_fail() -> None:
    good = fanout.Served(60_000, 0, 5.0, 0.5, 0.1, 100.0, 900.0)
    peer = {
        **{case: replace(good, cpu_us=12.0) for case in fanout.CASES},
        fanout.CASES[2]: replace(good, cpu_us=40.0),
        fanout.CASES[3]: replace(good, cpu_us=40.0),
    }
    for changed, failing in (
        ({}, []),
        ({"cpu_us": 6.5}, ["100 streams, 1 a", "1,000 streams, 1 a", "100 streams, 10 a",
                           "1,000 streams, 10 a"]),
        ({"joined": 1}, ["messages joined"]),
        ({"busy": 0.16}, ["part of a core"]),
        ({"cpu_us": 55.0}, ["grpc.aio"]),
    ):  # fmt: skip
        runs: fanout.Runs = {
            case: {OURS: [replace(good, **changed)], TONIC: [peer[case]]} for case in fanout.CASES
        }
        bars = fanout.result(TINY, runs, [40.0], ()).bars
        failed = [bar.what for bar in bars if not bar.passes]
        for text in failing:
            assert any(text in what for what in failed), (changed, failed)
        assert bool(failed) == bool(failing), failed


def test_the_other_bars_are_the_issue_s() -> None:
    assert (saturation.NAIVE_MIN, saturation.BARE_MAX, ladder.BAR_RATIO) == (10, 1.5, 1.3)
    assert (tick.BARE_P50_MAX, tick.BARE_P99_MAX, tick.NAIVE_MIN) == (1.15, 2.0, 5.0)
    assert (tick.TLS_P50_MAX, subscribers.P99_MAX) == (1.05, 1.1)
    assert (wire.RATIO_MAX, wire.FAST_RATIO_MAX, wire.FAST_RATE_HZ) == (1.0, 0.7, 1000)
    assert [case.cpu_ratio_max for case in fanout.CASES] == [0.5, 0.5, 0.15, 0.15, None]
    assert (fanout.CORE_PART_MAX, fanout.PART_MIN) == (0.15, 0.8)
    assert (instruments.TICK_RATIO_MAX, instruments.MEMORY_MIB_MAX) == (1.15, 4.0)
    assert (instruments.MOST_MIB_MAX, instruments.START_S_MAX) == (2560, 1.5)


def test_the_wire_bar_fails_on_a_lost_event() -> None:
    for missing, verdict in ((0, "PASS"), (1, "FAIL")):
        run = replace(run_of(1000.0, missing), achieved_hz=200.0)
        assert wire.result(TINY, {200.0: {OURS: [run]}}, ()).verdict == verdict


@pytest.mark.parametrize(
    ("rate_hz", "ours_ns", "failing"),
    [(100.0, 1000.0, 0), (100.0, 1001.0, 2), (1000.0, 700.0, 0), (1000.0, 701.0, 2)],
)
def test_the_wire_bars_are_the_peer_s_time(rate_hz: float, ours_ns: float, failing: int) -> None:
    runs = {rate_hz: {OURS: [run_of(ours_ns)], TONIC: [run_of(1000.0)]}}
    bars = wire.result(TINY, runs, ()).bars
    assert len(bars) == 3 and sum(not bar.passes for bar in bars) == failing


def test_the_cold_bars_can_fail() -> None:
    def found(*medians_ns: float) -> dict[str, list[cold.Measured]]:
        stage_ns = np.ones(1)
        kinds = (cold.OURS, cold.BARE, cold.TLS)
        return {
            kind: [cold.Measured(run_of(median_ns), stage_ns, stage_ns)]
            for kind, median_ns in zip(kinds, medians_ns, strict=True)
        }

    for ours_ns, tls_ns, failing in ((1140.0, 1190.0, 0), (1160.0, 1210.0, 1), (1000.0, 1060.0, 1)):
        bars = cold.bars(50.0, found(ours_ns, 1000.0, tls_ns))
        assert [bar.what for bar in bars] == [
            "median at 50 a second, ours / bare", "median at 50 a second, wss / ws",
        ]  # fmt: skip
        assert sum(not bar.passes for bar in bars) == failing


def test_the_bars_of_instruments_can_fail() -> None:
    few, many = instruments.Held(1.4, 1.5, 150.0), instruments.Held(3.0, 9.0, 2100.0)
    for tick_ns, held, verdict in (
        (1140.0, many, "PASS"),
        (1160.0, many, "FAIL"),
        (1140.0, replace(many, memory_mib=2200.0), "FAIL"),
    ):
        runs = {1: [run_of(1000.0)], 512: [run_of(tick_ns)]}
        one = instruments.result(TINY, runs, {1: [few], 512: [held]}, ())
        assert one.verdict == verdict, [vars(bar) for bar in one.bars]
    late = replace(few, first_book_s=1.6)
    bars = instruments.result(TINY, {1: [run_of(1.0)], 512: [run_of(1.0)]},
                              {1: [late], 512: [many]}, ()).bars  # fmt: skip
    assert [bar.what for bar in bars if not bar.passes] == [
        "warm start to a subscriber's first book"
    ]


def test_what_the_bench_of_forms_says_follows_the_numbers() -> None:
    assert edge.pays_from((100.0, 10.0), (0.0, 200.0)) == 1
    assert edge.pays_from((400.0, 10.0), (0.0, 200.0)) == 3
    assert edge.pays_from((100.0, 300.0), (0.0, 200.0)) == 0
    assert edge.pays_from((0.0, 10.0), (100.0, 200.0)) == 1
    said = edge.sentence("x", (0.0, 200.0), (0.0, 40.0), (900.0, 5.0), (400.0, 50.0))
    assert said.endswith(
        "converting pays from 3 consumers on against JSON by orjson (with one: 2.25 of its time), "
        "never against JSON by our reader (with one: 11.25 of its time), "
        "never against protobuf (with one: 0.50 of its time)"
    )


def test_growth_of_memory_is_seen_and_flat_is_flat() -> None:
    times = [float(second) for second in range(300)]
    flat = [200 << 20] * 300
    leaks = [(200 << 20) + 2000 * second for second in range(300)]
    warms = [(200 << 20) + (second * 100_000 if second < 90 else 9_000_000)
             for second in range(300)]  # fmt: skip
    assert memory.growth_kib(times, flat) == pytest.approx(0, abs=1e-6)
    assert memory.growth_kib(times, leaks) == pytest.approx(199 * 2000 / 1024)
    assert memory.growth_kib(times, leaks) > memory.GROWTH_KIB_MAX
    assert memory.growth_kib(times, warms) == pytest.approx(0, abs=1e-6)


def test_a_dropped_frame_is_missing_and_a_conflated_one_waits_for_its_successor() -> None:
    intended = np.arange(6, dtype=np.int64) * 1000 + 1_800_000_000_000_000_000
    actual = intended + 10
    published = intended + 100
    published[2] = 0  # shown together with frame 3
    published[5] = 0  # never
    one = evaluate(intended, actual, published, 1, 6)
    assert (one.sent, one.conflated, one.missing) == (5, 1, 1)
    assert one.intended_ns.tolist() == [100, 1100, 100, 100], "no rounding of the wall clock"
    assert one.actual_ns.tolist() == [90, 1090, 90, 90]
    assert one.achieved_hz == pytest.approx(1e6)


def test_a_late_send_counts_from_when_it_was_due() -> None:
    intended = np.array([1000, 2000], np.int64)
    one = evaluate(intended, intended + 500, intended + 600, 0, 2)
    assert one.intended_ns.tolist() == [600, 600] and one.actual_ns.tolist() == [100, 100]


def test_drive_refuses_to_time_frames_that_are_not_applied() -> None:
    engine = compiled_loop.new_engine(F.instrument())
    compiled_loop.seed(engine, F.snapshot(20))
    gap = F.diff(F.FIRST_ID + 5, F.FIRST_ID + 5, [], [])
    with pytest.raises(AssertionError, match="1 of 1 frames were not applied"):
        compiled_loop.Batch([gap]).run(engine)
    assert isinstance(engine.reader(), HandoffReader)


def test_statistics() -> None:
    known = latency(np.arange(1, 1001, dtype=np.float64))
    assert (known.count, known.p50_ns, known.max_ns) == (1000, 500.5, 1000)
    assert known.p50_ns <= known.p90_ns <= known.p99_ns <= known.p999_ns <= known.max_ns
    assert ratios([4.0, 9.0], [2.0, 3.0]) == (2.0, 3.0)
    assert math.isnan(ratios([1.0], [0.0])[0])
    assert spread([3.0, 1.0, 2.0]) == "2.00 (1.00-3.00)"
    assert alternating(("a", "b"), 0) == ("a", "b") and alternating(("a", "b"), 1) == ("b", "a")
    assert Options("short", repeat=7).repetitions == 7 and Options().repetitions >= 5
    assert [text_of(cell) for cell in (None, 1234.5, 12.345, 0.5, 1000, "x")] == [
        "-", "1,234", "12.35", "0.500", "1,000", "x",
    ]  # fmt: skip


def test_the_host_is_described_and_its_jitter_measured() -> None:
    facts = describe()
    assert {"cpu", "cores", "kernel", "virtualisation", "python", "versions", "load"} <= set(facts)
    assert {"numba", "numpy", "picows"} <= set(facts["versions"])
    table = jitter(0.01)
    assert len(table.rows) == facts["cores"]
    assert all(float(str(row[4])) > 0 for row in table.rows), "some gap is the longest"
    assert placement().engine >= placement().sender


def test_check_turns_a_failed_bar_into_status_1(monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.questions import merge

    failing = replace(result_with(Bar("x", (1.0,), 5.0, True)), name="merge")
    monkeypatch.setattr(merge, "run", lambda _options, _say: failing)
    assert run_benches(Request(("merge",), TINY)) == 0
    assert run_benches(Request(("merge",), TINY, is_checked=True)) == 1
    passing = replace(failing, bars=(Bar("x", (9.0,), 5.0, True),))
    monkeypatch.setattr(merge, "run", lambda _options, _say: passing)
    assert run_benches(Request(("merge",), TINY, is_checked=True)) == 0


def test_a_failed_bar_is_printed_as_failed(capsys: pytest.CaptureFixture[str]) -> None:
    bad = result_with(Bar("x", (1.0,), 5.0, True), rates=(Rate("r", 10.0, 5.0),))
    print_result(new_console(), bad)
    said = capsys.readouterr().out
    assert said.count("FAIL") == 3 and "must be at least 5" in said
    assert report_json({}, TABLE, [bad])["verdict"] == "FAIL"


def test_plots_and_verdicts_are_in_the_report(tmp_path: Path) -> None:
    samples = {"a": np.random.default_rng(1).lognormal(9, 1, 2000), "empty": np.zeros(0)}
    lines = {"b": ([1.0, 10.0], [5.0, 6.0])}
    plots = (Plot("p<q>", "us", samples_ns=samples), Plot("q", "n", "ns", lines=lines))
    bars = (Bar("x<script>", (9.0, 1.5, 2.0), 5.0, True), Bar("y", (1.25,), 2.0, False))
    failing = replace(result_with(*bars, rates=(Rate("r", 100.0, 50.0),)), plots=plots)
    left_out = skipped("memory", "flat?", "pollux bench memory", "no <room>")
    results = [failing, left_out]
    drawn = draw(results, tmp_path)
    assert [each.path.name for each in drawn] == ["tick-1.png", "tick-2.png"]
    assert all(each.path.read_bytes().startswith(b"\x89PNG") for each in drawn)
    html = bench_document(describe(), TABLE, results, drawn)
    page = Report(html)
    assert page.loaded == [] and "://" not in html and "script" not in page.tags
    assert page.row("tick: x<script>") == ["2.00 (1.50-9.00) x", "at least 5", "FAIL"]
    assert page.row("tick: y") == ["1.25 (1.25-1.25) x", "at most 2", "PASS"]
    assert page.row("r") == ["100.0", "50.0", "FAIL"]
    assert "the rate r was not achieved, 50.00 of 100.0 a second" in html
    assert "1 of 2 bars are reached" in html and "SKIPPED" in html and "no &lt;room&gt;" in html
    assert ["x", "1.00"] in page.rows and describe()["kernel"] in html
    assert {"p<q>", "a", "b", "q", "99.9", "percentile"} <= set(page.drawn)
    assert "<code>pollux bench tick</code>" in html


def test_without_matplotlib_nothing_is_measured_for_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(
        BenchError, match=r"needs matplotlib: pip install .pollux\[bench\]"
    ) as caught:
        run_benches(Request(("merge",), TINY, out=tmp_path))
    assert caught.value.status == 2 and list(tmp_path.iterdir()) == []


def test_a_curve_is_thinned_and_keeps_its_ends() -> None:
    values, parts = tail(np.arange(1.0, 100_001.0))
    assert len(values) <= CURVE_POINTS
    assert (values[0], parts[0]) == (100_000, 1e-5) and (values[-1], parts[-1]) == (1, 1.0)
    assert np.interp(0.01, parts, values) == pytest.approx(99_000, rel=1e-4)


def test_the_list_names_every_bench() -> None:
    lines = list_benches().splitlines()
    assert [line.split()[1 - (line[:2] == "  ")] for line in lines[:-2]] == list(BENCHES)
    assert max(map(len, lines)) <= 80


def test_every_bar_has_its_bench() -> None:
    names = [entry.name for entry in chosen((), has_bars=True)]
    paths = ["decode", "ladder", "tick", "cold", "order", "saturation"]
    assert names == [*paths, "watched", "subscribers", "fanout", "wire", "instruments"]
    assert not BENCHES["memory"].has_bars, "ten minutes, by its own name"


def test_a_table_wider_than_the_page_is_cut_between_columns() -> None:
    table = Table("t", ("who", *("x" * 30 for _ in range(5))), (("a", 1, 2, 3, 4, 5),))
    assert blocks(table, 80) == [[0, 1, 2], [0, 3, 4], [0, 5]]
    assert blocks(TABLE, 80) == [[0, 1]]
