"""Orders on paper: filled at their own price when the book goes through, told a step later."""

from __future__ import annotations

from engine.maker.order_layout import BUY, SELL
from net.maker.paper_orders import PaperEntry
from net.orders.errors import ErrorClass
from net.orders.interface import EntryState
from net.orders.messages import Kind, OrderEvent, OrderRequest, Request, State
from tests.net.venues.bitstamp.orders.rig import Host

A, B = (8 << 32) + 1, (8 << 32) + 2
VENUE = 3


class PaperHost(Host):
    """The venue tests' host, for answers that name a replaced order too."""

    def on_answer(
        self, venue: int, asked: OrderRequest, events: tuple[OrderEvent, ...], now_ns: int
    ) -> None:
        assert venue == VENUE
        self.said.append((*asked, *events))


class Paper:
    """An entry that is ready, and what its host was told."""

    def __init__(self) -> None:
        self.host = PaperHost()
        self.entry = PaperEntry(self.host, VENUE, "btcusd")
        states = [self.entry.state]
        assert self.host.said == [] and self.told()[0][0] == "ready"
        assert [*states, self.entry.state] == [EntryState.READING, EntryState.READY]

    def told(self) -> list[tuple[object, ...]]:
        self.entry.on_timer(1)
        said, self.host.said = self.host.said, []
        return said


def one(event: object) -> OrderEvent:
    assert isinstance(event, OrderEvent)
    return event


def test_answers_come_with_the_next_step_in_the_order_of_the_questions() -> None:
    paper = Paper()
    paper.entry.place(A, BUY, 100, 5, 1)
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


def test_an_order_is_filled_once_whole_and_at_its_own_price() -> None:
    paper = Paper()
    paper.entry.place(A, BUY, 100, 5, 1)
    paper.entry.place(B, SELL, 110, 7, 1)
    paper.told()
    for bid, ask in ((101, 109), (109, 101), (0, 0), (105, 0), (0, 105)):
        assert not paper.entry.fill_through(bid, ask), "nothing has reached them"
    assert paper.entry.fill_through(95, 98) and not paper.entry.fill_through(95, 98)
    assert paper.entry.fill_through(110, 112)
    (_, bought), (_, sold) = paper.told()
    buy, sell = one(bought[0]), one(sold[0])  # type: ignore[index]
    assert (buy.side, buy.last_price_ticks, buy.last_lots, buy.filled_lots) == (BUY, 100, 5, 5)
    assert (sell.side, sell.last_price_ticks, sell.last_lots) == (SELL, 110, 7)
    assert 0 < buy.execution_id < sell.execution_id and buy.is_maker
    assert {buy.kind, sell.kind} == {Kind.FILL}
    paper.entry.cancel(A, 1)
    assert one(paper.told()[0][3]).error is ErrorClass.UNKNOWN_ORDER


def test_a_replace_takes_place_as_a_whole_or_not_at_all() -> None:
    paper = Paper()
    paper.entry.place(A, BUY, 100, 5, 1)
    paper.entry.replace(A, B, BUY, 99, 4, 1)
    paper.entry.replace(A, A + 9, BUY, 98, 4, 1)
    _, done, failed = paper.told()
    assert done[:3] == (Request.REPLACE, B, A)
    assert [one(e).kind for e in done[3:]] == [Kind.CANCELED, Kind.ACCEPTED]
    assert [one(e).kind for e in failed[3:]] == [Kind.FAILED, Kind.REJECTED]
    assert paper.entry.fill_through(0, 99)
    assert not paper.entry.fill_through(0, 1), "of three orders one was there"
    ((_, events),) = paper.told()
    assert one(events[0]).last_price_ticks == 99  # type: ignore[index]
