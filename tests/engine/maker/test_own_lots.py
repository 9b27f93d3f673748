"""What of a book is ours does not count: neither for the fair price, nor in any lot that it has."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.compiling.atomics import Words
from engine.compiling.jit import BOUNDS_CHECKED, JIT_OFF, kernel
from engine.layout import layout as L
from engine.maker import fair_codes
from engine.maker import order_layout as O
from engine.maker import quote_layout as Q
from engine.maker.fair import FairSpec, compute_fair, read_price
from engine.maker.own_lots import OWN_WORDS, lots_of_others, own_lots, read_own
from tests.engine.maker.rig import Maker, slot_of
from tests.engine.maker.test_fair import NOW_NS, Book, Level

EXAMPLES = settings(max_examples=60 if JIT_OFF else 150 if BOUNDS_CHECKED else 400)
VENUES = 2


@kernel("void(int64[::1], int64, int64[::1], int64[::1], int64, int64)")
def read_own_now(
    table: Words, venue: int, own: Words, quotes: Words, tick_units: int, is_shown: int
) -> None:
    """`read_own` for Python."""
    read_own(table, venue, own, quotes, 0, tick_units, is_shown)


@kernel("int64(int64[::1], int64, int64, int64)")
def own_lots_now(own: Words, venue: int, side: int, price: int) -> int:
    """`own_lots` for Python."""
    return own_lots(own, venue, side, price)


@kernel("float64(int64, int64, int64)")
def lots_of_others_now(lots: int, lot_decimals: int, mine: int) -> float:
    """`lots_of_others` for Python."""
    return lots_of_others(lots, lot_decimals, mine)


def read(maker: Maker, is_shown: int = 1) -> tuple[Words, Words]:
    """What the book shows of a maker's orders, and the last venue's resting rows."""
    own = np.full(OWN_WORDS, 5, np.int64)
    quotes = np.zeros(Q.QUOTE_WORDS, np.int64)
    for venue in range(maker.venues):
        read_own_now(maker.table, venue, own, quotes, 10, is_shown)
    return own, quotes


def test_live_orders_are_read_by_venue_side_and_price() -> None:
    maker = Maker(venues=VENUES)
    first = maker.open(O.BUY, 9_900, 10, venue=1)
    maker.open(O.BUY, 9_900, 7, level=1, venue=1)
    maker.open(O.BUY, 9_890, 5, level=2, venue=1)
    maker.open(O.SELL, 10_100, 4, venue=1)
    maker.open(O.BUY, 9_900, 100, venue=0)
    gone = maker.open(O.SELL, 10_100, 3, level=1, venue=1)
    maker.event(O.FOUND_CLOSED, gone, venue=1)
    maker.fill(first, 1, O.BUY, 9_900, 4, venue=1)
    own, quotes = read(maker)
    places = ((1, 0, 9_900), (1, 0, 9_890), (1, 0, 9_880), (1, 1, 10_100), (0, 0, 9_900))
    assert [own_lots_now(own, *place) for place in places] == [6 + 7, 5, 0, 4, 100]
    rows = quotes[Q.QUOTE_RESTING_AT :][: Q.SLOTS * Q.ROW_WORDS].reshape(-1, Q.ROW_WORDS).tolist()
    assert rows[:3] == [[990, 6], [990, 7], [989, 5]]
    assert rows[slot_of(O.SELL)] == [1010, 4] and rows[slot_of(O.SELL, 1)] == [0, 0]


def test_on_paper_no_book_shows_what_rests() -> None:
    maker = Maker()
    maker.open(O.BUY, 9_900, 10)
    own, quotes = read(maker, is_shown=0)
    assert own_lots_now(own, 0, O.BUY, 9_900) == 0
    assert quotes[Q.QUOTE_RESTING_AT : Q.QUOTE_RESTING_AT + 2].tolist() == [990, 10]


def test_both_orders_of_a_replace_may_be_shown() -> None:
    maker = Maker()
    old = maker.open(O.BUY, 9_900, 10)
    (sent,) = maker.submit(O.ACTION_REPLACE, slot_of(O.BUY), 9_910, 8, old)
    own, quotes = read(maker)
    assert sent.kind == O.ACTION_REPLACE
    assert [own_lots_now(own, 0, O.BUY, price) for price in (9_900, 9_910)] == [10, 8]
    assert quotes[Q.QUOTE_RESTING_AT : Q.QUOTE_RESTING_AT + 2].tolist() == [991, 8]


@pytest.mark.parametrize(
    ("lots", "decimals", "mine", "wanted"),
    [
        (10, 8, 0, 10.0),
        (10, 8, 4, 6.0),
        (10, 8, 10, 0.0),
        (10, 8, 11, 0.0),
        (3, 6, 250, 0.5),  # a lot is a hundred of ours
        (3, 6, 300, 0.0),
        (3, 6, 399, 0.0),  # less than one of its lots would be left
        (401, 10, 4, 1.0),
        (400, 10, 4, 0.0),
    ],
)
def test_lots_of_any_size_are_compared_exactly(
    lots: int, decimals: int, mine: int, wanted: float
) -> None:
    assert lots_of_others_now(lots, decimals, mine) == wanted


prices = st.integers(1, 12)
lots = st.integers(1, 50)
sides = st.dictionaries(st.tuples(prices, st.integers(0, VENUES - 1)), lots, max_size=8)


def levels_of(side: dict[tuple[int, int], int], *, is_asks: bool, units: int) -> tuple[Level, ...]:
    """Best first, the larger amount before the smaller, as the engine publishes them."""
    base = 200 if is_asks else 100
    rows = [((base + price) * units, amount, venue) for (price, venue), amount in side.items()]
    return tuple(sorted(rows, key=lambda row: (row[0] if is_asks else -row[0], -row[1], row[2])))


def fair_of(book: Book, own: Words, spec: FairSpec, units: int) -> tuple[int, float]:
    words = spec.words()
    words[Q.FAIR_BOOK_UNITS] = units
    slot = book.slot()
    slot[L.SLOT_LOT_DECIMALS] = L.LOT_DECIMALS
    status = compute_fair(slot, 0, words, 0, own, NOW_NS, NOW_NS)
    return status, read_price(words)


@given(
    others=st.tuples(sides, sides),
    ours=st.tuples(sides, sides),
    method=st.integers(0, 2),
    prices_max=st.integers(1, 4),
    units=st.sampled_from([1, 100]),
)
@EXAMPLES
def test_the_fair_price_is_that_of_the_book_without_us(
    others: tuple[dict[tuple[int, int], int], ...],
    ours: tuple[dict[tuple[int, int], int], ...],
    method: int,
    prices_max: int,
    units: int,
) -> None:
    spec = FairSpec((1000, 400), method=method, prices_max=prices_max)
    own = np.zeros(OWN_WORDS, np.int64)
    shown: list[dict[tuple[int, int], int]] = [dict(side) for side in others]
    for side, mine in enumerate(ours):
        for (price, venue), amount in mine.items():
            shown[side][price, venue] = shown[side].get((price, venue), 0) + amount
            at = (venue * O.SIDES + side) * (OWN_WORDS // (L.VENUES_MAX * O.SIDES))
            own[at] += 1
            pair = at + 1 + (own[at] - 1) * Q.ROW_WORDS
            own[pair : pair + 2] = ((200 if side else 100) + price, amount)
    bare, full = (
        Book(
            levels_of(book[0], is_asks=False, units=units),
            levels_of(book[1], is_asks=True, units=units),
        )
        for book in (others, shown)
    )
    wanted = fair_of(bare, np.zeros(OWN_WORDS, np.int64), spec, units)
    found = fair_of(full, own, spec, units)
    assert found[0] == wanted[0]
    if wanted[0] == fair_codes.AVAILABLE:
        assert found[1] == pytest.approx(wanted[1], rel=1e-12)


def test_a_finer_price_is_none_of_ours() -> None:
    """Ours are whole units: a price between two of them is somebody else's."""
    maker = Maker(fair=100)
    maker.open(O.BUY, 100, 10)
    own, _ = read(maker)
    book = Book(bids=((1_005, 3, 0), (1_000, 10, 0)), asks=((1_100, 10, 0),))
    spec = FairSpec((1000,), method=Q.MID)
    assert fair_of(book, own, spec, 10) == (fair_codes.AVAILABLE, (100.5 + 110) / 2)
    alone = replace(book, bids=((1_000, 10, 0),))
    assert fair_of(alone, own, spec, 10)[0] == fair_codes.ONE_SIDED


def test_lots_are_fractions_of_others() -> None:
    """The weights of the weighted mid: 30 of 40 are ours."""
    maker = Maker(fair=100)
    maker.open(O.BUY, 100, 30)
    own, _ = read(maker)
    book = Book(bids=((100, 40, 0),), asks=((104, 30, 0),))
    _, price = fair_of(book, own, FairSpec((1000,)), 1)
    assert price == float(100 + Fraction(4 * 10, 40))
