"""What is each measure worth here? Tick to publish with each on and off in turn, in one run.

The baseline is the daemon as it starts, pinned, prioritised, spinning. Measures that it has are
taken away one by one, those that it has not are added one by one, each in a process of its own.
The measure `nothing` is the baseline once more: what differs by no more than it may be chance.
As root, the groups of `pollux tune apply` are applied and restored around each of their runs; tiny
runs leave the host alone.
Runs on: the harness's main thread; the work is in bench.load.sender and bench.contenders.measured.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench.options import Options, Say
from bench.questions.tick import nothing_lost, per_run, rate_of
from bench.report.result import Cell, Plot, Result, Table
from bench.report.stats import ratios, spread
from bench.rig.host import placement
from bench.rig.rig import Load, Rig, Run, alternating, default_load
from tuning import apply as A
from tuning.doctor.finding import Inspection
from tuning.host import Host, UnknownError

QUESTION = "tick to publish with each measure on and off: what it is worth here"
BASE = "ours"
NOTHING = "nothing"
REFUSED = "refused"
COLUMNS = (
    "measure", "p50 us on", "p50 us off", "p50 on/off", "p99 us on", "p99 us off", "p99 on/off",
)  # fmt: skip


@dataclass(frozen=True)
class Variant:
    """The baseline with one measure switched."""

    measure: str
    is_added: bool = False
    """Whether the variant has the measure and the baseline has not."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What the target is told."""
    changes: tuple[A.Change, ...] = ()
    """Of the host, for its runs only."""

    @property
    def kind(self) -> str:
        # The host's settings need no process of their own: they are around the baseline's.
        return BASE if self.changes else f"{BASE}:{self.measure}"


def variants() -> list[Variant]:
    """Those of the engine thread."""
    taken = (NOTHING, "affinity", "priority", "timer slack", "garbage collector")
    cpu = placement().engine
    added = {
        "locked memory": "lock_memory = true\n",
        "stay awake": "stay_awake = true\n",
        "realtime": f"cpu = {cpu}\nrealtime_priority = 1\n",
    }
    return [
        *(Variant(name, facts={"without": name}) for name in taken),
        Variant("spin (off: block)", facts={"idle": "block"}),
        *(Variant(name, True, {"engine_lines": lines}) for name, lines in added.items()),
    ]


def host_variants(host: Host) -> tuple[list[Variant], list[str]]:
    """One a group of the host's settings that does not hold, and why others are left out."""
    if os.geteuid() != 0:
        return [], ["the host's settings are measured as root only"]
    if host.exists(A.RECORD):
        return [], ["pollux tune apply was here: restore first to measure the host's settings"]
    try:
        found, _ = A.changes(host, Inspection(host, (placement().engine,)).layout)
    except UnknownError as error:
        return [], [f"the host's settings are not measured: {error}"]
    groups: dict[str, list[A.Change]] = {}
    for change in found:
        groups.setdefault(change.setting.group, []).append(change)
    return [Variant(name, True, changes=tuple(each)) for name, each in groups.items()], []


@contextlib.contextmanager
def applied(host: Host, variant: Variant, notes: dict[str, str]) -> Iterator[None]:
    """The host with a variant's changes for a block; what it refuses is noted."""
    if not variant.changes:
        yield
        return
    try:
        refused = A.apply(host, variant.changes)
        if refused:
            count = f"{len(refused)} of {len(variant.changes)} files"
            notes[variant.measure] = f"{count} refused, {refused[0].refused}"
        yield
    finally:
        _, left = A.restore(host)
        if left:
            notes[f"{variant.measure}, NOT RESTORED"] = "; ".join(left)


def row(variant: Variant, runs: list[Run], base: list[Run], note: str) -> tuple[Cell, ...]:
    """Medians over the repetitions, and the ratio within each: below 1 the measure is worth it.

    Nothing but `refused` where it was: its runs had no such measure.
    """
    if note.startswith(REFUSED):
        return (variant.measure, None, None, REFUSED, None, None, REFUSED)
    on, off = (runs, base) if variant.is_added else (base, runs)
    cells: list[Cell] = [variant.measure]
    for percentile in (50, 99):
        values = per_run(on, percentile), per_run(off, percentile)
        cells += [float(np.median(each)) / 1000 for each in values]
        cells.append(spread(ratios(*values)))
    return tuple(cells)


def measure_all(
    options: Options, load: Load, every: list[Variant], say: Say, notes: dict[str, str]
) -> tuple[dict[str, list[Run]], list[str]]:
    """The runs of the baseline and of each variant by its name, and what went wrong in them."""
    host = Host()
    by_name = {each.measure: each for each in every}
    runs: dict[str, list[Run]] = {name: [] for name in (BASE, *by_name)}
    kinds = tuple(dict.fromkeys((BASE, *(each.kind for each in every))))
    with Rig(kinds, options) as rig:
        for repetition in range(options.repetitions):
            for name in alternating(tuple(runs), repetition):
                say(f"{repetition + 1}/{options.repetitions} {name}")
                if name == BASE:
                    runs[name].append(rig.measure(BASE, load))
                    continue
                variant = by_name[name]
                with applied(host, variant, notes):
                    runs[name].append(rig.measure(variant.kind, load, **variant.facts))
                told = rig.measures.get(variant.kind, {}).get(name, "")
                if variant.is_added and told.startswith(REFUSED):
                    notes[name] = told
        return runs, rig.troubles


def run(options: Options, say: Say) -> Result:
    """Every variant, alternating with the baseline."""
    load = default_load(options, 0.1, 1.0, 10.0)
    every = variants()
    others: list[str] = []
    if options.scale != "tiny":
        of_host, others = host_variants(Host())
        every += of_host
    notes: dict[str, str] = {}
    runs, troubles = measure_all(options, load, every, say, notes)
    rows = tuple(
        row(each, runs[each.measure], runs[BASE], notes.get(each.measure, "")) for each in every
    )
    title = f"tick to publish at {load.rate_hz:g} frames a second; on/off below 1: worth it"
    samples = {name: np.concatenate([r.intended_ns for r in each]) for name, each in runs.items()}
    return Result(
        "tuning", QUESTION, options.command("tuning"), (Table(title, COLUMNS, rows),),
        (nothing_lost(runs),),
        tuple(rate_of(name, load, each) for name, each in runs.items()),
        (Plot("tick to publish", "latency from the intended send, us", samples_ns=samples),),
        (*(f"{name}: {what}" for name, what in notes.items()), *others, *troubles),
    )  # fmt: skip
