"""Templates against the same request built afresh, for any values and in any order of them."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.maker.client_ids import format_client_id
from engine.maker.order_layout import BUY, EPOCH_MAX, NO_SIDE, SELL, SEQUENCE_MAX
from net.orders.http_requests import HttpRequest
from net.orders.messages import EntryError, Field, Market, Style
from net.orders.request_template import ORDER_NAME, Template
from net.orders.signing import Ed25519Signer
from net.venues.binance.orders import requests as binance_requests
from net.venues.binance.orders.requests import NUMBER, BinanceRequests
from net.venues.bitstamp.orders import requests as bitstamp_requests
from net.venues.bitstamp.orders.requests import BitstampRequests
from tests.net.orders.rig import (
    BITSTAMP,
    BTCUSD,
    BTCUSDT,
    ED25519,
    ETHBTC,
    HMAC,
    NONCE,
    NOW_MS,
    nonces,
    price_ticks,
    request_ids,
    steps,
    timestamps,
)

SESSIONS = {
    "logged on": BinanceRequests(ED25519, is_logged_on=True),
    "ed25519": BinanceRequests(ED25519, is_logged_on=False, recv_window_ms=100),
    "hmac": BinanceRequests(HMAC, is_logged_on=False),
}
OURS = BitstampRequests(BITSTAMP)
order_ids = st.builds(
    lambda epoch, sequence: epoch << 32 | sequence,
    st.integers(1, EPOCH_MAX),
    st.integers(1, SEQUENCE_MAX),
)
wanted = st.tuples(request_ids, order_ids, order_ids, price_ticks, steps, timestamps)
posted = st.tuples(nonces, order_ids, price_ticks, steps, timestamps)


def some_of(each: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(each, min_size=1, max_size=5)


def decimal_text(count: int, size: str) -> str:
    """The oracle: a multiple of a step, by Decimal, with the step's decimals."""
    exact = Decimal(count) * Decimal(size)
    places = max(-int(Decimal(size).normalize().as_tuple().exponent), 0)
    return f"{exact:.{places}f}"


def plain(session: BinanceRequests, method: str, number: int, params: dict[str, Any]) -> bytes:
    """The oracle: a request as a dictionary, signed by the rule as the venue's page has it."""
    params = {**params, "recvWindow": session.recv_window_ms}
    if not session.is_logged_on:
        params["apiKey"] = session.keys.api_key
    params = dict(sorted(params.items()))
    if not session.is_logged_on:
        payload = "&".join(f"{name}={value}" for name, value in params.items())
        params["signature"] = session.keys.signer.sign(payload.encode()).decode()
    return orjson.dumps({"id": number, "method": method, "params": params})


def lots(market: Market, count: int) -> int:
    return count * market.step_lots


STYLED = {
    Style.POST_ONLY: {"type": "LIMIT_MAKER", "newOrderRespType": "ACK"},
    Style.LIMIT: {"type": "LIMIT", "timeInForce": "GTC", "newOrderRespType": "FULL"},
    Style.IMMEDIATE: {"type": "LIMIT", "timeInForce": "IOC", "newOrderRespType": "FULL"},
}
each_session = pytest.mark.parametrize("session", SESSIONS.values(), ids=SESSIONS)
markets = st.sampled_from([BTCUSDT, ETHBTC])


@each_session
@given(st.data(), markets, st.sampled_from([BUY, SELL]), st.sampled_from(Style))
def test_placing_on_binance(
    session: BinanceRequests, data: st.DataObject, market: Market, side: int, style: Style
) -> None:
    template = binance_requests.PlaceTemplate(session, market, side, style, "EXPIRE_MAKER")
    for number, _, order_id, ticks, count, stamp in data.draw(some_of(wanted)):
        params = {
            "symbol": market.symbol,
            "side": "BUY" if side == BUY else "SELL",
            "selfTradePreventionMode": "EXPIRE_MAKER",
            "newClientOrderId": format_client_id(order_id),
            "price": decimal_text(ticks, market.tick_size),
            "quantity": decimal_text(count, market.step_size),
            "timestamp": stamp,
            **STYLED[style],
        }
        given_bytes = template.write(number, order_id, ticks, lots(market, count), stamp)
        assert given_bytes == plain(session, "order.place", number, params)


@each_session
@given(st.data())
def test_cancelling_on_binance(session: BinanceRequests, data: st.DataObject) -> None:
    template = binance_requests.CancelTemplate(session, BTCUSDT)
    for number, order, _, _, _, stamp in data.draw(some_of(wanted)):
        name = format_client_id(order)
        params = {"symbol": "BTCUSDT", "origClientOrderId": name, "timestamp": stamp}
        assert template.write(number, order, stamp) == plain(
            session, "order.cancel", number, params
        )


@each_session
@given(st.data(), markets)
def test_replacing_on_binance(
    session: BinanceRequests, data: st.DataObject, market: Market
) -> None:
    template = binance_requests.ReplaceTemplate(session, market, SELL, Style.POST_ONLY)
    for number, old, new, ticks, count, stamp in data.draw(some_of(wanted)):
        params = {
            "symbol": market.symbol,
            "side": "SELL",
            "cancelReplaceMode": "STOP_ON_FAILURE",
            "orderRateLimitExceededMode": "CANCEL_ONLY",
            "cancelOrigClientOrderId": format_client_id(old),
            "newClientOrderId": format_client_id(new),
            "price": decimal_text(ticks, market.tick_size),
            "quantity": decimal_text(count, market.step_size),
            "timestamp": stamp,
            **STYLED[Style.POST_ONLY],
        }
        given_bytes = template.write(number, old, new, ticks, lots(market, count), stamp)
        assert given_bytes == plain(session, "order.cancelReplace", number, params)


@each_session
def test_the_rest_on_binance(session: BinanceRequests) -> None:
    symbol = {"symbol": "BTCUSDT", "timestamp": NOW_MS}
    cases: list[tuple[bytes, str, dict[str, Any]]] = [
        (session.open_orders(1, NOW_MS, BTCUSDT), "openOrders.status", symbol),
        (session.order_status(1, NOW_MS, BTCUSDT, 9), "order.status", {**symbol, "orderId": 9}),
        (
            session.order_status(1, NOW_MS, BTCUSDT, "mm-1"),
            "order.status",
            {**symbol, "origClientOrderId": "mm-1"},
        ),
        (
            session.latest_trades(1, NOW_MS, BTCUSDT),
            "myTrades",
            {**symbol, "limit": 1000},
        ),
        (
            session.order_trades(1, NOW_MS, BTCUSDT, 9),
            "myTrades",
            {**symbol, "orderId": 9, "limit": 1000},
        ),
        (session.account(1, NOW_MS), "account.status", {"timestamp": NOW_MS}),
    ]
    for message, method, params in cases:
        assert message == plain(session, method, 1, params)
    assert binance_requests.server_time(3) == b'{"id":3,"method":"time"}'
    subscribed = orjson.loads(session.subscribe(4, NOW_MS))
    if session.is_logged_on:
        assert subscribed == {"id": 4, "method": "userDataStream.subscribe"}
    else:
        assert subscribed["method"] == "userDataStream.subscribe.signature"
        assert list(subscribed["params"]) == ["apiKey", "timestamp", "signature"]


@given(request_ids, order_ids, price_ticks, steps, timestamps)
def test_a_signed_template_verifies_with_the_public_key(
    number: int, order_id: int, ticks: int, count: int, stamp: int
) -> None:
    signer = ED25519.signer
    assert isinstance(signer, Ed25519Signer)
    template = binance_requests.PlaceTemplate(SESSIONS["ed25519"], BTCUSDT, BUY, Style.LIMIT)
    written = template.write(number, order_id, ticks, lots(BTCUSDT, count), stamp)
    params = orjson.loads(written)["params"]
    signature = base64.b64decode(params.pop("signature"))
    payload = "&".join(f"{key}={params[key]}" for key in sorted(params))
    signer.public_key().verify(signature, payload.encode())


# --- Bitstamp ------------------------------------------------------------------------------------


def plain_post(path: str, form: dict[str, Any], nonce: str, stamp: int) -> HttpRequest:
    """The oracle: the venue's own Python example."""
    body = urlencode(form)
    kind = "application/x-www-form-urlencoded"
    text = (
        f"BITSTAMP api_keyPOSTwww.bitstamp.net/api/v2/{path}"
        + (kind if body else "")
        + f"{nonce}{stamp}v2{body}"
    )
    headers = {
        "X-Auth": "BITSTAMP api_key",
        "X-Auth-Signature": hmac.new(b"api_key_secret", text.encode(), hashlib.sha256).hexdigest(),
        "X-Auth-Nonce": nonce,
        "X-Auth-Timestamp": str(stamp),
        "X-Auth-Version": "v2",
        **({"Content-Type": kind} if body else {}),
    }
    return HttpRequest(f"/api/v2/{path}", tuple(headers.items()), body.encode(), nonce, stamp)


FLAGS = {Style.POST_ONLY: "moc_order", Style.IMMEDIATE: "ioc_order", Style.LIMIT: ""}


@given(some_of(posted), st.sampled_from([BUY, SELL]))
@pytest.mark.parametrize("style", Style)
def test_placing_on_bitstamp(style: Style, each_of: list[Any], side: int) -> None:
    template = bitstamp_requests.PlaceTemplate(OURS, BTCUSD, side, style)
    for nonce, order_id, ticks, count, stamp in each_of:
        form = {
            "amount": decimal_text(count, BTCUSD.step_size),
            "price": decimal_text(ticks, BTCUSD.tick_size),
            "client_order_id": format_client_id(order_id),
            **({FLAGS[style]: "True"} if FLAGS[style] else {}),
        }
        path = "buy/btcusd/" if side == BUY else "sell/btcusd/"
        written = template.write(nonce, order_id, ticks, lots(BTCUSD, count), stamp)
        assert written == plain_post(path, form, nonce, stamp)
        assert written == OURS.post(path, form, nonce, stamp)


@given(some_of(posted))
def test_cancelling_on_bitstamp(each_of: list[Any]) -> None:
    cancel = bitstamp_requests.CancelTemplate(OURS)
    for nonce, order_id, _, _, stamp in each_of:
        form = {"client_order_id": format_client_id(order_id)}
        written = cancel.write(nonce, order_id, stamp)
        assert written == plain_post("cancel_order/", form, nonce, stamp)


def test_the_rest_on_bitstamp() -> None:
    once = (NONCE, NOW_MS)
    cases: list[tuple[HttpRequest, str, dict[str, Any]]] = [
        (OURS.order_status(*once, 7), "order_status/", {"id": 7}),
        (OURS.order_status(*once, "mm-1"), "order_status/", {"client_order_id": "mm-1"}),
        (OURS.open_orders(*once, BTCUSD), "open_orders/btcusd/", {}),
        (
            OURS.trades(*once, BTCUSD),
            "user_transactions/btcusd/",
            {"limit": 1000, "sort": "desc"},
        ),
        (OURS.balances(*once), "account_balances/", {}),
        (OURS.channel_token(*once), "websockets_token/", {}),
    ]
    for request, path, form in cases:
        assert request == plain_post(path, form, *once)
    frame = bitstamp_requests.subscription("my_orders", BTCUSD, 4416057, "abc")
    assert orjson.loads(frame) == {
        "event": "bts:subscribe",
        "data": {"channel": "private-my_orders_btcusd-4416057", "auth": "abc"},
    }


# --- what is refused -----------------------------------------------------------------------------

HOT = binance_requests.PlaceTemplate(SESSIONS["hmac"], BTCUSDT, BUY, Style.POST_ONLY)
POST = bitstamp_requests.PlaceTemplate(OURS, BTCUSD, BUY, Style.POST_ONLY)
ID = 1 << 32 | 1
NOT_WHOLE: list[Any] = [0, -1, 2**63, 1 << 30_000, 1.0, "1", None, Decimal(1), np.float64(1)]
BAD_IDS: list[Any] = [0, 1, SEQUENCE_MAX, 1 << 32, -1, EPOCH_MAX + 1 << 32 | 1, 2**63, "1", None]
BAD_NAMES: list[Any] = ["", "a" * 37, "a b", 'a"', "a&b", "ä", "a\n", "\udc80"]


@pytest.mark.parametrize("bad", NOT_WHOLE, ids=range(len(NOT_WHOLE)))
def test_numbers_that_do_not_fit_are_refused_and_leave_the_template_whole(bad: Any) -> None:
    good = HOT.write(1, ID, 100, 1000, NOW_MS)
    for args in [
        (ID, bad, 1000, NOW_MS),
        (ID, 100, bad, NOW_MS),
        (ID, 100, 1000, bad),
    ]:
        with pytest.raises(EntryError):
            HOT.write(1, *args)
        with pytest.raises(EntryError):
            POST.write(NONCE, *args)
    if bad != 0:
        with pytest.raises(EntryError):
            HOT.write(bad, ID, 100, 1000, NOW_MS)
    assert HOT.write(1, ID, 100, 1000, NOW_MS) == good


@pytest.mark.parametrize("bad", BAD_IDS, ids=repr)
def test_ids_that_are_none_of_ours_are_refused(bad: Any) -> None:
    calls: list[Callable[[], object]] = [
        lambda: HOT.write(1, bad, 100, 1000, NOW_MS),
        lambda: POST.write(NONCE, bad, 100, 1000, NOW_MS),
        lambda: binance_requests.CancelTemplate(SESSIONS["hmac"], BTCUSDT).write(1, bad, NOW_MS),
        lambda: bitstamp_requests.CancelTemplate(OURS).write(NONCE, bad, NOW_MS),
    ]
    for call in calls:
        with pytest.raises(EntryError):
            call()


@pytest.mark.parametrize("bad", BAD_NAMES, ids=repr)
def test_names_that_a_venue_might_change_are_refused(bad: str) -> None:
    session = SESSIONS["hmac"]
    calls: list[Callable[[], object]] = [
        lambda: OURS.order_status(NONCE, NOW_MS, bad),
        lambda: session.order_status(1, NOW_MS, BTCUSDT, bad),
        lambda: POST.write(bad, ID, 100, 1000, NOW_MS),
    ]
    for call in calls:
        with pytest.raises(EntryError):
            call()


def test_a_quantity_between_steps_is_refused() -> None:
    with pytest.raises(EntryError, match="BTCUSDT in lots: 1001 is no multiple of 1000"):
        HOT.write(1, ID, 100, 1001, NOW_MS)


def test_odd_sides_styles_and_pairs_are_refused() -> None:
    refused: list[Callable[[], object]] = [
        lambda: binance_requests.PlaceTemplate(SESSIONS["hmac"], BTCUSDT, NO_SIDE, Style.LIMIT),
        lambda: binance_requests.PlaceTemplate(
            SESSIONS["hmac"], BTCUSDT, BUY, Style.LIMIT, "expire"
        ),
        lambda: bitstamp_requests.PlaceTemplate(OURS, BTCUSD, 2, Style.LIMIT),
        lambda: bitstamp_requests.PlaceTemplate(OURS, BTCUSDT, BUY, Style.LIMIT),
        lambda: BitstampRequests(BITSTAMP, "a b"),
        lambda: BinanceRequests(HMAC, is_logged_on=False, recv_window_ms=60_001),
        lambda: bitstamp_requests.subscription("my_orders", BTCUSD, 1, "a b"),
        lambda: bitstamp_requests.subscription("my_orders", BTCUSD, 1, "a" * 1000),
        lambda: bitstamp_requests.subscription("orders", BTCUSD, 1, "a"),
    ]
    for call in refused:
        with pytest.raises(EntryError):
            call()


@given(
    st.lists(st.binary(max_size=5), min_size=4, max_size=4),
    some_of(st.tuples(request_ids, st.integers(-1, 10**20), order_ids)),
)
def test_a_template_is_always_its_parts(
    texts: list[bytes], rounds: list[tuple[int, int, int]]
) -> None:
    fields = [NUMBER, Field("third", 0, 10**18, 3, divisor=3, factor=25, decimals=4), ORDER_NAME]
    template = Template(texts, fields)
    for whole, third, order_id in rounds:
        if third < 0 or third % 3 or third > 10**18:
            with pytest.raises(EntryError, match="third"):
                template.write(whole, third, order_id)
            continue
        decimal = f"{Decimal(third // 3 * 25).scaleb(-4):.4f}".encode()
        middle = b"%d%b%b%b" % (whole, texts[1], decimal, texts[2])
        name = format_client_id(order_id).encode()
        assert template.write(whole, third, order_id) == texts[0] + middle + name + texts[3]
