"""How results are shown: tables on the terminal (plain lines when piped), JSON, one file a run.

Runs on: the harness's main thread. Called by: bench.run.
"""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table as RichTable

from bench.report.result import Cell, Result, Table
from bench.report.stats import spread

PIPED_COLUMNS = 200
"""Width of the tables where no terminal says how wide it is."""
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
    """A console that keeps its tables whole in a pipe."""
    console = Console(stderr=stderr, highlight=False)
    return console if console.is_terminal else Console(stderr=stderr, width=PIPED_COLUMNS,
                                                       highlight=False)  # fmt: skip


def print_table(console: Console, table: Table) -> None:
    """One table; the first column is text, the others are numbers."""
    shown = RichTable(
        title=table.title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for index, column in enumerate(table.columns):
        shown.add_column(column, justify="left" if index == 0 else "right", overflow="fold")
    for row in table.rows:
        shown.add_row(*(text_of(cell) for cell in row))
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


def report_json(host: dict[str, Any], jitter: Table, results: list[Result]) -> dict[str, Any]:
    """All of a run as plain data."""
    return {
        "host": host,
        "jitter": vars(jitter),
        "verdict": "FAIL" if any(r.verdict == "FAIL" for r in results) else "PASS",
        "results": [result.as_json() for result in results],
    }
