"""Every kind of request that we sign, built from fixed keys, numbers, times and nonces.

`signed_requests.json` has what other implementations make of the same inputs: `python -m
tests.net.orders.signed_requests` prints those as JSON, for the one who adds an implementation.
Runs on: the tests' thread.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from engine.layout.units import NS_PER_MS
from engine.maker.order_layout import BUY, SELL
from net.orders.http_requests import HttpRequest
from net.orders.messages import Style
from net.orders.signing import Ed25519Signer
from net.venues.binance.orders.credentials import BinanceKeys
from net.venues.binance.orders.requests import (
    BinanceRequests,
    CancelTemplate,
    PlaceTemplate,
    ReplaceTemplate,
)
from net.venues.binance.orders.transfers import Part, TransfersReading
from net.venues.bitstamp.orders import requests as bitstamp_requests
from net.venues.bitstamp.orders.requests import BitstampRequests
from tests.net.orders.rig import BITSTAMP, BTCUSD, BTCUSDT, HMAC, NONCE, NOW_MS

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEYS = {"hmac": HMAC, "ed25519": BinanceKeys(HMAC.api_key, Ed25519Signer(PRIVATE))}
OLD_ID, NEW_ID = 1_700_000_000 << 32 | 1, 1_700_000_000 << 32 | 2
TICKS, LOTS = 6_012_345, 1_234_000


class Signed(NamedTuple):
    """One request of ours."""

    name: str
    inputs: dict[str, Any]
    """What any implementation is given."""
    signature: str


def all_requests() -> Iterator[Signed]:
    """All of them."""
    for kind, keys in KEYS.items():
        for name, raw in _websocket(keys):
            params = orjson.loads(raw)["params"]
            signature = params.pop("signature")
            yield Signed(f"binance {kind} {name}", {"params": params}, signature)
        for part in Part:
            request = TransfersReading(
                keys, "BTC", NOW_MS * NS_PER_MS, NOW_MS * NS_PER_MS + 1
            ).write(part, NOW_MS, 2_000)
            path, _, query = request.path.partition("?")
            params = dict(parse_qsl(query))
            signature = params.pop("signature")
            yield Signed(f"binance {kind} GET {path}", {"params": params}, signature)
    for name, request in _posts():
        headers = dict(request.headers)
        inputs = {"path": request.path, "body": request.body.decode()}
        yield Signed(f"bitstamp {name}", inputs, headers["X-Auth-Signature"])


def _websocket(keys: BinanceKeys) -> Iterator[tuple[str, bytes]]:
    asked = BinanceRequests(keys, is_logged_on=False, recv_window_ms=2_000)
    if keys.signer.can_log_on:
        yield "session.logon", asked.logon(1, NOW_MS)
    yield "userDataStream.subscribe.signature", asked.subscribe(2, NOW_MS)
    for side, style in ((BUY, Style.POST_ONLY), (SELL, Style.LIMIT), (SELL, Style.IMMEDIATE)):
        place = PlaceTemplate(asked, BTCUSDT, side, style, "EXPIRE_MAKER")
        yield f"order.place {side} {style.value}", place.write(3, NEW_ID, TICKS, LOTS, NOW_MS)
    yield "order.cancel", CancelTemplate(asked, BTCUSDT).write(4, OLD_ID, NOW_MS)
    replace = ReplaceTemplate(asked, BTCUSDT, SELL, Style.POST_ONLY, "")
    yield "order.cancelReplace", replace.write(5, OLD_ID, NEW_ID, TICKS, LOTS, NOW_MS)
    yield "openOrders.status", asked.open_orders(6, NOW_MS, BTCUSDT)
    yield "order.status by number", asked.order_status(7, NOW_MS, BTCUSDT, 12_569_099_453)
    yield "order.status by name", asked.order_status(8, NOW_MS, BTCUSDT, "mm-1")
    yield "myTrades", asked.latest_trades(9, NOW_MS, BTCUSDT)
    yield "myTrades of an order", asked.order_trades(10, NOW_MS, BTCUSDT, 12_569_099_453)
    yield "account.status", asked.account(11, NOW_MS)
    yield "account.commission", asked.commission(12, NOW_MS, BTCUSDT)


def _posts() -> Iterator[tuple[str, HttpRequest]]:
    asked, once = BitstampRequests(BITSTAMP), (NONCE, NOW_MS)
    for side, style in ((BUY, Style.POST_ONLY), (SELL, Style.POST_ONLY), (SELL, Style.IMMEDIATE)):
        place = bitstamp_requests.PlaceTemplate(asked, BTCUSD, side, style)
        written = place.write(NONCE, NEW_ID, TICKS, LOTS, NOW_MS)
        yield f"order {side} {style.value}", written
    yield "cancel_order", bitstamp_requests.CancelTemplate(asked).write(NONCE, OLD_ID, NOW_MS)
    yield "order_status by number", asked.order_status(*once, 1_458_532_827_766_784)
    yield "order_status by name", asked.order_status(*once, "mm-1")
    yield "open_orders", asked.open_orders(*once, BTCUSD)
    yield "user_transactions of a market", asked.trades(*once, BTCUSD)
    yield "user_transactions", asked.transactions(*once, 1_000)
    yield "account_balances", asked.balances(*once)
    yield "fees", asked.fees(*once)
    yield "account_order_data", asked.order_history(*once, BTCUSD, "00065b81-0d69")
    yield "websockets_token", asked.channel_token(*once)


if __name__ == "__main__":
    found = {each.name: each.inputs for each in all_requests()}
    sys.stdout.write(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
