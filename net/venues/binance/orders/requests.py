"""Binance spot, WebSocket API v3: the bytes of requests.

Source: the exchange's web-socket-api.md. Parameters stand in the order of their names, as they are
signed; a signature comes last. After session.logon neither key nor signature is sent, but the
timestamp is. What is sent again and again is a template; the rest is built when it is needed.
Runs on: the engine thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import orjson

from engine.decoding.scale import INT64_MAX
from engine.maker.order_layout import BUY, SELL
from net.orders.messages import (
    TIMESTAMP,
    EntryError,
    Field,
    Market,
    Style,
    client_id_bytes,
    whole_number,
)
from net.orders.request_template import ORDER_NAME, Template
from net.venues.binance.orders.credentials import BinanceKeys
from net.venues.binance.orders.signing import signed_text

SIDES = {BUY: "BUY", SELL: "SELL"}
STYLES: dict[Style, dict[str, str]] = {
    # A post-only order has no fills to tell of: the shortest answer is enough.
    Style.POST_ONLY: {"type": "LIMIT_MAKER", "newOrderRespType": "ACK"},
    Style.LIMIT: {"type": "LIMIT", "timeInForce": "GTC", "newOrderRespType": "FULL"},
    Style.IMMEDIATE: {"type": "LIMIT", "timeInForce": "IOC", "newOrderRespType": "FULL"},
}
SELF_TRADE_MODES = frozenset(
    {"", "NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "DECREMENT", "TRANSFER"}
)
RECV_WINDOW_MS_MAX = 60_000
TRADES_MAX = 1000

NUMBER = Field("request id", 0)
Value = str | int


class BinanceRequests:
    """The builder of one session's requests.

    `is_logged_on`: whether session.logon has been answered on the connection they go to.
    """

    def __init__(
        self, keys: BinanceKeys, *, is_logged_on: bool, recv_window_ms: int = 5000
    ) -> None:
        if is_logged_on and not keys.signer.can_log_on:
            raise EntryError("binance: only an Ed25519 key can log on to a session")
        self.keys = keys
        self.is_logged_on = is_logged_on
        self.recv_window_ms = whole_number(recv_window_ms, 1, RECV_WINDOW_MS_MAX, "recvWindow")

    def logon(self, request_id: int, timestamp_ms: int) -> bytes:
        """session.logon; EntryError for a key that cannot."""
        if not self.keys.signer.can_log_on:
            raise EntryError("binance: only an Ed25519 key can log on to a session")
        return self._with_key("session.logon", request_id, timestamp_ms)

    def subscribe(self, request_id: int, timestamp_ms: int) -> bytes:
        """The account's event stream on this connection."""
        if self.is_logged_on:
            return unsigned("userDataStream.subscribe", request_id, {})
        return self._with_key("userDataStream.subscribe.signature", request_id, timestamp_ms)

    def signed(
        self, method: str, request_id: int, timestamp_ms: int, params: Mapping[str, Value]
    ) -> bytes:
        """A request of this session: with key and signature where it is not logged on."""
        shared = self.shared_params() | {"timestamp": _timestamp(timestamp_ms)}
        if self.is_logged_on:
            return unsigned(method, request_id, {**params, **shared})
        return self._with_signature(method, request_id, {**params, **shared})

    def shared_params(self) -> dict[str, Value]:
        """What every request of the session carries, beside its time."""
        shared: dict[str, Value] = {"recvWindow": self.recv_window_ms}
        return shared if self.is_logged_on else {**shared, "apiKey": self.keys.api_key}

    def _with_key(self, method: str, request_id: int, timestamp_ms: int) -> bytes:
        params: dict[str, Value] = {
            "apiKey": self.keys.api_key,
            "timestamp": _timestamp(timestamp_ms),
        }
        return self._with_signature(method, request_id, params)

    def _with_signature(self, method: str, request_id: int, params: dict[str, Value]) -> bytes:
        signature = self.keys.signer.sign(signed_text(params)).decode()
        return unsigned(method, request_id, params, {"signature": signature})

    def open_orders(self, request_id: int, timestamp_ms: int, market: Market) -> bytes:
        """The open orders of one market (weight 6)."""
        return self.signed("openOrders.status", request_id, timestamp_ms, {"symbol": market.symbol})

    def order_status(
        self, request_id: int, timestamp_ms: int, market: Market, order: int | str
    ) -> bytes:
        """One order, by the venue's id (a number) or by ours (a text) (weight 4)."""
        params = {"symbol": market.symbol, **_target(order, "orderId", "origClientOrderId")}
        return self.signed("order.status", request_id, timestamp_ms, params)

    def latest_trades(
        self, request_id: int, timestamp_ms: int, market: Market, limit: int = TRADES_MAX
    ) -> bytes:
        """Our last trades in one market, oldest first (weight 20)."""
        params: dict[str, Value] = {"symbol": market.symbol, "limit": limit}
        return self.signed("myTrades", request_id, timestamp_ms, params)

    def order_trades(
        self, request_id: int, timestamp_ms: int, market: Market, venue_order_id: int
    ) -> bytes:
        """The trades of one order, oldest first (weight 5)."""
        number = whole_number(venue_order_id, 0, INT64_MAX, "order id")
        params: dict[str, Value] = {
            "symbol": market.symbol,
            "orderId": number,
            "limit": TRADES_MAX,
        }
        return self.signed("myTrades", request_id, timestamp_ms, params)

    def account(self, request_id: int, timestamp_ms: int) -> bytes:
        """Balances (weight 20)."""
        return self.signed("account.status", request_id, timestamp_ms, {})

    def commission(self, request_id: int, timestamp_ms: int, market: Market) -> bytes:
        """What the venue takes of the account's fills in one market (weight 20)."""
        params = {"symbol": market.symbol}
        return self.signed("account.commission", request_id, timestamp_ms, params)


def server_time(request_id: int) -> bytes:
    """The venue's clock, for our offset to it (weight 1)."""
    return unsigned("time", request_id, {})


def unsigned(
    method: str,
    request_id: int,
    params: Mapping[str, Value],
    last: Mapping[str, Value] | None = None,
) -> bytes:
    """A request with its parameters sorted by name, then those of `last`."""
    number = whole_number(request_id, 0, INT64_MAX, "request id")
    message: dict[str, object] = {"id": number, "method": method}
    ordered = {name: params[name] for name in sorted(params)} | dict(last or {})
    if ordered:
        message["params"] = ordered
    return orjson.dumps(message)


class _Template:
    """A request as a template: parameters that stay, and those that change, in order of name.

    `changes` stand in that order; the last that changes is the time.
    """

    def __init__(
        self,
        requests: BinanceRequests,
        method: str,
        stays: Mapping[str, Value],
        changes: Mapping[str, Field],
    ) -> None:
        fixed = {**stays, **requests.shared_params()}
        fields = {**changes, "timestamp": TIMESTAMP}
        assert list(fields) == sorted(fields)
        names = sorted([*fixed, *fields])
        texts, signed_texts = [b'{"id":', f',"method":"{method}","params":{{'.encode()], [b""]
        for name in names:
            is_first = name == names[0]
            texts[-1] += (b'"%s":' if is_first else b',"%s":') % name.encode()
            signed_texts[-1] += (b"%s=" if is_first else b"&%s=") % name.encode()
            if name in fixed:
                texts[-1] += orjson.dumps(fixed[name])
                signed_texts[-1] += str(fixed[name]).encode()
            else:
                quote = b"" if name == "timestamp" else b'"'
                texts[-1] += quote
                texts.append(quote)
                signed_texts.append(b"")
        self._signer = None if requests.is_logged_on else requests.keys.signer
        texts[-1] += b"}}" if self._signer is None else b',"signature":"'
        self.message = Template(texts, [NUMBER, *fields.values()])
        """All of it, but for the signature where there is one."""
        self._payload = Template(signed_texts, list(fields.values()))
        self.write: Callable[..., bytes] = self._write_signed
        """f(request_id, *values) -> the request's bytes; EntryError for what does not fit."""
        if self._signer is None:
            self.write = self.message.write

    def _write_signed(self, request_id: int, *values: int) -> bytes:
        assert self._signer is not None
        message = self.message.write(request_id, *values)
        return b'%b%b"}}' % (message, self._signer.sign(self._payload.write(*values)))


class PlaceTemplate(_Template):
    """order.place for one market, side and style.

    `write(request_id, order_id, price_ticks, quantity_lots, timestamp_ms)`.
    """

    def __init__(
        self,
        requests: BinanceRequests,
        market: Market,
        side: int,
        style: Style,
        self_trade_mode: str = "",
    ) -> None:
        """`self_trade_mode`: EXPIRE_MAKER and the like; "" for the market's default."""
        stays = _order_params(market, side, style, self_trade_mode)
        super().__init__(requests, "order.place", stays, _order_fields(market))


class CancelTemplate(_Template):
    """order.cancel for one market, by our name: `write(request_id, order_id, timestamp_ms)`."""

    def __init__(self, requests: BinanceRequests, market: Market) -> None:
        stays, changes = {"symbol": market.symbol}, {"origClientOrderId": ORDER_NAME}
        super().__init__(requests, "order.cancel", stays, changes)


class ReplaceTemplate(_Template):
    """order.cancelReplace for one market, side and style: cancel one order, then place another.

    It stops where the cancel fails, because then the old order has just been filled. Where the
    order limit is reached it still cancels: an old price must not stand because of a limit.
    `write(request_id, old_id, new_id, price_ticks, quantity_lots, timestamp_ms)`: `old_id` goes.
    """

    def __init__(
        self,
        requests: BinanceRequests,
        market: Market,
        side: int,
        style: Style,
        self_trade_mode: str = "",
    ) -> None:
        stays = _order_params(market, side, style, self_trade_mode)
        stays["cancelReplaceMode"] = "STOP_ON_FAILURE"
        stays["orderRateLimitExceededMode"] = "CANCEL_ONLY"
        changes = {"cancelOrigClientOrderId": ORDER_NAME, **_order_fields(market)}
        super().__init__(requests, "order.cancelReplace", stays, changes)


def _order_fields(market: Market) -> dict[str, Field]:
    return {
        "newClientOrderId": ORDER_NAME,
        "price": market.price_field,
        "quantity": market.quantity_field,
    }


def _order_params(market: Market, side: int, style: Style, mode: str) -> dict[str, Value]:
    if side not in SIDES:
        raise EntryError(f"side {side!r} is neither BUY nor SELL")
    if mode not in SELF_TRADE_MODES:
        raise EntryError(f"self-trade mode {mode!r}: one of {', '.join(sorted(SELF_TRADE_MODES))}")
    params: dict[str, Value] = {"symbol": market.symbol, "side": SIDES[side], **STYLES[style]}
    return {**params, "selfTradePreventionMode": mode} if mode else params


def _target(order: int | str, by_venue_id: str, by_our_id: str) -> dict[str, Value]:
    if isinstance(order, str):
        return {by_our_id: client_id_bytes(order).decode()}
    return {by_venue_id: whole_number(order, 0, INT64_MAX, "order id")}


def _timestamp(timestamp_ms: int) -> int:
    return whole_number(timestamp_ms, TIMESTAMP.least, TIMESTAMP.most, TIMESTAMP.what)
