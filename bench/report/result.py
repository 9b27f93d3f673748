"""What a bench answers: tables, bars with their verdicts, rates, and what is to be plotted.

Everything is plain data; `as_json` has all of it but the raw samples, of which it keeps the
percentile curves. A verdict is computed from the measured values and can fail.
Runs on: the harness's main thread.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench.report.stats import Floats, curve

RATE_PART_MIN = 0.99
"""A run whose achieved rate stays below this part of the intended one did not measure that rate."""

Cell = str | int | float | None


@dataclass(frozen=True)
class Table:
    """Rows under headings; units stand in the headings."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def __post_init__(self) -> None:
        assert all(len(row) == len(self.columns) for row in self.rows), self.title


@dataclass(frozen=True)
class Bar:
    """A limit for the median of one value a repetition."""

    what: str
    values: tuple[float, ...]
    limit: float
    is_at_least: bool
    unit: str = "x"

    def __post_init__(self) -> None:
        assert self.values, f"nothing was measured for: {self.what}"

    @property
    def median(self) -> float:
        return float(np.median(self.values))

    @property
    def passes(self) -> bool:
        # A value that is no number fails: every comparison with it is false.
        value = self.median
        return value >= self.limit if self.is_at_least else value <= self.limit

    @property
    def verdict(self) -> str:
        return "PASS" if self.passes else "FAIL"


@dataclass(frozen=True)
class Rate:
    """Whether a load was offered as intended."""

    what: str
    intended_hz: float
    achieved_hz: float

    @property
    def is_reached(self) -> bool:
        return self.achieved_hz >= RATE_PART_MIN * self.intended_hz

    @property
    def verdict(self) -> str:
        return "OK" if self.is_reached else "FAIL"


@dataclass(frozen=True)
class Plot:
    """Named series: samples in ns for a distribution, or (x, y) points for lines."""

    title: str
    x_label: str
    y_label: str = ""
    samples_ns: dict[str, Floats] = field(default_factory=dict)
    lines: dict[str, tuple[list[float], list[float]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """The answer of one bench."""

    name: str
    question: str
    command: str
    tables: tuple[Table, ...]
    bars: tuple[Bar, ...] = ()
    rates: tuple[Rate, ...] = ()
    plots: tuple[Plot, ...] = ()
    notes: tuple[str, ...] = ()
    is_skipped: bool = False

    @property
    def passes(self) -> bool:
        """Every bar holds, at the rate that was asked for."""
        return all(bar.passes for bar in self.bars) and all(r.is_reached for r in self.rates)

    @property
    def verdict(self) -> str:
        if self.is_skipped:
            return "SKIPPED"
        return "PASS" if self.passes else "FAIL"

    def as_json(self) -> dict[str, Any]:
        """Plain data for orjson."""
        return {
            "name": self.name,
            "question": self.question,
            "command": self.command,
            "verdict": self.verdict,
            "tables": [vars(table) for table in self.tables],
            "bars": [{**vars(b), "median": b.median, "verdict": b.verdict} for b in self.bars],
            "rates": [{**vars(rate), "verdict": rate.verdict} for rate in self.rates],
            "plots": [
                {
                    "title": plot.title,
                    "x_label": plot.x_label,
                    "y_label": plot.y_label,
                    "curves_ns": {name: curve(s) for name, s in plot.samples_ns.items()},
                    "lines": plot.lines,
                }
                for plot in self.plots
            ],
            "notes": self.notes,
        }


def skipped(name: str, question: str, command: str, why: str) -> Result:
    """A bench that could not be run here, and why."""
    return Result(name, question, command, (), notes=(why,), is_skipped=True)
