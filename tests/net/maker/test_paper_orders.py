"""Orders on paper: they travel, queue at the venue's level, fill in parts and cost a fee."""

from __future__ import annotations

from decimal import Decimal

import pytest

from engine.maker.order_layout import BUY, SELL
from engine.maker.queue_layout import BY_DEPLETION, BY_PRICE
from net.config.paper import PaperSettings
from net.maker.paper_orders import PaperEntry, PaperFill, PaperMarket
from net.orders.errors import ErrorClass
from net.orders.interface import EntryState
from net.orders.messages import Kind, Market, OrderEvent, OrderRequest, Request, State
from tests.engine.rig import Rig, binance_frame, binance_snapshot, binance_spec
from tests.net.venues.bitstamp.orders.rig import Host

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("compiled_kernels")]

A, B = (8 << 32) + 1, (8 << 32) + 2
VENUE = 3
MS = 1_000_000
MARKET = Market("BTCUSDT", "BTC", "USDT", "0.01", "0.00000001")
BIDS = [("10.00", "0.00000005"), ("9.99", "3")]
ASKS = [("10.02", "4"), ("10.03", "2")]


class PaperHost(Host):
    """The venue tests' host, for answers that name a replaced order too."""

    def __init__(self) -> None:
        super().__init__()
        self.heard_ns: list[int] = []

    def on_answer(
        self, venue: int, asked: OrderRequest, events: tuple[OrderEvent, ...], now_ns: int
    ) -> None:
        assert venue == VENUE
        self.heard_ns.append(now_ns)
        self.said.append((*asked, *events))


class Paper:
    """An entry that is ready, the book that it looks at, and what its host was told."""

    def __init__(self, fee_bps: float = 10.0, **settings: object) -> None:
        self.host = PaperHost()
        self.rig = Rig.single(binance_spec())
        self.rig.start(binance_snapshot(1, BIDS, ASKS))
        self.fills: list[PaperFill] = []
        given = {"latency_ms": 0.0, "latency_tail_ms": 0.0} | settings
        market = PaperMarket(self.rig.engine, 0, MARKET, fee_bps, 2 * fee_bps)
        paper = PaperSettings.model_validate(given)
        self.entry = PaperEntry(self.host, VENUE, market, paper)
        self.entry.on_fill = self.fills.append
        self._last_id = 1
        states = [self.entry.state]
        assert self.host.said == [] and self.told()[0][0] == "ready"
        assert [*states, self.entry.state] == [EntryState.READING, EntryState.READY]

    def told(self, now_ns: int = 1) -> list[tuple[object, ...]]:
        self.entry.on_timer(now_ns)
        said, self.host.said = self.host.said, []
        return said

    def book(
        self,
        bids: list[tuple[str, str]] | None = None,
        asks: list[tuple[str, str]] | None = None,
        now_ns: int = 1,
    ) -> list[tuple[object, ...]]:
        """A frame, and what is told with it."""
        self._last_id += 1
        self.rig.feed(binance_frame(self._last_id, self._last_id, bids or [], asks or []))
        self.entry.on_book(now_ns)
        return self.told(now_ns)


def one(event: object) -> OrderEvent:
    assert isinstance(event, OrderEvent)
    return event


def test_answers_come_with_the_next_step_in_the_order_of_the_questions() -> None:
    paper = Paper()
    paper.entry.place(A, BUY, 1000, 5, 1)
    paper.entry.ask(A, 1)
    paper.entry.cancel(A, 1)
    paper.entry.ask(A, 1)
    assert paper.host.said == []
    placed, asked, canceled, gone = paper.told()
    assert placed[:3] == (Request.PLACE, A, 0) and one(placed[3]).kind is Kind.ACCEPTED
    assert one(asked[3]).state is State.OPEN and one(asked[3]).filled_lots == 0
    assert one(canceled[3]).kind is Kind.CANCELED and one(canceled[3]).filled_lots == 0
    assert one(gone[3]).error is ErrorClass.UNKNOWN_ORDER
    assert paper.told() == []


def test_what_the_host_sends_within_an_answer_waits_for_the_next_call() -> None:
    paper = Paper()
    paper.entry.place(A, BUY, 1000, 5, 1)
    answered = paper.host.on_answer

    def answer(
        venue: int, asked: OrderRequest, events: tuple[OrderEvent, ...], now_ns: int
    ) -> None:
        answered(venue, asked, events, now_ns)
        paper.entry.ask(A, now_ns)

    paper.host.on_answer = answer  # type: ignore[method-assign]
    assert [len(paper.told()) for _ in range(3)] == [1, 1, 1]


def test_an_order_is_filled_once_whole_and_at_its_own_price() -> None:
    paper = Paper()
    paper.entry.place(A, BUY, 1000, 5, 1)
    paper.entry.place(B, SELL, 1003, 7, 1)
    paper.told()
    assert paper.book([("10.00", "1"), ("10.01", "1")], [("10.02", "0")]) == []
    ((_, bought),) = paper.book([("10.00", "0"), ("10.01", "0"), ("9.99", "0")], [("9.99", "1")])
    assert paper.book() == []
    ((_, sold),) = paper.book([("10.05", "1")], [("9.99", "0"), ("10.03", "0")])
    buy, sell = one(bought[0]), one(sold[0])  # type: ignore[index]
    assert (buy.side, buy.last_price_ticks, buy.last_lots, buy.filled_lots) == (BUY, 1000, 5, 5)
    assert (sell.side, sell.last_price_ticks, sell.last_lots) == (SELL, 1003, 7)
    assert 0 < buy.execution_id < sell.execution_id and buy.is_maker
    assert {buy.kind, sell.kind} == {Kind.FILL} and buy.state is State.FILLED
    assert [(f.order_id, f.cause, f.left_lots) for f in paper.fills] == [
        (A, BY_PRICE, 0), (B, BY_PRICE, 0),
    ]  # fmt: skip
    paper.entry.cancel(A, 1)
    assert one(paper.told()[0][3]).error is ErrorClass.UNKNOWN_ORDER


def test_a_part_is_filled_and_what_is_left_can_be_asked_for_and_cancelled() -> None:
    paper = Paper()
    paper.entry.place(A, BUY, 1000, 9, 1)
    paper.told()
    paper.book([("10.00", "0.00000008")])
    ((_, events),) = paper.book([("10.00", "0")])
    fill = one(events[0])  # type: ignore[index]
    assert (fill.last_lots, fill.filled_lots, fill.state) == (3, 3, State.OPEN)
    assert (paper.fills[0].left_lots, paper.fills[0].cause) == (6, BY_DEPLETION)
    paper.entry.ask(A, 1)
    paper.entry.cancel(A, 1)
    asked, canceled = paper.told()
    assert one(asked[3]).filled_lots == one(canceled[3]).filled_lots == 3


def test_a_replace_takes_place_as_a_whole_or_not_at_all() -> None:
    paper = Paper()
    paper.entry.place(A, BUY, 1000, 5, 1)
    paper.entry.replace(A, B, BUY, 999, 4, 1)
    paper.entry.replace(A, A + 9, BUY, 998, 4, 1)
    _, done, failed = paper.told()
    assert done[:3] == (Request.REPLACE, B, A)
    assert [one(e).kind for e in done[3:]] == [Kind.CANCELED, Kind.ACCEPTED]
    assert [one(e).kind for e in failed[3:]] == [Kind.FAILED, Kind.REJECTED]
    gone = [("10.00", "0"), ("9.99", "0")]
    ((_, events),) = paper.book(gone, [("9.99", "1")])
    assert one(events[0]).last_price_ticks == 999  # type: ignore[index]
    assert paper.book(asks=[("9.98", "1")]) == [], "of three orders one was there"


def test_a_post_only_order_that_would_take_is_rejected_also_as_a_replacement() -> None:
    paper = Paper()
    paper.entry.place(A, BUY, 1002, 5, 1)
    paper.entry.place(B, SELL, 1001, 5, 1)
    paper.entry.replace(B, B + 1, SELL, 1000, 5, 1)
    rejected, _, replaced = paper.told()
    assert one(rejected[3]).kind is Kind.REJECTED
    assert one(rejected[3]).error is ErrorClass.WOULD_TAKE
    assert [one(e).kind for e in replaced[3:]] == [Kind.CANCELED, Kind.REJECTED]
    assert one(replaced[4]).error is ErrorClass.WOULD_TAKE


def test_a_message_takes_its_time_there_and_back_and_none_overtakes() -> None:
    paper = Paper(latency_ms=7.0)
    paper.entry.place(A, BUY, 1000, 5, 1 * MS)
    paper.entry.cancel(A, 3 * MS)
    assert paper.entry.next_due_ns == 8 * MS
    assert paper.told(8 * MS - 1) == [] and paper.entry._orders == {}
    assert paper.told(8 * MS) == [] and set(paper.entry._orders) == {A}
    assert paper.entry.next_due_ns == 10 * MS
    assert paper.book([("10.00", "0"), ("9.99", "0")], [("9.00", "1")], now_ns=9 * MS) == []
    assert paper.fills[0].time_ns == 9 * MS, "before its cancel came"
    assert paper.told(10 * MS) == [] and paper.entry.next_due_ns == 15 * MS
    ((placed, *_),) = paper.told(15 * MS)
    assert placed is Request.PLACE
    (push,) = paper.told(16 * MS)
    assert push[0] == "push"
    ((canceled, _, _, event),) = paper.told(17 * MS)
    assert canceled is Request.CANCEL and one(event).error is ErrorClass.UNKNOWN_ORDER


def test_what_is_late_is_worked_off_in_the_order_of_its_time() -> None:
    paper = Paper(latency_ms=5.0)
    paper.entry.place(A, BUY, 1000, 5, 1 * MS)
    paper.entry.cancel(A, 2 * MS)
    assert [said[0] for said in paper.told(60 * MS)] == [Request.PLACE, Request.CANCEL]


def test_latencies_are_drawn_from_the_seed_and_never_below_the_least() -> None:
    def dues(seed: int) -> list[int]:
        paper = Paper(latency_ms=3.0, latency_tail_ms=4.0, seed=seed)
        found = []
        for number in range(400):
            paper.entry.ask(A, number * 100 * MS)
            while paper.entry.next_due_ns < (number + 1) * 100 * MS:
                paper.told(paper.entry.next_due_ns)
            found.append(paper.host.heard_ns[-1] - number * 100 * MS)
        return found

    one_seed = dues(1)
    assert one_seed == dues(1) != dues(2)
    assert min(one_seed) >= 6 * MS
    assert sum(one_seed) / len(one_seed) == pytest.approx(14 * MS, rel=0.1), "2 (3 + 4) ms"


def test_no_request_overtakes_another_however_they_are_drawn() -> None:
    paper = Paper(latency_ms=1.0, latency_tail_ms=50.0)
    arrived: list[int] = []
    paper.entry._on_ask = lambda _, at_ns: arrived.append(at_ns)  # type: ignore[method-assign,assignment]
    for number in range(50):
        paper.entry.ask(A, number * MS)
    paper.told(10_000 * MS)
    assert len(arrived) == 50 and arrived == sorted(arrived)


@pytest.mark.parametrize(
    ("fee_bps", "fee_lots"), [(10.0, 1), (0.0, 0), (250.0, 13), (-10.0, 0), (-250.0, -12)]
)
def test_a_fill_costs_its_fee_rounded_against_us(fee_bps: float, fee_lots: int) -> None:
    """Fifty lots at 10 are worth 500 of the quote currency's 1e-8."""
    paper = Paper(fee_bps)
    paper.entry.place(A, BUY, 1000, 5 * 10, 1)
    paper.told()
    ((_, events),) = paper.book([("10.00", "0"), ("9.99", "0")], [("9.00", "1")])
    fill = one(events[0])  # type: ignore[index]
    exact = Decimal(10) * 50 * Decimal(str(fee_bps)) / 10_000
    assert fill.fee_lots == paper.fills[0].fee_lots == fee_lots
    assert exact <= fee_lots < exact + 1 and fill.fee_asset == "USDT"


# --- orders that take ----------------------------------------------------------------------------


def test_an_order_that_takes_gets_what_is_there_at_its_price_or_better() -> None:
    """Two levels and a part of a third; it costs the dearer fee, and nothing of it rests."""
    paper = Paper(fee_bps=10.0)
    paper.book(
        asks=[(price, "0") for price, _ in ASKS] + [("10.01", "1"), ("10.02", "2"), ("10.03", "3")]
    )
    lots = 350_000_000
    paper.entry.take(A, BUY, 1003, lots, 1)
    paper.entry.take(B, BUY, 1002, lots, 1)
    first, second = paper.told()
    fills = [one(event) for event in first[3:-1]]
    assert [(each.last_price_ticks, each.last_lots) for each in fills] == [
        (1001, 10**8), (1002, 2 * 10**8), (1003, 5 * 10**7),
    ]  # fmt: skip
    assert not any(each.is_maker for each in fills)
    assert [each.fee_lots for each in fills] == [
        2 * 10_010 * 100,
        2 * 20_040 * 100,
        2 * 5_015 * 100,
    ]
    assert one(first[-1]).state is State.FILLED and one(first[-1]).filled_lots == lots
    assert one(second[-1]).state is State.EXPIRED and one(second[-1]).filled_lots == 3 * 10**8
    assert [each.left_lots for each in paper.fills[:3]] == [lots - 10**8, 5 * 10**7, 0]
    assert paper.entry._orders == {}


def test_an_order_that_takes_gets_nothing_beyond_its_price() -> None:
    paper = Paper()
    paper.entry.take(A, SELL, 10**6, 5, 1)
    ((*_, event),) = paper.told()
    assert one(event).state is State.EXPIRED and one(event).filled_lots == 0 and not paper.fills
