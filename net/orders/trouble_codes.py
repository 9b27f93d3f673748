"""A venue's trouble as the number that travels through the maker's board.

Runs on: any thread.
"""

from __future__ import annotations

from net.orders.errors import ErrorClass

TROUBLES = tuple(ErrorClass)
"""A venue's trouble travels through the board as its place in here; 0 is none."""
assert TROUBLES[0] is ErrorClass.NONE


def trouble_code(error: ErrorClass) -> int:
    """What the board's VENUE_TROUBLE word says of a class."""
    return TROUBLES.index(error)


def trouble_name(code: int) -> str | None:
    """The class of a trouble in the board, None for none."""
    return TROUBLES[code].name if code else None
