"""The rig: a sender process, a target process for each kind, and what their stamps say.

    sender + collector (first CPU) --websocket--> target (last CPU) --handoff--> collector

Targets are started once, and idle without a connection while another one is measured.
Runs on: the harness's main thread.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, TypeVar

import numpy as np

from bench.load import frames as F
from bench.options import Options
from bench.report.stats import Floats
from bench.rig.host import Placement, placement
from bench.rig.segments import new_segment
from bench.rig.stamps import Stamps, new_stamps
from bench.rig.workers import Message, Worker, WorkerError
from engine.compiling.atomics import Words

Kind = TypeVar("Kind")

RATE_HZ = 2000.0
WARM_UP_S = 0.5
"""Sent before the first frame that counts: sessions go live, caches and predictors settle."""
NEVER_NS = np.iinfo(np.int64).max
RUN_LIMIT_S = 60.0
"""What a run may take beyond its sending time."""


@dataclass(frozen=True)
class Load:
    """How much is sent, and how."""

    rate_hz: float
    seconds: float
    warm_up_s: float = WARM_UP_S
    levels: int = F.LEVELS
    yields: bool = False
    moves: bool = False
    """Whether every frame moves the best bid, or only its quantity."""
    instruments: int = 1
    """They take turns."""

    @property
    def warm_up(self) -> int:
        return max(int(self.warm_up_s * self.rate_hz), 1)

    @property
    def count(self) -> int:
        """Frames in all, the warm-up's included."""
        return self.warm_up + max(int(self.seconds * self.rate_hz), 1)


@dataclass(frozen=True)
class Run:
    """What one run measured: latencies in ns, one a frame after the warm-up."""

    intended_ns: Floats
    actual_ns: Floats
    sent: int
    achieved_hz: float
    conflated: int
    """Frames that became visible together with a later one."""
    missing: int
    """Frames that never became visible: not measured, and a fault."""
    begun_ns: Floats = field(default_factory=lambda: np.zeros(0))
    """Of those whose target said when it began to hand over: that, from the intended send."""


class Running(NamedTuple):
    """A target that is connected, or about to be."""

    shared: dict[str, Any]
    """What the sender has to know."""
    stamps: Stamps
    started: Message
    """What the target said when it was started."""


def evaluate(
    intended: Words,
    actual: Words,
    published: Words,
    warm_up: int,
    sent: int,
    counts_all: bool = True,
) -> Run:
    """Latencies from the three stamps of each frame; a frame is visible with its successor.

    Not `counts_all`: a frame without a stamp of its own is no fault, and counts for nothing.
    """
    # Integers until the difference: as a double the wall clock ticks in steps of 256 ns.
    seen = np.where(published[:sent] == 0, NEVER_NS, published[:sent])
    # A later book contains every earlier update: visible at the earliest of these times.
    later = np.minimum.accumulate(seen[::-1])[::-1] if counts_all else seen
    visible = later[warm_up:]
    known = visible != NEVER_NS
    conflated = (seen[warm_up:] == NEVER_NS) & known
    due, sends = intended[warm_up:sent], actual[warm_up:sent]
    span_ns = float(sends[-1] - sends[0]) if len(sends) > 1 else 1.0
    return Run(
        intended_ns=(visible - due)[known].astype(np.float64),
        actual_ns=(visible - sends)[known].astype(np.float64),
        sent=len(sends),
        achieved_hz=(len(sends) - 1) / span_ns * 1e9,
        conflated=int(conflated.sum()),
        missing=int((~known).sum()) if counts_all else 0,
    )


class Rig:
    """The processes of a bench; a context manager that ends them all."""

    def __init__(self, kinds: tuple[str, ...], options: Options) -> None:
        self.place: Placement = placement()
        self.troubles: list[str] = []
        self.measures: dict[str, dict[str, str]] = {}
        """What each kind's engine thread said of its measures when it last ran."""
        self.turns_us: dict[str, list[list[float]]] = {}
        """Of each run of each kind: p50, p99, p99.9 and maximum of the loop's turns."""
        self.sender = Worker("sender")
        self.targets: dict[str, Worker] = {}
        try:
            # Each kind in a process of its own; tiny runs, which compare nothing, share one.
            shared = Worker("target") if options.scale == "tiny" else None
            for kind in kinds:
                self.targets[kind] = shared or Worker("target")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Rig:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _note(self, kind: str, ended: Message) -> None:
        """Keep what went wrong inside a target: it explains frames that were not seen."""
        if ended.get("refused"):
            self.troubles.append(f"{kind}: {ended['refused']} frames were not applied")
        self.troubles += [f"{kind}: {line}" for line in ended.get("warnings", ())]
        self.measures[kind] = ended.get("measures", {})
        if "turn_us" in ended:
            self.turns_us.setdefault(kind, []).append(ended["turn_us"])

    def close(self) -> None:
        """End every process."""
        for worker in {*self.targets.values(), self.sender}:
            worker.end()

    def start(self, kind: str, facts: dict[str, Any], **more: Any) -> Message:
        """Start a kind in its process; it connects to the sender by itself.

        What follows a colon in a kind's name only tells its process from others of that kind.
        """
        base = kind.partition(":")[0].removesuffix("-tls")
        return self.targets[kind].ask(
            "start", kind=base, cpu=self.place.engine,
            other_cpus=self.place.others, **facts, **more,
        )  # fmt: skip

    @contextlib.contextmanager
    def running(self, kind: str, columns: int, **more: Any) -> Iterator[Running]:
        """Start a kind, and stop it with the block."""
        tls = more.pop("tls", None) or {}
        listening = self.sender.ask("listen", cpu=self.place.sender, tls_cert=tls.get("tls_cert"))
        with new_stamps(columns) as stamps, new_segment() as segment:
            # Those stamp their frames themselves.
            handoff = "" if kind in ("naive", "quoting") else segment
            shared = {"stamps": str(stamps.path), "columns": columns, "handoff": handoff}
            facts = {**shared, "port": listening["port"], "ca_file": tls.get("ca_file", "")}
            started = self.start(kind, facts, **more)
            try:
                yield Running(shared, stamps, started)
            finally:
                ended = self.targets[kind].ask("stop")
            if not ended["ended"]:
                raise WorkerError(f"{kind} did not end")
            self._note(kind, ended)

    def measure(self, kind: str, load: Load, *, counts_all: bool = True, **more: Any) -> Run:
        """One run of one kind."""
        with self.running(kind, load.count, instruments=load.instruments, **more) as running:
            stamps = running.stamps
            self.send(load, running.shared)
            run = evaluate(
                stamps.intended, stamps.actual, stamps.published, load.warm_up, load.count,
                counts_all,
            )  # fmt: skip
            if counts_all:
                return run
            counted = slice(load.warm_up, load.count)
            begun, due = stamps.received[counted], stamps.intended[counted]
            return replace(run, begun_ns=(begun - due)[begun > 0].astype(np.float64))

    def send(self, load: Load, shared: dict[str, Any]) -> Message:
        """Have the load sent, and all of it collected."""
        seconds = load.count / load.rate_hz
        return self.sender.ask(
            "run", limit_s=RUN_LIMIT_S + 2 * seconds, rate_hz=load.rate_hz, count=load.count,
            levels=load.levels, yields=load.yields, moves=load.moves,
            instruments=load.instruments, **shared,
        )  # fmt: skip

    def flood(self, kind: str, seconds: float, count_max: int) -> Message:
        """One run of one kind at the highest rate it takes."""
        with self.running(kind, 1) as running:
            return self.sender.ask(
                "flood", limit_s=RUN_LIMIT_S + 4 * seconds, seconds=seconds, count=count_max,
                levels=F.LEVELS, **running.shared,
            )  # fmt: skip


@contextlib.contextmanager
def tls_files() -> Iterator[dict[str, str] | None]:
    """A private authority and a certificate for 127.0.0.1; None where trustme is not installed."""
    try:
        import trustme
    except ImportError:
        yield None
        return
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    with tempfile.TemporaryDirectory(prefix="pollux-bench-") as folder:
        ca_file, pem = Path(folder) / "ca.pem", Path(folder) / "server.pem"
        authority.cert_pem.write_to_path(str(ca_file))
        certificate.private_key_and_cert_chain_pem.write_to_path(str(pem))
        yield {"ca_file": str(ca_file), "tls_cert": str(pem)}


def alternating(kinds: tuple[Kind, ...], repetition: int) -> tuple[Kind, ...]:
    """The kinds in an order that turns round with each repetition."""
    return kinds if repetition % 2 == 0 else kinds[::-1]


def default_load(options: Options, tiny_s: float, short_s: float, full_s: float) -> Load:
    """The load of the tick benches, as the command line changes it."""
    seconds = options.duration_s(tiny_s, short_s, full_s)
    return Load(options.rate(RATE_HZ), seconds, options.pick(0.1, WARM_UP_S, 2.0))
