"""Who reads our output: a terminal that can be drawn on, or a pipe, whose reader may leave.

Runs on: the main thread.
"""

from __future__ import annotations

import contextlib
import os
from typing import IO


def can_draw(stdout: IO[str]) -> bool:
    """Whether text can be drawn over: not in a pipe, nor on a terminal that only goes on."""
    return stdout.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


def discard_output(stdout: IO[str]) -> None:
    """After a BrokenPipeError: `pollux ... | head` has what it wanted, which is no failure.

    What is still in Python's buffer would fail again when the interpreter flushes it at exit, so
    the descriptor now leads nowhere.
    """
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stdout.fileno())
        os.close(nowhere)
