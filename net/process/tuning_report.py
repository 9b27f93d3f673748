"""What was done for the engine thread, where others can read it: a text beside the shared memory.

Written once when the daemon serves, and gone with the daemon's name; one that a killed daemon has
left is known by its process. `pollux stat` shows it.
Runs on: the main thread.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence

import orjson

from engine.sharing.directory import HandoffError, new_file, opened
from engine.sharing.segment import find_segment, segment_path
from tuning.measures import Measure

KIND = "measures"
BYTES_MAX = 65536
"""Some twenty lines."""


def write_tuning_report(name: str, pid: int, measures: Sequence[Measure]) -> None:
    """Leave the measures of the daemon of this name; without effect where that is not possible."""
    said = {each.name: str(each) for each in measures}
    raw = orjson.dumps({"pid": pid, "measures": said})
    path = segment_path(name, KIND)
    with contextlib.suppress(HandoffError), new_file(path, len(raw)) as descriptor:
        os.write(descriptor, raw)


def read_tuning_report(name: str, pid: int) -> Mapping[str, str]:
    """What became of each measure for the daemon of this name; none where it is another's."""
    try:
        with opened(find_segment(name, KIND, "no report")) as descriptor:
            found = orjson.loads(os.read(descriptor, BYTES_MAX))
    except (HandoffError, OSError, orjson.JSONDecodeError):
        return {}
    is_its = isinstance(found, dict) and found.get("pid") == pid
    measures = found.get("measures") if is_its else None
    return measures if isinstance(measures, dict) else {}
