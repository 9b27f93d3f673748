"""The soak itself: venues, daemon and judge, episodes of faults until the time is over, the report.

    venues (thread) --websocket, REST--> daemon, its gateway (processes) --gRPC--> subscriber
         |                                    |
         `---- truth by update id ----> watcher (thread) reads every published book

Between episodes both venues must be LIVE and up to date again. Memory and descriptors are read at
two *marks*, after some minutes and at the end, each time when everything has been calm for a while.
Runs on: the main thread of the command.
"""

from __future__ import annotations

import contextlib
import shutil
import statistics
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from bench.rig.venue_names import SYMBOLS
from bench.soak.counts import Look, inflict, look, post
from bench.soak.daemon import DaemonUnderSoak, DaemonUnderSoakError, Subscriber
from bench.soak.findings import CONNECTIONS_WINDOW_S, Findings, Mark, SoakOptions
from bench.soak.report import check, write
from bench.soak.schedule import Schedule
from bench.soak.truth import Watcher
from bench.soak.venues import VenueThread
from net.config.schema import EngineSettings
from net.feed import sync_limits
from net.feed.engine_thread import SILENCE_RECONNECT
from net.feed.rest import REQUEST_LIMIT_S
from net.process.signals import closing
from net.simulator.faults import read_order
from net.simulator.options import SimulatorOptions
from net.sockets.backoff import Backoff
from net.venues.registry import VENUES

FIRST_MARK_S = 300.0
"""Memory at the end is held against memory after so long; of a shorter run, after a third of it."""
CALM_S = 30.0
"""Before a mark: connections to REST are kept open for fifteen seconds."""
SAMPLE_S = 5.0
STRIKE_LIMIT_S = 60.0
START_S = 30.0
"""The least time that a recovery is given, in a run that is shorter."""
PROGRESS_S = 30.0
FRAME_S = 0.325
"""The longer of the venues' intervals between frames; also between two looks."""
RIGHT_LOOKS = 4
"""A fault shows in the books two looks after it struck, at the latest."""
MARGIN_S = 3.0
STALE_S = EngineSettings().stale_after_ms / 1000
FROZEN_S = STALE_S + FRAME_S + MARGIN_S
"""A LIVE venue may show a book that is no longer the newest for so long."""
RECOVER_LIMIT_S = (
    4 * Backoff.limit_ms / 1000
    + 3 * REQUEST_LIMIT_S
    + sync_limits.REACH_LIMIT_NS / 1e9
    + SILENCE_RECONNECT * STALE_S
    + MARGIN_S
)
"""Back-off before the connection and before each of three snapshots, the requests' time limits, a
snapshot out of reach, a silence."""


class SoakError(Exception):
    """The soak cannot be run: one line."""


class Soak:
    """One run; `findings` holds what it found, `watcher` what was judged."""

    def __init__(
        self,
        options: SoakOptions,
        folder: Path,
        say: Callable[[str], None],
        stop: Callable[[], bool],
    ) -> None:
        self.findings = Findings(options)
        self._say, self._is_stopped = say, stop
        self._schedule = Schedule(options.seed)
        self._samples: deque[tuple[float, Look]] = deque()
        self._windows_s = {name: VENUES[name].rest_limit.window_s for name in SYMBOLS}
        self._stack = contextlib.ExitStack()
        with contextlib.ExitStack() as stack:
            simulated = SimulatorOptions(seed=options.seed, far_levels_share=0.1)
            self._venues = VenueThread(simulated)
            stack.callback(self._venues.close)
            self._urls = self._venues.urls
            self._any_url = next(iter(self._urls.values()))  # they share what inflicts faults
            self.daemon = DaemonUnderSoak(folder, self._venues.venues.configuration_toml())
            stack.callback(self.daemon.kill)
            self.watcher = Watcher(self.daemon.name, self._venues.truths, FROZEN_S)
            stack.callback(self.watcher.close)
            self.subscriber = Subscriber(self.daemon.gateway)
            stack.callback(self.subscriber.close)
            self._stack = stack.pop_all()
        self._started_s = time.monotonic()
        self._said_s = 0.0
        self._limit_s = min(RECOVER_LIMIT_S, max(options.seconds, START_S))

    def close(self) -> None:
        self._stack.close()

    @property
    def _now_s(self) -> float:
        return time.monotonic() - self._started_s

    def run(self) -> None:
        """Episodes between two marks."""
        seconds = self.findings.options.seconds
        calm_s = min(CALM_S, seconds / 6)
        first_s = min(FIRST_MARK_S, seconds / 3)
        self._recover("the start")
        while self._now_s < first_s and self._goes_on():
            self._episode()
        self._mark(calm_s)
        while self._now_s < seconds - calm_s and self._goes_on():
            self._episode()
        self._mark(calm_s)
        self.findings.last_look = self._sample()
        self.findings.is_interrupted = self._is_stopped()
        self.findings.seconds = self._now_s
        self.findings.passes = self._schedule.passes
        self.subscriber.close()
        if self.daemon.is_up:
            with contextlib.suppress(DaemonUnderSoakError):
                self.findings.exit_status = self.daemon.stop()

    def _goes_on(self) -> bool:
        if not self.daemon.is_up and not self.findings.trouble:
            self.findings.trouble = f"the daemon or its gateway fell: {self.daemon.tail()}"
        return not self._is_stopped() and not self.findings.trouble

    # --- faults ----------------------------------------------------------------------------------

    def _episode(self) -> None:
        orders = self._schedule.episode(tuple(SYMBOLS))
        if orders:
            before = self._sample()
            inflict(self._any_url, orders)
            if not self._until(lambda: self._has_struck(orders, before), STRIKE_LIMIT_S):
                self.findings.idle_orders.append(" ".join(orders))
            post(self._any_url, "calm")
            self.findings.episodes += 1
            self._recover(" ".join(orders))
        self._wait(self._schedule.pause_s())

    def _has_struck(self, orders: list[str], before: Look) -> bool:
        now = self._sample()
        for order in map(read_order, orders):
            for venue in order.venues:
                struck = now.strikes(venue).get(order.fault.name, 0)
                if struck < before.strikes(venue).get(order.fault.name, 0) + order.times:
                    return False
        return True

    def _recover(self, after: str) -> None:
        """Until both venues are LIVE and up to date; how long that took."""
        started_s = time.monotonic()
        is_right = self._until(self._is_right, self._limit_s, RIGHT_LOOKS)
        took_s = time.monotonic() - started_s
        if is_right:
            self.findings.recover_s.add(took_s)
        elif self._goes_on():
            self.findings.late.append(f"{after}: {took_s:.0f} s, {self.watcher.states}")

    def _is_right(self) -> bool:
        watcher = self.watcher
        return all(
            watcher.states.get(name) == "LIVE" and truth.behind_s(watcher.ids[name]) < 2 * FRAME_S
            for name, truth in watcher.truths.items()
        )

    def _until(self, condition: Callable[[], bool], limit_s: float, looks: int = 1) -> bool:
        """Until a condition holds for so many looks in a row; False: time over, or the run."""
        end_s = time.monotonic() + limit_s
        held = 0
        while time.monotonic() < end_s and self._goes_on():
            held = held + 1 if condition() else 0
            if held == looks:
                return True
            self._wait(FRAME_S)
        return False

    # --- looking ---------------------------------------------------------------------------------

    def _wait(self, seconds: float) -> None:
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0 and self._goes_on():
            if not self._samples or self._now_s - self._samples[-1][0] > SAMPLE_S:
                self._sample()
            if self._now_s - self._said_s > PROGRESS_S:
                self._said_s = self._now_s
                self._say(self.progress())
            time.sleep(min(left_s, 0.2))

    def _sample(self) -> Look:
        """Look at everything; keep what the venues' windows need."""
        now = look(self.daemon.metrics, self._urls)
        samples = self._samples
        samples.append((self._now_s, now))
        for venue, window_s in self._windows_s.items():
            top = self.findings.rates_max.setdefault(
                venue, {"requests": 0, "weight": 0, "connections": 0}
            )
            for what, count, length_s in (
                ("requests", Look.requests, window_s),
                ("connections", Look.connections, CONNECTIONS_WINDOW_S),
            ):
                first = next(old for at_s, old in samples if at_s >= self._now_s - length_s)
                top[what] = max(top[what], count(now, venue) - count(first, venue))
            top["weight"] = max(top["weight"], int(now.stats[venue].get("weight_used", 0)))
        while samples[0][0] < self._now_s - max(CONNECTIONS_WINDOW_S, *self._windows_s.values()):
            samples.popleft()
        return now

    def _mark(self, calm_s: float) -> None:
        """Wait for calm, then read memory and descriptors: medians of a few readings."""
        self._recover("a mark")
        self._wait(calm_s * 0.8)
        readings = []
        for _ in range(5):
            if not self._goes_on():
                return
            readings.append(self.daemon.sizes())
            self._wait(calm_s * 0.04)
        sizes = {
            name: tuple(int(statistics.median(r[name][i] for r in readings)) for i in range(2))
            for name in readings[0]
        }
        self.findings.marks.append(Mark(self._now_s, sizes))  # type: ignore[arg-type]
        said = ", ".join(f"{name} {rss >> 10} kB, {fds}" for name, (rss, fds) in sizes.items())
        self._say(f"{self._now_s:6.0f} s  mark: {said} descriptors")

    def progress(self) -> str:
        """One line on how it stands."""
        found, watcher = self.findings, self.watcher
        states = ", ".join(f"{name} {state}" for name, state in watcher.states.items())
        return (
            f"{self._now_s:6.0f} s  {found.episodes} episodes, {watcher.books} books, "
            f"{len(watcher.lies)} wrong, {watcher.missed} missed, {len(found.late)} late  {states}"
        )


def run_soak(
    options: SoakOptions,
    report: Path | None,
    say: Callable[[str], None],
) -> int:
    """Soak, write the report; 1 where something does not hold. SoakError: it could not be run."""
    stopped = threading.Event()
    with contextlib.ExitStack() as stack:
        stack.enter_context(closing(stopped.set))
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="pollux-soak-"))
        stack.enter_context(closing(stopped.set, lambda: shutil.rmtree(folder, True)))
        try:
            soak = Soak(options, Path(folder), say, stopped.is_set)
        except DaemonUnderSoakError as error:
            raise SoakError(str(error)) from None
        try:
            soak.run()
        finally:
            soak.close()
        checks = check(soak.findings, soak.watcher, soak.subscriber)
        if report is not None:
            write(report, soak.findings, soak.watcher, checks)
        for each in checks:
            say(each.line)
    return 0 if all(each.holds for each in checks) else 1
