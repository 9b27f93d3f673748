"""How long from a market frame to the order that follows from it, handed to the socket?

The same frames at the same rate, each of which moves the best bid, to ours without and with the
market maker. Without it counts when the book is visible in the handoff; with it, when the bytes of
the first order (fair price, quotes, risk, request) have been handed to the socket of an order
entry that is connected to a venue, which acknowledges each order. A frame that finds the order
before it unacknowledged sends none: it is not counted. Of the way there the last step is the
kernel's: masking, send(2), and on loopback the receiver's half of TCP too; how long before it the
order was written is told apart.

Both are measured once more beside market makers of other instruments, on paper, to whose markets
the same connection is subscribed and for which no frame comes: what they cost an instrument that is
quoted, and one that is not.
Runs on: the harness's main thread; the work is in bench.contenders.quoting.
"""

from __future__ import annotations

import numpy as np

from bench.options import Options, Say
from bench.report.result import Bar, Plot, Result, Table
from bench.report.stats import PERCENTILE_NAMES, Floats, latency, ratios, spread
from bench.rig.rig import Load, Rig, Run, alternating
from bench.rig.workers import Worker

QUESTION = "tick to order: frame due to order bytes handed to the socket"
MAKERS = 16
KINDS = ("ours", "quoting")
PLANS = {
    "ours": ("book visible", "ours", 0),
    "quoting": ("order sent", "quoting", 0),
    "seventeenth": (f"book visible, {MAKERS} makers of others", "ours", MAKERS),
    "sixteen": (f"order sent, {MAKERS} makers", "quoting", MAKERS - 1),
}
"""What is measured: its name, the kind of target, the market makers beside it."""
RATE_HZ = 250.0
"""A replace is acknowledged within a millisecond, over the CPU that the sender shares."""
ORDERS_MIN = 0.5
"""At least so many of the frames must lead to an order."""
RATIO_MAX = 2.0
WRITTEN_MAX = 2.0
"""What is ours of it, up to the last step."""
BESIDE_MAX = 1.05
"""What others may cost: the difference of two runs of the same on a quiet host."""
COLUMNS = (
    "until", "frames", "counted", *(f"{name} us" for name in PERCENTILE_NAMES), "p50 us by run",
    "p50 us sent",
)  # fmt: skip


def medians_us(runs: list[Run]) -> list[float]:
    """The median of each repetition."""
    return [float(np.median(run.intended_ns)) / 1000 for run in runs]


def written_us(runs: list[Run]) -> list[float]:
    """The median of each repetition, up to the last step."""
    return [float(np.median(run.begun_ns)) / 1000 for run in runs]


def row(kind: str, runs: list[Run]) -> tuple[str | float | int, ...]:
    """A table row of all repetitions."""
    intended: Floats = np.concatenate([run.intended_ns for run in runs])
    actual: Floats = np.concatenate([run.actual_ns for run in runs])
    return (
        PLANS[kind][0], sum(run.sent for run in runs), len(intended), *latency(intended).cells_us(),
        spread(medians_us(runs), 1), float(np.median(actual)) / 1000,
    )  # fmt: skip


def run(options: Options, say: Say) -> Result:
    """Both, alternating."""
    load = Load(
        options.rate(RATE_HZ),
        options.duration_s(0.5, 3.0, 20.0),
        options.pick(0.3, 1.0, 2.0),
        yields=True,
        moves=True,
    )
    runs: dict[str, list[Run]] = {plan: [] for plan in PLANS}
    with Worker("venue") as venue, Rig(KINDS, options) as rig:
        port = venue.ask("start", cpus=rig.place.others)["port"]
        for repetition in range(options.repetitions):
            for plan in alternating(tuple(PLANS), repetition):
                name, kind, beside = PLANS[plan]
                say(f"{repetition + 1}/{options.repetitions} {name}")
                facts = {"makers_beside": beside}
                facts |= {"order_port": port} if kind == "quoting" else {}
                runs[plan].append(rig.measure(kind, load, counts_all=kind == "ours", **facts))
        notes = tuple(rig.troubles)
    notes += tuple(
        f"{PLANS[plan][0]}: written after {spread(written_us(runs[plan]), 1)} us of "
        f"{spread(medians_us(runs[plan]), 1)}; the rest is masking and send(2)"
        for plan in ("quoting", "sixteen")
    )
    quoting = runs["quoting"] + runs["sixteen"]
    ordered = [len(run.intended_ns) / run.sent for run in quoting]
    visible = medians_us(runs["ours"])
    bars = (
        *(
            Bar(f"median, order {word}{beside} / book visible", ratios(found, visible), most, False)
            for plan, beside in (("quoting", ""), ("sixteen", f" with {MAKERS} makers"))
            for word, found, most in (
                ("sent", medians_us(runs[plan]), RATIO_MAX),
                ("written", written_us(runs[plan]), WRITTEN_MAX),
            )
        ),
        Bar(
            f"median, book visible beside {MAKERS} makers of others / without",
            ratios(medians_us(runs["seventeenth"]), visible),
            BESIDE_MAX,
            False,
        ),
        Bar("frames that led to an order", tuple(ordered), ORDERS_MIN, True, "of 1"),
    )
    title = f"tick to order at {load.rate_hz:g} frames a second, each moving the best bid"
    samples = {PLANS[k][0]: np.concatenate([r.intended_ns for r in runs[k]]) for k in PLANS}
    return Result(
        "order", QUESTION, options.command("order"),
        (Table(title, COLUMNS, tuple(row(plan, runs[plan]) for plan in PLANS)),), bars, (),
        (Plot("tick to order", "latency from the intended send, us", samples_ns=samples),), notes,
    )  # fmt: skip
