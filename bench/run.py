"""`pollux bench`: runs the benches that were asked for, one after the other, and reports.

First the host and its jitter, then each bench, then JSON, plots and the report. A bench that cannot
be run is reported as such; a bar that is not reached is printed as FAIL.
Runs on: the main thread of the command, pinned to the last CPU while a bench measures in this
process.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from bench.clients import h2  # noqa: F401 (declare kernels)
from bench.contenders import bare  # noqa: F401 (declare kernels)
from bench.encodings import diff, order_event  # noqa: F401 (declare kernels)
from bench.options import Options, Say
from bench.questions import seqlock  # noqa: F401 (declare kernels)
from bench.registry import BENCHES, Entry
from bench.report.page import bench_document
from bench.report.plots import draw
from bench.report.result import Result, Table
from bench.report.tables import (
    bars_table,
    new_console,
    print_host,
    print_result,
    print_table,
    report_json,
)
from bench.rig import compiled_loop, host, ring  # noqa: F401 (declare kernels)
from bench.rig.kernels import compile_bench_kernels
from bench.rig.workers import WorkerError
from net.process.signals import closing
from net.replay.report.document import ReportError, check_report, write_report

JITTER_S = {"tiny": 0.02, "short": 0.5, "full": 5.0}
REPORT = "report.html"
OWN_PROCESS = frozenset({"decode", "ladder", "merge", "seqlock", "edge", "growth"})
"""Benches that measure in the harness's own process, which is then pinned to the engine's CPU."""


class BenchError(Exception):
    """The benches cannot be run as asked: one line. `status` is the exit status."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True)
class Request:
    """What the command line asked for."""

    names: tuple[str, ...]
    options: Options
    as_json: bool = False
    out: Path | None = None
    is_checked: bool = False
    has_bars: bool = False
    """Without names: the benches of all bars."""

    def __post_init__(self) -> None:
        """BenchError: what cannot be run as asked."""
        chosen(self.names)
        options = self.options
        if self.has_bars and self.names:
            raise BenchError("either --bars or names", 2)
        if bool(options.external) != bool(options.feed_port):
            raise BenchError("--external and --feed-port go together", 2)
        if options.external and "wire" not in self.names:
            raise BenchError("--external is for the bench wire: pollux bench wire", 2)


def list_benches() -> str:
    """One line a bench, marked where it runs without being named."""
    lines = [
        f"{'*' if e.is_short else ' '}{'|' if e.has_bars else ' '} {e.name:<12} {e.question}"
        for e in BENCHES.values()
    ]
    return "\n".join((*lines, "*  runs where no name is given", " | runs with --bars"))


def chosen(names: Sequence[str], has_bars: bool = False) -> list[Entry]:
    """The benches of these names; a set for none. BenchError: unknown name."""
    for name in names:
        if name not in BENCHES:
            raise BenchError(f"no bench {name!r}; known: {', '.join(BENCHES)}", 2)
    if names:
        return [BENCHES[name] for name in names]
    return [e for e in BENCHES.values() if (e.has_bars if has_bars else e.is_short)]


def run_benches(request: Request) -> int:
    """Run and report; 1 where `is_checked` and a bar failed, else 0. BenchError: one line."""
    entries = chosen(request.names, request.has_bars)
    if request.out is not None:
        _check_folder(request.out)
    compile_bench_kernels()
    console = new_console(stderr=request.as_json)
    facts = host.describe()
    gaps = host.jitter(JITTER_S[request.options.scale])
    print_host(console, facts, gaps)
    results = []
    for entry, say in _progress(entries):
        is_own = entry.name in OWN_PROCESS
        place = host.placement()
        with closing(), host.placed((place.engine,) if is_own else place.others, is_own):
            try:
                result = entry.bench.run(request.options, say)
            except WorkerError as error:
                raise BenchError(f"{entry.name}: {error}", 1) from error
        results.append(result)
        print_result(console, result)
    if any(result.bars for result in results):
        console.print()
        print_table(console, bars_table(results))
    report = report_json(facts, gaps, results)
    if request.as_json:
        sys.stdout.buffer.write(orjson.dumps(report, option=orjson.OPT_INDENT_2) + b"\n")
    if request.out is not None:
        try:
            for path in _write(request.out, report, results, gaps):
                console.print(f"written: {path}", markup=False, soft_wrap=True)
        except (OSError, ReportError) as error:
            raise BenchError(f"--out: {error}", 1) from None
    return 1 if request.is_checked and report["verdict"] == "FAIL" else 0


def _check_folder(out: Path) -> None:
    """Make it; BenchError, before anything is measured, where no report could be written there."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        check_report(out / REPORT)
    except OSError as error:
        raise BenchError(f"--out: {out}: {error.strerror}", 2) from None
    except ReportError as error:
        raise BenchError(f"--out: {error}", 2) from None


def _write(
    out: Path, report: dict[str, Any], results: list[Result], jitter: Table
) -> Iterator[Path]:
    """JSON, PNGs and the report of a run: each path when it is there."""
    path = out / "bench.json"
    path.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2) + b"\n")
    yield path
    drawn = draw(results, out)
    yield from (each.path for each in drawn)
    write_report(out / REPORT, bench_document(report["host"], jitter, results, drawn))
    yield out / REPORT


def _progress(entries: list[Entry]) -> Iterator[tuple[Entry, Say]]:
    """Each bench with a function that shows its steps: a bar on a terminal, else plain lines."""
    if not sys.stderr.isatty():
        for entry in entries:
            print(f"bench {entry.name}", file=sys.stderr, flush=True)
            yield entry, lambda _text: None
        return
    columns = (TextColumn("{task.fields[name]}"), BarColumn(), TextColumn("{task.description}"))
    # Redrawn when a step begins, never by a timer: its thread would run beside what is measured.
    with Progress(
        *columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True,
        auto_refresh=False,
    ) as bar:  # fmt: skip
        task = bar.add_task("", total=len(entries), name="")
        for number, entry in enumerate(entries):
            bar.update(task, completed=number, name=entry.name)

            def say(text: str) -> None:
                bar.update(task, description=text)
                bar.refresh()

            yield entry, say


__all__ = ["BenchError", "Options", "Request", "chosen", "list_benches", "run_benches"]
