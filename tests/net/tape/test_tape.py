"""Tapes: what is written is read back, up to where a damaged one ends; file and line are named."""

from __future__ import annotations

import errno
import gzip
import os
import threading
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from net.tape import tape as tapes
from net.tape.frames import packer, split_lines
from net.tape.tape import TapeError, TapeLine, TapeReader, TapeWriter, read_tape

LINES = [
    TapeLine(1_700_000_000_000_000_001, "binance", "open", b"", "/stream?streams=btcusdt@depth"),
    TapeLine(1_700_000_000_000_000_001, "binance", "ws", '{"a":"é"}'.encode()),
    TapeLine(1_700_000_000_000_000_002, "bitstamp", "rest", b"<html>", "/api/v2/markets/"),
    TapeLine(1_700_000_000_000_000_003, "bitstamp", "sent", b'{"event":"bts:heartbeat"}'),
    TapeLine(1_700_000_000_000_000_004, "binance", "lost", b"no data", "/stream"),
]
GOOD = b'{"t":1,"venue":"binance","kind":"ws","raw":"{}"}'
NAMES = pytest.mark.parametrize("name", ["t.jsonl.zst", "t.jsonl.gz"])


def zstd(text: bytes) -> bytes:
    """As the command `zstd` packs, checksum and all."""
    return zstandard.ZstdCompressor(write_checksum=True).compress(text)


PACKED = pytest.mark.parametrize("pack", [zstd, gzip.compress])


def what_is_there(path: Path) -> tuple[list[TapeLine], str]:
    """The lines before the end, and the reason of the end."""
    reader, lines = TapeReader(path), list[TapeLine]()
    try:
        lines += reader
    except TapeError as error:
        return [], str(error)
    return lines, reader.end


@NAMES
def test_round_trip(tmp_path: Path, name: str) -> None:
    writer = TapeWriter(tmp_path / name)
    for line in LINES:
        writer.put(line)
    writer.close()
    assert what_is_there(tmp_path / name) == (LINES, "")
    assert (writer.lines, writer.dropped, writer.error) == (5, 0, "")
    data = (tmp_path / name).read_bytes()
    text = gzip.decompress(data) if name.endswith("gz") else zstandard.decompress(data)
    assert text.count(b"\n") == 5, "what others read it with finds the same"


@NAMES
def test_13_a_recorder_that_is_not_closed_has_written_all_but_the_last_second(
    tmp_path: Path, name: str
) -> None:
    writer = TapeWriter(tmp_path / name)
    for line in LINES:
        writer.put(line)
    time.sleep(1.5 * tapes.FRAME_S)
    writer.put(LINES[1])
    assert what_is_there(tmp_path / name) == (LINES, "")
    writer.close()
    assert what_is_there(tmp_path / name) == ([*LINES, LINES[1]], "")


def test_13_dropped_lines_are_a_lost_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A diff that is missing from the tape must not be missing from a book made of it."""
    monkeypatch.setattr(tapes, "QUEUE_LINES_MAX", 3)
    monkeypatch.setattr(TapeWriter, "_write_all", lambda self: None)
    writer = TapeWriter(tmp_path / "t.zst")
    put = [TapeLine(n, "binance", "ws", b"%d" % n) for n in range(1, 9)]
    for line in put[:5]:
        writer.put(line)
    assert writer.dropped == 2
    writer._queue.get(), writer._queue.get()
    writer.put(put[5])
    rest = [writer._queue.get_nowait() for _ in range(writer._queue.qsize())]
    assert rest == [put[2], TapeLine(6, "binance", "lost", b"lines were dropped"), put[5]]


def test_13_whoever_records_is_told_that_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_text: bytes) -> bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    told = threading.Event()
    writer = TapeWriter(tmp_path / "t.zst", told.set)
    monkeypatch.setattr(writer, "_pack", fail)
    writer.put(LINES[0])
    assert told.wait(10) and writer.error == "No space left on device"
    writer.close()
    assert (writer.lines, writer.dropped) == (0, 1)


def test_a_recording_is_never_overwritten(tmp_path: Path) -> None:
    TapeWriter(tmp_path / "t.jsonl.gz").close()
    with pytest.raises(TapeError, match="is there already"):
        TapeWriter(tmp_path / "t.jsonl.gz")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"nonsense", "not JSON"),
        (b"[]", "not an object"),
        (b'{"t":1,"venue":"a","raw":""}', "kind must be text"),
        (b'{"t":-1,"venue":"a","kind":"ws","raw":""}', "t must be a time"),
        (b'{"t":1,"venue":"a","kind":"ws"}', "venue, raw and path must be text"),
        (b'{"t":1,"kind":"lost"}', "venue, raw and path must be text"),
    ],
)
@PACKED
def test_a_line_that_is_none_ends_the_tape(
    tmp_path: Path, line: bytes, words: str, pack: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "tape"
    path.write_bytes(pack(GOOD + b"\n" + line + b"\n" + GOOD + b"\n"))
    lines, end = what_is_there(path)
    assert [each.raw for each in lines] == [b"{}"]
    assert words in end and f"{path}:2" in end


@PACKED
def test_13_lines_of_unknown_kinds_are_skipped(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    unknown = b'{"t":1,"venue":"a","kind":"tcp","raw":""}\n{"kind":"binary","data":"AA=="}\n'
    lost = b'{"t":2,"venue":"a","kind":"lost"}\n'
    (tmp_path / "tape").write_bytes(pack(unknown + GOOD + b"\n" + lost + unknown))
    lines, end = what_is_there(tmp_path / "tape")
    assert lines == [TapeLine(1, "binance", "ws", b"{}"), TapeLine(2, "a", "lost", b"")]
    assert end == ""


def small_tape(path: Path) -> tuple[list[TapeLine], list[int]]:
    """Four frames of three lines each: the lines, and where each frame ends."""
    pack, lines, ends = packer(path.name), (LINES * 3)[:12], []
    with path.open("wb") as file:
        for at in range(0, 12, 3):
            file.write(pack(b"".join(map(TapeWriter._format, lines[at : at + 3]))))
            ends.append(file.tell())
    return lines, ends


@NAMES
def test_13_a_tape_cut_at_any_byte_is_read_to_there(tmp_path: Path, name: str) -> None:
    (whole, ends), path = small_tape(tmp_path / name), tmp_path / "cut"
    data = (tmp_path / name).read_bytes()
    for size in range(len(data)):
        path.write_bytes(data[:size])
        lines, end = what_is_there(path)
        frames = sum(each <= size for each in ends)
        assert lines == whole[: len(lines)] and len(lines) >= 3 * frames
        assert end.startswith(str(path)) is (size not in ends)
    assert f"{path}:{len(lines) + 1}: cut short" in end


def test_13_a_flipped_byte_never_makes_another_line(tmp_path: Path) -> None:
    (whole, ends), path = small_tape(tmp_path / "t.zst"), tmp_path / "flipped"
    data = (tmp_path / "t.zst").read_bytes()
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :])
        lines, end = what_is_there(path)
        frames = sum(each <= at for each in ends)
        assert lines == whole[: len(lines)] and len(lines) >= 3 * frames
        assert end or len(lines) == len(whole)


def test_13_a_flipped_byte_of_an_old_tape_is_named(tmp_path: Path) -> None:
    small_tape(tmp_path / "t.gz")
    data, path = (tmp_path / "t.gz").read_bytes(), tmp_path / "flipped"
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :])
        what_is_there(path)  # no error but its own


def test_a_line_that_is_cut_short_is_none(tmp_path: Path) -> None:
    """The end of the text itself is not damaged: whoever copied it cut the text."""
    (tmp_path / "tape").write_bytes(zstd(GOOD + b"\n" + GOOD[:-9]))
    lines, end = what_is_there(tmp_path / "tape")
    assert len(lines) == 1 and "tape:2: not JSON" in end
    (tmp_path / "tape").write_bytes(zstd(GOOD + b"\n" + GOOD))
    assert len(what_is_there(tmp_path / "tape")[0]) == 2


def test_what_is_no_tape(tmp_path: Path) -> None:
    with pytest.raises(TapeError, match="No such file"):
        list(read_tape(tmp_path / "absent"))
    (tmp_path / "plain").write_text("{}\n")
    with pytest.raises(TapeError, match="plain: it is neither zstd nor gzip"):
        list(TapeReader(tmp_path / "plain"))
    (tmp_path / "empty").touch()
    with pytest.raises(TapeError, match="empty: the file is empty"):
        list(TapeReader(tmp_path / "empty"))
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(TapeError, match="fifo is no regular file"):
        list(TapeReader(tmp_path / "fifo"))


def test_13_a_tape_of_empty_lines_takes_no_more_memory_than_its_text() -> None:
    text_bytes = 1 << 20
    lines = split_lines(iter([b"\n" * text_bytes]), 10)
    tracemalloc.start()
    assert next(lines) == b""
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 2 * text_bytes


def test_a_long_line_is_no_tape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tapes, "LINE_BYTES_MAX", 1000)
    (tmp_path / "tape").write_bytes(zstd(GOOD + b"\n" + b"x" * 5000))
    lines, end = what_is_there(tmp_path / "tape")
    assert len(lines) == 1 and "tape:2: longer than 1000 bytes" in end
