"""What an engine is to hold: instruments, and the venues' feeds of each.

Runs on: any thread (facts only).
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.book.ladder import WINDOW_SLOTS_LEAST
from engine.book.rules import BookRules
from engine.decoding.scale import common_unit, decimal_unit
from engine.layout import layout as L

WINDOW_SLOTS = 1 << 18
"""The most ticks in a ladder's window: 2,620 USD of BTC at a tick of 0.01, two megabytes a side
where all of it is used. On the recorded BTCUSDT (550 ns a frame) half as many cost 60 ns: a level
outside is searched for."""
FULL_WINDOW_FEEDS = 16
"""Of an engine with more feeds each has half of the window: memory counts there."""

SPARE_WINDOWS_BYTES_MAX = 32 << 20
"""What the windows of all spare books may keep in memory. A spare book waits minutes for the next
audit; where it is given back, each of its pages costs a fault, of some microsecond, after that."""

FAR_LEVELS_MAX = 1 << 15
"""Levels a side outside the window: real whole books have up to 27,195 in all."""


@dataclass(frozen=True)
class FeedSpec:
    """One venue's book of one instrument: whose, by which rules, over which connection, its symbol
    as the venue writes it, and the tick that the venue declares, as decimal text: the unit of its
    prices until it prints finer ones. `contract_value`: of one in a quantity, in the base asset.
    `checked_by`: how the book is known to be right, in words for whoever reads it."""

    venue: str
    rules: BookRules
    connection: int
    symbol: str
    tick_size: str
    contract_value: str = "1"
    checked_by: str = ""


@dataclass(frozen=True)
class InstrumentSpec:
    """A merged book: its symbol, depth and feeds in the configuration's order."""

    symbol: str
    feeds: tuple[FeedSpec, ...]
    depth: int = 10

    @property
    def venues(self) -> tuple[str, ...]:
        return tuple(feed.venue for feed in self.feeds)

    @property
    def checked_by(self) -> tuple[str, ...]:
        return tuple(feed.checked_by for feed in self.feeds)

    @property
    def unit(self) -> tuple[int, int]:
        """The common unit of orders' prices: the greatest common divisor of the declared ticks."""
        return common_unit([decimal_unit(feed.tick_size) for feed in self.feeds])


def most_window_slots(feeds: int) -> int:
    """The most ticks in the window of each of so many feeds."""
    return WINDOW_SLOTS if feeds <= FULL_WINDOW_FEEDS else WINDOW_SLOTS // 2


def kept_window_slots(feeds: int) -> int:
    """The largest window whose memory is kept in each of so many spare books; the least always is:
    where a venue sends whole books, the next frame may need it."""
    slots = WINDOW_SLOTS_LEAST
    while feeds * 2 * 8 * 2 * slots <= SPARE_WINDOWS_BYTES_MAX:
        slots *= 2
    return slots


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
