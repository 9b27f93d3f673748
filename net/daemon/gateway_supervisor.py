"""Keeps the gateway running, as a process or as a thread of the daemon, and ends it in order.

The process form is started again, after a back-off, whenever it ends or shows no sign of life: it
writes a line a second to its stdout. What it says on stderr becomes lines of our log, which limits
them: strangers' handshakes can make many. The thread form cannot be started again safely; its
failure is the daemon's.
Runs on: the main thread's loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from typing import Protocol

from net.gateway.options import GatewayError, GatewayOptions
from net.log.log_function import LogFunction
from net.log.one_line import error_text, one_line
from net.process.child import (
    ChildRestarts,
    child_command,
    child_environment,
    listen_to_child,
)

READY_LIMIT_S = 60.0
"""From the start of a gateway process to `ready`: it may have kernels to load, on a busy host."""
BACKOFF_FLOOR_MS, BACKOFF_FIRST_MS, BACKOFF_LIMIT_MS = 50, 100, 2000
"""A gateway that is killed now and then must serve again within 3 s, start included."""
STEADY_S = 10.0
"""One that served for so long is started again as soon as the first time."""


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
                self._error = GatewayError(f"the gateway failed: {error_text(error)}")
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
        self._started_s = 0.0

    async def run(self) -> None:
        restarts = ChildRestarts(
            "gateway",
            self._log,
            floor_ms=BACKOFF_FLOOR_MS,
            first_ms=BACKOFF_FIRST_MS,
            limit_ms=BACKOFF_LIMIT_MS,
            steady_s=STEADY_S,
        )
        while not self._retired.is_set():
            restarts.begin()
            reason = await self._run_once()
            if self._retired.is_set():
                return
            if not self.is_ready.is_set():
                raise GatewayError(reason)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._retired.wait(), restarts.wait_s(reason))

    def retire(self) -> None:
        self._retired.set()
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()

    async def _run_once(self) -> str:
        """From start to end of one process; why it ended."""
        self._started_s = time.monotonic()
        process = self._process = await asyncio.create_subprocess_exec(
            *child_command("net.gateway", self._options.to_json()),
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
            reason = await listen_to_child(process.stdout, READY_LIMIT_S, self._on_ready)
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

    def _on_ready(self) -> None:
        if self.is_ready.is_set():
            took_ms = int((time.monotonic() - self._started_s) * 1000)
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
            text = one_line(raw.decode(errors="replace"))
            if text:
                last = text.removeprefix("pollux gateway: ")
                if last == text:  # else its own last line: the reason, told by who waits for it
                    self._log("warning", "gateway says", text=text)


__all__ = ["Gateway", "GatewayProcess", "GatewayThread"]
