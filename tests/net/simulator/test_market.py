"""The matching engine: priority, conservation, never crossed."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from net.simulator.market import ASK, BID, MatchingEngine

ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["limit", "ioc", "market", "cancel", "reduce"]),
        st.sampled_from([BID, ASK]),
        st.integers(95, 105),
        st.integers(1, 50),
        st.integers(0, 400),
    ),
    max_size=150,
)


@settings(max_examples=120, deadline=None)
@given(ACTIONS)
def test_any_sequence_keeps_every_invariant(actions: list[tuple[str, int, int, int, int]]) -> None:
    engine = MatchingEngine()
    mirror: dict[int, dict[int, int]] = {BID: {}, ASK: {}}
    for time_ns, (kind, side, price, qty, pick) in enumerate(actions):
        live = list(engine.orders)
        if kind == "limit":
            engine.submit("a", side, qty, time_ns, price_ticks=price)
        elif kind == "ioc":
            engine.submit("b", side, qty, time_ns, price_ticks=price, rests=False)
        elif kind == "market":
            engine.submit("c", side, qty, time_ns)
        elif live:
            order = engine.orders[live[pick % len(live)]]
            if kind == "cancel":
                assert engine.cancel(order.order_id) > 0
            else:
                engine.reduce(order.order_id, min(qty, order.qty_lots))
        engine.check()
        changes, trades = engine.drain()
        for change_side, change_price, change_qty in changes:
            mirror[change_side][change_price] = change_qty
        for trade in trades:
            assert trade.qty_lots > 0 and trade.maker_side in (BID, ASK)
    # What was announced is the book: nothing changed silently.
    for side, levels in mirror.items():
        announced = {price: qty for price, qty in levels.items() if qty}
        book = {price: level.qty_lots for price, level in engine.side(side).levels.items()}
        assert announced == book


def test_price_goes_before_time_and_time_before_size() -> None:
    engine = MatchingEngine()
    late_better = 4
    first = engine.submit("a", ASK, 5, 1, price_ticks=101)
    second = engine.submit("b", ASK, 50, 2, price_ticks=101)
    better = engine.submit("c", ASK, 5, late_better, price_ticks=100)
    taker = engine.submit("d", BID, 12, 5, price_ticks=101)
    _, trades = engine.drain()
    assert [(t.maker_order_id, t.price_ticks, t.qty_lots) for t in trades] == [
        (better.order_id, 100, 5),
        (first.order_id, 101, 5),
        (second.order_id, 101, 2),
    ]
    assert {t.taker_order_id for t in trades} == {taker.order_id}
    assert [t.trade_id for t in trades] == [1, 2, 3]
    assert taker.order_id not in engine.orders and second.qty_lots == 48


def test_a_partial_fill_rests_at_its_own_price() -> None:
    engine = MatchingEngine()
    engine.submit("a", ASK, 5, 1, price_ticks=100)
    engine.submit("b", BID, 8, 2, price_ticks=103)
    assert engine.bids.best_level() == (103, 3)
    assert engine.asks.best() is None
    changes, _ = engine.drain()
    assert changes == [(ASK, 100, 5), (ASK, 100, 0), (BID, 103, 3)]


def test_a_reduced_order_keeps_its_place() -> None:
    engine = MatchingEngine()
    first = engine.submit("a", BID, 9, 1, price_ticks=100)
    engine.submit("b", BID, 9, 2, price_ticks=100)
    engine.reduce(first.order_id, 4)
    engine.submit("c", ASK, 5, 3)
    _, trades = engine.drain()
    assert [(t.maker_order_id, t.qty_lots) for t in trades] == [(first.order_id, 5)]


def test_a_market_order_on_an_empty_side_does_nothing() -> None:
    engine = MatchingEngine()
    order = engine.submit("a", BID, 5, 1)
    assert order.order_id not in engine.orders
    assert engine.drain() == ([], [])
    assert engine.cancel(order.order_id) == 0
    engine.check()


def test_top_is_best_first_on_both_sides() -> None:
    engine = MatchingEngine()
    for price in (99, 97, 98):
        engine.submit("a", BID, price, 1, price_ticks=price)
        engine.submit("a", ASK, price, 1, price_ticks=200 - price)
    assert engine.bids.top(2) == [(99, 99), (98, 98)]
    assert engine.asks.top(5) == [(101, 99), (102, 98), (103, 97)]
