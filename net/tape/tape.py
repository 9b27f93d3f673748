"""Tapes: everything a venue sent, as it came, one JSON object a line, compressed (design, 13).

    {"t": receive time in ns, "venue": "binance", "kind": ...,
     "path": what was asked for, "raw": the exact text}

Kinds: `ws` came and `sent` went over a WebSocket connection, `rest` is an answer; `open` and `lost`
are the life of a WebSocket connection. Lines of other kinds are skipped.
The writer has a thread of its own and a bounded queue, and writes a frame a second
(net.tape.frames): a recorder that is killed loses no more. Where the disk cannot keep up, lines are
dropped and counted, and the tape says that the connection was lost there.
Runs on: any thread (put), the writer's thread (write).
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson

from engine.sharing.directory import HandoffError, open_regular
from net.log.one_line import one_line
from net.log.writer_thread import end_writer
from net.tape.frames import FrameError, packer, split_lines, unpack

QUEUE_LINES_MAX = 65_536
"""Lines waiting for the disk: minutes of a busy venue, a few hundred megabytes at the worst."""
LINE_BYTES_MAX = 64 << 20
"""A longer line is no tape."""
FRAME_S = 1.0
"""Of lines that go into one frame."""
FRAME_BYTES_MAX = 4 << 20
"""Of text in one frame: enough lines end it sooner."""

CONNECTION_KINDS = ("open", "lost")
KINDS = ("ws", "rest", "sent", *CONNECTION_KINDS)


class TapeError(Exception):
    """A tape that cannot be read or written: one line naming file and line number."""


@dataclass(frozen=True)
class TapeLine:
    """One recorded text. `path` is empty but for `rest` and the life of a connection; `raw` of
    `lost` is the reason."""

    t_ns: int
    venue: str
    kind: str
    raw: bytes
    path: str = ""


def parse_line(text: bytes, where: str) -> TapeLine | None:
    """One line's text; None for a kind that is not known, TapeError where it is no line."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise TapeError(f"{where}: not JSON: {error}") from None
    if not isinstance(value, dict):
        raise TapeError(f"{where}: not an object")
    t_ns, venue, kind = value.get("t"), value.get("venue"), value.get("kind")
    if not isinstance(kind, str):
        raise TapeError(f"{where}: kind must be text, not {one_line(kind)}")
    if kind not in KINDS:
        return None
    raw, path = value.get("raw", "" if kind in CONNECTION_KINDS else None), value.get("path", "")
    if not isinstance(t_ns, int) or isinstance(t_ns, bool) or not 0 < t_ns < 2**63:
        raise TapeError(f"{where}: t must be a time in ns, not {one_line(t_ns)}")
    if not isinstance(venue, str) or not isinstance(raw, str) or not isinstance(path, str):
        raise TapeError(f"{where}: venue, raw and path must be text")
    return TapeLine(t_ns, venue, kind, raw.encode(), path)


def read_texts(path: Path) -> Iterator[tuple[str, bytes]]:
    """The lines of a tape's file, and where they stand; TapeError where it ends before its end."""
    number = 0
    try:
        with open(open_regular(path, follows_links=True), "rb") as file:
            for text in split_lines(unpack(file), LINE_BYTES_MAX):
                number += 1
                if text.strip():
                    yield f"{path}:{number}", text
    except HandoffError as error:  # a pipe can be read only once
        raise TapeError(f"{error}: a tape must be one") from None
    except (OSError, FrameError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        place = f"{path}:{number + 1}" if number else str(path)
        raise TapeError(f"{place}: {reason}") from None


def read_tape(path: Path) -> Iterator[TapeLine]:
    """The lines of a tape, in order; TapeError at the first that is none."""
    for where, text in read_texts(path):
        line = parse_line(text, where)
        if line is not None:
            yield line


class TapeReader:
    """The lines of a tape, as often as it is asked for them, to where it ends."""

    def __init__(self, path: Path) -> None:
        self.end = ""
        """Where and why it ends, where that is not its whole end."""
        self._path = path

    def __iter__(self) -> Iterator[TapeLine]:
        """TapeError: there is not even one line."""
        is_begun = False
        try:
            for line in read_tape(self._path):
                is_begun = True
                yield line
        except TapeError as error:
            if not is_begun:
                raise
            self.end = str(error)


class TapeWriter:
    """Appends lines from any thread; call `close` to have them all on disk."""

    def __init__(self, path: Path, on_failed: Callable[[], object] | None = None) -> None:
        """`on_failed` is called where the disk takes no more, on the writer's thread."""
        self.lines = 0
        self.dropped = 0
        self.error = ""
        self._queue: queue.Queue[TapeLine | None] = queue.Queue(QUEUE_LINES_MAX)
        self._gaps: set[str] = set()
        """Venues that lines were dropped of, since their last line."""
        self._on_failed = on_failed
        self._pack = packer(path.name)
        try:
            # "x": a recording is not to be lost to a second one under the same name.
            self._file = path.open("xb")
        except FileExistsError:
            raise TapeError(f"{path}: is there already") from None
        except OSError as error:
            raise TapeError(f"{path}: {error.strerror}") from None
        self._thread = threading.Thread(target=self._write_all, name="tape", daemon=True)
        self._thread.start()

    def put(self, line: TapeLine) -> None:
        """Queue a line; never blocks."""
        try:
            if line.venue in self._gaps:
                lost = TapeLine(line.t_ns, line.venue, "lost", b"lines were dropped")
                self._queue.put_nowait(lost)
                self._gaps.discard(line.venue)
            self._queue.put_nowait(line)
        except queue.Full:
            self.dropped += 1
            self._gaps.add(line.venue)

    def close(self, limit_s: float | None = None) -> bool:
        """Write what is queued and close the file; whether that was done within the limit."""
        is_done = end_writer(self._queue, self._thread, limit_s)
        if not is_done:
            self.error = self.error or "the disk did not take it in time"
        return is_done

    def _write_all(self) -> None:
        texts, is_over = list[bytes](), False
        try:
            with self._file as file:
                while not is_over:
                    texts, is_over = self._take_frame()
                    if texts:
                        file.write(self._pack(b"".join(texts)))
                        file.flush()
                    self.lines += len(texts)
        except OSError as error:
            self.error = error.strerror or str(error)
            self.dropped += len(texts)
            if self._on_failed is not None:
                self._on_failed()
            while not is_over and self._queue.get() is not None:
                self.dropped += 1

    def _take_frame(self) -> tuple[list[bytes], bool]:
        """The lines of one frame; and whether they were the last."""
        line = self._queue.get()
        end_s, texts, size = time.monotonic() + FRAME_S, list[bytes](), 0
        while line is not None:
            texts.append(self._format(line))
            size += len(texts[-1])
            wait_s = end_s - time.monotonic()
            if size > FRAME_BYTES_MAX or wait_s <= 0:
                return texts, False
            try:
                line = self._queue.get(timeout=wait_s)
            except queue.Empty:
                return texts, False
        return texts, True

    @staticmethod
    def _format(line: TapeLine) -> bytes:
        entry = {"t": line.t_ns, "venue": line.venue, "kind": line.kind}
        if line.path:
            entry["path"] = line.path
        # A frame that is no text cannot be a JSON string; it is kept with marks where it is not.
        entry["raw"] = line.raw.decode("utf-8", "replace")
        return orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE)
