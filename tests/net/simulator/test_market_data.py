"""Venues of market data alone, simulated: the engine thread follows them over real sockets.

What it shows is the venue's own book, at rest and after each fault that the venue can have.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal

import orjson
import pytest

import net.feed.connection
from engine.engine import Engine, Stage
from engine.layout import layout as L
from engine.sharing import meter_layout as M
from net.config.schema import Config, parse_config
from net.feed.engine_thread import EngineThread
from net.feed.events import FeedEvent
from net.feed.snapshot_request import SnapshotRequest
from net.feed.specs import instrument_specs
from net.simulator.options import SimulatorOptions
from net.simulator.registry import MARKET_DATA, simulated_venue
from net.simulator.venues import SimulatedVenues
from net.venues.registry import VENUES
from tests.engine.rig import Rig, read_side
from tuning.clock import wall_ns

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(110)]

DEPTH = 10
SYMBOLS = ("BTC-USD", "ETH-USD")


class VenueThread:
    """One simulated venue on a loop and a thread of its own."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._loop = asyncio.new_event_loop()
        options = SimulatorOptions(symbols=SYMBOLS, venues=(name,), seed=5, rest_lag_max_s=0.0)
        self.venues = SimulatedVenues(options)
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> VenueThread:
        self._thread.start()
        self._run(self.venues.start())
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self.venues.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self, work: object) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(20)  # type: ignore[arg-type]

    def post(self, action: str) -> None:
        url = f"{self.venues.url(self.name)}/simulator/{action}"
        with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=10):
            pass

    def levels(self, symbol: str) -> list[list[tuple[Decimal, Decimal]]]:
        """The venue's own book, best first."""
        server = self.venues.server(self.name)
        book, text = server.feed.book(symbol), server.text[symbol]
        assert book is not None
        return [
            [(Decimal(text.price(p)), Decimal(text.qty(q))) for p, q in side]
            for side in (book.sorted_bids(DEPTH), book.sorted_asks(DEPTH))
        ]


@dataclass
class Host:
    """The housekeeping side: REST books by urllib, events kept."""

    engine: Engine
    config: Config
    live: EngineThread | None = None
    events: list[tuple[FeedEvent, dict[str, object]]] = field(default_factory=list)

    def request_snapshot(self, request: SnapshotRequest) -> None:
        threading.Thread(target=self._fetch, args=(request,), daemon=True).start()

    def _fetch(self, request: SnapshotRequest) -> None:
        assert self.live is not None
        spec = self.engine.feeds[request.feed]
        protocol, settings = VENUES[spec.venue], self.config.settings(spec.venue)
        depth = protocol.snapshot_depths(settings)[-1]
        path = protocol.snapshot_path(spec.symbol, depth, wall_ns() // 10**6)
        self.live.snapshot_sent(request)
        try:
            with urllib.request.urlopen(settings.rest_url + path, timeout=10) as answer:
                body = answer.read()
        except OSError as error:
            self.live.snapshot_failed(request, str(error), 0.0)
            return
        stage = Stage()
        self.engine.stage(request.feed, body, stage)
        self.live.snapshot(request, stage, depth)

    def ask_tick_size(self, feed: int) -> None:
        """It stays as it is."""

    def cancel_snapshot(self, feed: int) -> None:
        """Its answer is not taken."""

    def log(self, level: str, event: str, **facts: object) -> None:
        """Of no interest here."""

    def note(self, event: FeedEvent, level: str, /, **facts: object) -> None:
        self.events.append((event, facts))


def listings(venue: VenueThread, config: Config) -> dict[tuple[str, str], str]:
    """The ticks that the venue's own metadata name, through the product's reader."""
    protocol, found = VENUES[venue.name], {}
    for instrument in config.instrument:
        (each,) = instrument.venue
        url = config.settings(venue.name).rest_url + protocol.metadata_path(each.symbol)
        with urllib.request.urlopen(url, timeout=10) as answer:
            listing = protocol.listing(orjson.loads(answer.read()), each.symbol)
        found[venue.name, each.symbol] = listing.tick_size
    return found


@contextlib.contextmanager
def following(venue: VenueThread) -> Iterator[Host]:
    """An engine thread that follows the venue's markets."""
    toml = venue.venues.configuration_toml() + '[engine]\nidle = "backoff"\n'
    config = parse_config(toml, "test")
    specs = instrument_specs(config, listings(venue, config))
    engine = Engine(specs, window_slots=1 << 12, far_levels_max=1 << 10)
    host = Host(engine, config)
    host.live = EngineThread(config, engine, host, seed=1)
    thread = threading.Thread(target=host.live.run, daemon=True)
    thread.start()
    try:
        yield host
    finally:
        host.live.stop()
        thread.join(15)
        assert not thread.is_alive()


class _Looker(Rig):
    """The test rig's looks into an engine that somebody else drives."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine


def shown(host: Host, feed: int) -> list[list[tuple[Decimal, Decimal]]]:
    """The best levels of a feed's book."""
    looker, units = _Looker(host.engine), host.engine.units(feed)
    mantissa, decimals = units.price
    found = []
    for is_asks in range(2):
        try:
            side = read_side(looker, feed, looker.active_book(feed), is_asks)
        except RuntimeError:  # the engine's thread is writing
            return []
        levels = sorted(side.levels.items(), reverse=True)[:DEPTH]
        found.append(
            [
                (
                    (abs(Decimal(key)) * mantissa).scaleb(-decimals),
                    Decimal(lots).scaleb(-units.lot_decimals),
                )
                for key, lots in levels
            ]
        )
    return found


def until(condition: object, host: Host, limit_s: float = 25.0) -> None:
    end_s = time.monotonic() + limit_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end_s, host.events[-8:]
        time.sleep(0.03)


def all_live(host: Host) -> bool:
    return all(host.engine.state(feed) == L.LIVE for feed in range(len(SYMBOLS)))


def is_right(venue: VenueThread, host: Host) -> None:
    """At rest every book is the venue's."""
    until(lambda: all_live(host), host)
    venue.post("pause")
    symbols = [spec.symbol for spec in host.engine.feeds]
    wanted = [venue.levels(symbol) for symbol in symbols]
    feeds = range(len(symbols))
    until(lambda: all_live(host) and [shown(host, feed) for feed in feeds] == wanted, host)
    venue.post("resume")


def refusals(host: Host) -> int:
    """Gaps, failed checksums and refused frames of all feeds."""
    words, places = host.engine.meters.words, host.engine.meters.feed_at
    kinds = (M.FEED_GAPS, M.FEED_CHECKSUMS_FAILED, M.FEED_RESYNCS)
    return sum(int(words[at + kind]) for at in places for kind in kinds)


@pytest.mark.parametrize("name", MARKET_DATA)
@pytest.mark.usefixtures("compiled_kernels")
def test_its_books_are_shown_and_come_back_after_each_of_its_faults(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net.feed.connection, "HEARTBEAT_S", 0.3)
    monkeypatch.setattr(VENUES[name], "audit_interval_s", 2, raising=False)
    own = [each for each in simulated_venue(name).own_faults if each != "refused-subscription"]
    with VenueThread(name) as venue, following(venue) as host:
        is_right(venue, host)
        assert refusals(host) == 0, host.events
        for fault in ("reordered-keys", "whitespace", "extra-keys", "fragments"):
            venue.post(f"fault?order={fault}x2")
        time.sleep(0.6)
        is_right(venue, host)
        assert refusals(host) == 0, host.events
        for fault in (*own, "truncated-json", "drop", "reset"):
            venue.post(f"fault?order={fault}")
            time.sleep(0.5)
            is_right(venue, host)
        assert refusals(host) > 0
