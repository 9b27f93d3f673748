"""Rates: exact, rounded against us, and every limit and sum in the account's currency."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.compiling.jit import JIT_OFF, kernel
from engine.maker import order_layout as O
from engine.maker import risk_codes as R
from engine.maker.account import set_rate
from engine.maker.rates import RATE_MAX, RATE_MIN, rated
from tests.engine.maker.rig import FAIR, LIMITS, Maker

pytestmark = pytest.mark.kernel

RATES = st.integers(RATE_MIN, RATE_MAX)
HALF = O.RATE_ONE // 2


@kernel("int64(int64, int64, int64)")
def rated_value(value: int, rate: int, is_up: int) -> int:
    return rated(value, rate, is_up != 0)


@given(st.integers(0, O.VALUE_MAX), RATES, st.booleans())
def test_a_value_times_a_rate_is_exact_and_rounded_as_asked(
    value: int, rate: int, is_up: bool
) -> None:
    exact = Fraction(value * rate, O.RATE_ONE)
    wanted = -(-exact.numerator // exact.denominator) if is_up else int(exact)
    assert rated_value(value, rate, is_up) == min(wanted, O.VALUE_MAX)


@settings(max_examples=30 if JIT_OFF else 200, deadline=None)
@given(st.lists(RATES, min_size=3, max_size=3), st.data())
def test_the_accounts_cash_is_that_of_every_venue_at_its_rate_of_now(
    rates: list[int], data: st.DataObject
) -> None:
    """Whatever was filled, in whichever order rates came: nothing of an earlier rate is left."""
    maker, cash = Maker(venues=2), [0, 0]
    for number, rate in enumerate(rates):
        venue = data.draw(st.integers(0, 1))
        side, price = data.draw(st.integers(0, 1)), data.draw(st.integers(1, 10**6))
        lots, fee = data.draw(st.integers(1, 1_000)), data.draw(st.integers(-50, 50))
        maker.fill(0, number + 1, side, price, lots, venue=venue, fee_value=fee)
        cash[venue] += (price if side == O.SELL else -price) * lots - fee
        set_rate(maker.table, venue, rate)
    worth = 0
    for venue in range(2):
        now = int(maker.table[O.venue_word(venue, O.VENUE_RATE)])
        worth += cash[venue] * now // O.RATE_ONE
        assert maker.table[O.venue_word(venue, O.VENUE_CASH_VALUE)] == cash[venue]
    assert maker.table[O.ACCOUNT_CASH_VALUE] == worth


def test_fees_count_at_the_rate_rounded_up() -> None:
    maker = Maker()
    set_rate(maker.table, 0, HALF)
    maker.fill(0, 1, O.BUY, 100, 10, fee_value=7)
    assert maker.table[O.ACCOUNT_FEE_VALUE] == 4
    assert maker.table[O.venue_word(0, O.VENUE_FEE_VALUE)] == 7


def test_the_collar_and_the_value_are_in_the_accounts_currency() -> None:
    """At a venue whose currency is worth a half, twice the fair price is the fair price."""
    maker = Maker(venues=2)
    assert not maker.new(O.BUY, 2 * FAIR, 10, venue=1)
    set_rate(maker.table, 1, HALF)
    assert maker.new(O.BUY, 2 * FAIR - 10, 10, venue=1)
    assert not maker.new(O.BUY, FAIR - 10, 10, level=1, venue=1)
    collar = FAIR * LIMITS.collar_bps // 10_000
    assert not maker.new(O.BUY, 2 * (FAIR - collar) - 1, 10, level=2, venue=1)
    assert maker.new(O.BUY, 2 * (FAIR - collar), 10, level=2, venue=1)
    assert maker.refused() == {R.COLLAR: 3}


def test_own_orders_cross_where_what_they_are_worth_does() -> None:
    maker = Maker(venues=2)
    set_rate(maker.table, 1, HALF)
    maker.open(O.SELL, FAIR + 10, 10)
    assert not maker.new(O.BUY, 2 * FAIR + 20, 10, venue=1)
    assert not maker.new(O.BUY, 2 * FAIR + 19, 10, venue=1), "rounded against us"
    assert maker.new(O.BUY, 2 * FAIR + 18, 10, venue=1)
    assert maker.refused() == {R.OWN_CROSS: 2}


def test_one_venues_own_prices_are_compared_as_they_are() -> None:
    """Two neighbouring ticks of one venue are two prices, whatever one of them is worth."""
    maker = Maker()
    set_rate(maker.table, 0, O.RATE_ONE * 9_996 // 10_000)
    maker.open(O.SELL, FAIR + 1, 10)
    assert maker.new(O.BUY, FAIR, 10)
