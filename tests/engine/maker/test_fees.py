"""Fees in the order table: in base from the position, the rest from the cash, each once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.maker import order_layout as O
from engine.maker import risk_codes as R
from engine.maker import risk_gate
from tests.engine.maker.rig import FAIR, Maker

pytestmark = pytest.mark.kernel


def fees(maker: Maker) -> tuple[int, int, int]:
    """Position, cash, and all fees as a value."""
    words = (O.ACCOUNT_POSITION_LOTS, O.ACCOUNT_CASH_VALUE, O.ACCOUNT_FEE_VALUE)
    position, cash, fee = (int(maker.table[word]) for word in words)
    return position, cash, fee


def venue_word(maker: Maker, venue: int, word: int) -> int:
    return int(maker.table[O.ACCOUNT_WORDS + venue * O.VENUE_WORDS + word])


def test_a_fee_in_base_makes_the_position_smaller_and_leaves_the_cash() -> None:
    maker = Maker()
    order = maker.open(O.BUY, FAIR - 10, 100)
    assert maker.fill(order, 1, O.BUY, FAIR - 10, 100, 100, fee_base_lots=3) == O.FILLED
    assert fees(maker) == (97, -100 * (FAIR - 10), 3 * (FAIR - 10))
    assert maker.table[O.ACCOUNT_FEE_BASE_LOTS] == 3
    assert venue_word(maker, 0, O.VENUE_POSITION_LOTS) == 97
    assert venue_word(maker, 0, O.VENUE_FEE_VALUE) == 3 * (FAIR - 10)
    assert maker.table[O.ACCOUNT_ANOMALIES] == 0


def test_a_fee_in_quote_makes_the_cash_smaller_and_leaves_the_position() -> None:
    maker = Maker()
    order = maker.open(O.SELL, FAIR + 10, 100)
    assert maker.fill(order, 1, O.SELL, FAIR + 10, 100, 100, fee_value=77) == O.FILLED
    assert fees(maker) == (-100, 100 * (FAIR + 10) - 77, 77)
    assert maker.table[O.ACCOUNT_FEE_BASE_LOTS] == 0


def test_a_rebate_is_a_fee_below_zero() -> None:
    maker = Maker()
    order = maker.open(O.BUY, FAIR - 10, 100)
    maker.fill(order, 1, O.BUY, FAIR - 10, 50, fee_base_lots=-2)
    maker.fill(order, 2, O.BUY, FAIR - 10, 50, fee_value=-5)
    assert fees(maker) == (102, -100 * (FAIR - 10) + 5, -2 * (FAIR - 10) - 5)


def test_an_execution_that_is_told_twice_pays_once() -> None:
    maker = Maker()
    order = maker.open(O.BUY, FAIR - 10, 100)
    for _ in range(2):
        maker.fill(order, 1, O.BUY, FAIR - 10, 40, fee_base_lots=1, fee_value=2)
    assert fees(maker) == (39, -40 * (FAIR - 10) - 2, FAIR - 10 + 2)


def test_lots_that_were_known_before_their_execution_pay_when_it_comes() -> None:
    maker = Maker()
    order = maker.open(O.BUY, FAIR - 10, 100)
    maker.event(O.FOUND_CLOSED, order, 60)
    assert fees(maker) == (60, -60 * (FAIR - 10), 0)
    maker.fill(order, 1, O.BUY, FAIR - 10, 60, 60, fee_base_lots=4)
    assert fees(maker) == (56, -60 * (FAIR - 10), 4 * (FAIR - 10))


def test_the_fill_of_an_order_that_is_not_known_pays_too() -> None:
    maker = Maker()
    maker.fill(7, 1, O.SELL, FAIR, 10, fee_value=9)
    assert fees(maker) == (-10, 10 * FAIR - 9, 9)


def test_the_gate_counts_fees_as_a_loss() -> None:
    limits = risk_gate.RiskLimits(100, 10**12, 500, 10, 1000, 10**12, 1000, daily_loss_max=500)
    maker = Maker(limits=limits)
    order = maker.open(O.BUY, FAIR, 100)
    maker.fill(order, 1, O.BUY, FAIR, 100, 100, fee_value=499)
    maker.decide()
    assert maker.risk_state != O.HALTED
    maker.fill(0, 2, O.BUY, FAIR, 1, fee_value=1)
    maker.decide()
    assert maker.risk_state == O.HALTED
    assert maker.risk[O.RISK_HALT_REASON] == R.DAILY_LOSS


@pytest.mark.parametrize("fee", [{"fee_base_lots": 11}, {"fee_value": 10 * FAIR + 1}])
def test_a_fee_above_what_was_traded_is_an_anomaly(fee: dict[str, int]) -> None:
    maker = Maker()
    order = maker.open(O.BUY, FAIR, 100)
    maker.fill(order, 1, O.BUY, FAIR, 10, **fee)
    assert maker.table[O.ACCOUNT_ANOMALIES] == 1


@pytest.mark.parametrize(
    "fee", [{"fee_base_lots": O.LOTS_MAX + 1}, {"fee_value": -O.VALUE_MAX - 1}]
)
def test_a_fee_beyond_all_bounds_is_no_event(fee: dict[str, int]) -> None:
    maker = Maker()
    order = maker.open(O.BUY, FAIR, 100)
    maker.fill(order, 1, O.BUY, FAIR, 10, **fee)
    assert maker.table[O.ACCOUNT_BAD_EVENTS] == 1 and fees(maker) == (0, 0, 0)


FILL = st.tuples(
    st.sampled_from((O.BUY, O.SELL)),
    st.integers(1, 20),
    st.integers(-1, 1),
    st.integers(-50, 50),
    st.integers(0, 1),
)


@given(st.lists(FILL, max_size=12))
def test_the_sums_are_those_of_the_fills(fills: list[tuple[int, int, int, int, int]]) -> None:
    maker = Maker(venues=2)
    position = cash = fee = base = 0
    for number, (side, lots, fee_base, fee_value, venue) in enumerate(fills, 1):
        price = FAIR + number
        maker.fill(
            0, number, side, price, lots, venue=venue, fee_base_lots=fee_base, fee_value=fee_value
        )
        sign = 1 if side == O.BUY else -1
        position += sign * lots - fee_base
        cash -= sign * lots * price + fee_value
        fee += fee_base * price + fee_value
        base += fee_base
    assert fees(maker) == (position, cash, fee)
    assert maker.table[O.ACCOUNT_FEE_BASE_LOTS] == base
    for word, total in (
        (O.VENUE_POSITION_LOTS, position),
        (O.VENUE_CASH_VALUE, cash),
        (O.VENUE_FEE_VALUE, fee),
    ):
        assert sum(venue_word(maker, venue, word) for venue in range(2)) == total
