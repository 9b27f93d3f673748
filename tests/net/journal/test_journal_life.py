"""The journal's lives: writers that are killed, readers beside them, and the command."""

from __future__ import annotations

import mmap
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import orjson
import pytest

from engine.compiling.jit import JIT_OFF, compile_kernels
from engine.maker import journal_codes as J
from engine.maker import journal_records as JR
from engine.maker.order_layout import SELL
from net.journal.files import Header, JournalError, Record, segment_path
from net.journal.lines import json_line, plain_line
from net.journal.reader import End, JournalReader
from net.journal.writer import JournalWriter
from tests.e2e.rig import command
from tests.net.journal.rig import START_NS, abandon, journal_of, nth, read, write, writer_of
from tests.test_command_line import pollux

pytestmark = pytest.mark.kernel


@pytest.fixture(autouse=True)
def _kernels() -> None:
    """The journal's few kernels: nothing here needs the engine's."""
    compile_kernels()


# --- writers that die, readers beside them -------------------------------------------------------


def append_until_killed(folder: Path, pause_s: float) -> None:
    """Append nth(1), nth(2), ..., telling in a mapped word which one is done; a pause after 32."""
    with open(folder / "done", "r+b") as file:
        done = np.frombuffer(mmap.mmap(file.fileno(), 8), np.int64)
    writer = writer_of(folder / "journal", 64)
    number = 0
    while True:
        number += 1
        if number % 32 == 0:
            writer.tend()
            time.sleep(pause_s)
        if writer.append(nth(number)) != number:
            os._exit(3)
        done[0] = number


def forked(folder: Path, pause_s: float = 0.0) -> int:
    """A child that appends; its pid."""
    (folder / "done").write_bytes(bytes(8))
    pid = os.fork()
    if pid == 0:
        try:
            append_until_killed(folder, pause_s)
        finally:
            os._exit(4)
    return pid


def done_of(folder: Path) -> int:
    return int.from_bytes((folder / "done").read_bytes(), "little")


def test_a_killed_writer_loses_nothing_and_nothing_is_made_up(tmp_path: Path) -> None:
    """Each life ends at another moment; all of them write into one folder."""
    chance = random.Random(1)
    lives: list[int] = []
    for _ in range(25):
        pid = forked(tmp_path)
        wanted = 1 + chance.randrange(400)
        deadline_s = time.monotonic() + 30
        while done_of(tmp_path) < wanted and time.monotonic() < deadline_s:
            pass
        time.sleep(chance.random() * 1e-3)
        os.kill(pid, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        lives.append(done_of(tmp_path))
    records, end, ends = read(tmp_path / "journal")
    assert [each.epoch for each in [*ends, end]] == list(range(1, 26))
    at = 0
    for done, life in zip(lives, [*ends, end], strict=True):
        # One more may have been appended before the child could tell.
        assert done >= 1 and life.sequence in (done, done + 1)
        assert life.reason in (End.OPEN, End.TORN)
        assert records[at : at + life.sequence] == [nth(k) for k in range(1, life.sequence + 1)]
        at += life.sequence
    assert at == len(records)


def test_reading_while_another_process_writes(tmp_path: Path) -> None:
    # A reader never comes to the end of what grows faster than it reads.
    pid = forked(tmp_path, 0.01 if JIT_OFF else 0.001)
    try:
        deadline_s = time.monotonic() + 30
        while done_of(tmp_path) < 1 and time.monotonic() < deadline_s:
            time.sleep(0.001)
        reader = JournalReader(tmp_path / "journal")
        wanted = 300 if JIT_OFF else 3000
        seen, rounds = 0, 0
        while (seen < wanted or rounds < 2) and time.monotonic() < deadline_s:
            done = done_of(tmp_path)
            for batch in reader.read(is_following=bool(rounds % 2)):
                assert batch == [nth(seen + 1 + k) for k in range(len(batch))]
                seen += len(batch)
            assert reader.end is not None and not reader.end.is_damage, str(reader.end)
            assert seen >= done, "what was done before the look is there"
            rounds += 1
        assert seen >= wanted and rounds > 1 and reader.header.segment > 2
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_segments_change_under_load_and_nothing_is_lost(tmp_path: Path) -> None:
    """One thread appends as fast as it can, the other one makes segments ready."""
    writer = writer_of(tmp_path, 256)
    ended = threading.Event()
    errors: list[BaseException] = []

    def keep() -> None:
        try:
            while not ended.is_set():
                writer.tend()
        except BaseException as error:
            errors.append(error)

    keeper = threading.Thread(target=keep)
    keeper.start()
    given: list[Record] = []
    total = 2_000 if JIT_OFF else 20_000
    refused = 0
    while len(given) < total:
        record = Record(J.EVENT_ACK, len(given), order=len(given))
        if writer.append(record) > 0:
            given.append(record)
        else:
            refused += 1
            time.sleep(0)
    ended.set()
    keeper.join()
    writer.close(0)
    records, end, _ = read(tmp_path)
    assert errors == [] and end.reason is End.CLOSED
    assert writer.refused == refused
    assert [record.sequence for record in records] == list(range(1, len(records) + 1))
    assert [each._replace(sequence=0) for each in records if each.kind == J.EVENT_ACK] == given
    lost = [each.reason for each in records if each.kind == J.EVENT_JOURNAL_LOST]
    assert sum(lost) == refused
    assert len(list(tmp_path.iterdir())) == -(-len(records) // 256)


def test_two_writers_are_refused_until_the_first_one_is_gone(tmp_path: Path) -> None:
    first = writer_of(tmp_path / "journal")
    with pytest.raises(JournalError, match="another journal is being written here"):
        writer_of(tmp_path / "journal")
    first.close(0)
    pid = forked(tmp_path)
    deadline_s = time.monotonic() + 30
    while done_of(tmp_path) < 1 and time.monotonic() < deadline_s:
        time.sleep(0.001)
    with pytest.raises(JournalError, match="another journal is being written here"):
        writer_of(tmp_path / "journal")
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    last = writer_of(tmp_path / "journal")
    assert last.epoch == 3
    last.close(0)


def test_following_across_segments_and_runs(tmp_path: Path) -> None:
    """What one look at a time finds, whenever it comes, is what is there in the end."""
    followed: list[Record] = []
    reader: JournalReader | None = None
    for run in range(1, 4):
        writer = writer_of(tmp_path)
        reader = reader or JournalReader(tmp_path)
        for number in range(1, 21):
            writer.tend()
            writer.append(nth(number))
            if number % (2 + run) == 0:
                followed += [each for batch in reader.read(is_following=True) for each in batch]
                assert len(followed) >= number and reader.end is not None
                assert reader.end.reason is End.OPEN
        if run == 2:
            abandon(writer)
        else:
            writer.close(0)
    assert reader is not None
    followed += [each for batch in reader.read(is_following=True) for each in batch]
    records, end, ends = read(tmp_path)
    assert followed == records and len(records) == 62
    assert (reader.end, reader.ends) == (end, ends)


def test_a_run_that_goes_on_and_ends_between_two_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader found nothing more; before it looks for the next segment, the next run begins."""
    writer = writer_of(tmp_path)
    write(writer, 1, 2)
    reader = JournalReader(tmp_path)
    look = reader._open_next
    later: list[JournalWriter] = []

    def slow_look(number: int, reason: End) -> tuple[BinaryIO, Header]:
        if not later:
            write(writer, 3, 4)
            writer.close(START_NS)
            later.append(writer_of(tmp_path))
            write(later[0], 1, 1)
        return look(number, reason)

    monkeypatch.setattr(reader, "_open_next", slow_look)
    records = [record for batch in reader.read() for record in batch]
    assert [record.sequence for record in records] == [1, 2, 3, 4, 5, 1]
    assert [(end.reason, end.sequence) for end in reader.ends] == [(End.CLOSED, 5)]
    later[0].close(0)


def test_a_file_that_has_the_name_already_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However it came there: the names are counted up, but the count is not trusted."""
    taken = segment_path(tmp_path, 1)
    taken.write_bytes(b"somebody's")
    monkeypatch.setattr("net.journal.writer.segment_numbers", lambda folder: [])
    with pytest.raises(JournalError, match="File exists"):
        writer_of(tmp_path)
    assert taken.read_bytes() == b"somebody's" and list(tmp_path.iterdir()) == [taken]


# --- the command ---------------------------------------------------------------------------------


@pytest.fixture
def shown(tmp_path: Path) -> Iterator[Path]:
    """A journal of three records and its end, in tmp_path/journal."""
    folder = tmp_path / "journal"
    writer = writer_of(folder)
    writer.append(Record(J.EVENT_SUBMIT, START_NS + 5, 77, 1, 1, 3, 42, SELL, 10**6, 250))
    writer.append(Record(J.EVENT_REJECT, START_NS, reason=J.REASON_WOULD_TAKE, state_before=2))
    writer.append(Record(900, -(2**63), instrument=9, venue=-1, side=5, reason=901))
    writer.close(START_NS)
    yield folder


@pytest.mark.once
def test_plain_lines(shown: Path) -> None:
    done = pollux("journal", "journal", cwd=shown.parent)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    last = "bitstamp 3 42 sell 1000000 250 0 FREE>FREE none"
    assert lines[0] == f"1 1 2023-11-14T22:13:20.000000005Z submit 77 ETH-€ {last}".split()
    assert lines[1][3] == "reject" and lines[1][-2:] == ["OPEN>FREE", "would-take"]
    assert (
        lines[2][2:7] == ["1677-09-21T00:12:43.145224192Z", "900", "0", "9", "-1"]
        and lines[2][-1] == "901"
    )
    assert lines[3][3] == "journal-closed" and len(lines) == 4
    assert done.stderr.splitlines() == [
        "journal/JOURNAL-000001.pollux: run 1 ends after record 4: its writer closed it"
    ]


HEADER = Header(1, START_NS, 1, 1, 8, 9, ("BTC-USD",), ("binance",), ("BTCUSDT",))


@pytest.mark.parametrize("kind", [J.EVENT_FILL, J.EVENT_ACCOUNT])
@pytest.mark.parametrize("execution", [1, 2, J.REASON_OPERATOR, 123_456])
def test_an_execution_is_a_number_and_no_reason(kind: int, execution: int) -> None:
    """On paper they count from 1, where the reasons' numbers are."""
    record = Record(kind, START_NS, reason=execution)
    assert plain_line(HEADER, record).split()[-1] == str(execution)
    assert orjson.loads(json_line(HEADER, record))["reason"] == str(execution)


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (Record(J.EVENT_FILL, order=5, state_before=4, state_after=8), "PENDING_CANCEL>CANCELED 0"),
        (Record(J.EVENT_ACCOUNT, state_before=1, state_after=1), "live,orders-may-be-open 0"),
        (Record(J.EVENT_SETTLED), "paper none"),
        (Record(J.EVENT_RESULT, state_after=20_000), "paper,day=20000 none"),
        (Record(J.EVENT_KILL, reason=J.REASON_OPERATOR), "0 - operator"),
        (
            Record(J.EVENT_FEE, order=5, lots=7, filled_lots=9, reason=J.REASON_FEE_IN_QUOTE),
            "fee=7 value=9 FREE>FREE fee-in-quote",
        ),
    ],
)
def test_states_have_names_and_money_is_told_from_lots(record: Record, words: str) -> None:
    assert " ".join(plain_line(HEADER, record).split()).endswith(words)


@pytest.mark.once
def test_json_lines_are_exact(shown: Path) -> None:
    done = pollux("journal", "journal", "--json", cwd=shown.parent)
    lines = [orjson.loads(line) for line in done.stdout.splitlines()]
    assert lines[0] == {
        "run": 1, "sequence": 1, "kind": "submit", "time_ns": START_NS + 5, "book_sequence": 77,
        "instrument": "ETH-€", "venue": "bitstamp", "slot": 3, "order": 42, "side": "sell",
        "price_ticks": 10**6, "lots": 250, "filled_lots": 0, "state_before": 0, "state_after": 0,
        "reason": "none",
    }  # fmt: skip
    assert (lines[2]["kind"], lines[2]["time_ns"]) == ("900", -(2**63))
    assert len(lines) == 4 and done.returncode == 0


@pytest.mark.once
def test_damage_is_status_1_after_what_is_whole(shown: Path) -> None:
    path = segment_path(shown, 1)
    raw = bytearray(path.read_bytes())
    raw[JR.HEADER_BYTES + 2 * JR.RECORD_BYTES] ^= 1
    path.write_bytes(raw)
    done = pollux("journal", "journal", cwd=shown.parent)
    assert done.returncode == 1 and len(done.stdout.splitlines()) == 2
    assert done.stderr == (
        "pollux: journal/JOURNAL-000001.pollux: run 1 ends after record 2: not as it was written "
        "(the checksum of record 3 of the file is wrong)\n"
    )


@pytest.mark.once
@pytest.mark.parametrize("folder", ["absent", "empty", "foreign"])
def test_what_is_no_journal_is_status_2_and_one_line(tmp_path: Path, folder: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "JOURNAL-000001.pollux").write_text("nonsense")
    done = pollux("journal", folder, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith(f"pollux: {folder}")


@pytest.mark.once
@pytest.mark.parametrize("option", ["--json", "--follow"])
def test_a_reader_that_leaves_ends_it_quietly(tmp_path: Path, option: str) -> None:
    journal_of(tmp_path / "journal", 5_000, 4_096)
    done = pollux("journal", "journal", option, cwd=tmp_path, shell="| head -2")
    assert len(done.stdout.splitlines()) == 2 and done.returncode == 0, done.stderr
    assert done.stderr == ""


@pytest.mark.once
def test_following_prints_what_comes_and_ends_with_the_writer(tmp_path: Path) -> None:
    writer = writer_of(tmp_path / "journal")
    writer.append(nth(1))
    run = command("journal", "journal", "--follow", "--json")
    with subprocess.Popen(run, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as it:
        assert it.stdout is not None and it.stderr is not None
        assert orjson.loads(it.stdout.readline())["sequence"] == 1
        write(writer, 2, 20)
        lines = [orjson.loads(it.stdout.readline()) for _ in range(19)]
        assert [line["sequence"] for line in lines] == list(range(2, 21))
        assert it.poll() is None
        writer.close(START_NS)
        assert it.wait(30) == 0
        assert orjson.loads(it.stdout.read())["kind"] == "journal-closed"
        assert it.stderr.read().endswith(b"its writer closed it\n")


@pytest.mark.once
def test_following_ends_quietly_with_a_signal(tmp_path: Path) -> None:
    writer = writer_of(tmp_path / "journal")
    writer.append(nth(1))
    run = command("journal", "journal", "--follow")
    with subprocess.Popen(run, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as it:
        assert it.stdout is not None and it.stderr is not None
        assert it.stdout.readline()
        it.send_signal(signal.SIGINT)
        assert it.wait(30) == 0
        assert it.stderr.read() == b""
    writer.close(0)
