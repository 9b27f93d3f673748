"""Paper orders in the queues of a real book, against the plain queue of Decimals."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.compiling.atomics import Words
from engine.compiling.jit import kernel
from engine.layout import layout as L
from engine.layout import status as S
from engine.maker import queue_layout as P
from engine.maker.order_layout import BUY, SELL
from engine.maker.queue_position import (
    advance_queue,
    join_queue,
    leave_queue,
    new_queue,
    share_up,
    trade_queue,
)
from tests.engine.rig import Pair, Rig, binance_frame, binance_snapshot, binance_spec
from tests.naive_queue import LOT, NaiveFill, NaiveOrder, NaiveQueue

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("compiled_kernels")]

TICK = Decimal("0.01")
BIDS = [("10.00", "5"), ("9.99", "3"), ("9.00", "1")]
ASKS = [("10.02", "4"), ("10.03", "2"), ("11.00", "1")]
CAUSES = P.CAUSE_NAMES


@kernel("int64(int64, int64, int64)")
def compute_share(part: int, now: int, before: int) -> int:
    """`share_up` for Python."""
    return share_up(part, now, before)


class Venue:
    """A live book, the kernels' queue beside it, and the plain one."""

    def __init__(self, model: int = P.PROPORTIONAL, *, has_trades: bool = False) -> None:
        self.rig = Rig.single(binance_spec())
        self.rig.start(binance_snapshot(1, BIDS, ASKS))
        self.words: Words = new_queue(model)
        self.words[P.QUEUE_HAS_TRADES] = has_trades
        self.plain = NaiveQueue(model == P.PROPORTIONAL, has_trades)
        self._last_id = 1

    @property
    def address(self) -> int:
        return int(self.words.ctypes.data)

    @property
    def arena(self) -> int:
        return int(self.rig.engine.arena.ctypes.data)

    def join(self, name: int, side: int, price: str, amount: str) -> bool:
        bids, asks = self.rig.book()
        ticks, lots = int(Decimal(price) / TICK), int(Decimal(amount) / LOT)
        status = join_queue(self.arena, 0, self.address, name, side, ticks, lots)
        is_live = self.rig.engine.state(0) == L.LIVE
        order = NaiveOrder(name, side == BUY, Decimal(price), Decimal(amount))
        assert self.plain.join(order, bids, asks, is_live=is_live) == (status == P.RESTS)
        self.check()
        return status == P.RESTS

    def leave(self, name: int) -> int:
        left = leave_queue(self.address, name)
        plain = self.plain.leave(name)
        assert left == (P.NOT_RESTING if plain is None else int(plain / LOT))
        self.check()
        return left

    def frame(self, bids: list[Pair] | None = None, asks: list[Pair] | None = None) -> None:
        """A diff of the book alone."""
        self._last_id += 1
        raw = binance_frame(self._last_id, self._last_id, bids or [], asks or [])
        assert self.rig.feed(raw) in (S.APPLIED, S.CROSSED_TOO_LONG)

    def see(
        self, bids: list[Pair] | None = None, asks: list[Pair] | None = None
    ) -> list[NaiveFill]:
        """A diff, and what it fills."""
        self.frame(bids, asks)
        return self.fills(
            advance_queue(self.arena, 0, self.address), self.plain.see(*self.rig.book())
        )

    def trade(self, side: int, price: str, amount: str) -> list[NaiveFill]:
        ticks, lots = int(Decimal(price) / TICK), int(Decimal(amount) / LOT)
        count = trade_queue(self.arena, 0, self.address, side, ticks, lots)
        return self.fills(count, self.plain.trade(side == BUY, Decimal(price), Decimal(amount)))

    def fills(self, count: int, plain: list[NaiveFill]) -> list[NaiveFill]:
        rows = self.words[P.QUEUE_FILLS_AT :][: count * P.FILLED_WORDS]
        found = [
            NaiveFill(
                int(name), side == BUY, int(ticks) * TICK, int(lots) * LOT, int(left) * LOT,
                CAUSES[int(cause)],
            )
            for name, side, ticks, lots, left, cause in rows.reshape(-1, P.FILLED_WORDS)
        ]  # fmt: skip
        assert found == plain
        self.check()
        return found

    def check(self) -> None:
        """Both queues have the same orders at the same places."""
        count = int(self.words[P.QUEUE_ROWS])
        rows = self.words[P.QUEUE_ROWS_AT :][: count * P.RESTING_WORDS]
        rows = rows.reshape(-1, P.RESTING_WORDS)
        assert [int(row[P.RESTING_ID]) for row in rows] == [o.name for o in self.plain.orders]
        for row, order in zip(rows, self.plain.orders, strict=True):
            assert int(row[P.RESTING_LEFT_LOTS]) * LOT == order.left
            if order.ahead is not None:
                assert int(row[P.RESTING_AHEAD_LOTS]) * LOT == order.ahead
                level = int(row[P.RESTING_LEVEL_LOTS] - row[P.RESTING_TRADED_LOTS])
                assert level * LOT == order.level

    def ahead(self, name: int) -> Decimal | None:
        (order,) = [each for each in self.plain.orders if each.name == name]
        return order.ahead


def test_an_order_joins_the_end_and_moves_up_as_others_cancel() -> None:
    venue = Venue()
    assert venue.join(1, BUY, "10.00", "1")
    assert venue.ahead(1) == 5
    assert venue.see([("10.00", "7")]) == [] and venue.ahead(1) == 5, "more came behind it"
    assert venue.see([("10.00", "3.5")]) == [] and venue.ahead(1) == Decimal("2.5")
    assert venue.see([("10.00", "3.49999999")]) == []
    assert venue.ahead(1) == Decimal("2.5"), "a fraction of a lot stays ahead"


def test_with_the_model_behind_every_cancel_is_behind() -> None:
    venue = Venue(P.BEHIND)
    venue.join(1, SELL, "10.02", "1")
    venue.see(asks=[("10.02", "9")])
    assert venue.see(asks=[("10.02", "4.5")]) == [] and venue.ahead(1) == 4
    assert venue.see(asks=[("10.02", "2")]) == [] and venue.ahead(1) == 2


@pytest.mark.parametrize("ask", ["10.00", "9.99"], ids=["at", "through"])
def test_a_price_that_is_reached_fills_all_of_it(ask: str) -> None:
    venue = Venue()
    venue.join(1, BUY, "10.00", "100")
    (fill,) = venue.see([("10.00", "0"), ("9.99", "0")], [(ask, "0.001")])
    assert fill.amount == 100 and (fill.left, fill.cause) == (Decimal(0), "price")
    assert venue.leave(1) == P.NOT_RESTING


def test_a_depleted_level_fills_what_had_stood_behind_and_no_more() -> None:
    venue = Venue()
    venue.join(1, BUY, "10.00", "3")
    venue.join(2, BUY, "9.99", "3")
    assert venue.see([("10.00", "7")]) == []
    (fill,) = venue.see([("10.00", "0")])
    assert (fill.name, fill.amount, fill.left) == (1, Decimal(2), Decimal(1))
    assert fill.cause == "depletion"
    assert venue.ahead(1) == 0 and venue.ahead(2) == 3
    assert venue.see([("10.00", "0.4")]) == [], "they came behind it"
    assert venue.see([("10.00", "0")])[0].amount == Decimal("0.4")
    assert venue.leave(1) == 60_000_000


def test_a_level_that_empties_behind_a_better_one_was_cancelled() -> None:
    venue = Venue()
    venue.join(1, BUY, "9.99", "3")
    venue.see([("9.99", "6")])
    assert venue.see([("9.99", "0")]) == [] and venue.ahead(1) == 0


def test_a_last_in_its_queue_gets_nothing_of_a_depletion() -> None:
    venue = Venue()
    venue.join(1, SELL, "10.02", "3")
    assert venue.see(asks=[("10.02", "0")]) == []


def test_a_post_only_order_that_would_take_does_not_rest() -> None:
    venue = Venue()
    assert not venue.join(1, BUY, "10.02", "1") and not venue.join(2, SELL, "10.00", "1")
    assert venue.join(3, BUY, "10.01", "1"), "between the two it is alone"
    assert venue.ahead(3) == 0


def test_trades_take_what_is_ahead_first_and_explain_what_is_gone() -> None:
    venue = Venue(has_trades=True)
    venue.join(1, BUY, "10.00", "1")
    venue.see([("10.00", "8")])
    assert venue.trade(BUY, "10.00", "4") == [] and venue.ahead(1) == 1
    assert venue.see([("10.00", "4")]) == [] and venue.ahead(1) == 1, "nothing was cancelled"
    assert venue.trade(SELL, "10.02", "4") == [], "the other side's"
    (fill,) = venue.trade(BUY, "10.00", "1.25")
    assert (fill.amount, fill.cause) == (Decimal("0.25"), "trade")
    assert venue.see([("10.00", "0")]) == [], "what trades did not take was cancelled"
    (fill,) = venue.trade(BUY, "9.98", "0.01")
    assert (fill.amount, fill.left) == (Decimal("0.75"), Decimal(0))


def test_a_book_that_is_not_live_fills_nothing_and_is_joined_later() -> None:
    venue = Venue()
    venue.join(1, BUY, "10.00", "1")
    venue.rig.set_state(L.STALE)
    assert venue.join(2, BUY, "10.02", "1") and venue.ahead(2) is None
    assert advance_queue(venue.arena, 0, venue.address) == 0
    venue.rig.set_state(L.LIVE)
    assert [fill.name for fill in venue.see()] == [2]
    assert venue.ahead(1) == 5


def test_a_far_level_is_found_too() -> None:
    venue = Venue()
    venue.frame([("2.00", "6")])
    assert venue.join(1, BUY, "2.00", "1") and venue.ahead(1) == 6
    assert venue.join(2, BUY, "2.01", "1") and venue.ahead(2) == 0


def test_there_is_room_for_as_many_as_the_order_table_has_and_no_more() -> None:
    venue = Venue()
    for name in range(1, P.RESTING_MAX + 1):
        assert venue.join(name, BUY, "9.00", "1")
    assert join_queue(venue.arena, 0, venue.address, 999, BUY, 900, 1) == P.NO_ROOM
    assert len(venue.see([("9.00", "0"), ("10.00", "0"), ("9.99", "0")], [("9.00", "1")])) == 80
    assert venue.words[P.QUEUE_ROWS] == 0


def test_other_units_begin_at_the_end_of_the_queue() -> None:
    """Lots ahead were counted in others: nothing is known but what stands there now."""
    venue = Venue()
    venue.join(1, BUY, "10.00", "1")
    venue.see([("10.00", "9")])
    feed = venue.rig.feed_at(0)
    venue.rig.engine.arena[feed + L.FEED_UNITS_EPOCH] += 1
    venue.plain.orders[0].ahead = None
    assert venue.see([("10.00", "4")]) == [] and venue.ahead(1) == 4


@pytest.mark.parametrize(("decimals", "filled"), [(10, "0.02"), (6, "2")])
def test_a_fill_is_in_lots_of_1e_8_whatever_the_feed_counts_in(decimals: int, filled: str) -> None:
    venue = Venue()
    venue.join(1, BUY, "10.00", "3")
    venue.frame([("10.00", "7")])
    arena, feed = venue.rig.engine.arena, venue.rig.feed_at(0)
    advance_queue(venue.arena, 0, venue.address)
    arena[feed + L.FEED_LOT_DECIMALS] = decimals
    venue.frame([("10.00", "0")])
    assert advance_queue(venue.arena, 0, venue.address) == 1
    got = int(venue.words[P.QUEUE_FILLS_AT + P.FILLED_LOTS]) * LOT
    assert got == min(Decimal(filled) if decimals == 10 else Decimal(200), Decimal(3))


AMOUNT = st.integers(0, 900).map(lambda n: f"{n / 100:.2f}")
NEAR = st.integers(990, 1012)


@given(st.data(), st.sampled_from([P.PROPORTIONAL, P.BEHIND]), st.booleans())
def test_any_book_moves_both_queues_alike(data: st.DataObject, model: int, trades: bool) -> None:
    venue = Venue(model, has_trades=trades)
    for name in range(1, data.draw(st.integers(5, 40)) + 1):
        what = data.draw(st.sampled_from(["join", "see", "see", "see", "leave", "trade"]))
        side = data.draw(st.sampled_from([BUY, SELL]))
        price = f"{data.draw(NEAR) / 100:.2f}"
        if what == "join" and int(venue.words[P.QUEUE_ROWS]) < P.RESTING_MAX:
            venue.join(name, side, price, f"{data.draw(st.integers(1, 500)) / 100:.2f}")
        elif what == "leave":
            venue.leave(data.draw(st.integers(1, name)))
        elif what == "trade" and trades:
            venue.trade(side, price, f"{data.draw(st.integers(1, 500)) / 100:.2f}")
        else:
            bids, asks = uncrossed(data, venue)
            venue.see(bids, asks)


def uncrossed(data: st.DataObject, venue: Venue) -> tuple[list[Pair], list[Pair]]:
    """Changes after which the best bid is below the best ask."""
    middle = data.draw(NEAR)
    rows = data.draw(st.lists(st.tuples(NEAR, AMOUNT), max_size=6))
    books = venue.rig.book()
    bids = {price: "0" for price in books[0] if price >= middle * TICK}
    asks = {price: "0" for price in books[1] if price <= middle * TICK}
    for ticks, amount in rows:
        if ticks != middle:
            (bids if ticks < middle else asks)[ticks * TICK] = amount
    return (
        [(f"{price:.2f}", amount) for price, amount in bids.items()],
        [(f"{price:.2f}", amount) for price, amount in asks.items()],
    )


@given(
    st.integers(1, 2**63 - 1).flatmap(
        lambda before: st.tuples(
            st.integers(0, before), st.integers(0, before - 1), st.just(before)
        )
    )
)
def test_the_share_is_exact_up_to_the_largest_lots(numbers: tuple[int, int, int]) -> None:
    part, now, before = numbers
    found = compute_share(part, now, before)
    exact = Fraction(part * now, before)
    if before < 2**62:
        assert found == -(-exact.numerator // exact.denominator)
    else:
        assert abs(found - exact) <= 8


def test_nothing_ahead_and_nothing_left_share_nothing() -> None:
    assert compute_share(0, 5, 9) == 0 and compute_share(9, 0, 9) == 0
    assert compute_share(2**61, 2**60, 2**61) == 2**60, "all that is left is ahead"
    assert compute_share(1, 1, 2) == 1 and compute_share(7, 3, 9) == 3
