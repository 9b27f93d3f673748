"""What the quotes' tests share: a call, and an oracle in fractions and in prices, without signs.

Runs on: the tests' thread.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from engine.compiling.atomics import Words
from engine.compiling.jit import kernel
from engine.maker import quote_layout as Q
from engine.maker.quotes import QUOTED, TEXTS, QuoteSpec, update_quotes

Row = tuple[int, int]
"""Price in the venue's ticks, lots; (0, 0) for no quote."""
Side = list[Row]
NOTHING: tuple[Side, Side] = ([], [])


@kernel("int64(int64[::1], int64, float64)")
def compute_quotes(words: Words, quotes: int, fair_price: float) -> int:
    """`update_quotes` for Python."""
    return update_quotes(words, quotes, fair_price)


@dataclass(frozen=True)
class Market:
    """What changes between two calls: the venue's own best prices in its ticks, the position."""

    fair: float = 1000.0
    best_bid: int = 999
    best_ask: int = 1001
    position: int = 0


def put_rows(words: Words, at: int, sides: tuple[Side, Side]) -> None:
    rows = words[at : at + Q.SLOTS * Q.ROW_WORDS].reshape(2, Q.LEVELS_MAX, Q.ROW_WORDS)
    rows[:] = 0
    for side, given_rows in enumerate(sides):
        for level, row in enumerate(given_rows):
            rows[side, level] = row


def compute(
    rules: QuoteSpec, market: Market, resting: tuple[Side, Side] = NOTHING, at: int = 3
) -> tuple[int, tuple[Side, Side]]:
    """The status and the wanted rows of both sides, all LEVELS_MAX of each."""
    words = np.full(at + Q.QUOTE_WORDS + 2, 77, np.int64)
    words[at : at + Q.QUOTE_WORDS] = rules.words()
    words[at + Q.QUOTE_BEST_BID] = market.best_bid
    words[at + Q.QUOTE_BEST_ASK] = market.best_ask
    words[at + Q.QUOTE_POSITION_LOTS] = market.position
    put_rows(words, at + Q.QUOTE_RESTING_AT, resting)
    # The wanted rows of the call before are still there.
    words[at + Q.QUOTE_WANTED_AT : at + Q.QUOTE_WORDS] = 55
    before = words.copy()
    status = compute_quotes(words, at, market.fair)
    after = at + Q.QUOTE_WANTED_AT
    assert (words[:after] == before[:after]).all(), "only the wanted rows are written"
    assert (words[at + Q.QUOTE_WORDS :] == 77).all()
    rows = words[after : at + Q.QUOTE_WORDS].reshape(2, Q.LEVELS_MAX, Q.ROW_WORDS).tolist()
    bids, asks = ([(price, lots) for price, lots in side] for side in rows)
    assert all((price == 0) == (lots == 0) for price, lots in bids + asks)
    assert status in TEXTS
    assert status == QUOTED or set(bids + asks) == {(0, 0)}
    return status, (bids, asks)


def quote(
    rules: QuoteSpec, market: Market, resting: tuple[Side, Side] = NOTHING
) -> tuple[Side, Side]:
    """The wanted rows alone."""
    return compute(rules, market, resting)[1]


def live(side: Side) -> Side:
    return [row for row in side if row[1] != 0]


def prices(side: Side) -> list[int]:
    return [price for price, _ in live(side)]


RULES = QuoteSpec(lots=10, position_lots_max=1000, touch=Q.FREE, first=2_000, step=1_000)


def away(is_asks: bool, exact: Fraction) -> int:
    return math.ceil(exact) if is_asks else math.floor(exact)


def oracle_side(
    rules: QuoteSpec, market: Market, resting: Side, is_asks: bool
) -> tuple[Side, list[int]]:
    """The wanted rows and the targets' prices, as the module's text says it, in prices."""
    fair = Fraction(market.fair) / rules.tick_units
    out = 1 if is_asks else -1
    nearer = max if is_asks else min
    excess = market.position - rules.target_lots
    share = min(Fraction(abs(excess), rules.position_lots_max), Fraction(2))
    skew = math.floor(share * rules.skew_ppm) * (-1 if excess > 0 else 1)
    limit = away(is_asks, fair * (Q.PPM + out * rules.edge_ppm_min) / Q.PPM)
    limit = nearer(limit, market.best_bid + 1 if is_asks else market.best_ask - 1)
    far = fair * (100_000 + out * rules.band_millipercent) / 100_000
    touch = (market.best_ask if is_asks else market.best_bid) - out * (rules.touch == Q.IMPROVE)
    hold = rules.hold if rules.unit == Q.IN_TICKS else fair * rules.hold / Q.PPM
    room = rules.position_lots_max + out * market.position

    def is_fit(price: int, lots: int) -> bool:
        return (
            price > 0
            and (price <= far if is_asks else price >= far)
            and rules.lots_min <= lots <= min(rules.lots_max, room)
            and lots % rules.lot_step == 0
            and price * lots >= rules.notional_min
        )

    rows: Side = []
    targets = []
    for level in range(Q.LEVELS_MAX):
        distance = rules.first + level * rules.step
        if rules.unit == Q.IN_TICKS:
            target = away(is_asks, fair * (Q.PPM + skew) / Q.PPM) + out * distance
        else:
            target = away(is_asks, fair * (Q.PPM + skew + out * distance) / Q.PPM)
        target = nearer(target, limit)
        if rules.touch != Q.FREE:
            target = nearer(target, touch)
        size = Fraction(rules.growth_mille, 1000) ** level * rules.lots
        lots = int(min(math.floor(size), max(room, 0)) // rules.lot_step * rules.lot_step)
        old_price, old_lots = resting[level] if level < len(resting) else (0, 0)
        row = (0, 0)
        if level < rules.levels:
            is_kept = (
                old_lots > 0
                and old_price == nearer(old_price, limit)
                and abs(old_price - target) <= hold
                and abs(old_lots - lots) * 1000 <= rules.hold_mille * lots
                and is_fit(old_price, old_lots)
            )
            if is_kept:
                row = (old_price, old_lots)
            elif is_fit(target, lots):
                row = (target, lots)
        if row[1]:
            limit = row[0] + out
            room -= row[1]
        rows.append(row)
        targets.append(target)
    return rows, targets
