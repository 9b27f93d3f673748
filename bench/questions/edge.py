"""Does it pay to convert the venue's text to a small binary form once, at the edge?

Three forms of a message take the same path: at the edge the venue's JSON becomes what is handed on,
which passes a ring of shared memory; each consumer decodes it and uses it. Text costs nothing at
the edge and is read by every consumer; protobuf and int64 records are made once. Messages: the
recorded BTCUSDT diffs, and order events as Binance sends them.

The messages of one ring are timed together, step by step; of each such group the quickest pass of
a repetition counts, as in the bench `decode`. Forms alternate pass by pass, their order turned
round each time. All of them must come to the same answers.
Runs on: the harness's main thread, pinned to the last CPU.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bench.encodings import diff, order_event
from bench.encodings.encoding import Answer, Form
from bench.load import frames as F
from bench.options import Options, Say
from bench.report.result import Cell, Result, Table, skipped
from bench.report.stats import Floats, ratios, spread
from bench.rig.ring import SLOTS

QUESTION = "JSON, protobuf, int64 records from the edge to a consumer"
STEPS = ("edge", "ring", "decode", "use")
TEXT, READ, PROTOBUF, RECORD = 0, 1, 2, -1
"""Where a table's forms stand that the sentence is about."""
COLUMNS = (
    "form", "bytes", *(f"{step} ns" for step in STEPS), "a consumer ns", "all ns", "JSON / this",
)  # fmt: skip


class Contest:
    """One set of messages in all its forms; ns a message of each step, one row a repetition."""

    def __init__(self, messages: Sequence[bytes], forms: Sequence[type[Form]]) -> None:
        self.messages = tuple(messages)
        self.forms = tuple(form() for form in forms)
        self.answers: dict[str, list[Answer]] = {}
        self._groups = [self.messages[at : at + SLOTS] for at in range(0, len(messages), SLOTS)]
        self._taken: dict[str, list[Floats]] = {form.name: [] for form in self.forms}

    def run(self, repetitions: int, passes: int) -> None:
        """Alternate; AssertionError where two forms do not come to the same answers."""
        for form in self.forms:
            self._pass(form)  # warm up
        gc.collect()
        gc.disable()
        try:
            for _ in range(repetitions):
                quickest = {f.name: np.full((len(STEPS), len(self._groups)), np.inf)
                            for f in self.forms}  # fmt: skip
                for index in range(passes):
                    for form in self.forms if index % 2 else reversed(self.forms):
                        np.minimum(quickest[form.name], self._pass(form), out=quickest[form.name])
                for name, each in quickest.items():
                    self._taken[name].append(each.sum(axis=1) / len(self.messages))
        finally:
            gc.enable()
        first = self.answers[self.forms[TEXT].name]
        assert all(each == first for each in self.answers.values()), "the forms do not agree"

    def _pass(self, form: Form) -> Floats:
        """Every message once: ns by step and group."""
        taken = np.zeros((len(STEPS), len(self._groups)))
        steps = (form.encode, form.pass_on, form.decode, form.use)
        answers: list[Answer] = []
        for number, group in enumerate(self._groups):
            values: Sequence[Any] = group
            for step, function in enumerate(steps):
                values, taken[step, number] = _timed(function, values)
            answers += values
        self.answers[form.name] = answers
        return taken

    def ns(self, form: Form, *steps: str) -> list[float]:
        """A message's ns in these steps together, one value a repetition."""
        rows = [STEPS.index(step) for step in steps]
        return [float(each[rows].sum()) for each in self._taken[form.name]]

    def edge_ns(self, form: Form) -> float:
        return float(np.median(self.ns(form, "edge")))

    def consumer_ns(self, form: Form) -> float:
        return float(np.median(self.ns(form, *STEPS[1:])))

    def table(self, title: str) -> Table:
        text = self.ns(self.forms[TEXT], *STEPS)
        rows: list[tuple[Cell, ...]] = []
        for form in self.forms:
            rows.append((
                form.name, round(form.bytes / form.messages),
                *(spread(self.ns(form, step), 0) for step in STEPS),
                spread(self.ns(form, *STEPS[1:]), 0), spread(self.ns(form, *STEPS), 0),
                spread(ratios(text, self.ns(form, *STEPS))),
            ))  # fmt: skip
        return Table(f"{title}: ns a message, median (min-max)", COLUMNS, tuple(rows))

    def verdict(self, what: str) -> str:
        """What the numbers say."""
        costs = {
            name: (self.edge_ns(form), self.consumer_ns(form))
            for name, form in (
                ("text", self.forms[TEXT]), ("read", self.forms[READ]),
                ("protobuf", self.forms[PROTOBUF]), ("records", self.forms[RECORD]),
            )
        }  # fmt: skip
        return sentence(what, **costs)


def _timed(function: Callable[[Any], Any], values: Sequence[Any]) -> tuple[list[Any], int]:
    """A function of each value, and the ns it took."""
    started_ns = time.perf_counter_ns()
    results = [function(value) for value in values]
    return results, time.perf_counter_ns() - started_ns


Cost = tuple[float, float]
"""ns a message at the edge, once; and at each consumer."""


def pays_from(made: Cost, other: Cost) -> int:
    """With so many consumers, and with any more, a form costs less than another; 0: never."""
    extra_ns, saved_ns = made[0] - other[0], other[1] - made[1]
    if saved_ns <= 0:
        return 0
    return max(math.floor(extra_ns / saved_ns) + 1, 1)


def sentence(what: str, text: Cost, read: Cost, protobuf: Cost, records: Cost) -> str:
    """Whether int64 records at the edge pay, by the measured costs: either way, in words."""

    def against(name: str, other: Cost) -> str:
        consumers = pays_from(records, other)
        with_one = f"(with one: {sum(records) / sum(other):.2f} of its time)"
        if consumers == 0:
            return f"never against {name} {with_one}"
        many = "s" if consumers > 1 else ""
        return f"from {consumers} consumer{many} on against {name} {with_one}"

    pays = ", ".join((
        against("JSON by orjson", text), against("JSON by our reader", read),
        against("protobuf", protobuf),
    ))  # fmt: skip
    return (
        f"{what}: int64 records cost {records[0]:,.0f} ns at the edge and {records[1]:,.0f} a "
        f"consumer (JSON {text[1]:,.0f} by orjson, {read[1]:,.0f} by our reader; protobuf "
        f"{protobuf[0]:,.0f} and {protobuf[1]:,.0f}): converting pays {pays}"
    )


def run(options: Options, say: Say) -> Result:
    """Recorded diffs, then order events."""
    command = options.command("edge")
    recorded = F.recording(options.pick(2 * SLOTS, None, None))
    if recorded is None:
        return skipped("edge", QUESTION, command, F.NO_TAPE)
    events = order_event.reports(options.pick(2 * SLOTS, 2048, 8192))
    tables, notes = [], []
    for what, messages, forms in (
        ("a recorded diff", recorded.frames, diff.FORMS),
        ("an order event", events, order_event.FORMS),
    ):
        say(f"{len(messages)} times {what}")
        contest = Contest(messages, forms)
        contest.run(options.repetitions, options.pick(2, 6, 15))
        tables.append(contest.table(what))
        notes.append(contest.verdict(what))
    return Result("edge", QUESTION, command, tuple(tables), notes=tuple(notes))
