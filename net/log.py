"""The log: one structured line an event, rendered and written by a thread of its own.

The caller only puts a small record into a bounded queue; where the writer cannot keep up, records
are dropped and counted, and the count is itself logged. Lines go to stderr, JSON or console.
Runs on: any thread (`log`), the writer's thread (rendering). Called by: net.daemon.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from datetime import UTC, datetime
from typing import Any, TextIO

import structlog

QUEUE_RECORDS_MAX = 8192
"""Records waiting for the writer: minutes of a very bad day."""

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


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

    def close(self) -> None:
        """Write what is queued and end the writer."""
        self._queue.put(None)
        self._thread.join()

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
