"""What a run of the benches might leave behind, told apart from other runs beside it.

Runs on: the tests' thread.
"""

from __future__ import annotations

from bench.rig.segments import run_prefix
from engine.sharing.handoff import segment_path


def segments_of(pid: int) -> list[str]:
    """The shared memory that belongs to the run of this process."""
    return [path.name for path in segment_path("x").parent.glob(f"{run_prefix(pid)}*")]
