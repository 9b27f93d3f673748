"""Simulated venues that inflict faults, a patient daemon in its own process, and a judge of both.

The venues run in a thread of the tests, so that their books are known to the last level; the
daemon is the ordinary one with shorter waits (patience.py); every book it publishes is judged
(bench.soak.truth). Orders for faults go over the control endpoint, counters come from the metrics
page.
Runs on: the tests' thread.
"""

from __future__ import annotations

import contextlib
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.rig.venue_names import SYMBOLS
from bench.soak.counts import Look, inflict, look, post
from bench.soak.truth import Lie, Watcher
from bench.soak.venues import VenueThread
from engine.sharing.handoff import HandoffError, HandoffReader
from net.simulator.options import SimulatorOptions
from tests.e2e.rig import ROOT, START_S, free_port, settings, until
from tests.faults import patience

SPEED = 2.5
FRAME_S = 0.325 / SPEED
"""The longer of the venues' intervals between frames."""
MARGIN_S = 1.5
"""Two loaded cores; only a failing test waits for it."""
RECOVER_S = (
    2 * patience.BACKOFF_LIMIT_MS / 1000 + patience.REQUEST_LIMIT_S + 4 * FRAME_S + 2 * MARGIN_S
)
"""Back-off before the connection and before the snapshot, its request, and frames to join."""
FROZEN_S = patience.STALE_AFTER_MS / 1000 + FRAME_S + MARGIN_S
"""A LIVE venue may show a book that is no longer the newest for so long."""
LIVE = dict.fromkeys(SYMBOLS, "LIVE")


@dataclass
class Lab:
    """One pair of venues, one daemon, one judge."""

    folder: Path
    urls: dict[str, str]
    venues: VenueThread
    process: subprocess.Popen[bytes]
    log: Path
    gateway: str
    metrics: str
    watcher: Watcher
    no_dns: Path
    ssl_context: ssl.SSLContext | None = None
    _judged: int = field(default=0)

    def post(self, action: str, venue: str = "binance") -> Any:
        return post(self.urls[venue], action, self.ssl_context)

    def inflict(self, *orders: str) -> None:
        inflict(self.urls["binance"], list(orders), self.ssl_context)

    def look(self) -> Look:
        return look(self.metrics, self.urls, self.ssl_context)

    @property
    def states(self) -> dict[str, str]:
        return dict(self.watcher.states)

    def until(self, condition: Callable[[], Any], limit_s: float, what: str) -> None:
        """Wait for it; AssertionError with the end of the daemon's log when the time is over.

        Time in which the machine stood still does not count.
        """
        stalled_s = self.watcher.stalled_s
        end_s = time.monotonic() + limit_s
        while not condition():
            over_s = time.monotonic() - end_s - 2 * (self.watcher.stalled_s - stalled_s)
            if over_s > 0:
                raise AssertionError(
                    f"not within {limit_s:.1f} s: {what}; {self.states}\n{self.tail()}"
                )
            time.sleep(0.02)

    def until_live(self, limit_s: float = RECOVER_S) -> None:
        self.until(lambda: self.states == LIVE, limit_s, "LIVE")

    def until_calm(self) -> None:
        """LIVE, and over with any connection that is being replaced."""

        def is_calm() -> bool:
            return all(stats["connections"] == 1 for stats in self.look().stats.values())

        self.until(is_calm, RECOVER_S, "one connection a venue")
        self.until_live()

    def tail(self, lines: int = 25) -> str:
        """The end of the daemon's log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def truthful_s(self) -> float:
        """Since when nothing wrong was seen."""
        lies = self.watcher.lies
        return time.monotonic() - lies[-1].when_s if lies else float("inf")

    def fresh_lies(self) -> list[Lie]:
        """What was found wrong since this was last asked."""
        fresh = self.watcher.lies[self._judged :]
        self._judged += len(fresh)
        return fresh

    def assert_right(self) -> None:
        """No book since the last call was wrong, none was missed, and the daemon runs."""
        fresh = [lie.what for lie in self.fresh_lies()]
        assert fresh == [], f"{len(fresh)}, first {fresh[:3]}\n{self.tail()}"
        assert self.watcher.missed == 0
        assert self.process.poll() is None, self.tail()


def _start_daemon(folder: Path, config: Path, no_dns: Path) -> tuple[subprocess.Popen[bytes], Path]:
    log = folder / "daemon.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.patience", str(config), str(no_dns)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    return process, log


def _attached(name: str) -> bool:
    try:
        HandoffReader.attach(name)
    except HandoffError:
        return False
    return True


@contextlib.contextmanager
def laboratory(
    folder: Path, *, options: SimulatorOptions | None = None, named: bool = False
) -> Iterator[Lab]:
    """Venues, daemon and judge, LIVE and right. `named`: addressed by host names, over TLS."""
    chosen = options or SimulatorOptions(seed=5, speed=SPEED, far_levels_share=0.0)
    venues = VenueThread(chosen)
    process, watcher = None, None
    try:
        port, metrics = free_port(), f"127.0.0.1:{free_port()}"
        name, no_dns = f"faults-{port}", folder / "no-dns"
        toml = venues.venues.configuration_toml()
        if named:
            parts = toml.split("[venue.bitstamp]")
            toml = "[venue.bitstamp]".join(
                part.replace("127.0.0.1", host)
                for part, host in zip(parts, patience.HOSTS, strict=True)
            )
            toml = toml.replace('"BTCUSDT"', '"BTCUSDT"\ntick_size = "0.01"')
            toml = toml.replace('"btcusd"', '"btcusd"\ntick_size = "0.01"')
        # A snapshot of this depth costs half of what the default's does: there are many here.
        toml = toml.replace("[venue.binance]", "[venue.binance]\nsnapshot_depth = 500")
        ours = settings(name, port, engine=f"stale_after_ms = {patience.STALE_AFTER_MS}")
        config = folder / "faults.toml"
        config.write_text(toml + ours.replace('listen = ""', f'listen = "{metrics}"'))
        process, log = _start_daemon(folder, config, no_dns)

        def is_up() -> bool:
            assert process is not None and process.poll() is None, log.read_text()
            return _attached(name)

        until(is_up, START_S, "the daemon")
        until(lambda: '"serving"' in log.read_text(), START_S, "its gateway")
        watcher = Watcher(name, venues.truths, FROZEN_S)
        gateway = f"127.0.0.1:{port}"
        lab = Lab(folder, venues.urls, venues, process, log, gateway, metrics, watcher, no_dns)
        if chosen.tls_ca is not None:
            lab.ssl_context = ssl.create_default_context(cafile=str(chosen.tls_ca))
        yield lab
        assert process.poll() is None, lab.tail()
        process.terminate()
        assert process.wait(10) == 0, lab.tail()
        assert "Traceback" not in log.read_text()
    finally:
        if watcher is not None:
            watcher.close()
        if process is not None and process.poll() is None:
            process.kill()
            process.wait()
        venues.close()
