"""The limits over all market makers, each at its edge, and against naive sums."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.maker import order_layout as O
from engine.maker import risk_codes as R
from engine.maker import risk_gate
from engine.maker.orders import new_table
from engine.maker.shared_limits import SharedLimits, SharedLimitsSpec
from tests.engine.maker.rig import FAIR, LIMITS, NOW_NS, Maker

pytestmark = pytest.mark.kernel

S = 1_000_000_000
HOUR_RATE = (1_000, 3600 * S)
ROOMY = SharedLimitsSpec(venue_rate=HOUR_RATE, day_rate=HOUR_RATE)


def desk(
    spec: SharedLimitsSpec,
    pairs: tuple[tuple[str, str], ...],
    per_value: Fraction = Fraction(1),
    loss_rates: tuple[int, ...] = (1, 1, 1, 1),
) -> list[Maker]:
    """Market makers of these markets at one venue account."""
    shared = SharedLimits(spec, len(pairs), ["venue"])
    makers = []
    for number, pair in enumerate(pairs):
        maker = Maker(1, replace(LIMITS, daily_loss_max=1 << 50))
        rate = Fraction(loss_rates[number])
        shared.add(number, maker.table, maker.risk, pair, per_value, rate, ["venue"])
        maker.risk[O.RISK_IS_KNOWN] = 1
        maker.shared = shared  # type: ignore[attr-defined]  # its words must live on
        makers.append(maker)
    return makers


def buy(maker: Maker, lots: int) -> None:
    """Have a position, bought at the fair price."""
    maker.fill(maker.open(O.BUY, FAIR - 5, lots, level=9), maker.now_ns, O.BUY, FAIR, lots)


def test_one_currency_over_two_markets_counts_positions_and_open_orders() -> None:
    first, second = desk(replace(ROOMY, currencies={"BTC": 100}), (("BTC", "USD"), ("BTC", "USDT")))
    buy(first, 40)
    first.open(O.BUY, FAIR - 5, 30)
    assert second.new(O.BUY, FAIR - 5, 31) == 0
    assert second.refused() == {R.SHARED_EXPOSURE: 1}
    assert second.new(O.SELL, FAIR + 5, 100) > 0, "the other side has all its room and what is held"
    assert second.new(O.SELL, FAIR + 6, 41, level=1) == 0
    assert second.new(O.SELL, FAIR + 6, 40, level=1) > 0
    assert second.new(O.BUY, FAIR - 5, 30) > 0


def test_a_quote_currency_is_held_the_other_way_round() -> None:
    """Long of a base is short of what it was paid with, at the fair price."""
    limits = replace(ROOMY, currencies={"USD": 50 * FAIR})
    first, second = desk(limits, (("BTC", "USD"), ("ETH", "USD")))
    buy(first, 30)
    assert second.new(O.BUY, FAIR - 5, 21) == 0
    assert second.refused() == {R.SHARED_EXPOSURE: 1}
    assert second.new(O.BUY, FAIR - 5, 20) > 0
    assert second.new(O.SELL, FAIR + 5, 80) > 0


def test_a_currency_may_be_the_base_of_one_market_and_the_quote_of_another() -> None:
    limits = replace(ROOMY, currencies={"BTC": 1_000})
    base, quote = desk(limits, (("BTC", "USD"), ("ETH", "BTC")), Fraction(1, 100))
    quote.fair, base.fair = FAIR, FAIR
    buy(quote, 5)
    assert base.new(O.SELL, FAIR + 5, 100) > 0
    short = 5 * FAIR // 100 + 100
    assert quote.new(O.BUY, FAIR - 5, (1_000 - short) * 100 // FAIR + 1) == 0
    assert quote.refused() == {R.SHARED_EXPOSURE: 1}
    assert quote.new(O.BUY, FAIR - 5, (1_000 - short) * 100 // FAIR) > 0


def test_nothing_is_added_to_a_currency_before_all_positions_in_it_are_known() -> None:
    limits = replace(ROOMY, currencies={"BTC": 100})
    first, second, third = desk(limits, (("BTC", "USD"), ("ETH", "BTC"), ("SOL", "USD")))
    second.risk[O.RISK_IS_KNOWN] = 0
    for side, price in ((O.BUY, FAIR - 5), (O.SELL, FAIR + 5)):
        assert first.new(side, price, 1) == 0
        assert third.new(side, price, 1) > 0, "it has nothing to do with it"
    assert first.refused() == {R.SHARED_EXPOSURE: 2}
    second.risk[O.RISK_IS_KNOWN] = 1
    assert first.new(O.BUY, FAIR - 5, 1) > 0


def test_a_currency_without_a_limit_has_none() -> None:
    first, second = desk(replace(ROOMY, currencies={"EUR": 1}), (("BTC", "USD"), ("BTC", "USD")))
    buy(first, 100)
    assert second.new(O.BUY, FAIR - 5, 100) > 0


def test_the_daily_loss_of_all_halts_all_and_a_release_counts_anew() -> None:
    """Each loses less than it may; together it is too much, in one common currency."""
    limits = replace(ROOMY, loss_max_lots=1_000)
    makers = desk(limits, (("BTC", "USD"), ("ETH", "EUR")), loss_rates=(1, 2))
    for maker in makers:
        buy(maker, 10)
        maker.decide()
    first, second = makers
    first.fair -= 40
    first.decide()
    second.fair -= 29
    second.decide()
    assert [m.risk_state for m in makers] == [O.NORMAL, O.NORMAL], "400 and twice 290"
    second.fair -= 1
    second.decide()
    assert second.risk_state == O.HALTED and second.risk[O.RISK_HALT_REASON] == R.SHARED_LOSS
    first.decide()
    assert first.risk_state == O.HALTED and first.risk[O.RISK_HALT_REASON] == R.SHARED_LOSS
    assert risk_gate.release(first.table, first.risk) == O.NORMAL
    first.decide()
    assert first.risk_state == O.NORMAL, "the others' losses are not counted again"
    first.fair -= 99
    first.decide()
    assert first.risk_state == O.NORMAL
    first.fair -= 1
    first.decide()
    assert first.risk_state == O.HALTED


def test_a_loss_of_yesterday_is_none_of_today() -> None:
    first, second = desk(replace(ROOMY, loss_max_lots=100), (("BTC", "USD"), ("ETH", "USD")))
    for maker in (first, second):
        maker.now_ns = NOW_NS // risk_gate.DAY_NS * risk_gate.DAY_NS
        buy(maker, 1)
        maker.decide()
    first.fair -= 60
    first.decide()
    second.now_ns += risk_gate.DAY_NS
    second.decide()
    second.fair -= 60
    second.decide()
    assert second.risk_state == O.NORMAL


def test_a_venue_accounts_rates_are_those_of_all() -> None:
    makers = desk(
        replace(ROOMY, venue_rate=(3, 10 * S), day_rate=(4, 3600 * S)),
        (("BTC", "USD"), ("ETH", "USD")),
    )
    first, second = makers
    assert first.new(O.BUY, FAIR - 5, 1) and second.new(O.BUY, FAIR - 5, 1)
    assert first.new(O.SELL, FAIR + 5, 1)
    assert second.new(O.SELL, FAIR + 5, 1) == 0 and second.refused() == {R.SHARED_RATE: 1}
    for maker in makers:
        maker.now_ns += 11 * S
    assert second.new(O.SELL, FAIR + 5, 1)
    assert first.new(O.SELL, FAIR + 6, 1, level=1) == 0
    assert first.refused() == {R.SHARED_RATE_DAY: 1}


def test_each_market_maker_numbers_its_orders_in_a_part_of_its_own() -> None:
    first, last = new_table(1, 7), new_table(1, 7, maker=O.MAKERS_MAX - 1)
    assert first[O.ACCOUNT_SEQUENCE] == 0
    assert last[O.ACCOUNT_SEQUENCE] + O.ORDERS_MAX == O.SEQUENCE_MAX
    with pytest.raises(ValueError, match="market maker 32: 0 to 31"):
        new_table(1, 7, maker=O.MAKERS_MAX)


PAIRS = (("A", "B"), ("B", "C"), ("A", "C"), ("C", "A"))
ORDERS = st.tuples(st.integers(0, 3), st.integers(0, 1), st.integers(1, 60), st.booleans())


@settings(max_examples=60, deadline=None)
@given(st.lists(ORDERS, max_size=40), st.lists(st.integers(50, 400), min_size=3, max_size=3))
def test_no_order_passes_what_a_naive_sum_says(
    orders: list[tuple[int, int, int, bool]], limits: list[int]
) -> None:
    """At every order: all that is open of a side fills, and nothing of the other."""
    per_value = Fraction(3, 1_000)
    currencies = dict(zip("ABC", limits, strict=True))
    makers = desk(replace(ROOMY, currencies=currencies), PAIRS, per_value)
    for maker in makers:
        maker.decide()

    def worst(currency: str, sign: int) -> int:
        total = 0
        for (base, quote), maker in zip(PAIRS, makers, strict=True):
            for name, way in ((base, sign), (quote, -sign)):
                if name == currency:
                    side = O.BUY if way > 0 else O.SELL
                    opened = int(maker.table[O.ACCOUNT_OPEN_BUY_LOTS + side])
                    lots = way * maker.position + opened
                    exact = per_value * lots * FAIR
                    total += lots if name == base else -(-exact.numerator // exact.denominator)
        return total

    for number, (which, side, lots, is_filled) in enumerate(orders, 1):
        maker, (base, quote) = makers[which], PAIRS[which]
        sign = 1 if side == O.BUY else -1
        pays = per_value * lots * FAIR
        added = {base: sign * lots, quote: -sign * -(-pays.numerator // pays.denominator)}
        fits = all(
            (total := worst(name, 1 if more > 0 else -1) + abs(more)) <= 0
            or total <= currencies[name]
            for name, more in added.items()
        )
        price = FAIR - 5 if side == O.BUY else FAIR + 5
        before = maker.refused().get(R.SHARED_EXPOSURE, 0)
        found = maker.new(side, price, lots, level=number % O.SLOT_LEVELS)
        is_refused = maker.refused().get(R.SHARED_EXPOSURE, 0) > before
        assert fits if found else not (is_refused and fits)
        if found and is_filled:
            maker.fill(found, number, side, price, lots)
