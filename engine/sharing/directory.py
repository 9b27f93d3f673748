"""The daemon's own directory: segments, locks and reports lie there, and nothing of anybody else.

    a daemon uses    $RUNTIME_DIRECTORY (systemd), or else $XDG_RUNTIME_DIR/pollux,
                     or else /dev/shm/pollux-UID
    a reader looks   in $RUNTIME_DIRECTORY alone where it is set, or else in both of the others
                     and then in /run/pollux, the service's

Other users of the host may put what they like where nothing of ours is yet. So the directory is
opened first, and its owner and mode are looked at; files are opened relative to it. No link is
followed, no open waits for anybody, and what is no regular file of the directory's owner is not
used: only that owner can shorten a file that is mapped.
Runs on: the thread that starts a writer or a reader.
"""

from __future__ import annotations

import contextlib
import fcntl
import grp
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

SERVICE_PLACE = Path("/run/pollux")
"""Of the packaged unit's `RuntimeDirectory`: only root can make something there."""

OPEN_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class HandoffError(Exception):
    """The segment is absent, of another layout, not finished, or its place or name unusable."""


def _given_place() -> Path | None:
    given = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    if not given:
        return None
    place = Path(given)
    if not place.is_absolute() or len(place.parts) < 3:
        raise HandoffError(
            f"RUNTIME_DIRECTORY {given}: must be the whole path of a directory for pollux alone"
        )
    return place


def _usual_places() -> list[Path]:
    """Without a given one, the best first."""
    shared_memory = Path("/dev/shm")
    base = shared_memory if shared_memory.is_dir() else Path(tempfile.gettempdir())
    places = [base / f"pollux-{os.geteuid()}"]
    users = os.environ.get("XDG_RUNTIME_DIR", "")
    with contextlib.suppress(OSError):
        # After `su` it may be that of somebody else.
        if os.path.isabs(users) and os.lstat(users).st_uid == os.geteuid():
            places.insert(0, Path(users) / "pollux")
    return places


def own_place() -> Path:
    """Where a daemon that this process starts has its directory."""
    return _given_place() or _usual_places()[0]


def reader_places() -> list[Path]:
    """Where a reader looks for a daemon's files, in this order."""
    given = _given_place()
    return [given] if given is not None else [*_usual_places(), SERVICE_PLACE]


def _open_directory(place: Path, *, is_ours: bool) -> int:
    """The directory's descriptor, when it may be trusted: HandoffError says why not. OSError.

    `is_ours`: this user must own it. Another one may own it for a reader, unless anybody could
    have made it: then it must be named after its owner.
    """
    directory = os.open(place, os.O_RDONLY | os.O_DIRECTORY | OPEN_FLAGS)
    found = os.fstat(directory)
    trouble = ""
    if found.st_mode & WRITABLE_BY_OTHERS:
        trouble = f"others may write there (mode {stat.S_IMODE(found.st_mode):04o})"
    elif found.st_uid != os.geteuid() and (
        is_ours
        or (os.stat(place.parent).st_mode & stat.S_IWOTH and place.name != f"pollux-{found.st_uid}")
    ):
        trouble = f"it belongs to another user ({found.st_uid})"
    if trouble:
        os.close(directory)
        raise HandoffError(f"{place} is no directory of ours: {trouble}")
    return directory


@contextlib.contextmanager
def _own_directory(place: Path) -> Iterator[int]:
    """The directory for writing, made where it is not there; every failure is a HandoffError."""
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(place, stat.S_IRWXU)
        directory = _open_directory(place, is_ours=True)
    except OSError as error:
        raise HandoffError(
            f"cannot have the directory {place}: {error.strerror}; "
            f"RUNTIME_DIRECTORY can name another"
        ) from None
    except HandoffError as error:
        raise HandoffError(f"{error}; RUNTIME_DIRECTORY can name another") from None
    try:
        yield directory
    finally:
        os.close(directory)


def prepare_directory(shared_group: str = "") -> None:
    """Make the daemon's directory, with its mode, whatever the umask is; HandoffError.

    `shared_group`: its members may read what is there; left out, nobody else may. One that others
    may look into is somebody's for something else, and keeps its mode.
    """
    place = own_place()
    with _own_directory(place) as directory:
        if os.fstat(directory).st_mode & stat.S_IRWXO:
            raise HandoffError(
                f"{place} is no directory for pollux alone: others may look into it; "
                f"chmod 700, or RUNTIME_DIRECTORY can name another"
            )
        mode = stat.S_IRWXU
        try:
            if shared_group:
                mode |= stat.S_IRGRP | stat.S_IXGRP
                if not os.stat(place.parent).st_mode & stat.S_IXOTH:
                    raise HandoffError(
                        f"[engine] shared_group: {place.parent} lets nobody else in; "
                        f"RUNTIME_DIRECTORY can name another place"
                    )
                os.fchown(directory, -1, grp.getgrnam(shared_group).gr_gid)
            os.fchmod(directory, mode)
        except OSError as error:
            raise HandoffError(
                f"[engine] shared_group {shared_group!r}: {place}: {error.strerror}"
            ) from None


def open_regular(
    path: str | Path,
    flags: int = os.O_RDONLY,
    *,
    directory: int | None = None,
    owner: int | None = None,
    follows_links: bool = False,
) -> int:
    """The descriptor of a regular file; never waits. OSError, HandoffError.

    `directory`: what `path` is relative to. `owner`: whose it must be; then others than that one
    may not write to it.
    """
    flags |= OPEN_FLAGS & ~os.O_NOFOLLOW if follows_links else OPEN_FLAGS
    descriptor = os.open(path, flags, stat.S_IRUSR | stat.S_IWUSR, dir_fd=directory)
    found = os.fstat(descriptor)
    trouble = ""
    if not stat.S_ISREG(found.st_mode):
        trouble = "no regular file"
    elif owner is not None and found.st_uid != owner:
        trouble = f"of another user ({found.st_uid})"
    elif owner is not None and found.st_mode & WRITABLE_BY_OTHERS:
        trouble = f"writable by others (mode {stat.S_IMODE(found.st_mode):04o})"
    if trouble:
        os.close(descriptor)
        raise HandoffError(f"{path} is {trouble}")
    return descriptor


def open_file(path: Path, flags: int = os.O_RDONLY) -> int:
    """A file of a daemon's directory: what all of its readers open with.

    FileNotFoundError where it is not there, HandoffError with one line where it may not be used.
    """
    try:
        directory = _open_directory(path.parent, is_ours=bool(flags & os.O_CREAT))
        try:
            owner = os.fstat(directory).st_uid
            return open_regular(path.name, flags, directory=directory, owner=owner)
        except HandoffError as error:
            raise HandoffError(f"{path.parent}/{error}") from None
        finally:
            os.close(directory)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise HandoffError(f"cannot open {path}: {error.strerror}") from None


@contextlib.contextmanager
def opened(path: Path, flags: int = os.O_RDONLY) -> Iterator[int]:
    """The descriptor that `open_file` gives, for the block; its errors."""
    descriptor = open_file(path, flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def new_file(path: Path, size_bytes: int) -> Iterator[int]:
    """A fresh file, which gets its name when the block is done; nothing is left where it fails.

    Its blocks are reserved, so that full memory is an error here and not a SIGBUS at a store.
    Group and the group's right to read are the directory's, whatever the umask is. HandoffError.
    """
    fresh = f"{path.name}+{os.getpid()}"
    with _own_directory(path.parent) as directory:
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(fresh, dir_fd=directory)
            descriptor = os.open(
                fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | OPEN_FLAGS, 0o600, dir_fd=directory
            )
            try:
                os.posix_fallocate(descriptor, 0, size_bytes)
                found = os.fstat(directory)
                if found.st_mode & stat.S_IRGRP:
                    os.fchown(descriptor, -1, found.st_gid)
                readable = found.st_mode & stat.S_IRGRP
                os.fchmod(descriptor, stat.S_IRUSR | stat.S_IWUSR | readable)
                yield descriptor
                os.rename(fresh, path.name, src_dir_fd=directory, dst_dir_fd=directory)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(fresh, dir_fd=directory)
                raise
            finally:
                os.close(descriptor)
        except OSError as error:
            raise HandoffError(
                f"cannot make {path} of {size_bytes} bytes: {error.strerror}"
            ) from None


def remove_files(place: Path, name: str) -> None:
    """Remove what the daemon of this name has left; only for whoever holds its lock."""
    with contextlib.suppress(OSError):
        for found in os.listdir(place):
            if found.partition("+")[0] == name and found != lock_path(place, name).name:
                with contextlib.suppress(OSError):
                    os.unlink(place / found)


def is_left_behind(place: Path, name: str) -> bool:
    """Whether the daemon of this name was killed: its lock is there, and nobody holds it.

    Asking holds the lock for a moment, so this is for where the answer matters.
    """
    try:
        with opened(lock_path(place, name)) as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (OSError, HandoffError):  # held; or it has none, or this user may not look
        return False
    return True


def lock_path(place: Path, name: str) -> Path:
    """The file that the daemon of this name holds a lock on."""
    return place / f"{name}+lock"
