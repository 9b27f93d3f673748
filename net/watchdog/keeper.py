"""The daemon's side of the watchdog: it is started, kept, and left when all is over.

Nothing is quoted before it says that it is ready. Where it dies or falls silent later, quoting is
killed: who wanted a watchdog did not want orders without one. It is started again at once, and
then it is the operator who releases.
Runs on: the main thread's loop. Called by: net.maker.housekeeping.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import subprocess
import sys
import time
from typing import Protocol

from engine.maker import journal_codes as J
from net.backoff import Backoff
from net.supervisor import LogFunction, child_environment, line_within
from net.watchdog.options import WatchdogOptions

MODULE = "net.watchdog"
START_LIMIT_S = 120.0
"""From the start to the first sign of life: kernels may have to be compiled."""
SILENCE_LIMIT_S = 5.0
"""It beats once a second; one that does not for so long is replaced."""
BACKOFF_FLOOR_MS, BACKOFF_FIRST_MS, BACKOFF_LIMIT_MS = 100, 400, 30_000
STEADY_S = 60.0
"""One that lived for so long is started again as soon as the first time."""
LOOK_S = 0.02
LEAVE_LIMIT_S = 0.7
"""How long the daemon, in the end, waits to see it end."""


class Guarded(Protocol):
    """What is quoted, as the watchdog's fate concerns it."""

    def guard_maker(self, is_guarded: bool) -> None:
        """Whether orders may be placed as far as a watchdog is needed for that."""

    def kill_maker(self, reason: int) -> None:
        """Halt quoting and cancel everything, until it is released."""


class Keeper:
    """Keeps one watchdog running. Quoting must be unguarded when it begins."""

    def __init__(self, options: WatchdogOptions, guarded: Guarded, log: LogFunction) -> None:
        self._options = options
        self._guarded = guarded
        self._log = log
        self._is_ready = False
        self._process: subprocess.Popen[bytes] | None = None

    async def run(self) -> None:
        """Until the watch is over, or cancelled: a watchdog that runs is left as it is."""
        backoff = Backoff(random.Random(), BACKOFF_FLOOR_MS, BACKOFF_FIRST_MS, BACKOFF_LIMIT_MS)
        while True:
            started_s = time.monotonic()
            reason = await self._run_once()
            if not reason:
                return
            self._guarded.guard_maker(False)
            if self._is_ready:
                self._guarded.kill_maker(J.REASON_WATCHDOG)
                self._log("error", "quoting is halted until it is released: no watchdog")
            self._is_ready = False
            if time.monotonic() - started_s > STEADY_S:
                backoff.reset()
            delay_ns = backoff.next_ns()
            facts = {"attempt": backoff.attempt, "again_in_ms": delay_ns // 1_000_000}
            self._log("error", "watchdog ended", reason=reason, **facts)
            await asyncio.sleep(delay_ns / 1e9)

    async def leave(self) -> None:
        """The market maker has ended, and its board is closed: the watchdog ends by itself.

        Where it has something left to do, it stays behind.
        """
        process, end_s = self._process, time.monotonic() + LEAVE_LIMIT_S
        while process is not None and process.poll() is None:
            if time.monotonic() > end_s:
                self._log("warning", "the watchdog goes on without the daemon", pid=process.pid)
                return
            await asyncio.sleep(LOOK_S)

    async def _run_once(self) -> str:
        """From start to end of one process; why it ended, or nothing: the engine has ended."""
        # Not asyncio's: that kills the process when its own end is forgotten or the loop ends.
        try:
            process = self._process = subprocess.Popen(
                [sys.executable, "-m", MODULE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None,  # the same as ours: it logs on when we are gone
                env=child_environment(),
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
            reason = await self._listen(reader)
        finally:
            transport.close()
        if reason:
            process.kill()
        while process.poll() is None:  # it has closed its stdout: it is ending
            await asyncio.sleep(LOOK_S)
        return reason or (f"status {process.returncode}" if process.returncode else "")

    async def _listen(self, stdout: asyncio.StreamReader) -> str:
        """Read its signs of life to their end; why it must be killed, or nothing."""
        limit_s = START_LIMIT_S
        while True:
            line = await line_within(stdout, limit_s)
            if line is None:
                return f"no sign of life for {limit_s:g} s"
            if not line:
                return ""
            limit_s = SILENCE_LIMIT_S
            if line == b"ready\n":
                self._is_ready = True
                self._guarded.guard_maker(True)
                self._log("info", "the watchdog is ready")
