"""A process that ends with the one that started it. Nothing heavy is imported: a parent dies early.

Runs on: the main thread, before anything else.
"""

from __future__ import annotations

import ctypes
import signal
import sys

PR_SET_PDEATHSIG = 1
"""From linux/prctl.h."""


def die_with_parent() -> None:
    """Ask Linux for a SIGTERM when the parent ends; without effect on other systems."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
