"""A tape's text in blocks: the same lines as one by one, however it is cut, and the same ends."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import zstandard

from net.tape import blocks as blocks_of_tapes
from net.tape.blocks import TapeBlocks
from net.tape.tape import TapeError, TapeLine, TapeReader

LINES = [
    f'{{"t":{number + 1},"venue":"binance","kind":"ws","raw":"{"x" * (number * 7 % 40)}"}}'
    for number in range(60)
]


def taken(path: Path) -> tuple[list[TapeLine], str]:
    """All lines by way of blocks, and where the tape ends."""
    blocks, lines = TapeBlocks(path), []
    for block in blocks:
        assert block
        for number, text in enumerate(block.rstrip(b"\n").split(b"\n")):
            line = blocks.line(text, number)
            if line is not None:
                lines.append(line)
    return lines, blocks.end


def read(path: Path) -> tuple[list[TapeLine], str]:
    reader = TapeReader(path)
    return list(reader), reader.end


@pytest.mark.parametrize("block_bytes", [1, 100, 1000, 1 << 20])
@pytest.mark.parametrize("end", ["\n", ""])
def test_blocks_have_the_lines_that_a_reader_has(
    tmp_path: Path, block_bytes: int, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks_of_tapes, "BLOCK_BYTES", block_bytes)
    tape = tmp_path / "t.zst"
    text = "\n".join(LINES).encode() + end.encode()
    pack = zstandard.ZstdCompressor(write_checksum=True).compress
    tape.write_bytes(b"".join(pack(text[at : at + 333]) for at in range(0, len(text), 333)))
    assert taken(tape) == read(tape)
    assert len(taken(tape)[0]) == len(LINES)


def test_a_tape_that_is_cut_short_ends_where_the_readers_does(tmp_path: Path) -> None:
    text = "\n".join(LINES).encode() + b"\n"
    packed, tape = gzip.compress(text, 1), tmp_path / "t.gz"
    for size in range(200, len(packed), 37):
        tape.write_bytes(packed[:size])
        try:
            expected = read(tape)
        except TapeError:
            with pytest.raises(TapeError):
                taken(tape)
            continue
        assert taken(tape) == expected, size
    assert expected[1].endswith(": cut short")


def test_what_is_no_tape_is_one_line_that_names_it(tmp_path: Path) -> None:
    for content, words in ((b"", "the file is empty"), (b"plain text", "neither zstd nor gzip")):
        tape = tmp_path / "t.gz"
        tape.write_bytes(content)
        with pytest.raises(TapeError, match=words):
            taken(tape)
    with pytest.raises(TapeError, match="absent"):
        taken(tmp_path / "absent.gz")


def test_a_line_that_is_none_is_named_by_its_number(tmp_path: Path) -> None:
    tape = tmp_path / "t.gz"
    tape.write_bytes(gzip.compress("\n".join([*LINES, "nonsense"]).encode()))
    with pytest.raises(TapeError, match=r"t\.gz:61: not JSON"):
        taken(tape)
