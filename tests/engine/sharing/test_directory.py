"""The daemon's own directory (issue 13.9): whose it is, what may be opened there, what is left."""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from engine.sharing import directory
from engine.sharing.directory import (
    HandoffError,
    new_file,
    open_file,
    own_place,
    prepare_directory,
    reader_places,
    remove_files,
)
from engine.sharing.handoff import HandoffReader, HandoffWriter, InstrumentInfo
from engine.sharing.segment import OwnedSegment, find_segment, map_words, segment_path
from tests.strangers import PLANTED, STRANGER, needs_strangers, remove, stranger

pytestmark = [pytest.mark.once, pytest.mark.timeout(20)]

INSTRUMENTS = (InstrumentInfo("BTC-USD", ("binance",), 10, 1, 2),)


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where our directory will be: not there yet, and everybody may make something there."""
    with tempfile.TemporaryDirectory(prefix="pollux-test-") as base:
        Path(base).chmod(0o1777)
        monkeypatch.setenv("RUNTIME_DIRECTORY", f"{base}/pollux")
        yield Path(base, "pollux")


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def refusal(act: Callable[[], object]) -> str:
    """The one line that an act is refused with."""
    with pytest.raises(HandoffError) as raised:
        act()
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_where_a_daemon_and_its_readers_go(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shared = Path(f"/dev/shm/pollux-{os.geteuid()}")
    monkeypatch.delenv("RUNTIME_DIRECTORY")
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    assert own_place() == shared
    assert reader_places() == [shared, Path("/run/pollux")]
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert own_place() == tmp_path / "pollux"
    assert reader_places() == [tmp_path / "pollux", shared, Path("/run/pollux")]
    monkeypatch.setenv("RUNTIME_DIRECTORY", f"{tmp_path}/here:{tmp_path}/there")
    assert own_place() == tmp_path / "here" and reader_places() == [tmp_path / "here"]
    for wrong in ("relative/path", "/run"):
        monkeypatch.setenv("RUNTIME_DIRECTORY", wrong)
        assert wrong in refusal(own_place)


@needs_strangers
def test_a_users_directory_that_is_another_users_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`su` leaves XDG_RUNTIME_DIR as it was."""
    os.chown(tmp_path, STRANGER, STRANGER)
    monkeypatch.delenv("RUNTIME_DIRECTORY")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert own_place() == Path("/dev/shm/pollux-0")


@pytest.mark.parametrize("mask", [0, 0o027, 0o077, 0o177])
def test_modes_are_what_they_are_whatever_the_umask(place: Path, mask: int) -> None:
    """Issue 13.10."""
    group = grp.getgrgid(os.getegid()).gr_name
    with umask(mask):
        prepare_directory()
        first = HandoffWriter("x", INSTRUMENTS, 1)
        assert (mode_of(place), mode_of(place / "x")) == (0o700, 0o600)
        prepare_directory(group)
        second = HandoffWriter("x", INSTRUMENTS, 2)
        assert (mode_of(place), mode_of(place / "x")) == (0o750, 0o640)
        assert (place / "x").stat().st_gid == os.getegid()
    first.close()
    second.close()


def test_a_group_that_cannot_come_in_is_said(place: Path) -> None:
    place.parent.chmod(0o700)
    group = grp.getgrgid(os.getegid()).gr_name
    said = refusal(lambda: prepare_directory(group))
    assert "shared_group" in said and str(place.parent) in said and "RUNTIME_DIRECTORY" in said


@needs_strangers
def test_members_of_the_group_read_and_others_do_not(place: Path) -> None:
    def look() -> str:
        try:
            return HandoffReader.attach("x").instruments[0].symbol
        except HandoffError as error:
            return str(error)

    writer = HandoffWriter("x", INSTRUMENTS, 1)
    with stranger(look) as seen:
        assert "Permission denied" in str(seen)
    prepare_directory(grp.getgrgid(STRANGER).gr_name)
    writer = HandoffWriter("x", INSTRUMENTS, 1)
    with stranger(look) as seen:
        assert f"{place} is no directory of ours" in str(seen), "anybody could have made it"
    place.parent.chmod(0o755)
    with stranger(look) as seen:
        assert seen == "BTC-USD"
    writer.close()


@needs_strangers
@pytest.mark.parametrize("kind", PLANTED)
def test_a_directory_that_a_stranger_made_is_not_used(place: Path, kind: str) -> None:
    with stranger(lambda: PLANTED[kind](place)):
        for act in (
            prepare_directory,
            lambda: HandoffWriter("x", INSTRUMENTS, 1),
            lambda: HandoffReader.attach("x"),
        ):
            assert str(place) in refusal(act)
        assert "RUNTIME_DIRECTORY" in refusal(prepare_directory)
    remove(place)


def test_a_directory_that_is_there_for_something_else_keeps_its_mode(place: Path) -> None:
    place.mkdir()
    place.chmod(0o755)
    with pytest.raises(HandoffError, match=r"no directory for pollux alone: .*chmod 700"):
        prepare_directory()
    assert stat.S_IMODE(place.stat().st_mode) == 0o755


def test_a_directory_that_others_may_write_to_is_not_used(place: Path) -> None:
    place.mkdir()
    for mode in (0o770, 0o777, 0o1777):
        place.chmod(mode)
        said = refusal(prepare_directory)
        assert f"mode {mode:04o}" in said and str(place) in said
        refusal(lambda: HandoffReader.attach("x"))


@needs_strangers
@pytest.mark.parametrize("kind", PLANTED)
def test_what_a_stranger_planted_in_it_is_neither_read_nor_written(place: Path, kind: str) -> None:
    """It was open to all once: the names are planted, and the directory's mode is put right."""
    place.mkdir()
    place.chmod(0o777)
    path = segment_path("x")
    with stranger(lambda: PLANTED[kind](path)):
        place.chmod(0o700)
        said = refusal(lambda: HandoffReader.attach("x"))
        assert str(path) in said
        refusal(lambda: map_words(path, "a handoff"))
        refusal(lambda: open_file(path, os.O_RDWR | os.O_CREAT))
        passwords = Path("/etc/passwd").read_bytes()
        if "folder" in kind:
            refusal(lambda: HandoffWriter("x", INSTRUMENTS, 1))
        else:
            writer = HandoffWriter("x", INSTRUMENTS, 1)
            assert HandoffReader.attach("x").instruments == INSTRUMENTS
            writer.close()
        assert Path("/etc/passwd").read_bytes() == passwords
    remove(path)
    assert list(place.iterdir()) == []


def test_a_file_that_others_may_write_to_is_not_read(place: Path) -> None:
    writer = HandoffWriter("x", INSTRUMENTS, 1)
    for mode in (0o660, 0o602):
        segment_path("x").chmod(mode)
        assert f"mode {mode:04o}" in refusal(lambda: HandoffReader.attach("x"))
    writer.close()


def test_a_reader_says_where_it_looked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("RUNTIME_DIRECTORY")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    service = tmp_path / "run-pollux"
    monkeypatch.setattr(directory, "SERVICE_PLACE", service)
    said = refusal(lambda: HandoffReader.attach("no-such-daemon"))
    for looked in (tmp_path / "pollux", f"/dev/shm/pollux-{os.geteuid()}", service):
        assert f"no {looked}/no-such-daemon" in said
    service.mkdir(0o755)
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(service))
    writer = HandoffWriter("here", INSTRUMENTS, 1)
    monkeypatch.delenv("RUNTIME_DIRECTORY")
    assert find_segment("here", "", "") == service / "here", "the service's is found by all"
    writer.close()


# --- no room -------------------------------------------------------------------------------------


def test_full_memory_is_an_error_and_leaves_nothing(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", no_room)
    said = refusal(lambda: OwnedSegment(segment_path("x"), np.zeros(1 << 16, np.int64), 0, 1))
    assert str(place / "x") in said and "524288 bytes" in said and "No space left" in said
    assert list(place.iterdir()) == []


@needs_strangers
def test_a_full_file_system_is_an_error_and_no_sigbus(place: Path) -> None:
    place.mkdir(0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "pollux-test", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("may not mount a file system")
    try:
        assert "No space left" in refusal(lambda: HandoffWriter("x", INSTRUMENTS, 1))
        assert list(place.iterdir()) == []
        with new_file(place / "small", 8):
            pass
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_write_that_fails_half_way_leaves_nothing(place: Path) -> None:
    with pytest.raises(RuntimeError), new_file(place / "x", 8):
        raise RuntimeError
    assert list(place.iterdir()) == []


def test_what_a_daemon_left_is_removed_and_nothing_else(place: Path) -> None:
    place.mkdir(0o700)
    for name in ("a", "a+maker", "a+maker+77", "a+lock", "a.1", "ab", "ab+maker"):
        (place / name).touch()
    remove_files(place, "a")
    assert {path.name for path in place.iterdir()} == {"a+lock", "a.1", "ab", "ab+maker"}
