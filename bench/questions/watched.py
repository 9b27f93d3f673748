"""What does it cost the engine to be looked at? Tick to publish with everything on, and off.

On: Prometheus' page scraped and `pollux stat --watch` once a second, a viewer on the web page, the
log at `debug`. Off: none of it. Counters and histograms are always kept, in both.
The onlookers share the CPU of the sender, which also sees when a book is visible: only the median
from the actual send is the engine's. Its tail is told by its own loop: how long a turn takes from
the end of one wait to the next, waits for the interpreter included.
Runs on: the harness's main thread; the work is in bench.contenders.target and bench.load.onlookers.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bench.options import Options, Say
from bench.questions.tick import nothing_lost, rate_of
from bench.report.result import Bar, Cell, Plot, Result, Table
from bench.report.stats import PERCENTILE_NAMES, latency, ratios, spread
from bench.rig.rig import Load, Rig, Run, alternating, default_load, evaluate
from bench.rig.workers import Message, Worker

QUESTION = "tick to publish with metrics, page, stat and debug log on and off"
KINDS = ("ours", "ours:watched")
NAMES = {"ours": "off", "ours:watched": "on"}
RATIO_MAX = 1.03
COLUMNS = (
    "metrics, page, stat, log", "frames", *(f"{name} us sent" for name in PERCENTILE_NAMES),
    "p50 us sent by run",
)  # fmt: skip


TURN_COLUMNS = ("metrics, page, stat, log", "p50 us", "p99 us", "p99.9 us", "max us")


def medians(runs: list[Run]) -> list[float]:
    """The median of each repetition from the actual send, in ns."""
    return [float(np.median(run.actual_ns)) for run in runs]


def row(kind: str, runs: list[Run]) -> tuple[Cell, ...]:
    """A table row of all repetitions."""
    sent = latency(np.concatenate([run.actual_ns for run in runs]))
    by_run = [median / 1000 for median in medians(runs)]
    frames = sum(run.sent for run in runs)
    return (NAMES[kind], frames, *sent.cells_us(), spread(by_run, 1))


def turn_rows(turns_us: dict[str, list[list[float]]]) -> list[tuple[Cell, ...]]:
    """Medians over the repetitions, and the longest turn of all."""
    rows: list[tuple[Cell, ...]] = []
    for kind in KINDS:
        runs = np.array(turns_us.get(kind) or [[np.nan] * 4])
        rows.append(
            (NAMES[kind], *np.median(runs[:, :3], axis=0).tolist(), float(runs[:, 3].max()))
        )
    return rows


def measure_watched(rig: Rig, kind: str, load: Load, onlookers: Worker) -> tuple[Run, Message]:
    """One run that is looked at; what the onlookers have seen."""
    with rig.running(kind, load.count, is_watched=True) as running:
        port, name = running.started["page_port"], running.shared["handoff"]
        onlookers.ask("start", port=port, name=name, cpus=rig.place.others)
        rig.send(load, running.shared)
        seen = onlookers.ask("stop")
        stamps = running.stamps
        run = evaluate(stamps.intended, stamps.actual, stamps.published, load.warm_up, load.count)
        return run, seen


def run(options: Options, say: Say) -> Result:
    """Both, alternating."""
    load = replace(default_load(options, 1.5, 4.0, 20.0), yields=True)
    runs: dict[str, list[Run]] = {kind: [] for kind in KINDS}
    seen: list[Message] = []
    with Worker("onlookers") as onlookers, Rig(KINDS, options) as rig:
        for repetition in range(options.repetitions):
            for kind in alternating(KINDS, repetition):
                say(f"{repetition + 1}/{options.repetitions} {NAMES[kind]}")
                if kind == "ours":
                    runs[kind].append(rig.measure(kind, load))
                else:
                    one, what = measure_watched(rig, kind, load, onlookers)
                    runs[kind].append(one)
                    seen.append(what)
        notes = [*rig.troubles, *(error for each in seen for error in each["errors"])]
        turns_us = dict(rig.turns_us)
    looks = tuple(float(min(each["seen"].values())) for each in seen)
    bars = (
        Bar(
            "median from the send, on / off",
            ratios(medians(runs["ours:watched"]), medians(runs["ours"])),
            RATIO_MAX,
            False,
        ),
        Bar("looks of whoever looked least", looks, 1.0, True, "looks"),
        nothing_lost(runs),
    )
    title = f"tick to publish at {load.rate_hz:g} frames a second, from the actual send"
    samples = {NAMES[k]: np.concatenate([r.actual_ns for r in runs[k]]) for k in KINDS}
    return Result(
        "watched", QUESTION, options.command("watched"),
        (
            Table(title, COLUMNS, tuple(row(kind, runs[kind]) for kind in KINDS)),
            Table("a turn of the engine's loop", TURN_COLUMNS, tuple(turn_rows(turns_us))),
        ), bars,
        tuple(rate_of(NAMES[kind], load, runs[kind]) for kind in KINDS),
        (Plot("tick to publish", "latency from the actual send, us", samples_ns=samples),),
        tuple(notes),
    )  # fmt: skip
