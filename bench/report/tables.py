"""How results are shown: tables on the terminal (plain lines when piped), JSON, one file a run.

Runs on: the harness's main thread.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console, JustifyMethod
from rich.table import Table as RichTable

from bench.report.result import Cell, Result, Table
from bench.report.stats import spread

PIPED_COLUMNS = 80
"""Width of the tables where no terminal says how wide it is."""
GAP_COLUMNS = 2
"""Between two columns of a table, and at its edges."""
BAR_COLUMNS = ("bar", "measured", "must be", "verdict")
FIRST_COLUMNS_MAX = 38
"""A longer text in the first column goes over two lines."""
COLOURS = {"PASS": "green", "OK": "green", "FAIL": "bold red", "SKIPPED": "yellow"}


def text_of(cell: Cell) -> str:
    """A cell as it is printed: three or four digits that mean something."""
    if cell is None:
        return "-"
    if isinstance(cell, float):
        size = abs(cell)
        digits = 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 1 else 3
        return f"{cell:,.{digits}f}"
    return f"{cell:,}" if isinstance(cell, int) else str(cell)


def new_console(stderr: bool = False) -> Console:
    """A console as wide as the terminal, or of the width that every reader has."""
    width = None if (sys.stderr if stderr else sys.stdout).isatty() else PIPED_COLUMNS
    return Console(stderr=stderr, width=width, highlight=False)


def blocks(table: Table, width: int) -> list[list[int]]:
    """The columns of each part of a table that is wider than the page; the first is in all."""
    texts = (table.columns, *([text_of(cell) for cell in row] for row in table.rows))
    sizes = [max(map(len, column)) + GAP_COLUMNS for column in zip(*texts, strict=True)]
    parts: list[list[int]] = []
    left = 0
    sizes[0] = min(sizes[0], FIRST_COLUMNS_MAX)
    for index in range(1, len(sizes)):
        if not parts or sizes[index] > left:
            parts.append([0])
            left = width - sizes[0] - GAP_COLUMNS
        parts[-1].append(index)
        left -= sizes[index]
    return parts or [[0]]


def print_table(console: Console, table: Table) -> None:
    """One table; the first column is text, the others are numbers."""
    console.print(f"[bold]{table.title}[/]")
    for columns in blocks(table, console.width):
        shown = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for index in columns:
            side: JustifyMethod = "right" if index else "left"
            shown.add_column(table.columns[index], justify=side, overflow="fold",
                             max_width=None if index else FIRST_COLUMNS_MAX)  # fmt: skip
        for row in table.rows:
            shown.add_row(*(text_of(row[index]) for index in columns))
        console.print(shown)


def print_host(console: Console, host: dict[str, Any], jitter: Table) -> None:
    """What the figures were measured on, and how much it stutters."""
    console.print(f"[bold]{host['date']}[/]  {host['host']}: {host['cpu']}, {host['cores']} CPUs")
    console.print(f"{host['kernel']}, {host['virtualisation']}, load {host['load']}")
    versions = ", ".join(f"{name} {number}" for name, number in host["versions"].items())
    console.print(f"Python {host['python']}, {versions}")
    print_table(console, jitter)


def print_result(console: Console, result: Result) -> None:
    """A bench's tables, its rates, its verdicts, and how to do it again."""
    console.print()
    colour = COLOURS[result.verdict]
    console.print(f"[bold]{result.name}[/]: {result.question}  [{colour}]{result.verdict}[/]")
    for table in result.tables:
        print_table(console, table)
    for rate in result.rates:
        console.print(
            f"  rate {rate.what}: {rate.achieved_hz:,.1f} of {rate.intended_hz:,.1f} a second "
            f"[{COLOURS[rate.verdict]}]{rate.verdict}[/]"
        )
    for bar in result.bars:
        sense = "at least" if bar.is_at_least else "at most"
        console.print(
            f"  [{COLOURS[bar.verdict]}]{bar.verdict}[/] {bar.what}: "
            f"{spread(bar.values)} {bar.unit}, must be {sense} {bar.limit:g}"
        )
    for note in result.notes:
        console.print(f"  note: {note}", markup=False)
    console.print(f"  again: {result.command}", markup=False)


def bars_table(results: Sequence[Result]) -> Table:
    """Every bar of a run in one place."""
    rows = tuple(
        (f"{result.name}: {bar.what}", spread(bar.values),
         f"{'>=' if bar.is_at_least else '<='} {bar.limit:g}", bar.verdict)
        for result in results
        for bar in result.bars
    )  # fmt: skip
    return Table("bars: median (min-max) of the repetitions", BAR_COLUMNS, rows)


def report_json(host: dict[str, Any], jitter: Table, results: list[Result]) -> dict[str, Any]:
    """All of a run as plain data."""
    return {
        "host": host,
        "jitter": vars(jitter),
        "verdict": "FAIL" if any(r.verdict == "FAIL" for r in results) else "PASS",
        "results": [result.as_json() for result in results],
    }
