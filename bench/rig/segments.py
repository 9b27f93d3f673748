"""Names of shared-memory segments that no other run has, and nothing left of them afterwards.

Runs on: the harness's main thread.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator

from engine.sharing.directory import own_place, remove_files

_numbers = itertools.count()


def run_prefix(pid: int | None = None) -> str:
    """What the names of a run begin with; this process's own by default."""
    return f"bench-{pid or os.getpid()}-"


@contextlib.contextmanager
def new_segment() -> Iterator[str]:
    """The name of an engine to be made by another process, which might die before it cleans up."""
    name = f"{run_prefix()}{next(_numbers)}"
    try:
        yield name
    finally:
        remove_files(own_place(), name)
