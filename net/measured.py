"""What was done for the engine thread, where others can read it: a text beside the shared memory.

Written once when the daemon serves, gone with it; one that a killed daemon has left is known by
its process. `pollux stat` shows it.
Runs on: the main thread. Called by: net.daemon, net.stat.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import orjson

from engine.segment import SEGMENT_MODE, segment_path
from tuning.measures import Measure

KIND = "measures"


def _path(name: str) -> Path:
    return segment_path(name, KIND)


def keep_measures(name: str, pid: int, measures: Sequence[Measure]) -> None:
    """Leave the measures of the daemon of this name; without effect where that is not possible."""
    path = _path(name)
    fresh = path.with_name(f"{path.name}.{pid}")
    said = {each.name: str(each) for each in measures}
    with contextlib.suppress(OSError):
        fresh.touch(SEGMENT_MODE)
        fresh.write_bytes(orjson.dumps({"pid": pid, "measures": said}))
        fresh.rename(path)


def kept_measures(name: str, pid: int) -> Mapping[str, str]:
    """What became of each measure for the daemon of this name; none where it is another's."""
    try:
        found = orjson.loads(_path(name).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    is_its = isinstance(found, dict) and found.get("pid") == pid
    measures = found.get("measures") if is_its else None
    return measures if isinstance(measures, dict) else {}


def drop_measures(name: str) -> None:
    """The daemon ends."""
    with contextlib.suppress(OSError):
        _path(name).unlink()
