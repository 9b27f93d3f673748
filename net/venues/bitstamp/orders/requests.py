"""Bitstamp, HTTP API v2 and its private channels: requests, ready to be sent.

Source: the exchange's HTTP API v2 description and its WebSocket page. Every request is a POST with
a form, signed as one string (net.orders.signing). What is sent again and again is a template of the
form, and the beginning of the string is hashed once; the rest is built when it is needed.
There is no template for replace_order/: whether the new order of a replace is maker-or-cancel as
the old one was is not documented, and a post-only order must never take.
Runs on: the engine thread.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlencode

import orjson

from engine.decoding.scale import INT64_MAX
from engine.maker.order_layout import BUY, SELL
from net.orders.http_requests import HttpRequest
from net.orders.messages import (
    TIMESTAMP,
    EntryError,
    Field,
    Market,
    Style,
    client_id_bytes,
    quoted,
    whole_number,
)
from net.orders.request_template import ORDER_NAME, Template
from net.venues.bitstamp.orders.credentials import BitstampKeys
from net.venues.bitstamp.orders.signing import (
    CONTENT_TYPE,
    VERSION,
    nonce_bytes,
    signed_prefix,
    signed_text,
)

API = "/api/v2/"
PLACES = {BUY: "buy", SELL: "sell"}
STYLES: dict[Style, dict[str, str]] = {
    Style.POST_ONLY: {"moc_order": "True"},
    Style.LIMIT: {},
    Style.IMMEDIATE: {"ioc_order": "True"},
}
TRANSACTIONS_MAX = 1000
PAIR = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*", re.ASCII)
HOST = re.compile(r"[A-Za-z0-9.-]+(:[0-9]{1,5})?", re.ASCII)
TOKEN = re.compile(r"[!-~]{1,250}", re.ASCII)
"""A client's frame must stay below 512 bytes, and the token is most of it."""
FRAME_BYTES_MAX = 511


class BitstampRequests:
    """The builder of requests to one host. Each takes a nonce, used once, and the time in ms."""

    def __init__(self, keys: BitstampKeys, host: str = "www.bitstamp.net") -> None:
        if not HOST.fullmatch(host):
            raise EntryError(f"{quoted(host)!r} is no host")
        self.keys = keys
        self.host = host

    def post(
        self, path: str, form: Mapping[str, str | int], nonce: str, timestamp_ms: int
    ) -> HttpRequest:
        """Any request: a path below /api/v2/ and its form, which may be empty."""
        body = urlencode(form).encode()
        stamp = _timestamp(timestamp_ms)
        payload = signed_text(
            self.prefix(path, bool(body)), nonce_bytes(nonce).decode(), stamp, body
        )
        return self.signed(path, self.keys.signer.sign(payload).decode(), nonce, stamp, body)

    def signed(
        self, path: str, signature: str, nonce: str, timestamp_ms: int, body: bytes
    ) -> HttpRequest:
        """A request whose signature is there."""
        content = (("Content-Type", CONTENT_TYPE),) if body else ()
        headers = (
            ("X-Auth", f"BITSTAMP {self.keys.api_key}"),
            ("X-Auth-Signature", signature),
            ("X-Auth-Nonce", nonce),
            ("X-Auth-Timestamp", str(timestamp_ms)),
            ("X-Auth-Version", VERSION),
            *content,
        )
        return HttpRequest(API + path, headers, body, nonce, timestamp_ms)

    def prefix(self, path: str, has_body: bool) -> str:
        """The beginning of the string to sign, the same for every request to a path."""
        return signed_prefix(self.keys.api_key, "POST", self.host, API + path, "", has_body)

    def order_status(self, nonce: str, timestamp_ms: int, order: int | str) -> HttpRequest:
        """One order with its trades, by the venue's id (a number) or by ours (a text)."""
        return self.post("order_status/", _target(order), nonce, timestamp_ms)

    def open_orders(self, nonce: str, timestamp_ms: int, market: Market) -> HttpRequest:
        """The open orders of one market; up to 10 s old, so of no use right after an action."""
        return self.post(f"open_orders/{pair(market)}/", {}, nonce, timestamp_ms)

    def trades(
        self, nonce: str, timestamp_ms: int, market: Market, limit: int = TRANSACTIONS_MAX
    ) -> HttpRequest:
        """The account's latest transactions in one market, the newest first."""
        form: dict[str, str | int] = {"limit": limit, "sort": "desc"}
        return self.post(f"user_transactions/{pair(market)}/", form, nonce, timestamp_ms)

    def transactions(
        self, nonce: str, timestamp_ms: int, offset: int, limit: int = TRANSACTIONS_MAX
    ) -> HttpRequest:
        """The account's transactions of every kind and market, the newest first."""
        form: dict[str, str | int] = {"offset": offset, "limit": limit, "sort": "desc"}
        return self.post("user_transactions/", form, nonce, timestamp_ms)

    def balances(self, nonce: str, timestamp_ms: int) -> HttpRequest:
        """What the account holds."""
        return self.post("account_balances/", {}, nonce, timestamp_ms)

    def fees(self, nonce: str, timestamp_ms: int) -> HttpRequest:
        """What the venue takes of the account's fills, in every market."""
        return self.post("fees/trading/", {}, nonce, timestamp_ms)

    def order_history(
        self, nonce: str, timestamp_ms: int, market: Market, since_id: str
    ) -> HttpRequest:
        """The account's order events in one market since one of them, oldest first."""
        form = {"order_source": "orderbook", "market": _pair_name(market), "since_id": since_id}
        return self.post("account_order_data/", form, nonce, timestamp_ms)

    def channel_token(self, nonce: str, timestamp_ms: int) -> HttpRequest:
        """What `subscription` needs, for 60 s."""
        return self.post("websockets_token/", {}, nonce, timestamp_ms)


def subscription(kind: str, market: Market, user_id: int, token: str) -> bytes:
    """The frame that subscribes to `my_orders` or `my_trades` of one market."""
    if kind not in ("my_orders", "my_trades", "live_trades"):
        raise EntryError(f"{quoted(kind)!r} is no private channel")
    if not isinstance(token, str) or not TOKEN.fullmatch(token):
        raise EntryError("the channel's token is malformed")
    number = whole_number(user_id, 0, INT64_MAX, "user id")
    channel = f"private-{kind}_{pair(market)}-{number}"
    frame = orjson.dumps({"event": "bts:subscribe", "data": {"channel": channel, "auth": token}})
    if len(frame) > FRAME_BYTES_MAX:
        raise EntryError(f"a subscription of {len(frame)} bytes, above {FRAME_BYTES_MAX}")
    return frame


class _Template:
    """A request whose form is a template: parts that stay, after those that change, in order."""

    def __init__(
        self,
        requests: BitstampRequests,
        path: str,
        stays: Mapping[str, str],
        changes: Mapping[str, Field],
    ) -> None:
        texts = [f"{name}=".encode() for name in changes]
        texts = [texts[0], *(b"&" + text for text in texts[1:])]
        stay = urlencode(stays).encode()
        self._requests = requests
        self._path = path
        self._form = Template([*texts, b"&" + stay if stay else b""], list(changes.values()))
        self._begun = requests.keys.signer.begun(requests.prefix(path, True).encode())

    def write(self, nonce: str, timestamp_ms: int, *values: int) -> HttpRequest:
        stamp, form = _timestamp(timestamp_ms), self._form.write(*values)
        signed = self._begun.copy()
        signed.update(b"%b%d%b" % (nonce_bytes(nonce), stamp, VERSION.encode()))
        signed.update(form)
        return self._requests.signed(self._path, signed.hexdigest(), nonce, stamp, form)


class PlaceTemplate:
    """buy/ or sell/ for one market and style."""

    def __init__(self, requests: BitstampRequests, market: Market, side: int, style: Style) -> None:
        if side not in PLACES:
            raise EntryError(f"side {side!r} is neither BUY nor SELL")
        path = f"{PLACES[side]}/{pair(market)}/"
        changes = {
            "amount": market.quantity_field,
            "price": market.price_field,
            "client_order_id": ORDER_NAME,
        }
        self._template = _Template(requests, path, STYLES[style], changes)

    def write(
        self, nonce: str, order_id: int, price_ticks: int, quantity_lots: int, timestamp_ms: int
    ) -> HttpRequest:
        """The request; EntryError for a number that does not fit."""
        return self._template.write(nonce, timestamp_ms, quantity_lots, price_ticks, order_id)


class CancelTemplate:
    """cancel_order/, of any market, by our name."""

    def __init__(self, requests: BitstampRequests) -> None:
        self._template = _Template(requests, "cancel_order/", {}, {"client_order_id": ORDER_NAME})

    def write(self, nonce: str, order_id: int, timestamp_ms: int) -> HttpRequest:
        """The request; EntryError for a number that does not fit."""
        return self._template.write(nonce, timestamp_ms, order_id)


def pair(market: Market) -> str:
    """A market's symbol as it stands in paths and channels."""
    if not PAIR.fullmatch(market.symbol):
        raise EntryError(f"{quoted(market.symbol)!r} is no pair of Bitstamp, like btcusd")
    return market.symbol


def _pair_name(market: Market) -> str:
    """A market as forms name it: BTC/USD."""
    return f"{market.base}/{market.quote}"


def _target(order: int | str) -> dict[str, str | int]:
    if isinstance(order, str):
        return {"client_order_id": client_id_bytes(order).decode()}
    return {"id": whole_number(order, 0, INT64_MAX, "order id")}


def _timestamp(timestamp_ms: int) -> int:
    return whole_number(timestamp_ms, TIMESTAMP.least, TIMESTAMP.most, TIMESTAMP.what)
