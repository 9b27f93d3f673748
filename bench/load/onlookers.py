"""Everybody who looks at a daemon while it works: a scraper, a viewer of the page, `pollux stat`.

Each as often as in use: Prometheus' page once a second, the web page's events as they come, and the
counters in shared memory once a second by a process of its own. They look for a while, and look
away for as long, over and over.
Runs on: a worker process of the harness, off the engine's CPU.
"""

from __future__ import annotations

import http.client
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

from bench.rig.host import pin
from bench.rig.workers import Handler, Message
from tuning.clock import wall_ns

LOOK_S = 1.0
"""They look for so long, and look away for so long; each looks at least once meanwhile."""
SCRAPE_EVERY_S = 1.0
TIME_LIMIT_S = 10.0
LINE_BYTES_MAX = 1 << 20
START_LIMIT_S = 40.0
"""For the first look of each: a command may have kernels to load, on a busy host."""


class Onlookers:
    """Who looks at one daemon, from `start` to `stop`; each has seen something when it begins."""

    def __init__(self, port: int, name: str) -> None:
        self.seen = {"scrapes": 0, "events": 0, "stats": 0}
        self.errors: list[str] = []
        self.looks_ns: list[tuple[int, int]] = []
        """From when to when they looked, by the wall clock."""
        self._port = port
        self._stop = threading.Event()
        self._looking = threading.Event()
        self._looking.set()
        watch = ("stat", "--name", name, "--watch", "--json", "--interval", "1")
        self._stat = subprocess.Popen(
            [sys.executable, "-m", "pollux", *watch], stdout=subprocess.PIPE
        )
        self._threads = [
            threading.Thread(target=self._keep, args=each)
            for each in (("scrapes", self._scrape), ("events", self._view), ("stats", self._read))
        ]
        for thread in self._threads:
            thread.start()
        limit_s = time.monotonic() + START_LIMIT_S
        while not all(self.seen.values()) and not self.errors and time.monotonic() < limit_s:
            time.sleep(0.05)
        self._threads.append(threading.Thread(target=self._take_turns))
        self._threads[-1].start()

    def _take_turns(self) -> None:
        """Look and look away, until the end."""
        while not self._stop.is_set():
            self._stat.send_signal(signal.SIGCONT)
            self._looking.set()
            begun_ns = wall_ns()
            self._stop.wait(LOOK_S)
            self.looks_ns.append((begun_ns, wall_ns()))
            self._looking.clear()
            self._stat.send_signal(signal.SIGSTOP)
            self._stop.wait(LOOK_S)
        self._looking.set()
        self._stat.send_signal(signal.SIGCONT)

    def _keep(self, what: str, looks: Callable[[], Iterator[None]]) -> None:
        try:
            for _ in looks():
                self.seen[what] += 1
                if self._stop.is_set():
                    return
        except (OSError, http.client.HTTPException) as error:
            if not self._stop.is_set():
                self.errors.append(f"{what}: {error!r}")

    def _get(self, path: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIME_LIMIT_S)
        connection.request("GET", path)
        return connection.getresponse()

    def _scrape(self) -> Iterator[None]:
        while True:
            self._looking.wait()
            self._get("/metrics").read()
            yield
            self._stop.wait(SCRAPE_EVERY_S)

    def _view(self) -> Iterator[None]:
        while True:
            self._looking.wait()
            answer = self._get("/events")
            while self._looking.is_set() and answer.readline(LINE_BYTES_MAX):
                yield
            answer.close()

    def _read(self) -> Iterator[None]:
        assert self._stat.stdout is not None
        for _ in self._stat.stdout:
            yield

    def stop(self) -> Message:
        """End them all; how much each has seen."""
        self._stop.set()
        self._threads[-1].join(TIME_LIMIT_S)
        self._stat.terminate()
        for thread in self._threads:
            thread.join(TIME_LIMIT_S)
        self._stat.wait(TIME_LIMIT_S)
        return {"seen": self.seen, "errors": self.errors, "looks_ns": self.looks_ns}


def handlers() -> dict[str, Handler]:
    """`start` and `stop`, any number of times."""
    current: list[Onlookers] = []

    def start(request: Message) -> Message:
        pin(*request["cpus"])
        current.append(Onlookers(request["port"], request["name"]))
        return {}

    def stop(request: Message) -> Message:
        return current.pop().stop()

    def close(request: Message) -> Message:
        return current.pop().stop() if current else {}

    return {"start": start, "stop": stop, "close": close}
