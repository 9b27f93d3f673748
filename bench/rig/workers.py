"""The bench's own processes: one JSON request a line in, one JSON answer a line out.

    harness --{"do": "run", ..}--> stdin   worker   stdout --{..} or {"error": ".."}--> harness

A worker ends with its harness (a signal at its death, and end of file on stdin), after its module's
`close`, if there is one. What it writes to stderr is kept for the error message.
`python -m bench.rig.workers ROLE`, on a leash, is the worker.
Runs on: both sides.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol

import orjson

from bench.rig.kernels import compile_bench_kernels
from net.process.bound_child import bound_arguments

START_LIMIT_S = 180.0
"""A worker may have to compile every kernel first, on a loaded machine."""
ANSWER_LIMIT_S = 60.0
END_LIMIT_S = 8.0
CLOSE_LIMIT_S = 6
"""Cleaning up; then the alarm's signal ends the process, whatever it is stuck in."""

ROLES = {
    "sender": "bench.load.sender",
    "target": "bench.contenders.measured",
    "subscribers": "bench.clients.crowd",
    "constant": "bench.contenders.constant",
    "feed": "bench.load.two_venue_server",
    "venue": "bench.load.order_venue",
    "onlookers": "bench.load.onlookers",
}
"""Which module answers for a role."""

Message = dict[str, Any]
Handler = Callable[[Message], Message]


class WorkerError(Exception):
    """A worker could not do what it was asked: its own words."""


class WorkerModule(Protocol):
    """What a role's module has."""

    def handlers(self) -> dict[str, Handler]:
        """One function a request; called once, after all kernels are compiled."""


class Worker:
    """The harness's end of a worker; a context manager that always ends the process."""

    def __init__(self, role: str) -> None:
        assert role in ROLES
        self.role = role
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by end)
        self._pending = b""
        # Not above: a worker starts sooner without all that a daemon imports.
        from net.process.child import child_environment

        self._popen = subprocess.Popen(
            bound_arguments("bench.rig.workers", role),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=child_environment(),
            start_new_session=True,
        )
        self._is_ready = False
        self._is_busy = False

    @property
    def pid(self) -> int:
        return self._popen.pid

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()

    def wait_ready(self) -> None:
        """Until the worker has compiled its kernels."""
        if not self._is_ready:
            self._answer(START_LIMIT_S)
            self._is_ready = True

    def ask(self, do: str, limit_s: float = ANSWER_LIMIT_S, **facts: Any) -> Message:
        """Send one request and wait for its answer; WorkerError if there is none."""
        self.tell(do, **facts)
        return self.answer(limit_s)

    def tell(self, do: str, **facts: Any) -> None:
        """Send one request; `answer` must follow."""
        self.wait_ready()
        assert self._popen.stdin is not None
        self._is_busy = True
        try:
            self._popen.stdin.write(orjson.dumps({"do": do, **facts}) + b"\n")
            self._popen.stdin.flush()
        except OSError:
            raise WorkerError(f"{self.role} ended: {self._stderr()}") from None

    def answer(self, limit_s: float = ANSWER_LIMIT_S) -> Message:
        """The answer to the last request."""
        return self._answer(limit_s)

    def _answer(self, limit_s: float) -> Message:
        stdout = self._popen.stdout
        assert stdout is not None
        end_s = time.monotonic() + limit_s
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            while b"\n" not in self._pending:
                if not selector.select(max(end_s - time.monotonic(), 0)):
                    raise WorkerError(f"{self.role} did not answer within {limit_s:g} s")
                part = os.read(stdout.fileno(), 1 << 16)
                if not part:
                    raise WorkerError(f"{self.role} ended: {self._stderr()}")
                self._pending += part
        line, _, self._pending = self._pending.partition(b"\n")
        self._is_busy = False
        message: Message = orjson.loads(line)
        if "error" in message:
            raise WorkerError(f"{self.role}: {message['error']}")
        return message

    def _stderr(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace").strip()[-2000:]

    def end(self) -> None:
        """Close its stdin, interrupt what it is at, then insist."""
        if self._popen.stdin is not None:
            # What a dead worker did not take is lost; its end was reported where it was asked.
            with contextlib.suppress(OSError):
                self._popen.stdin.close()
        if self._is_busy:
            self._popen.terminate()
        try:
            self._popen.wait(END_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        if self._popen.stdout is not None:
            self._popen.stdout.close()
        self._errors.close()


def serve(role: str) -> None:
    """The worker: answer requests until stdin ends or SIGTERM comes, then clean up."""
    signal.signal(signal.SIGTERM, _on_sigterm)
    handlers: dict[str, Handler] = {}
    try:
        _answer_requests(role, handlers)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.alarm(CLOSE_LIMIT_S)
        with contextlib.suppress(Exception):
            if "close" in handlers:
                handlers["close"]({})
        # Threads that still run (an engine, a gateway) end with the process.
        sys.stderr.flush()
        os._exit(0)


def _on_sigterm(_number: int, _frame: object) -> None:
    raise SystemExit


def _answer_requests(role: str, handlers: dict[str, Handler]) -> None:
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing else may write between the answers
    module: WorkerModule = importlib.import_module(ROLES[role])
    compile_bench_kernels()
    handlers.update(module.handlers())

    def say(message: Message) -> None:
        output.write(orjson.dumps(message) + b"\n")
        output.flush()

    say({"ready": True})
    for line in sys.stdin.buffer:
        request: Message = orjson.loads(line)
        try:
            say(handlers[request["do"]](request))
        except Exception as error:
            traceback.print_exc()
            say({"error": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    serve(sys.argv[1])
