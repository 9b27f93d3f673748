"""The merged book against the oracle's: venues, ticks, ties, states, publication."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.compiling.jit import JIT_OFF
from engine.layout import layout as L
from engine.layout import status as S
from engine.specs import FeedSpec, InstrumentSpec
from net.venues.bitstamp.market_data import BITSTAMP
from tests import oracle
from tests.engine.rig import Published, Rig, bitstamp_frame, bitstamp_snapshot

TICKS = ("0.01", "0.05", "0.5", "0.25", "1", "0.02", "0.1", "0.03")
"""Their common unit is 0.01 whichever venues take part: prices coincide often at 1.5 and 3."""


@dataclass
class Market:
    """Several Bitstamp-like venues of one instrument, and the oracle's books."""

    ticks: tuple[str, ...]
    depth: int = 10
    books: list[oracle.Book] = field(default_factory=list)
    states: list[int] = field(default_factory=list)
    stamp: int = 1

    def __post_init__(self) -> None:
        specs = tuple(
            FeedSpec(f"v{number}", BITSTAMP.rules, number, "btcusd", tick)
            for number, tick in enumerate(self.ticks)
        )
        self.rig = Rig(
            InstrumentSpec("BTC-USD", specs, self.depth), window_slots=64, far_levels_max=512
        )
        for number in range(len(specs)):
            self.books.append(oracle.BitstampBook(id=0))
            self.rig.start(bitstamp_snapshot(self.stamp), feed=number)
            self.states.append(L.LIVE)

    def apply(self, venue: int, rows: list[tuple[int, int, int]], *, is_last: bool = True) -> int:
        """(is ask, ticks, amount) rows in one frame of a venue."""
        self.stamp += 1
        tick = Decimal(self.ticks[venue])
        sides: tuple[list[tuple[str, str]], list[tuple[str, str]]] = ([], [])
        for is_asks, ticks, amount in rows:
            sides[is_asks].append((str(ticks * tick), str(amount)))
        raw = bitstamp_frame(self.stamp, *sides)
        status = self.rig.feed(raw, venue, is_last=is_last)
        if self.states[venue] in (L.LIVE, L.STALE):
            diff = oracle.read_bitstamp_diff(raw)
            assert diff is not None
            self.books[venue].apply(diff)
        return status

    def set_state(self, venue: int, state: int) -> None:
        self.rig.set_state(state, venue)
        self.states[venue] = state

    def wanted(self) -> tuple[oracle.Merged, oracle.Merged]:
        books = [
            book if state == L.LIVE else None
            for book, state in zip(self.books, self.states, strict=True)
        ]
        return oracle.merge(books, self.depth)

    def check(self) -> Published:
        self.rig.engine.publish_touched()
        published = self.rig.published()
        bids, asks = self.wanted()
        assert published.bids == bids
        assert published.asks == asks
        assert published.is_crossed == oracle.is_crossed(bids, asks)
        assert published.states == tuple(self.states)
        return published


# --- properties ----------------------------------------------------------------------------------

rows = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.one_of(st.integers(1, 12).map(lambda n: n * 50), st.integers(1, 300)),
        st.sampled_from([0, 1, 1, 2, 3]),
    ),
    min_size=1,
    max_size=10,
)
steps = st.lists(
    st.tuples(st.integers(0, 7), rows | st.sampled_from([L.LIVE, L.LIVE, L.STALE])),
    min_size=1,
    max_size=14,
)


@given(
    ticks=st.lists(st.sampled_from(TICKS), min_size=1, max_size=L.VENUES_MAX),
    depth=st.sampled_from([1, 2, 10, L.DEPTH_MAX]),
    steps=steps,
)
@settings(max_examples=10 if JIT_OFF else 150)
def test_the_merge_is_the_oracles(
    ticks: list[str], depth: int, steps: list[tuple[int, list[tuple[int, int, int]] | int]]
) -> None:
    market = Market(tuple(ticks), depth)
    for number, step in steps:
        venue = number % len(ticks)
        before, sequence = market.check(), market.rig.sequence()
        if isinstance(step, int):
            market.set_state(venue, step)
            assert market.rig.sequence() == sequence + 1, "a state is published at once"
        else:
            market.apply(venue, step)
            after = market.rig.published()
            changed = (before.bids, before.asks) != (after.bids, after.asks)
            assert market.rig.sequence() == sequence + changed, "once if it changed, else not"
        market.check()


# --- examples ------------------------------------------------------------------------------------


def test_one_price_at_eight_venues_is_eight_levels_larger_amount_first() -> None:
    market = Market(("0.01", "0.05", "0.5", "0.25", "1", "0.02", "0.1", "0.03"))
    amounts = [2, 5, 2, 9, 1, 5, 9, 2]
    for venue, (tick, amount) in enumerate(zip(market.ticks, amounts, strict=True)):
        market.apply(venue, [(0, int(3 / Decimal(tick)), amount)])
    published = market.check()
    assert [venue for _, _, venue in published.bids] == [3, 6, 1, 5, 0, 2, 7, 4]
    assert {price for price, _, _ in published.bids} == {Decimal(3)}
    assert published.asks == []
    assert not published.is_crossed


@pytest.mark.parametrize("state", [s for s in range(len(L.STATE_NAMES)) if s != L.LIVE])
def test_only_live_venues_contribute(state: int) -> None:
    market = Market(("0.01", "0.01"))
    market.apply(0, [(0, 100, 1), (1, 200, 1)])
    market.apply(1, [(0, 101, 1), (1, 199, 1)])
    market.check()
    market.set_state(1, state)
    published = market.check()
    assert {venue for _, _, venue in published.bids + published.asks} == {0}
    market.set_state(0, state)
    published = market.check()
    assert (published.bids, published.asks) == ([], [])


def test_a_stale_venue_keeps_its_book_and_comes_back_with_what_it_missed() -> None:
    market = Market(("0.01",))
    market.apply(0, [(0, 100, 1)])
    market.set_state(0, L.STALE)
    assert market.apply(0, [(0, 101, 1), (0, 100, 0)]) == S.RESUMED
    assert market.check().bids == []
    market.set_state(0, L.LIVE)
    assert market.check().bids == [(Decimal("1.01"), Decimal(1), 0)]


def test_crossed_and_locked_books_are_published_as_they_are() -> None:
    market = Market(("0.01", "0.01"))
    market.apply(0, [(0, 100, 1), (1, 102, 1)])
    assert not market.check().is_crossed
    market.apply(1, [(0, 102, 1)])
    assert market.check().is_crossed, "locked"
    market.apply(1, [(0, 103, 1)])
    published = market.check()
    assert published.is_crossed
    assert published.bids[0][0] > published.asks[0][0]
    market.apply(1, [(0, 103, 0), (0, 102, 0)])
    assert not market.check().is_crossed


def test_a_change_below_the_depth_is_not_published() -> None:
    market = Market(("0.01",), depth=2)
    market.apply(0, [(0, 100, 1), (0, 99, 1), (0, 98, 1)])
    before = market.rig.sequence()
    market.apply(0, [(0, 97, 1), (0, 98, 5), (0, 10, 1)])
    assert market.rig.sequence() == before
    market.apply(0, [(0, 99, 0)])
    assert market.rig.sequence() == before + 1
    assert market.check().bids[1] == (Decimal("0.98"), Decimal(5), 0)


def test_a_change_that_is_taken_back_in_one_buffer_is_not_published() -> None:
    market = Market(("0.01", "0.05"))
    market.apply(0, [(0, 100, 1)])
    before = market.rig.sequence()
    market.apply(0, [(0, 100, 0)], is_last=False)
    market.apply(0, [(0, 100, 1)], is_last=True)
    assert market.rig.sequence() == before
    assert market.check().bids == [(Decimal("1.00"), Decimal(1), 0)]


def test_the_largest_numbers_merge_without_overflow() -> None:
    market = Market(("1", "2"), depth=2)
    most = "92233720368.54775807"
    for venue, price in ((0, 2**62), (1, 2**62 - 2)):
        market.stamp += 1
        raw = bitstamp_frame(market.stamp, [("4", most)], [(str(price), most)])
        assert market.rig.feed(raw, venue) == S.APPLIED
    published = market.rig.published()
    assert [price for price, _, _ in published.asks] == [2**62 - 2, 2**62]
    assert [venue for _, _, venue in published.bids] == [0, 1]
    assert {amount for _, amount, _ in published.bids + published.asks} == {Decimal(most)}


def test_a_published_book_names_its_trigger_and_its_times() -> None:
    market = Market(("0.01", "0.05"))
    market.apply(0, [(0, 100, 1)])
    raw = bitstamp_frame(77, [("2.00", "1")])
    assert market.rig.feed(raw, 1, receive_ns=123_456) == S.APPLIED
    published = market.rig.published()
    assert published.trigger_venue == 1
    assert published.receive_ns == published.publish_ns == 123_456
    assert published.venue_ns == 77_000
    assert published.update_ids == (market.stamp, 77)
