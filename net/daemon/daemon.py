"""The daemon: configuration to running threads, and back down again in order.

    main thread (housekeeping)      engine thread           gateway (process or thread)
    signals, REST, log, metrics     net.feed.engine_thread.EngineThread           net.gateway

A daemon runs in *generations* (net.daemon.generation): a venue whose tick size is not known yet is
left out, and when it is known the engine and the gateway are built anew with it.
It ends in order: the generation first, then log and tape are flushed. A name server, a disk or a
reader of the log that does not answer meanwhile is not waited for after END_LIMIT_S.
Runs on: the main thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import aiohttp

from engine.maker.journal_codes import REASON_OPERATOR
from engine.sharing.directory import HandoffError, prepare_directory
from net.config.schema import Config, ConfigError
from net.daemon.errors import DaemonError
from net.daemon.generation import STOP_LIMIT_S, Generation, Surroundings
from net.daemon.service_reports import report_to_service_manager
from net.daemon.tick_sizes import TickSizes, known_part
from net.feed.events import FeedEvent
from net.feed.rest import RestClient, rest_clients
from net.log.log import LibraryLog, Log
from net.observe.page.daemon_state import DaemonState
from net.observe.page.server import Page, PageError
from net.process.name_lock import NameLock, NameTakenError, lock_name
from net.process.service_manager import notify
from net.process.signals import END_LIMIT_S, closing, on_signal
from net.tape.tape import TapeLine, TapeWriter
from tuning.clock import wall_ns

if TYPE_CHECKING:
    from net.daemon.maker_supervisor import MakerSupervisor

START_GRACE_S = 10.0
"""How long a start waits for venues that do not tell their tick sizes, before it goes without."""
FLUSH_LIMIT_S = 0.5
"""Then the tape and the log have this long each to write what they hold."""
assert STOP_LIMIT_S + 2 * FLUSH_LIMIT_S < END_LIMIT_S
LINGER_LIMIT_S = 0.3
"""When all is done, threads that ask a name server may still hold the interpreter for so long."""


class Daemon:
    """One run of `pollux serve` (or, without a gateway and with a tape, of `pollux record`)."""

    def __init__(
        self, config: Config, *, tape: TapeWriter | None = None, has_gateway: bool = True
    ) -> None:
        self._config = config
        self._tape = tape
        self._has_gateway = has_gateway
        self._log = Log(config.log.level, config.log.format)
        self._state = DaemonState(config, self._log)
        self._clients: dict[str, RestClient] = {}
        self._quoting: MakerSupervisor | None = None
        if config.maker and has_gateway:
            # Its kernels and its libraries are loaded where they are needed alone.
            from net.daemon.maker_supervisor import MakerSupervisor

            self._quoting = MakerSupervisor(config, self.log)
        self._generation: Generation | None = None
        """The latest one, which may have ended."""
        self._name: NameLock | None = None
        self._leaving: threading.Timer | None = None
        self._status = 1
        self._is_taped = True
        """Whether the tape, where there is one, has all lines on the disk."""

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
                    os._exit(status if self._is_taped else 1)
                self._leaving = threading.Timer(LINGER_LIMIT_S, self._leave)
                self._leaving.daemon = True
                self._leaving.start()
            return status
        finally:
            generation = self._generation
            has_ended = generation is None or generation.engine_ended.is_set()
            if self._leaving is not None and has_ended:
                self._leaving.cancel()

    def _flush(self) -> bool:
        """Whether tape and log have written what they hold."""
        is_written = self._tape is None or self._tape.close(FLUSH_LIMIT_S)
        if self._tape is not None and not is_written:
            self._is_taped = False
            self._log.log("error", "tape not written", reason=self._tape.error or "no answer")
        return self._log.close(FLUSH_LIMIT_S) and is_written

    def _leave(self) -> None:
        """The time is over: the segments go, and the process, from whatever thread this is."""
        self._remove_segments()
        os._exit(self._status)

    def _remove_segments(self) -> None:
        if self._generation is not None:
            self._generation.engine.close()
        if self._name is not None:
            self._name.close()

    def log(self, level: str, event: str, **facts: object) -> None:
        self._log.log(level, event, **facts)

    def note(self, event: FeedEvent, level: str, /, **facts: object) -> None:
        """One event of a feed or of its venue's connection: for the log and for the page."""
        self._log.log(level, event.text, **facts)
        self._state.hear(event, facts)

    # --- the main thread -------------------------------------------------------------------------

    async def _main(self) -> int:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(closing(lambda: self._soon(self._end), self._remove_segments))
            if self._quoting is not None:
                stack.enter_context(on_signal(signal.SIGUSR1, lambda: self._soon(self._kill)))
            try:
                prepare_directory(self._config.engine.shared_group)
                self._name = lock_name(self._config.engine.name)
            except (HandoffError, NameTakenError) as error:
                raise DaemonError(str(error)) from None
            reports = report_to_service_manager(self._state, self._stop, self._has_gateway)
            stack.callback(asyncio.create_task(reports).cancel)
            stack.callback(self._name.close)
            if self._config.metrics.listen:
                stack.callback(self._serve_page(self._config.metrics.listen).close)
            if self._quoting is not None:
                try:
                    self._quoting.open()
                except ConfigError as error:
                    raise DaemonError(str(error), status=2) from None
                stack.callback(self._quoting.close)
            session = await stack.enter_async_context(
                aiohttp.ClientSession(headers={"User-Agent": "pollux"})
            )
            await self._run_generations(rest_clients(self._config, session))
        self.log("info", "stopped")
        return 0

    def _soon(self, action: Callable[[], None]) -> None:
        """On the loop, from the thread that hears signals."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(action)

    def _end(self) -> None:
        notify("STOPPING=1", "STATUS=ending")
        self._stop.set()

    def _kill(self) -> None:
        generation = self._generation
        if generation is not None and not generation.is_ending:
            generation.live.kill_makers(REASON_OPERATOR)

    async def _wait_for(self, what: Coroutine[Any, Any, object], limit_s: float | None) -> None:
        """Until it ends, the time is over or a signal comes."""
        tasks = [asyncio.create_task(each) for each in (what, self._stop.wait())]
        done, _ = await asyncio.wait(tasks, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        for task in done:
            task.result()

    async def _run_generations(self, clients: dict[str, RestClient]) -> None:
        """With every venue that is known, until a signal; anew when more are."""
        quoting = self._quoting
        add_market = quoting.add_market if quoting is not None else None
        sizes = TickSizes(self._config, clients, self.log, self.note, self._record, add_market)
        surroundings = Surroundings(
            self.log, self.note, self._state, self._stop, clients, self._record, self._tape,
            self._has_gateway, quoting, sizes.ask_again,
        )  # fmt: skip
        learning = asyncio.create_task(sizes.learn())
        try:
            await self._wait_for(sizes.settled(), START_GRACE_S)
            while not self._stop.is_set():
                config = known_part(self._config, sizes.ticks, sizes.contracts)
                learned = sizes.learned
                if config is None:
                    if sizes.is_all_refused:
                        raise DaemonError("; ".join(sizes.refused.values()), status=2)
                    await self._wait_for(sizes.more(learned), None)
                    continue
                self._generation = await Generation.begin(config, sizes.ticks, surroundings)
                more = None if sizes.is_complete else asyncio.create_task(sizes.more(learned))
                await self._generation.run(more)
        finally:
            learning.cancel()

    def _serve_page(self, listen: str) -> Page:
        try:
            return Page(listen, self._state, self.log)
        except PageError as error:
            raise DaemonError(str(error)) from None

    def _record(self, venue: str, path: str, body: bytes) -> None:
        if self._tape is not None:
            self._tape.put(TapeLine(wall_ns(), venue, "rest", body, path))


__all__ = ["Daemon", "DaemonError"]
