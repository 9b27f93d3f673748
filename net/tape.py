"""Tapes: everything a venue sent, as it came, one JSON object a line, gzip (design, section 13).

    {"t": receive time in ns, "venue": "binance", "kind": "ws" | "rest" | "sent",
     "path": what was asked (rest), "raw": the exact text}

The writer has a thread of its own and a bounded queue: where the disk cannot keep up, lines are
dropped and counted, and the tape says so at its end.
Runs on: any thread (put), the writer's thread (write). Called by: net.live, net.replay, pollux.py.
"""

from __future__ import annotations

import gzip
import queue
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import orjson

from net.said import said
from net.writer import end_writer

QUEUE_LINES_MAX = 65_536
"""Lines waiting for the disk: minutes of a busy venue, a few hundred megabytes at the worst."""
LINE_BYTES_MAX = 64 << 20
"""A longer line is no tape."""
COMPRESSION_LEVEL = 5

KINDS = ("ws", "rest", "sent")


class TapeError(Exception):
    """A tape that cannot be read or written: one line naming file and line number."""


@dataclass(frozen=True)
class TapeLine:
    """One recorded text. `path` is empty but for `rest`."""

    t_ns: int
    venue: str
    kind: str
    raw: bytes
    path: str = ""


def _parse(line: bytes, where: str) -> TapeLine:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise TapeError(f"{where}: not JSON: {error}") from None
    if not isinstance(value, dict):
        raise TapeError(f"{where}: not an object")
    t_ns, venue, kind = value.get("t"), value.get("venue"), value.get("kind")
    raw, path = value.get("raw"), value.get("path", "")
    if not isinstance(t_ns, int) or isinstance(t_ns, bool) or not 0 < t_ns < 2**63:
        raise TapeError(f"{where}: t must be a time in ns, not {said(t_ns)}")
    if not isinstance(venue, str) or not isinstance(raw, str) or not isinstance(path, str):
        raise TapeError(f"{where}: venue, raw and path must be text")
    if kind not in KINDS:
        raise TapeError(f"{where}: kind {said(kind)!r} is not one of {', '.join(KINDS)}")
    return TapeLine(t_ns, venue, kind, raw.encode(), path)


def read_tape(path: Path) -> Iterator[TapeLine]:
    """The lines of a tape, in order; TapeError at the first that is none."""
    number = 0
    try:
        with gzip.open(path, "rb") as file:
            while line := file.readline(LINE_BYTES_MAX):
                number += 1
                if len(line) == LINE_BYTES_MAX:
                    raise TapeError(f"{path}:{number}: longer than {LINE_BYTES_MAX} bytes")
                if line.strip():
                    yield _parse(line, f"{path}:{number}")
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        place = f"{path}:{number + 1}" if number else str(path)
        raise TapeError(f"{place}: {reason}") from None


class TapeWriter:
    """Appends lines from any thread; call `close` to have them all on disk."""

    def __init__(self, path: Path) -> None:
        self.lines = 0
        self.dropped = 0
        self.error = ""
        self._queue: queue.Queue[TapeLine | None] = queue.Queue(QUEUE_LINES_MAX)
        try:
            # "x": a recording is not to be lost to a second one under the same name.
            file = gzip.open(path, "xb", COMPRESSION_LEVEL)  # noqa: SIM115 (closed by the thread)
        except FileExistsError:
            raise TapeError(f"{path}: is there already") from None
        except OSError as error:
            raise TapeError(f"{path}: {error.strerror}") from None
        self._file = cast(BinaryIO, file)
        self._thread = threading.Thread(target=self._write_all, name="tape", daemon=True)
        self._thread.start()

    def put(self, line: TapeLine) -> None:
        """Queue a line; never blocks."""
        try:
            self._queue.put_nowait(line)
        except queue.Full:
            self.dropped += 1

    def close(self, limit_s: float | None = None) -> bool:
        """Write what is queued and close the file; whether that was done within the limit."""
        is_done = end_writer(self._queue, self._thread, limit_s)
        if not is_done:
            self.error = self.error or "the disk did not take it in time"
        return is_done

    def _write_all(self) -> None:
        try:
            with self._file as file:
                while (line := self._queue.get()) is not None:
                    file.write(self._format(line))
                    self.lines += 1
        except OSError as error:
            self.error = error.strerror or str(error)
            while self._queue.get() is not None:
                self.dropped += 1

    @staticmethod
    def _format(line: TapeLine) -> bytes:
        entry = {"t": line.t_ns, "venue": line.venue, "kind": line.kind}
        if line.path:
            entry["path"] = line.path
        # A frame that is no text cannot be a JSON string; it is kept with marks where it is not.
        entry["raw"] = line.raw.decode("utf-8", "replace")
        return orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE)
