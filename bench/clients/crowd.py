"""gRPC subscribers in one process, cheap enough not to be what is measured (bench.clients.h2).

One that notes when it saw each event of the feed, or thousands, spread over connections; a log has
every message of all of them.
Runs on: a worker process of the harness, on the CPUs that the measured server does not use.
"""

from __future__ import annotations

import gc
import threading
import time
from pathlib import Path

import numpy as np
import psutil

from bench.clients.h2 import ASK_EVENT, BID_EVENT, SEEN_NS, Connections, Rows, open_streams
from bench.rig.host import pin
from bench.rig.stamps import Stamps
from bench.rig.workers import Handler, Message

METHOD = "/orderbook.OrderbookAggregator/BookSummary"
CONNECT_LIMIT_S = 30.0
RETRY_S = 0.01
READ_MS = 50
"""Between two looks at the stop flag."""
LOG_ROWS = 1 << 21
"""Messages whose times are kept: some 100 s of 1,000 subscribers at 20 a second."""


class Subscribers:
    """A thread that reads all connections until it is told to stop."""

    def __init__(self, target: str, count: int, per_channel: int, has_deaf: bool) -> None:
        """`has_deaf`: with one more, whose window is as large as any, and who never reads."""
        streams = [min(per_channel, count - first) for first in range(0, count, per_channel)]
        self._connections = Connections(target, METHOD, streams, LOG_ROWS)
        self._deaf = open_streams(target, METHOD, 1) if has_deaf else None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._connections.read(READ_MS)

    @property
    def received(self) -> list[int]:
        """Messages of each subscriber."""
        return self._connections.received

    @property
    def has_ended(self) -> bool:
        return self._connections.ended > 0

    @property
    def logged(self) -> int:
        """Messages in the log so far."""
        return self._connections.logged

    @property
    def first_ns(self) -> int:
        """When the first message came."""
        return int(self._connections.log(0, 1)[0, SEEN_NS])

    def log(self, first: int) -> Rows:
        """See bench.clients.h2."""
        return self._connections.log(first)

    def wait_connected(self, end_s: float) -> None:
        """Until every subscriber has had a message; AssertionError where that does not happen."""
        while not all(received := self.received):
            assert time.monotonic() < end_s, f"only {sum(map(bool, received))} are served"
            assert not self.has_ended, "a stream was ended"
            time.sleep(0.01)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(CONNECT_LIMIT_S)
        self._connections.close()
        if self._deaf is not None:
            self._deaf.close()


def _start(target: str, count: int, per_channel: int, wait_s: float, has_deaf: bool) -> Subscribers:
    """Connected subscribers; a server without a book ends their streams, and is asked again."""
    end_s = time.monotonic() + wait_s
    while True:
        subscribers = None
        try:
            subscribers = Subscribers(target, count, per_channel, has_deaf)
            subscribers.wait_connected(end_s)
            return subscribers
        except (OSError, AssertionError):
            if subscribers is not None:
                subscribers.stop()
            if time.monotonic() > end_s:
                raise
            time.sleep(RETRY_S)


def first_seen(log: Rows, stamps: Stamps, first: int) -> None:
    """Put when each event from `first` on was first in a message into the stamps.

    An even event is told by the best bid, an odd one by the best ask (two_venue_server).
    """
    for parity, column in enumerate((BID_EVENT, ASK_EVENT)):
        index = log[:, column] - first
        known = (log[:, column] % 2 == parity) & (index >= 0) & (index < stamps.columns)
        events, rows = np.unique(index[known], return_index=True)
        stamps.published[events] = log[known][rows, SEEN_NS]


def delays_ns(log: Rows, stamps: Stamps, first: int) -> Rows:
    """From an event's send to each message that tells it as its newest, in ns."""
    newest = np.maximum(log[:, BID_EVENT], log[:, ASK_EVENT]) - first
    known = (newest >= 0) & (newest < stamps.columns)
    delays: Rows = log[known, SEEN_NS] - stamps.actual[newest[known]]
    return delays


def handlers() -> dict[str, Handler]:
    """`start` subscribers, `wait` for an event, `count` what they got, `write` it, `stop` them."""
    current: list[Subscribers] = []

    def start(request: Message) -> Message:
        pin(*request["cpus"])
        gc.disable()
        if request["count"]:
            wait_s = request.get("wait_s", CONNECT_LIMIT_S)
            where, has_deaf = request["target"], request.get("has_deaf", False)
            each = _start(where, request["count"], request["per_channel"], wait_s, has_deaf)
            current.append(each)
        return {}

    def wait(request: Message) -> Message:
        """Until an event of each venue has been seen from `event` on; whether that came about."""
        end_s = time.monotonic() + request["wait_s"]
        looked, latest = 0, np.zeros(2, np.int64)
        while time.monotonic() < end_s and not current[0].has_ended:
            log = current[0].log(looked)
            looked += len(log)
            if len(log):
                latest = np.maximum(latest, log[:, [BID_EVENT, ASK_EVENT]].max(axis=0))
            if latest.min() >= request["event"]:
                return {"is_there": True, "messages": looked}
            time.sleep(0.01)
        reason = "a stream was ended" if current[0].has_ended else ""
        return {"is_there": False, "messages": looked, "reason": reason}

    def count(request: Message) -> Message:
        received = current[0].received if current else []
        cpu = psutil.Process().cpu_times()
        return {
            "received": sum(received),
            "least": min(received, default=0),
            "at_ns": time.perf_counter_ns(),
            "cpu_s": cpu.user + cpu.system,
            "logged": current[0].logged if current else 0,
            "first_ns": current[0].first_ns if current else 0,
        }

    def write(request: Message) -> Message:
        """Put first sights into the stamps; percentiles of all messages' delays, in ns."""
        stamps = Stamps(Path(request["stamps"]), request["columns"])
        log = current[0].log(request.get("logged", 0))
        first_seen(log, stamps, request["first"])
        delays = delays_ns(log, stamps, request["first"])
        known = len(delays) > 0
        return {
            "messages": len(delays),
            "delay_p50_ns": float(np.percentile(delays, 50)) if known else 0.0,
            "delay_p99_ns": float(np.percentile(delays, 99)) if known else 0.0,
        }

    def stop(request: Message) -> Message:
        gc.enable()
        if current:
            current.pop().stop()
        return {}

    return {"start": start, "wait": wait, "count": count, "write": write, "stop": stop}
