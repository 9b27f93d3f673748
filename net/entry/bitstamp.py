"""Bitstamp, HTTP API v2 and its private channels: the bytes of requests.

Source: the exchange's HTTP API v2 description and its WebSocket page. Every request is a POST with
a form, signed as one string (net.entry.signing). What is sent again and again is a template of the
whole HTTP/1.1 message; the rest is built when it is needed.
Runs on: the engine thread. Called by: net.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

import orjson

from engine.maker.order_layout import BUY, SELL
from engine.scale import INT64_MAX
from net.entry.keys import BitstampKeys
from net.entry.order import EntryError, Market, Style, client_id_bytes, quoted, whole_number
from net.entry.signing import (
    BITSTAMP_CONTENT_TYPE,
    BITSTAMP_VERSION,
    bitstamp_payload,
    bitstamp_prefix,
    nonce_bytes,
)
from net.entry.template import Template

API = "/api/v2/"
PLACES = {BUY: "buy", SELL: "sell"}
STYLES: dict[Style, dict[str, str]] = {
    Style.POST_ONLY: {"moc_order": "True"},
    Style.LIMIT: {},
    Style.IMMEDIATE: {"ioc_order": "True"},
}
TIMESTAMP_MS_MIN, TIMESTAMP_MS_MAX = 10**12, 10**13 - 1
"""13 digits: the years 2001 to 2286."""
TRANSACTIONS_MAX = 1000
PAIR = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*", re.ASCII)
HOST = re.compile(r"[A-Za-z0-9.-]+(:[0-9]{1,5})?", re.ASCII)
TOKEN = re.compile(r"[!-~]{1,250}", re.ASCII)
"""A client's frame must stay below 512 bytes, and the token is most of it."""
FRAME_BYTES_MAX = 511


@dataclass(frozen=True)
class HttpRequest:
    """A POST with its headers in order, the signature and the body included."""

    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def wire(self) -> bytes:
        """The whole message of HTTP/1.1."""
        lines = [f"POST {self.path} HTTP/1.1", *(f"{name}: {text}" for name, text in self.headers)]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


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
        prefix = self.prefix(path, bool(body))
        stamp = _timestamp(timestamp_ms)
        payload = bitstamp_payload(prefix, nonce_bytes(nonce).decode(), stamp, body)
        content = (("Content-Type", BITSTAMP_CONTENT_TYPE),) if body else ()
        headers = (
            ("Host", self.host),
            ("X-Auth", f"BITSTAMP {self.keys.api_key}"),
            ("X-Auth-Signature", self.keys.signer.sign(payload).decode()),
            ("X-Auth-Nonce", nonce),
            ("X-Auth-Timestamp", str(stamp)),
            ("X-Auth-Version", BITSTAMP_VERSION),
            *content,
            ("Content-Length", str(len(body))),
        )
        return HttpRequest(API + path, headers, body)

    def prefix(self, path: str, has_body: bool) -> str:
        """The beginning of the string to sign, the same for every request to a path."""
        return bitstamp_prefix(self.keys.api_key, "POST", self.host, API + path, "", has_body)

    def cancel_all(self, nonce: str, timestamp_ms: int, market: Market) -> HttpRequest:
        """Cancel every open order of one market."""
        return self.post(f"cancel_all_orders/{pair(market)}/", {}, nonce, timestamp_ms)

    def order_status(self, nonce: str, timestamp_ms: int, order: int | str) -> HttpRequest:
        """One order with its trades, by the venue's id (a number) or by ours (a text)."""
        return self.post("order_status/", _target(order), nonce, timestamp_ms)

    def open_orders(self, nonce: str, timestamp_ms: int, market: Market) -> HttpRequest:
        """The open orders of one market; up to 10 s old, so of no use right after an action."""
        return self.post(f"open_orders/{pair(market)}/", {}, nonce, timestamp_ms)

    def trades(self, nonce: str, timestamp_ms: int, market: Market, since_id: int) -> HttpRequest:
        """The account's transactions in one market from an id on, oldest first."""
        form: dict[str, str | int] = {
            "limit": TRANSACTIONS_MAX,
            "since_id": whole_number(since_id, 0, INT64_MAX, "transaction id"),
            "sort": "asc",
        }
        return self.post(f"user_transactions/{pair(market)}/", form, nonce, timestamp_ms)

    def balances(self, nonce: str, timestamp_ms: int) -> HttpRequest:
        """What the account holds."""
        return self.post("account_balances/", {}, nonce, timestamp_ms)

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


class _Hot:
    """A request as a template: parts of the form that stay, then those that change, in order."""

    def __init__(
        self, requests: BitstampRequests, path: str, stays: Mapping[str, str], *changes: str
    ) -> None:
        texts = [f"{name}=".encode() for name in changes]
        texts = [texts[0], *(b"&" + text for text in texts[1:])]
        stay = urlencode(stays).encode()
        self._body = Template([*texts, b"&" + stay if stay else b""])
        self._head = Template(_head(requests, path))
        self._begun = requests.keys.signer.begun(requests.prefix(path, True).encode())

    def write(self, nonce: str, timestamp_ms: int, *values: bytes) -> bytes:
        stamp, head, body = b"%d" % _timestamp(timestamp_ms), self._head, self._body
        once = nonce_bytes(nonce)
        for index, value in enumerate(values):
            body.put(index, value)
        signed = self._begun.copy()
        signed.update(once + stamp + BITSTAMP_VERSION.encode())
        signed.update(body.buffer)
        head.put(0, signed.hexdigest().encode())
        head.put(1, once)
        head.put(2, stamp)
        head.put(3, b"%d" % len(body.buffer))
        return bytes(head.buffer + body.buffer)


def _head(requests: BitstampRequests, path: str) -> list[bytes]:
    """The request line and headers around signature, nonce, timestamp and content length."""
    first = (
        f"POST {API}{path} HTTP/1.1\r\nHost: {requests.host}\r\n"
        f"X-Auth: BITSTAMP {requests.keys.api_key}\r\nX-Auth-Signature: "
    )
    last = (
        f"\r\nX-Auth-Version: {BITSTAMP_VERSION}\r\nContent-Type: {BITSTAMP_CONTENT_TYPE}\r\n"
        "Content-Length: "
    )
    texts = (first, "\r\nX-Auth-Nonce: ", "\r\nX-Auth-Timestamp: ", last, "\r\n\r\n")
    return [each.encode() for each in texts]


class PlaceTemplate:
    """buy/ or sell/ for one market and style."""

    def __init__(self, requests: BitstampRequests, market: Market, side: int, style: Style) -> None:
        if side not in PLACES:
            raise EntryError(f"side {side!r} is neither BUY nor SELL")
        self._market = market
        path = f"{PLACES[side]}/{pair(market)}/"
        names = ("amount", "price", "client_order_id")
        self._hot = _Hot(requests, path, STYLES[style], *names)

    def write(
        self,
        nonce: str,
        client_order_id: str,
        price_ticks: int,
        quantity_lots: int,
        timestamp_ms: int,
    ) -> bytes:
        """The HTTP message."""
        return self._hot.write(
            nonce,
            timestamp_ms,
            self._market.quantity_text(quantity_lots),
            self._market.price_text(price_ticks),
            client_id_bytes(client_order_id),
        )


class CancelTemplate:
    """cancel_order/, of any market, by the venue's id or by ours."""

    def __init__(self, requests: BitstampRequests) -> None:
        self._by_venue_id = _Hot(requests, "cancel_order/", {}, "id")
        self._by_our_id = _Hot(requests, "cancel_order/", {}, "client_order_id")

    def write(self, nonce: str, order: int | str, timestamp_ms: int) -> bytes:
        """The HTTP message."""
        hot = self._by_our_id if isinstance(order, str) else self._by_venue_id
        return hot.write(nonce, timestamp_ms, _order_bytes(order))


class ReplaceTemplate:
    """replace_order/ for one market: cancels one order and places another, or neither."""

    def __init__(self, requests: BitstampRequests, market: Market) -> None:
        self._market = market
        names = ("amount", "price", "client_order_id")
        self._by_venue_id = _Hot(requests, "replace_order/", {}, "id", *names)
        self._by_our_id = _Hot(requests, "replace_order/", {}, "orig_client_order_id", *names)

    def write(
        self,
        nonce: str,
        order: int | str,
        client_order_id: str,
        price_ticks: int,
        quantity_lots: int,
        timestamp_ms: int,
    ) -> bytes:
        """The HTTP message. `order` goes, the others are the new."""
        hot = self._by_our_id if isinstance(order, str) else self._by_venue_id
        return hot.write(
            nonce,
            timestamp_ms,
            _order_bytes(order),
            self._market.quantity_text(quantity_lots),
            self._market.price_text(price_ticks),
            client_id_bytes(client_order_id),
        )


def pair(market: Market) -> str:
    """A market's symbol as it stands in paths and channels."""
    if not PAIR.fullmatch(market.symbol):
        raise EntryError(f"{quoted(market.symbol)!r} is no pair of Bitstamp, like btcusd")
    return market.symbol


def _target(order: int | str) -> dict[str, str]:
    name = "client_order_id" if isinstance(order, str) else "id"
    return {name: _order_bytes(order).decode()}


def _order_bytes(order: int | str) -> bytes:
    if isinstance(order, str):
        return client_id_bytes(order)
    return b"%d" % whole_number(order, 0, INT64_MAX, "order id")


def _timestamp(timestamp_ms: int) -> int:
    return whole_number(timestamp_ms, TIMESTAMP_MS_MIN, TIMESTAMP_MS_MAX, "timestamp in ms")
