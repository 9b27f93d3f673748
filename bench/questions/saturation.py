"""How many frames a second are taken before a backlog grows, and how many by the naive one?

The sender writes batches as fast as TCP takes them. The rate is that of the slowest part: frames
sent, over the time from the first send to the publication of the very last one, so a backlog that
built up underway counts against it.
Runs on: the harness's main thread; the work is in bench.load.sender and bench.contenders.measured.
"""

from __future__ import annotations

from bench.options import Options, Say
from bench.questions.tick import NAMES
from bench.report.result import Bar, Result, Table
from bench.report.stats import ratios, spread
from bench.rig.rig import Rig, alternating
from bench.rig.workers import Message

QUESTION = "throughput to saturation: frames a second, published to the last one"
KINDS = ("ours", "picows", "bare", "naive")
NAIVE_MIN = 10.0
BARE_MAX = 1.5
TINY_FRAMES_MAX = 20_000
FRAMES_MAX = 20_000_000
"""Twenty seconds at a million frames a second: ids keep their ten digits."""


def rate_hz(answer: Message) -> float:
    """Frames a second of one run."""
    return float(answer["published"] / answer["taken_ns"] * 1e9)


def run(options: Options, say: Say) -> Result:
    """Ours, the bare loop and the naive one, alternating."""
    seconds = options.duration_s(0.2, 1.0, 5.0)
    answers: dict[str, list[Message]] = {kind: [] for kind in KINDS}
    with Rig(KINDS, options) as rig:
        for repetition in range(options.repetitions):
            for kind in alternating(KINDS, repetition):
                say(f"{repetition + 1}/{options.repetitions} {NAMES[kind]}")
                count_max = options.pick(TINY_FRAMES_MAX, FRAMES_MAX, FRAMES_MAX)
                answers[kind].append(rig.flood(kind, seconds, count_max))
        troubles = rig.troubles
    rates = {kind: [rate_hz(answer) for answer in answers[kind]] for kind in KINDS}
    rows = []
    losses = []
    for kind in KINDS:
        sent = sum(answer["sent"] for answer in answers[kind])
        lost = sent - sum(answer["published"] for answer in answers[kind])
        losses.append(lost)
        size = answers[kind][0]["frame_bytes"]
        middle = sorted(rates[kind])[len(rates[kind]) // 2]
        rows.append(
            (NAMES[kind], sent, lost, spread(rates[kind], 0), middle * size / 1e6, 1e6 / middle)
        )
    columns = ("who", "frames", "lost", "frames a second", "MB a second", "us a frame")
    bars = (
        Bar("ours / naive", ratios(rates["ours"], rates["naive"]), NAIVE_MIN, True),
        Bar("us a frame, ours / bare", ratios(rates["bare"], rates["ours"]), BARE_MAX, False),
        Bar("frames sent but never visible", (float(sum(losses)),), 0.0, False, "frames"),
    )
    table = Table("frames a second at saturation: median (min-max)", columns, tuple(rows))
    return Result(
        "saturation", QUESTION, options.command("saturation"), (table,), bars, notes=tuple(troubles)
    )
