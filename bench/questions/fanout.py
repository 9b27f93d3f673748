"""What does a message cost the server's CPU with many subscribers, and how late is it there?

    feed --websocket--> server, alone on the last CPU where it serves --gRPC--> 100 to 5,000 streams

The same feed, rates and compiled readers for our gateway and for tonic (the Rust yardstick); what
takes in and merges is on another CPU and not counted. A message's delay counts from the venue's
send. Beside them, at the cheapest case, a grpc.aio server that writes one constant message for
ever: summaries for each second of its CPU, for it is never done.
Runs on: the harness's main thread; the work is in contenders/servers.py, contenders/constant.py,
load/two_venue_server.py and clients/crowd.py.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from bench.contenders.servers import OURS, TONIC, Layout, Server, build_yardstick, ours, tonic
from bench.options import Options, Say
from bench.report.result import Bar, Result, Table
from bench.report.stats import ratios, spread
from bench.rig.host import allow_descriptors, placement
from bench.rig.rig import alternating
from bench.rig.stamps import new_stamps
from bench.rig.workers import Worker

QUESTION = "a message's cost and delay with many subscribers, against tonic and grpc.aio"
WARM_UP_S = 0.5
CONNECT_LIMIT_S = 60.0
DRAIN_S = 0.3
"""After the last event: what is still under way is counted."""
PART_MIN = 0.8
"""Of bare grpc.aio's summaries a second of CPU."""
CORE_PART_MAX = 0.15
"""Of one core, for a thousand subscribers at twenty a second."""
AIO = "grpc.aio, one constant message"


class Case(NamedTuple):
    """So many streams, spread over connections, at so many events a second."""

    streams: int
    per_connection: int
    rate_hz: float
    cpu_ratio_max: float | None = None
    """Of tonic's CPU a message; None: held, and said."""

    def __str__(self) -> str:
        return f"{self.streams:,} streams, {self.per_connection} a connection"


THOUSAND = Case(1000, 1, 20.0, 0.5)
CASES = (
    Case(100, 1, 200.0, 0.5), THOUSAND, Case(100, 10, 200.0, 0.15), Case(1000, 10, 20.0, 0.15),
    Case(5000, 1, 20.0),
)  # fmt: skip
"""Twenty thousand messages a second, but for the last."""
TINY_CASES = (Case(4, 2, 50.0, 0.15),)
AIO_CASE = Case(100, 10, 0.0)


@dataclass(frozen=True)
class Served:
    """One run."""

    messages: int
    joined: int
    """Messages that no stream needed to be sent, for it got a later one."""
    cpu_us: float
    """Of the server, a message."""
    system_part: float
    """The kernel's part of that CPU: sends, receives and waits."""
    busy: float
    """The server's CPU seconds a second."""
    p50_us: float
    p99_us: float


class FanoutRig:
    """The feed and the subscribers."""

    def __init__(self, feed: Worker, clients: Worker) -> None:
        place = placement()
        self.others, self.serve_cpu = place.others, place.engine
        # What takes in and merges shares its CPU with feed and clients, so it must not spin.
        self.layout = Layout(place.others[0], place.engine, spins=False)
        self._feed, self._clients = feed, clients
        self.port = feed.ask("listen", cpus=place.others, ports=[0])["ports"][0]

    def _connect(self, target: str, case: Case) -> None:
        self._clients.ask(
            "start", CONNECT_LIMIT_S + 5, target=target, count=case.streams,
            per_channel=case.per_connection, cpus=self.others, wait_s=CONNECT_LIMIT_S,
        )  # fmt: skip

    def measure(self, server: Server, case: Case, seconds: float) -> Served:
        """Connect, send, and count what came."""
        self._connect(server.target, case)
        try:
            return self._send(server, case, seconds)
        finally:
            self._clients.ask("stop")

    def _send(self, server: Server, case: Case, seconds: float) -> Served:
        count = max(int(case.rate_hz * seconds), 4)
        time.sleep(WARM_UP_S)
        with new_stamps(count) as stamps:
            shared: dict[str, Any] = {"stamps": str(stamps.path), "columns": count}
            before, used = self._clients.ask("count"), server.usage()
            sent = self._feed.ask(
                "run", 30 + 2 * seconds, port=self.port, rate_hz=case.rate_hz, count=count, **shared
            )
            time.sleep(DRAIN_S)
            after, now = self._clients.ask("count"), server.usage()
            said = self._clients.ask(
                "write", first=sent["first"], logged=before["logged"], **shared
            )
        messages = after["received"] - before["received"]
        cpu_s = now.cpu_s - used.cpu_s
        return Served(
            messages=messages,
            joined=max(count * case.streams - said["messages"], 0),
            cpu_us=cpu_s / max(messages, 1) * 1e6,
            system_part=(now.system_s - used.system_s) / max(cpu_s, 1e-9),
            busy=cpu_s / (count / case.rate_hz + DRAIN_S),
            p50_us=said["delay_p50_ns"] / 1000,
            p99_us=said["delay_p99_ns"] / 1000,
        )

    def measure_constant(self, constant: Worker, port: int, case: Case, seconds: float) -> float:
        """CPU us a message of a server that writes for ever."""
        self._connect(f"127.0.0.1:{port}", case)
        try:
            time.sleep(WARM_UP_S)
            used, before = constant.ask("usage"), self._clients.ask("count")
            time.sleep(seconds)
            now, after = constant.ask("usage"), self._clients.ask("count")
        finally:
            self._clients.ask("stop")
        messages = after["received"] - before["received"]
        cpu_s = float(now["cpu_s"] - used["cpu_s"])
        return cpu_s / max(float(messages), 1.0) * 1e6


Runs = dict[Case, dict[str, list[Served]]]


def run(options: Options, say: Say) -> Result:
    """Every contender with every case, alternating."""
    is_tiny = options.scale == "tiny"
    cases = TINY_CASES if is_tiny else CASES
    seconds = options.duration_s(0.3, 3.0, 20.0)
    binary, why_not = (None, "") if is_tiny else build_yardstick(say)
    allow_descriptors()
    with (
        Worker("feed") as feed, Worker("subscribers") as clients, Worker("constant") as constant
    ):  # fmt: skip
        rig = FanoutRig(feed, clients)
        constant_port = constant.ask("start", cpu=rig.serve_cpu)["port"]
        starts = {OURS: partial(ours, rig.port, rig.layout)}
        if binary is not None:
            starts[TONIC] = partial(tonic, binary, rig.port, rig.layout)
        runs: Runs = {case: {name: [] for name in starts} for case in cases}
        aio: list[float] = []
        for repetition in range(options.repetitions):
            for name in alternating(tuple(starts), repetition):
                with starts[name]() as server:
                    for case in cases:
                        say(f"{repetition + 1}/{options.repetitions} {name}: {case}")
                        runs[case][name].append(rig.measure(server, case, seconds))
            say(f"{repetition + 1}/{options.repetitions} {AIO}")
            case = TINY_CASES[0] if is_tiny else AIO_CASE
            aio.append(rig.measure_constant(constant, constant_port, case, min(seconds, 3.0)))
    return result(options, runs, aio, (why_not,) if why_not else ())


def _column(served: list[Served], field: str) -> tuple[float, ...]:
    return tuple(float(getattr(each, field)) for each in served)


def _bars(runs: Runs, aio: list[float]) -> Iterator[Bar]:
    for case, each in runs.items():
        if TONIC in each and case.cpu_ratio_max is not None:
            pair = (_column(each[name], "cpu_us") for name in (OURS, TONIC))
            what = f"CPU a message, {case}: ours / tonic"
            yield Bar(what, ratios(*pair), case.cpu_ratio_max, False)
    if THOUSAND in runs:
        served = runs[THOUSAND][OURS]
        what = f"{THOUSAND.streams:,} subscribers at {THOUSAND.rate_hz:g} a second"
        yield Bar(f"{what}: messages joined", _column(served, "joined"), 0.0, False, "messages")
        yield Bar(f"{what}: part of a core", _column(served, "busy"), CORE_PART_MAX, False, "cores")
    case = next((each for each in runs if each.per_connection > 1), next(iter(runs)))
    values = ratios(aio, _column(runs[case][OURS], "cpu_us"))
    yield Bar("summaries a second of server CPU, ours / bare grpc.aio", values, PART_MIN, True)


def result(options: Options, runs: Runs, aio: list[float], notes: tuple[str, ...]) -> Result:
    """A row for each case and contender."""
    rows = tuple(
        (str(case), f"{case.rate_hz:g}", name, sum(s.messages for s in each),
         100 * sum(s.joined for s in each)
         / max(sum(s.joined + s.messages for s in each), 1),
         spread(_column(each, "cpu_us")), 100 * float(np.median(_column(each, "system_part"))),
         float(np.median(_column(each, "busy"))), spread(_column(each, "p50_us"), 0),
         spread(_column(each, "p99_us"), 0))
        for case, by_name in runs.items()
        for name, each in by_name.items()
    )  # fmt: skip
    columns = (
        "subscribers", "events a second", "server", "messages", "joined %", "CPU us a message",
        "in the kernel %", "CPUs busy", "delay p50 us", "delay p99 us",
    )  # fmt: skip
    return Result(
        "fanout", QUESTION, options.command("fanout"),
        (Table("the server alone on its CPU", columns, rows),), tuple(_bars(runs, aio)),
        notes=(*notes, f"{AIO}, {AIO_CASE}: CPU us a message {spread(aio)}"),
    )  # fmt: skip
