"""How many summaries a second does one core serve to 100 subscribers, against bare grpc.aio?

The server is alone on the last CPU: our gateway reading a handoff that changes 500 times a second,
or a grpc.aio server that writes one constant message for ever. The same client process, on the
other CPUs, subscribes to one and the other in turn. Where the clients are the slower side, both
servers wait for them; so the ratio is made of summaries for each second of the server's own CPU
time, and how busy the server was stands beside it.
Runs on: the harness's main thread; the work is in net.gateway, contenders/constant.py,
load/publisher.py and clients/crowd.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bench.contenders.measured import Gateway
from bench.options import Options, Say
from bench.questions.subscribers import PER_CHANNEL
from bench.report.result import Bar, Result, Table
from bench.report.stats import ratios, spread
from bench.rig.host import Placement, free_port, placement
from bench.rig.rig import alternating
from bench.rig.segments import new_segment
from bench.rig.workers import Worker

QUESTION = "summaries a second to many subscribers on one core, against bare grpc.aio"
SUBSCRIBERS = 100
PUBLISH_HZ = 500.0
"""More books than any of a hundred subscribers can be given: there is always a newer one."""
PART_MIN = 0.8
WARM_UP_S = 0.5
KINDS = ("gateway", "bare grpc.aio")


@dataclass(frozen=True)
class Served:
    """One run."""

    rate_hz: float
    per_cpu_s: float
    busy: float
    """The server's CPU seconds a second."""


def _count(
    clients: Worker, target: str, cpu_s: Callable[[], float], count: int, seconds: float,
    place: Placement,
) -> Served:  # fmt: skip
    clients.ask("start", target=target, count=count, per_channel=PER_CHANNEL, cpus=place.others)
    try:
        time.sleep(WARM_UP_S)
        cpu_before, before = cpu_s(), clients.ask("count")
        time.sleep(seconds)
        cpu_after, after = cpu_s(), clients.ask("count")
    finally:
        clients.ask("stop")
    got = after["received"] - before["received"]
    span_s = (after["at_ns"] - before["at_ns"]) / 1e9
    used_s = max(cpu_after - cpu_before, 1e-3)
    return Served(got / span_s, got / used_s, used_s / span_s)


def _gateway_run(
    publisher: Worker, clients: Worker, count: int, seconds: float, place: Placement
) -> Served:
    port = free_port()
    with new_segment() as handoff:
        publisher.ask("start", handoff=handoff, rate_hz=PUBLISH_HZ, cpus=place.others)
        try:
            gateway = Gateway(
                {"handoff": handoff, "gateway": "process", "gateway_port": port,
                 "gateway_cpu": place.engine}
            )  # fmt: skip
            try:
                target = f"127.0.0.1:{port}"
                return _count(clients, target, gateway.cpu_s, count, seconds, place)
            finally:
                gateway.stop()
        finally:
            publisher.ask("stop")


def run(options: Options, say: Say) -> Result:
    """The gateway and the bare server, alternating."""
    place = placement()
    count = options.pick(4, SUBSCRIBERS, SUBSCRIBERS)
    seconds = options.duration_s(0.3, 3.0, 20.0)
    served: dict[str, list[Served]] = {kind: [] for kind in KINDS}
    with (
        Worker("publisher") as publisher,
        Worker("subscribers") as clients,
        Worker("constant") as constant,
    ):
        port = constant.ask("start", cpu=place.engine)["port"]

        def constant_cpu_s() -> float:
            return float(constant.ask("usage")["cpu_s"])

        for repetition in range(options.repetitions):
            for kind in alternating(KINDS, repetition):
                say(f"{repetition + 1}/{options.repetitions} {kind}")
                if kind == "gateway":
                    one = _gateway_run(publisher, clients, count, seconds, place)
                else:
                    target = f"127.0.0.1:{port}"
                    one = _count(clients, target, constant_cpu_s, count, seconds, place)
                served[kind].append(one)
    return _result(options, count, served)


def _result(options: Options, count: int, served: dict[str, list[Served]]) -> Result:
    rows = tuple(
        (kind, spread([s.rate_hz for s in each], 0), spread([s.per_cpu_s for s in each], 0),
         float(np.median([s.busy for s in each])))
        for kind, each in served.items()
    )  # fmt: skip
    columns = ("server", "summaries a second", "a second of server CPU", "CPUs busy")
    per_cpu = ratios(*([s.per_cpu_s for s in served[kind]] for kind in KINDS))
    plain = ratios(*([s.rate_hz for s in served[kind]] for kind in KINDS))
    return Result(
        "fanout", QUESTION, options.command("fanout"),
        (Table(f"{count} subscribers, server alone on its CPU", columns, rows),),
        (Bar("summaries a second of server CPU, gateway / bare", per_cpu, PART_MIN, True),),
        notes=(f"summaries a second of wall time, gateway / bare: {spread(plain)} x",),
    )  # fmt: skip
