"""One simulated connection of a venue: what it carries, and what is under way on it.

Runs on: the tests' thread.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.simulation.dialect import NUMBER
from tests.simulation.market import Frame

MARK = NUMBER.encode()


@dataclass
class Path:
    """One connection. What it carries arrives in order, unless a fault says otherwise."""

    is_open: bool = True
    symbols: set[str] = field(default_factory=set)
    """Those whose streams it carries."""
    is_silent: bool = False
    arrival_ns: int = 0
    number: int = 0
    """Of the next frame, where they are numbered."""
    held: list[Frame] = field(default_factory=list)
    newest: dict[int, Frame] = field(default_factory=dict)
    """The latest frame that was sent of each feed."""

    def numbered(self, raw: bytes) -> bytes:
        """A text as it sets out: with its number, where it has one."""
        if MARK not in raw:
            return raw
        self.number += 1
        return raw.replace(MARK, str(self.number - 1).encode())

    def close(self) -> None:
        """What is still under way will not come."""
        self.is_open = False
        for frame in self.newest.values():
            assert frame.market is not None
            frame.market.gone_id = max(frame.market.gone_id, frame.last_id)
