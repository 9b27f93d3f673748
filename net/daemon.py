"""The daemon: configuration to running threads, and back down again in order.

    main thread (housekeeping)      engine thread           gateway (process or thread)
    signals, REST, log, metrics     net.live.Live           net.gateway

A daemon runs in *generations*: a venue whose tick size could not be learned yet is left out, and
when it is known the engine and the gateway are built anew with it.
It ends in order: the gateway accepts nothing more, the feeds are closed with their handshakes, the
last state is published and handed to the subscribers, log and tape are flushed. What hangs in that
(a name server, a disk, a reader of our log) is left behind when the time is over.
Runs on: the main thread. Called by: pollux.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp

from engine import status as S
from engine.engine import Engine, Stage
from engine.handoff import HandoffError
from engine.maker.journal_codes import REASON_OPERATOR
from engine.scale import ScaleError
from net.backoff import Backoff
from net.claim import NameTakenError, claim_name
from net.config import Config, InstrumentVenue
from net.gateway.options import GatewayError, GatewayOptions
from net.live import EngineCpuError, Live
from net.log import LibraryLog, Log
from net.maker.trouble import HousekeepingError
from net.measured import drop_measures, keep_measures
from net.page.server import Page, PageError
from net.page.view import DaemonView
from net.replay import instrument_specs
from net.rest import RestClient, RestError
from net.said import told
from net.supervisor import Gateway, GatewayProcess, GatewayThread
from net.tape import TapeLine, TapeWriter
from net.venues import PROTOCOLS, MetadataError
from net.websocket import tls_context

if TYPE_CHECKING:
    from net.maker.housekeeping import Housekeeping

START_GRACE_S = 10.0
"""How long a start waits for venues that do not tell their tick sizes, before it goes without."""
STOP_LIMIT_S = 3.2
"""The engine thread and the gateway, which end together, get so long; a gateway takes up to 2.5 s
where a subscriber does not read."""
FLUSH_LIMIT_S = 0.5
"""Then the tape and the log have this long each to write what they hold."""
LEAVE_LIMIT_S = 4.4
"""From the signal to the end of the process, whatever hangs: 5 s are promised."""
assert STOP_LIMIT_S + 2 * FLUSH_LIMIT_S < LEAVE_LIMIT_S
LINGER_LIMIT_S = 0.3
"""When all is done, threads that ask a name server may still hold the interpreter for so long."""
HEARTBEAT_LIMIT_MS = (1000, 5000)
"""A gateway calls the engine dead after `stale_after_ms`, within these: the engine's heart beats 20
times a second, but a loaded host may hold it up."""

GATEWAY_READY_LIMIT_S = 70.0
"""A little longer than net.supervisor's own limit, whose reason is the better one."""
FORCED = 130
"""The exit status after a second signal: not everything was closed."""

Ticks = dict[tuple[str, str], str]
Told = TypeVar("Told")


class DaemonError(Exception):
    """The daemon cannot go on: one line. `status` is the exit status."""

    def __init__(self, text: str, status: int = 1) -> None:
        super().__init__(text)
        self.status = status


@contextlib.contextmanager
def daemon_errors() -> Iterator[None]:
    """What the market maker's side cannot do ends the daemon: its configuration does not fit."""
    try:
        yield
    except HousekeepingError as error:
        raise DaemonError(str(error), status=2) from None


def ready_config(config: Config, ticks: Ticks) -> Config | None:
    """The configuration without the venues whose ticks are unknown; None if nothing is left."""
    instruments = []
    for each in config.instrument:
        venues = tuple(venue for venue in each.venue if (venue.name, venue.symbol) in ticks)
        if venues:
            instruments.append(each.model_copy(update={"venue": venues}))
    return config.model_copy(update={"instrument": tuple(instruments)}) if instruments else None


class Daemon:
    """One run of `pollux serve` (or, without a gateway and with a tape, of `pollux record`)."""

    def __init__(
        self, config: Config, *, tape: TapeWriter | None = None, has_gateway: bool = True
    ) -> None:
        self._config = config
        self._tape = tape
        self._has_gateway = has_gateway
        self._log = Log(config.log.level, config.log.format)
        self._view = DaemonView(config, self._log)
        self._clients: dict[str, RestClient] = {}
        self._ticks: Ticks = {}
        self._quoting: Housekeeping | None = None
        if config.maker is not None and has_gateway:
            # Its kernels and its libraries are loaded where they are needed alone.
            from net.maker.housekeeping import Housekeeping

            self._quoting = Housekeeping(config, self.log)
        self._live: Live | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._engine: Engine | None = None
        self._engine_error: BaseException | None = None
        self._leaving: threading.Timer | None = None
        self._status = 1

    def run(self) -> int:
        """Until a signal; the exit status. DaemonError says why it could not."""
        libraries = LibraryLog(self._log)
        logging.getLogger().addHandler(libraries)
        try:
            with asyncio.Runner() as runner:
                try:
                    status = runner.run(self._main())
                finally:
                    # Before the runner is closed: that waits for helper threads, and they may hang.
                    logging.getLogger().removeHandler(libraries)
                    # What a library says after the log's end would be a traceback on stderr.
                    logging.getLogger().addHandler(logging.NullHandler())
                    is_flushed = self._flush()
                self._status = status
                if not is_flushed:
                    # A thread holds stderr or the tape: the interpreter's own end would wait.
                    os._exit(status)
                self._leave_within(LINGER_LIMIT_S)
            return status
        finally:
            if self._leaving is not None and self._engine_ended.is_set():
                self._leaving.cancel()

    def _flush(self) -> bool:
        """Whether tape and log have written what they hold."""
        is_taped = self._tape is None or self._tape.close(FLUSH_LIMIT_S)
        return self._log.close(FLUSH_LIMIT_S) and is_taped

    def _leave_within(self, limit_s: float) -> None:
        if self._leaving is not None:
            self._leaving.cancel()
        self._leaving = threading.Timer(limit_s, self._leave)
        self._leaving.daemon = True
        self._leaving.start()

    def _leave(self) -> None:
        """The time is over: the segment goes, and the process, from whatever thread this is."""
        if self._engine is not None:
            self._engine.close()
        os._exit(self._status)

    def log(self, level: str, event: str, **facts: object) -> None:
        self._log.log(level, event, **facts)
        self._view.hear(event, facts)

    # --- the main thread -------------------------------------------------------------------------

    async def _main(self) -> int:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._engine_ended = asyncio.Event()
        self._engine_ended.set()
        self._install_signals()
        try:
            claim = claim_name(self._config.engine.name)
        except NameTakenError as error:
            raise DaemonError(str(error)) from None
        async with contextlib.AsyncExitStack() as stack:
            if claim is not None:
                stack.callback(claim.close)
            if self._config.metrics.listen:
                stack.callback(self._serve_page(self._config.metrics.listen).close)
            if self._quoting is not None:
                with daemon_errors():
                    self._quoting.open()
                stack.callback(self._quoting.close)
            session = await stack.enter_async_context(
                aiohttp.ClientSession(headers={"User-Agent": "pollux"})
            )
            for name in self._config.venue_names():
                settings = self._config.settings(name)
                self._clients[name] = RestClient(
                    PROTOCOLS[name], settings.rest_url, session, tls_context(settings.ca_file)
                )
            learning = asyncio.create_task(self._learn_ticks())
            try:
                await self._wait_for(learning, START_GRACE_S)
                while not self._stop.is_set():
                    await self._run_generation(learning)
            finally:
                learning.cancel()
                for task in self._tasks:
                    task.cancel()
        self.log("info", "stopped")
        return 0

    def _install_signals(self) -> None:
        def on_signal() -> None:
            if self._stop.is_set():
                self._status = FORCED
                self._leave()
            self._stop.set()
            self._leave_within(LEAVE_LIMIT_S)

        def on_kill() -> None:
            if self._live is not None:
                self._live.kill_maker(REASON_OPERATOR)

        for number in (signal.SIGINT, signal.SIGTERM):
            self._loop.add_signal_handler(number, on_signal)
        if self._quoting is not None:
            self._loop.add_signal_handler(signal.SIGUSR1, on_kill)

    async def _wait_for(self, task: asyncio.Task[None], limit_s: float | None) -> None:
        """Until the task ends, the time is over or a signal comes; the task's error is raised."""
        stop = asyncio.create_task(self._stop.wait())
        await asyncio.wait((task, stop), timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if task.done():
            task.result()

    # --- tick sizes ------------------------------------------------------------------------------

    async def _learn_ticks(self) -> None:
        """Ask every venue for the tick sizes that are not configured, until all answer."""
        asking = []
        for instrument in self._config.instrument:
            for venue in instrument.venue:
                if venue.tick_size is not None:
                    self._ticks[venue.name, venue.symbol] = venue.tick_size
                else:
                    asking.append(self._learn_tick(venue.name, venue.symbol))
        if self._quoting is not None:
            asking += [self._learn_market(v) for v in self._config.quoted_instrument().venue]
        await asyncio.gather(*asking)

    async def _learn_tick(self, name: str, symbol: str) -> None:
        tick_size, path, body = await self._asked_until_told(
            name, symbol, self._clients[name].tick_size
        )
        self._ticks[name, symbol] = tick_size
        self._record(name, path, body)
        names = {"instrument": self._config.instrument_of(name, symbol), "venue": name}
        self.log("info", "tick size", **names, symbol=symbol, tick_size=tick_size)

    async def _learn_market(self, venue: InstrumentVenue) -> None:
        """What the venue says of orders in the quoted market."""
        rules = await self._asked_until_told(
            venue.name, venue.symbol, self._clients[venue.name].market_rules
        )
        assert self._quoting is not None
        self._quoting.add_market(venue.name, rules)

    async def _asked_until_told(
        self, name: str, symbol: str, ask: Callable[[str], Awaitable[Told]]
    ) -> Told:
        """A venue's answer about a symbol, however often it must be asked."""
        backoff = Backoff(random.Random(), floor_ms=500)
        while True:
            try:
                return await ask(symbol)
            except MetadataError as error:
                raise DaemonError(str(error), status=2) from None
            except RestError as error:
                delay_s = max(backoff.next_ns() / 1e9, error.retry_after_s)
                self.log(
                    "warning",
                    "market not learned yet",
                    instrument=self._config.instrument_of(name, symbol),
                    venue=name,
                    symbol=symbol,
                    reason=str(error),
                    attempt=backoff.attempt,
                    again_in_ms=int(delay_s * 1000),
                )
                await asyncio.sleep(delay_s)

    # --- a generation ----------------------------------------------------------------------------

    async def _run_generation(self, learning: asyncio.Task[None]) -> None:
        """Run with every venue that is known, until a signal or until more are."""
        config = ready_config(self._config, self._ticks)
        if config is None:
            await self._wait_for(learning, None)
            return
        is_complete = learning.done()
        try:
            engine = Engine(
                instrument_specs(config, self._ticks),
                handoff_name=config.engine.name,
                start_ns=time.time_ns(),
                reads_clock=True,
            )
        except (ScaleError, HandoffError) as error:
            raise DaemonError(str(error), status=2) from None
        except OSError as error:
            raise DaemonError(f"no shared memory: {error.strerror}") from None
        live = self._make_live(config, engine, is_complete=is_complete)
        self._engine = engine
        self._engine_ended.clear()
        # A daemon thread: one that hangs must not keep the process.
        threading.Thread(target=self._run_engine, args=(live,), name="engine", daemon=True).start()
        gateway: Gateway | None = None
        serving: asyncio.Task[None] | None = None
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(engine.close)
            stack.callback(self._view.hide)
            if live.maker is not None and self._quoting is not None:
                await stack.enter_async_context(self._quoting.attending(live))
            try:
                gateway = self._make_gateway(config) if self._has_gateway else None
                self._view.show(live, gateway)
                if gateway is not None:
                    serving = asyncio.create_task(gateway.run())
                    await self._until_ready(gateway, serving)
                if not self._stop.is_set():
                    self._announce(config)
                    stack.callback(drop_measures, config.engine.name)
                    keep_measures(config.engine.name, os.getpid(), live.measures)
                await self._until_over(None if is_complete else learning, serving)
            finally:
                await self._end_generation(live, gateway, serving)

    def _make_live(self, config: Config, engine: Engine, *, is_complete: bool) -> Live:
        """The engine thread's body, with the market maker where every venue is known."""
        maker = orders = None
        if self._quoting is not None and is_complete:
            with daemon_errors():
                maker = self._quoting.make_maker(config, engine)
            orders = self._quoting.make_lines(config)
        self._live = Live(config, engine, self, self._tape, maker=maker, orders=orders)
        return self._live

    async def _end_generation(
        self, live: Live, gateway: Gateway | None, serving: asyncio.Task[None] | None
    ) -> None:
        """The gateway keeps its subscribers until the engine, closing its feeds, has said its last.

        In this order they begin to end; then both are waited for.
        """
        self._live = None
        if gateway is not None:
            gateway.retire()
        live.stop()
        ended = asyncio.create_task(self._engine_ended.wait())
        await asyncio.wait({ended, *((serving,) if serving else ())}, timeout=STOP_LIMIT_S)
        for task in (ended, serving):
            if task is not None and not task.done():
                task.cancel()
                await asyncio.wait({task})
        if serving is not None and not serving.cancelled():
            serving.exception()  # it was raised where it mattered
        if not self._engine_ended.is_set():
            self.log("error", "the engine thread did not end in time")

    def _announce(self, config: Config) -> None:
        if self._has_gateway and config.gateway.is_exposed:
            listen = config.gateway.listen
            self.log("warning", "the gateway serves other hosts without TLS", listen=listen)
        self.log(
            "info",
            "serving" if self._has_gateway else "recording",
            name=config.engine.name,
            instruments=[each.symbol for each in config.instrument],
            listen=config.gateway.listen if self._has_gateway else "",
            metrics=config.metrics.listen,
        )

    async def _until_over(
        self, learning: asyncio.Task[None] | None, serving: asyncio.Task[None] | None
    ) -> None:
        """Until a signal, more venues, or the failure of a part: that is raised."""
        await self._wait_for_any(self._stop, self._engine_ended, tasks=(learning, serving))
        self._raise_failure(serving)
        if learning is not None and learning.done():
            learning.result()
            self.log("info", "all tick sizes known, starting anew with every venue")

    async def _wait_for_any(
        self,
        *events: asyncio.Event,
        tasks: tuple[asyncio.Task[Any] | None, ...],
        limit_s: float | None = None,
    ) -> None:
        waits: set[asyncio.Task[Any]] = {asyncio.create_task(each.wait()) for each in events}
        watched = {*waits, *(task for task in tasks if task is not None)}
        await asyncio.wait(watched, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        for task in waits:
            task.cancel()

    def _raise_failure(self, serving: asyncio.Task[None] | None) -> None:
        if isinstance(self._engine_error, EngineCpuError):
            raise DaemonError(str(self._engine_error), status=2)
        if self._engine_error is not None:
            raise DaemonError(f"the engine failed: {told(self._engine_error)}")
        if serving is not None and serving.done() and not self._stop.is_set():
            try:
                serving.result()
            except GatewayError as error:
                raise DaemonError(str(error)) from None

    def _run_engine(self, live: Live) -> None:
        try:
            live.run()
        except BaseException as error:
            self._engine_error = error
        finally:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._engine_ended.set)

    def _serve_page(self, listen: str) -> Page:
        try:
            return Page(listen, self._view, self.log)
        except PageError as error:
            raise DaemonError(str(error)) from None

    # --- the gateway -----------------------------------------------------------------------------

    def _make_gateway(self, config: Config) -> Gateway:
        given, (least_ms, most_ms) = config.gateway, HEARTBEAT_LIMIT_MS
        is_process = given.placement == "process"
        options = GatewayOptions(
            handoff_name=config.engine.name,
            heartbeat_stale_after_ms=max(least_ms, min(config.engine.stale_after_ms, most_ms)),
            parent_pid=os.getpid() if is_process else 0,
            maker_token_file=config.maker.token_file if config.maker is not None else "",
            **given.model_dump(exclude={"placement", "allow_plaintext"}),
        )
        return GatewayProcess(options, self.log) if is_process else GatewayThread(options)

    async def _until_ready(self, gateway: Gateway, serving: asyncio.Task[None]) -> None:
        ready = asyncio.create_task(gateway.is_ready.wait())
        await self._wait_for_any(
            self._stop, self._engine_ended, tasks=(serving, ready), limit_s=GATEWAY_READY_LIMIT_S
        )
        ready.cancel()
        self._raise_failure(serving)
        if not gateway.is_ready.is_set() and not self._stop.is_set():
            raise DaemonError("the gateway did not become ready")

    # --- what the engine thread asks for ---------------------------------------------------------

    def request_snapshot(self, feed: int, symbol: str, venue: str) -> None:
        """From the engine thread: fetch and decode on this one."""
        self._loop.call_soon_threadsafe(self._spawn_fetch, feed, symbol, venue)

    def _spawn_fetch(self, feed: int, symbol: str, venue: str) -> None:
        live = self._live
        if live is not None:
            task = asyncio.create_task(self._fetch(live, feed, symbol, venue))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _fetch(self, live: Live, feed: int, symbol: str, venue: str) -> None:
        protocol, depth = PROTOCOLS[venue], self._config.settings(venue).snapshot_depth
        path = protocol.snapshot_path(symbol, depth, time.time_ns() // 1_000_000)
        try:
            body = await self._clients[venue].get(path, protocol.snapshot_weight(depth))
        except RestError as error:
            live.snapshot_failed(feed, str(error), error.retry_after_s)
            return
        self._record(venue, path, body)
        stage = Stage()
        status = await asyncio.to_thread(live.engine.stage, feed, body, stage)
        if status == S.APPLIED:
            live.snapshot(feed, stage)
        else:
            live.snapshot_failed(feed, S.TEXTS[status], 0.0)

    def _record(self, venue: str, path: str, body: bytes) -> None:
        if self._tape is not None:
            self._tape.put(TapeLine(time.time_ns(), venue, "rest", body, path))


__all__ = ["Daemon", "DaemonError"]
