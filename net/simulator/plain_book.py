"""A plain dictionary book with an undo log: what REST answers are built from.

Invariants: versions never fall; a quantity of zero is never stored; `as_of(version)` equals the
book as it stood when that version was the newest, as far back as the log reaches. Fed by the
publishers (synthetic) and by tape.py.
Runs on: the simulator's event loop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from net.simulator.market import BID

UNDO_ENTRIES_MAX = 100_000  # 5 s (REST_LAG_MAX_S) of the busiest recorded frames, twenty times over

Levels = list[tuple[int, int]]


class PlainBook:
    """Bids and asks as {price_ticks: qty_lots} at one version.

    The version is the exchange's update id, or its stamp in microseconds.
    """

    def __init__(self) -> None:
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}
        self.version = 0
        self._undo: deque[tuple[int, int, int, int, int]] = deque(maxlen=UNDO_ENTRIES_MAX)

    def load(
        self, version: int, bids: Iterable[tuple[int, int]], asks: Iterable[tuple[int, int]]
    ) -> None:
        """Replace everything and forget the past."""
        self.bids = {price: qty for price, qty in bids if qty}
        self.asks = {price: qty for price, qty in asks if qty}
        self.version = version
        self._undo.clear()

    def set_level(self, version: int, side: int, price_ticks: int, qty_lots: int) -> None:
        """Set one level's total; several calls may carry one version."""
        assert version >= self.version
        levels = self.bids if side == BID else self.asks
        old_lots = levels.get(price_ticks, 0)
        self._undo.append((version, self.version, side, price_ticks, old_lots))
        self.version = version
        if qty_lots:
            levels[price_ticks] = qty_lots
        elif old_lots:
            del levels[price_ticks]

    def undo_entries(self) -> list[tuple[int, int, int, int, int]]:
        """(version, version before, side, price_ticks, qty_lots before), oldest first."""
        return list(self._undo)

    def as_of(self, version: int) -> PlainBook:
        """A copy rolled back to the newest state whose version is not above `version`."""
        copy = PlainBook()
        copy.bids, copy.asks, copy.version = dict(self.bids), dict(self.asks), self.version
        for changed, before, side, price_ticks, old_lots in reversed(self._undo):
            if changed <= version:
                break
            levels = copy.bids if side == BID else copy.asks
            if old_lots:
                levels[price_ticks] = old_lots
            else:
                levels.pop(price_ticks, None)
            copy.version = before
        return copy

    def sorted_bids(self, levels_max: int | None = None) -> Levels:
        """Best first."""
        return sorted(self.bids.items(), reverse=True)[:levels_max]

    def sorted_asks(self, levels_max: int | None = None) -> Levels:
        """Best first."""
        return sorted(self.asks.items())[:levels_max]

    def best(self) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
        """Best bid and best ask as (price_ticks, qty_lots)."""
        bid = max(self.bids.items(), default=None)
        return bid, min(self.asks.items(), default=None)
