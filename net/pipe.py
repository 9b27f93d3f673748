"""The reader of our output left: `pollux ... | head` has what it wanted, which is no failure.

Runs on: the main thread. Called by: net.watch.run, pollux.py.
"""

from __future__ import annotations

import contextlib
import os
from typing import IO


def lead_nowhere(stdout: IO[str]) -> None:
    """After a BrokenPipeError: what is still in Python's buffer would fail again when the
    interpreter flushes it at exit, so the descriptor now leads nowhere."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stdout.fileno())
        os.close(nowhere)
