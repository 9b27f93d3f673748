"""What does it cost the engine to be looked at? Tick to publish while it is, and while it is not.

Prometheus' page is scraped and `pollux stat --watch` looks once a second, a viewer has the web page
open. They look for a second and look away for a second, all within the same runs of the same
process, so that nothing else differs. The log is at `debug`; counting goes on all the time.
The onlookers share the CPU of the sender, which also sees when a book is visible: only the median
from the actual send is the engine's. Its tail is told by its own loop: how long a turn takes from
the end of one wait to the next, waits for the interpreter included.
Runs on: the harness's main thread; the work is in bench.contenders.measured and
bench.load.onlookers.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from bench.options import Options, Say
from bench.questions.tick import nothing_lost, rate_of
from bench.report.result import Bar, Cell, Plot, Result, Table
from bench.report.stats import PERCENTILE_NAMES, Floats, latency, spread
from bench.rig.rig import Load, Rig, Run, default_load, evaluate
from bench.rig.workers import Message, Worker
from engine.compiling.atomics import Words

QUESTION = "tick to publish while metrics, page and stat are looked at, and while not"
KIND = "ours"
RATIO_MAX = 1.03
MARGIN_NS = 100_000_000
"""After each change: a process that is let go on has still to begin."""
COLUMNS = (
    "looked at", "frames", *(f"{name} us sent" for name in PERCENTILE_NAMES), "p50 us by run",
)  # fmt: skip
TURN_COLUMNS = ("a turn of the engine's loop", "p50 us", "p99 us", "p99.9 us", "max us")

Halves = tuple[Floats, Floats]
"""Latencies from the actual send, in ns: of frames that were sent while nobody looked, and of the
others."""


def halves(run: Run, sent_ns: Words, looks_ns: list[tuple[int, int]]) -> Halves:
    """A run's latencies by who looked when each frame was sent, the times of change left out."""
    assert not run.missing, "a frame that was not seen has no place"
    is_on = np.zeros(len(sent_ns), np.bool_)
    is_off = np.zeros(len(sent_ns), np.bool_)
    for (begun_ns, ended_ns), (next_ns, _) in pairwise(looks_ns):
        is_on |= (sent_ns >= begun_ns + MARGIN_NS) & (sent_ns < ended_ns)
        is_off |= (sent_ns >= ended_ns + MARGIN_NS) & (sent_ns < next_ns)
    return run.actual_ns[is_off], run.actual_ns[is_on]


def medians_us(found: list[Halves]) -> tuple[list[float], list[float]]:
    """By repetition: the median while nobody looked, and while somebody did."""
    off, on = zip(*found, strict=True)
    return [float(np.median(each)) / 1000 for each in off], [
        float(np.median(each)) / 1000 for each in on
    ]


def measure(rig: Rig, load: Load, onlookers: Worker) -> tuple[Run, Halves, Message]:
    """One run that is looked at now and then; what the onlookers have seen."""
    with rig.running(KIND, load.count, is_watched=True) as running:
        port, name = running.started["page_port"], running.shared["handoff"]
        onlookers.ask("start", port=port, name=name, cpus=rig.place.others)
        rig.send(load, running.shared)
        onlookers.tell("stop")
        stamps = running.stamps
        run = evaluate(stamps.intended, stamps.actual, stamps.published, load.warm_up, load.count)
        sent_ns = np.array(stamps.actual[load.warm_up : load.count])
    # Not before the target has ended: meanwhile it would connect to the sender again.
    seen = onlookers.answer()
    return run, halves(run, sent_ns, seen["looks_ns"]), seen


def run(options: Options, say: Say) -> Result:
    """Some runs, in each of which they look and look away."""
    load = replace(default_load(options, 3.5, 12.0, 60.0), yields=True)
    runs: list[Run] = []
    found: list[Halves] = []
    seen: list[Message] = []
    with Worker("onlookers") as onlookers, Rig((KIND,), options) as rig:
        for repetition in range(options.repetitions):
            say(f"{repetition + 1}/{options.repetitions}")
            one, split, what = measure(rig, load, onlookers)
            runs.append(one)
            found.append(split)
            seen.append(what)
        notes = [*rig.troubles, *(error for each in seen for error in each["errors"])]
        turns_us = np.array(rig.turns_us[KIND])
    off_us, on_us = medians_us(found)
    bars = (
        Bar(
            "median from the send, looked at / not",
            tuple(on / off for on, off in zip(on_us, off_us, strict=True)),
            RATIO_MAX,
            False,
        ),
        Bar(
            "looks of whoever looked least",
            tuple(float(min(each["seen"].values())) for each in seen),
            1.0,
            True,
            "looks",
        ),
        nothing_lost({KIND: runs}),
    )
    samples = {
        name: np.concatenate([each[half] for each in found])
        for half, name in enumerate(("no", "yes"))
    }
    rows: list[tuple[Cell, ...]] = [
        (name, len(values), *latency(values).cells_us(), spread(by_run, 1))
        for (name, values), by_run in zip(samples.items(), (off_us, on_us), strict=True)
    ]
    turn = ("all runs", *np.median(turns_us[:, :3], axis=0).tolist(), float(turns_us[:, 3].max()))
    title = f"tick to publish at {load.rate_hz:g} frames a second, from the actual send"
    return Result(
        "watched", QUESTION, options.command("watched"),
        (Table(title, COLUMNS, tuple(rows)), Table("its own loop", TURN_COLUMNS, (turn,))), bars,
        (rate_of(KIND, load, runs),),
        (Plot("tick to publish", "latency from the actual send, us", samples_ns=samples),),
        tuple(notes),
    )  # fmt: skip
