"""How long from a frame's send to its book being visible in the handoff, and against whom?

Ours (frames taken in the spinning loop, plain and TLS; and each through picows' callback), the
floor (bare compiled loop), our streams on asyncio and on uvloop, and websockets + orjson + sorted
dictionaries: the same frames at the same rate, one after the other within each repetition, the
order turned round each time. Latency counts from the time a frame was due; beside it stands the
time from its actual send. Over TLS it is encrypted before: that is the venue's time.
Runs on: the harness's main thread; the work is in bench.load.sender and bench.contenders.measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bench.options import Options, Say
from bench.report.result import Bar, Plot, Rate, Result, Table
from bench.report.stats import PERCENTILE_NAMES, Latency, latency, ratios, spread
from bench.rig.rig import Load, Rig, Run, alternating, default_load, tls_files

QUESTION = "tick to publish: frame due to snapshot visible in the handoff"
KINDS = ("ours", "picows", "bare", "asyncio", "uvloop", "naive")
TLS_KIND = "ours-tls"
NAMES = {
    "ours": "ours",
    TLS_KIND: "ours, TLS",
    "picows": "ours, through picows",
    "bare": "bare loop",
    "asyncio": "asyncio",
    "uvloop": "uvloop",
    "naive": "naive",
}
LEGEND = (
    "ours: frames taken in the spinning loop; through picows: its callback in Python; "
    "bare loop: compiled recv(2) and framing, same kernel; "
    "asyncio, uvloop: our streams on those loops; naive: websockets + orjson + sorted dictionaries"
)
BARE_P50_MAX = 1.15
BARE_P99_MAX = 2.0
TLS_P50_MAX = 1.05
NAIVE_MIN = 5.0

US_COLUMNS = tuple(f"{name} us" for name in PERCENTILE_NAMES)
COLUMNS = (
    "who", "frames", "joined", *US_COLUMNS, "p50 us by run", "p50 us sent", "p99 us sent",
)  # fmt: skip


def pooled(runs: Sequence[Run]) -> Latency:
    """The percentiles over all repetitions together, from the intended times."""
    return latency(np.concatenate([run.intended_ns for run in runs]))


def per_run(runs: Sequence[Run], percentile: float) -> list[float]:
    """One percentile of each repetition, in ns."""
    return [float(np.percentile(run.intended_ns, percentile)) for run in runs]


def row(name: str, runs: Sequence[Run]) -> tuple[str | float | int, ...]:
    """A table row of all repetitions of one contender."""
    sent = latency(np.concatenate([run.actual_ns for run in runs]))
    medians_us = [value / 1000 for value in per_run(runs, 50)]
    return (
        name, sum(run.sent for run in runs), sum(run.conflated for run in runs),
        *pooled(runs).cells_us(), spread(medians_us, 1), sent.p50_ns / 1000, sent.p99_ns / 1000,
    )  # fmt: skip


def rate_of(name: str, load: Load, runs: Sequence[Run]) -> Rate:
    """The rate at which frames were sent: the median repetition."""
    return Rate(name, load.rate_hz, float(np.median([run.achieved_hz for run in runs])))


def nothing_lost(runs: dict[str, list[Run]]) -> Bar:
    """Every frame must become visible, or the percentiles are of another load."""
    missing = sum(run.missing for each in runs.values() for run in each)
    return Bar("frames that never became visible", (float(missing),), 0.0, False, "frames")


def medians(runs: dict[str, list[Run]], at: str = "") -> tuple[Bar, ...]:
    """Ours against the floor, and over TLS against plain; `at` says at which rate."""

    def bar(what: str, over: str, under: str, limit: float) -> Bar:
        values = ratios(per_run(runs[over], 50), per_run(runs[under], 50))
        return Bar(f"median, {what}{at}", values, limit, False)

    tls = (bar("TLS / plain", TLS_KIND, "ours", TLS_P50_MAX),) if TLS_KIND in runs else ()
    return (bar("ours / bare", "ours", "bare", BARE_P50_MAX), *tls)


def compared(runs: dict[str, list[Run]]) -> tuple[Bar, ...]:
    """The ratios within each repetition, against their limits."""

    def bar(what: str, over: str, under: str, percentile: float, limit: float, least: bool) -> Bar:
        values = ratios(per_run(runs[over], percentile), per_run(runs[under], percentile))
        return Bar(what, values, limit, least)

    return (
        *medians(runs),
        bar("p99, ours / bare", "ours", "bare", 99, BARE_P99_MAX, False),
        bar("median, naive / ours", "naive", "ours", 50, NAIVE_MIN, True),
        bar("p99, naive / ours", "naive", "ours", 99, NAIVE_MIN, True),
        nothing_lost(runs),
    )


def from_the_send(runs: dict[str, list[Run]]) -> str:
    """The ratios to the bare loop without the sender's delays, which are the host's alone."""

    def ratio(percentile: float) -> str:
        ours, bare = (
            [float(np.percentile(run.actual_ns, percentile)) for run in runs[kind]]
            for kind in ("ours", "bare")
        )
        return spread(ratios(ours, bare))

    return f"ours / bare from the actual send: median {ratio(50)} x, p99 {ratio(99)} x"


def run(options: Options, say: Say) -> Result:
    """Every contender, alternating."""
    load = default_load(options, 0.25, 1.0, 10.0)
    notes = [LEGEND]
    with tls_files() as tls:
        kinds = (*KINDS, TLS_KIND) if tls else KINDS
        if not tls:
            notes.append("no TLS row: trustme (of the dev extra) is not installed")
        runs: dict[str, list[Run]] = {kind: [] for kind in kinds}
        with Rig(kinds, options) as rig:
            for repetition in range(options.repetitions):
                for kind in alternating(kinds, repetition):
                    say(f"{repetition + 1}/{options.repetitions} {NAMES[kind]}")
                    facts: dict[str, Any] = {"tls": tls} if kind == TLS_KIND else {}
                    runs[kind].append(rig.measure(kind, load, **facts))
            notes += rig.troubles
    notes.append(from_the_send(runs))
    rows = tuple(row(NAMES[kind], runs[kind]) for kind in kinds)
    title = f"tick to publish at {load.rate_hz:g} frames a second, {load.levels} levels a frame"
    samples = {NAMES[k]: np.concatenate([r.intended_ns for r in runs[k]]) for k in kinds}
    return Result(
        "tick", QUESTION, options.command("tick"), (Table(title, COLUMNS, rows),), compared(runs),
        tuple(rate_of(NAMES[kind], load, runs[kind]) for kind in kinds),
        (Plot("tick to publish", "latency from the intended send, us", samples_ns=samples),),
        tuple(notes),
    )  # fmt: skip
