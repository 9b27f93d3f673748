"""What do publishing and reading a slot of the handoff cost, alone and against each other?

The writer fills a whole slot and closes it, as the engine does, over and over. Readers copy the
latest slot in a compiled loop, on a thread of the first CPU without the GIL.
Runs on: the harness's main thread, pinned to the last CPU, and one reader thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from bench.options import Options, Say
from bench.report.result import Result, Table
from bench.report.stats import spread
from bench.rig.host import pin, placement, prioritise
from bench.rig.kernels import bench_kernel
from engine.compiling.atomics import Words, load_acquire
from engine.layout import layout as L
from engine.sharing.handoff import (
    HandoffReader,
    HandoffWriter,
    InstrumentInfo,
    begin_slot,
    end_slot,
    read_latest,
    write_word,
)

QUESTION = "publish and read cost of the handoff, alone and contended"
_READONLY = "Array(int64, 1, 'C', readonly=True)"
WARM_UP = 1


@bench_kernel("int64(int64[::1], int64, int64, int64)")
def publish_slots(handoff: Words, board: int, first: int, count: int) -> int:
    """Publish `count` whole slots; every data word is the sequence, so a torn copy shows itself."""
    for sequence in range(first, first + count):
        slot = begin_slot(handoff, board, sequence)
        for index in range(L.SLOT_SEQUENCE, L.SLOT_WORDS):
            handoff[slot + index] = sequence
        end_slot(handoff, board, slot, sequence)
    return first + count


_READ = f"void({_READONLY}, int64, int64, int64[::1], int64[::1], int64[::1])"


@bench_kernel(_READ)
def read_slots(
    handoff: Words, board: int, count: int, out: Words, stop: Words, result: Words
) -> None:
    """Copy the latest slot up to `count` times or until stop[0]; result: copies, busy, torn."""
    for _ in range(count):
        if load_acquire(stop, 0) != 0:
            break
        sequence = read_latest(handoff, board, out)
        result[0] += 1
        if sequence < 0:
            result[1] += 1
        elif out[L.SLOT_SEQUENCE] != out[L.SLOT_WORDS - 1]:
            result[2] += 1


class Handoff:
    """A private segment with one board."""

    def __init__(self) -> None:
        self.writer = HandoffWriter("", (InstrumentInfo("BENCH", ("venue",), 10, 1, 2),), 1)
        self.board = HandoffWriter.ring_at(0)
        self.reader = HandoffReader(self.writer.words)
        view = self.writer.words.view()
        view.flags.writeable = False
        self.readonly: Words = view
        self._next = 1

    def publish_ns(self, count: int) -> float:
        """ns a publication."""
        started_ns = time.perf_counter_ns()
        self._next = publish_slots(self.writer.words, self.board, self._next, count)
        return (time.perf_counter_ns() - started_ns) / count

    def read_ns(self, count: int) -> float:
        """ns a copy, in a compiled loop."""
        out, stop, result = (np.zeros(n, np.int64) for n in (L.SLOT_WORDS, 8, 3))
        started_ns = time.perf_counter_ns()
        read_slots(self.readonly, self.board, count, out, stop, result)
        return (time.perf_counter_ns() - started_ns) / count

    def read_from_python_ns(self, count: int) -> float:
        """ns a copy through HandoffReader.read."""
        read = self.reader.read
        started_ns = time.perf_counter_ns()
        for _ in range(count):
            read(0)
        return (time.perf_counter_ns() - started_ns) / count

    @contextmanager
    def contended(self, cpu: int) -> Iterator[Words]:
        """A reader thread that copies without a pause; its result words."""
        out, stop, result = (np.zeros(n, np.int64) for n in (L.SLOT_WORDS, 8, 3))

        def read() -> None:
            pin(cpu)
            prioritise()
            read_slots(self.readonly, self.board, 2**62, out, stop, result)

        thread = threading.Thread(target=read)
        thread.start()
        try:
            while result[0] == 0:
                time.sleep(0.0001)
            yield result
        finally:
            write_word(stop, 0, 1)
            thread.join()


def run(options: Options, say: Say) -> Result:
    """Alone, then with a reader that never rests."""
    count = options.pick(2000, 200_000, 1_000_000)
    handoff = Handoff()
    values: dict[str, list[float]] = {}
    read = busy = torn = 0
    for repetition in range(WARM_UP + options.repetitions):
        say(f"repetition {repetition + 1}")
        taken = {
            "publish": handoff.publish_ns(count),
            "read, compiled loop": handoff.read_ns(count),
            "read, from Python": handoff.read_from_python_ns(count // 10),
        }
        with handoff.contended(placement().sender) as result:
            taken["publish, a reader spinning on another CPU"] = handoff.publish_ns(count)
        if repetition >= WARM_UP:
            read, busy, torn = read + int(result[0]), busy + int(result[1]), torn + int(result[2])
            for name, value in taken.items():
                values.setdefault(name, []).append(value)
    rows = tuple((name, spread(each, 1)) for name, each in values.items())
    title = f"ns an operation on a slot of {L.SLOT_WORDS * 8} bytes: median (min-max)"
    assert torn == 0, f"{torn} torn copies were handed out"
    note = f"contended: {read} copies, {busy} gave up after their retries, {torn} torn"
    return Result(
        "seqlock", QUESTION, options.command("seqlock"),
        (Table(title, ("operation", "ns"), rows),), notes=(note,),
    )  # fmt: skip
