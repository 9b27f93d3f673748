"""What an engine is to hold: instruments, and the venues' feeds of each.

Runs on: any thread (facts only).
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.book.rules import BookRules
from engine.decoding.scale import common_unit, decimal_unit
from engine.layout import layout as L


@dataclass(frozen=True)
class FeedSpec:
    """One venue's book of one instrument: whose, by which rules, over which connection, its symbol
    as the venue writes it, and the tick that the venue declares, as decimal text: the unit of its
    prices until it prints finer ones. `contract_value`: of one in a quantity, in the base asset."""

    venue: str
    rules: BookRules
    connection: int
    symbol: str
    tick_size: str
    contract_value: str = "1"


@dataclass(frozen=True)
class InstrumentSpec:
    """A merged book: its symbol, depth and feeds in the configuration's order."""

    symbol: str
    feeds: tuple[FeedSpec, ...]
    depth: int = 10

    @property
    def unit(self) -> tuple[int, int]:
        """The common unit of orders' prices: the greatest common divisor of the declared ticks."""
        return common_unit([decimal_unit(feed.tick_size) for feed in self.feeds])


def check_specs(
    instruments: tuple[InstrumentSpec, ...], window_slots: int, far_levels_max: int
) -> None:
    """AssertionError where no engine can hold these."""
    assert instruments, "an engine needs an instrument"
    assert window_slots & (window_slots - 1) == 0, "the window is a power of two"
    assert L.WINDOW_SLOTS_MIN <= window_slots <= L.WINDOW_SLOTS_MAX
    assert 4 <= far_levels_max <= L.FAR_MAX
    for instrument in instruments:
        assert 1 <= instrument.depth <= L.DEPTH_MAX
        assert 1 <= len(instrument.feeds) <= L.VENUES_MAX
    rules_by_connection: dict[int, BookRules] = {}
    for feed in (feed for each in instruments for feed in each.feeds):
        rules = rules_by_connection.setdefault(feed.connection, feed.rules)
        assert rules == feed.rules, "one connection speaks one protocol"
