"""What Binance says, as events: every example of its pages, and the halves of cancelReplace."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from engine.maker.order_layout import BUY, SELL
from net.orders.errors import ErrorClass
from net.orders.messages import (
    NOT_SAID,
    Answer,
    Balance,
    EntryError,
    Kind,
    Notice,
    OrderEvent,
    Push,
    Request,
    State,
)
from net.venues.binance.orders.events import BinanceReader
from tests.net.orders import rig
from tests.net.orders.rig import BTCUSDT, ETHBTC, halves

READER = BinanceReader([BTCUSDT, ETHBTC])


def answer(raw: bytes) -> Answer:
    read = READER.read(raw)
    assert isinstance(read, Answer)
    return read


def push(raw: bytes, **changes: Any) -> Push:
    message = orjson.loads(raw)
    message["event"] |= changes
    read = READER.read(orjson.dumps(message))
    assert isinstance(read, Push)
    return read


def test_a_full_answer_is_an_accepted_order_and_its_fills() -> None:
    accepted, fill = READER.order_events(Request.PLACE, answer(rig.ANSWER_FULL), BTCUSDT, "mm-1")
    assert accepted == OrderEvent(
        Kind.ACCEPTED, State.FILLED, "BTCUSDT", "mm-1", 12569099453, SELL, 2341610, 847000, 847000,
        time_ns=1660801715793_000_000,
    )  # fmt: skip
    assert fill == accepted._replace(
        kind=Kind.FILL, filled_lots=NOT_SAID, last_lots=635000, last_price_ticks=2341610,
        execution_id=1650422481, fee_asset="BNB", is_maker=False,
    )  # fmt: skip


def test_a_short_answer_makes_nothing_up() -> None:
    (event,) = READER.order_events(Request.PLACE, answer(rig.ANSWER_ACK), BTCUSDT, "mm-1")
    assert event == OrderEvent(
        Kind.ACCEPTED, State.UNKNOWN, "BTCUSDT", "mm-1", 9, time_ns=1660801715793_000_000
    )
    assert event.filled_lots == event.price_ticks == event.quantity_lots == NOT_SAID


def test_the_same_fill_has_one_number_wherever_it_is_told() -> None:
    (trade,) = READER.order_events(Request.TRADES, answer(rig.ANSWER_TRADES), BTCUSDT)
    _, fill = READER.order_events(Request.PLACE, answer(rig.ANSWER_FULL), BTCUSDT)
    same = ("kind", "symbol", "venue_order_id", "side", "last_lots", "last_price_ticks",
            "execution_id", "time_ns")  # fmt: skip
    assert [getattr(trade, name) for name in same] == [getattr(fill, name) for name in same]
    assert trade.is_maker is True and trade.fee_lots == 1 and trade.fee_asset == "BNB"


def test_a_cancelled_order_keeps_the_name_it_was_placed_with() -> None:
    (event,) = READER.order_events(Request.CANCEL, answer(rig.ANSWER_CANCELED), BTCUSDT, "mm-1")
    assert (event.kind, event.state) == (Kind.CANCELED, State.CANCELED)
    assert (event.client_order_id, event.filled_lots) == ("mm-1", 100000)
    raw = push(rig.REPORT_TRADE, x="CANCELED", X="CANCELED", c="cancel-7", C="mm-1", t=-1)
    assert raw.events[0].client_order_id == "mm-1" and raw.events[0].kind is Kind.CANCELED
    assert raw.events[0].last_lots == NOT_SAID and raw.events[0].execution_id == NOT_SAID


def test_status_and_lists() -> None:
    (state,) = READER.order_events(Request.STATUS, answer(rig.ANSWER_STATUS), BTCUSDT)
    assert (state.kind, state.state, state.filled_lots) == (Kind.STATE, State.FILLED, 847000)
    assert state.time_ns == 1660801717945_000_000
    order = orjson.loads(rig.ANSWER_STATUS)["result"]
    listed = Answer(1, [order, {**order, "status": "NEW"}], None)
    states = [e.state for e in READER.order_events(Request.OPEN_ORDERS, listed, BTCUSDT)]
    assert states == [State.FILLED, State.OPEN]


def test_an_execution_report() -> None:
    (event,) = push(rig.REPORT_TRADE).events
    assert event == OrderEvent(
        Kind.FILL, State.OPEN, "ETHBTC", "mm-1", 4293153, BUY, 1026441, 10**8, 4 * 10**7,
        4 * 10**7, 1026441, 77, 4, "BNB", True, 1499405658657_000_000,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("x", "status", "kind", "state"),
    [
        ("NEW", "NEW", Kind.ACCEPTED, State.OPEN),
        ("REPLACED", "NEW", Kind.REPLACED, State.OPEN),
        ("TRADE", "FILLED", Kind.FILL, State.FILLED),
        ("EXPIRED", "EXPIRED", Kind.EXPIRED, State.EXPIRED),
        ("TRADE_PREVENTION", "EXPIRED_IN_MATCH", Kind.PREVENTED, State.EXPIRED),
        ("CANCELED", "CANCELED", Kind.CANCELED, State.CANCELED),
    ],
)
def test_every_execution_type(x: str, status: str, kind: Kind, state: State) -> None:
    (event,) = push(rig.REPORT_TRADE, x=x, X=status, eR="UNFILLED_IOC_QUANTITY_EXPIRED").events
    assert (event.kind, event.state, event.error) == (kind, state, ErrorClass.NONE)
    assert event.reason == ("UNFILLED_IOC_QUANTITY_EXPIRED" if x == "EXPIRED" else "")
    assert (event.last_lots == NOT_SAID) == (kind is not Kind.FILL)


def test_a_rejected_report_has_no_order_number() -> None:
    report = push(rig.REPORT_TRADE, x="REJECTED", X="REJECTED", i=-1, r="INSUFFICIENT_BALANCES")
    (event,) = report.events
    assert (event.kind, event.venue_order_id) == (Kind.REJECTED, NOT_SAID)
    assert event.error is ErrorClass.REJECTED and event.reason == "INSUFFICIENT_BALANCES"


def test_refusals() -> None:
    read = answer(rig.ANSWER_REFUSED)
    assert read.request_id == "e2a8" and read.refusal is not None
    (event,) = READER.order_events(Request.PLACE, read, BTCUSDT, "mm-2")
    assert (event.kind, event.state) == (Kind.REJECTED, State.REJECTED)
    assert event.client_order_id == "mm-2" and event.error is ErrorClass.INSUFFICIENT_BALANCE
    (event,) = READER.order_events(Request.CANCEL, read, BTCUSDT, "mm-2")
    assert (event.kind, event.state) == (Kind.FAILED, State.UNKNOWN)
    assert READER.order_events(Request.TRADES, read, BTCUSDT) == ()
    assert READER.balances(read) == ()
    limited = answer(rig.ANSWER_LIMITED).refusal
    assert limited is not None and limited.error is ErrorClass.RATE_LIMITED
    assert limited.wait_ns == 1_500_000_000


def test_an_unknown_outcome_is_no_rejection() -> None:
    for raw in (
        b'{"id":1,"status":503}',
        b'{"id":1,"status":500,"error":{"code":-2010,"msg":"Market is closed."}}',
        b'{"id":1,"status":400,"error":{"code":-1007,"msg":"Timeout"}}',
        b'{"id":1,"status":400,"error":{"code":-2010,"msg":"Duplicate order sent."}}',
    ):
        (event,) = READER.order_events(Request.PLACE, answer(raw), BTCUSDT, "mm-1")
        assert (event.kind, event.state) == (Kind.FAILED, State.UNKNOWN)


GONE = orjson.loads(rig.ANSWER_CANCELED)["result"]
NEW = orjson.loads(rig.ANSWER_ACK)["result"] | {"clientOrderId": "mm-2", "orderId": 10}
UNKNOWN = {"code": -2011, "msg": "Unknown order sent."}
TAKES = {"code": -2010, "msg": "Order would immediately match and take."}


@pytest.mark.parametrize(
    ("raw", "old", "new"),
    [
        (
            halves(200, 0, GONE, NEW, ("SUCCESS", "SUCCESS")),
            (Kind.CANCELED, ErrorClass.NONE),
            (Kind.ACCEPTED, ErrorClass.NONE),
        ),
        (
            halves(409, -2021, GONE, TAKES, ("SUCCESS", "FAILURE")),
            (Kind.CANCELED, ErrorClass.NONE),
            (Kind.REJECTED, ErrorClass.WOULD_TAKE),
        ),
        (
            halves(400, -2022, UNKNOWN, None, ("FAILURE", "NOT_ATTEMPTED")),
            (Kind.FAILED, ErrorClass.UNKNOWN_ORDER),
            (Kind.REJECTED, ErrorClass.REJECTED),
        ),
        (
            halves(429, -1015, GONE, None, ("SUCCESS", "NOT_ATTEMPTED")),
            (Kind.CANCELED, ErrorClass.NONE),
            (Kind.REJECTED, ErrorClass.RATE_LIMITED),
        ),
        (
            b'{"id":1,"status":400,"error":{"code":-1013,"msg":"Filter failure: NOTIONAL"}}',
            (Kind.FAILED, ErrorClass.BAD_FILTER),
            (Kind.REJECTED, ErrorClass.BAD_FILTER),
        ),
        (
            b'{"id":1,"status":500,"error":{"code":-1006,"msg":""}}',
            (Kind.FAILED, ErrorClass.UNKNOWN_OUTCOME),
            (Kind.FAILED, ErrorClass.UNKNOWN_OUTCOME),
        ),
    ],
)
def test_the_halves_of_a_replacement(raw: bytes, old: object, new: object) -> None:
    events = READER.order_events(Request.REPLACE, answer(raw), BTCUSDT, "mm-2", "mm-1")
    assert [event.client_order_id for event in events] == ["mm-1", "mm-2"]
    assert [(event.kind, event.error) for event in events] == [old, new]


def test_balances_are_of_our_assets_alone() -> None:
    assert READER.balances(answer(rig.ANSWER_ACCOUNT)) == (
        Balance("BTC", 10**8, 5 * 10**7),
        Balance("USDT", 102121 * 10**6, 0),
    )
    assert push(rig.ACCOUNT_POSITION).balances == (Balance("ETH", 10**12, 0),)


def test_notices() -> None:
    assert push(rig.SHUTDOWN).notice is Notice.RECONNECT
    assert push(rig.SHUTDOWN, e="eventStreamTerminated").notice is Notice.STREAM_ENDED
    assert push(rig.SHUTDOWN, e="listStatus").notice is Notice.NONE


def test_orders_of_other_markets_are_left_out_and_answers_about_them_refused() -> None:
    assert push(rig.REPORT_TRADE, s="DOGEUSDT", p="nonsense").events == ()
    with pytest.raises(EntryError, match="ETHBTC"):
        READER.order_events(Request.PLACE, answer(rig.ANSWER_FULL), ETHBTC)


def test_a_time_in_another_unit_is_refused() -> None:
    read = answer(b'{"id":1,"status":200,"result":{"serverTime":1660801715793123}}')
    with pytest.raises(EntryError, match="a time"):
        READER.server_time_ns(read)


def test_answers_without_a_request() -> None:
    read = answer(b'{"id":null,"status":401,"error":{"code":-2015,"msg":"Invalid API-key"}}')
    assert read.request_id is None and read.refusal is not None
    assert read.refusal.error is ErrorClass.BAD_KEYS
