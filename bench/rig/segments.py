"""Names of shared-memory segments that no other run has, and nothing left of them afterwards.

Runs on: the harness's main thread. Called by: the rigs.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator

from engine.handoff import segment_path
from engine.meter_layout import ENGINE_METERS

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
        for kind in ("", ENGINE_METERS):
            segment_path(name, kind).unlink(missing_ok=True)
