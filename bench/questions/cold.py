"""How long from a frame's send to its book where feeds are as slow as real ones?

Between two frames of a real feed lie 20 to 100 ms, in which a CPU forgets: caches, branches, the
socket's receive path. Ours, plain and TLS, without the idle spin's rehearsals, and with each frame
through picows' callback in Python, against the bare compiled loop, alternating, at 10, 50 and 250
frames a second. Beside the whole stand its
stages: from the send to the frame's arrival in the engine (the kernel's network, and decryption),
and from there to the publication.
Runs on: the harness's main thread; the work is in bench.load.sender and bench.contenders.measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.options import Options, Say
from bench.report.result import Bar, Rate, Result, Table
from bench.report.stats import Floats, latency, ratios, spread
from bench.rig.rig import Load, Rig, Run, alternating, evaluate, tls_files

QUESTION = "tick to publish at 10, 50 and 250 frames a second, and its stages"
OURS, UNREHEARSED, PICOWS, BARE, TLS = "ours", "ours:unrehearsed", "picows", "bare", "ours-tls"
KINDS = (OURS, UNREHEARSED, PICOWS, BARE)
NAMES = {
    OURS: "ours",
    UNREHEARSED: "ours, unrehearsed",
    PICOWS: "ours, through picows",
    BARE: "bare loop",
    TLS: "ours, TLS",
}
RATES_HZ = (10.0, 50.0, 250.0)
FRAMES_MIN = 60
"""A median of fewer says little."""
WARM_UP_S = 0.5
BARE_MAX = 1.15
TLS_MAX = 1.05
COLUMNS = (
    "who", "frames", "p50 us", "p90 us", "p99 us", "p50 us by run", "send to arrival, p50 us",
    "arrival to publication, p50 us",
)  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """One run: the whole from the actual send, and its stages, in ns."""

    run: Run
    arrival_ns: Floats
    handling_ns: Floats


def measure(rig: Rig, kind: str, load: Load, tls: dict[str, str] | None) -> Measured:
    """One run of one kind."""
    more: dict[str, Any] = {"tls": tls} if kind == TLS else {}
    if kind == UNREHEARSED:
        more["without"] = "rehearsal"
    with rig.running(kind, load.count, **more) as running:
        rig.send(load, running.shared)
        at, first = running.stamps, load.warm_up
        run = evaluate(at.intended, at.actual, at.published, first, load.count)
        received, sent = at.received[first : load.count], at.actual[first : load.count]
        is_known = received != 0
        handled = (at.published[first : load.count] - received)[is_known]
        arrived = (received - sent)[is_known]
        return Measured(run, arrived.astype(np.float64), handled.astype(np.float64))


def medians_ns(found: list[Measured]) -> list[float]:
    """The median of each repetition, from the actual send."""
    return [float(np.median(each.run.actual_ns)) for each in found]


def row(kind: str, found: list[Measured]) -> tuple[str | float | int, ...]:
    """A table row of all repetitions."""
    whole = latency(np.concatenate([each.run.actual_ns for each in found]))
    stages = (
        float(np.median(np.concatenate(parts))) / 1000
        for parts in (
            [each.arrival_ns for each in found],
            [each.handling_ns for each in found],
        )
    )
    medians_us = [value / 1000 for value in medians_ns(found)]
    return (
        NAMES[kind], sum(each.run.sent for each in found), whole.p50_ns / 1000,
        whole.p90_ns / 1000, whole.p99_ns / 1000, spread(medians_us, 1), *stages,
    )  # fmt: skip


def bars(rate_hz: float, found: dict[str, list[Measured]]) -> list[Bar]:
    """The ratios within each repetition."""

    def bar(what: str, over: str, under: str, limit: float) -> Bar:
        values = ratios(medians_ns(found[over]), medians_ns(found[under]))
        return Bar(f"median at {rate_hz:g} a second, {what}", values, limit, False)

    made = [bar("ours / bare", OURS, BARE, BARE_MAX)]
    if TLS in found:
        made.append(bar("wss / ws", TLS, OURS, TLS_MAX))
    return made


def run(options: Options, say: Say) -> Result:
    """Every rate, every contender, alternating."""
    tables, limits, offered = [], [], []
    with tls_files() as tls:
        kinds = (*KINDS, TLS) if tls else KINDS
        notes = [] if tls else ["no TLS row: trustme (of the dev extra) is not installed"]
        with Rig(kinds, options) as rig:
            for rate_hz in options.pick(RATES_HZ[-1:], RATES_HZ, RATES_HZ):
                frames = options.pick(20, FRAMES_MIN, 5 * FRAMES_MIN)
                seconds = options.duration_s(
                    *[max(each, frames / rate_hz) for each in (0.1, 2, 10)]
                )
                load = Load(rate_hz, seconds, options.pick(0.1, WARM_UP_S, WARM_UP_S))
                found: dict[str, list[Measured]] = {kind: [] for kind in kinds}
                for repetition in range(options.repetitions):
                    for kind in alternating(kinds, repetition):
                        step = f"{repetition + 1}/{options.repetitions}"
                        say(f"{rate_hz:g} a second {step} {NAMES[kind]}")
                        found[kind].append(measure(rig, kind, load, tls))
                title = f"at {rate_hz:g} frames a second, from the send"
                tables.append(
                    Table(title, COLUMNS, tuple(row(kind, found[kind]) for kind in kinds))
                )
                limits += bars(rate_hz, found)
                for kind in kinds:
                    rates = [each.run.achieved_hz for each in found[kind]]
                    name = f"{NAMES[kind]} at {rate_hz:g}"
                    offered.append(Rate(name, rate_hz, float(np.median(rates))))
            notes += rig.troubles
    return Result(
        "cold", QUESTION, options.command("cold"), tuple(tables), tuple(limits), tuple(offered),
        notes=tuple(notes),
    )  # fmt: skip
