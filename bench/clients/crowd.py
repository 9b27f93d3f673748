"""Many gRPC subscribers in one process, cheap enough not to be what is measured (bench.clients.h2).

Each subscriber is a stream of its own, spread over a few connections; what arrives is counted.
Runs on: a worker process of the harness, on the CPUs that the measured server does not use.
"""

from __future__ import annotations

import selectors
import threading
import time

import psutil

from bench.clients.h2 import Connection
from bench.rig.host import pin
from bench.rig.workers import Handler, Message

METHOD = "/orderbook.OrderbookAggregator/BookSummary"
CONNECT_LIMIT_S = 20.0
SELECT_S = 0.1
"""Between two looks at the stop flag."""
PAUSE_S = 0.0005
"""After each round of reads: small messages then come in larger reads, as fast clients see them."""


class Subscribers:
    """A thread that reads all connections until it is told to stop."""

    def __init__(self, target: str, count: int, per_channel: int) -> None:
        self._connections = [
            Connection(target, METHOD, min(per_channel, count - first))
            for first in range(0, count, per_channel)
        ]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            for each in self._connections:
                selector.register(each.link, selectors.EVENT_READ, each)
            while not self._stop.is_set():
                for key, _ in selector.select(SELECT_S):
                    key.data.on_readable()
                    if key.data.ended:
                        selector.unregister(key.fileobj)
                time.sleep(PAUSE_S)
                if not selector.get_map():
                    return

    @property
    def received(self) -> list[int]:
        """Messages of each subscriber."""
        return [int(n) for each in self._connections for n in each.per_stream]

    def wait_connected(self) -> None:
        """Until every subscriber has had a message."""
        end_s = time.monotonic() + CONNECT_LIMIT_S
        while not all(self.received):
            assert time.monotonic() < end_s, f"only {sum(map(bool, self.received))} are served"
            assert not any(each.ended for each in self._connections), "a stream was ended"
            time.sleep(0.01)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(CONNECT_LIMIT_S)
        for each in self._connections:
            each.close()


def _start(target: str, count: int, per_channel: int) -> Subscribers:
    """Connected subscribers; a server without a book ends their streams, and is asked again."""
    end_s = time.monotonic() + CONNECT_LIMIT_S
    while True:
        subscribers = Subscribers(target, count, per_channel)
        try:
            subscribers.wait_connected()
        except AssertionError:
            subscribers.stop()
            if time.monotonic() > end_s:
                raise
            time.sleep(0.05)
        else:
            return subscribers


def handlers() -> dict[str, Handler]:
    """`start` subscribers, `count` what they got, `stop` them."""
    current: list[Subscribers] = []

    def start(request: Message) -> Message:
        pin(*request["cpus"])
        if request["count"]:
            current.append(_start(request["target"], request["count"], request["per_channel"]))
        return {}

    def count(request: Message) -> Message:
        received = current[0].received if current else []
        cpu = psutil.Process().cpu_times()
        return {
            "received": sum(received),
            "least": min(received, default=0),
            "at_ns": time.perf_counter_ns(),
            "cpu_s": cpu.user + cpu.system,
        }

    def stop(request: Message) -> Message:
        if current:
            current.pop().stop()
        return {}

    return {"start": start, "count": count, "stop": stop}
