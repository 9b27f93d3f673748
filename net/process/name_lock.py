"""The lock on a daemon's name: two daemons of one name would write over each other's segment.

The name is held by a lock (flock(2)) on a file in the daemon's directory, which nobody else can
open for it: taking it is atomic and waits for nothing, and the kernel gives it back however its
owner ends. A file that is there and that nobody holds is a dead daemon's: whoever takes a name
clears away what the dead ones of the directory have left.
Runs on: the main thread.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

import psutil

from engine.sharing.directory import HandoffError, lock_path, open_file, remove_files
from engine.sharing.handoff import HandoffReader
from engine.sharing.segment import segment_path

TRIES = 8
"""Each fails only where the owner has just ended and taken the file with it."""


class NameTakenError(Exception):
    """Another daemon has the name: one line."""


class NameLock:
    """Holds a name in a directory, until it is closed or the process ends."""

    def __init__(self, place: Path, name: str, descriptor: int) -> None:
        self._place = place
        self._name = name
        self._descriptor = descriptor

    def close(self) -> None:
        """Remove what is left of the daemon, and give the name back; harmless twice."""
        if self._descriptor >= 0:
            remove_files(self._place, self._name)
            with contextlib.suppress(OSError):
                os.unlink(lock_path(self._place, self._name))
            os.close(self._descriptor)
            self._descriptor = -1


def lock_name(name: str) -> NameLock:
    """Hold the name until it is closed; NameTakenError where a daemon that lives has it.

    HandoffError: the directory or the file is not ours (`prepare_directory` makes it).
    """
    place = segment_path(name).parent
    held = _take(place, name)
    if held is None:
        raise NameTakenError(
            f"a daemon named {name!r} is running already ({_owner(name)}); "
            f"[engine] name gives this one another name"
        )
    remove_files(place, name)
    _clear_dead(place)
    return held


def _take(place: Path, name: str) -> NameLock | None:
    path = lock_path(place, name)
    for _ in range(TRIES):
        descriptor = open_file(path, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with contextlib.suppress(FileNotFoundError):
                if os.stat(path).st_ino == os.fstat(descriptor).st_ino:
                    return NameLock(place, name, descriptor)
        except OSError as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                return None
            raise HandoffError(f"cannot lock {path}: {error.strerror}") from None
        os.close(descriptor)
    return None


def _clear_dead(place: Path) -> None:
    """Remove what daemons of other names have left that were killed."""
    suffix = lock_path(place, "").name
    for found in os.listdir(place):
        if found.endswith(suffix):
            with contextlib.suppress(HandoffError):
                dead = _take(place, found.removesuffix(suffix))
                if dead is not None:
                    dead.close()


def _owner(name: str) -> str:
    """Who has the name: by the segment, which is not there at a start's and an end's moments."""
    with contextlib.suppress(HandoffError):
        pid = HandoffReader.attach(name).writer_pid
        if pid != os.getpid() and not has_ended(pid):
            return f"pid {pid}"
    return "just starting or ending"


def has_ended(pid: int) -> bool:
    """Whether no process of this number lives; one that nobody has waited for has ended, too."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.AccessDenied:
        return False
    except psutil.NoSuchProcess:
        return True
