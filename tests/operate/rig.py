"""What the tests of a running daemon share: its parts as the system sees them.

Runs on: the tests' thread. Called by: tests/operate.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import psutil
from grpc_health.v1 import health_pb2, health_pb2_grpc

from engine.handoff import HandoffError, HandoffReader
from proto.pollux.v1 import market_data_pb2 as pb
from tests.e2e.rig import Daemon, Venues, daemon, free_port, settings

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
STOP_LIMIT_S = 5.0
"""What the contract allows for a shutdown."""
STALE_AFTER_MS = 1000
"""Of the daemon that is `live` to a module's tests."""
LIVE = {"binance": "LIVE", "bitstamp": "LIVE"}


@dataclass
class Operated:
    """A daemon and what the system knows of it."""

    name: str
    daemon: Daemon
    ended: list[int] = field(default_factory=list)

    @property
    def pid(self) -> int:
        return self.daemon.process.popen.pid

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.daemon.port}"

    @property
    def log(self) -> str:
        return self.daemon.process.text

    @property
    def gateway_pid(self) -> int:
        found = gateways_of(self.name)
        assert len(found) == 1, found
        return found[0]

    def signal(self, number: int) -> None:
        self.daemon.process.popen.send_signal(number)

    def reader(self) -> HandoffReader:
        return HandoffReader.attach(self.name)

    def health(self) -> int:
        """What health checking answers; 0 where nobody does."""
        with contextlib.suppress(grpc.RpcError), plain_channel(self.target) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            return int(stub.Check(health_pb2.HealthCheckRequest(), timeout=1).status)
        return 0


@contextlib.contextmanager
def plain_channel(target: str) -> Iterator[grpc.Channel]:
    """A connection of its own, that is tried again at once when it was refused."""
    options = [
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.initial_reconnect_backoff_ms", 50),
        ("grpc.min_reconnect_backoff_ms", 50),
        ("grpc.max_reconnect_backoff_ms", 50),
    ]
    with grpc.insecure_channel(target, options=options) as channel:
        yield channel


@contextlib.contextmanager
def operated(
    folder: Path, toml: str, *, extra: str = "", engine: str = "", name: str = ""
) -> Iterator[Operated]:
    """`pollux serve`, up; nothing of it is left behind."""
    port = free_port()
    name = name or f"operate-{port}"
    with daemon(folder, toml + settings(name, port, extra=extra, engine=engine), port) as running:
        yield Operated(name, running)
    assert "Traceback" not in running.process.text, running.process.text[-2000:]


@contextlib.contextmanager
def operated_live(folder: Path, venues: Venues, **given: str) -> Iterator[Operated]:
    """The same with both simulated venues, LIVE."""
    with operated(folder, venues.toml, **given) as running:
        running.daemon.wait_for(binance="LIVE", bitstamp="LIVE")
        yield running


def gateways_of(name: str) -> list[int]:
    """The living gateway processes of the daemons of a name, whoever their parent is."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            command = process.cmdline()
            if "net.gateway" in command and f'"handoff_name": "{name}"' in command[-1]:
                if process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process.pid)
    return found


def has_segment(name: str) -> bool:
    try:
        HandoffReader.attach(name)
    except HandoffError:
        return False
    return True


def serving_again_s(target: str, limit_s: float) -> float:
    """Until the gateway hands out a book, asked over and over on new connections."""
    started_s = time.monotonic()
    while time.monotonic() - started_s < limit_s:
        with contextlib.suppress(grpc.RpcError), plain_channel(target) as channel:
            from proto.pollux.v1.market_data_pb2_grpc import MarketDataServiceStub

            MarketDataServiceStub(channel).GetBook(pb.GetBookRequest(), timeout=0.5)
            return time.monotonic() - started_s
        time.sleep(0.02)
    raise AssertionError(f"no book within {limit_s} s")


def status_of_end(stream: object) -> tuple[grpc.StatusCode, str, list[pb.Book]]:
    """Read a stream to its end: its status, and what came."""
    books: list[pb.Book] = []
    try:
        for book in stream:  # type: ignore[attr-defined]
            books.append(book)
    except grpc.RpcError as error:
        return error.code(), error.details() or "", books
    return grpc.StatusCode.OK, "", books


def states_of(book: pb.Book) -> dict[str, str]:
    """Each venue's state in a book."""
    return {
        venue.venue: pb.VenueState.Name(venue.state).removeprefix("VENUE_STATE_")
        for venue in book.venues
    }


KILL, TERM, HALT, GO_ON = signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP, signal.SIGCONT
