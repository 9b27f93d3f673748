"""Orders that take, at the gate: they reduce the position, and never bring it through zero."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.compiling.jit import JIT_OFF
from engine.maker import order_layout as O
from engine.maker import risk_codes as R
from tests.engine.maker.rig import FAIR, LIMITS, Maker, slot_of

pytestmark = pytest.mark.kernel


def take(maker: Maker, side: int, lots: int, *, price: int = FAIR, venue: int = 0) -> int:
    """The new order's id, or 0 where it is refused."""
    slot = slot_of(side, O.TAKE_LEVEL, venue)
    sent = maker.submit(O.ACTION_TAKE, slot, price, lots)
    maker.check()
    return sent[0].new_id if sent else 0


def holding(lots: int, venues: int = 1) -> Maker:
    """A maker with this position, at its first venue."""
    maker = Maker(venues=venues)
    maker.table[O.ACCOUNT_POSITION_LOTS] = maker.table[O.venue_word(0, O.VENUE_POSITION_LOTS)] = (
        lots
    )
    return maker


@pytest.mark.parametrize("position", [-70, 70])
def test_it_takes_the_position_and_no_lot_more(position: int) -> None:
    side = O.SELL if position > 0 else O.BUY
    for lots, is_sent in ((71, False), (70, True)):
        assert bool(take(holding(position), side, lots)) is is_sent
    assert not take(holding(position), 1 - side, 1), "it would add to the position"
    maker = holding(position, venues=2)
    assert take(maker, side, 50) and not take(maker, side, 21, venue=1)
    assert maker.refused() == {R.NOT_REDUCING: 1}
    assert take(maker, side, 20, venue=1)


def test_while_quoting_the_quotes_of_its_side_may_stay() -> None:
    maker = holding(70)
    maker.open(O.SELL, FAIR + 5, 60)
    assert take(maker, O.SELL, 70)


def test_while_only_reducing_all_that_is_open_counts() -> None:
    maker = holding(800)
    maker.decide()
    assert maker.risk_state == O.REDUCING
    for level in range(8):
        maker.open(O.SELL, FAIR + 5 + level, 95, level)
    assert not take(maker, O.SELL, 41) and take(maker, O.SELL, 40)


def test_after_a_halt_it_is_all_that_may_be_sent() -> None:
    maker = holding(70)
    maker.kill()
    assert not maker.new(O.SELL, FAIR + 5, 10)
    assert take(maker, O.SELL, 70) and maker.risk_state == O.HALTED
    maker.decide()
    assert maker.refused() == {R.IS_HALTED: 1}


def test_every_other_limit_holds() -> None:
    far = FAIR - FAIR * LIMITS.collar_bps // 10_000
    assert take(holding(70), O.SELL, 10, price=far)
    assert not take(holding(70), O.SELL, 10, price=far - 1)
    assert not take(holding(700), O.SELL, LIMITS.order_lots_max + 1)
    maker = holding(70)
    maker.fair = 0
    assert not take(maker, O.SELL, 10)


def test_it_does_not_meet_an_order_of_ours_at_its_venue() -> None:
    maker = holding(70, venues=2)
    maker.open(O.BUY, FAIR - 5, 10, venue=1)
    assert take(maker, O.SELL, 10, price=FAIR - 5)
    assert not take(maker, O.SELL, 10, price=FAIR - 5, venue=1)
    assert take(maker, O.SELL, 10, price=FAIR - 4, venue=1)


def test_its_slot_is_the_last_one() -> None:
    maker = holding(70)
    assert not maker.submit(O.ACTION_TAKE, slot_of(O.SELL, 0), FAIR, 10)
    assert maker.refused() == {R.BAD_ORDER: 1}


def test_lots_that_were_counted_before_their_price_was_known_get_it() -> None:
    """Told as a sum they are worth the order's limit; their execution says what they were."""
    for is_forgotten in (False, True):
        maker = Maker()
        maker.table[O.ACCOUNT_POSITION_LOTS] = 400
        maker.table[O.venue_word(0, O.VENUE_POSITION_LOTS)] = 400
        first = take(maker, O.SELL, 60, price=FAIR - 100)
        maker.event(O.FOUND_CLOSED, first, filled_lots=60)
        assert maker.table[O.ACCOUNT_CASH_VALUE] == 60 * (FAIR - 100)
        for _ in range(O.SLOT_ROWS * is_forgotten):
            maker.event(O.REJECT, take(maker, O.SELL, 1))
        maker.fill(first, 1, O.SELL, FAIR - 3, 60)
        assert maker.position == 340
        assert maker.table[O.ACCOUNT_CASH_VALUE] == 60 * (FAIR - 3)


@settings(max_examples=30 if JIT_OFF else 300, deadline=None)
@given(st.data())
def test_whatever_is_sent_and_fills_the_position_never_turns(data: st.DataObject) -> None:
    """Takes alone never bring it through zero; after a halt nothing that is open does."""
    draw = data.draw
    position = draw(st.integers(-900, 900))
    maker = holding(position, venues=2)
    for level in range(draw(st.integers(0, 3))):
        side, venue = draw(st.sampled_from((O.BUY, O.SELL))), draw(st.integers(0, 1))
        price = FAIR - 20 - level if side == O.BUY else FAIR + 20 + level
        maker.new(side, price, draw(st.integers(1, 90)), level, venue)
    if draw(st.booleans()):
        maker.kill()
    numbers = iter(range(1, 1_000))
    open_takes: list[tuple[int, int, int, int]] = []
    for _ in range(draw(st.integers(1, 8))):
        side, venue = draw(st.sampled_from((O.BUY, O.SELL))), draw(st.integers(0, 1))
        lots = draw(st.integers(1, 100))
        if found := take(maker, side, lots, venue=venue):
            open_takes.append((found, side, lots, venue))
        if draw(st.booleans()) and open_takes:
            order, side, lots, venue = open_takes.pop(draw(st.integers(0, len(open_takes) - 1)))
            part = draw(st.integers(1, lots))
            maker.fill(order, next(numbers), side, FAIR, part, venue=venue)
            maker.event(O.EXPIRE, order, venue=venue)
    for order, side, lots, venue in open_takes:
        maker.fill(order, next(numbers), side, FAIR, lots, venue=venue)
    assert maker.position * position >= 0 and abs(maker.position) <= abs(position)
