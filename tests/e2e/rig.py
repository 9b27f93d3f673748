"""Separate processes for the end-to-end tests: simulated venues, the daemon, plain subscribers.

Everything is what a user runs: the command line, real sockets, a configuration file.
Runs on: the tests' thread.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
import orjson

from proto.pollux.v1 import market_data_pb2 as pb
from proto.pollux.v1 import market_data_pb2_grpc as rpc
from tuning.clock import wall_ns

ROOT = Path(__file__).resolve().parents[2]
START_S = 60.0
"""A first start compiles; the suite has compiled before, but a loaded machine is slow."""
SETTLE_S = 45.0
"""Above the longest wait of the back-off, 30 s: after many breaks in a row it may come to that."""

ONE_INSTRUMENT = """
[[instrument]]
symbol = "BTC-USD"
  [[instrument.venue]]
  name = "binance"
  symbol = "BTCUSDT"
  tick_size = "0.01"
"""
"""Its tick is known: no venue is asked."""
FIXED_TICKS = (
    ONE_INSTRUMENT
    + """
[venue.binance]
ws_url = "{ws_url}"
rest_url = "http://127.0.0.1:1"
"""
)
"""An instrument whose venue need not be there."""


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(condition: Callable[[], Any], limit_s: float = SETTLE_S, what: str = "") -> Any:
    """The first true value of a condition; AssertionError when the time is over."""
    end_s = time.monotonic() + limit_s
    while time.monotonic() < end_s:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {limit_s} s: {what or condition}")


@dataclass
class Process:
    """One of our own commands; `text` is all it has written."""

    popen: subprocess.Popen[bytes]
    log: Path

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def end(self, number: int = signal.SIGTERM, limit_s: float = 10.0) -> int:
        """Send a signal and wait; the exit status."""
        if self.popen.poll() is None:
            self.popen.send_signal(number)
        return self.popen.wait(limit_s)


def command(*arguments: str) -> list[str]:
    """The argument list of a pollux command."""
    return [sys.executable, "-m", "pollux", *arguments]


@contextlib.contextmanager
def running(
    folder: Path, name: str, *arguments: str, keys: Mapping[str, str] | None = None
) -> Iterator[Process]:
    """A pollux command as a process that does not outlive the block."""
    log = folder / f"{name}-{time.monotonic_ns()}.log"
    with log.open("wb") as output:
        popen = subprocess.Popen(
            command(*arguments),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), **(keys or {})},
        )
    process = Process(popen, log)
    try:
        yield process
    except AssertionError as error:
        error.add_note(f"--- the end of what {name} wrote:\n{process.text[-6000:]}")
        raise
    finally:
        if popen.poll() is None:
            popen.send_signal(signal.SIGTERM)
            try:
                popen.wait(8)
            except subprocess.TimeoutExpired:
                popen.kill()
                popen.wait()


@dataclass
class Venues:
    """The simulated venues and what tests may do to them."""

    process: Process
    toml: str
    urls: dict[str, str] = field(default_factory=dict)

    def post(self, venue: str, action: str) -> None:
        """One of the simulator's control endpoints."""
        request = urllib.request.Request(f"{self.urls[venue]}/simulator/{action}", method="POST")
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 200

    def get(self, venue: str, path: str) -> Any:
        """A REST answer, decoded."""
        with urllib.request.urlopen(self.urls[venue] + path, timeout=10) as answer:
            return orjson.loads(answer.read())

    def pause(self) -> None:
        for venue in self.urls:
            self.post(venue, "pause")

    def book(self, venue: str) -> dict[str, dict[Decimal, Decimal]]:
        """A venue's whole book as its REST side has it now."""
        nonce = wall_ns()
        path = {
            "binance": "/api/v3/depth?symbol=BTCUSDT&limit=5000",
            "bitstamp": f"/api/v2/order_book/btcusd/?group=1&_={nonce}",
        }[venue]
        body = self.get(venue, path)
        return {
            side: {Decimal(price): Decimal(amount) for price, amount in body[side]}
            for side in ("bids", "asks")
        }


@contextlib.contextmanager
def simulated_venues(folder: Path, *arguments: str) -> Iterator[Venues]:
    """`pollux simulate` on free ports."""
    written = folder / f"venues-{time.monotonic_ns()}.toml"
    with running(
        folder, "simulate", "simulate", "--write-config", str(written), *arguments
    ) as process:
        until(written.exists, START_S, "the simulated venues' configuration")
        toml = written.read_text()
        urls: dict[str, str] = {}
        for line in toml.splitlines():
            if line.startswith("rest_url"):
                url = line.split('"')[1]
                urls["bitstamp" if urls else "binance"] = url
        yield Venues(process, toml, urls)


@dataclass
class Daemon:
    """A running `pollux serve` and a subscriber's view of it."""

    process: Process
    port: int
    stub: rpc.MarketDataServiceStub

    def get(self, symbol: str = "") -> pb.Book | None:
        """The current book, or nothing where there is none yet."""
        with contextlib.suppress(grpc.RpcError):
            return self.stub.GetBook(pb.GetBookRequest(symbol=symbol), timeout=5)
        return None

    def states(self) -> dict[str, str]:
        """Each venue's state, as subscribers see it."""
        book = self.get()
        if book is None:
            return {}
        return {
            venue.venue: pb.VenueState.Name(venue.state).removeprefix("VENUE_STATE_")
            for venue in book.venues
        }

    def wait_for(self, limit_s: float = SETTLE_S, **wanted: str) -> None:
        """Until the venues are in these states."""
        until(lambda: self.states() == wanted, limit_s, f"{wanted}, is {self.states()}")


def settings(name: str, port: int, extra: str = "", engine: str = "") -> str:
    """The part of a configuration that is ours."""
    return (
        f'[engine]\nname = "{name}"\nidle = "block"\n{engine}\n'
        f'[gateway]\nlisten = "127.0.0.1:{port}"\n{extra}\n'
        f'[metrics]\nlisten = ""\n[log]\nlevel = "debug"\n'
    )


@contextlib.contextmanager
def daemon(
    folder: Path, toml: str, port: int, keys: Mapping[str, str] | None = None
) -> Iterator[Daemon]:
    """`pollux serve` with a configuration, once its gateway answers."""
    config = folder / f"pollux-{time.monotonic_ns()}.toml"
    config.write_text(toml)
    with running(folder, "serve", "serve", "--config", str(config), keys=keys) as process:

        def is_up() -> bool:
            assert process.popen.poll() is None, process.text
            return '"event":"serving"' in process.text.replace('": "', '":"')

        until(is_up, START_S, "the daemon")
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Daemon(process, port, rpc.MarketDataServiceStub(channel))
