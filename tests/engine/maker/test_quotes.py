"""Wanted quotes against examples computed by hand; test_quotes_properties has the oracle."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from engine.maker import quote_layout as Q
from engine.maker.quotes import FAIR_OUT_OF_RANGE, NO_BEST, NO_FAIR, QUOTED, SKEW_PPM_MAX
from tests.engine.maker.quoting import RULES, Market, Row, Side, compute, live, prices, quote

TICKS = replace(RULES, unit=Q.IN_TICKS, first=2, step=3)

# --- the grid ------------------------------------------------------------------------------------


def test_a_grid_in_ppm() -> None:
    # 0.2 %, 0.3 %, 0.4 % of 10,000 are 20, 30, 40.
    bids, asks = quote(replace(RULES, levels=3), Market(10_000.0, 9_999, 10_001))
    assert live(bids) == [(9_980, 10), (9_970, 10), (9_960, 10)]
    assert live(asks) == [(10_020, 10), (10_030, 10), (10_040, 10)]
    assert bids[3:] == [(0, 0)] * 7


def test_a_grid_in_ticks_of_the_venue() -> None:
    # A tick of five units: fair stands on tick 200.
    rules = replace(TICKS, levels=2, tick_units=5)
    bids, asks = quote(rules, Market(1000.0, 199, 201))
    assert (prices(bids), prices(asks)) == ([198, 195], [202, 205])
    # 1003 is 200.6 ticks: down to 200, up to 201.
    bids, asks = quote(rules, Market(1003.0, 199, 202))
    assert (prices(bids), prices(asks)) == ([198, 195], [203, 206])


@pytest.mark.parametrize(
    ("fair", "bid", "ask"),
    [
        # 1 % off: on a tick, a hair below it, a hair above it.
        (10_000.0, 9_900, 10_100),
        (math.nextafter(10_000.0, 0), 9_899, 10_100),
        (math.nextafter(10_000.0, 20_000), 9_900, 10_101),
        (100.0, 99, 101),
        (3e15, 2_970_000_000_000_000, 3_030_000_000_000_000),
        (float(2**53 - 1), 8_917_127_262_193_581, 9_097_271_247_288_401),
        (1.0, 0, 2),
        (1.5, 1, 2),
    ],
)
def test_rounding_is_away_from_fair_and_exact(fair: float, bid: int, ask: int) -> None:
    rules = replace(RULES, first=10_000)
    bids, asks = quote(rules, Market(fair, best_bid=1, best_ask=2**61))
    assert (prices(bids), prices(asks)) == ([bid] if bid else [], [ask])
    assert bid == Fraction(fair) * Fraction(99, 100) // 1
    assert ask == math.ceil(Fraction(fair) * Fraction(101, 100))


def test_sizes_grow_by_level_and_round_down_to_the_lot_step() -> None:
    rules = replace(RULES, levels=4, lots=100, growth_mille=1_500, lot_step=10)
    bids, _ = quote(rules, Market())
    # 100, 150, 225, 337.5
    assert [lots for _, lots in live(bids)] == [100, 150, 220, 330]


def test_levels_closer_than_a_tick_are_pushed_apart() -> None:
    rules = replace(RULES, levels=4, first=100, step=1)
    bids, asks = quote(rules, Market(1000.0, 999, 1001))
    assert prices(bids) == [999, 998, 997, 996]
    assert prices(asks) == [1001, 1002, 1003, 1004]


# --- inventory -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("position", "target", "bid", "ask"),
    [
        (0, 0, 9_980, 10_020),
        # A fifth of the bound is a fifth of 50 bp: 10 ticks down.
        (200, 0, 9_970, 10_010),
        (-200, 0, 9_990, 10_030),
        (500, 500, 9_980, 10_020),
        # 25 ticks up; the bid would be above fair, and the edge of a ppm holds it below.
        (0, 500, 9_999, 10_045),
    ],
)
def test_both_sides_move_against_the_position(
    position: int, target: int, bid: int, ask: int
) -> None:
    rules = replace(RULES, skew_ppm=5_000, target_lots=target)
    bids, asks = quote(rules, Market(10_000.0, 9_900, 10_100, position))
    assert (prices(bids), prices(asks)) == ([bid], [ask])


def test_the_side_that_would_grow_the_position_shrinks_and_then_goes() -> None:
    rules = replace(RULES, levels=3, lots=100, position_lots_max=1000, lot_step=20, lots_min=40)
    sizes = {}
    for position in (0, 750, 830, 930, 970, 1000, 1200, -750, -1200):
        bids, asks = quote(rules, Market(position=position))
        sizes[position] = [[lots for _, lots in live(side)] for side in (bids, asks)]
    full = [100, 100, 100]
    assert sizes == {
        0: [full, full],
        750: [[100, 100, 40], full],
        830: [[100, 60], full],
        930: [[60], full],
        970: [[], full],
        1000: [[], full],
        1200: [[], full],
        -750: [full, [100, 100, 40]],
        -1200: [full, []],
    }


def test_the_skew_grows_no_more_beyond_twice_the_bound() -> None:
    rules = replace(RULES, first=20_000, skew_ppm=3_000, position_lots_max=100)
    for position, ask in ((100, 10_170), (200, 10_140), (300, 10_140), (10**15, 10_140)):
        assert prices(quote(rules, Market(10_000.0, 9_000, 11_000, position))[1]) == [ask]


def test_the_largest_positions_do_not_overflow() -> None:
    most = Q.POSITION_LIMIT - 1
    rules = replace(RULES, skew_ppm=10_000, position_lots_max=most, target_lots=-most)
    bids, asks = quote(rules, Market(1e6, 1, 2**61, position=most))
    # Twice the skew of 1 %, less and more 0.2 %; the ask is held by its edge of a ppm.
    assert (prices(bids), prices(asks)) == ([], [1_000_001])
    bids, _ = quote(rules, Market(1e6, 1, 2**61, position=most // 2 + 1))
    # 1.5 times 1 %, but for less than one lot in 2^60: to a whole ppm towards zero.
    assert prices(bids) == [1_000_000 - 15_000 - 2_000]


# --- edge, touch, post-only ----------------------------------------------------------------------


def test_nothing_undercuts_the_edge() -> None:
    rules = replace(RULES, first=0, edge_ppm_min=3_000, skew_ppm=50_000)
    for position, wanted in ((0, (9_970, 10_030)), (900, (9_550, 10_030))):
        bids, asks = quote(rules, Market(10_000.0, 9_000, 11_000, position))
        assert (prices(bids), prices(asks)) == ([wanted[0]], [wanted[1]])


@pytest.mark.parametrize(
    ("touch", "bid", "ask"), [(Q.JOIN, 950, 1040), (Q.IMPROVE, 951, 1039), (Q.FREE, 998, 1002)]
)
def test_join_improve_free(touch: int, bid: int, ask: int) -> None:
    bids, asks = quote(replace(RULES, touch=touch), Market(1000.0, 950, 1040))
    assert (prices(bids), prices(asks)) == ([bid], [ask])


def test_a_touch_nearer_to_fair_than_the_grid_moves_nothing() -> None:
    for touch in (Q.JOIN, Q.IMPROVE, Q.FREE):
        bids, asks = quote(replace(RULES, touch=touch), Market())
        assert (prices(bids), prices(asks)) == ([998], [1002])


def test_post_only_where_fair_is_outside_the_venues_spread() -> None:
    bids, asks = quote(RULES, Market(1000.0, best_bid=1050, best_ask=1060))
    assert (prices(bids), prices(asks)) == ([998], [1051])
    bids, asks = quote(replace(RULES, touch=Q.JOIN), Market(1000.0, 1050, 1060))
    assert (prices(bids), prices(asks)) == ([998], [1060])
    bids, asks = quote(RULES, Market(1000.0, best_bid=950, best_ask=960))
    assert (prices(bids), prices(asks)) == ([959], [1002])


def test_one_tick_of_spread_leaves_no_room_to_improve() -> None:
    bids, asks = quote(replace(TICKS, first=0, touch=Q.IMPROVE), Market(1000.5, 1000, 1001))
    assert (prices(bids), prices(asks)) == ([1000], [1001])


@pytest.mark.parametrize(
    ("market", "why"),
    [
        (Market(math.nan), NO_FAIR),
        (Market(math.inf), FAIR_OUT_OF_RANGE),
        (Market(-math.inf), FAIR_OUT_OF_RANGE),
        (Market(0.0), FAIR_OUT_OF_RANGE),
        (Market(-1000.0), FAIR_OUT_OF_RANGE),
        (Market(math.nextafter(1.0, 0.0)), FAIR_OUT_OF_RANGE),
        (Market(float(2**53)), FAIR_OUT_OF_RANGE),
        (Market(best_bid=0), NO_BEST),
        (Market(best_ask=0), NO_BEST),
        (Market(best_bid=-1), NO_BEST),
    ],
)
def test_no_quotes_without_fair_or_without_a_side(market: Market, why: int) -> None:
    resting = ([(998, 10)], [(1002, 10)])
    kept = tuple(side + [(0, 0)] * 9 for side in resting)
    assert compute(RULES, Market(), resting) == (QUOTED, kept)
    nothing = [(0, 0)] * Q.LEVELS_MAX
    assert compute(RULES, market, resting) == (why, (nothing, nothing))


# --- filters -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "bids_left", "asks_left"),
    [
        ({"lots_min": 10}, 1, 1),
        ({"lots_min": 11}, 0, 0),
        ({"lots_max": 10}, 1, 1),
        ({"lots_max": 9}, 0, 0),
        ({"lot_step": 11}, 0, 0),
        # The bid is worth 998 * 10, the ask 1002 * 10.
        ({"notional_min": 9_980}, 1, 1),
        ({"notional_min": 9_981}, 0, 1),
        ({"notional_min": 10_020}, 0, 1),
        ({"notional_min": 10_021}, 0, 0),
        # Two ticks of 1000 are 0.2 %.
        ({"band_millipercent": 200}, 1, 1),
        ({"band_millipercent": 199}, 0, 0),
    ],
)
def test_a_level_that_breaks_a_filter_is_left_out(
    change: dict[str, Any], bids_left: int, asks_left: int
) -> None:
    bids, asks = quote(replace(RULES, **change), Market())
    assert (len(live(bids)), len(live(asks))) == (bids_left, asks_left)


def test_a_level_left_out_takes_no_room_and_keeps_its_slot() -> None:
    rules = replace(RULES, levels=3, lots=40, growth_mille=1_500, lots_min=60, lots_max=60)
    bids, asks = quote(replace(rules, position_lots_max=60), Market())
    assert bids[:4] == [(0, 0), (997, 60), (0, 0), (0, 0)]
    assert asks[:4] == [(0, 0), (1003, 60), (0, 0), (0, 0)]


# --- hysteresis ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hold", "resting", "wanted"),
    [
        # The target is 998 x 100.
        (0, (998, 100), (998, 100)),
        (0, (997, 100), (998, 100)),
        (2, (996, 100), (996, 100)),
        (2, (995, 100), (998, 100)),
        (2, (1000, 100), (998, 100)),
        (1, (999, 100), (999, 100)),
        # A fifth more or less is kept.
        (2, (996, 80), (996, 80)),
        (2, (996, 79), (998, 100)),
        (2, (996, 120), (996, 120)),
        (2, (996, 121), (998, 100)),
        (2, (0, 0), (998, 100)),
    ],
)
def test_a_resting_quote_is_kept_or_moved(hold: int, resting: Row, wanted: Row) -> None:
    rules = replace(TICKS, lots=100, hold=hold, hold_mille=200)
    bids, _ = quote(rules, Market(), ([resting], []))
    assert live(bids) == [wanted]
    mirrored = (2000 - resting[0] if resting[0] else 0, resting[1])
    _, asks = quote(rules, Market(), ([], [mirrored]))
    assert live(asks) == [(2000 - wanted[0], wanted[1])]


@pytest.mark.parametrize(
    ("change", "market"),
    [
        ({"edge_ppm_min": 2_000}, Market()),
        ({}, Market(best_ask=999)),
        ({"lots_min": 91}, Market()),
        ({"lots_max": 100, "lot_step": 20}, Market()),
        ({"notional_min": 99_800}, Market()),
        ({"position_lots_max": 100}, Market(position=15)),
    ],
)
def test_a_resting_quote_that_breaks_a_rule_is_not_kept(
    change: dict[str, Any], market: Market
) -> None:
    rules = replace(TICKS, lots=100, hold=5, hold_mille=200)
    resting: tuple[Side, Side] = ([(999, 90)], [])
    assert live(quote(rules, Market(), resting)[0]) == [(999, 90)]
    bids = live(quote(replace(rules, **change), market, resting)[0])
    assert bids != [(999, 90)]
    assert len(bids) == 1


def test_a_resting_quote_outside_the_band_is_not_kept() -> None:
    rules = replace(TICKS, hold=9, band_millipercent=300)
    assert live(quote(rules, Market(), ([(997, 10)], []))[0]) == [(997, 10)]
    assert live(quote(rules, Market(), ([(996, 10)], []))[0]) == [(998, 10)]


def test_the_touch_moves_no_resting_quote() -> None:
    rules = replace(TICKS, hold=3, touch=Q.JOIN)
    market = Market(1000.0, best_bid=996, best_ask=1004)
    assert live(quote(rules, market)[0]) == [(996, 10)]
    assert live(quote(rules, market, ([(998, 10)], []))[0]) == [(998, 10)]


def test_hold_in_ppm() -> None:
    rules = replace(RULES, hold=250)
    market = Market(10_000.0, 9_000, 11_000)
    for resting, wanted in ((9_978, 9_978), (9_977, 9_980), (9_982, 9_982), (9_983, 9_980)):
        assert live(quote(rules, market, ([(resting, 10)], []))[0]) == [(wanted, 10)]


def test_a_kept_quote_pushes_the_next_level_away() -> None:
    rules = replace(TICKS, levels=2, step=1, hold=2)
    bids, asks = quote(rules, Market(), ([(996, 10)], [(1004, 10)]))
    assert (prices(bids), prices(asks)) == ([996, 995], [1004, 1005])
    bids, _ = quote(rules, Market(), ([(996, 10), (996, 10)], []))
    assert prices(bids) == [996, 995]
    bids, _ = quote(rules, Market(), ([(0, 0), (999, 10)], []))
    assert prices(bids) == [998, 997]


# --- the specification ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"levels": 0}, "levels"),
        ({"levels": Q.LEVELS_MAX + 1}, "levels"),
        ({"unit": 2}, "unit"),
        ({"first": -1}, "first"),
        ({"step": -1}, "step"),
        ({"hold": -1}, "hold"),
        ({"hold_mille": 1_001}, "hold_mille"),
        ({"edge_ppm_min": 0}, "edge_ppm_min"),
        ({"skew_ppm": SKEW_PPM_MAX + 1}, "skew_ppm"),
        ({"position_lots_max": 0}, "position_lots_max"),
        ({"position_lots_max": Q.POSITION_LIMIT}, "position_lots_max"),
        ({"target_lots": 1_001}, "target_lots"),
        ({"touch": 3}, "touch"),
        ({"growth_mille": 0}, "growth_mille"),
        ({"tick_units": 0}, "tick_units"),
        ({"lot_step": 0}, "lot_step"),
        ({"lots": 0}, "lots"),
        ({"lots": 2**59, "growth_mille": 2_000, "levels": 3}, "lots of the last level"),
        ({"lots_min": 0}, "lots_min"),
        ({"lots_min": 5, "lots_max": 4}, "lots_max"),
        ({"notional_min": -1}, "notional_min"),
        ({"band_millipercent": 0}, "band_millipercent"),
        ({"first": 990_000, "step": 5_000, "levels": 3}, "farthest"),
        ({"first": 900_000, "skew_ppm": 50_000}, "farthest"),
    ],
)
def test_rules_that_cannot_be_are_refused_in_words(change: dict[str, Any], said: str) -> None:
    with pytest.raises(Q.SpecError, match=said):
        replace(RULES, **change).words()
