"""Why the daemon cannot go on.

Runs on: the main thread.
"""

from __future__ import annotations


class DaemonError(Exception):
    """The daemon cannot go on: one line. `status` is the exit status."""

    def __init__(self, text: str, status: int = 1) -> None:
        super().__init__(text)
        self.status = status
