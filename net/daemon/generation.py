"""One engine with its feeds and its gateway, from their start to their end.

A venue whose tick size is not known yet is left out; when it is, the daemon ends this generation
and starts the next. It ends in order: the gateway accepts nothing more, the feeds are closed with
their handshakes, the last state is published and handed to the subscribers.
Runs on: the main thread's loop; the engine on a thread of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from engine.compiling.jit import compile_kernels
from engine.decoding.scale import ScaleError
from engine.engine import Engine
from engine.sharing.directory import HandoffError
from engine.sharing.trades_ring import TradesWriter
from net.config.schema import Config, ConfigError
from net.daemon.errors import DaemonError
from net.daemon.gateway_supervisor import READY_LIMIT_S, Gateway, GatewayProcess, GatewayThread
from net.daemon.snapshots import Snapshots
from net.daemon.tick_sizes import Record, Ticks
from net.feed.engine_thread import EngineCpuError, EngineThread
from net.feed.events import NoteFunction
from net.feed.rest import RestClient
from net.feed.snapshot_request import SnapshotRequest
from net.feed.specs import instrument_specs
from net.gateway.options import GatewayError, GatewayOptions
from net.log.log_function import LogFunction
from net.log.one_line import error_text
from net.observe.page.daemon_state import DaemonState
from net.process.tuning_report import write_tuning_report
from net.tape.tape import TapeWriter
from tuning.clock import steady_ns

if TYPE_CHECKING:
    from net.daemon.maker_supervisor import MakerSupervisor

STOP_LIMIT_S = 3.2
"""The engine thread and the gateway, which end together, get so long; a gateway takes up to 2.5 s
where a subscriber does not read."""
HEARTBEAT_LIMIT_MS = (1000, 5000)
"""A gateway calls the engine dead after `stale_after_ms`, within these: the engine's heart beats 20
times a second, but a loaded host may hold it up."""
GATEWAY_READY_LIMIT_S = READY_LIMIT_S + 10.0
"""The gateway's supervisor has the better reason where it does not become ready: it comes first."""


@dataclass(frozen=True)
class Surroundings:
    """What outlives a generation: the daemon's own parts, lent to each."""

    log: LogFunction
    note: NoteFunction
    state: DaemonState
    stop: asyncio.Event
    clients: Mapping[str, RestClient]
    record: Record
    tape: TapeWriter | None
    has_gateway: bool
    quoting: MakerSupervisor | None
    ask_tick_size: Callable[[str, str], Coroutine[Any, Any, str]]
    """The tick that a venue declares now for its symbol."""


def make_engine(config: Config, ticks: Ticks) -> Engine:
    """The engine of a configuration; DaemonError where it cannot be."""
    try:
        return Engine(
            instrument_specs(config, ticks),
            handoff_name=config.engine.name,
            start_ns=steady_ns(),
            reads_clock=True,
        )
    except ScaleError as error:
        raise DaemonError(str(error), status=2) from None
    except HandoffError as error:
        raise DaemonError(str(error)) from None


def make_trades(config: Config) -> TradesWriter | None:
    """Where the configuration's trades go, if it wants any; DaemonError."""
    if not config.engine.trades:
        return None
    compile_kernels()
    try:
        return TradesWriter(config.engine.name, len(config.instrument))
    except HandoffError as error:
        raise DaemonError(str(error)) from None


def gateway_options(config: Config) -> GatewayOptions:
    """What the gateway is told of a configuration."""
    given, (least_ms, most_ms) = config.gateway, HEARTBEAT_LIMIT_MS
    return GatewayOptions(
        handoff_name=config.engine.name,
        heartbeat_stale_after_ms=max(least_ms, min(config.engine.stale_after_ms, most_ms)),
        parent_pid=os.getpid() if given.placement == "process" else 0,
        maker_token_file=config.makers.token_file,
        **given.model_dump(exclude={"placement", "allow_plaintext"}),
    )


def _make_gateway(config: Config, log: LogFunction) -> Gateway:
    options = gateway_options(config)
    return GatewayProcess(options, log) if options.parent_pid else GatewayThread(options)


@dataclass
class Generation:
    """`run` it once, on the loop that it was created on. DaemonError where it cannot be."""

    config: Config
    ticks: Ticks
    around: Surroundings
    gateway: Gateway | None = None
    serving: asyncio.Task[None] | None = None
    """The gateway's run, where it began before the engine was made."""
    engine: Engine = field(init=False)
    live: EngineThread = field(init=False)
    trades: TradesWriter | None = field(init=False)
    engine_ended: asyncio.Event = field(init=False, default_factory=asyncio.Event)
    is_ending: bool = field(init=False, default=False)
    _engine_error: BaseException | None = field(init=False, default=None)
    _questions: dict[int, asyncio.Task[None]] = field(init=False, default_factory=dict)
    """About ticks, by feed."""

    @classmethod
    async def begin(cls, config: Config, ticks: Ticks, around: Surroundings) -> Generation:
        """With its gateway: a process loads what it needs beside this one, which makes the engine
        meanwhile, and waits for that."""
        gateway = _make_gateway(config, around.log) if around.has_gateway else None
        serving = None
        if isinstance(gateway, GatewayProcess):
            serving = asyncio.create_task(gateway.run())
            await asyncio.sleep(0)  # it has been started: its task waits for it
        try:
            return cls(config, ticks, around, gateway, serving)
        except BaseException:
            if gateway is not None and serving is not None:
                gateway.retire()
                serving.cancel()
                await asyncio.wait({serving})
            raise

    def __post_init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.log, self.note = self.around.log, self.around.note
        # Before the engine: whoever finds its books finds these too.
        self.trades = make_trades(self.config)
        try:
            self._make_engine()
        except BaseException:
            if self.trades is not None:
                self.trades.close()
            raise

    def _make_engine(self) -> None:
        self.engine = make_engine(self.config, self.ticks)
        quoting, tape = self.around.quoting, self.around.tape
        makers = None
        if quoting is not None:
            try:
                makers = quoting.make_makers(self.config, self.engine)
            except (ConfigError, HandoffError) as error:
                self.engine.close()
                status = 2 if isinstance(error, ConfigError) else 1
                raise DaemonError(str(error), status=status) from None
        self.live = EngineThread(
            self.config, self.engine, self, tape, makers=makers, trades=self.trades
        )
        around = self.around
        self._snapshots = Snapshots(self.config, around.clients, around.record, self.live)

    def request_snapshot(self, request: SnapshotRequest) -> None:
        """From the engine thread, as `cancel_snapshot`."""
        self._snapshots.request(request)

    def cancel_snapshot(self, feed: int) -> None:
        self._snapshots.cancel(feed)

    def ask_tick_size(self, feed: int) -> None:
        """From the engine thread too."""
        self._loop.call_soon_threadsafe(self._ask_tick_size, feed)

    def _ask_tick_size(self, feed: int) -> None:
        if feed not in self._questions and not self.is_ending:
            self._questions[feed] = asyncio.create_task(self._learn_tick_size(feed))

    async def _learn_tick_size(self, feed: int) -> None:
        spec = self.engine.feeds[feed]
        try:
            tick_size = await self.around.ask_tick_size(spec.venue, spec.symbol)
        finally:
            del self._questions[feed]
        self.live.tick_size(feed, tick_size)

    async def run(self, learning: asyncio.Task[None] | None) -> None:
        """Until a signal, or until more venues are known; DaemonError: a part has failed.

        `learning` ends when more venues are known; None where all are.
        """
        # A daemon thread: one that hangs must not keep the process.
        threading.Thread(target=self._run_engine, name="engine", daemon=True).start()
        around, gateway, serving = self.around, self.gateway, self.serving
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(self.engine.close)
            if self.trades is not None:
                stack.callback(self.trades.close)
            stack.callback(around.state.hide)
            if serving is not None:
                stack.callback(serving.cancel)  # if it has not ended in order by then
            if self.live.makers is not None and around.quoting is not None:
                attending = around.quoting.attending(self.live.makers, self.live)
                await stack.enter_async_context(attending)
            try:
                around.state.show(self.live, gateway)
                if gateway is not None:
                    serving = serving or asyncio.create_task(gateway.run())
                    await self._until_ready(gateway, serving)
                if not around.stop.is_set():
                    self._announce()
                    write_tuning_report(self.config.engine.name, os.getpid(), self.live.measures)
                await self._until_over(learning, serving)
            finally:
                if learning is not None:
                    learning.cancel()
                await self._end(gateway, serving)

    def _run_engine(self) -> None:
        try:
            self.live.run()
        except BaseException as error:
            self._engine_error = error
        finally:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self.engine_ended.set)

    async def _until_ready(self, gateway: Gateway, serving: asyncio.Task[None]) -> None:
        ready = asyncio.create_task(gateway.is_ready.wait())
        await self._wait_for_any(serving, ready, limit_s=GATEWAY_READY_LIMIT_S)
        ready.cancel()
        self._raise_failure(serving)
        if not gateway.is_ready.is_set() and not self.around.stop.is_set():
            raise DaemonError("the gateway did not become ready")

    def _announce(self) -> None:
        config, has_gateway = self.config, self.around.has_gateway
        if has_gateway and config.gateway.is_exposed:
            listen = config.gateway.listen
            self.log("warning", "the gateway serves other hosts without TLS", listen=listen)
        self.log(
            "info",
            "serving" if has_gateway else "recording",
            name=config.engine.name,
            instruments=[each.symbol for each in config.instrument],
            listen=config.gateway.listen if has_gateway else "",
            metrics=config.metrics.listen,
        )

    async def _until_over(
        self, learning: asyncio.Task[None] | None, serving: asyncio.Task[None] | None
    ) -> None:
        """Until a signal, more venues, or the failure of a part: that is raised."""
        await self._wait_for_any(learning, serving)
        self._raise_failure(serving)
        if learning is not None and learning.done():
            learning.result()
            self.log("info", "more tick sizes are known, starting anew with them")

    async def _wait_for_any(
        self, *tasks: asyncio.Task[Any] | None, limit_s: float | None = None
    ) -> None:
        """Until one of the tasks ends, the engine does, or a signal comes."""
        events = (self.around.stop, self.engine_ended)
        waits: set[asyncio.Task[Any]] = {asyncio.create_task(each.wait()) for each in events}
        watched = {*waits, *(task for task in tasks if task is not None)}
        await asyncio.wait(watched, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        for task in waits:
            task.cancel()

    def _raise_failure(self, serving: asyncio.Task[None] | None) -> None:
        if isinstance(self._engine_error, EngineCpuError):
            raise DaemonError(str(self._engine_error), status=2)
        if self._engine_error is not None:
            raise DaemonError(f"the engine failed: {error_text(self._engine_error)}")
        if serving is not None and serving.done() and not self.around.stop.is_set():
            try:
                serving.result()
            except GatewayError as error:
                raise DaemonError(str(error)) from None

    async def _end(self, gateway: Gateway | None, serving: asyncio.Task[None] | None) -> None:
        """The gateway keeps its subscribers until the engine has closed its feeds and published
        its last state. In this order they begin to end; then both are waited for."""
        self.is_ending = True
        if gateway is not None:
            gateway.retire()
        self.live.stop()
        self._snapshots.close()
        for question in self._questions.values():
            question.cancel()
        ended = asyncio.create_task(self.engine_ended.wait())
        await asyncio.wait({ended, *((serving,) if serving else ())}, timeout=STOP_LIMIT_S)
        for task in (ended, serving):
            if task is not None and not task.done():
                task.cancel()
                await asyncio.wait({task})
        if serving is not None and not serving.cancelled():
            serving.exception()  # it was raised where it mattered
        if not self.engine_ended.is_set():
            self.log("error", "the engine thread did not end in time")
