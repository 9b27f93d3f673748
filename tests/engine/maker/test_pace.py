"""After a fill: a pause on its side, and nothing from the book that filled."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.compiling.atomics import Words
from engine.compiling.jit import BOUNDS_CHECKED, JIT_OFF, kernel
from engine.maker import order_layout as O
from engine.maker.pace import held_sides, new_pace, take_side_fills
from tests.engine.maker.rig import Maker

EXAMPLES = settings(max_examples=40 if JIT_OFF else 100 if BOUNDS_CHECKED else 300)
PAUSE_NS = 500
BIDS, ASKS = 1, 2


@kernel("int64(int64[::1], int64[::1], int64, int64, int64)")
def step_pace(pace: Words, table: Words, venue: int, stamp_ns: int, now_ns: int) -> int:
    """What a step does for one venue; the sides that are held."""
    take_side_fills(pace, table, venue, stamp_ns, now_ns)
    return held_sides(pace, venue, stamp_ns, now_ns)


def test_nothing_is_held_before_the_first_fill() -> None:
    maker, pace = Maker(venues=2), new_pace(PAUSE_NS)
    assert [step_pace(pace, maker.table, venue, 0, 0) for venue in (0, 1)] == [0, 0]


def test_a_fill_holds_its_side_everywhere_and_its_venue_until_the_next_frame() -> None:
    maker, pace = Maker(venues=2), new_pace(PAUSE_NS)
    order = maker.open(O.BUY, 9_900, 10)
    assert step_pace(pace, maker.table, 0, 7, 1_000) == 0
    maker.fill(order, 1, O.BUY, 9_900, 4)
    assert step_pace(pace, maker.table, 0, 7, 1_000) == BIDS
    assert step_pace(pace, maker.table, 1, 3, 1_000) == BIDS, "at every venue"
    assert step_pace(pace, maker.table, 0, 8, 1_499) == BIDS, "another frame, and still the pause"
    assert step_pace(pace, maker.table, 1, 3, 1_500) == 0
    assert step_pace(pace, maker.table, 0, 8, 1_500) == 0
    maker.fill(order, 2, O.BUY, 9_900, 4)
    assert step_pace(pace, maker.table, 0, 8, 2_000) == BIDS
    assert step_pace(pace, maker.table, 0, 8, 99_999) == BIDS, "the book that filled is still there"
    assert step_pace(pace, maker.table, 1, 3, 99_999) == 0
    assert step_pace(pace, maker.table, 0, 9, 99_999) == 0
    assert step_pace(pace, maker.table, 0, 8, 99_999) == 0, "a stamp that comes again means nothing"


def test_without_a_pause_the_next_frame_is_enough() -> None:
    maker, pace = Maker(), new_pace(0)
    order = maker.open(O.SELL, 10_100, 10)
    maker.fill(order, 1, O.SELL, 10_100, 10)
    assert step_pace(pace, maker.table, 0, 7, 1_000) == ASKS
    assert step_pace(pace, maker.table, 0, 8, 1_000) == 0


def test_a_fill_that_only_a_sum_knows_of_holds_too() -> None:
    maker, pace = Maker(), new_pace(PAUSE_NS)
    order = maker.open(O.SELL, 10_100, 10)
    maker.event(O.FOUND_CLOSED, order, filled_lots=10)
    assert step_pace(pace, maker.table, 0, 7, 1_000) == ASKS
    maker.fill(order, 1, O.SELL, 10_100, 10)
    assert step_pace(pace, maker.table, 0, 8, 1_600) == 0, "its own message is no second fill"


def test_an_execution_that_was_counted_long_ago_holds_nothing() -> None:
    """Of an order that the table has forgotten, but for the lots that it has counted already."""
    maker, pace = Maker(), new_pace(PAUSE_NS)
    first = maker.open(O.BUY, 9_900, 10)
    maker.event(O.FOUND_CLOSED, first, filled_lots=10)
    for _ in range(O.SLOT_ROWS):
        maker.event(O.FOUND_CLOSED, maker.open(O.BUY, 9_900, 10))
    step_pace(pace, maker.table, 0, 7, 1_000)
    maker.fill(first, 1, O.BUY, 9_900, 10)
    assert step_pace(pace, maker.table, 0, 8, 1_600) == 0


steps = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 400), st.booleans(), st.sampled_from([None, 0, 1])),
    max_size=30,
)


@given(steps=steps, pause_ns=st.sampled_from([0, 300, 1_000]))
@EXAMPLES
def test_held_is_what_the_rule_says(
    steps: list[tuple[int, int, bool, int | None]], pause_ns: int
) -> None:
    """Against the rule in words: times of fills, and frames since."""
    maker, pace = Maker(venues=2), new_pace(pause_ns)
    now_ns, stamps, executions = 1_000, [1, 1], 0
    until = [0, 0]
    waits = {(venue, side): False for venue in (0, 1) for side in (0, 1)}
    for venue, wait_ns, is_frame, side in steps:
        now_ns += wait_ns
        if is_frame:
            stamps[venue] += 1
            waits[venue, 0] = waits[venue, 1] = False
        if side is not None:
            executions += 1
            maker.fill(0, executions, side, 10_000, 1, venue=venue)
            until[side], waits[venue, side] = now_ns + pause_ns, True
        for each in (0, 1):
            take = step_pace(pace, maker.table, each, stamps[each], now_ns)
            if each == venue:
                found = take
        wanted = sum(1 << each for each in (0, 1) if now_ns < until[each] or waits[venue, each])
        assert found == wanted
