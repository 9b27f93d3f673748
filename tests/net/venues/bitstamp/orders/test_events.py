"""What Bitstamp says, as events: every example of its pages and of the samples."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from engine.maker.order_layout import BUY, SELL
from net.orders.errors import ErrorClass
from net.orders.messages import (
    NOT_SAID,
    Balance,
    EntryError,
    Kind,
    Notice,
    OrderEvent,
    Push,
    Request,
    State,
)
from net.venues.bitstamp.orders.events import BitstampReader
from tests.net.orders import rig
from tests.net.orders.rig import BTCUSD, ETHUSDT

READER = BitstampReader([BTCUSD, ETHUSDT])
AT_NS = 1643640195_796000_000
ID = 1458532827766784


def events(request: Request, body: bytes, status: int = 200) -> tuple[OrderEvent, ...]:
    return READER.order_events(request, READER.read(status, body), BTCUSD, "mm-2", "mm-1")


def order(event: str = "order_created", **changes: Any) -> Push:
    message = orjson.loads(rig.MY_ORDER)
    message["data"] |= changes
    return READER.event(orjson.dumps(message | {"event": event}))


def test_placing() -> None:
    assert events(Request.PLACE, rig.PLACED) == (
        OrderEvent(
            Kind.ACCEPTED, State.UNKNOWN, "btcusd", "mm-1", ID, BUY, 2211, 5_000_000, time_ns=AT_NS
        ),
    )


def test_cancelling() -> None:
    (event,) = events(Request.CANCEL, rig.CANCELED)
    assert event == OrderEvent(Kind.CANCELED, State.CANCELED, "btcusd", "mm-2", ID, BUY, 2100), (
        "the amount in this answer is not said to be what is left or what there was"
    )
    pending = rig.CANCELED.replace(b"Canceled", b"Cancel pending")
    (event,) = events(Request.CANCEL, pending)
    assert (event.kind, event.state) == (Kind.STATE, State.CANCEL_PENDING)


def test_what_is_never_asked_for_is_no_answer() -> None:
    with pytest.raises(EntryError, match="a replace, which is never asked for"):
        events(Request.REPLACE, rig.REPLACED)


def test_open_orders_and_status() -> None:
    (event,) = events(Request.OPEN_ORDERS, rig.OPEN_ORDERS)
    assert event == OrderEvent(
        Kind.STATE, State.OPEN, "btcusd", "mm-1", ID, SELL, 2211, 5_000_000, 2_000_000
    )
    state, fill = events(Request.STATUS, rig.ORDER_STATUS)
    assert (state.kind, state.state, state.filled_lots) == (Kind.STATE, State.OPEN, 2_000_000)
    assert (fill.kind, fill.last_lots, fill.last_price_ticks) == (Kind.FILL, 2_000_000, 2211)
    assert (fill.execution_id, fill.fee_lots, fill.fee_asset) == (216000477, 11055100, "USD")
    assert fill.filled_lots == NOT_SAID and fill.time_ns == AT_NS
    bare = {k: v for k, v in orjson.loads(rig.ORDER_STATUS).items() if k != "transactions"}
    (state,) = events(Request.STATUS, orjson.dumps(bare))
    assert state.filled_lots == NOT_SAID


def test_transactions_that_are_trades() -> None:
    assert events(Request.TRADES, rig.TRANSACTIONS) == (
        OrderEvent(
            Kind.FILL, State.UNKNOWN, "btcusd", None, ID, SELL, last_lots=2_000_000,
            last_price_ticks=2211, execution_id=216000477, fee_lots=11055101, fee_asset="USD",
            time_ns=AT_NS,
        ),
    )  # fmt: skip


def test_balances_and_token() -> None:
    assert READER.balances(READER.read(200, rig.BALANCES)) == (
        Balance("USD", 90 * 10**8, 10 * 10**8),
    )
    assert READER.channel_token(READER.read(200, rig.TOKEN)) == ("abc", 1)
    with pytest.raises(EntryError):
        READER.channel_token(READER.read(403, rig.BAD_NONCE))


def test_my_orders() -> None:
    created = order()
    assert created.events == (
        OrderEvent(
            Kind.ACCEPTED, State.OPEN, "ethusdt", None, 2050558851342339, BUY, 99999999900, 500000,
            0, time_ns=1789459694223000_000,
        ),
    )  # fmt: skip
    assert created.event_id == "00065b81-0d69-fe98-0000-006902000020" and created.previous_event_id
    (changed,) = order("order_changed", amount_str="0.002", client_order_id="mm-1").events
    assert (changed.kind, changed.state, changed.filled_lots) == (Kind.STATE, State.OPEN, 300000)
    assert changed.client_order_id == "mm-1"
    (filled,) = order("order_deleted", amount_str="0").events
    assert (filled.kind, filled.state, filled.filled_lots) == (Kind.STATE, State.FILLED, 500000)
    (gone,) = order("order_deleted", amount_str="1E-8").events
    assert (gone.kind, gone.state, gone.filled_lots) == (Kind.CANCELED, State.CANCELED, 499999)
    old, new = order("order_replaced", orig_order_id=5).events
    assert (old.kind, old.venue_order_id) == (Kind.CANCELED, 5)
    assert (new.kind, new.venue_order_id) == (Kind.ACCEPTED, 2050558851342339)
    with pytest.raises(EntryError, match="more left than there was"):
        order(amount_str="0.006")


def test_my_trades() -> None:
    assert READER.event(rig.MY_TRADE).events == (
        OrderEvent(
            Kind.FILL, State.UNKNOWN, "ethusdt", None, 2050558851342339, BUY, last_lots=500000,
            last_price_ticks=246804, execution_id=635698396, fee_lots=4936000, fee_asset="USDT",
            time_ns=1789459694223000_000,
        ),
    )  # fmt: skip


def test_other_frames() -> None:
    notices = [READER.event(raw).notice for raw in rig.BITSTAMP_FRAMES[2:]]
    assert notices == [Notice.SUBSCRIBED, Notice.RECONNECT, Notice.ERROR, Notice.NONE]
    assert READER.event(rig.BTS_ERROR).text == "Bad subscription string."
    other = rig.MY_TRADE.replace(b"ethusdt", b"dogeusd")
    assert READER.event(other) == Push()
    own = rig.MY_TRADE.replace(b"my_trades", b"live_trades").replace(b'"trade"', b'"self_trade"')
    assert READER.event(own).notice is Notice.SELF_TRADE


@pytest.mark.parametrize(
    ("status", "body", "error", "kind"),
    [
        (404, rig.NOT_FOUND, ErrorClass.UNKNOWN_ORDER, Kind.REJECTED),
        (400, rig.TOO_SMALL, ErrorClass.BAD_FILTER, Kind.REJECTED),
        (403, rig.BAD_NONCE, ErrorClass.BAD_REQUEST, Kind.REJECTED),
        (200, rig.BARE_ERROR, ErrorClass.UNKNOWN_ORDER, Kind.REJECTED),
        (403, rig.FIELD_ERROR, ErrorClass.CLOCK_SKEW, Kind.REJECTED),
        (500, rig.TIMED_OUT, ErrorClass.UNKNOWN_OUTCOME, Kind.FAILED),
        (502, b"<html>Bad Gateway</html>", ErrorClass.UNKNOWN_OUTCOME, Kind.FAILED),
        (504, b"", ErrorClass.UNKNOWN_OUTCOME, Kind.FAILED),
        (403, b"<html>Incapsula</html>", ErrorClass.RATE_LIMITED, Kind.REJECTED),
        (404, b"<html>", ErrorClass.BAD_SYMBOL, Kind.REJECTED),
    ],
)
def test_refusals(status: int, body: bytes, error: ErrorClass, kind: Kind) -> None:
    (event,) = events(Request.PLACE, body, status)
    assert (event.error, event.kind, event.client_order_id) == (error, kind, "mm-2")
    assert event.venue_order_id == (77 if body == rig.TIMED_OUT else NOT_SAID)
    (event,) = events(Request.CANCEL, body, status)
    assert event.kind is Kind.FAILED and event.state is State.UNKNOWN
    assert events(Request.OPEN_ORDERS, body, status) == ()


def test_retry_after() -> None:
    for header, wait_ns in (("30", 30 * 10**9), ("", NOT_SAID), ("9" * 50, NOT_SAID), ("²", -1)):
        refusal = READER.read(429, b"", header).refusal
        assert refusal is not None and refusal.wait_ns == wait_ns


def test_a_success_that_is_no_json_is_an_error() -> None:
    with pytest.raises(EntryError, match="not JSON"):
        READER.read(200, b"<html>")
    with pytest.raises(EntryError, match="HTTP 302"):
        READER.read(302, b"")


def test_the_wrong_market_is_refused() -> None:
    with pytest.raises(EntryError, match="not ethusdt"):
        READER.order_events(Request.PLACE, READER.read(200, rig.PLACED), ETHUSDT)
