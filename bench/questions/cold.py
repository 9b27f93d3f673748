"""How long from a frame's send to its book at the rates of real feeds, where everything is cold?

Between two frames of a feed that sends ten or fifty a second caches, branch predictors and the
socket's receive path forget. Ours, plain and over TLS, against the bare compiled loop, which
forgets as much: the same frames, one contender after the other within each repetition. Over TLS a
frame is encrypted before it is stamped.
Runs on: the harness's main thread; the work is in bench.load.sender and bench.contenders.measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bench.options import Options, Say
from bench.questions.tick import (
    COLUMNS,
    NAMES,
    TLS_KIND,
    medians,
    nothing_lost,
    rate_of,
    row,
)
from bench.report.result import Bar, Plot, Rate, Result, Table
from bench.rig.rig import Load, Rig, Run, alternating, tls_files

QUESTION = "tick to publish at 10, 50 and 250 frames a second, against the bare loop"
RATES_HZ = (10.0, 50.0, 250.0)
NO_BAR_HZ = 10.0
"""So few frames fit into a short run that its median is said, and held against nothing."""
FRAMES_MIN = 50
"""A slow rate's run is prolonged until its median is of so many."""
KINDS = ("ours", "bare")
NO_TLS = "no TLS rows: trustme (of the dev extra) is not installed"

Runs = dict[float, dict[str, list[Run]]]
"""By rate, then by contender: one run a repetition."""


def load_at(options: Options, rate_hz: float) -> Load:
    """The load of one rate."""
    seconds = options.duration_s(0.25, 2.0, 20.0)
    if options.scale != "tiny":
        seconds = max(seconds, FRAMES_MIN / rate_hz)
    return Load(rate_hz, seconds, options.pick(0.1, 0.5, 2.0))


def run(options: Options, say: Say) -> Result:
    """Every contender at every rate, alternating."""
    rates_hz = (options.rate_hz,) if options.rate_hz else options.pick((200.0,), RATES_HZ, RATES_HZ)
    loads = {rate_hz: load_at(options, rate_hz) for rate_hz in rates_hz}
    with tls_files() as tls:
        kinds = (*KINDS, TLS_KIND) if tls else KINDS
        runs: Runs = {rate_hz: {kind: [] for kind in kinds} for rate_hz in rates_hz}
        with Rig(kinds, options) as rig:
            for repetition in range(options.repetitions):
                for rate_hz, load in loads.items():
                    for kind in alternating(kinds, repetition):
                        say(f"{repetition + 1}/{options.repetitions} {NAMES[kind]}, {rate_hz:g}/s")
                        facts: dict[str, Any] = {"tls": tls} if kind == TLS_KIND else {}
                        runs[rate_hz][kind].append(rig.measure(kind, load, **facts))
            notes = [*rig.troubles] if tls else [*rig.troubles, NO_TLS]
    return result(options, runs, loads, notes)


def _bars(runs: Runs) -> Iterator[Bar]:
    for rate_hz, by_kind in runs.items():
        if rate_hz != NO_BAR_HZ:
            yield from medians(by_kind, f" at {rate_hz:g} a second")
    each = {f"{rate_hz} {kind}": e for rate_hz, by in runs.items() for kind, e in by.items()}
    yield nothing_lost(each)


def result(options: Options, runs: Runs, loads: dict[float, Load], notes: list[str]) -> Result:
    """A row for each rate and contender."""
    rows, plots, rates = [], [], list[Rate]()
    for rate_hz, by_kind in runs.items():
        for kind, each in by_kind.items():
            name = f"{NAMES[kind]} at {rate_hz:g}"
            rows.append(row(name, each))
            rates.append(rate_of(name, loads[rate_hz], each))
        samples = {NAMES[k]: np.concatenate([r.intended_ns for r in e]) for k, e in by_kind.items()}
        title = f"tick to publish at {rate_hz:g} a second"
        plots.append(Plot(title, "latency from the intended send, us", samples_ns=samples))
    return Result(
        "cold", QUESTION, options.command("cold"),
        (Table("tick to publish, cold", COLUMNS, tuple(rows)),), tuple(_bars(runs)), tuple(rates),
        tuple(plots), tuple(notes),
    )  # fmt: skip
