"""Wanted quotes against an oracle in fractions, for any rules, market and resting orders.

What is feared most: a quote that trades at once, one nearer to fair than the edge, one that grows
the position beyond its bound, and orders that never come to rest.
"""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.compiling.jit import BOUNDS_CHECKED, JIT_OFF
from engine.maker import quote_layout as Q
from engine.maker.quotes import BAND_MILLIPERCENT_MAX, QuoteSpec
from tests.engine.maker.quoting import RULES, Market, Side, live, oracle_side, prices, quote

EXAMPLES = settings(max_examples=60 if JIT_OFF else 100 if BOUNDS_CHECKED else 400)

rules_strategy = st.builds(
    QuoteSpec,
    lots=st.integers(1, 400),
    position_lots_max=st.integers(1, 2_000),
    levels=st.integers(1, Q.LEVELS_MAX),
    unit=st.integers(0, 1),
    first=st.integers(0, 30) | st.integers(0, 20_000),
    step=st.integers(0, 30) | st.integers(0, 20_000),
    hold=st.integers(0, 8) | st.integers(0, 10_000),
    hold_mille=st.integers(0, 1_000),
    edge_ppm_min=st.integers(1, 20) | st.integers(1, 20_000),
    skew_ppm=st.integers(0, 20_000),
    target_lots=st.integers(-1, 1),
    touch=st.integers(0, 2),
    growth_mille=st.integers(500, 2_000),
    tick_units=st.sampled_from([1, 1, 2, 5, 7, 100]),
    lot_step=st.sampled_from([1, 1, 3, 10]),
    lots_min=st.integers(1, 20),
    lots_max=st.integers(20, 1_000),
    notional_min=st.sampled_from([0, 1_000, 100_000]),
    band_millipercent=st.integers(1, 5_000) | st.just(BAND_MILLIPERCENT_MAX),
)
fairs = (
    st.floats(1.0, 1e5, allow_nan=False)
    | st.integers(1, 10**6).map(float)
    | st.integers(1, 10**6).map(lambda n: math.nextafter(float(n), 1e9))
    | st.floats(1e6, 2.0**53, exclude_max=True)
)


@st.composite
def cases(draw: st.DrawFn) -> tuple[QuoteSpec, Market, tuple[Side, Side]]:
    """Rules, a market whose venue is about fair, and resting rows about the grid, or anywhere."""
    rules = draw(rules_strategy)
    fair = draw(fairs)
    tick = int(fair / rules.tick_units)
    best_bid = max(1, tick + draw(st.integers(-20, 20)))
    best_ask = max(1, best_bid + draw(st.integers(-1, 20)))
    position = draw(st.integers(-2_500, 2_500))
    market = Market(fair, best_bid, best_ask, position)
    around = st.integers(-6, 6)
    sides: tuple[Side, Side] = ([], [])
    for side, wanted in zip(sides, quote(rules, market), strict=True):
        for price, lots in wanted:
            if draw(st.booleans()):
                side.append((0, 0))
            elif lots and draw(st.booleans()):
                side.append((max(1, price + draw(around)), max(1, lots + draw(around))))
            else:
                side.append((max(1, tick + draw(st.integers(-40, 40))), draw(st.integers(1, 500))))
    return rules, market, sides


@given(case=cases())
@EXAMPLES
def test_quotes_are_the_oracles(case: tuple[QuoteSpec, Market, tuple[Side, Side]]) -> None:
    rules, market, resting = case
    wanted = quote(rules, market, resting)
    for is_asks in (False, True):
        assert wanted[is_asks] == oracle_side(rules, market, resting[is_asks], is_asks)[0]


@given(case=cases())
@EXAMPLES
def test_no_rule_is_ever_broken(case: tuple[QuoteSpec, Market, tuple[Side, Side]]) -> None:
    """Said again without the module's words: what a venue and a desk would check."""
    rules, market, resting = case
    bids, asks = (live(side) for side in quote(rules, market, resting))
    fair = Fraction(market.fair) / rules.tick_units
    edge, band = Fraction(rules.edge_ppm_min, Q.PPM), Fraction(rules.band_millipercent, 100_000)
    for price, _ in bids:
        assert price < market.best_ask, "crosses the venue's book"
        assert fair * (1 - band) <= price <= fair * (1 - edge)
    for price, _ in asks:
        assert price > market.best_bid, "crosses the venue's book"
        assert fair * (1 + edge) <= price <= fair * (1 + band)
    for price, lots in bids + asks:
        assert price > 0
        assert rules.lots_min <= lots <= rules.lots_max
        assert lots % rules.lot_step == 0
        assert price * lots >= rules.notional_min
    assert prices(bids) == sorted(set(prices(bids)), reverse=True)
    assert prices(asks) == sorted(set(prices(asks)))
    assert not bids or not asks or bids[0][0] < asks[0][0], "trades with itself"
    grown = market.position + sum(lots for _, lots in bids)
    assert not bids or grown <= rules.position_lots_max
    sold = market.position - sum(lots for _, lots in asks)
    assert not asks or sold >= -rules.position_lots_max


@given(case=cases())
@EXAMPLES
def test_quotes_come_to_rest(case: tuple[QuoteSpec, Market, tuple[Side, Side]]) -> None:
    rules, market, resting = case
    wanted = quote(rules, market, resting)
    assert quote(rules, market, wanted) == wanted


@given(case=cases())
@EXAMPLES
def test_a_kept_quote_had_a_reason_and_so_had_a_moved_one(
    case: tuple[QuoteSpec, Market, tuple[Side, Side]],
) -> None:
    """A wanted row is the resting one, or the target: there is nothing between."""
    rules, market, resting = case
    wanted = quote(rules, market, resting)
    for is_asks in (False, True):
        _, targets = oracle_side(rules, market, resting[is_asks], is_asks)
        for row, old, target in zip(wanted[is_asks], resting[is_asks], targets, strict=True):
            assert row in ((0, 0), old) or row[0] == target


@given(rules=rules_strategy, fair=fairs, positions=st.tuples(*[st.integers(-900, 900)] * 2))
@example(rules=replace(RULES, skew_ppm=5_000), fair=10_000.0, positions=(0, 500))
@EXAMPLES
def test_the_longer_the_lower(rules: QuoteSpec, fair: float, positions: tuple[int, int]) -> None:
    """A larger position never raises a price, and never enlarges what is bid for in all."""
    # Filters off: a level that one of them takes away makes room for the next.
    rules = replace(
        rules, lots=1, growth_mille=1000, lot_step=1, lots_min=1, lots_max=10**6, notional_min=0,
        position_lots_max=1_000, band_millipercent=BAND_MILLIPERCENT_MAX,
    )  # fmt: skip
    low, high = sorted(positions)
    tick = int(fair / rules.tick_units)
    before, after = (
        quote(rules, Market(fair, max(1, tick - 9), max(2, tick + 9), position))
        for position in (low, high)
    )
    for side_before, side_after in zip(before, after, strict=True):
        for (old, _), (new, _) in zip(side_before, side_after, strict=True):
            assert new <= old or old == 0
    bought, bought_longer = (sum(lots for _, lots in sides[0]) for sides in (before, after))
    assert bought_longer <= bought


def test_a_skew_moves_something() -> None:
    """The property above would hold for quotes that never move."""
    rules = replace(RULES, levels=3, skew_ppm=5_000, first=10_000)
    wide = Market(10_000.0, 9_000, 11_000)
    flat, long = quote(rules, wide), quote(rules, replace(wide, position=500))
    for side in (0, 1):
        moves = [new - old for old, new in zip(prices(flat[side]), prices(long[side]), strict=True)]
        assert moves == [-25, -25, -25]
