"""The lock on a daemon's name, and what dead daemons left (issue 13.9)."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.sharing import directory
from engine.sharing.directory import HandoffError, new_file, prepare_directory
from engine.sharing.segment import find_segment
from net.process.name_lock import NameTakenError, lock_name

HOLD = """
import sys, time
from engine.sharing.directory import new_file
from engine.sharing.segment import segment_path
from net.process.name_lock import lock_name
kept = lock_name(sys.argv[1])
for kind in ("", "maker"):
    with new_file(segment_path(sys.argv[1], kind), 4096):
        pass
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    return tmp_path


@pytest.fixture
def other(place: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that holds the name "other"."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, "other"], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.communicate()


def names(place: Path) -> set[str]:
    return {path.name for path in place.iterdir()}


def test_a_name_is_held_once_and_nothing_is_left(place: Path) -> None:
    held = lock_name("a")
    with new_file(place / "a", 8), new_file(place / "a+maker", 8):
        pass
    with pytest.raises(NameTakenError, match="a daemon named 'a' is running already"):
        lock_name("a")
    second = lock_name("b")
    assert {"a", "a+maker"} <= names(place), "a living daemon's are let be"
    held.close()
    held.close()
    assert names(place) == {"b+lock"}
    second.close()
    lock_name("a").close()
    assert names(place) == set()


@pytest.mark.parametrize("name", ["other", "a"])
def test_what_a_killed_daemon_left_is_cleared_away(
    place: Path, other: subprocess.Popen[bytes], name: str
) -> None:
    """By its successor, and by any other daemon of the directory."""
    with pytest.raises(NameTakenError):
        lock_name("other")
    lock_name("a").close()
    assert names(place) == {"other", "other+maker", "other+lock"}
    other.send_signal(signal.SIGKILL)
    other.wait()
    lock = lock_name(name)
    assert names(place) == {f"{name}+lock"}
    lock.close()


def test_a_reader_passes_by_what_a_killed_daemon_left(
    place: Path, other: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill must reach the service, whatever a daemon by hand has left in one's own directory."""
    service = place / "service"
    monkeypatch.setattr(directory, "SERVICE_PLACE", service)
    monkeypatch.setattr(directory, "_usual_places", lambda: [place])
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(service))
    prepare_directory()
    lock = lock_name("other")
    with new_file(service / "other", 8):
        pass
    monkeypatch.delenv("RUNTIME_DIRECTORY")
    assert find_segment("other", "", "") == place / "other", "it lives, and comes first"
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert find_segment("other", "", "") == service / "other"
    lock.close()
    assert find_segment("other", "", "") == place / "other", "better than none"


def test_an_owner_that_is_stopped_still_holds_its_name(
    place: Path, other: subprocess.Popen[bytes]
) -> None:
    other.send_signal(signal.SIGSTOP)
    with pytest.raises(NameTakenError):
        lock_name("other")
    other.send_signal(signal.SIGCONT)


def test_a_socket_of_the_name_holds_nothing(place: Path) -> None:
    """Any user of the host can bind one: it was the lock before."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as squatted:
        squatted.bind("\0pollux-a")
        lock_name("a").close()


def test_a_pipe_in_its_place_is_not_waited_for(place: Path) -> None:
    os.mkfifo(place / "a+lock", 0o600)
    with pytest.raises(HandoffError, match=r"a\+lock is no regular file"):
        lock_name("a")
