"""Everybody who looks at a daemon while it works: a scraper, a viewer of the page, `pollux stat`.

Each as often as in use: Prometheus' page once a second, the web page's events as they come, and the
counters in shared memory once a second by a process of its own.
Runs on: a worker process of the harness, off the engine's CPU. Called by: bench.rig.workers
(bench.questions.watched).
"""

from __future__ import annotations

import http.client
import subprocess
import sys
import threading

from bench.rig.host import pin
from bench.rig.workers import Handler, Message

SCRAPE_EVERY_S = 1.0
TIME_LIMIT_S = 10.0
LINE_BYTES_MAX = 1 << 20


class Onlookers:
    """Who looks at one daemon, from `start` to `stop`."""

    def __init__(self, port: int, name: str) -> None:
        self.scrapes = self.events = 0
        self.errors: list[str] = []
        self._port = port
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=each) for each in (self._scrape, self._view)]
        for thread in self._threads:
            thread.start()
        watch = ("stat", "--name", name, "--watch", "--json", "--interval", "1")
        self._stat = subprocess.Popen(
            [sys.executable, "-m", "pollux", *watch], stdout=subprocess.PIPE
        )

    def _get(self, path: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIME_LIMIT_S)
        connection.request("GET", path)
        return connection.getresponse()

    def _scrape(self) -> None:
        try:
            while not self._stop.wait(SCRAPE_EVERY_S):
                self._get("/metrics").read()
                self.scrapes += 1
        except (OSError, http.client.HTTPException) as error:
            self.errors.append(f"scrape: {error!r}")

    def _view(self) -> None:
        try:
            answer = self._get("/events")
            while not self._stop.is_set() and answer.readline(LINE_BYTES_MAX):
                self.events += 1
        except (OSError, http.client.HTTPException) as error:
            self.errors.append(f"view: {error!r}")

    def stop(self) -> Message:
        """End them all; how much each has seen."""
        self._stop.set()
        for thread in self._threads:
            thread.join(TIME_LIMIT_S)
        self._stat.terminate()
        said, _ = self._stat.communicate(timeout=TIME_LIMIT_S)
        return {
            "scrapes": self.scrapes,
            "events": self.events,
            "stats": said.count(b"\n"),
            "errors": self.errors,
        }


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
