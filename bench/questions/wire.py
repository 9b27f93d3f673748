"""How long from a venue's send to a gRPC client's receipt, for us and for any other server?

    feed (two venues) --websocket--> server --gRPC `orderbook`--> client

Every contender gets the same frames of 40 levels, which are rendered before they are stamped: diff
readers a diff, snapshot readers the book. Ours is `pollux serve`, the peer the Rust yardstick; each
is started anew in each repetition and sent all rates. The client is one blocking HTTP/2 reader in
compiled code. With `--external HOST:PORT --feed-port P` another server that is pointed at the
feed's port P is measured in the same run.
Latencies count from the actual send: feed, server and client share a CPU where there are two, and
how late the feed then is stands beside it.
Runs on: the harness's main thread; the work is in load/two_venue_server.py, clients/crowd.py and
the servers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from bench.contenders.servers import OURS, TONIC, Layout, Server, build_yardstick, ours, tonic
from bench.options import Options, Say
from bench.report.result import Bar, Cell, Plot, Rate, Result, Table
from bench.report.stats import PERCENTILE_NAMES, latency, ratios, spread
from bench.rig.host import placement
from bench.rig.rig import Run, alternating, evaluate
from bench.rig.stamps import new_stamps
from bench.rig.workers import Worker, WorkerError

QUESTION = "wire to subscriber: venue send to gRPC client receive"
RATES_HZ = (100.0, 1000.0, 5000.0)
"""Both venues together: real feeds', a busy market's, and what a peer was seen to take."""
WARM_UP_S = 0.5
JOIN_LIMIT_S = 60.0
DRAIN_LIMIT_S = 5.0
EXTERNAL = "external"
RATIO_MAX = 1.0
FAST_RATE_HZ, FAST_RATIO_MAX = 1000.0, 0.7
"""At this rate ours has to be clearly the faster one."""

Runs = dict[float, dict[str, list[Run]]]
"""By rate, then by contender: one run a repetition."""


class WireRig:
    """The feed and the client."""

    def __init__(self, feed: Worker, client: Worker, feed_port: int) -> None:
        self.place = placement()
        self.layout = Layout(self.place.engine, self.place.others[0])
        self._feed, self._client = feed, client
        answer = feed.ask("listen", cpus=self.place.others, ports=[feed_port, 0])
        self.external_port, self.own_port = answer["ports"]
        self.join_limit_s = JOIN_LIMIT_S

    @contextlib.contextmanager
    def joined(self, target: str, port: int) -> Iterator[None]:
        """Subscribe to a server, and wait until it has both venues."""
        limit_s = self.join_limit_s
        try:
            self._client.ask(
                "start", limit_s + 5, target=target, cpus=self.place.others, count=1,
                per_channel=1, wait_s=limit_s,
            )  # fmt: skip
        except WorkerError as error:
            raise self._not_joined(target, port, str(error)) from None
        try:
            event = self._feed.ask("state")["event"]
            joined = self._client.ask("wait", limit_s + 5, event=event, wait_s=limit_s)
            if not joined["is_there"]:
                why = f"{joined['reason']}, {joined['messages']} messages"
                raise self._not_joined(target, port, why)
            yield
        finally:
            self._client.ask("stop")

    def _not_joined(self, target: str, port: int, why: str) -> WorkerError:
        channels = self._feed.ask("state")["channels"][str(port)]
        return WorkerError(
            f"{target} does not stream both venues' books after {self.join_limit_s:g} s ({why}; "
            f"feed port {port} is subscribed to {channels})"
        )

    def measure(self, port: int, rate_hz: float, seconds: float) -> Run:
        """Send to the server that is joined, and evaluate."""
        warm_up = int(rate_hz * WARM_UP_S) // 2 * 2
        total = warm_up + max(int(rate_hz * seconds) // 2 * 2, 4)
        logged = self._client.ask("count")["logged"]
        with new_stamps(total) as stamps:
            shared: dict[str, Any] = {"stamps": str(stamps.path), "columns": total}
            sent = self._feed.ask(
                "run", 30 + 2 * total / rate_hz, port=port, rate_hz=rate_hz, count=total, **shared
            )
            last = sent["first"] + total - 2
            self._client.ask("wait", DRAIN_LIMIT_S + 5, event=last, wait_s=DRAIN_LIMIT_S)
            self._client.ask("write", first=sent["first"], logged=logged, **shared)
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


@contextlib.contextmanager
def _external(target: str) -> Iterator[Server]:
    """A server that somebody else has started."""
    yield Server(target, 0)


def run(options: Options, say: Say) -> Result:
    """Ours, the yardstick and the external server, as far as they are there."""
    rates_hz = (options.rate_hz,) if options.rate_hz else options.pick((200.0,), RATES_HZ, RATES_HZ)
    seconds = options.duration_s(0.5, 3.0, 20.0)
    binary, why_not = (None, "") if options.scale == "tiny" else build_yardstick(say)
    with Worker("feed") as feed, Worker("subscribers") as client:
        rig = WireRig(feed, client, options.feed_port)
        servers = {OURS: (partial(ours, rig.own_port, rig.layout), rig.own_port)}
        if binary is not None:
            start = partial(tonic, binary, rig.own_port, rig.layout)
            servers[TONIC] = (start, rig.own_port)
        if options.external:
            servers[EXTERNAL] = (partial(_external, options.external), rig.external_port)
        runs: Runs = {rate_hz: {name: [] for name in servers} for rate_hz in rates_hz}
        for repetition in range(options.repetitions):
            for name in alternating(tuple(servers), repetition):
                say(f"{repetition + 1}/{options.repetitions} {name}")
                start, port = servers[name]
                with start() as server, rig.joined(server.target, port):
                    for rate_hz in rates_hz:
                        runs[rate_hz][name].append(rig.measure(port, rate_hz, seconds))
    return result(options, runs, (why_not,) if why_not else ())


def _percentiles(runs: Sequence[Run], percentile: float) -> list[float]:
    return [float(np.percentile(run.actual_ns, percentile)) for run in runs]


def _bars(runs: Runs) -> Iterator[Bar]:
    """Ours against the yardstick, where it was measured, and nothing lost."""
    for rate_hz, each in runs.items():
        if TONIC not in each:
            continue
        limit = FAST_RATIO_MAX if rate_hz == FAST_RATE_HZ else RATIO_MAX
        for percentile in (50, 99):
            pair = (_percentiles(each[name], percentile) for name in (OURS, TONIC))
            what = f"p{percentile} at {rate_hz:g} a second, ours / tonic"
            yield Bar(what, ratios(*pair), limit, False)
    missing = sum(run.missing for each in runs.values() for run in each[OURS])
    yield Bar("events of ours that no summary showed", (float(missing),), 0.0, False, "events")


def result(options: Options, runs: Runs, notes: tuple[str, ...]) -> Result:
    """A row for each rate and contender."""
    rows: list[tuple[Cell, ...]] = []
    plots, rates = [], []
    for rate_hz, by_name in runs.items():
        samples = {}
        for name, each in by_name.items():
            shown = f"{name} {options.external}" if name == EXTERNAL else name
            samples[shown] = np.concatenate([run.actual_ns for run in each])
            due = latency(np.concatenate([run.intended_ns for run in each]))
            sent, joined = (sum(getattr(run, f) for run in each) for f in ("sent", "conflated"))
            rows.append(
                (f"{rate_hz:g}", shown, sent, 100 * joined / sent, sum(r.missing for r in each),
                 *latency(samples[shown]).cells_us(),
                 spread([p / 1000 for p in _percentiles(each, 50)], 0),
                 spread([p / 1000 for p in _percentiles(each, 99)], 0),
                 due.p50_ns / 1000, due.p99_ns / 1000)
            )  # fmt: skip
            achieved_hz = float(np.median([run.achieved_hz for run in each]))
            rates.append(Rate(f"{shown} at {rate_hz:g}", rate_hz, achieved_hz))
        title = f"venue send to gRPC receive at {rate_hz:g} a second"
        plots.append(Plot(title, "latency from the send, us", samples_ns=samples))
    columns = (
        "events a second", "who", "events", "joined %", "unseen",
        *(f"{name} us" for name in PERCENTILE_NAMES), "p50 us by run", "p99 us by run",
        "p50 us due", "p99 us due",
    )  # fmt: skip
    return Result(
        "wire", QUESTION, options.command("wire"),
        (Table("venue send to client, 40 levels an event", columns, tuple(rows)),),
        tuple(_bars(runs)), tuple(rates), tuple(plots), notes,
    )  # fmt: skip
