"""The log: one structured line an event, rendered and written by a thread of its own.

The caller only puts a small record into a bounded queue; where the writer cannot keep up, records
are dropped and counted, and the count is itself logged. Lines go to stderr, JSON or console.
Runs on: any thread (`log`), the writer's thread (rendering). Called by: net.daemon.
"""

from __future__ import annotations

import logging
import queue
import sys
import threading
import time
from datetime import UTC, datetime
from typing import Any, TextIO

import structlog

from net.writer import end_writer

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
        facts: dict[str, object] = {"library": record.name}
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, BaseException):
            facts["error"] = " ".join(f"{type(error).__name__}: {error}".split())
        text = record.getMessage().partition("\n")[0]
        self._log.log("error" if record.levelno >= logging.ERROR else "warning", text, **facts)


class Log:
    """A log with its writer thread; `close` writes what is left."""

    def __init__(self, level: str, style: str, stream: TextIO | None = None) -> None:
        self.dropped = 0
        self._threshold = LEVELS[level]
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

    def log(self, level: str, event: str, **facts: object) -> None:
        """Queue one record; never blocks."""
        if LEVELS[level] < self._threshold:
            return
        try:
            self._queue.put_nowait((time.time_ns(), level, event, facts))
        except queue.Full:
            self.dropped += 1

    def close(self, limit_s: float | None = None) -> bool:
        """Write what is queued and end the writer; whether that was done within the limit.

        Nobody may be reading the pipe that stderr is.
        """
        return end_writer(self._queue, self._thread, limit_s)

    def _write_all(self) -> None:
        reported = 0
        while (record := self._queue.get()) is not None:
            self._write(*record)
            if self.dropped > reported:
                reported = self.dropped
                self._write(time.time_ns(), "warning", "log records dropped", {"count": reported})

    def _write(self, time_ns: int, level: str, event: str, facts: dict[str, object]) -> None:
        stamp = datetime.fromtimestamp(time_ns // 1000 / 1e6, UTC).isoformat()
        entry: dict[str, Any] = {"timestamp": stamp, "level": level, "event": event, **facts}
        try:
            print(self._render(None, "", entry), file=self._stream, flush=True)
        except (OSError, ValueError):
            self.dropped += 1
