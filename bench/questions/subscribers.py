"""Do subscribers slow the engine: tick to publish with none to a thousand, by placement?

The engine has its CPU; the gateway (a thread of its process, or a process), the subscribers and the
sender share the others. There a spinning sender would take from the gateway what it needs, so it
sleeps between frames and asks for a real-time priority, and the ratios are made from the actual
send time: how late a sender is that shares its CPU with a hundred clients is not the engine's
doing. The intended column shows it.
Runs on: the harness's main thread; the work is in bench.load.sender, bench.contenders.measured and
bench.clients.crowd.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from bench.options import Options, Say
from bench.questions.tick import nothing_lost
from bench.report.result import Bar, Plot, Rate, Result, Table
from bench.report.stats import PERCENTILE_NAMES, Floats, latency, ratios, spread
from bench.rig.host import allow_descriptors, free_port
from bench.rig.rig import Load, Rig, Run, alternating, default_load, evaluate
from bench.rig.workers import Worker
from net.config.schema import GatewaySettings

QUESTION = "tick to publish with subscribers, gateway as thread and as process"
COUNTS = (0, 1, 100, 1000)
"""Beside the most there is one that never reads."""
PLACEMENTS = ("process", "thread")
P99_MAX = 1.1
DEFAULT_PLACEMENT: str = GatewaySettings.model_fields["placement"].default
PER_CHANNEL = 10
"""Streams a connection: a program that subscribes to several books uses one."""

Case = tuple[str, int]


def measure(rig: Rig, clients: Worker, load: Load, case: Case) -> tuple[Run, int]:
    """One run with so many subscribers; the run, and how many messages they got."""
    placement, count = case
    port = free_port()
    extra = {
        "gateway": placement,
        "gateway_port": port,
        "gateway_cpu": rig.place.others[0],
    }
    with rig.running("ours", load.count, **extra) as running:
        # The book must be live before subscribers are answered: they connect once frames flow.
        clients.tell(
            "start", target=f"127.0.0.1:{port}", count=count, per_channel=PER_CHANNEL,
            cpus=rig.place.others, has_deaf=count == COUNTS[-1],
        )  # fmt: skip
        rig.send(load, running.shared)
        clients.answer()
        received = int(clients.ask("count")["received"])
        clients.ask("stop")
        stamps = running.stamps
        run = evaluate(stamps.intended, stamps.actual, stamps.published, load.warm_up, load.count)
        return run, received


def p99s(runs: Sequence[Run]) -> list[float]:
    """p99 from the actual send, one a repetition, ns."""
    return [float(np.percentile(run.actual_ns, 99)) for run in runs]


def run(options: Options, say: Say) -> Result:
    """Every placement with every number of subscribers, alternating."""
    load = Load(
        **{**vars(default_load(options, 0.25, 1.5, 10.0)), "yields": True,
           "warm_up_s": options.pick(0.2, 1.5, 3.0)}
    )  # fmt: skip
    counts = options.pick((0, 2), COUNTS, COUNTS)
    allow_descriptors()
    cases = tuple(itertools.product(PLACEMENTS, counts))
    runs: dict[Case, list[Run]] = {case: [] for case in cases}
    messages: dict[Case, int] = dict.fromkeys(cases, 0)
    with Rig(("ours",), options) as rig, Worker("subscribers") as clients:
        for repetition in range(options.repetitions):
            for case in alternating(cases, repetition):
                say(f"{repetition + 1}/{options.repetitions} {case[0]}, {case[1]} subscribers")
                one, received = measure(rig, clients, load, case)
                runs[case].append(one)
                messages[case] += received
    return _result(options, load, runs, messages)


def _row(case: Case, runs: list[Run], received: int) -> tuple[str | float | int, ...]:
    sent = latency(np.concatenate([run.actual_ns for run in runs]))
    due = latency(np.concatenate([run.intended_ns for run in runs]))
    p99_us = [value / 1000 for value in p99s(runs)]
    return (
        f"{case[0]}, {case[1]}", sum(run.sent for run in runs), *sent.cells_us(), spread(p99_us, 1),
        due.p50_ns / 1000, due.p99_ns / 1000, received,
    )  # fmt: skip


def _result(
    options: Options, load: Load, runs: dict[Case, list[Run]], messages: dict[Case, int]
) -> Result:
    most = max(count for _, count in runs)
    rows = tuple(_row(case, each, messages[case]) for case, each in runs.items())
    columns = (
        "gateway, readers", "frames",
        *(f"{name} us" for name in PERCENTILE_NAMES), "p99 us by run", "p50 us due",
        "p99 us due", "messages",
    )  # fmt: skip
    values = ratios(p99s(runs[DEFAULT_PLACEMENT, most]), p99s(runs[DEFAULT_PLACEMENT, 0]))
    other = next(p for p in PLACEMENTS if p != DEFAULT_PLACEMENT)
    others = ratios(p99s(runs[other, most]), p99s(runs[other, 0]))
    what = f"p99 with {most:,} subscribers / with none"
    bars = (
        Bar(f"{what}, {DEFAULT_PLACEMENT} (the default)", values, P99_MAX, False),
        nothing_lost({str(case): each for case, each in runs.items()}),
    )
    samples: dict[str, Floats] = {
        f"{placement}, {count}": np.concatenate([run.actual_ns for run in each])
        for (placement, count), each in runs.items()
        if count in (0, most)
    }
    lines = {
        name: ([float(n) for p, n in runs if p == name],
               [float(np.median(p99s(each))) for (p, _), each in runs.items() if p == name])
        for name in PLACEMENTS
    }  # fmt: skip
    rates = tuple(
        Rate(f"{p}, {n}", load.rate_hz, float(np.median([r.achieved_hz for r in each])))
        for (p, n), each in runs.items()
    )
    title = f"tick to publish at {load.rate_hz:g} frames a second, from the actual send"
    return Result(
        "subscribers", QUESTION, options.command("subscribers"), (Table(title, columns, rows),),
        bars, rates,
        (Plot("tick to publish with subscribers", "latency, us", samples_ns=samples),
         Plot("p99 by subscribers", "subscribers", "ns", lines=lines)),
        (f"{what}, {other}: {spread(others)} x",),
    )  # fmt: skip
