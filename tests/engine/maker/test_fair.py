"""The fair price against examples computed by hand and an oracle in fractions.

What is feared most: a price where there is none, an old one taken for a new one, and a venue that
counts though its weight is zero.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.compiling.atomics import Words
from engine.compiling.jit import BOUNDS_CHECKED, JIT_OFF
from engine.layout import layout as L
from engine.maker import fair_codes
from engine.maker import quote_layout as Q
from engine.maker.fair import WEIGHT_MAX, FairSpec, compute_fair, read_price
from engine.maker.own_lots import OWN_WORDS

Level = tuple[int, int, int]
"""Price, lots, venue."""

NO_OWN = np.zeros(OWN_WORDS, np.int64)
NOW_NS = 1_700_000_000_000_000_000
SECOND_NS = 1_000_000_000
EXAMPLES = settings(max_examples=60 if JIT_OFF else 150 if BOUNDS_CHECKED else 600)


@dataclass(frozen=True)
class Book:
    """A merged book: levels best first, and which venues are live."""

    bids: tuple[Level, ...] = ()
    asks: tuple[Level, ...] = ()
    states: tuple[int, ...] = (L.LIVE, L.LIVE)

    def slot(self, at: int = 0) -> Words:
        """The slot as the engine publishes it, `at` words into an array of rubbish."""
        words = np.full(at + L.SLOT_WORDS, 7, np.int64)
        words[at + L.SLOT_VENUES_AT : at + L.SLOT_BIDS_AT] = 0
        for venue, state in enumerate(self.states):
            words[at + L.SLOT_VENUES_AT + venue * L.VENUE_WORDS + L.VENUE_STATE] = state
        for count_at, levels_at, levels in (
            (L.SLOT_BIDS, L.SLOT_BIDS_AT, self.bids),
            (L.SLOT_ASKS, L.SLOT_ASKS_AT, self.asks),
        ):
            words[at + count_at] = len(levels)
            flat = [word for level in levels for word in level]
            words[at + levels_at : at + levels_at + len(flat)] = flat
        return words


def compute(book: Book, words: Words, now_ns: int = NOW_NS, age_ns: int = 0) -> tuple[int, float]:
    status = compute_fair(book.slot(), 0, words, 0, NO_OWN, now_ns - age_ns, now_ns)
    price = read_price(words)
    assert words[Q.FAIR_STATUS] == status
    assert status in fair_codes.TEXTS
    assert math.isnan(price) == (status != fair_codes.AVAILABLE), (
        "a price exactly where it is available"
    )
    return status, price


BOOK = Book(
    bids=((100, 30, 0), (100, 10, 1), (98, 60, 1), (97, 500, 0)),
    asks=((104, 20, 1), (106, 80, 0), (106, 40, 1)),
)
BOTH = FairSpec((1000, 1000))

# --- examples ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        (replace(BOTH, method=Q.MID), 102.0),
        # 40 lots at 100 of two venues, 20 at 104: two thirds of the way up.
        (BOTH, 100 + Fraction(4 * 40, 60)),
        (replace(BOTH, method=Q.MICRO_PRICE, prices_max=1), 100 + Fraction(4 * 40, 60)),
        # Two prices a side: 100 lots against 140.
        (replace(BOTH, method=Q.MICRO_PRICE, prices_max=2), 100 + Fraction(4 * 100, 240)),
        (replace(BOTH, method=Q.MICRO_PRICE, prices_max=50), 100 + Fraction(4 * 600, 740)),
        # Venue 1 only: 10 at 100 and 20 at 104.
        (FairSpec((0, 1000)), 100 + Fraction(4 * 10, 30)),
        # Venue 0 only: its best ask is 106.
        (FairSpec((1, 0)), 100 + Fraction(6 * 30, 110)),
        (FairSpec((500, 2000)), 100 + Fraction(4 * 35, 75)),
        (FairSpec((0, 1000), method=Q.MICRO_PRICE, prices_max=2), 100 + Fraction(4 * 70, 130)),
    ],
)
def test_prices_computed_by_hand(spec: FairSpec, wanted: Fraction | float) -> None:
    status, price = compute(BOOK, spec.words())
    assert status == fair_codes.AVAILABLE
    assert price == pytest.approx(float(wanted), rel=1e-15)


def test_the_fair_price_leans_towards_the_thinner_side() -> None:
    heavy_bid = Book(bids=((100, 90, 0),), asks=((110, 10, 0),))
    assert compute(heavy_bid, BOTH.words())[1] == 109.0


def test_a_slot_and_words_anywhere_in_their_arrays() -> None:
    words = np.full(5 + Q.FAIR_WORDS + 3, 9, np.int64)
    words[5 : 5 + Q.FAIR_WORDS] = BOTH.words()
    assert compute_fair(BOOK.slot(11), 11, words, 5, NO_OWN, NOW_NS, NOW_NS) == fair_codes.AVAILABLE
    assert read_price(words, 5) == compute(BOOK, BOTH.words())[1]
    assert set(words[:5]) | set(words[5 + Q.FAIR_WORDS :]) == {9}


@pytest.mark.parametrize("method", range(len(Q.METHOD_NAMES)))
@pytest.mark.parametrize(
    ("book", "weights", "wanted"),
    [
        (Book(), (1000, 1000), fair_codes.EMPTY),
        (Book(bids=BOOK.bids), (1000, 1000), fair_codes.ONE_SIDED),
        (Book(asks=BOOK.asks), (1000, 1000), fair_codes.ONE_SIDED),
        (Book(bids=((9, 1, 0),), asks=((11, 1, 1),)), (1000, 0), fair_codes.ONE_SIDED),
        (Book(bids=((9, 1, 0),), asks=((11, 1, 0),)), (0, 1000), fair_codes.EMPTY),
        (replace(BOOK, states=(L.STALE, L.SYNCING)), (1000, 1000), fair_codes.NO_VENUE_LIVE),
        (replace(BOOK, states=(L.LIVE, L.STALE)), (0, 1000), fair_codes.NO_VENUE_LIVE),
        (replace(BOOK, states=()), (1000, 1000), fair_codes.NO_VENUE_LIVE),
    ],
)
def test_no_price(book: Book, weights: tuple[int, ...], wanted: int, method: int) -> None:
    assert compute(book, FairSpec(weights, method=method).words())[0] == wanted


@pytest.mark.parametrize(
    ("bid", "ask", "ppm_max", "wanted"),
    [
        # The mid is 1,000,000 throughout, so that a unit is a ppm.
        (1_000_000, 1_000_000, 0, fair_codes.AVAILABLE),
        (1_000_001, 999_999, 0, fair_codes.CROSSED),
        (1_000_001, 999_999, 2, fair_codes.AVAILABLE),
        (1_000_050, 999_950, 100, fair_codes.AVAILABLE),
        (1_000_050, 999_950, 99, fair_codes.CROSSED),
        (999_000, 1_001_000, 0, fair_codes.AVAILABLE),
    ],
)
def test_crossed_by_more_than_allowed(bid: int, ask: int, ppm_max: int, wanted: int) -> None:
    book = Book(bids=((bid, 5, 0),), asks=((ask, 5, 1),))
    status, price = compute(book, replace(BOTH, crossed_ppm_max=ppm_max).words())
    assert status == wanted
    assert wanted == fair_codes.CROSSED or price == 1_000_000.0


def test_an_excluded_venue_crosses_nothing() -> None:
    book = Book(bids=((500, 5, 1), (100, 5, 0)), asks=((102, 5, 0),))
    assert compute(book, BOTH.words())[0] == fair_codes.CROSSED
    assert compute(book, FairSpec((1000, 0)).words()) == (fair_codes.AVAILABLE, 101.0)


@pytest.mark.parametrize(
    ("age_ns", "wanted"),
    [
        (SECOND_NS, fair_codes.AVAILABLE),
        (SECOND_NS + 1, fair_codes.TOO_OLD),
        (-SECOND_NS, fair_codes.AVAILABLE),
        (-SECOND_NS - 1, fair_codes.TOO_OLD),
        (10**17, fair_codes.TOO_OLD),
    ],
)
def test_a_book_too_old_or_from_the_future(age_ns: int, wanted: int) -> None:
    words = replace(BOTH, age_ns_max=SECOND_NS).words()
    assert compute(BOOK, words, age_ns=age_ns)[0] == wanted


def test_lots_of_zero_make_no_price() -> None:
    book = Book(bids=((100, 0, 0),), asks=((102, 0, 0),))
    assert compute(book, BOTH.words())[0] == fair_codes.NOT_FINITE
    assert compute(book, replace(BOTH, method=Q.MID).words()) == (fair_codes.AVAILABLE, 101.0)


def test_the_largest_numbers_stay_finite() -> None:
    price, lots = 2**62 - 1, 2**63 - 1
    levels = tuple((price, lots, venue % 2) for venue in range(L.DEPTH_MAX))
    spec = FairSpec((WEIGHT_MAX,) * 2, method=Q.MICRO_PRICE)
    assert compute(Book(levels, levels), spec.words()) == (fair_codes.AVAILABLE, float(2**62))


def test_words_that_nobody_wrote_are_no_price() -> None:
    assert np.zeros(Q.FAIR_WORDS, np.int64)[Q.FAIR_STATUS] != fair_codes.AVAILABLE
    assert BOTH.words()[Q.FAIR_STATUS] == fair_codes.NOT_COMPUTED
    assert math.isnan(read_price(BOTH.words()))


# --- the average ---------------------------------------------------------------------------------


def at_price(price: int) -> Book:
    return Book(bids=((price - 1, 5, 0),), asks=((price + 1, 5, 0),))


AVERAGED = replace(BOTH, method=Q.MID, half_life_ns=SECOND_NS)


def test_the_average_goes_half_the_way_in_a_half_life() -> None:
    words = AVERAGED.words()
    assert compute(at_price(100), words)[1] == 100.0, "it starts at the first price"
    assert compute(at_price(200), words, NOW_NS)[1] == 100.0, "no time, no weight"
    assert compute(at_price(200), words, NOW_NS + SECOND_NS)[1] == pytest.approx(150, rel=1e-14)
    price = compute(at_price(200), words, NOW_NS + 3 * SECOND_NS)[1]
    assert price == pytest.approx(187.5, rel=1e-14)
    assert compute(at_price(300), words, NOW_NS + 10**6 * SECOND_NS)[1] == 300.0


def test_the_average_counts_the_time_between_calls_however_old_the_book() -> None:
    words = AVERAGED.words()
    compute(at_price(100), words, NOW_NS, age_ns=SECOND_NS)
    price = compute(at_price(200), words, NOW_NS + SECOND_NS, age_ns=3 * SECOND_NS)[1]
    assert price == pytest.approx(150, rel=1e-14)


def test_without_a_half_life_there_is_no_average() -> None:
    words = replace(AVERAGED, half_life_ns=0).words()
    compute(at_price(100), words)
    assert compute(at_price(200), words)[1] == 200.0


@pytest.mark.parametrize(
    ("gone", "age_ns", "why"),
    [
        (Book(), 0, fair_codes.EMPTY),
        (replace(BOOK, states=(L.STALE,)), 0, fair_codes.NO_VENUE_LIVE),
        (at_price(100), 10 * SECOND_NS, fair_codes.TOO_OLD),
        (Book(bids=((200, 1, 0),), asks=((100, 1, 0),)), 0, fair_codes.CROSSED),
    ],
)
def test_the_average_starts_anew_after_a_time_without_a_price(
    gone: Book, age_ns: int, why: int
) -> None:
    words = AVERAGED.words()
    compute(at_price(100), words)
    assert compute(gone, words, NOW_NS + 1, age_ns)[0] == why
    assert compute(at_price(200), words, NOW_NS + 2)[1] == 200.0, "nothing of the 100 is left"


def test_the_average_starts_anew_when_time_runs_backwards() -> None:
    words = AVERAGED.words()
    compute(at_price(100), words)
    assert compute(at_price(200), words, NOW_NS - 1)[1] == 200.0


@pytest.mark.parametrize("broken", [math.nan, -5.0])
def test_a_broken_average_is_no_price_once_and_then_heals(broken: float) -> None:
    words = AVERAGED.words()
    compute(at_price(100), words)
    words[Q.FAIR_PRICE] = np.array([broken]).view(np.int64)[0]
    assert compute(at_price(200), words, NOW_NS + 1)[0] == fair_codes.NOT_FINITE
    assert compute(at_price(200), words, NOW_NS + 2) == (fair_codes.AVAILABLE, 200.0)


# --- properties ----------------------------------------------------------------------------------

levels = st.lists(
    st.tuples(st.integers(1, 40), st.integers(1, 10**12), st.integers(0, 2)), max_size=12
)
books = st.builds(
    lambda bids, asks, gap, states: Book(
        tuple(sorted(((900 - p, lots, v) for p, lots, v in bids), key=lambda row: -row[0])),
        tuple(sorted((900 + gap + p, lots, v) for p, lots, v in asks)),
        tuple(states),
    ),
    levels,
    levels,
    st.integers(-60, 60),
    st.lists(st.sampled_from([L.LIVE, L.LIVE, L.STALE]), min_size=3, max_size=3),
)
specs = st.builds(
    FairSpec,
    st.tuples(*[st.sampled_from([0, 1, 500, 1000])] * 3).filter(any),
    method=st.integers(0, 2),
    prices_max=st.integers(1, 6),
    crossed_ppm_max=st.sampled_from([0, 10_000, 30_000]),
)


def oracle(book: Book, spec: FairSpec) -> tuple[int, Fraction]:
    """The status and the exact price, as the module's text says it."""
    weights = dict(enumerate(spec.weights_mille))
    live = [v for v, state in enumerate(book.states) if state == L.LIVE and weights[v]]
    if not live:
        return fair_codes.NO_VENUE_LIVE, Fraction(0)
    sides = []
    for rows in (book.bids, book.asks):
        lots: dict[int, int] = {}
        for price, amount, venue in rows:
            if weights[venue]:
                lots[price] = lots.get(price, 0) + amount * weights[venue]
        sides.append(list(lots.items()))
    bids, asks = sides
    if not bids or not asks:
        return (fair_codes.ONE_SIDED if bids or asks else fair_codes.EMPTY), Fraction(0)
    bid, ask = bids[0][0], asks[0][0]
    mid = Fraction(bid + ask, 2)
    if Fraction(bid - ask) / mid > Fraction(spec.crossed_ppm_max, Q.PPM):
        return fair_codes.CROSSED, Fraction(0)
    if spec.method == Q.MID:
        return fair_codes.AVAILABLE, mid
    count = spec.prices_max if spec.method == Q.MICRO_PRICE else 1
    bought, sold = (sum(amount for _, amount in side[:count]) for side in sides)
    return fair_codes.AVAILABLE, Fraction(bought * ask + sold * bid, bought + sold)


@given(book=books, spec=specs)
@EXAMPLES
def test_the_price_is_the_oracles(book: Book, spec: FairSpec) -> None:
    status, price = compute(book, spec.words())
    wanted, exact = oracle(book, spec)
    assert status == wanted, fair_codes.TEXTS[status]
    if status == fair_codes.AVAILABLE:
        assert abs(Fraction(price) - exact) <= exact * Fraction(1, 2**50)


@example(prices=[43342, 2], steps=[0, 314, *[0] * 10], half_life_ns=12)
@given(
    prices=st.lists(st.none() | st.integers(2, 10**6), min_size=1, max_size=12),
    steps=st.lists(st.integers(0, 5 * SECOND_NS), min_size=12, max_size=12),
    half_life_ns=st.integers(1, 3 * SECOND_NS),
)
@EXAMPLES
def test_the_average_is_the_weighted_sum_since_the_last_gap(
    prices: list[int | None], steps: list[int], half_life_ns: int
) -> None:
    """Written out: each price weighs what its time took from the rest, halved ever since."""
    words = replace(AVERAGED, half_life_ns=half_life_ns).words()
    now_ns = NOW_NS
    run: list[tuple[int, int]] = []
    for price, step in zip(prices, steps, strict=False):
        now_ns += step
        if price is None:
            assert compute(Book(), words, now_ns)[0] == fair_codes.EMPTY
            run = []
            continue
        run.append((price, now_ns))
        left = [2.0 ** -((now_ns - time_ns) / half_life_ns) for _, time_ns in run]
        shares = [left[0], *(new - old for old, new in itertools.pairwise(left))]
        wanted = math.fsum(p * share for (p, _), share in zip(run, shares, strict=True))
        # Each of the run's steps rounds a few times, at the scale of the largest price in it.
        bound = 64 * 2.0**-53 * max(p for p, _ in run)
        assert abs(compute(at_price(price), words, now_ns)[1] - wanted) <= bound


# --- the specification ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"method": 3}, "method"),
        ({"prices_max": 0}, "prices_max"),
        ({"prices_max": L.DEPTH_MAX + 1}, "prices_max"),
        ({"crossed_ppm_max": -1}, "crossed_ppm_max"),
        ({"age_ns_max": 0}, "age_ns_max"),
        ({"half_life_ns": -1}, "half_life_ns"),
        ({"half_life_ns": 1.5}, "half_life_ns"),
        ({"weights_mille": ()}, "venues"),
        ({"weights_mille": (1,) * (L.VENUES_MAX + 1)}, "venues"),
        ({"weights_mille": (1000, -1)}, "weight = -1"),
        ({"weights_mille": (0, 0)}, "every venue's weight is 0"),
    ],
)
def test_rules_that_cannot_be_are_refused_in_words(change: dict[str, object], said: str) -> None:
    with pytest.raises(Q.SpecError, match=said):
        replace(BOTH, **change).words()  # type: ignore[arg-type]
