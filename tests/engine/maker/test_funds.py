"""What an account can pay for: every cut level by examples, and by properties of all of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.compiling.atomics import Words
from engine.compiling.jit import kernel
from engine.maker import order_layout as O
from engine.maker import quote_layout as Q
from engine.maker.funds import (
    FUND_BASE_LOTS,
    FUND_BUY_LOTS_MAX,
    FUND_QUOTE_VALUE,
    FUND_WORDS,
    fit_side,
    limit_venue,
    new_funds,
    venue_skew_ppm,
)
from engine.maker.orders import new_table
from engine.maker.quotes import QuoteSpec

pytestmark = pytest.mark.kernel

SPEC = QuoteSpec(
    lots=100, position_lots_max=10_000, levels=4, lot_step=10, lots_min=20, notional_min=3_000,
    hold_mille=500, tick_units=5,
)  # fmt: skip
PRICES = {O.BUY: (100, 99, 98, 97), O.SELL: (102, 103, 104, 105)}
VENUE = 1
Levels = tuple[int, int, int, int]


@kernel("int64(int64[::1], int64[::1], int64, int64, int64[::1], int64, int64)")
def fit(
    funds: Words, table: Words, venue: int, side: int, quotes: Words, at: int, room: int
) -> int:
    """`fit_side` for Python."""
    return fit_side(funds, table, venue, side, quotes, at, room)


@kernel("int64(int64[::1], int64[::1], int64)")
def skew_ppm(funds: Words, table: Words, venue: int) -> int:
    """`venue_skew_ppm` for Python."""
    return venue_skew_ppm(funds, table, venue)


@dataclass
class Bench:
    """The second of two venues, with four levels a side."""

    spec: QuoteSpec = SPEC
    scale: int = 1

    def __post_init__(self) -> None:
        self.table = new_table(2, 7, self.scale)
        self.funds = new_funds(2)
        self.quotes: Words = np.concatenate([SPEC.words(), self.spec.words()])
        self.at = Q.QUOTE_WORDS

    def give(self, word: int, amount: int) -> None:
        self.funds[VENUE * FUND_WORDS + word] = amount

    def hold(self, lots: int) -> None:
        at = O.ACCOUNT_WORDS + VENUE * O.VENUE_WORDS
        self.table[at + O.VENUE_POSITION_LOTS] = lots

    def put(self, kind: int, side: int, lots: Levels, prices: Levels | None = None) -> None:
        """Wanted or resting rows."""
        for level, (price, each) in enumerate(zip(prices or PRICES[side], lots, strict=True)):
            row = self.at + kind + (side * Q.LEVELS_MAX + level) * Q.ROW_WORDS
            self.quotes[row : row + Q.ROW_WORDS] = price, each

    def rest(self, side: int, lots: Levels, prices: Levels | None = None) -> None:
        self.put(Q.QUOTE_RESTING_AT, side, lots, prices)

    def fit(self, side: int, lots: Levels = (100,) * 4, room: int = O.LOTS_MAX) -> Levels:
        """What is left of the wanted lots."""
        self.put(Q.QUOTE_WANTED_AT, side, lots)
        self.left = int(fit(self.funds, self.table, VENUE, side, self.quotes, self.at, room))
        row = self.at + Q.QUOTE_WANTED_AT + side * Q.LEVELS_MAX * Q.ROW_WORDS
        found = self.quotes[row : row + 4 * Q.ROW_WORDS].reshape(-1, Q.ROW_WORDS)
        return tuple(found[:, Q.ROW_LOTS].tolist())


def test_without_limits_nothing_is_cut() -> None:
    bench = Bench()
    assert bench.fit(O.BUY) == bench.fit(O.SELL) == (100,) * 4


def test_bids_are_paid_for_from_the_best_on() -> None:
    bench = Bench()
    # 100 x 500 and 100 x 495 units, then half of the third level's 490.
    bench.give(FUND_QUOTE_VALUE, 50_000 + 49_500 + 50 * 490)
    assert bench.fit(O.BUY) == (100, 100, 50, 0)
    bench.give(FUND_QUOTE_VALUE, 50_000 + 49_500 + 50 * 490 - 1)
    assert bench.fit(O.BUY) == (100, 100, 40, 0), "down to a step"
    assert bench.fit(O.SELL) == (100,) * 4, "asks cost no quote currency"
    bench.give(FUND_QUOTE_VALUE, -1)
    assert bench.fit(O.BUY) == (0,) * 4


def test_asks_are_paid_for_in_base() -> None:
    bench = Bench()
    bench.give(FUND_BASE_LOTS, 250)
    assert bench.fit(O.SELL) == (100, 100, 50, 0)
    assert bench.fit(O.BUY) == (100,) * 4, "bids cost no base currency"


def test_a_level_below_the_filters_is_left_out() -> None:
    bench = Bench()
    bench.give(FUND_BASE_LOTS, 219)
    assert bench.fit(O.SELL) == (100, 100, 0, 0), "below lots_min, and its notional"
    # 30 lots at 104 ticks are worth 3120, at 99 ticks 2970.
    bench.give(FUND_BASE_LOTS, 230)
    assert bench.fit(O.SELL) == (100, 100, 30, 0)
    bench.give(FUND_QUOTE_VALUE, 50_000 + 30 * 495)
    assert bench.fit(O.BUY) == (100, 0, 0, 0)


def test_what_rests_stays_while_it_is_nearly_as_large_as_what_can_be_paid_for() -> None:
    bench = Bench(replace(SPEC, lots=20_000, lots_min=20, notional_min=0))
    bench.give(FUND_BASE_LOTS, 30_000)
    wanted = (20_000,) * 4
    bench.rest(O.SELL, (20_000, 8_000, 0, 0))
    assert bench.fit(O.SELL, wanted) == (20_000, 8_000, 0, 0)
    bench.rest(O.SELL, (20_000, 4_000, 0, 0))
    assert bench.fit(O.SELL, wanted)[:2] == (20_000, 10_000), "it has lost too much"
    bench.rest(O.SELL, (20_000, 8_000, 0, 0), (102, 101, 0, 0))
    assert bench.fit(O.SELL, wanted)[:2] == (20_000, 10_000), "it rests elsewhere"


def test_a_venue_s_own_limit_of_inventory() -> None:
    bench = Bench()
    limit_venue(bench.funds, VENUE, 250, 0)
    assert bench.fit(O.BUY) == bench.fit(O.SELL) == (100, 100, 50, 0)
    bench.hold(200)
    assert bench.fit(O.BUY) == (50, 0, 0, 0) and bench.fit(O.SELL) == (100,) * 4
    bench.hold(-300)
    assert bench.fit(O.SELL) == (0,) * 4, "beyond it nothing makes it worse"


def test_the_skew_of_a_venue_s_own_position() -> None:
    bench = Bench()
    limit_venue(bench.funds, VENUE, 1_000, 50)
    for held, skew in ((0, 0), (19, 0), (20, -1), (999, -49), (1_000, -50), (9_999, -50), (-40, 2)):
        bench.hold(held)
        assert skew_ppm(bench.funds, bench.table, VENUE) == skew
    assert skew_ppm(bench.funds, bench.table, 0) == 0
    for most, ppm in ((0, 1), (O.LOTS_MAX + 1, 1), (1, -1), (1, Q.PPM)):
        with pytest.raises(ValueError, match="no limit of a venue"):
            limit_venue(bench.funds, VENUE, most, ppm)


def test_a_position_is_reduced_and_no_further() -> None:
    bench = Bench()
    assert bench.fit(O.SELL, room=157) == (100, 50, 0, 0) and bench.left == 0
    assert bench.fit(O.SELL, room=500) == (100,) * 4 and bench.left == 100


def test_after_a_refusal_for_money_what_rests_is_kept_and_nothing_is_added() -> None:
    bench = Bench()
    bench.rest(O.BUY, (0, 100, 100, 0), (90, 91, 92, 93))
    bench.give(FUND_BUY_LOTS_MAX, 200)
    assert bench.fit(O.BUY) == (0, 100, 100, 0), "good orders move, and are not cancelled"
    assert bench.fit(O.SELL) == (100,) * 4
    # One of them has been taken out to be placed anew.
    bench.rest(O.BUY, (0, 0, 100, 0))
    assert bench.fit(O.BUY) == (100, 0, 100, 0)
    bench.rest(O.BUY, (100, 100, 100, 100))
    assert bench.fit(O.BUY) == (100,) * 4, "more rests than did: it is there, so it is paid for"


LOTS = st.tuples(*[st.integers(0, 40).map(lambda steps: 10 * steps)] * 4)


@given(
    side=st.sampled_from((O.BUY, O.SELL)),
    wanted=LOTS,
    resting=LOTS,
    value=st.integers(0, 200_000),
    base=st.integers(0, 1_600),
    scale=st.sampled_from((1, 10)),
)
def test_no_side_costs_more_than_there_is_and_money_is_used_from_the_best_on(
    side: int, wanted: Levels, resting: Levels, value: int, base: int, scale: int
) -> None:
    bench = Bench(scale=scale)
    bench.give(FUND_QUOTE_VALUE, value)
    bench.give(FUND_BASE_LOTS, base)
    bench.rest(side, resting)
    found = bench.fit(side, wanted)
    left = value if side == O.BUY else base
    for price, lots, asked, rests in zip(PRICES[side], found, wanted, resting, strict=True):
        cost = -(-price * 5 * lots // scale) if side == O.BUY else lots
        assert 0 <= lots <= asked and lots % 10 == 0 and cost <= left
        left -= cost
        step = -(-price * 5 * 10 // scale) if side == O.BUY else 10
        if 0 < lots < asked and lots != rests:
            assert left <= step, "a step more could be paid for"
        assert lots in (0, asked, rests) or (lots >= 20 and price * lots >= 3_000)
