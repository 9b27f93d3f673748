"""Another user of the same host, as a process: what it plants, and what it is not let do.

Runs on: a forked process of another user.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

STRANGER = 65534
"""`nobody`: no daemon runs as it."""

needs_strangers = pytest.mark.skipif(
    os.geteuid() != 0, reason="not root: may not become another user"
)


def make_pipe(path: Path) -> None:
    os.mkfifo(path)
    path.chmod(0o666)


def make_link(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def make_dangling_link(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere"))


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))
        path.chmod(0o666)


def make_empty_file(path: Path) -> None:
    path.touch()
    path.chmod(0o666)


def make_file(path: Path) -> None:
    path.write_bytes(b"POLLUX\0\0" * 4096)
    path.chmod(0o666)


def make_folder(path: Path) -> None:
    path.mkdir()
    path.chmod(0o755)


def make_open_folder(path: Path) -> None:
    path.mkdir()
    path.chmod(0o777)


PLANTED: dict[str, Callable[[Path], None]] = {
    "pipe": make_pipe,
    "link": make_link,
    "dangling link": make_dangling_link,
    "socket": make_socket,
    "empty file": make_empty_file,
    "file": make_file,
    "folder": make_folder,
    "open folder": make_open_folder,
}


def remove(path: Path) -> None:
    """Whatever was planted there."""
    if path.is_dir() and not path.is_symlink():
        for each in path.iterdir():
            remove(each)
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def stranger(act: Callable[[], object]) -> Iterator[object]:
    """What `act` returns when another user calls it, whose process stays until the block ends."""
    inlet, outlet = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(STRANGER)
            os.setuid(STRANGER)
            kept = act()
            os.write(outlet, json.dumps(kept, default=str).encode() + b"\n")
            signal.pause()
        finally:
            os._exit(1)
    os.close(outlet)
    try:
        with os.fdopen(inlet, "rb") as answer:
            yield json.loads(answer.readline())
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def refused(*acts: Callable[[], object]) -> list[str]:
    """Of these, what was not refused: for a stranger to call."""
    done = []
    for number, act in enumerate(acts):
        try:
            act()
            done.append(f"act {number} was let happen")
        except OSError:
            continue
    return done
