"""The claim on a daemon's name: two daemons of one name would write over each other's segment.

A heartbeat alone cannot tell: two that start at once both see none, and one that was stopped for a
while has an old one. So the name is held by an abstract socket (unix(7)): taking it is atomic, and
the kernel gives it back however its owner ends, with nothing left to clean up. Where there is no
such thing, or the other daemon lives in another network namespace, the heartbeat must do.
Runs on: the main thread. Called by: net.daemon; `has_ended`: who reads what a
process has left.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
import time

import psutil

from engine.handoff import HandoffError, HandoffReader

HEARTBEAT_STALE_NS = 5_000_000_000
"""A segment whose writer has been silent for so long belongs to a dead daemon."""


class NameTakenError(Exception):
    """Another daemon has the name: one line."""


def claim_name(name: str) -> socket.socket | None:
    """Hold the name until the socket is closed; NameTakenError where a daemon that lives has it."""
    owner, is_fresh = _segment_owner(name)
    if is_fresh:
        raise _taken(name, owner)
    if sys.platform != "linux":
        return None
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(f"\0pollux-{name}")
    except OSError as error:
        claim.close()
        if error.errno == errno.EADDRINUSE:
            raise _taken(name, owner) from None
        raise
    return claim


def _segment_owner(name: str) -> tuple[int, bool]:
    """Who wrote the segment of this name (0: nobody alive), and whether its heart still beats."""
    try:
        reader = HandoffReader.attach(name)
    except HandoffError:
        return 0, False
    pid = reader.writer_pid
    if pid == os.getpid() or has_ended(pid):
        return 0, False
    return pid, time.time_ns() - reader.heartbeat_ns < HEARTBEAT_STALE_NS


def has_ended(pid: int) -> bool:
    """Whether no process of this number lives; one that nobody has waited for has ended, too."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.AccessDenied:
        return False
    except psutil.NoSuchProcess:
        return True


def _taken(name: str, pid: int) -> NameTakenError:
    who = f"pid {pid}" if pid else "just starting or ending"
    return NameTakenError(
        f"a daemon named {name!r} is running already ({who}); "
        f"[engine] name gives this one another name"
    )
