"""The benches: their names, their questions, which are in the short set, where they live.

Runs on: the harness's main thread.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Protocol

from bench.options import Options, Say
from bench.report.result import Result


class Bench(Protocol):
    """What a bench's module has."""

    QUESTION: str

    def run(self, options: Options, say: Say) -> Result:
        """Measure."""


@dataclass(frozen=True)
class Entry:
    """A bench that can be asked for by name."""

    name: str
    question: str
    is_short: bool = False
    """Runs where no name is given."""
    has_bars: bool = False
    """Runs with --bars: one bench for each figure that must hold, but for the ten-minute one."""

    @property
    def bench(self) -> Bench:
        module: Bench = importlib.import_module(f"bench.questions.{self.name}")
        return module


BENCHES = {
    entry.name: entry
    for entry in (
        Entry("decode", "the whole call against orjson.loads, recorded frames", True, True),
        Entry("ladder", "a changed level: near, deep, far; 100 and 10,000 resting", True, True),
        Entry("merge", "a publication by venues and depth", True),
        Entry("models", "the market maker's parts: own orders, fair price, models, quotes"),
        Entry("seqlock", "publishing and reading a slot, alone and contended", True),
        Entry("tick", "tick to publish: ours, bare, asyncio, uvloop, naive", True, True),
        Entry("cold", "tick to publish at 10, 50 and 250 a second, against bare", has_bars=True),
        Entry("order", "tick to order: the market maker's orders on the socket", True, True),
        Entry("saturation", "frames a second at saturation: ours, bare, naive", True, True),
        Entry("watched", "tick to publish while it is looked at and logged", has_bars=True),
        Entry("subscribers", "tick to publish with 0 to 100 subscribers", has_bars=True),
        Entry("fanout", "a message's cost to many subscribers, against tonic", has_bars=True),
        Entry("wire", "venue send to gRPC receive, against tonic; --external", has_bars=True),
        Entry("instruments", "1 to 512 of them: latency, memory, start", has_bars=True),
        Entry("edge", "JSON, protobuf, int64 records from the edge to a consumer"),
        Entry("tuning", "tick to publish with each measure for CPUs and host on and off"),
        Entry("growth", "a frame by levels held, its levels, venues, instruments"),
        Entry("memory", "resident memory at 2,000 frames a second; allocations"),
    )
}
