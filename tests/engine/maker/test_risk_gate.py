"""The gate: each limit at its edge, the states, the kill, and values that do not fit."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import engine
from engine.compiling.jit import JIT_OFF, kernel
from engine.layout import layout as L
from engine.maker import order_layout as O
from engine.maker import risk_codes as R
from engine.maker import risk_gate
from engine.maker.account import value_of
from tests.engine.maker.rig import FAIR, LIMITS, NOW_NS, Maker, order_id, slot_of

pytestmark = pytest.mark.kernel

SIDES = (O.BUY, O.SELL)


def maker_with(venues: int = 1, position_lots: int = 0, **limits: Any) -> Maker:
    return Maker(venues, replace(LIMITS, **limits), position_lots=position_lots)


def away(side: int, ticks: int) -> int:
    """A price so many ticks below the fair price for a bid, above it for an ask."""
    return FAIR - ticks if side == O.BUY else FAIR + ticks


def assert_edge(maker: Maker, code: int, passes: tuple[int, ...], fails: tuple[int, ...]) -> None:
    """The order (side, price, lots, level, venue) `fails` is refused so; `passes` is not."""
    assert maker.new(*fails) == 0
    assert maker.refused() == {code: 1}
    assert maker.table[O.ACCOUNT_SEQUENCE] == maker.table[O.ACCOUNT_LIVE_ORDERS]
    assert maker.new(*passes) > 0
    assert maker.refused() == {code: 1}
    maker.check()


@pytest.mark.parametrize("side", SIDES)
def test_the_size_of_an_order(side: int) -> None:
    maker = maker_with(order_lots_max=50)
    assert_edge(maker, R.ORDER_SIZE, (side, away(side, 5), 50), (side, away(side, 5), 51))


@pytest.mark.parametrize("side", SIDES)
def test_the_value_of_an_order(side: int) -> None:
    price = away(side, 5)
    maker = maker_with(notional_max=10 * price)
    assert_edge(maker, R.NOTIONAL, (side, price, 10), (side, price, 11))


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("sign", (1, -1))
def test_the_collar(side: int, sign: int) -> None:
    maker = maker_with(collar_bps=100)
    edge = sign * 100
    inside, outside = away(side, edge), away(side, edge + sign)
    assert_edge(maker, R.COLLAR, (side, inside, 1), (side, outside, 1))


@pytest.mark.parametrize("side", SIDES)
def test_the_number_of_open_orders(side: int) -> None:
    maker = maker_with(open_orders_max=3)
    ids = [maker.new(side, away(side, 5 + level), 1, level) for level in range(3)]
    maker.event(O.ACK, ids[0])
    maker.event(O.TIMEOUT, ids[1])
    assert maker.new(side, away(side, 9), 1, 4) == 0
    assert maker.refused() == {R.OPEN_ORDERS: 1}
    (sent,) = maker.submit(O.ACTION_REPLACE, slot_of(side), away(side, 4), 1, ids[0])
    assert sent.kind == O.ACTION_REPLACE, "one goes for the one that comes"
    maker.event(O.FOUND_CLOSED, ids[1])
    maker.event(O.REPLACE_ACK, sent.new_id)
    assert maker.new(side, away(side, 9), 1, 4) > 0


@pytest.mark.parametrize("side", SIDES)
def test_the_position_counts_everything_that_may_fill(side: int) -> None:
    sign = 1 if side == O.BUY else -1
    maker = maker_with(position_lots_max=100, reduce_lots=100, position_lots=sign * 20)
    unknown = maker.new(side, away(side, 5), 30)
    maker.event(O.TIMEOUT, unknown)
    maker.open(1 - side, away(1 - side, 5), 100)
    maker.open(side, away(side, 6), 20, 1)
    fails, passes = (side, away(side, 7), 31, 2), (side, away(side, 7), 30, 2)
    assert maker.new(*fails) == 0 and maker.refused() == {R.POSITION: 1}
    assert maker.new(*passes) > 0
    maker.event(O.NOT_FOUND, unknown)
    assert maker.new(side, away(side, 8), 30, 3) > 0


@pytest.mark.parametrize("side", SIDES)
def test_a_replace_counts_both_orders_and_refused_it_cancels(side: int) -> None:
    maker = maker_with(position_lots_max=100, reduce_lots=100)
    old = maker.open(side, away(side, 5), 60)
    (sent,) = maker.submit(O.ACTION_REPLACE, slot_of(side), away(side, 4), 41, old)
    assert (sent.kind, sent.id, sent.new_id) == (O.ACTION_CANCEL, old, 0)
    assert maker.state(old) == O.PENDING_CANCEL
    assert maker.refused() == {R.POSITION: 1}
    again = maker.open(side, away(side, 6), 40, 1)
    maker.event(O.CANCEL_ACK, old)
    (sent,) = maker.submit(O.ACTION_REPLACE, slot_of(side, 1), away(side, 4), 60, again)
    assert sent.kind == O.ACTION_REPLACE
    assert maker.table[O.ACCOUNT_OPEN_BUY_LOTS + side] == 100


@pytest.mark.parametrize("side", SIDES)
def test_the_exposure_is_valued_at_the_fair_price(side: int) -> None:
    maker = maker_with(exposure_max=50 * FAIR)
    maker.open(side, away(side, 5), 20)
    worse = (side, away(side, 6), 31, 1)
    assert_edge(maker, R.EXPOSURE, (side, away(side, 6), 30, 1), worse)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("state", range(O.PENDING_NEW, O.UNKNOWN + 1))
def test_own_orders_never_meet_across_levels_and_venues(side: int, state: int) -> None:
    maker = maker_with(venues=2)
    other = maker.open(1 - side, away(1 - side, 5), 10, 7, 1)
    maker.open(1 - side, away(1 - side, 9), 10, 2, 0)
    maker.table[maker.row(other).at + O.ORDER_STATE] = state
    sign = 1 if side == O.BUY else -1
    touch = away(1 - side, 5)
    assert maker.new(side, touch, 1) == 0
    assert maker.new(side, touch + sign, 1) == 0
    assert maker.refused() == {R.OWN_CROSS: 2}
    assert maker.new(side, touch - sign, 1) > 0


@pytest.mark.parametrize(
    ("name", "code"),
    (("own_rate", R.RATE_OWN), ("venue_rate", R.RATE_VENUE), ("day_rate", R.RATE_DAY)),
)
@settings(max_examples=10 if JIT_OFF else 60, deadline=None)
@given(
    gaps=st.lists(st.integers(0, 500), min_size=20, max_size=60),
    limit=st.integers(1, 8),
    span=st.integers(1, 1_000),
)
def test_no_span_sees_more_orders_than_the_rate(
    name: str, code: int, gaps: list[int], limit: int, span: int
) -> None:
    limits: dict[str, Any] = {name: (limit, span)}
    maker = maker_with(venues=2, **limits)
    sent: list[int] = []
    for gap in gaps:
        maker.now_ns += gap
        found = maker.new(O.BUY, FAIR - 5, 1)
        recent = [at for at in sent if at > maker.now_ns - span]
        assert len(recent) < limit or not found
        if found:
            sent.append(maker.now_ns)
            maker.event(O.REJECT, found)
        else:
            # Refused early at most by a bucket and what rounding it up has added.
            slack = 2 * -(-span // O.WINDOW_BUCKETS) + O.WINDOW_BUCKETS
            assert sum(at > maker.now_ns - span - slack for at in sent) >= limit
    assert set(maker.refused()) <= {code}
    elsewhere = maker.new(O.BUY, FAIR - 5, 1, venue=1)
    assert elsewhere > 0, "a rate is a venue's"


def test_time_that_runs_backwards_frees_no_rate() -> None:
    maker = maker_with(own_rate=(1, 1_000))
    assert maker.new(O.BUY, FAIR - 5, 1) > 0
    maker.now_ns -= 100_000
    assert maker.new(O.BUY, FAIR - 6, 1, 1) == 0
    assert maker.refused() == {R.RATE_OWN: 1}


# --- states --------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", SIDES)
def test_reducing_lets_the_position_only_shrink(side: int) -> None:
    sign = 1 if side == O.BUY else -1
    maker = maker_with(reduce_lots=100, position_lots=sign * 99)
    wrong = maker.open(side, away(side, 5), 10)
    maker.fill(wrong, 1, side, away(side, 5), 1)
    assert maker.new(side, away(side, 6), 1, 1) == 0
    assert maker.risk_state == O.REDUCING
    assert maker.new(1 - side, away(1 - side, 5), 60) > 0
    assert maker.new(1 - side, away(1 - side, 6), 41, 1) == 0
    assert maker.refused() == {R.NOT_REDUCING: 2}
    right = maker.open(1 - side, away(1 - side, 6), 40, 1)
    maker.want(slot_of(side), away(side, 5), 10)
    maker.want(slot_of(1 - side, 1), away(1 - side, 6), 40)
    assert [(sent.kind, sent.id) for sent in maker.decide()] == [(O.ACTION_CANCEL, wrong)]
    maker.fill(right, 2, 1 - side, away(1 - side, 6), 40)
    maker.event(O.CANCEL_ACK, wrong, 1)
    maker.decide()
    assert maker.risk_state == O.REDUCING, "60 of 100"
    maker.fill(order_id(99), 3, 1 - side, FAIR, 11)
    maker.decide()
    assert maker.risk_state == O.NORMAL


@pytest.mark.parametrize("side", SIDES)
def test_the_daily_loss_halts_until_the_release(side: int) -> None:
    sign = 1 if side == O.BUY else -1
    maker = maker_with(daily_loss_max=1_000)
    found = maker.open(side, away(side, 5), 20)
    maker.fill(found, 1, side, away(side, 5), 10)
    maker.want(slot_of(side), away(side, 5), 20)
    maker.fair = FAIR - sign * 104
    assert maker.decide() == [] and maker.risk_state == O.NORMAL, "990 are lost"
    maker.fair -= sign
    assert [(sent.kind, sent.id) for sent in maker.decide()] == [(O.ACTION_CANCEL, found)]
    assert maker.risk_state == O.HALTED
    assert R.TEXTS[int(maker.risk[O.RISK_HALT_REASON])] == "the daily loss is at its limit"
    maker.event(O.CANCEL_ACK, found, 10)
    maker.fair = FAIR
    maker.now_ns += 2 * risk_gate.DAY_NS
    assert maker.decide() == [], "neither a better price nor a new day ends it"
    assert maker.new(side, away(side, 5), 1) == 0
    assert maker.refused() == {R.IS_HALTED: 1}
    assert risk_gate.release(maker.table, maker.risk) == O.NORMAL
    assert [sent.kind for sent in maker.decide()] == [O.ACTION_SUBMIT]


def test_the_loss_is_the_days_own() -> None:
    maker = maker_with(daily_loss_max=1_000, position_lots=10)
    maker.now_ns = NOW_NS // risk_gate.DAY_NS * risk_gate.DAY_NS
    maker.decide()
    maker.fair -= 99
    maker.decide()
    maker.now_ns += risk_gate.DAY_NS - 1
    maker.decide()
    assert maker.risk_state == O.NORMAL
    maker.now_ns += 1
    maker.decide()
    maker.fair -= 99
    maker.decide()
    assert maker.risk_state == O.NORMAL
    maker.fair -= 1
    maker.decide()
    assert maker.risk_state == O.HALTED


def test_an_anomaly_halts() -> None:
    maker = maker_with()
    found = maker.open(O.BUY, FAIR - 5, 10)
    maker.fill(found, 1, O.BUY, FAIR - 5, 11)
    assert maker.decide() == [] and maker.risk_state == O.HALTED
    assert maker.risk[O.RISK_HALT_REASON] == R.ANOMALY
    assert risk_gate.release(maker.table, maker.risk) == O.NORMAL
    maker.decide()
    assert maker.risk_state == O.NORMAL


def test_without_a_fair_price_nothing_stays() -> None:
    maker = maker_with()
    found = maker.open(O.BUY, FAIR - 5, 10)
    maker.want(slot_of(O.BUY), FAIR - 5, 10)
    maker.fair = 0
    assert maker.new(O.BUY, FAIR - 6, 10, 1) == 0
    assert maker.refused() == {R.NO_FAIR_PRICE: 1}
    assert [(sent.kind, sent.id) for sent in maker.decide()] == [(O.ACTION_CANCEL, found)]
    assert maker.risk_state == O.NORMAL


def test_the_first_reason_of_a_halt_stays() -> None:
    maker = Maker()
    maker.kill(R.OTHER_MAKER)
    maker.kill()
    assert maker.risk[O.RISK_HALT_REASON] == R.OTHER_MAKER and maker.risk[O.RISK_HALTS] == 1


def test_a_kill_cancels_everything_live_at_once() -> None:
    maker = maker_with(venues=2)
    pending = maker.new(O.BUY, FAIR - 5, 10)
    unknown = maker.new(O.SELL, FAIR + 5, 10, venue=1)
    maker.event(O.TIMEOUT, unknown, venue=1)
    cancelling = maker.open(O.BUY, FAIR - 6, 10, 1)
    maker.submit(O.ACTION_CANCEL, slot_of(O.BUY, 1), 0, 0, cancelling)
    closed = maker.open(O.BUY, FAIR - 7, 10, 2)
    maker.event(O.EXPIRE, closed)
    old = maker.open(O.BUY, FAIR - 8, 10, 3)
    (sent,) = maker.submit(O.ACTION_REPLACE, slot_of(O.BUY, 3), FAIR - 7, 10, old)
    killed = maker.kill()
    assert {action.kind for action in killed} == {O.ACTION_CANCEL}
    assert {action.id for action in killed} == {pending, unknown, old, sent.new_id}
    assert maker.risk_state == O.HALTED and maker.risk[O.RISK_HALT_REASON] == R.KILLED
    assert maker.state(unknown) == O.UNKNOWN and maker.state(pending) == O.PENDING_CANCEL
    maker.event(O.FOUND_OPEN, unknown, venue=1)
    assert [(action.kind, action.id) for action in maker.decide()] == [(O.ACTION_CANCEL, unknown)]
    maker.check()


# --- the only way in -----------------------------------------------------------------------------


def test_actions_that_make_no_sense_are_refused() -> None:
    maker = maker_with()
    found = maker.open(O.BUY, FAIR - 5, 10)
    slots = maker.venues * O.VENUE_SLOTS
    assert maker.submit(O.ACTION_SUBMIT, slots, FAIR, 1) == []
    assert maker.submit(O.ACTION_SUBMIT, -1, FAIR, 1) == []
    for price, lots in ((0, 1), (-1, 1), (FAIR, 0), (FAIR, -1), (O.PRICE_MAX + 1, 1)):
        assert maker.submit(O.ACTION_SUBMIT, 1, price, lots) == []
    assert maker.refused() == {R.BAD_ORDER: 7}
    assert maker.submit(O.ACTION_SUBMIT, slot_of(O.BUY), FAIR - 4, 1) == []
    assert maker.refused()[R.SLOT_BUSY] == 1
    assert maker.submit(O.ACTION_CANCEL, slot_of(O.BUY), 0, 0, order_id(77)) == []
    assert maker.submit(O.ACTION_CANCEL, slot_of(O.BUY), 0, 0, 0) == []
    assert maker.submit(O.ACTION_CANCEL, slot_of(O.SELL), 0, 0, found) == []
    maker.event(O.CANCEL_ACK, found)
    assert maker.submit(O.ACTION_REPLACE, slot_of(O.BUY), FAIR - 4, 1, found) == []
    assert maker.refused()[R.NO_SUCH_ORDER] == 4
    maker.table[O.ACCOUNT_SEQUENCE] = O.SEQUENCE_MAX
    assert maker.new(O.BUY, FAIR - 5, 1) == 0
    assert maker.refused()[R.IDS_SPENT] == 1


@pytest.mark.parametrize("state", range(O.PENDING_NEW, O.UNKNOWN + 1))
def test_a_slot_with_a_live_order_takes_no_other(state: int) -> None:
    maker = maker_with()
    found = maker.open(O.BUY, FAIR - 5, 10)
    maker.table[maker.row(found).at + O.ORDER_STATE] = state
    assert maker.new(O.BUY, FAIR - 4, 1) == 0
    assert maker.refused() == {R.SLOT_BUSY: 1}
    (sent,) = maker.submit(O.ACTION_REPLACE, slot_of(O.BUY), FAIR - 4, 1, found)
    is_settled = state in (O.OPEN, O.PARTIALLY_FILLED)
    assert sent.kind == (O.ACTION_REPLACE if is_settled else O.ACTION_CANCEL)
    assert maker.refused() == {R.SLOT_BUSY: 1 if is_settled else 2}


def test_only_the_gate_makes_orders() -> None:
    """`place` and the requests' events are taken from their rooms by the table and gate alone."""
    root = Path(engine.__file__).parent.parent
    guarded = {"place", "apply_event"}
    users = set()
    for floor in ("engine", "net"):
        for path in (root / floor).rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                if isinstance(node, ast.ImportFrom) and node.module == "engine.maker.orders":
                    taken = {alias.name for alias in node.names} & {*guarded, "*"}
                elif isinstance(node, ast.ImportFrom) and node.module == "engine.maker":
                    # The whole room would hide what is taken from it.
                    taken = {alias.name for alias in node.names} & {"orders"}
                elif isinstance(node, ast.Attribute):
                    taken = {node.attr} & {"SUBMIT", "REPLACE_REQUEST"}
                else:
                    continue
                if taken:
                    users.add(path.name)
    assert users == {"orders.py", "risk_gate.py"}


def test_every_refusal_has_a_text_and_a_counter() -> None:
    codes = {
        value for name, value in vars(R).items() if name.isupper() and isinstance(value, int)
    } - {risk_gate.BPS, risk_gate.DAY_NS, R.NO_DAY}
    assert set(R.TEXTS) >= set(range(R.KILLED + 1))
    assert codes >= set(range(R.KILLED + 1))
    assert len(set(R.TEXTS.values())) == len(R.TEXTS)


@pytest.mark.parametrize("name", [name for name in vars(LIMITS) if not name.endswith("_rate")])
def test_limits_that_are_none_are_refused(name: str) -> None:
    for number in (0, -1, 2**61):
        changed: dict[str, Any] = {name: number}
        with pytest.raises(ValueError, match=name):
            replace(LIMITS, **changed)


def test_other_settings_that_cannot_be_are_refused() -> None:
    for rate in ((0, 1), (1, 0), (1, risk_gate.DAY_NS + 1)):
        with pytest.raises(ValueError, match="venue_rate"):
            replace(LIMITS, venue_rate=rate)
    with pytest.raises(ValueError, match="reduce_lots"):
        replace(LIMITS, reduce_lots=LIMITS.position_lots_max + 1)
    for venues in (0, L.VENUES_MAX + 1):
        with pytest.raises(ValueError, match="venues"):
            risk_gate.new_risk(LIMITS, venues)


# --- values --------------------------------------------------------------------------------------


@kernel("int64(int64[::1], int64, int64, int64)")
def value(table: Any, price: int, lots: int, is_up: int) -> int:
    return value_of(table, price, lots, is_up != 0)


@settings(max_examples=50 if JIT_OFF else 1000, deadline=None)
@given(
    price=st.integers(0, O.PRICE_MAX) | st.integers(0, 1 << 20),
    lots=st.integers(0, 2 * O.POSITION_LOTS_MAX) | st.integers(0, 1 << 40),
    scale=st.integers(1, O.VALUE_SCALE_MAX),
)
def test_values_are_exact_or_at_their_bound(price: int, lots: int, scale: int) -> None:
    table = np.zeros(O.ACCOUNT_WORDS, np.int64)
    table[O.ACCOUNT_VALUE_SCALE] = scale
    exact = price * lots
    assert value(table, price, lots, 0) == min(exact // scale, O.VALUE_MAX)
    assert value(table, price, lots, 1) == min(-(-exact // scale), O.VALUE_MAX)


@settings(max_examples=20 if JIT_OFF else 300, deadline=None)
@given(
    fills=st.lists(
        st.tuples(st.sampled_from(SIDES), st.integers(1, 50_000), st.integers(1, 10**6)),
        min_size=1,
        max_size=30,
    ),
    scale=st.sampled_from((1, 7, 10_000)),
)
def test_the_result_is_never_better_than_the_exact_one(
    fills: list[tuple[int, int, int]], scale: int
) -> None:
    limits = replace(LIMITS, daily_loss_max=O.VALUE_MAX - 1)
    maker = Maker(1, limits, value_scale=scale)
    maker.decide()
    cash = position = 0
    for number, (side, price, lots) in enumerate(fills, 1):
        maker.fill(order_id(900 + number), number, side, price, lots)
        sign = 1 if side == O.BUY else -1
        position += sign * lots
        cash -= sign * price * lots
    assert maker.position == position
    kept = int(maker.table[O.ACCOUNT_CASH_VALUE]) * scale
    assert cash - scale * len(fills) < kept <= cash
    exact = cash + position * FAIR
    loss = max(-exact // scale, 1)
    maker.risk[O.RISK_DAILY_LOSS_MAX] = loss
    maker.decide()
    assert maker.risk_state == O.HALTED or exact > -loss * scale


def test_a_value_that_does_not_fit_halts_instead_of_wrapping() -> None:
    for side in SIDES:
        maker = Maker()
        maker.fill(order_id(900), 1, side, O.PRICE_MAX, O.LOTS_MAX)
        sign = 1 if side == O.BUY else -1
        assert maker.position == sign * O.LOTS_MAX
        assert maker.table[O.ACCOUNT_CASH_VALUE] == -sign * O.VALUE_MAX
        for execution in range(2, 12):
            maker.fill(order_id(900), execution, side, O.PRICE_MAX, O.LOTS_MAX)
        assert maker.position == sign * O.POSITION_LOTS_MAX
        assert maker.table[O.ACCOUNT_CASH_VALUE] == -sign * O.VALUE_MAX
        maker.decide()
        assert maker.risk_state == O.HALTED


def test_a_short_position_beyond_the_bound_halts() -> None:
    maker = maker_with(position_lots=-O.LOTS_MAX, daily_loss_max=O.VALUE_MAX - 1)
    maker.decide()
    assert maker.risk_state == O.HALTED and maker.risk[O.RISK_HALT_REASON] == R.ANOMALY
