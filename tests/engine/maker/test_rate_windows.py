"""Fills and volume over a window: limits that hold over every span, whatever fills when."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.compiling.jit import BOUNDS_CHECKED, JIT_OFF
from engine.maker import order_layout as O
from engine.maker import risk_codes as R
from tests.engine.maker.rig import FAIR, LIMITS, Maker, slot_of

EXAMPLES = settings(max_examples=30 if JIT_OFF else 60 if BOUNDS_CHECKED else 200)
SPAN_NS = 1_600
"""A hundred to a bucket."""
VOLUME_RATE = LIMITS.volume_rate
PAST_NS = SPAN_NS + SPAN_NS // O.WINDOW_BUCKETS
"""What was filled so long ago counts no more."""


def maker_with(
    *, fill_rate: tuple[int, int] = LIMITS.fill_rate, volume_rate: tuple[int, int] = VOLUME_RATE
) -> Maker:
    limits = replace(LIMITS, fill_rate=fill_rate, volume_rate=volume_rate)
    return Maker(venues=2, limits=limits)


def test_at_so_many_fills_everything_is_withdrawn_until_time_has_passed() -> None:
    maker = maker_with(fill_rate=(3, SPAN_NS))
    first = maker.open(O.BUY, 9_990, 10)
    other = maker.open(O.SELL, 10_010, 10, venue=1)
    for slot, price in ((slot_of(O.BUY), 9_990), (slot_of(O.SELL, venue=1), 10_010)):
        maker.want(slot, price, 10)
    for execution in (1, 2):
        maker.fill(first, execution, O.BUY, 9_990, 1)
        assert maker.decide() == [], "below the limit all stays"
    maker.fill(other, 1, O.SELL, 10_010, 1, venue=1)
    assert {(each.kind, each.id) for each in maker.decide()} == {
        (O.ACTION_CANCEL, first), (O.ACTION_CANCEL, other)
    }  # fmt: skip
    assert maker.refused() == {R.FILL_RATE: 1}, "told once"
    for order, venue in ((first, 0), (other, 1)):
        maker.event(O.FOUND_CLOSED, order, 1 + (venue == 0), venue=venue)
    maker.now_ns += SPAN_NS - 1
    assert maker.decide() == [] and maker.refused() == {R.FILL_RATE: 1}
    maker.now_ns += PAST_NS
    assert [each.kind for each in maker.decide()] == [O.ACTION_SUBMIT] * 2


def test_an_order_sent_past_the_plan_meets_the_limit_of_fills_too() -> None:
    maker = maker_with(fill_rate=(1, SPAN_NS))
    order = maker.open(O.BUY, 9_990, 10)
    maker.fill(order, 1, O.BUY, 9_990, 10)
    assert maker.new(O.SELL, 10_010, 10) == 0
    assert maker.refused() == {R.FILL_RATE: 2}


def test_volume_counts_what_is_open_and_what_was_filled_of_both_sides() -> None:
    maker = maker_with(volume_rate=(100, SPAN_NS))
    first = maker.open(O.BUY, 9_990, 40)
    assert maker.new(O.SELL, 10_010, 61, venue=1) == 0
    assert maker.refused() == {R.VOLUME_RATE: 1}
    second = maker.open(O.SELL, 10_010, 60, venue=1)
    assert maker.new(O.BUY, 9_980, 1, level=1) == 0, "40 and 60 are open"
    maker.fill(first, 1, O.BUY, 9_990, 40)
    maker.fill(second, 1, O.SELL, 10_010, 60, venue=1)
    assert maker.new(O.BUY, 9_990, 1) == 0 and maker.refused() == {R.VOLUME_RATE: 3}
    maker.now_ns += PAST_NS + 1
    assert maker.new(O.BUY, 9_990, 100)


def test_a_sum_that_is_told_late_counts_once() -> None:
    maker = maker_with(volume_rate=(100, SPAN_NS), fill_rate=(3, SPAN_NS))
    order = maker.open(O.BUY, 9_990, 50)
    maker.event(O.FOUND_CLOSED, order, filled_lots=50)
    maker.decide()
    maker.fill(order, 1, O.BUY, 9_990, 50)
    assert maker.new(O.BUY, 9_990, 51) == 0 and maker.new(O.BUY, 9_990, 50)
    assert maker.refused() == {R.VOLUME_RATE: 1}


def test_the_largest_numbers_are_held_and_no_limit_wraps() -> None:
    maker = Maker(venues=2, limits=replace(LIMITS, volume_rate=(O.LOTS_MAX, SPAN_NS)))
    for execution in range(1, 40):
        maker.fill(0, execution, execution % 2, FAIR, O.LOTS_MAX, venue=execution % 2)
        maker.decide()
        maker.now_ns += SPAN_NS // 20
    at = O.RISK_VOLUME_WINDOW_AT + O.WINDOW_COUNTS_AT
    counts = maker.risk[at : at + O.WINDOW_BUCKETS + 1]
    assert (counts >= 0).all() and counts.max() == O.LOTS_MAX


moves = st.lists(
    st.tuples(
        st.sampled_from(["new", "fill", "cancel", "wait"]),
        st.integers(0, 7),
        st.integers(1, 40),
        st.integers(0, 500),
    ),
    max_size=60,
)


@given(moves=moves, volume_max=st.integers(20, 120))
@EXAMPLES
def test_no_span_has_more_volume_than_its_limit(
    moves: list[tuple[str, int, int, int]], volume_max: int
) -> None:
    maker = maker_with(volume_rate=(volume_max, SPAN_NS))
    fills: list[tuple[int, int]] = []
    orders: list[list[int]] = []
    for number, (kind, which, lots, wait_ns) in enumerate(moves):
        if kind == "wait":
            maker.now_ns += wait_ns
        elif kind == "new":
            side, venue = which % 2, which // 2 % 2
            order = maker.new(side, 9_990 if side == O.BUY else 10_010, lots, which // 4, venue)
            if order:
                maker.event(O.ACK, order, venue=venue)
                orders.append([order, side, venue, lots])
        elif orders and kind == "fill":
            chosen = orders[which % len(orders)]
            traded = min(lots, chosen[3])
            maker.fill(chosen[0], number + 1, chosen[1], FAIR, traded, venue=chosen[2])
            fills.append((maker.now_ns, traded))
            chosen[3] -= traded
            maker.decide()
        elif orders:
            order, _, venue, _ = orders[which % len(orders)]
            maker.event(O.FOUND_CLOSED, order, maker.row(order).filled_lots, venue=venue)
            orders[which % len(orders)][3] = 0
        orders = [each for each in orders if each[3]]
        for end_ns, _ in fills:
            within = sum(lots for at, lots in fills if end_ns - SPAN_NS < at <= end_ns)
            assert within <= volume_max
