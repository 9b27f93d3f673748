"""The end of a writer: a thread that writes what a bounded queue brings it, until it brings None.

Runs on: the thread that closes.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from typing import Any


def end_writer(lines: queue.Queue[Any], thread: threading.Thread, limit_s: float | None) -> bool:
    """Have it write what is queued and end; whether that was done within the limit, if any."""
    end_s = None if limit_s is None else time.monotonic() + limit_s
    with contextlib.suppress(queue.Full):
        lines.put(None, timeout=limit_s)
    thread.join(None if end_s is None else max(end_s - time.monotonic(), 0.0))
    return not thread.is_alive()
