"""Where others find the market maker of a daemon: its board, while it has one.

A board may come later than its reader, end before it, or be another's: a daemon that was killed
leaves its board behind, and its successor may have no market maker.
Runs on: one thread each. Called by: net.gateway.maker, net.metrics, net.stat.
"""

from __future__ import annotations

from engine.maker.board import MakerBoardError, MakerBoardReader
from net.entry.refusals import ErrorClass

TROUBLES = tuple(ErrorClass)
"""A venue's trouble travels through the board as its place in here; 0 is none."""
assert TROUBLES[0] is ErrorClass.NONE


def trouble_code(error: ErrorClass) -> int:
    """What the board's VENUE_TROUBLE word says of a class."""
    return TROUBLES.index(error)


def trouble_name(code: int) -> str:
    """The class of a trouble in the board; empty for none."""
    return TROUBLES[code].name if code else ""


class MakerView:
    """The board of the daemon `name` whose process is `writer_pid`."""

    def __init__(self, name: str, writer_pid: int) -> None:
        self._name = name
        self._writer_pid = writer_pid
        self._reader: MakerBoardReader | None = None

    def reader(self) -> MakerBoardReader | None:
        """The board as it is now; None without a market maker."""
        if self._reader is not None and self._reader.is_closed:
            self._reader = None
        if self._reader is None:
            try:
                found = MakerBoardReader(self._name)
            except MakerBoardError:
                return None
            if found.writer_pid == self._writer_pid and not found.is_closed:
                self._reader = found
        return self._reader
