"""The journal: what is written is read back, and whatever else is in the files is told apart."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.compiling.jit import BOUNDS_CHECKED, JIT_OFF, compile_kernels
from engine.maker import journal_codes as J
from engine.maker import journal_records as JR
from net.journal.files import JournalError, Record, header_page, read_header, segment_path
from net.journal.reader import End, JournalReader
from net.journal.writer import JournalWriter
from tests.net.journal.rig import (
    INSTRUMENTS,
    SMALL,
    START_NS,
    VENUES,
    abandon,
    journal_of,
    nth,
    read,
    write,
    writer_of,
)

pytestmark = pytest.mark.kernel

WORDS = st.integers(-(2**63), 2**63 - 1)


@pytest.fixture(autouse=True)
def _kernels() -> None:
    """The journal's few kernels: nothing here needs the engine's."""
    compile_kernels()


# --- round trips ---------------------------------------------------------------------------------


@given(st.lists(st.lists(WORDS, min_size=14, max_size=14), max_size=30), st.integers(2, 9))
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[int]], n: int
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    writer = writer_of(folder, n)
    for sequence, row in enumerate(rows, 1):
        writer.tend()
        # The codes are a table's, and one of them is the end's note.
        row[0] = J.EVENT_SUBMIT + row[0] % 10
        assert writer.append(Record(*row)) == sequence
    writer.close(7)
    records, end, ends = read(folder)
    expected = [Record._make([*row, at]) for at, row in enumerate(rows, 1)]
    assert records[:-1] == expected
    assert records[-1] == Record(J.EVENT_JOURNAL_CLOSED, 7, sequence=len(rows) + 1)
    assert (end.reason, end.sequence, ends) == (End.CLOSED, len(rows) + 1, [])


def test_the_header_says_what_was_given(tmp_path: Path) -> None:
    writer = writer_of(tmp_path)
    header = read_header(segment_path(tmp_path, 2))
    assert (header.instruments, header.venues) == (INSTRUMENTS, VENUES)
    assert (header.epoch, header.segment, header.first_sequence) == (1, 2, SMALL + 1)
    assert (header.start_ns, header.writer_pid) == (START_NS, os.getpid())
    writer.close(0)
    assert not segment_path(tmp_path, 2).exists(), "a segment that was not needed is removed"


def test_runs_follow_each_other_and_nothing_is_overwritten(tmp_path: Path) -> None:
    journal_of(tmp_path, 11)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    killed = writer_of(tmp_path)
    assert killed.epoch == 2
    write(killed, 1, 3)
    abandon(killed)
    last = writer_of(tmp_path)
    write(last, 1, 2 * SMALL)
    records, end, ends = read(tmp_path)
    assert [record.sequence for record in records] == [*range(1, 13), 1, 2, 3, *range(1, 17)]
    assert [(each.reason, each.epoch, each.sequence) for each in [*ends, end]] == [
        (End.CLOSED, 1, 12), (End.OPEN, 2, 3), (End.OPEN, 3, 16),
    ]  # fmt: skip
    assert all(path.read_bytes() == raw for path, raw in before.items())
    last.close(0)


def test_a_segment_that_was_not_finished_is_cleared_away(tmp_path: Path) -> None:
    left = tmp_path / "JOURNAL-000001.pollux.unfinished"
    left.write_bytes(b"x")
    writer = writer_of(tmp_path)
    assert not left.exists() and writer.epoch == 1
    writer.close(0)


# --- no room -------------------------------------------------------------------------------------


def test_without_a_next_segment_append_refuses_and_counts(tmp_path: Path) -> None:
    writer = writer_of(tmp_path)
    for number in range(1, 2 * SMALL + 1):
        assert writer.append(nth(number)) == number
    assert [writer.append(nth(99)) for _ in range(3)] == [JR.JOURNAL_FULL] * 3
    assert (writer.refused, writer.sequence) == (3, 2 * SMALL)
    assert writer.tend() and not writer.tend()
    assert writer.append(nth(5)) == 2 * SMALL + 2
    records, end, _ = read(tmp_path)
    assert records[: 2 * SMALL] == [nth(number) for number in range(1, 2 * SMALL + 1)]
    lost, after = records[2 * SMALL :]
    assert (lost.kind, lost.reason, lost.time_ns) == (J.EVENT_JOURNAL_LOST, 3, nth(5).time_ns)
    assert after == nth(5)._replace(sequence=2 * SMALL + 2)
    assert end.reason is End.OPEN
    while writer.append(nth(6)) != JR.JOURNAL_FULL:
        pass
    assert writer.tend() and writer.append(nth(7)) > 0
    records, _, _ = read(tmp_path)
    assert [each.reason for each in records if each.kind == J.EVENT_JOURNAL_LOST] == [3, 1]
    writer.close(0)
    assert writer.append(nth(1)) == JR.JOURNAL_FULL, "closed"


def no_space(descriptor: int, offset: int, size: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_an_error_of_the_segment_and_not_of_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = writer_of(tmp_path)
    write(writer, 1, SMALL)
    assert writer.append(nth(SMALL + 1)) == SMALL + 1
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", no_space)
        with pytest.raises(JournalError, match=r"000003.*No space left .*takes 5120 bytes"):
            writer.tend()
        for number in range(SMALL + 2, 2 * SMALL + 1):
            assert writer.append(nth(number)) == number
        assert writer.append(nth(0)) == JR.JOURNAL_FULL
        with pytest.raises(JournalError, match="No space left"):
            writer.close(0)
        with pytest.raises(JournalError, match="No space left"):
            writer_of(tmp_path / "other")
    assert list((tmp_path / "other").iterdir()) == []
    assert sorted(path.name for path in tmp_path.glob("J*")) == [
        "JOURNAL-000001.pollux", "JOURNAL-000002.pollux",
    ]  # fmt: skip
    records, end, _ = read(tmp_path)
    assert len(records) == 2 * SMALL and end.reason is End.OPEN


def test_a_file_size_limit_is_an_error(tmp_path: Path) -> None:
    writer = writer_of(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    write(writer, 1, SMALL)
    writer.append(nth(SMALL + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(JournalError, match="File too large"):
            writer.tend()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert writer.tend()
    writer.close(0)


# --- damage --------------------------------------------------------------------------------------


@given(st.data())
def test_every_flip_within_a_record_is_found(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = journal_of(tmp_path_factory.mktemp("journal"), 5)
    number = data.draw(st.integers(1, 6), "record")
    bit = data.draw(st.integers(0, JR.RECORD_BYTES * 8 - 1), "bit")
    raw = bytearray(path.read_bytes())
    raw[JR.HEADER_BYTES + (number - 1) * JR.RECORD_BYTES + bit // 8] ^= 1 << bit % 8
    path.write_bytes(raw)
    records, end, _ = read(path.parent)
    assert records == [nth(each) for each in range(1, number)]
    assert end.reason is End.DAMAGED and end.is_damage and end.sequence == number - 1
    assert f"record {number} of the file" in str(end)


def test_every_single_bit_of_one_record_counts() -> None:
    words = np.array([*nth(3)[:14], 3, 0], np.int64)
    sums = {JR.checksum_of(words, JR.RECORD_CHECKSUM, 1)}
    for bit in range(JR.RECORD_CHECKSUM * 64):
        flipped = words.copy()
        flipped.view(np.uint64)[bit // 64] ^= np.uint64(1 << bit % 64)
        sums.add(JR.checksum_of(flipped, JR.RECORD_CHECKSUM, 1))
    sums.add(JR.checksum_of(words, JR.RECORD_CHECKSUM, 2))
    assert len(sums) == JR.RECORD_CHECKSUM * 64 + 2


def test_two_flips_of_the_same_place_do_not_cancel() -> None:
    """The highest bits are those that a multiplication alone would not spread."""
    seen = set()
    for first in range(JR.RECORD_CHECKSUM):
        for second in range(first):
            words = np.zeros(JR.RECORD_WORDS, np.int64)
            words[[first, second]] = -(2**63)
            seen.add(JR.checksum_of(words, JR.RECORD_CHECKSUM, 1))
    assert len(seen) == JR.RECORD_CHECKSUM * (JR.RECORD_CHECKSUM - 1) // 2


def test_zeros_are_no_record() -> None:
    for epoch in range(1, 50):
        assert JR.count_valid(np.zeros(JR.RECORD_WORDS, np.int64), 1, epoch, 0) == 0


def test_a_cut_at_every_byte_of_the_last_records_is_recognised(tmp_path: Path) -> None:
    path = journal_of(tmp_path, 4)
    whole = path.read_bytes()
    step = 7 if JIT_OFF or BOUNDS_CHECKED else 1
    for size in range(JR.HEADER_BYTES + 2 * JR.RECORD_BYTES, len(whole), step):
        path.write_bytes(whole[:size])
        records, end, _ = read(tmp_path)
        kept = min((size - JR.HEADER_BYTES) // JR.RECORD_BYTES, 5)
        assert [record.sequence for record in records] == list(range(1, kept + 1))
        assert end.reason is End.TRUNCATED and f"{size} bytes of {len(whole)}" in str(end)


@pytest.mark.parametrize("stored", range(1, JR.RECORD_CHECKSUM + 1))
def test_a_record_that_was_cut_short_is_torn(tmp_path: Path, stored: int) -> None:
    """The first so many words are there, the checksum is not."""
    writer = writer_of(tmp_path)
    write(writer, 1, 3)
    path = segment_path(tmp_path, 1)
    half = np.array([*nth(4)], np.int64)[:stored].tobytes()
    raw = bytearray(path.read_bytes())
    at = JR.HEADER_BYTES + 3 * JR.RECORD_BYTES
    raw[at : at + len(half)] = half
    path.write_bytes(raw)
    abandon(writer)
    records, end, _ = read(tmp_path)
    assert records == [nth(1), nth(2), nth(3)]
    assert end.reason is End.TORN and not end.is_damage
    again = writer_of(tmp_path)
    again.append(nth(1))
    records, _, ends = read(tmp_path)
    assert [record.sequence for record in records] == [1, 2, 3, 1]
    assert [each.reason for each in ends] == [End.TORN]
    again.close(0)


def test_a_hole_is_a_gap(tmp_path: Path) -> None:
    path = journal_of(tmp_path, 5)
    raw = bytearray(path.read_bytes())
    at = JR.HEADER_BYTES + 2 * JR.RECORD_BYTES
    raw[at : at + JR.RECORD_BYTES] = bytes(JR.RECORD_BYTES)
    path.write_bytes(raw)
    records, end, _ = read(tmp_path)
    assert len(records) == 2 and end.reason is End.GAP


def test_records_that_changed_places_are_a_gap(tmp_path: Path) -> None:
    path = journal_of(tmp_path, 5)
    raw = path.read_bytes()
    cut = [JR.HEADER_BYTES + number * JR.RECORD_BYTES for number in (2, 3, 4)]
    path.write_bytes(raw[: cut[0]] + raw[cut[1] : cut[2]] + raw[cut[0] : cut[1]] + raw[cut[2] :])
    records, end, _ = read(tmp_path)
    assert len(records) == 2 and end.reason is End.GAP and "has the number 4" in str(end)


def test_records_behind_an_early_end_in_the_next_segment_are_a_gap(tmp_path: Path) -> None:
    path = journal_of(tmp_path, SMALL + 3)
    raw = bytearray(path.read_bytes())
    raw[-JR.RECORD_BYTES :] = bytes(JR.RECORD_BYTES)
    path.write_bytes(raw)
    records, end, _ = read(tmp_path)
    assert len(records) == SMALL - 1 and end.reason is End.GAP


def test_a_missing_segment_is_a_gap(tmp_path: Path) -> None:
    journal_of(tmp_path, 3 * SMALL)
    segment_path(tmp_path, 2).unlink()
    records, end, _ = read(tmp_path)
    assert len(records) == SMALL and end.reason is End.GAP
    assert "JOURNAL-000002.pollux is not there" in str(end)


def test_a_record_of_another_run_does_not_match(tmp_path: Path) -> None:
    first = journal_of(tmp_path, 2)
    second = writer_of(tmp_path)
    write(second, 1, 2)
    second.close(0)
    path = segment_path(tmp_path, 2)
    raw = bytearray(path.read_bytes())
    record = slice(JR.HEADER_BYTES, JR.HEADER_BYTES + JR.RECORD_BYTES)
    assert raw[record] != first.read_bytes()[record]
    raw[record] = first.read_bytes()[record]
    path.write_bytes(raw)
    _, end, ends = read(tmp_path)
    assert (end.reason, end.epoch, len(ends)) == (End.DAMAGED, 2, 1)


# --- what is no journal --------------------------------------------------------------------------


def altered(page: bytes, word: int, value: int) -> bytes:
    words = np.frombuffer(page[: JR.HEADER_BYTES], np.int64).copy()
    words[word] = value
    return words.tobytes() + page[JR.HEADER_BYTES :]


@pytest.mark.parametrize("number", [1, 2])
def test_a_file_that_is_no_segment_is_named(tmp_path: Path, number: int) -> None:
    """The first one is an error of the reader, a later one is the end of the journal."""
    journal_of(tmp_path, SMALL + 2)
    path = segment_path(tmp_path, number)
    page = path.read_bytes()
    other = writer_of(tmp_path / "other")
    other.close(0)
    cases = [
        (b"", End.FOREIGN, "is not a Pollux journal"),
        (b"x" * 9000, End.FOREIGN, "is not a Pollux journal"),
        (bytes(9000), End.FOREIGN, "is not a Pollux journal"),
        (page[:4000], End.FOREIGN, "ends within the header, after 4000 bytes"),
        (altered(page, JR.HEADER_VERSION, 2), End.VERSION, "version 2, this program reads 1"),
        (altered(page, JR.HEADER_EPOCH, 9), End.FOREIGN, "the header is damaged"),
        (segment_path(tmp_path, 3 - number).read_bytes(), End.FOREIGN, "under another's name"),
    ]
    for content, reason, words in cases:
        path.write_bytes(content)
        if number == 1:
            with pytest.raises(JournalError, match=words):
                JournalReader(tmp_path)
        else:
            records, end, _ = read(tmp_path)
            assert len(records) == SMALL
            assert (end.reason, end.path) == (reason, path) and words in str(end)
            with pytest.raises(JournalError, match=words):
                writer_of(tmp_path)


@given(st.integers(0, JR.HEADER_BYTES * 8 - 1))
def test_every_flip_within_the_header_is_found(
    tmp_path_factory: pytest.TempPathFactory, bit: int
) -> None:
    path = journal_of(tmp_path_factory.mktemp("journal"), 1)
    raw = bytearray(path.read_bytes())
    raw[bit // 8] ^= 1 << bit % 8
    path.write_bytes(raw)
    with pytest.raises(JournalError):
        JournalReader(path.parent)


def test_folders_without_a_journal(tmp_path: Path) -> None:
    (tmp_path / "JOURNAL-1.pollux").touch()
    with pytest.raises(JournalError, match="has no journal"):
        JournalReader(tmp_path)
    with pytest.raises(JournalError, match="No such file"):
        JournalReader(tmp_path / "absent")
    with pytest.raises(JournalError, match="is no folder"):
        writer_of(tmp_path / "JOURNAL-1.pollux")


@pytest.mark.parametrize("mask", [0, 0o027, 0o077])
def test_modes_are_what_they_are_whatever_the_umask(tmp_path: Path, mask: int) -> None:
    """Issue 13.10."""
    folder = tmp_path / "journal"
    before = os.umask(mask)
    try:
        writer_of(folder).close(0)
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o777 == 0o750
    assert segment_path(folder, 1).stat().st_mode & 0o777 == 0o640


def test_a_folder_that_everybody_may_write_to_is_refused(tmp_path: Path) -> None:
    """Another user could plant its files."""
    tmp_path.chmod(0o777)
    with pytest.raises(JournalError, match=r"everybody may write there \(mode 0777\): chmod o-w"):
        writer_of(tmp_path)


@pytest.mark.timeout(10)
def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    """Issue 13.9: a pipe of a segment's name."""
    os.mkfifo(segment_path(tmp_path, 1))
    for act in (writer_of, JournalReader):
        with pytest.raises(JournalError, match="is no regular file"):
            act(tmp_path)


@pytest.mark.parametrize(
    ("instruments", "records", "words"),
    [
        (("",), SMALL, "no name"),
        (("a\0b",), SMALL, "no name"),
        (("x" * 5000,), SMALL, "5018 bytes"),
        (("a",), 1, "2 to"),
        (("a",), 1 << 40, "2 to"),
    ],
)
def test_what_cannot_be_written_is_refused(
    tmp_path: Path, instruments: tuple[str, ...], records: int, words: str
) -> None:
    with pytest.raises(JournalError, match=words):
        JournalWriter(tmp_path, instruments, VENUES, 0, records)
    assert list(tmp_path.iterdir()) == []
    writer_of(tmp_path).close(0)


def test_names_that_just_fit(tmp_path: Path) -> None:
    room = JR.NAMES_BYTES_MAX - sum(len(name) + 1 for name in VENUES)
    JournalWriter(tmp_path, ["x" * (room - 1)], VENUES, 0, SMALL).close(0)
    assert read_header(segment_path(tmp_path, 1)).instruments == ("x" * (room - 1),)
    with pytest.raises(JournalError, match=f"take {JR.NAMES_BYTES_MAX + 1} bytes"):
        header_page(
            read_header(segment_path(tmp_path, 1)).__class__(
                1, 0, 1, 1, SMALL, 1, ("x" * room,), VENUES
            )
        )
