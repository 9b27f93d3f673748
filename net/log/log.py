"""The log: one structured line an event, rendered and written by a thread of its own.

The caller only puts a small record into a bounded queue; where the writer cannot keep up, records
are dropped and counted, and the count is itself logged. Warnings and errors that repeat are limited
on the writer's side (net.log.rate_limit). Lines go to stderr, JSON or console.
Runs on: any thread (`log`), the writer's thread (the rest).
"""

from __future__ import annotations

import contextlib
import logging
import queue
import sys
import threading
import time
from datetime import UTC, datetime
from typing import Any, TextIO

import structlog

from net.log.one_line import error_text, one_line
from net.log.rate_limit import RateLimit
from net.log.writer_thread import end_writer
from tuning.clock import wall_ns

FACT_CHARACTERS_MAX = 1000
"""Of one text in a line; our own are shorter."""
QUEUE_RECORDS_MAX = 8192
"""Records waiting for the writer: minutes of a very bad day."""

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class LibraryLog(logging.Handler):
    """What asyncio and other libraries log, as one line of ours each.

    Their own handler of last resort writes tracebacks between the lines; the error's text is all
    that an operator needs of a connection that could not be made.
    """

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        text = one_line(record.getMessage().partition("\n")[0])
        facts: dict[str, object] = {"library": record.name, "text": text}
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            facts["error"] = error_text(error)
        level = "error" if record.levelno >= logging.ERROR else "warning"
        self._log.log(level, "library says", **facts)


class Log:
    """A log with its writer thread; `close` writes what is left."""

    def __init__(self, level: str, style: str, stream: TextIO | None = None) -> None:
        self.dropped = 0
        """Records that found the queue full, or nobody who took their line."""
        self._threshold = LEVELS[level]
        self._repeats = RateLimit()
        self._stream = stream or sys.stderr
        self._render: Any = (
            structlog.processors.JSONRenderer()
            if style == "json"
            else structlog.dev.ConsoleRenderer(colors=self._stream.isatty(), pad_event_to=24)
        )
        self._queue: queue.Queue[tuple[int, str, str, dict[str, object]] | None] = queue.Queue(
            QUEUE_RECORDS_MAX
        )
        self._thread = threading.Thread(target=self._write_all, name="log", daemon=True)
        self._thread.start()

    @property
    def swallowed(self) -> int:
        """Records that were not written because they only repeated others."""
        return self._repeats.swallowed

    def log(self, level: str, event: str, **facts: object) -> None:
        """Queue one record; never blocks."""
        if LEVELS[level] < self._threshold:
            return
        try:
            self._queue.put_nowait((wall_ns(), level, event, facts))
        except queue.Full:
            self.dropped += 1

    def close(self, limit_s: float | None = None) -> bool:
        """Write what is queued and end the writer; whether that was done within the limit.

        Nobody may be reading the pipe that stderr is.
        """
        return end_writer(self._queue, self._thread, limit_s)

    def _write_all(self) -> None:
        reported, is_open = 0, True
        while is_open:
            with contextlib.suppress(queue.Empty):
                record = self._queue.get(timeout=self._repeats.wait_s(time.monotonic()))
                is_open = record is not None
                if record is not None:
                    self._take(*record)
            if self.dropped > reported:
                reported = self.dropped
                facts: dict[str, object] = {"count": reported}
                self._take(wall_ns(), "warning", "log records dropped", facts)
            for level, event, last in self._repeats.ended(time.monotonic(), is_last=not is_open):
                self._write(wall_ns(), level, event, last)

    def _take(self, time_ns: int, level: str, event: str, facts: dict[str, object]) -> None:
        if self._repeats.admits(level, event, facts, time.monotonic()):
            self._write(time_ns, level, event, facts)

    def _write(self, time_ns: int, level: str, event: str, facts: dict[str, object]) -> None:
        stamp = datetime.fromtimestamp(time_ns // 1000 / 1e6, UTC).isoformat()
        bounded = {key: _bounded(value) for key, value in facts.items()}
        entry: dict[str, Any] = {"timestamp": stamp, "level": level, "event": event, **bounded}
        try:
            print(self._render(None, "", entry), file=self._stream, flush=True)
        except (OSError, ValueError):
            self.dropped += 1


def _bounded(value: object) -> object:
    """A fact that cannot fill the log: whoever passes on a stranger's text bounds it, or this."""
    if isinstance(value, str) and len(value) > FACT_CHARACTERS_MAX:
        return f"{value[:FACT_CHARACTERS_MAX]}..."
    return value
