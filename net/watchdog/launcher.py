"""The daemon's side of the watchdog: starts its process, and starts it again when it ends.

Nothing is quoted before the watchdog says that it is ready. Where it dies or falls silent later,
quoting is killed: an operator who configured a watchdog wants no orders without one. The watchdog
is started again after a back-off; quoting goes on only after an operator's release.
Runs on: the main thread's loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import time
from collections.abc import Collection
from typing import Protocol

from engine.maker import journal_codes as J
from net.log.log_function import LogFunction
from net.process.child import (
    ChildRestarts,
    child_command,
    child_environment,
    listen_to_child,
)
from net.watchdog.options import WatchdogOptions

MODULE = "net.watchdog"
START_LIMIT_S = 120.0
"""From the start to the first sign of life: kernels may have to be compiled."""
BACKOFF_FLOOR_MS, BACKOFF_FIRST_MS, BACKOFF_LIMIT_MS = 100, 400, 30_000
STEADY_S = 60.0
"""One that lived for so long is started again as soon as the first time."""
LOOK_S = 0.02
LEAVE_LIMIT_S = 0.7
"""How long the daemon, in the end, waits to see it end."""


class Quoting(Protocol):
    """The market makers, as far as they depend on the watchdog."""

    def guard_makers(self, is_guarded: bool) -> None:
        """Whether orders may be placed as far as a watchdog is needed for that."""

    def kill_makers(self, reason: int) -> None:
        """Halt quoting and cancel everything, until it is released."""


class WatchdogLauncher:
    """Keeps one watchdog running. Quoting must be unguarded when it begins."""

    def __init__(
        self,
        options: WatchdogOptions,
        quoting: Quoting,
        log: LogFunction,
        key_variables: Collection[str] = (),
    ) -> None:
        """`key_variables`: those of the environment with the keys that it signs with."""
        self._options = options
        self._key_variables = key_variables
        self._quoting = quoting
        self._log = log
        self._is_ready = False
        self._process: subprocess.Popen[bytes] | None = None

    async def run(self) -> None:
        """Until the watch is over, or cancelled: a watchdog that runs is left as it is."""
        restarts = ChildRestarts(
            "watchdog",
            self._log,
            floor_ms=BACKOFF_FLOOR_MS,
            first_ms=BACKOFF_FIRST_MS,
            limit_ms=BACKOFF_LIMIT_MS,
            steady_s=STEADY_S,
        )
        while True:
            restarts.begin()
            reason = await self._run_once()
            if reason is None:
                return
            self._quoting.guard_makers(False)
            if self._is_ready:
                self._quoting.kill_makers(J.REASON_WATCHDOG)
                self._log("error", "quoting is halted until it is released: no watchdog")
            self._is_ready = False
            await asyncio.sleep(restarts.wait_s(reason))

    async def leave(self) -> None:
        """The market maker has ended, and its board is closed: wait for the watchdog's own end.

        A watchdog that still has orders to cancel goes on without the daemon.
        """
        process, end_s = self._process, time.monotonic() + LEAVE_LIMIT_S
        while process is not None and process.poll() is None:
            if time.monotonic() > end_s:
                self._log("warning", "the watchdog goes on without the daemon", pid=process.pid)
                return
            await asyncio.sleep(LOOK_S)

    async def _run_once(self) -> str | None:
        """From start to end of one process; why it ended, None where the engine has ended.

        It must outlive this process, so it is not asyncio's: asyncio kills a child when its
        transport is collected or the loop ends.
        """
        try:
            process = self._process = subprocess.Popen(
                child_command(MODULE),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None,  # the same as ours: it logs on when we are gone
                env=child_environment(self._key_variables),
                start_new_session=True,
            )
        except OSError as error:
            return f"it cannot be started: {error.strerror}"
        assert process.stdin is not None and process.stdout is not None
        with process.stdin as stdin, contextlib.suppress(BrokenPipeError):
            stdin.write(self._options.to_json().encode())  # a pipe holds so much
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(lambda: protocol, process.stdout)
        try:
            reason = await listen_to_child(reader, START_LIMIT_S, self._on_ready)
        finally:
            transport.close()
        if reason is not None:
            process.kill()
        while process.poll() is None:  # it has closed its stdout: it is ending
            await asyncio.sleep(LOOK_S)
        if reason is None and process.returncode != 0:
            return f"status {process.returncode}"
        return reason

    def _on_ready(self) -> None:
        self._is_ready = True
        self._quoting.guard_makers(True)
        self._log("info", "the watchdog is ready")
