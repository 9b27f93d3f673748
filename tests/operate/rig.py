"""What the tests of a running daemon share: its parts as the system sees them.

Runs on: the tests' thread.
"""

from __future__ import annotations

import contextlib
import math
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import orjson
import psutil
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families

from engine.sharing.handoff import HandoffError, HandoffReader
from proto.pollux.v1 import market_data_pb2 as pb
from tests.e2e.rig import Daemon, Process, Venues, daemon, free_port, running, settings

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
    folder: Path,
    toml: str,
    *,
    extra: str = "",
    engine: str = "",
    name: str = "",
    keys: Mapping[str, str] | None = None,
) -> Iterator[Operated]:
    """`pollux serve`, up; nothing of it is left behind. `keys`: more of its environment."""
    port = free_port()
    name = name or f"operate-{port}"
    text = toml + settings(name, port, extra=extra, engine=engine)
    with daemon(folder, text, port, keys) as served:
        yield Operated(name, served)
    assert "Traceback" not in served.process.text, served.process.text[-2000:]


@contextlib.contextmanager
def operated_live(folder: Path, venues: Venues, **given: Any) -> Iterator[Operated]:
    """The same with both simulated venues, LIVE."""
    with operated(folder, venues.toml, **given) as live:
        live.daemon.wait_for(binance="LIVE", bitstamp="LIVE")
        yield live


class Paged:
    """A daemon that has a page, whatever becomes of its venues."""

    def __init__(self, toml: str) -> None:
        port = free_port()
        self.listen = f"127.0.0.1:{free_port()}"
        self.name = f"page-{port}"
        ours = settings(self.name, port).replace('listen = ""', f'listen = "{self.listen}"')
        self._toml = toml + ours

    @contextlib.contextmanager
    def running(self, folder: Path) -> Iterator[Process]:
        config = folder / f"{self.name}.toml"
        config.write_text(self._toml)
        with running(folder, "serve", "serve", "--config", str(config)) as process:
            yield process
        assert "Traceback" not in process.text

    def says(self, path: str) -> tuple[int, str]:
        """A status and a line; 0 while nobody answers."""
        try:
            with urllib.request.urlopen(f"http://{self.listen}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def metric(self, name: str, **labels: str) -> float:
        """A sample of the metrics page; NaN where it is not there."""
        for family in text_string_to_metric_families(self.says("/metrics")[1]):
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    return float(sample.value)
        return math.nan


def log_lines(text: str, event: str, **facts: object) -> list[dict[str, Any]]:
    """The lines of a daemon's log that tell of this."""
    lines = [orjson.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [each for each in lines if {"event": event, **facts}.items() <= each.items()]


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
