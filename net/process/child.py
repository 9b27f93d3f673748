"""A child process of ours: its environment, its signs of life on stdout, and when it starts again.

A child writes `ready ...` when it serves, and a line a second from then on.
Runs on: the parent's main thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from net.log.log_function import LogFunction
from net.sockets.backoff import Backoff

INHERITED = frozenset(
    {
        "PATH", "HOME", "USER", "LOGNAME", "SHELL", "TZ", "TMPDIR", "LANG", "LANGUAGE", "TERM",
        "COLUMNS", "LINES", "NO_COLOR", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "SSL_CERT_FILE",
        "SSL_CERT_DIR", "POLLUX_CACHE_DIR", "RUNTIME_DIRECTORY",
    }
)  # fmt: skip
"""Variables that a child is given; secrets have other names."""
INHERITED_PREFIXES = ("LC_", "XDG_", "PYTHON", "NUMBA_", "GRPC_", "OPENBLAS_", "COVERAGE_")
BEAT_S = 1.0
"""Between two signs of life on a child's stdout."""
SILENCE_LIMIT_S = 5 * BEAT_S
"""A child that misses so many of them is replaced."""
SILENCE_AGAIN_S = 1.0
"""Looked at once more: where this process itself stood still, the beats are waiting to be read."""


def child_command(module: str, *arguments: str) -> list[str]:
    """The command line that runs one of our modules as a process.

    `-P` (Python 3.11): the working directory is not on its path, where a file of the same name
    could be run instead of ours.
    """
    return [sys.executable, "-P", "-m", module, *arguments]


def child_environment(keys: Iterable[str] = ()) -> dict[str, str]:
    """An environment built for a child: what INHERITED names of ours, and these `keys`.

    No exchange's secret is in it unless it is named: a process that faces the network has no use
    for one. The place of our own packages is first on its path; of what else is there, relative
    entries are left out, which would mean the working directory.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in INHERITED or name.startswith(INHERITED_PREFIXES) or name in keys
    }
    root = str(Path(__file__).resolve().parents[2])
    known = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    path = os.pathsep.join([root, *(each for each in known if Path(each).is_absolute())])
    return {"OPENBLAS_NUM_THREADS": "1", **kept, "PYTHONPATH": path}


class LoggedChild:
    """A command of ours as a process in a session of its own; what it writes goes to a file."""

    def __init__(
        self, command: list[str], log: Path, keys: Mapping[str, str] | None = None
    ) -> None:
        self._log = log
        self._is_told = False
        with log.open("wb") as output:
            self._popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=child_environment() | dict(keys or {}),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def is_up(self) -> bool:
        """Whether it still runs."""
        return self._popen.poll() is None

    @property
    def text(self) -> str:
        """What it has written so far."""
        return self._log.read_text(errors="replace")

    @property
    def last_line(self) -> str:
        lines = self.text.strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def terminate(self) -> None:
        """SIGTERM, once."""
        if not self._is_told:
            self._is_told = True
            self._popen.terminate()

    def end(self, limit_s: float) -> int | None:
        """SIGTERM; its exit status. None where it was still there after so long and was killed."""
        self.terminate()
        try:
            return self._popen.wait(limit_s)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        return None


async def line_within(reader: asyncio.StreamReader, limit_s: float) -> bytes | None:
    """The next line, b"" at the end, None when none came in time."""
    for seconds in (limit_s, SILENCE_AGAIN_S):
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(reader.readline(), seconds)
    return None


async def listen_to_child(
    stdout: asyncio.StreamReader, start_limit_s: float, on_ready: Callable[[], None]
) -> str | None:
    """Read a child's signs of life to their end; why it must be killed, None where it is ending.

    `start_limit_s`: how long the first line may take: kernels may have to be loaded or compiled.
    """
    limit_s = start_limit_s
    while True:
        line = await line_within(stdout, limit_s)
        if line is None:
            return f"no sign of life for {limit_s:g} s"
        if not line:
            return None
        limit_s = SILENCE_LIMIT_S
        if line.split() and line.split()[0] == b"ready":
            on_ready()


class ChildRestarts:
    """How long a child that has ended is left alone before it is started again.

    The waits double from end to end; one that lived for `steady_s` is started again as soon as the
    first time. `name` is what the log calls it.
    """

    def __init__(
        self,
        name: str,
        log: LogFunction,
        *,
        floor_ms: int,
        first_ms: int,
        limit_ms: int,
        steady_s: float,
    ) -> None:
        self._name = name
        self._log = log
        self._backoff = Backoff(random.Random(), floor_ms, first_ms, limit_ms)
        self._steady_s = steady_s
        self._started_s = time.monotonic()

    def begin(self) -> None:
        """The child is being started."""
        self._started_s = time.monotonic()

    def wait_s(self, reason: str) -> float:
        """The child has ended: how long to wait, which is logged with the reason."""
        if time.monotonic() - self._started_s > self._steady_s:
            self._backoff.reset()
        delay_ns = self._backoff.next_ns()
        facts = {"attempt": self._backoff.attempt, "again_in_ms": delay_ns // 1_000_000}
        self._log("error", f"{self._name} ended", reason=reason, **facts)
        return delay_ns / 1e9
