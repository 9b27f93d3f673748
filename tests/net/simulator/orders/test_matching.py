"""Own orders: queue position, priority, conservation of quantity and of money."""

from __future__ import annotations

from collections import Counter
from typing import Any, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from net.simulator.flow import CommonPrice, Step
from net.simulator.market import ASK, BID, MatchingEngine
from net.simulator.options import SimulatorError, TradingOptions, VenueInstrument
from net.simulator.orders.accounts import Account
from net.simulator.orders.amounts import PrecisionError, lots_text, read_lots, read_scaled
from net.simulator.orders.desk import Desk, RejectedError, Report, Wanted
from net.simulator.orders.matching import Fill, OwnOrders
from net.simulator.registry import simulated_venue
from net.simulator.source import Message
from net.simulator.synthetic import SyntheticFeed
from tests.net.simulator.test_synthetic import CHANNELS, MS, START_NS, feed

COIN = VenueInstrument("BTC-USD", "BTCUSDT", "BTC", "USDT", 2, 5, 8, 8)


class Market:
    """A crowd that does what the test says, and own orders in it."""

    def __init__(self) -> None:
        self.engine = MatchingEngine()
        self.own = OwnOrders(self.engine)
        self.now_ns = 0
        self.next_id = 1

    def crowd(
        self, side: int, qty: int, price: int | None = None, *, rests: bool = True
    ) -> tuple[int, list[Fill]]:
        """One crowd order; its number, and the own fills it causes."""
        order = self.engine.submit("crowd", side, qty, self.now_ns, price_ticks=price, rests=rests)
        return order.order_id, self.step()

    def step(self) -> list[Fill]:
        self.now_ns += 1
        fills = self.own.on_step(Step(self.now_ns, *self.engine.drain()))
        self.own.check()
        return fills

    def rest(self, side: int, qty: int, price: int) -> int:
        order_id, self.next_id = self.next_id, self.next_id + 1
        outcome = self.own.place(order_id, side, qty, self.now_ns, limit_ticks=price, rests=True)
        assert not outcome.fills
        self.own.check()
        return order_id


def parts(fills: list[Fill]) -> list[tuple[int, int, int, bool]]:
    return [(f.order_id, f.price_ticks, f.qty_lots, f.is_maker) for f in fills]


# --- the queue -----------------------------------------------------------------------------------


def test_an_order_waits_behind_what_was_displayed() -> None:
    market = Market()
    market.crowd(BID, 10, 100)
    mine = market.rest(BID, 5, 100)
    market.crowd(BID, 10, 100)  # joins behind
    assert market.crowd(ASK, 7)[1] == []
    assert market.own.orders[mine].ahead_lots == 3
    assert parts(market.crowd(ASK, 5)[1]) == [(mine, 100, 2, True)]
    assert parts(market.crowd(ASK, 1)[1]) == [(mine, 100, 1, True)]
    assert parts(market.crowd(ASK, 6)[1]) == [(mine, 100, 2, True)]
    assert not market.own.orders


def test_a_crowd_cancel_is_from_behind_until_less_is_displayed_than_was_ahead() -> None:
    market = Market()
    first, _ = market.crowd(ASK, 6, 105)
    mine = market.rest(ASK, 5, 105)
    market.crowd(ASK, 4, 105)
    market.engine.cancel(first)
    market.step()
    assert market.own.orders[mine].ahead_lots == 4  # not 0: who left is not known
    assert market.crowd(BID, 3)[1] == []
    assert parts(market.crowd(BID, 2, 105, rests=False)[1]) == []


def test_price_goes_before_time_and_time_before_size() -> None:
    market = Market()
    market.crowd(BID, 4, 100)
    old = market.rest(BID, 3, 100)
    young = market.rest(BID, 30, 100)
    better = market.rest(BID, 2, 101)
    fills = market.crowd(ASK, 4)[1]
    assert parts(fills) == [(better, 101, 2, True)]
    market.crowd(BID, 8, 100)
    fills = market.crowd(ASK, 8)[1]
    assert parts(fills) == [(old, 100, 3, True), (young, 100, 5, True)]
    assert len({fill.trade_id for fill in fills}) == 2


def test_the_book_moving_through_fills_at_the_own_price() -> None:
    market = Market()
    cancelled, _ = market.crowd(BID, 4, 100)
    mine = market.rest(BID, 9, 100)
    market.engine.cancel(cancelled)
    assert market.step() == []
    assert parts(market.crowd(ASK, 1, 98)[1]) == [(mine, 100, 9, True)]


def test_a_taker_takes_levels_then_rests_or_is_given_up() -> None:
    market = Market()
    market.crowd(ASK, 5, 101)
    market.crowd(ASK, 5, 102)
    market.crowd(ASK, 5, 103)
    place = market.own.place
    taken = place(7, BID, 12, 1, limit_ticks=102, rests=False)
    assert parts(taken.fills) == [(7, 101, 5, False), (7, 102, 5, False)]
    assert taken.left_lots == 2 and not market.own.orders
    assert market.engine.asks.top(9) == [(103, 5)]
    rested = place(8, BID, 7, 1, limit_ticks=103, rests=True)
    assert parts(rested.fills) == [(8, 103, 5, False)] and rested.left_lots == 0
    assert market.own.orders[8].qty_lots == 2
    assert market.engine.asks.top(9) == []
    market.own.check()


def test_taking_the_crowd_moves_own_orders_of_that_level_up() -> None:
    market = Market()
    market.crowd(ASK, 5, 101)
    mine = market.rest(ASK, 5, 101)
    market.own.place(9, BID, 4, 1, limit_ticks=101, rests=False)
    assert market.own.orders[mine].ahead_lots == 1
    market.own.check()


@pytest.mark.parametrize(
    ("mode", "fills", "left", "expired", "prevented"),
    [
        ("NONE", [(1, 101, 5, True), (9, 101, 5, False), (9, 102, 3, False)], 0, [], False),
        ("EXPIRE_MAKER", [(9, 102, 3, False)], 5, [1], False),
        ("EXPIRE_TAKER", [], 8, [], True),
        ("EXPIRE_BOTH", [], 8, [1], True),
    ],
)
def test_meeting_oneself(
    mode: str,
    fills: list[tuple[int, int, int, bool]],
    left: int,
    expired: list[int],
    prevented: bool,
) -> None:
    market = Market()
    market.rest(ASK, 5, 101)
    market.crowd(ASK, 3, 102)
    assert market.own.would_take(BID, 101) and not market.own.would_take(BID, 100)
    outcome = market.own.place(9, BID, 8, 1, limit_ticks=102, rests=False, self_trade=mode)
    assert parts(outcome.fills) == fills
    assert (outcome.left_lots, outcome.expired, outcome.is_prevented) == (left, expired, prevented)


def test_a_preview_is_what_is_then_taken() -> None:
    market = Market()
    for price in range(101, 120):
        market.crowd(ASK, price - 100, price)
    levels = market.own.preview(BID, 40, 115)
    taken = market.own.place(9, BID, 40, 1, limit_ticks=115, rests=False)
    assert levels == [(fill.price_ticks, fill.qty_lots) for fill in taken.fills]
    assert sum(lots for _, lots in levels) == 40
    assert market.own.preview(BID, 10**6)[-1][0] == 119
    assert market.own.preview(BID, 5, 100) == []


QUEUE_ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["crowd", "own", "trade", "trade", "leave", "cancel"]),
        st.integers(1, 9),
        st.integers(0, 99),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(QUEUE_ACTIONS, st.sampled_from([BID, ASK]))
@example([("own", 2, 0), ("crowd", 1, 0), ("crowd", 1, 0), ("trade", 2, 0)], BID)
def test_a_level_agrees_with_a_queue_of_single_lots(
    actions: list[tuple[str, int, int]], side: int
) -> None:
    """The oracle is a list of lots: 0 is the crowd's, a number is the own order's.

    A taker that meets two orders of the crowd makes two trades, and fills an own order twice.
    """
    market = Market()
    queue: list[int] = []
    for kind, qty, pick in actions:
        mine = list(market.own.orders)
        expected: dict[int, int] = {}
        fills: list[Fill] = []
        if kind == "crowd":
            queue += [0] * qty
            fills = market.crowd(side, qty, 100)[1]
        elif kind == "own" and len(mine) < 6:
            queue += [market.rest(side, qty, 100)] * qty
        elif kind == "trade":
            lots = min(qty, queue.count(0))
            if lots:
                met, queue = queue[:lots], queue[lots:]
                for lot in met:
                    if lot:
                        expected[lot] = expected.get(lot, 0) + 1
                        # The crowd's order that it replaced is gone from the display.
                        del queue[len(queue) - 1 - queue[::-1].index(0)]
                fills = market.crowd(-side, lots)[1]
        elif kind == "leave" and market.engine.orders:
            orders = list(market.engine.orders.values())
            order = orders[pick % len(orders)]
            for _ in range(order.qty_lots):
                del queue[len(queue) - 1 - queue[::-1].index(0)]
            market.engine.cancel(order.order_id)
            fills = market.step()
        elif kind == "cancel" and mine:
            market.own.cancel(mine[pick % len(mine)])
            queue = [lot for lot in queue if lot != mine[pick % len(mine)]]
        filled: Counter[int] = Counter()
        for fill in fills:
            filled[fill.order_id] += fill.qty_lots
        assert filled == expected
        for order_id, resting in market.own.orders.items():
            assert resting.qty_lots == queue.count(order_id)
            assert resting.ahead_lots == queue[: queue.index(order_id)].count(0)


# --- money ---------------------------------------------------------------------------------------


class Venue:
    """A desk on a crowd that does what the test says."""

    def __init__(self, options: TradingOptions, *, fee_in_quote: bool = False) -> None:
        self.engine = MatchingEngine()
        self.observer = None
        self.instruments = {COIN.venue_symbol: COIN}
        self.account = Account(options, fee_in_quote=fee_in_quote)
        self.desk = Desk(cast(SyntheticFeed, self), self.account, are_client_ids_unique=True)
        self.reports: list[Report] = []
        self.desk.listeners.append(self.reports.append)
        self.now_ns = 0

    def market(self, symbol: str) -> Venue:
        return self

    def step(self) -> None:
        self.now_ns += 1
        assert self.observer is not None
        self.observer(Step(self.now_ns, *self.engine.drain()))
        self.desk.check()

    def wanted(self, side: int, qty: int, price: int, **more: Any) -> Wanted:
        kind = "LIMIT" if price else "MARKET"
        made = Wanted(COIN, f"c{self.now_ns}", side, kind, "GTC", price, qty)
        return made._replace(**more)


RICH = TradingOptions(balances=(("BTC", "1"), ("USDT", "1000")), maker_fee=1_234, taker_fee=4_567)

MONEY_ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(
            ["crowd", "crowd", "sweep", "leave", "limit", "limit", "ioc", "fok", "maker",
             "market", "cancel", "reduce"]
        ),
        st.sampled_from([BID, ASK]),
        st.integers(9_990, 10_010),
        st.integers(1, 77_777_777),
        st.integers(0, 400),
        st.sampled_from(["NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"]),
    ),
    max_size=80,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(MONEY_ACTIONS, st.booleans())
@example(  # a market order that takes from the crowd and from an own order
    [
        ("crowd", ASK, 9_990, 1, 0, "NONE"),
        ("limit", ASK, 9_990, 1, 0, "NONE"),
        ("market", BID, 9_990, 2, 0, "NONE"),
    ],
    False,
)
def test_any_sequence_conserves_quantity_and_money(
    actions: list[tuple[str, int, int, int, int, str]], fee_in_quote: bool
) -> None:
    venue = Venue(RICH, fee_in_quote=fee_in_quote)
    desk, account = venue.desk, venue.account
    for kind, side, price, qty, pick, mode in actions:
        venue.now_ns += 1
        live, crowd = desk.open_orders(), list(venue.engine.orders)
        if kind == "crowd":
            venue.engine.submit("crowd", side, qty, venue.now_ns, price_ticks=price)
        elif kind == "sweep":
            venue.engine.submit("crowd", side, qty, venue.now_ns)
        elif kind == "leave" and crowd:
            venue.engine.cancel(crowd[pick % len(crowd)])
        elif kind == "cancel" and live:
            desk.cancel(live[pick % len(live)], venue.now_ns)
        elif kind == "reduce" and live:
            order = live[pick % len(live)]
            if order.open_lots > 1:
                desk.reduce(order, order.filled_lots + (order.open_lots + 1) // 2, venue.now_ns)
        elif kind in ("limit", "ioc", "fok", "maker", "market"):
            before = len(venue.reports), len(desk.orders)
            try:
                desk.place(
                    venue.wanted(
                        side,
                        qty,
                        0 if kind == "market" else price,
                        time_in_force={"ioc": "IOC", "fok": "FOK"}.get(kind, "GTC"),
                        is_post_only=kind == "maker",
                        self_trade=mode,
                    ),
                    venue.now_ns,
                )
            except RejectedError:
                assert before == (len(venue.reports), len(desk.orders))
        venue.step()
        venue.engine.check()
    # The same sums from the reports alone, by another road.
    base, quote = read_lots("1"), read_lots("1000")
    for report in venue.reports:
        made = report.execution
        if made is None:
            continue
        sign = 1 if made.side == BID else -1
        assert made.quote_lots == made.price_ticks * made.qty_lots // 100
        base += sign * made.qty_lots - (made.fee_lots if made.fee_asset == "BTC" else 0)
        quote -= sign * made.quote_lots + (made.fee_lots if made.fee_asset == "USDT" else 0)
        assert made.fee_asset == ("USDT" if fee_in_quote or sign < 0 else "BTC")
    for asset, total in (("BTC", base), ("USDT", quote)):
        balance = account.balance(asset)
        assert balance.free_lots + balance.locked_lots == total
    ids = [r.execution.execution_id for r in venue.reports if r.execution is not None]
    assert ids == list(range(1, len(ids) + 1))


def test_a_fill_moves_exactly_the_money_that_the_fees_say() -> None:
    venue = Venue(TradingOptions(balances=(("USDT", "1000"),), maker_fee=1_000, taker_fee=2_000))
    order = venue.desk.place(venue.wanted(BID, 2 * 10**8, 10_000), 1)
    assert venue.account.balance("USDT").locked_lots == 200 * 10**8
    venue.engine.submit("crowd", ASK, 10**8, 2, price_ticks=9_999)
    venue.step()
    assert order.status == "FILLED"
    assert venue.account.balance("BTC").free_lots == 2 * 10**8 * 999 // 1000
    assert venue.account.balance("USDT").free_lots == 800 * 10**8
    assert venue.account.balance("USDT").locked_lots == 0


def test_refusals_change_nothing() -> None:
    venue = Venue(TradingOptions(balances=(("BTC", "1"), ("USDT", "100"))))
    venue.engine.submit("crowd", ASK, 10**8, 1, price_ticks=10_000)
    venue.step()
    resting = venue.desk.place(venue.wanted(BID, 10**7, 9_000, client_order_id="one"), 1)
    balances = {name: (b.free_lots, b.locked_lots) for name, b in venue.account.balances.items()}
    for wanted, reason in (
        (venue.wanted(BID, 2 * 10**8, 9_999), "balance"),
        (venue.wanted(BID, 10**8, 0), "balance"),
        (venue.wanted(BID, 10**6, 10_000, is_post_only=True), "would take"),
        (venue.wanted(BID, 10**6, 9_000, client_order_id="one"), "duplicate"),
        (venue.wanted(ASK, 10**6, 0), "no liquidity"),
    ):
        with pytest.raises(RejectedError, match=reason):
            venue.desk.place(wanted, 2)
    venue.desk.cancel(resting, 3)
    with pytest.raises(RejectedError, match="unknown"):
        venue.desk.cancel(resting, 3)
    assert balances["BTC"] == (10**8, 0)
    assert venue.account.balance("USDT").free_lots == 100 * 10**8
    assert [report.what for report in venue.reports] == ["NEW", "CANCELED"]


# --- the real crowd ------------------------------------------------------------------------------


def traded(seed: int, steps: int) -> tuple[list[Message], list[str], Desk]:
    """Quote both sides at the touch of a synthetic market, re-quoting as it moves."""
    source = feed("binance", seed)
    desk = Desk(source, Account(TradingOptions(), fee_in_quote=False), are_client_ids_unique=True)
    seen: list[str] = []
    desk.listeners.append(
        lambda r: seen.append(f"{r.what} {r.order.order_id} {r.order.filled_lots} {r.time_ns}")
    )
    engine = source.market("BTCUSDT").engine
    out: list[Message] = []
    instrument = source.instruments["BTCUSDT"]
    for now_ms in range(0, steps * 100, 100):
        now_ns = START_NS + now_ms * MS
        out += source.advance(now_ns)
        for order in desk.open_orders():
            if order.price_ticks != engine.side(order.side).best():
                desk.cancel(order, now_ns)
        quoted = {order.side for order in desk.open_orders()}
        for side in {BID, ASK} - quoted:
            best = engine.side(side).best()
            assert best is not None
            wanted = Wanted(
                instrument, f"{now_ms}{side}", side, "LIMIT_MAKER", "GTC", best, 10**5, True
            )
            desk.place(wanted, now_ns)
        desk.check()
    return out, seen, desk


def test_quoting_a_synthetic_market_fills_and_is_repeatable() -> None:
    out, seen, desk = traded(3, 300)
    assert sum(line.startswith("TRADE") for line in seen) > 5
    assert (out, seen) == traded(3, 300)[:2]
    assert desk.account.fees_paid["USDT"] > 0
    # Resting orders leave no trace in the market: the stream is the one without them.
    plain = feed("binance", 3)
    alone: list[Message] = []
    for now_ms in range(0, 30_000, 100):
        alone += plain.advance(START_NS + now_ms * MS)
    assert out == alone and set(m.channel for m in out) <= set(CHANNELS["binance"])


def test_what_is_taken_is_published() -> None:
    source = SyntheticFeed(
        simulated_venue("binance"),
        ("BTC-USD",),
        {"BTC-USD": CommonPrice(1, "BTC-USD")},
        seed=1,
        start_ns=START_NS,
        far_levels_share=0.0,
    )
    source.subscribed("btcusdt@trade")
    source.subscribed("btcusdt@depth@100ms")
    desk = Desk(source, Account(TradingOptions(), fee_in_quote=False), are_client_ids_unique=True)
    source.advance(START_NS + 1_000 * MS)
    engine, book = source.market("BTCUSDT").engine, source.book("BTCUSDT")
    price, shown = engine.asks.best_level()
    version = book.version
    wanted = Wanted(source.instruments["BTCUSDT"], "t", BID, "LIMIT", "IOC", price, shown)
    desk.place(wanted, START_NS + 1_000 * MS)
    messages = source.taken("BTCUSDT")
    assert [m.channel for m in messages].count("btcusdt@trade") >= 1
    assert price not in book.asks and book.version == version + 1
    source.pause(START_NS + 1_000 * MS)
    desk.place(wanted._replace(price_ticks=price + 1_000, client_order_id="u"), START_NS)
    assert source.taken("BTCUSDT")[-1].channel == "btcusdt@depth@100ms"
    assert book.sorted_asks() == engine.asks.top(10**6)
    engine.check()


# --- numbers -------------------------------------------------------------------------------------


@given(st.integers(0, 2**63 - 1))
def test_amounts_read_as_they_print(lots: int) -> None:
    assert read_lots(lots_text(lots)) == lots


def test_what_is_no_amount_is_refused() -> None:
    assert read_scaled("61837.6300", 2) == 6_183_763
    for text in ("", "-1", "1e3", ".5", "1,0", "９", "9" * 18):
        with pytest.raises(ValueError):
            read_lots(text)
    with pytest.raises(PrecisionError):
        read_scaled("1.005", 2)


@pytest.mark.parametrize(
    "options",
    [
        TradingOptions(balances=(("BTC", "-1"),)),
        TradingOptions(maker_fee=-1),
        TradingOptions(orders_10s_max=0),
        TradingOptions(fee_asset_price="0"),
        TradingOptions(fee_asset_price="many"),
    ],
)
def test_bad_trading_options_are_named(options: TradingOptions) -> None:
    with pytest.raises(SimulatorError):
        options.check()
