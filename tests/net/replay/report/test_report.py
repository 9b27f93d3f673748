"""The report of a replay: what it says is what the run counted, and it changes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pollux
from net.config.schema import parse_config
from net.feed.events import FeedEvent
from net.replay.replay import Replay
from net.replay.report.bins import BINS_MAX, LAGS_MAX, Bins
from net.replay.report.drawing import COLOURS, VENUE_COLOURS
from net.replay.report.plots import crossed_spans
from net.replay.report.timeline import EVENTS_MAX, Timeline
from net.tape.tape import read_tape
from tests.e2e.rig import ONE_INSTRUMENT
from tests.markup import Report
from tests.net.observe.page.browser import CHROMIUM, browser
from tests.net.rig import ASKS, BIDS, SECOND, START_NS, Rows, binance_diff, bitstamp_diff, snapshot
from tests.net.simulator.tapes import write_tape

SYMBOL = "<script>alert('$1$')</script>"
BITSTAMP = """
[[instrument.venue]]
name = "bitstamp"
symbol = "btcusd"
tick_size = "0.01"
"""
CONFIG = ONE_INSTRUMENT.replace("BTC-USD", SYMBOL) + BITSTAMP
DEPTH = "/api/v3/depth?symbol=BTCUSDT&limit=1000"
BOOK = "/api/v2/order_book/btcusd/"
TENTH = SECOND // 10
LAG_NS = 70_000_000
HIGHER: Rows = [("100.05", "1")]
HIGHER_ASKS: Rows = [("100.06", "1")]


def tape_rows() -> list[dict[str, Any]]:
    """Twelve seconds: Binance has a gap and a torn frame, Bitstamp comes later and crosses."""
    rows: list[dict[str, Any]] = []

    def add(t_ns: int, venue: str, raw: bytes, path: str = "") -> None:
        kind = {"kind": "rest", "path": path} if path else {"kind": "ws"}
        rows.append({"t": t_ns, "venue": venue, **kind, "raw": raw.decode()})

    for number in range(1, 121):
        t_ns = START_NS + number * TENTH
        asks = [("100.01", f"{number}.0"), *ASKS[1:]]
        raw = binance_diff(number, number, BIDS, asks, (t_ns - LAG_NS) // 1_000_000)
        if number == 80:
            raw = raw[:-3]
        if number != 40:
            add(t_ns, "binance", raw)
        if number in (5, 60):
            add(t_ns, "binance", snapshot("binance", number - 1, BIDS, ASKS), DEPTH)
        micro = (t_ns - LAG_NS) // 1000
        if number > 20:
            add(t_ns + 1000, "bitstamp", bitstamp_diff(micro, HIGHER, HIGHER_ASKS))
        if number == 22:
            book = snapshot("bitstamp", micro - 50_000, HIGHER, HIGHER_ASKS)
            add(t_ns + 2000, "bitstamp", book, BOOK)
    return rows


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tape(tmp_path_factory.mktemp("tape") / "t<b>.jsonl.gz", tape_rows())


@pytest.fixture(scope="module")
def run(tape: Path) -> tuple[Replay, Timeline]:
    """The tape through the engine, watched."""
    config = parse_config(CONFIG, "test")
    ticks = {("binance", "BTCUSDT"): "0.01", ("bitstamp", "btcusd"): "0.01"}
    replay = Replay(config, ticks)
    timeline = Timeline(replay)
    for line in read_tape(tape):
        replay.step(line)
    replay.finish()
    timeline.end()
    return replay, timeline


def command(folder: Path, tape: Path, *options: str) -> int:
    """`pollux replay`'s exit status."""
    (folder / "c.toml").write_text(CONFIG)
    with pytest.raises(SystemExit) as ended:
        pollux.main(["replay", str(tape), "--config", str(folder / "c.toml"), *options])
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.fixture(scope="module")
def written(tape: Path) -> tuple[Path, str]:
    """The report of the tape, and what the command printed."""
    path = tape.with_name("r.html")
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert command(tape.parent, tape, "--report", str(path)) == 0
    return path, said.getvalue()


def test_the_report_says_what_was_counted_and_the_digest_stays(
    tmp_path: Path,
    tape: Path,
    written: tuple[Path, str],
    run: tuple[Replay, Timeline],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command(tmp_path, tape) == 0
    assert written[1] == capsys.readouterr().out, "the same digest, and all else"
    html = written[0].read_text(encoding="utf-8")
    report, summary = Report(html), run[0].summary
    assert summary.digest in written[1] and f"<dd>{summary.digest}</dd>" in html
    assert "<dd>219</dd>" in html and summary.frames == 219
    assert f"{summary.books:,} published, {summary.crossed:,} crossed" in html
    assert report.row("frames") == ["118", "100"] and report.row("gaps") == ["1", "0"]
    assert report.row("resyncs") == ["2", "0"] and report.row("frames refused")[0] == "1"
    assert ["binance", "BTCUSDT", "not JSON", "1"] in report.rows
    assert "Sequence gaps: 1, resyncs: 2, frames refused: 1." in html
    (gap,) = [row for row in report.rows if "sequence gap" in row[-1] and len(row) == 5]
    assert gap[:4] == ["4.000", "binance", "BTCUSDT", "broken"]
    assert {"binance", "bitstamp", "resync", "crossed", "SYNCING", "median", "p99"} <= set(
        report.drawn
    )


def test_it_loads_nothing_and_everything_is_escaped(written: tuple[Path, str]) -> None:
    html = written[0].read_text(encoding="utf-8")
    report = Report(html)
    assert report.loaded == [] and "://" not in html and "@import" not in html
    assert "script" not in report.tags and "svg" in report.tags
    assert f"{SYMBOL}: spread" in report.drawn, "as text, dollars and all"
    assert "Replay of t&lt;b&gt;.jsonl.gz" in html
    plots = html.split("<svg", 1)[1]
    drawn = {name for name in COLOURS if f"var(--{name})" in plots}
    assert {"v0", "v1", "text", "dim", "buy", "sell", "warn"} <= drawn
    assert not [light for light, _ in COLOURS.values() if light in plots], "no colour is fixed"


def test_the_timeline_has_what_happened_when(run: tuple[Replay, Timeline]) -> None:
    timeline = run[1]
    (book,), bins = timeline.books, timeline.bins
    assert bins.count == 12 and bins.width_ns == SECOND
    # The first line is a tenth in: bin n begins at n + 0.1 s.
    assert bins.known(book.resyncs[0]).nonzero()[0].tolist() == [4, 7]
    assert bins.known(book.resyncs[1]).sum() == 0
    live = [bins.held(each) == 0 for each in book.badness_last]
    assert live[0].tolist() == [True] * 4 + [False] + [True] * 2 + [False] * 5
    assert live[1].tolist() == [False] * 2 + [True] * 10
    assert bins.held(book.bid)[[0, 2]].tolist() == [100.00, 100.05]
    assert bins.held(book.ask)[[0, 2, 8]].tolist() == [100.01, 100.01, 100.06]
    assert crossed_spans(bins, book) == [(2, 4), (5, 8)]
    assert book.crossed_ns == pytest.approx(3.8e9, abs=0.1e9)
    assert 0 < book.crossed_ns < book.two_sided_ns < 12 * SECOND
    assert bins.known(book.spread_low_bps)[6] == pytest.approx(-4 / 100.03 * 100, rel=1e-3)
    binance, bitstamp = timeline.venues.values()
    assert bins.known(bitstamp.frames).tolist() == [0, 0, *[10] * 10]
    assert bins.known(binance.frames).sum() == 119, "the torn one too"
    assert bitstamp.lags_ns[5].percentile(50) == pytest.approx(LAG_NS + 1000)
    assert not timeline.happenings_left_out


def test_happenings_are_bounded(run: tuple[Replay, Timeline]) -> None:
    timeline = Timeline(run[0])
    (sync,) = run[0].venues["bitstamp"].syncs
    for _ in range(EVENTS_MAX + 3):
        timeline.on_note(sync, FeedEvent.BROKEN, {"reason": "sequence gap"}, START_NS)
    assert len(timeline.happenings) == EVENTS_MAX and timeline.happenings_left_out == 3
    resyncs = [each.values.sum() for each in timeline.books[0].resyncs]
    assert resyncs == [0, EVENTS_MAX + 3], "each is counted, for its own feed"


def test_a_long_tape_needs_no_more_bins() -> None:
    bins = Bins()
    total, lowest, highest, last = bins.total(), bins.lowest(), bins.highest(), bins.last()
    lags = bins.lags()
    seconds = 20 * BINS_MAX + 7
    for number in range(seconds):
        bin_ = bins.at(START_NS + number * SECOND)
        total.values[bin_] += 1
        lowest.add(bin_, number)
        highest.add(bin_, number)
        last.values[bin_] = number
        for _ in range(20):
            lags[bin_].add(1000 * number)
    assert bins.width_ns == 32 * SECOND and BINS_MAX // 2 < bins.count <= BINS_MAX
    assert total.values.sum() == seconds
    starts = np.arange(bins.count) * 32
    assert bins.known(lowest).tolist() == starts.tolist()
    ends = np.minimum(starts + 31, seconds - 1)
    assert bins.known(highest).tolist() == bins.known(last).tolist() == ends.tolist()
    assert all(len(each.values) <= LAGS_MAX for each in lags)
    middle = lags[3].percentile(50) / 1000
    assert middle == pytest.approx(32 * 3 + 15.5, abs=1)
    empty = Bins()
    assert empty.count == 0 and np.isnan(empty.lags()[0].percentile(50))


def test_a_bin_without_news_holds_what_was() -> None:
    bins = Bins()
    series = bins.last()
    for second, value in ((1, 5.0), (4, 0.0)):
        bins.at(START_NS)
        series.values[bins.at(START_NS + second * SECOND)] = value
    held = bins.held(series)
    assert np.isnan(held[0]) and held[1:].tolist() == [5.0, 5.0, 5.0, 0.0]


def test_a_tape_of_nothing_has_a_report(tmp_path: Path) -> None:
    tape = write_tape(tmp_path / "t.jsonl.gz", [])
    assert command(tmp_path, tape, "--report", str(tmp_path / "r.html")) == 0
    assert Report((tmp_path / "r.html").read_text()).row("frames") == ["0", "0"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("t.jsonl.gz", "must end with .html"),
        ("absent/r.html", "No such file"),
        ("r.html", 'needs matplotlib: pip install "pollux[bench]"'),
    ],
)
def test_what_cannot_be_written_is_one_line_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    name: str, said: str,
) -> None:  # fmt: skip
    if "matplotlib" in said:
        monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    # The tape is not looked at: it is not even there.
    assert command(tmp_path, tmp_path / "t.jsonl.gz", "--report", str(tmp_path / name)) == 2
    printed = capsys.readouterr().err
    assert said in printed and printed.startswith("pollux: --report: ")
    assert printed.count("\n") == 1
    assert not (tmp_path / name).exists()


def test_an_old_report_stays_until_the_run_has_finished(tmp_path: Path) -> None:
    path = tmp_path / "r.html"
    path.write_text("old")
    assert command(tmp_path, tmp_path / "absent.gz", "--report", str(path)) == 2
    assert path.read_text() == "old"


def test_a_venue_has_the_colour_of_the_daemon_s_page() -> None:
    css = (Path(pollux.__file__).parent / "net" / "observe" / "page" / "page.css").read_text()
    for index in range(VENUE_COLOURS):
        assert f"--v{index}: {COLOURS[f'v{index}'][1]};" in css


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium here")
def test_a_narrow_screen_does_not_scroll_sideways(
    tmp_path: Path, written: tuple[Path, str]
) -> None:
    async def look() -> None:
        async with browser(tmp_path / "profile") as tab:
            size: dict[str, Any] = {"width": 360, "height": 700, "deviceScaleFactor": 1}
            await tab.call("Emulation.setDeviceMetricsOverride", mobile=False, **size)
            await tab.open(written[0].as_uri())
            await tab.until("document.querySelectorAll('svg').length === 3")
            root = "document.documentElement"
            assert await tab.value(f"{root}.scrollWidth <= {root}.clientWidth")
            box = "document.querySelector('svg').parentElement"
            assert await tab.value(f"{box}.scrollWidth > {box}.clientWidth"), "it scrolls in there"
            assert [each for each in tab.requests if not each.startswith(("file:", "data:"))] == []
            assert tab.troubles == []

    asyncio.run(look())
