"""Frames through the compiled call in a compiled loop: no socket, and no Python between frames.

Runs on: the harness's main thread.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from bench.rig.kernels import bench_kernel
from engine.book.frame_kernel import take_frame
from engine.compiling.atomics import Bytes, Words
from engine.engine import Engine, Stage
from engine.layout import status as S
from engine.specs import InstrumentSpec
from tuning.clock import steady_ns, wall_ns


@bench_kernel("int64(int64, int64, int64, int64[::1], int64[::1], int64)")
def drive_frames(
    arena_address: int,
    connection: int,
    frames_address: int,
    starts: Words,
    connections: Words,
    receive_ns: int,
) -> int:
    """Hand each frame to `on_frame` as the last of its buffer; how many were not APPLIED.

    Frame i lies from starts[i] to starts[i + 1], and came on `connection` + connections[i].
    """
    refused = 0
    for index in range(len(starts) - 1):
        status = take_frame(
            arena_address,
            connection + connections[index],
            frames_address + starts[index],
            starts[index + 1] - starts[index],
            receive_ns,
            1,
        )
        refused += 1 if status != S.APPLIED else 0
    return refused


class Batch:
    """Frames laid out one behind the other, with the connection each comes on."""

    def __init__(self, frames: Sequence[bytes], connections: Sequence[int] | None = None) -> None:
        self.count = len(frames)
        self.bytes = sum(map(len, frames))
        self._blob: Bytes = np.frombuffer(b"".join(frames), np.uint8).copy()
        self._starts: Words = np.cumsum([0, *map(len, frames)], dtype=np.int64)
        self._connections: Words = np.asarray(connections or [0] * len(frames), np.int64)

    def run(self, engine: Engine, first: int = 0, last: int | None = None) -> int:
        """Drive frames [first:last] once, in order; the ns it took. All must be applied."""
        last = self.count if last is None else last
        starts, connections = self._starts[first : last + 1], self._connections[first:last]
        arena, blob = int(engine.arena.ctypes.data), int(self._blob.ctypes.data)
        now_ns = wall_ns()
        started_ns = time.perf_counter_ns()
        refused = drive_frames(arena, 0, blob, starts, connections, now_ns)
        taken_ns = time.perf_counter_ns() - started_ns
        assert refused == 0, f"{refused} of {last - first} frames were not applied"
        return taken_ns


def new_engine(*instruments: InstrumentSpec) -> Engine:
    """An engine that stamps its publications with the clock, as the daemon's does."""
    return Engine(instruments, start_ns=steady_ns(), reads_clock=True)


def seed(engine: Engine, body: bytes, feed: int = 0, levels_limit: int = 0) -> None:
    """Load a snapshot into a feed and make it LIVE, whatever was there before."""
    stage = Stage()
    status = engine.stage(feed, body, stage)
    assert status == S.APPLIED, f"snapshot refused: {S.TEXTS[status]}"
    engine.restart_stream(feed)
    engine.load(feed, stage, levels_limit)
    engine.activate(feed, wall_ns())
