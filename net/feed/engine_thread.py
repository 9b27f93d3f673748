"""The engine thread: its event loop, the venues' streams and book syncs, and the timer.

Everything here runs on that one thread. The rest of the daemon talks to it through
`call_soon_threadsafe`, and is talked to through the callables it was given.
Runs on: the engine thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from engine.compiling.jit import JIT_OFF
from engine.engine import Engine, Stage
from engine.layout import layout as L
from engine.layout.units import NS_PER_S
from engine.sharing.trades_ring import TradesWriter
from net.config.schema import Config, ConfigError
from net.feed.book_sync import BookSync
from net.feed.clock_check import HostCheck, feed_names
from net.feed.connection import FeedConnection
from net.feed.events import INFO, FeedEvent
from net.feed.snapshot_request import SnapshotRequest
from net.feed.specs import feed_specs_by_venue
from net.feed.venue_feeds import ONLY_ANEW, LargeFrame, VenueFeeds
from net.sockets.backoff import Backoff
from net.sockets.event_loop import new_event_loop
from net.sockets.proxy import ProxySettingError, proxy_of
from net.sockets.rehearsal import Rehearsal
from net.sockets.websocket import tls_context
from net.tape.tape import TapeLine, TapeWriter
from net.venues.registry import VENUES
from tuning.clock import steady_ns, wall_ns
from tuning.host import Host
from tuning.measures import CONFIGURED, CpuError, Measure, freeze_garbage, tuned

if TYPE_CHECKING:
    from net.maker.maker import Maker
    from net.maker.makers import Makers

HELPERS_MAX = 8
"""A name asked for by each venue at once."""
TIMER_S = 0.05
"""Between two looks at silence, quiet pairs and audits; also the heartbeat's period."""
SYNCS_A_TURN = 8
"""Books that are looked at in one turn of the loop: some 100 us of Python."""
CANCEL_LIMIT_S = 1.5
"""How long a shutdown waits for the venues to confirm that our orders are cancelled."""
SILENCE_RECONNECT = 3
"""A venue that is silent for so many times `stale_after_ms`, none of it LIVE, is connected anew."""


class EngineHost(Protocol):
    """The housekeeping side, called from the engine thread; nothing here may block."""

    def request_snapshot(self, request: SnapshotRequest) -> None:
        """Fetch and decode a book, then call `EngineThread.snapshot` or `snapshot_failed`."""

    def cancel_snapshot(self, feed: int) -> None:
        """Give up what was requested for this feed."""

    def ask_tick_size(self, feed: int) -> None:
        """Ask the feed's venue for its tick, then call `EngineThread.tick_size`."""

    def log(self, level: str, event: str, **facts: object) -> None:
        """One line for the operator."""

    def note(self, event: FeedEvent, level: str, /, **facts: object) -> None:
        """One event of a feed or of its venue's connection."""


class EngineCpuError(Exception):
    """The engine thread cannot be kept where the configuration wants it."""


@dataclass
class EngineThread:
    """The venues of one engine, connected. Create anywhere, `run` on the engine thread."""

    config: Config
    engine: Engine
    host: EngineHost
    tape: TapeWriter | None = None
    seed: int | None = None
    makers: Makers | None = None
    trades: TradesWriter | None = None
    """Where trades go; none are asked for without."""
    venues: list[VenueFeeds] = field(init=False, default_factory=list)
    streams: dict[str, FeedConnection] = field(init=False, default_factory=dict)
    measures: list[Measure] = field(init=False, default_factory=list)
    """What was done for the engine thread, and what was refused; whole once it runs."""
    host_check: HostCheck = field(init=False)

    def __post_init__(self) -> None:
        rng = random.Random(self.seed)
        for connection, (name, feeds) in enumerate(feed_specs_by_venue(self.config).items()):
            settings = self.config.settings(name)
            syncs = tuple(
                BookSync(
                    self.engine,
                    feed,
                    VENUES[name],
                    self,
                    snapshot_depth=VENUES[name].snapshot_depths(settings)[-1],
                    stale_after_ms=self.config.engine.stale_after_ms,
                    late_after_ms=settings.late_after_ms,
                    backoff=Backoff(random.Random(rng.random())),
                )
                for feed in feeds
            )
            self.venues.append(VenueFeeds(self.engine, connection, VENUES[name], syncs, self))
            if self.trades is not None:
                self.venues[-1].take_trades(self.trades)
        self.host_check = HostCheck(self.engine, self.host.log, int(TIMER_S * 1e9))
        self._names = feed_names(self.engine)
        self._syncs = {s.feed: s for venue in self.venues for s in venue.syncs}
        self._rng = rng
        self._rehearsal = Rehearsal(self.engine)
        self._decoding: set[asyncio.Task[None]] = set()
        """Large frames with a helper thread."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._is_ready = threading.Event()

    # --- the thread ------------------------------------------------------------------------------

    def run(self) -> None:
        """The engine thread's body: until `stop`."""
        settings = self.config.engine
        meters, rehearsal = self.engine.meters.loop, self._rehearsal
        policy = settings.idle, meters, self._on_standstill, rehearsal, self.makers
        new_loop = partial(new_event_loop, *policy)
        before = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
        try:
            with (
                tuned(
                    Host(),
                    cpu=settings.cpu,
                    realtime_priority=settings.realtime_priority,
                    lock_memory=settings.lock_memory,
                    stay_awake=settings.stay_awake,
                ) as self.measures,
                asyncio.Runner(loop_factory=new_loop) as runner,
            ):
                if settings.cpu is not None and before:
                    runner.get_loop().set_default_executor(helpers_on(before))
                runner.run(self._main())
        except CpuError as error:
            raise EngineCpuError(f"[engine] cpu {settings.cpu} cannot be used") from error
        finally:
            self._is_ready.set()  # whoever waits for a thread that never came up
            if self._loop is None and self.makers is not None:
                self.makers.close()  # nothing was begun that others should look after

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._make_streams()
        self._is_ready.set()
        self.measures.append(freeze_garbage())
        self._tell_measures()
        self.engine.handoff.set_engine_state(L.ENGINE_IS_RUNNING)
        tasks = [asyncio.create_task(stream.run()) for stream in self.streams.values()]
        if self.makers is not None:
            runs = (*self.makers.connect(), self.makers.run(TIMER_S))
            tasks += [asyncio.create_task(run) for run in runs]
        timer = asyncio.create_task(self._tick())
        stopped = asyncio.create_task(self._stop.wait())
        done, _ = await asyncio.wait((*tasks, timer, stopped), return_when=asyncio.FIRST_COMPLETED)
        if stopped in done:
            await self._wind_down()
            closing = [stream.stop() for stream in self.streams.values()]
            closing += [self.makers.disconnect()] if self.makers is not None else []
            await asyncio.gather(*closing)
        for task in (*tasks, timer, stopped):
            task.cancel()
        results = await asyncio.gather(*tasks, timer, return_exceptions=True)
        self._withdraw()
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _wind_down(self) -> None:
        """Quote no more, cancel everything, wait for the venues' word; then the connections."""
        if self.makers is None:
            return
        self.makers.stop(steady_ns())
        limit_s = time.monotonic() + CANCEL_LIMIT_S
        while not self.makers.is_quiet and time.monotonic() < limit_s:
            await asyncio.sleep(TIMER_S / 5)
        self.makers.on_timer(steady_ns())
        left = self.makers.end()
        if left:
            self.host.log("error", "orders may still be open", orders=left)
        else:
            self.host.log("info", "no order of ours is open")

    def _tell_measures(self) -> None:
        """What became of each measure for this thread; a warning where a configured one failed."""
        is_bad = any(e.state == "refused" and e.name in CONFIGURED for e in self.measures)
        facts = {each.name.replace(" ", "_"): str(each) for each in self.measures}
        self.host.log("warning" if is_bad else "info", "tuned", **facts)

    def _withdraw(self) -> None:
        """The last word to whoever reads the handoff: no venue, no levels, stopped."""
        now_ns = steady_ns()
        for venue in self.venues:
            venue.on_lost("the engine ends", now_ns)
        self.engine.handoff.set_engine_state(L.ENGINE_IS_STOPPED)
        if self.makers is not None:
            self.makers.close()

    def _on_standstill(self) -> None:
        """The loop stood still, and so did every book: what has waited comes only now."""
        now_ns = steady_ns()
        for venue in self.venues:
            venue.on_standstill(now_ns)
        if self.makers is not None:
            self.makers.on_frame(now_ns)

    def _make_streams(self) -> None:
        idle_ping_s = max(self.config.engine.stale_after_ms / 1000, 1.0)
        for venue in self.venues:
            settings = self.config.settings(venue.name)
            self.streams[venue.name] = FeedConnection(
                venue,
                self,
                url=venue.protocol.stream_url(settings.ws_url, venue.symbols, settings),
                own=settings,
                rest_url=settings.rest_url,
                ssl_context=partial(tls_context, settings.ca_file),
                idle_ping_s=idle_ping_s,
                backoff=Backoff(random.Random(self._rng.random())),
                proxy=proxy_of(settings.ws_url, settings.proxy),
                is_recording=self.tape is not None,
                quoting=self.makers,
            )

    async def _tick(self) -> None:
        silence_ns = SILENCE_RECONNECT * self.config.engine.stale_after_ms * 1_000_000
        while True:
            now_ns = steady_ns()
            self.engine.handoff.beat(now_ns)
            self.host_check.look(now_ns)
            for venue in self.venues:
                for each in range(0, len(venue.syncs), SYNCS_A_TURN):
                    venue.on_timer(steady_ns(), each, each + SYNCS_A_TURN)
                    await asyncio.sleep(0)  # no frame waits for all of them
                if venue.is_silent(now_ns, silence_ns):
                    self.streams[venue.name].drop("no data")
            await asyncio.sleep(TIMER_S)

    # --- from other threads ----------------------------------------------------------------------

    def _call(self, function: Callable[..., None], *args: object) -> None:
        self._is_ready.wait()
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the thread has ended
                self._loop.call_soon_threadsafe(function, *args)

    def snapshot_sent(self, request: SnapshotRequest) -> None:
        """A request has left for the venue; from the housekeeping thread, as the next two."""
        sync = self._syncs[request.feed]
        self._call(lambda: sync.on_snapshot_sent(request.number, steady_ns()))

    def snapshot(self, request: SnapshotRequest, stage: Stage, depth: int) -> None:
        """A book of so many levels a side at most, decoded if it can be; 0: the whole one."""
        sync = self._syncs[request.feed]
        self._call(lambda: sync.on_snapshot(request.number, stage, depth, steady_ns()))

    def snapshot_failed(self, request: SnapshotRequest, reason: str, retry_after_s: float) -> None:
        """The book could not be had."""
        sync, retry_after_ns = self._syncs[request.feed], int(retry_after_s * NS_PER_S)

        def tell() -> None:
            sync.on_snapshot_failed(request.number, reason, steady_ns(), retry_after_ns)

        self._call(tell)

    def tick_size(self, feed: int, tick_size: str) -> None:
        """What a venue has said of its tick."""

        def tell() -> None:
            self._syncs[feed].units.declared(tick_size, steady_ns())
            if self.makers is not None:
                self.makers.on_tick_size(feed, tick_size, steady_ns())

        self._call(tell)

    def stop(self) -> None:
        """Close the feeds with the closing handshake and end `run`."""

        def set_stop() -> None:
            assert self._stop is not None
            self._stop.set()

        self._call(set_stop)

    def kill_makers(self, reason: int, symbol: str = "") -> None:
        """Halt quoting and cancel everything, of one instrument or of all."""
        if (makers := self.makers) is not None:
            self._call(lambda: makers.kill(reason, symbol, steady_ns()))

    def block_makers(self, is_blocked: bool) -> None:
        """Whether a release of the market makers is refused."""
        if self.makers is not None:
            self.makers.block(is_blocked)

    def guard_makers(self, is_guarded: bool) -> None:
        """Whether somebody would cancel the market makers' orders if this process ended."""
        if self.makers is not None:
            self.makers.guard(is_guarded)

    def steer_makers(self, act: Callable[[Maker, int], None]) -> None:
        """Do something to each market maker, on its thread; `act` is given `now_ns` too."""
        for maker in self.makers.all if self.makers is not None else ():
            self._call(lambda maker=maker: act(maker, steady_ns()))

    # --- what book syncs, venues and connections ask for ----------------------------------------

    def fetch_snapshot(self, sync: BookSync, request: SnapshotRequest) -> None:
        if sync.protocol.rules.snapshot is None:
            sync.on_snapshot_sent(request.number, steady_ns())
            self.streams[sync.spec.venue].resubscribe(sync.spec.symbol)
            return
        self.host.request_snapshot(request)

    def decode_large(self, venue: VenueFeeds, frame: bytes, large: LargeFrame) -> None:
        task = asyncio.get_running_loop().create_task(self._decode_large(venue, frame, large))
        self._decoding.add(task)
        task.add_done_callback(self._decoding.discard)

    async def _decode_large(self, venue: VenueFeeds, frame: bytes, large: LargeFrame) -> None:
        def decode() -> tuple[int, Stage]:
            stage = Stage()
            return self.engine.stage_large(venue.connection, frame, stage), stage

        feed, stage = await asyncio.get_running_loop().run_in_executor(None, decode)
        venue.on_large_decoded(large, feed, stage, steady_ns())

    def wall_ns(self) -> int:
        return wall_ns()

    def cancel_snapshot(self, sync: BookSync) -> None:
        if sync.protocol.rules.snapshot is not None:
            self.host.cancel_snapshot(sync.feed)

    def ask_tick_size(self, sync: BookSync) -> None:
        self.host.ask_tick_size(sync.feed)

    def note(self, sync: BookSync, event: FeedEvent, /, **facts: object) -> None:
        self.host.note(event, self._level(event), **self._names[sync.feed], **facts)

    def note_venue(self, venue: VenueFeeds, event: FeedEvent, /, **facts: object) -> None:
        self.host.note(event, self._level(event), venue=venue.name, **facts)

    def _level(self, event: FeedEvent) -> str:
        """What is lost while we leave by ourselves needs nobody."""
        is_leaving = self._stop is not None and self._stop.is_set()
        return INFO if is_leaving else event.level

    def acknowledged(self, venue: VenueFeeds) -> None:
        self.streams[venue.name].on_acknowledged()

    def refused(self, venue: VenueFeeds, reason: str) -> None:
        self.streams[venue.name].on_refused(reason)

    def reconnect(self, venue: VenueFeeds, reason: str) -> None:
        self.streams[venue.name].renew(reason)

    def withdrawn(self, venue: VenueFeeds, reason: str) -> None:
        if self.makers is not None:
            self.makers.on_frame(steady_ns())
        if self.config.engine.resync_scope == "all" and reason != ONLY_ANEW:
            for other in self.venues:
                if other is not venue:
                    other.break_off(f"{venue.name}: {reason}", steady_ns())

    def lost(self, venue: VenueFeeds, reason: str) -> None:
        self.withdrawn(venue, reason)

    def rehearse(self, raw: bytes) -> None:
        if self.config.engine.idle == "spin" and not JIT_OFF:
            self._rehearsal.learn(raw, self.engine.last_feed)

    def record(self, venue: VenueFeeds, kind: str, raw: bytes, t_ns: int, path: str = "") -> None:
        if self.tape is not None:
            self.tape.put(TapeLine(t_ns, venue.name, kind, raw, path))


def helpers_on(cpus: set[int]) -> ThreadPoolExecutor:
    """Threads for the loop's blocking calls (names of hosts) on these CPUs.

    They would inherit the engine's one, and a thread that spins there in realtime never yields.
    """

    def leave() -> None:
        with contextlib.suppress(OSError):  # those CPUs were taken from the process since
            os.sched_setaffinity(0, cpus)

    return ThreadPoolExecutor(HELPERS_MAX, "helper", initializer=leave)


def check_ways(config: Config) -> None:
    """Load every configured authority once, and ask for every proxy; ConfigError."""
    for name in config.venue_names():
        settings = config.settings(name)
        ca_file = settings.ca_file
        if ca_file and not Path(ca_file).is_file():
            raise ConfigError(f"venue.{name}.ca_file: {ca_file}: no such file")
        try:
            tls_context(ca_file)
        except (ssl.SSLError, OSError) as error:
            raise ConfigError(f"venue.{name}.ca_file: {ca_file}: {error}") from None
        try:
            for url in (settings.ws_url, settings.rest_url, settings.trade_url):
                proxy_of(url, settings.proxy)
        except ProxySettingError as error:
            raise ConfigError(str(error)) from None
