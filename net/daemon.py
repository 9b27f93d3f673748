"""The daemon: configuration to running threads, and back down again in order.

    main thread (housekeeping)      engine thread           gateway (process or thread)
    signals, REST, log, metrics     net.live.Live           net.gateway

A daemon runs in *generations*: a venue whose tick size could not be learned yet is left out, and
when it is known the engine and the gateway are built anew with it.
Runs on: the main thread. Called by: pollux.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp
import psutil

from engine import status as S
from engine.engine import Engine, Stage
from engine.handoff import HandoffError, HandoffReader
from engine.scale import ScaleError
from net.backoff import Backoff
from net.config import Config
from net.gateway import GatewayError, GatewayOptions, run_gateway
from net.live import Live, tls_context
from net.log import LibraryLog, Log
from net.metrics import MetricsError, serve_metrics
from net.replay import instrument_specs
from net.rest import RestClient, RestError
from net.tape import TapeLine, TapeWriter
from net.venues import PROTOCOLS, MetadataError

START_GRACE_S = 10.0
"""How long a start waits for venues that do not tell their tick sizes, before it goes without."""
STOP_LIMIT_S = 4.0
"""The engine thread and the gateway get so long to end; the whole shutdown must fit in 5 s."""
GATEWAY_READY_LIMIT_S = 60.0
HEARTBEAT_STALE_NS = 5_000_000_000
"""A segment whose writer has been silent for so long belongs to a dead daemon."""

Ticks = dict[tuple[str, str], str]


class DaemonError(Exception):
    """The daemon cannot go on: one line. `status` is the exit status."""

    def __init__(self, text: str, status: int = 1) -> None:
        super().__init__(text)
        self.status = status


def ready_config(config: Config, ticks: Ticks) -> Config | None:
    """The configuration without the venues whose ticks are unknown; None if nothing is left."""
    instruments = []
    for each in config.instrument:
        venues = tuple(venue for venue in each.venue if (venue.name, venue.symbol) in ticks)
        if venues:
            instruments.append(each.model_copy(update={"venue": venues}))
    return config.model_copy(update={"instrument": tuple(instruments)}) if instruments else None


def check_name_is_free(name: str) -> None:
    """DaemonError where a daemon of this name is alive."""
    try:
        reader = HandoffReader.attach(name)
    except HandoffError:
        return
    fresh = time.time_ns() - reader.heartbeat_ns < HEARTBEAT_STALE_NS
    if fresh and psutil.pid_exists(reader.writer_pid) and reader.writer_pid != os.getpid():
        raise DaemonError(
            f"a daemon named {name!r} is running already (pid {reader.writer_pid}); "
            f"[engine] name gives this one another name"
        )


class Daemon:
    """One run of `pollux serve` (or, without a gateway and with a tape, of `pollux record`)."""

    def __init__(
        self, config: Config, *, tape: TapeWriter | None = None, has_gateway: bool = True
    ) -> None:
        self._config = config
        self._tape = tape
        self._has_gateway = has_gateway
        self._log = Log(config.log.level, config.log.format)
        self._clients: dict[str, RestClient] = {}
        self._ticks: Ticks = {}
        self._live: Live | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._engine_error: BaseException | None = None

    def run(self) -> int:
        """Until a signal; the exit status. DaemonError says why it could not."""
        libraries = LibraryLog(self._log)
        logging.getLogger().addHandler(libraries)
        try:
            return asyncio.run(self._main())
        finally:
            logging.getLogger().removeHandler(libraries)
            if self._tape is not None:
                self._tape.close()
            self._log.close()

    def log(self, level: str, event: str, **facts: object) -> None:
        self._log.log(level, event, **facts)

    # --- the main thread -------------------------------------------------------------------------

    async def _main(self) -> int:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._engine_ended = asyncio.Event()
        self._install_signals()
        check_name_is_free(self._config.engine.name)
        async with aiohttp.ClientSession(headers={"User-Agent": "pollux"}) as session:
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
                os._exit(130)
            self._stop.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            self._loop.add_signal_handler(number, on_signal)

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
        await asyncio.gather(*asking)

    async def _learn_tick(self, name: str, symbol: str) -> None:
        backoff = Backoff(random.Random(), floor_ms=500)
        while True:
            try:
                tick_size, path, body = await self._clients[name].tick_size(symbol)
            except MetadataError as error:
                raise DaemonError(str(error), status=2) from None
            except RestError as error:
                delay_s = max(backoff.next_ns() / 1e9, error.retry_after_s)
                self.log(
                    "warning",
                    "tick size not learned yet",
                    venue=name,
                    symbol=symbol,
                    reason=str(error),
                    again_in_ms=int(delay_s * 1000),
                )
                await asyncio.sleep(delay_s)
                continue
            self._ticks[name, symbol] = tick_size
            self._record(name, path, body)
            self.log("info", "tick size", venue=name, symbol=symbol, tick_size=tick_size)
            return

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
        live = self._live = Live(config, engine, self, self._tape)
        self._engine_ended.clear()
        thread = threading.Thread(target=self._run_engine, args=(live,), name="engine")
        thread.start()
        try:
            async with contextlib.AsyncExitStack() as stack:
                if config.metrics.listen:
                    stack.callback(self._serve_metrics(config.metrics.listen, live))
                if self._has_gateway:
                    await self._start_gateway(config, stack)
                self._announce(config)
                await self._until_over(None if is_complete else learning)
        finally:
            self._live = None
            live.stop()
            await asyncio.to_thread(thread.join, STOP_LIMIT_S)
            engine.close()

    def _announce(self, config: Config) -> None:
        self.log(
            "info",
            "serving" if self._has_gateway else "recording",
            name=config.engine.name,
            instruments=[each.symbol for each in config.instrument],
            listen=config.gateway.listen if self._has_gateway else "",
            metrics=config.metrics.listen,
        )

    async def _until_over(self, learning: asyncio.Task[None] | None) -> None:
        waits: list[asyncio.Task[object]] = [
            asyncio.create_task(self._stop.wait()),
            asyncio.create_task(self._engine_ended.wait()),
        ]
        watched = [*waits, *([learning] if learning else []), *self._gateway_tasks]
        await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        for task in waits:
            task.cancel()
        for task in self._gateway_tasks:
            if task.done() and not self._stop.is_set():
                task.result()
        if learning is not None and learning.done():
            learning.result()
            self.log("info", "all tick sizes known, starting anew with every venue")
        if self._engine_error is not None:
            raise DaemonError(f"the engine failed: {self._engine_error!r}")

    def _run_engine(self, live: Live) -> None:
        try:
            live.run()
        except BaseException as error:
            self._engine_error = error
        finally:
            self._loop.call_soon_threadsafe(self._engine_ended.set)

    def _serve_metrics(self, listen: str, live: Live) -> Callable[[], None]:
        try:
            return serve_metrics(listen, live)
        except MetricsError as error:
            raise DaemonError(str(error)) from None

    # --- the gateway -----------------------------------------------------------------------------

    _gateway_tasks: tuple[asyncio.Task[None], ...] = ()

    async def _start_gateway(self, config: Config, stack: contextlib.AsyncExitStack) -> None:
        given = config.gateway
        options = GatewayOptions(
            handoff_name=config.engine.name,
            **{
                name: getattr(given, name)
                for name in ("listen", "cpu", "tls_cert", "tls_key", "tls_client_ca")
            },
        )
        ready = asyncio.Event()
        if given.placement == "thread":
            task = asyncio.create_task(self._gateway_thread(options, ready))
        else:
            task = asyncio.create_task(self._gateway_process(options, ready))
        self._gateway_tasks = (task,)
        stack.push_async_callback(self._end_gateway, task)
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait(
            (task, waiting), timeout=GATEWAY_READY_LIMIT_S, return_when=asyncio.FIRST_COMPLETED
        )
        waiting.cancel()
        if task.done():
            task.result()
        elif not ready.is_set():
            raise DaemonError("the gateway did not become ready")

    async def _end_gateway(self, task: asyncio.Task[None]) -> None:
        self._gateway_tasks = ()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, DaemonError):
            await task

    async def _gateway_thread(self, options: GatewayOptions, ready: asyncio.Event) -> None:
        stop = threading.Event()

        def on_ready(_port: int) -> None:
            self._loop.call_soon_threadsafe(ready.set)

        work = asyncio.create_task(
            asyncio.to_thread(run_gateway, options, ready=on_ready, stop=stop)
        )
        try:
            await asyncio.shield(work)
        except GatewayError as error:
            raise DaemonError(str(error)) from None
        except asyncio.CancelledError:
            stop.set()
            with contextlib.suppress(GatewayError, TimeoutError):
                await asyncio.wait_for(work, STOP_LIMIT_S)
            raise

    async def _gateway_process(self, options: GatewayOptions, ready: asyncio.Event) -> None:
        """Run the gateway process; one that ends after it was ready is started again."""
        backoff = Backoff(random.Random(), limit_ms=2000)
        while True:
            reason = await self._gateway_process_once(options, ready)
            if not ready.is_set():
                raise DaemonError(reason)
            delay_s = backoff.next_ns() / 1e9
            self.log("error", "gateway ended", reason=reason, again_in_ms=int(delay_s * 1000))
            await asyncio.sleep(delay_s)

    async def _gateway_process_once(self, options: GatewayOptions, ready: asyncio.Event) -> str:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "net.gateway", options.to_json()),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=child_environment(),
            start_new_session=True,
        )
        assert process.stdout is not None and process.stderr is not None
        try:
            line = await process.stdout.readline()
            if line.startswith(b"ready "):
                ready.set()
            errors = await process.stderr.read()
            await process.wait()
            text = errors.decode(errors="replace").strip().rpartition("\n")[2]
            return text.removeprefix("pollux gateway: ") or f"status {process.returncode}"
        finally:
            if process.returncode is None:
                await _end_process(process)

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


async def _end_process(process: asyncio.subprocess.Process) -> None:
    """SIGTERM, then SIGKILL for one that does not listen."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_LIMIT_S)
        except TimeoutError:
            process.kill()
            await process.wait()


def child_environment() -> dict[str, str]:
    """This environment, with the place of our own packages on the child's path."""
    root = str(Path(__file__).resolve().parent.parent)
    known = os.environ.get("PYTHONPATH", "")
    return {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{known}" if known else root}


__all__ = ["Daemon", "DaemonError", "child_environment"]
