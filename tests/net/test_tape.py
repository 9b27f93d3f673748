"""Tapes: what is written is read back; what is no tape is refused with file and line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from net.tape import TapeError, TapeLine, TapeWriter, read_tape

LINES = [
    TapeLine(1_700_000_000_000_000_001, "binance", "ws", '{"a":"é"}'.encode()),
    TapeLine(1_700_000_000_000_000_002, "bitstamp", "rest", b"<html>", "/api/v2/markets/"),
    TapeLine(1_700_000_000_000_000_003, "bitstamp", "sent", b'{"event":"bts:heartbeat"}'),
]


def test_round_trip(tmp_path: Path) -> None:
    writer = TapeWriter(tmp_path / "t.jsonl.gz")
    for line in LINES:
        writer.put(line)
    writer.close()
    assert list(read_tape(tmp_path / "t.jsonl.gz")) == LINES
    assert (writer.lines, writer.dropped, writer.error) == (3, 0, "")


def test_a_recording_is_never_overwritten(tmp_path: Path) -> None:
    TapeWriter(tmp_path / "t.jsonl.gz").close()
    with pytest.raises(TapeError, match="is there already"):
        TapeWriter(tmp_path / "t.jsonl.gz")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"nonsense", "not JSON"),
        (b"[]", "not an object"),
        (b'{"t":-1,"venue":"a","kind":"ws","raw":""}', "t must be a time"),
        (b'{"t":1,"venue":"a","kind":"ws"}', "venue, raw and path must be text"),
        (b'{"t":1,"venue":"a","kind":"tcp","raw":""}', "kind 'tcp'"),
    ],
)
def test_a_line_that_is_none_is_named(tmp_path: Path, line: bytes, words: str) -> None:
    good = b'{"t":1,"venue":"binance","kind":"ws","raw":"{}"}\n'
    path = tmp_path / "t.jsonl.gz"
    path.write_bytes(gzip.compress(good + line + b"\n"))
    lines = read_tape(path)
    assert next(lines).raw == b"{}"
    with pytest.raises(TapeError, match=words) as caught:
        list(lines)
    assert f"{path}:2" in str(caught.value)


def test_what_is_no_gzip_file_or_is_cut_short(tmp_path: Path) -> None:
    with pytest.raises(TapeError, match="No such file"):
        list(read_tape(tmp_path / "absent"))
    (tmp_path / "plain").write_text("{}\n")
    with pytest.raises(TapeError, match="gzip"):
        list(read_tape(tmp_path / "plain"))
    whole = gzip.compress(b'{"t":1,"venue":"b","kind":"ws","raw":"%s"}\n' % (b"x" * 5000))
    (tmp_path / "cut").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TapeError):
        list(read_tape(tmp_path / "cut"))
