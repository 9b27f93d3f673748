"""The handoff: what readers may see, from this process and from others, and who may attach."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.compiling.jit import JIT_OFF
from engine.layout import layout as L
from engine.sharing.handoff import (
    READ_BUSY,
    READ_NOTHING_YET,
    READ_OVERWRITTEN,
    HandoffError,
    HandoffReader,
    HandoffWriter,
    InstrumentInfo,
    segment_path,
)
from tests.engine.rig import Rig, bitstamp_frame, bitstamp_snapshot, bitstamp_spec
from tests.engine.sharing import torn_reads as torn
from tests.engine.sharing.torn_reads import in_child

LONGEST = tuple(f"{number:c>{L.CHECKED_BY_BYTES_MAX}}" for number in range(L.VENUES_MAX))
INSTRUMENTS = (
    InstrumentInfo("BTC-USD", ("binance", "bitstamp"), 10, 1, 2),
    InstrumentInfo("é" * 32, ("v" * 32,) * L.VENUES_MAX, 50, 25, 8, checked_by=LONGEST),
)
SECONDS = 2.0


@pytest.fixture
def name() -> Iterator[str]:
    """A name of our own; whatever is left under it goes."""
    chosen = f"test-{os.getpid()}"
    yield chosen
    path = segment_path(chosen)
    for left in [path, *path.parent.glob(f"{path.name}+*")]:
        left.unlink(missing_ok=True)


@pytest.fixture
def writer(name: str) -> HandoffWriter:
    return HandoffWriter(name, INSTRUMENTS, 77)


# --- torn reads ----------------------------------------------------------------------------------


def hunt(name: str, *readers: Callable[..., None]) -> list[tuple[int, int, int]]:
    """The writer's and the readers' answers after some seconds at full speed."""
    writer = HandoffWriter(name, INSTRUMENTS[:1], 0)
    children = [in_child(torn.write, writer, SECONDS)]
    children += [in_child(reader, name, SECONDS - 0.2) for reader in readers]
    answers = []
    for process, connection in children:
        assert connection.poll(60), "a child does not answer"
        answers.append(connection.recv())
        process.join(10)
        assert process.exitcode == 0
    writer.close()
    return answers


def test_no_reader_ever_accepts_a_torn_book(name: str) -> None:
    (written, _, _), *readers = hunt(name, torn.read, torn.read)
    assert written > (50 if JIT_OFF else 100_000)
    for accepted, torn_count, _ in readers:
        assert accepted > (50 if JIT_OFF else 1_000)
        assert torn_count == 0
    assert sum(refused for _, _, refused in readers) > 0, "no reader met the writer: no proof"


def test_a_reader_without_the_version_check_does_see_torn_books(name: str) -> None:
    _, (copied, torn_count, _) = hunt(name, torn.read_unchecked)
    assert copied > 0
    assert torn_count > 0, "the test above could not have failed"


# --- one slot, one ring --------------------------------------------------------------------------


def test_the_last_books_can_be_read_by_number() -> None:
    rig = Rig.single(bitstamp_spec(tick="1"))
    reader = rig.reader
    assert reader.read(0) == READ_NOTHING_YET
    assert reader.read_exact(0, 1) == READ_NOTHING_YET
    rig.start(bitstamp_snapshot(1))
    total = 3 * L.RING_SLOTS
    for number in range(2, total + 1):
        rig.feed(bitstamp_frame(number, [("100", str(number))]))
    assert reader.sequence(0) == reader.published == total
    for sequence in range(-3, total + 5):
        answer = reader.read_exact(0, sequence)
        if sequence <= 0 or sequence > total:
            assert answer == READ_NOTHING_YET
        elif sequence <= total - L.RING_SLOTS:
            assert answer == READ_OVERWRITTEN
        else:
            assert answer == sequence
            assert reader.book[L.SLOT_SEQUENCE] == sequence
            assert reader.book[L.SLOT_BIDS_AT + L.LEVEL_LOTS] == sequence * 10**8


def test_a_slot_that_is_being_written_is_busy_not_wrong() -> None:
    rig = Rig.single(bitstamp_spec(tick="1"))
    rig.start(bitstamp_snapshot(1, [("5", "1")]))
    sequence = rig.sequence()
    slot = HandoffWriter.ring_at(0) + L.RING_SLOTS_AT + sequence % L.RING_SLOTS * L.SLOT_WORDS
    words = rig.engine.handoff.words
    for version in (2 * sequence - 1, 2 * (sequence + L.RING_SLOTS) - 1, 0):
        words[slot + L.SLOT_VERSION] = version
        assert rig.reader.read(0) == READ_BUSY
        assert rig.reader.read_exact(0, sequence) == READ_OVERWRITTEN
    words[slot + L.SLOT_VERSION] = 2 * sequence
    assert rig.reader.read(0) == sequence


# --- attaching -----------------------------------------------------------------------------------


def test_a_reader_sees_what_the_writer_described(writer: HandoffWriter, name: str) -> None:
    reader = HandoffReader.attach(name)
    assert reader.instruments == INSTRUMENTS
    assert reader.instruments[0].tick_size == Decimal("0.01")
    assert reader.writer_pid == os.getpid()
    assert reader.heartbeat_ns == 77
    assert reader.engine_state == L.ENGINE_IS_STARTING
    writer.beat(99)
    writer.set_engine_state(L.ENGINE_IS_RUNNING)
    assert (reader.heartbeat_ns, reader.engine_state) == (99, L.ENGINE_IS_RUNNING)
    assert segment_path(name).stat().st_mode & 0o777 == 0o600
    with pytest.raises(ValueError, match="read-only"):
        reader.words[0] = 1


BAD_NAMES = ["", ".", "..", ".x", "a/b", "../x", "/x", "a b", "a\0", "a\n", "é", "-x", "a" * 65]


@pytest.mark.parametrize("bad", BAD_NAMES)
def test_names_that_are_no_names_are_refused(bad: str) -> None:
    with pytest.raises(HandoffError, match="handoff name"):
        segment_path(bad)
    with pytest.raises(HandoffError):
        HandoffReader.attach(bad)
    if bad:
        with pytest.raises(HandoffError):
            HandoffWriter(bad, INSTRUMENTS, 0)


def test_no_daemon_no_segment(name: str) -> None:
    with pytest.raises(HandoffError, match=f"no daemon named '{name}'"):
        HandoffReader.attach(name)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x",
        b"\0" * 8,
        b"\0" * L.HANDOFF_WORDS * 8,
        b"POLLUX\0\0" * L.HANDOFF_WORDS,
        b"x" * (L.HANDOFF_WORDS * 8 + 3),
    ],
)
def test_a_file_that_is_no_segment_is_refused(name: str, content: bytes) -> None:
    segment_path(name).write_bytes(content)
    with pytest.raises(HandoffError):
        HandoffReader.attach(name)


@pytest.mark.parametrize("version", [0, L.HANDOFF_VERSION + 1, -1])
def test_another_layout_version_is_refused(writer: HandoffWriter, name: str, version: int) -> None:
    """Zero is a segment that is not finished: the version is written last."""
    writer.words[L.HANDOFF_VERSION_AT] = version
    with pytest.raises(HandoffError, match=f"layout version {version}"):
        HandoffReader.attach(name)


@pytest.mark.parametrize(
    "words",
    [
        L.HANDOFF_WORDS,
        L.HANDOFF_WORDS + 20,
        L.HANDOFF_WORDS + L.RING_SLOTS_AT,
        L.HANDOFF_WORDS + 2 * L.RING_WORDS - 1,
    ],
)
def test_a_segment_that_is_too_short_is_refused(
    writer: HandoffWriter, name: str, words: int
) -> None:
    os.truncate(segment_path(name), words * 8)
    with pytest.raises(HandoffError):
        HandoffReader.attach(name)


def test_a_header_of_another_geometry_is_refused(writer: HandoffWriter) -> None:
    copy = writer.words.copy()
    assert HandoffReader(copy).instruments == INSTRUMENTS
    copy[L.HANDOFF_MAGIC_AT] += 1
    with pytest.raises(HandoffError, match="not a Pollux handoff"):
        HandoffReader(copy)
    with pytest.raises(HandoffError):
        HandoffReader(np.zeros(4, np.int64))


# --- lives of segments ---------------------------------------------------------------------------


def test_closing_stops_readers_and_removes_the_name(writer: HandoffWriter, name: str) -> None:
    reader = HandoffReader.attach(name)
    writer.close()
    assert reader.engine_state == L.ENGINE_IS_STOPPED
    assert not segment_path(name).exists()
    writer.close()
    with pytest.raises(HandoffError):
        HandoffReader.attach(name)


def test_readers_of_a_replaced_segment_keep_their_memory(writer: HandoffWriter, name: str) -> None:
    old = HandoffReader.attach(name)
    fresh = HandoffWriter(name, INSTRUMENTS[1:], 500)
    new = HandoffReader.attach(name)
    fresh.beat(501)
    writer.beat(78)
    assert (old.heartbeat_ns, new.heartbeat_ns) == (78, 501)
    assert (old.instruments, new.instruments) == (INSTRUMENTS, INSTRUMENTS[1:])
    torn.write_books(fresh.words, fresh.ring_at(0), 1, 100)
    assert (old.sequence(0), new.sequence(0)) == (0, 100)


def _take_over(name: str, answer: Any) -> None:
    HandoffWriter(name, INSTRUMENTS, 1_000)
    answer.send(os.getpid())


def test_closing_leaves_another_daemons_segment_alone(writer: HandoffWriter, name: str) -> None:
    process, connection = in_child(_take_over, name)
    assert connection.poll(30)
    successor = connection.recv()
    process.join(10)
    writer.close()
    assert HandoffReader.attach(name).writer_pid == successor


def test_closing_leaves_a_successor_of_the_same_pid_alone(writer: HandoffWriter, name: str) -> None:
    successor = HandoffWriter(name, INSTRUMENTS, 1_000)
    writer.close()
    assert HandoffReader.attach(name).heartbeat_ns == 1_000
    successor.close()


@pytest.mark.parametrize(
    "info",
    [
        InstrumentInfo("S" * 65, ("v",), 10, 1, 2),
        InstrumentInfo("S", ("v",), 10, 1, 2, checked_by=(f"{LONGEST[0]}c",)),
    ],
)
def test_a_writer_that_fails_leaves_nothing_behind(name: str, info: InstrumentInfo) -> None:
    with pytest.raises(HandoffError, match="longer than"):
        HandoffWriter(name, (info,), 0)
    path = segment_path(name)
    assert list(path.parent.glob(f"{path.name}*")) == []


def test_a_private_segment_has_no_name(tmp_path: Path) -> None:
    before = set(segment_path("x").parent.iterdir())
    writer = HandoffWriter("", INSTRUMENTS, 5)
    assert writer.path is None
    assert HandoffReader(writer.words).heartbeat_ns == 5
    writer.close()
    assert set(segment_path("x").parent.iterdir()) == before
