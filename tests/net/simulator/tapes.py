"""Reading and writing tapes, for tests, without the simulator's own reader."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import orjson


@cache
def lines(path: Path, venue: str) -> list[dict[str, Any]]:
    """One venue's lines."""
    mark = f'"venue":"{venue}"'.encode()
    with gzip.open(path, "rb") as file:
        found = [orjson.loads(line) for line in file if mark in line[:90]]
    assert found
    return found


def raw_frames(path: Path, venue: str, channel: str = "") -> list[str]:
    """Recorded websocket texts that carry data of a channel."""
    return [
        line["raw"]
        for line in lines(path, venue)
        if line["kind"] == "ws" and "bts:" not in line["raw"][:20] and channel in line["raw"]
    ]


def write_tape(path: Path, rows: Sequence[dict[str, Any] | str]) -> Path:
    """A tape of one's own."""
    with gzip.open(path, "wt") as file:
        for row in rows:
            text = row if isinstance(row, str) else json.dumps(row, separators=(",", ":"))
            file.write(text + "\n")
    return path
