"""The rig of the gateway's tests: an engine's side of the handoff in plain Python, and clients.

The test writer writes slots as the engine's kernels do (odd version, data, even version, the
ring's sequence, the published count), into a real segment that real gateways attach to.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import grpc

from engine.layout import layout as L
from engine.sharing.handoff import HandoffWriter, InstrumentInfo, write_word
from engine.sharing.meters import meters_kind
from engine.sharing.segment import segment_path
from net.gateway.counters import KIND, GatewayCounters
from net.gateway.options import GatewayOptions
from net.gateway.server import run_gateway
from net.gateway.subscribers import SEGMENT_KIND
from proto.orderbook_pb2_grpc import OrderbookAggregatorStub
from proto.pollux.v1.market_data_pb2_grpc import MarketDataServiceStub
from tuning.clock import steady_ns, wall_ns

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_S = 5.0
"""How long a test waits for what should come at once."""

CHECKED_BY = ("sequence of each frame", "times only, audit every 180 s")
BTC = InstrumentInfo("BTC-USD", ("binance", "bitstamp"), 10, 1, 2, checked_by=CHECKED_BY)
ETH = InstrumentInfo("ETH-USD", ("bitstamp",), 5, 5, 3)

Levels = Sequence[tuple[int, int, int]]
"""Price in ticks, lots, venue."""

T = TypeVar("T")

FIXED_WINDOW = ("grpc.http2.bdp_probe", 0)
"""A client with the plain 64 KiB of HTTP/2: by default gRPC lets the window grow to megabytes,
and only what does not fit into the window can be conflated."""

_names = itertools.count()


class Engine:
    """The writer of a segment of its own name."""

    def __init__(self, *instruments: InstrumentInfo) -> None:
        self.name = f"test-{os.getpid()}-{next(_names)}"
        self.instruments = instruments or (BTC, ETH)
        self.writer = HandoffWriter(self.name, self.instruments, steady_ns())
        self._sequences = [0] * len(self.instruments)

    def beat(self) -> None:
        self.writer.beat(steady_ns())

    def publish(
        self,
        bids: Levels = (),
        asks: Levels = (),
        *,
        instrument: int = 0,
        states: Sequence[int] | None = None,
        flags: Sequence[int] | None = None,
        skip: int = 0,
    ) -> int:
        """Write one book as the engine does; its sequence. `skip` leaves numbers out first."""
        words, at = self.writer.words, HandoffWriter.ring_at(instrument)
        venues = len(self.instruments[instrument].venues)
        self._sequences[instrument] += 1 + skip
        sequence = self._sequences[instrument]
        slot = at + L.RING_SLOTS_AT + (sequence % L.RING_SLOTS) * L.SLOT_WORDS
        write_word(words, slot + L.SLOT_VERSION, 2 * sequence - 1)
        now_ns = wall_ns()
        words[slot + L.SLOT_SEQUENCE] = sequence
        words[slot + L.SLOT_PUBLISH_NS] = now_ns
        words[slot + L.SLOT_RECEIVE_NS] = now_ns - 9_000
        words[slot + L.SLOT_VENUE_NS] = now_ns - 5_000_000
        words[slot + L.SLOT_TRIGGER_VENUE] = 0
        info = self.instruments[instrument]
        words[slot + L.SLOT_TICK_MANTISSA] = info.tick_mantissa
        words[slot + L.SLOT_TICK_DECIMALS] = info.tick_decimals
        words[slot + L.SLOT_LOT_DECIMALS] = info.lot_decimals
        is_crossed = bool(bids and asks) and bids[0][0] >= asks[0][0]
        words[slot + L.SLOT_FLAGS] = L.FLAG_CROSSED if is_crossed else 0
        for venue in range(venues):
            venue_at = slot + L.SLOT_VENUES_AT + venue * L.VENUE_WORDS
            words[venue_at + L.VENUE_STATE] = states[venue] if states else L.LIVE
            words[venue_at + L.VENUE_FLAGS] = flags[venue] if flags else 0
            words[venue_at + L.VENUE_VENUE_NS] = now_ns - 6_000_000
            words[venue_at + L.VENUE_RECEIVE_NS] = now_ns - 8_000
            words[venue_at + L.VENUE_UPDATE_ID] = 1000 + sequence
        for count_at, first, levels in (
            (L.SLOT_BIDS, L.SLOT_BIDS_AT, bids),
            (L.SLOT_ASKS, L.SLOT_ASKS_AT, asks),
        ):
            words[slot + count_at] = len(levels)
            for index, level in enumerate(levels):
                words[slot + first + 3 * index : slot + first + 3 * index + 3] = level
        write_word(words, slot + L.SLOT_VERSION, 2 * sequence)
        write_word(words, at + L.RING_SEQUENCE, sequence)
        published = int(words[L.HANDOFF_PUBLISHED])
        write_word(words, L.HANDOFF_PUBLISHED, published + 1)
        return sequence

    def close(self) -> None:
        self.writer.close()
        # A gateway that a test has killed leaves these to its successor.
        for kind in (meters_kind(KIND), SEGMENT_KIND):
            segment_path(self.name, kind).unlink(missing_ok=True)


class Beating(Engine):
    """An engine whose heart beats by itself, however long a process takes to start."""

    def __init__(self) -> None:
        super().__init__()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def _beat(self) -> None:
        while not self._stop.wait(0.1):
            self.beat()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        super().close()


def ladder(best_bid: int, levels: int = 10, lots: int = 100_000_000) -> tuple[Levels, Levels]:
    """Bids from `best_bid` down and asks from one tick above it up, on alternating venues."""
    bids = [(best_bid - i, lots + i, i % 2) for i in range(levels)]
    asks = [(best_bid + 1 + i, lots + i, i % 2) for i in range(levels)]
    return bids, asks


@dataclass
class Gateway:
    """A running gateway, as the tests see it."""

    port: int
    counters: GatewayCounters = field(default_factory=GatewayCounters)

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    @contextlib.contextmanager
    def channel(self, *options: tuple[str, Any]) -> Iterator[grpc.Channel]:
        # A subchannel of its own: tests do not share connections.
        chosen = [("grpc.use_local_subchannel_pool", 1), *options]
        with grpc.insecure_channel(self.target, options=chosen) as channel:
            yield channel

    @contextlib.contextmanager
    def stubs(self) -> Iterator[tuple[OrderbookAggregatorStub, MarketDataServiceStub]]:
        with self.channel() as channel:
            yield OrderbookAggregatorStub(channel), MarketDataServiceStub(channel)


@contextlib.contextmanager
def gateway_thread(engine: Engine, **options: Any) -> Iterator[Gateway]:
    """A gateway in a thread of this process, as the daemon's thread form."""
    chosen = {"listen": "127.0.0.1:0", "handoff_name": engine.name, **options}
    stop, is_ready = threading.Event(), threading.Event()
    counters = GatewayCounters(engine.name, now_ns=steady_ns())
    ports: list[int] = []
    errors: list[BaseException] = []

    def ready(port: int) -> None:
        ports.append(port)
        is_ready.set()

    def run() -> None:
        try:
            run_gateway(GatewayOptions(**chosen), ready=ready, stop=stop, counters=counters)
        except BaseException as error:
            errors.append(error)
            is_ready.set()

    thread = threading.Thread(target=run, name="gateway")
    thread.start()
    try:
        assert is_ready.wait(PATIENCE_S), "the gateway did not get ready"
        if errors:
            raise errors[0]
        yield Gateway(ports[0], counters)
    finally:
        stop.set()
        thread.join(PATIENCE_S)
        counters.close()
        assert not thread.is_alive(), "the gateway did not stop"
    if errors:
        raise errors[0]


def gateway_process(engine: Engine, **options: Any) -> subprocess.Popen[str]:
    """`python -m net.gateway` for this engine; its first line of output is `ready PORT`."""
    chosen = {"listen": "127.0.0.1:0", "handoff_name": engine.name, **options}
    return subprocess.Popen(
        [sys.executable, "-m", "net.gateway", json.dumps(chosen)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def take(stream: Iterable[T]) -> T:
    """The next message of a stream (the stubs' calls are iterable, not iterators)."""
    return next(iter(stream))


def eventually(check: Callable[[], bool], seconds: float = PATIENCE_S) -> bool:
    """Whether `check` becomes true in time."""
    deadline_s = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.01)
    return True


def status_of(call: Callable[[], object]) -> tuple[grpc.StatusCode, str]:
    """The status that a call ends with."""
    try:
        call()
    except grpc.RpcError as error:
        return error.code(), error.details() or ""
    return grpc.StatusCode.OK, ""
