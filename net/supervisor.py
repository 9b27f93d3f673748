"""Keeps the gateway running, as a process or as a thread of the daemon, and ends it in order.

The process form is started again, after a back-off, whenever it ends or shows no sign of life: it
writes a line a second to its stdout. What it says on stderr becomes lines of our log, which limits
them: strangers' handshakes can make many. The thread form cannot be started again safely; its
failure is the daemon's.
Runs on: the main thread's loop. Called by: net.daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sys
import threading
import time
from pathlib import Path
from typing import Protocol

from net.backoff import Backoff
from net.gateway.options import GatewayError, GatewayOptions
from net.said import said, told

READY_LIMIT_S = 60.0
"""From the start of a gateway process to `ready`: it may have kernels to load, on a busy host."""
SILENCE_LIMIT_S = 5.0
"""A gateway process beats once a second; one that does not for so long is replaced."""
SILENCE_AGAIN_S = 1.0
"""Looked at once more: where this process itself stood still, the beats are waiting to be read."""
BACKOFF_FLOOR_MS, BACKOFF_FIRST_MS, BACKOFF_LIMIT_MS = 50, 100, 2000
"""A gateway that is killed now and then must serve again within 3 s, start included."""
STEADY_S = 10.0
"""One that served for so long is started again as soon as the first time."""


class LogFunction(Protocol):
    """Where lines for the operator go."""

    def __call__(self, level: str, event: str, **facts: object) -> None: ...


class Gateway(Protocol):
    """A gateway under supervision."""

    is_ready: asyncio.Event
    is_serving: bool
    """Now, as far as is known; read by any thread."""

    async def run(self) -> None:
        """Until retired; GatewayError: it cannot serve."""

    def retire(self) -> None:
        """Accept nothing more, hand out the engine's last state, end."""


class GatewayThread:
    """The gateway in a thread of this process."""

    def __init__(self, options: GatewayOptions) -> None:
        self.is_ready = asyncio.Event()
        self.is_serving = False
        self._options = options
        self._stop = threading.Event()
        self._error: GatewayError | None = None

    async def run(self) -> None:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()

        def tell(event: asyncio.Event) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(event.set)

        def on_ready(_port: int) -> None:
            self.is_serving = True
            tell(self.is_ready)

        def serve() -> None:
            from net.gateway.server import run_gateway

            try:
                run_gateway(self._options, ready=on_ready, stop=self._stop)
            except GatewayError as error:
                self._error = error
            except Exception as error:
                self._error = GatewayError(f"the gateway failed: {told(error)}")
            finally:
                self.is_serving = False
                tell(ended)

        # A daemon thread: where it does not end, the process must.
        threading.Thread(target=serve, name="gateway", daemon=True).start()
        await ended.wait()
        if self._error is not None:
            raise self._error

    def retire(self) -> None:
        self._stop.set()


class GatewayProcess:
    """The gateway as a process of its own, started again when it ends."""

    def __init__(self, options: GatewayOptions, log: LogFunction) -> None:
        self.is_ready = asyncio.Event()
        self.is_serving = False
        self._options = options
        self._log = log
        self._retired = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None

    async def run(self) -> None:
        backoff = Backoff(random.Random(), BACKOFF_FLOOR_MS, BACKOFF_FIRST_MS, BACKOFF_LIMIT_MS)
        while not self._retired.is_set():
            started_s = time.monotonic()
            reason = await self._run_once()
            if self._retired.is_set():
                return
            if not self.is_ready.is_set():
                raise GatewayError(reason)
            if time.monotonic() - started_s > STEADY_S:
                backoff.reset()
            delay_s = backoff.next_ns() / 1e9
            facts = {"attempt": backoff.attempt, "again_in_ms": int(delay_s * 1000)}
            self._log("error", "gateway ended", reason=reason, **facts)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._retired.wait(), delay_s)

    def retire(self) -> None:
        self._retired.set()
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()

    async def _run_once(self) -> str:
        """From start to end of one process; why it ended."""
        started_s = time.monotonic()
        process = self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "net.gateway", self._options.to_json()),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=child_environment(),
            start_new_session=True,
        )
        assert process.stdout is not None and process.stderr is not None
        if self._retired.is_set():
            self.retire()
        saying = asyncio.create_task(self._relay(process.stderr))
        try:
            reason = await self._listen(process.stdout, started_s)
            if reason:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            status = await process.wait()
            return reason or await saying or f"status {status}"
        finally:
            self.is_serving = False
            saying.cancel()
            if process.returncode is None:
                # It had its SIGTERM when it was retired, and keeps nothing worth another.
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()

    async def _listen(self, stdout: asyncio.StreamReader, started_s: float) -> str:
        """Read its signs of life to their end; why it must be killed, or nothing."""
        limit_s = READY_LIMIT_S
        while True:
            line = await line_within(stdout, limit_s)
            if line is None:
                return f"no sign of life for {limit_s:g} s"
            if not line:
                return ""
            if line.startswith(b"ready "):
                limit_s = SILENCE_LIMIT_S
                if self.is_ready.is_set():
                    took_ms = int((time.monotonic() - started_s) * 1000)
                    self._log("info", "gateway serves again", start_ms=took_ms)
                self.is_ready.set()
                self.is_serving = True

    async def _relay(self, stderr: asyncio.StreamReader) -> str:
        """Log what it says on stderr; its last line."""
        last = ""
        while True:
            try:
                raw = await stderr.readline()
            except ValueError:
                continue  # longer than the reader's buffer, which is empty again
            if not raw:
                return last
            text = said(raw.decode(errors="replace"))
            if text:
                last = text.removeprefix("pollux gateway: ")
                if last == text:  # else its own last line: the reason, told by who waits for it
                    self._log("warning", "gateway says", text=text)


async def line_within(reader: asyncio.StreamReader, limit_s: float) -> bytes | None:
    """The next line, b"" at the end, None when none came in time."""
    for seconds in (limit_s, SILENCE_AGAIN_S):
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(reader.readline(), seconds)
    return None


def child_environment() -> dict[str, str]:
    """This environment, with the place of our own packages on the child's path."""
    root = str(Path(__file__).resolve().parent.parent)
    known = os.environ.get("PYTHONPATH", "")
    return {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{known}" if known else root}


__all__ = ["Gateway", "GatewayProcess", "GatewayThread", "child_environment", "line_within"]
