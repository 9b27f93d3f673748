"""How long from a venue's send to a gRPC client's receipt, for us and for any other server?

    feed (two venues) --websocket--> server --gRPC `orderbook`--> client

Ours is `pollux serve`, started for each run with its gateway as a thread or as a process. With
`--external HOST:PORT --feed-port P` another server that is pointed at the feed's port P is measured
in the same run by the same feed and client, alternating with ours.
Runs on: the harness's main thread; the work is in load/feed.py, clients/client.py and the
servers.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench.options import Options, Say
from bench.report.result import Bar, Cell, Plot, Rate, Result, Table
from bench.report.stats import PERCENTILE_NAMES, latency, spread
from bench.rig.host import Placement, free_port, placement
from bench.rig.rig import Run, alternating, evaluate
from bench.rig.segments import new_segment
from bench.rig.stamps import new_stamps
from bench.rig.venue_names import SYMBOLS
from bench.rig.workers import Worker, WorkerError
from net.process.bound_child import bound_arguments
from net.process.child import LoggedChild

QUESTION = "wire to subscriber: venue send to gRPC client receive"
RATE_HZ = 200.0
"""Both venues together: twenty times the pace of one real pair, still far from what gRPC takes."""
WARM_UP_S = 0.5
JOIN_LIMIT_S = 60.0
DRAIN_LIMIT_S = 5.0
STOP_LIMIT_S = 8.0
OURS = ("ours, gateway process", "ours, gateway thread")
EXTERNAL = "external"


def config_text(
    feed_port: int, listen: str, gateway: str, place: Placement, segment: str, idle: str
) -> str:
    """A configuration for `pollux serve` that points at the feed."""
    url = f'ws_url = "ws://127.0.0.1:{feed_port}"\nrest_url = "http://127.0.0.1:{feed_port}"\n'
    url += "late_after_ms = 0\n"  # the feed numbers its events by their microtimestamp
    venue = '[[instrument.venue]]\nname = "{}"\nsymbol = "{}"\ntick_size = "0.01"\n'
    return (
        '[[instrument]]\nsymbol = "BTC-USD"\n'
        + "".join(venue.format(name, symbol) for name, symbol in SYMBOLS.items())
        + "".join(f"[venue.{name}]\n{url}" for name in SYMBOLS)
        + f'[engine]\nname = "{segment}"\ncpu = {place.engine}\nidle = "{idle}"\n'
        f'[gateway]\nlisten = "{listen}"\nplacement = "{gateway}"\ncpu = {place.others[0]}\n'
        f'[metrics]\nlisten = ""\n[log]\nlevel = "warning"\n'
    )


@contextlib.contextmanager
def serving(feed_port: int, gateway: str, place: Placement, idle: str = "spin") -> Iterator[str]:
    """`pollux serve` as a process; the address of its gateway."""
    listen = f"127.0.0.1:{free_port()}"
    with tempfile.TemporaryDirectory(prefix="pollux-bench-") as folder, new_segment() as segment:
        config = Path(folder) / "pollux.toml"
        text = config_text(feed_port, listen, gateway, place, segment, idle)
        config.write_text(text, encoding="utf-8")
        command = bound_arguments("pollux", "serve", "--config", str(config))
        daemon = LoggedChild(command, Path(folder) / "log")
        try:
            yield listen
            if not daemon.is_up:
                raise WorkerError(f"pollux serve ended: {daemon.text[-2000:]}")
        finally:
            daemon.end(STOP_LIMIT_S)


class WireRig:
    """The feed and the client."""

    def __init__(self, feed: Worker, client: Worker, feed_port: int) -> None:
        self.place = placement()
        self._feed, self._client = feed, client
        answer = feed.ask("listen", cpus=self.place.others, ports=[feed_port, 0])
        self.external_port, self.own_port = answer["ports"]
        self.join_limit_s = JOIN_LIMIT_S

    def measure(self, target: str, port: int, rate_hz: float, warm_up: int, count: int) -> Run:
        """Subscribe to a server, wait until it has both venues, send and evaluate."""
        self._client.ask("start", target=target, cpus=self.place.others)
        try:
            event = self._feed.ask("state")["event"]
            joined = self._client.ask(
                "wait", self.join_limit_s + 5, event=event, wait_s=self.join_limit_s
            )
            if not joined["is_there"]:
                state = self._feed.ask("state")["channels"]
                raise WorkerError(
                    f"{target} does not stream both venues' books after {self.join_limit_s:g} s "
                    f"({joined.get('reason', '')}; {joined['messages']} messages; feed port "
                    f"{port} is subscribed to {state[str(port)]})"
                )
            return self._send(port, rate_hz, warm_up, count)
        finally:
            self._client.ask("stop")

    def _send(self, port: int, rate_hz: float, warm_up: int, count: int) -> Run:
        total = warm_up + count
        with new_stamps(total) as stamps:
            shared: dict[str, Any] = {"stamps": str(stamps.path), "columns": total}
            sent = self._feed.ask(
                "run", 30 + 2 * total / rate_hz, port=port, rate_hz=rate_hz, count=total, **shared
            )
            last = sent["first"] + total - 2
            self._client.ask("wait", DRAIN_LIMIT_S + 5, event=last, wait_s=DRAIN_LIMIT_S)
            self._client.ask("write", first=sent["first"], **shared)
            # A later event of the same venue shows an earlier one; of the other venue it does not.
            parts = [
                evaluate(stamps.intended[at::2], stamps.actual[at::2], stamps.published[at::2],
                         warm_up // 2, len(stamps.intended[at::2]))
                for at in (0, 1)
            ]  # fmt: skip
        return Run(
            np.concatenate([part.intended_ns for part in parts]),
            np.concatenate([part.actual_ns for part in parts]),
            sum(part.sent for part in parts),
            sum(part.achieved_hz for part in parts),
            sum(part.conflated for part in parts),
            sum(part.missing for part in parts),
        )


def _contender(rig: WireRig, name: str, options: Options, load: tuple[float, int, int]) -> Run:
    rate_hz, warm_up, count = load
    if name == EXTERNAL:
        return rig.measure(options.external, rig.external_port, rate_hz, warm_up, count)
    with serving(rig.own_port, name.rpartition(" ")[2], rig.place) as listen:
        return rig.measure(listen, rig.own_port, rate_hz, warm_up, count)


def run(options: Options, say: Say) -> Result:
    """Ours with either placement, and the external server if there is one."""
    rate_hz = options.rate(RATE_HZ)
    seconds = options.duration_s(0.5, 3.0, 20.0)
    warm_up, count = int(rate_hz * WARM_UP_S) // 2 * 2, max(int(rate_hz * seconds) // 2 * 2, 4)
    names = options.pick(OURS[:1], OURS, OURS) + ((EXTERNAL,) if options.external else ())
    runs: dict[str, list[Run]] = {name: [] for name in names}
    with Worker("feed") as feed, Worker("client") as client:
        rig = WireRig(feed, client, options.feed_port)
        for repetition in range(options.pick(1, options.repetitions, options.repetitions)):
            for name in alternating(names, repetition):
                say(f"{repetition + 1}/{options.repetitions} {name}")
                runs[name].append(_contender(rig, name, options, (rate_hz, warm_up, count)))
    return _result(options, rate_hz, runs)


def _result(options: Options, rate_hz: float, runs: dict[str, list[Run]]) -> Result:
    shown = {name: f"{name} {options.external}" if name == EXTERNAL else name for name in runs}
    rows: list[tuple[Cell, ...]] = []
    samples = {}
    for name, each in runs.items():
        pooled = np.concatenate([run.intended_ns for run in each])
        sent = latency(np.concatenate([run.actual_ns for run in each]))
        medians_us = [float(np.median(run.intended_ns)) / 1000 for run in each]
        samples[shown[name]] = pooled
        rows.append(
            (shown[name], sum(r.sent for r in each), sum(r.conflated for r in each),
             sum(r.missing for r in each), *latency(pooled).cells_us(), spread(medians_us, 1),
             sent.p50_ns / 1000, sent.p99_ns / 1000)
        )  # fmt: skip
    columns = (
        "who", "events", "joined", "unseen", *(f"{name} us" for name in PERCENTILE_NAMES),
        "p50 us by run", "p50 us sent", "p99 us sent",
    )  # fmt: skip
    missing = sum(r.missing for name, each in runs.items() if name != EXTERNAL for r in each)
    return Result(
        "wire", QUESTION, options.command("wire"),
        (Table(f"venue send to client at {rate_hz:g} events a second", columns, tuple(rows)),),
        (Bar("events of ours that no summary showed", (float(missing),), 0.0, False, "events"),),
        tuple(Rate(shown[name], rate_hz, float(np.median([r.achieved_hz for r in each])))
              for name, each in runs.items()),
        (Plot("venue send to gRPC receive", "latency from the intended send, us",
              samples_ns=samples),),
    )  # fmt: skip
