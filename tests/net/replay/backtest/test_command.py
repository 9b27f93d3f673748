"""`pollux backtest`: figures, a report that loads nothing, a CSV, one line where it is wrong."""

from __future__ import annotations

import csv
from decimal import Decimal
from pathlib import Path

import orjson
import pytest

import pollux
from net.replay.backtest.backtest import Backtest
from net.replay.backtest.fills_csv import header
from tests.markup import Report
from tests.net.replay.backtest.tapes import market_tape
from tests.net.replay.backtest.test_naive import CONFIG, WAYS
from tests.net.simulator.tapes import write_tape

LATENCY, TAIL, QUEUE, FEE = WAYS[1]
TEXT = CONFIG.format(
    latency=LATENCY, tail=TAIL, queue=QUEUE, fee=FEE, venue="binance", symbol="BTCUSDT",
    tick="0.01", size="0.7", step=1, edge=0.01,
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tape and a configuration."""
    path = tmp_path_factory.mktemp("backtest")
    market_tape(path / "t.jsonl.gz", frames=150)
    (path / "c.toml").write_text(TEXT)
    return path


def command(folder: Path, *options: str, tapes: tuple[str, ...] = ("t.jsonl.gz",)) -> int:
    """The exit status."""
    paths = [str(folder / tape) for tape in tapes]
    with pytest.raises(SystemExit) as ended:
        pollux.main(["backtest", *paths, "--config", str(folder / "c.toml"), *options])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_the_figures_the_report_and_the_csv_are_of_one_run(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    report, fills = folder / "r.html", folder / "f.csv"
    assert command(folder, "--json", "--report", str(report), "--fills", str(fills)) == 0
    said = capfd.readouterr()
    figures = orjson.loads(said.out)
    with fills.open(newline="") as file:
        names, *rows = csv.reader(file)
    assert tuple(names) == header()
    assert len(rows) == figures["fills"] > 5
    found = [dict(zip(names, row, strict=True)) for row in rows]
    assert sum(Decimal(row["fee"]) for row in found) == Decimal(figures["fees"])
    assert found[-1]["position"] == figures["position"]
    assert {row["side"] for row in found} == {"buy", "sell"}
    before, after = (Decimal(figures[f"result_{name}_fees"]) for name in ("before", "after"))
    assert before - Decimal(figures["fees"]) == after
    assert sum(int(day["fills"]) for day in figures["days"]) == len(rows)
    assert "times real time" in said.err and f"written: {report}" in said.err
    page = Report(report.read_text())
    assert [each for each in page.references if not each.startswith(("#", "data:,"))] == []
    assert "script" not in page.tags and figures["digest"] in report.read_text()
    assert list(header()) in page.rows and rows[0] in page.rows
    assert {"fair price", "after fees", "markout"} <= set(page.drawn)


def test_the_same_again_says_the_same(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert [command(folder), command(folder)] == [0, 0]
    lines = capfd.readouterr().out.splitlines()
    assert lines[: len(lines) // 2] == lines[len(lines) // 2 :]
    assert len([line for line in lines if line.startswith("digest      ")]) == 2


def one_error(capfd: pytest.CaptureFixture[str]) -> str:
    said = capfd.readouterr()
    assert said.out == ""
    (line,) = (each for each in said.err.splitlines() if not each.startswith("compiling"))
    assert line.startswith("pollux: ")
    return line


@pytest.mark.parametrize(
    ("options", "tapes", "words"),
    [
        (("--report", "r.txt"), ("t.jsonl.gz",), "r.txt: the name must end with .html"),
        (("--fills", "f.html"), ("t.jsonl.gz",), "f.html: the name must end with .csv"),
        (("--fills", "/absent/f.csv"), ("t.jsonl.gz",), "/absent/f.csv: No such file"),
        ((), ("absent.jsonl.gz",), "absent.jsonl.gz: No such file"),
        ((), ("c.toml",), "c.toml: it is neither zstd nor gzip"),
        ((), ("empty.jsonl.gz",), "empty.jsonl.gz: the file is empty"),
        ((), ("t.jsonl.gz", "t.jsonl.gz"), "begins before the tape in front of it has ended"),
        ((), ("other.jsonl.gz",), "no frame of binance: nothing of the configured venues"),
    ],
)
def test_what_is_wrong_is_one_line_and_status_2(
    folder: Path,
    options: tuple[str, ...],
    tapes: tuple[str, ...],
    words: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (folder / "empty.jsonl.gz").write_bytes(b"")
    other = {"t": 5, "venue": "bitstamp", "kind": "ws", "raw": "{}"}
    write_tape(folder / "other.jsonl.gz", [other])
    assert command(folder, *options, tapes=tapes) == 2
    assert words in one_error(capfd)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("[maker", "[nothing"), "unknown key"),
        (('tick_size = "0.01"', ""), "tick_size must be configured"),
        (("fee_bps = 0.02", "fee_bps = 5000"), "maker.paper.fee_bps"),
        (("latency_ms = 20.0", "latency_ms = -1"), "maker.paper.latency_ms"),
        (('queue = "proportional"', 'queue = "first"'), "maker.paper.queue"),
        (('size = "0.7"', 'size = "0.000000001"'), "size"),
    ],
)
def test_a_wrong_configuration_is_one_line_and_status_2(
    folder: Path, change: tuple[str, str], words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert change[0] in TEXT
    (folder / "c.toml").write_text(TEXT.replace(*change))
    try:
        assert command(folder) == 2
    finally:
        (folder / "c.toml").write_text(TEXT)
    assert words in one_error(capfd)


def test_nothing_is_quoted_without_a_market_maker(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder / "c.toml").write_text(TEXT[: TEXT.index("[maker]")])
    try:
        assert command(folder) == 2
    finally:
        (folder / "c.toml").write_text(TEXT)
    assert "maker: is missing: nothing is quoted without a [maker] section" in one_error(capfd)


def test_an_interruption_is_one_line_and_writes_nothing(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: Backtest, *_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Backtest, "take_tape", interrupted)
    fills = folder / "never.csv"
    assert command(folder, "--fills", str(fills)) == 130
    assert "interrupted: no result, nothing is written" in one_error(capfd)
    assert not fills.exists()
