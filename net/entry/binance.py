"""Binance spot, WebSocket API v3: the bytes of requests.

Source: the exchange's web-socket-api.md. Parameters stand in the order of their names, as they are
signed; a signature comes last. After session.logon neither key nor signature is sent, but the
timestamp is. What is sent again and again is a template; the rest is built when it is needed.
Runs on: the engine thread. Called by: net.
"""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from engine.maker.order_layout import BUY, SELL
from engine.scale import INT64_MAX
from net.entry.keys import BinanceKeys
from net.entry.order import EntryError, Market, Style, client_id_bytes, whole_number
from net.entry.signing import binance_ws_payload
from net.entry.template import Template

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
TIMESTAMP_MS_MIN, TIMESTAMP_MS_MAX = 10**12, 10**13 - 1
"""13 digits: the years 2001 to 2286. Anything else is no time in ms."""
TRADES_MAX = 1000

NUMBERS = frozenset({"timestamp", "orderId", "cancelOrderId"})
"""Parameters that are written as JSON numbers; all others that change are texts."""

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
        signature = self.keys.signer.sign(binance_ws_payload(params)).decode()
        return unsigned(method, request_id, params, {"signature": signature})

    def cancel_all(self, request_id: int, timestamp_ms: int, market: Market) -> bytes:
        """Cancel every open order of one market."""
        return self.signed(
            "openOrders.cancelAll", request_id, timestamp_ms, {"symbol": market.symbol}
        )

    def open_orders(self, request_id: int, timestamp_ms: int, market: Market) -> bytes:
        """The open orders of one market (weight 6)."""
        return self.signed("openOrders.status", request_id, timestamp_ms, {"symbol": market.symbol})

    def order_status(
        self, request_id: int, timestamp_ms: int, market: Market, order: int | str
    ) -> bytes:
        """One order, by the venue's id (a number) or by ours (a text) (weight 4)."""
        params = {"symbol": market.symbol, **_target(order, "orderId", "origClientOrderId")}
        return self.signed("order.status", request_id, timestamp_ms, params)

    def trades(self, request_id: int, timestamp_ms: int, market: Market, from_id: int) -> bytes:
        """Our trades in one market from a trade's id on, oldest first (weight 20)."""
        number = whole_number(from_id, 0, INT64_MAX, "trade id")
        params: dict[str, Value] = {
            "symbol": market.symbol,
            "fromId": number,
            "limit": TRADES_MAX,
        }
        return self.signed("myTrades", request_id, timestamp_ms, params)

    def latest_trades(self, request_id: int, timestamp_ms: int, market: Market) -> bytes:
        """Our last trades in one market, oldest first (weight 20)."""
        params: dict[str, Value] = {"symbol": market.symbol, "limit": TRADES_MAX}
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

    def order_limits(self, request_id: int, timestamp_ms: int) -> bytes:
        """How many orders were counted in the windows of the ORDERS limit (weight 40)."""
        return self.signed("account.rateLimits.orders", request_id, timestamp_ms, {})


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


class _Hot:
    """A request as a template: parameters that stay, and those that change, in order of name."""

    def __init__(
        self, requests: BinanceRequests, method: str, stays: Mapping[str, Value], *changes: str
    ) -> None:
        fixed = {**stays, **requests.shared_params()}
        names = sorted([*fixed, *changes, "timestamp"])
        self.changes = [name for name in names if name not in fixed]
        texts, signed_texts = [b'{"id":', f',"method":"{method}","params":{{'.encode()], [b""]
        for name in names:
            is_first = name == names[0]
            texts[-1] += (b'"%s":' if is_first else b',"%s":') % name.encode()
            signed_texts[-1] += (b"%s=" if is_first else b"&%s=") % name.encode()
            if name in fixed:
                texts[-1] += orjson.dumps(fixed[name])
                signed_texts[-1] += str(fixed[name]).encode()
            else:
                quote = b"" if name in NUMBERS else b'"'
                texts[-1] += quote
                texts.append(quote)
                signed_texts.append(b"")
        self._signer = None if requests.is_logged_on else requests.keys.signer
        if self._signer is None:
            texts[-1] += b"}}"
        else:
            texts[-1] += b',"signature":"'
            texts.append(b'"}}')
        self._message, self._payload = Template(texts), Template(signed_texts)

    def write(self, request_id: int, values: Mapping[str, bytes]) -> bytearray:
        number = whole_number(request_id, 0, INT64_MAX, "request id")
        message, payload = self._message, self._payload
        message.put(0, b"%d" % number)
        for index, name in enumerate(self.changes):
            message.put(index + 1, values[name])
        if self._signer is not None:
            for index, name in enumerate(self.changes):
                payload.put(index, values[name])
            message.put(len(self.changes) + 1, self._signer.sign(payload.buffer))
        return message.buffer


class PlaceTemplate:
    """order.place for one market, side and style. Every `write` uses the same buffer."""

    def __init__(
        self,
        requests: BinanceRequests,
        market: Market,
        side: int,
        style: Style,
        self_trade_mode: str = "",
    ) -> None:
        """`self_trade_mode`: EXPIRE_MAKER and the like; "" for the market's default."""
        self._market = market
        stays = _order_params(market, side, style, self_trade_mode)
        self._hot = _Hot(requests, "order.place", stays, "newClientOrderId", "price", "quantity")

    def write(
        self,
        request_id: int,
        client_order_id: str,
        price_ticks: int,
        quantity_lots: int,
        timestamp_ms: int,
    ) -> bytearray:
        """The request's bytes, valid until the next call; EntryError leaves the buffer whole."""
        values = {
            "newClientOrderId": client_id_bytes(client_order_id),
            "price": self._market.price_text(price_ticks),
            "quantity": self._market.quantity_text(quantity_lots),
            "timestamp": b"%d" % _timestamp(timestamp_ms),
        }
        return self._hot.write(request_id, values)


class CancelTemplate:
    """order.cancel for one market, by the venue's id, which is faster, or by ours."""

    def __init__(self, requests: BinanceRequests, market: Market) -> None:
        stays = {"symbol": market.symbol}
        self._by_venue_id = _Hot(requests, "order.cancel", stays, "orderId")
        self._by_our_id = _Hot(requests, "order.cancel", stays, "origClientOrderId")

    def write(self, request_id: int, order: int | str, timestamp_ms: int) -> bytearray:
        """The request's bytes, valid until the next call."""
        hot = self._by_our_id if isinstance(order, str) else self._by_venue_id
        values = _target_bytes(order, "orderId", "origClientOrderId")
        values["timestamp"] = b"%d" % _timestamp(timestamp_ms)
        return hot.write(request_id, values)


class ReplaceTemplate:
    """order.cancelReplace for one market, side and style: cancel one order, then place another.

    It stops where the cancel fails, because then the old order has just been filled. Where the
    order limit is reached it still cancels: an old price must not stand because of a limit.
    """

    def __init__(
        self,
        requests: BinanceRequests,
        market: Market,
        side: int,
        style: Style,
        self_trade_mode: str = "",
    ) -> None:
        self._market = market
        stays = _order_params(market, side, style, self_trade_mode)
        stays["cancelReplaceMode"] = "STOP_ON_FAILURE"
        stays["orderRateLimitExceededMode"] = "CANCEL_ONLY"
        changes = ("newClientOrderId", "price", "quantity")
        method = "order.cancelReplace"
        self._by_venue_id = _Hot(requests, method, stays, "cancelOrderId", *changes)
        self._by_our_id = _Hot(requests, method, stays, "cancelOrigClientOrderId", *changes)

    def write(
        self,
        request_id: int,
        order: int | str,
        client_order_id: str,
        price_ticks: int,
        quantity_lots: int,
        timestamp_ms: int,
    ) -> bytearray:
        """The request's bytes, valid until the next call. `order` goes, the others are the new."""
        hot = self._by_our_id if isinstance(order, str) else self._by_venue_id
        values = _target_bytes(order, "cancelOrderId", "cancelOrigClientOrderId")
        values["newClientOrderId"] = client_id_bytes(client_order_id)
        values["price"] = self._market.price_text(price_ticks)
        values["quantity"] = self._market.quantity_text(quantity_lots)
        values["timestamp"] = b"%d" % _timestamp(timestamp_ms)
        return hot.write(request_id, values)


class AmendTemplate:
    """order.amend.keepPriority for one market: less quantity, same place in the queue."""

    def __init__(self, requests: BinanceRequests, market: Market) -> None:
        self._market = market
        names = ("orderId", "newClientOrderId", "newQty")
        stays = {"symbol": market.symbol}
        self._hot = _Hot(requests, "order.amend.keepPriority", stays, *names)

    def write(
        self,
        request_id: int,
        venue_order_id: int,
        client_order_id: str,
        quantity_lots: int,
        timestamp_ms: int,
    ) -> bytearray:
        """The request's bytes, valid until the next call.

        `client_order_id` is the order's own: without it the venue would give it another.
        """
        number = whole_number(venue_order_id, 0, INT64_MAX, "order id")
        values = {
            "orderId": b"%d" % number,
            "newClientOrderId": client_id_bytes(client_order_id),
            "newQty": self._market.quantity_text(quantity_lots),
            "timestamp": b"%d" % _timestamp(timestamp_ms),
        }
        return self._hot.write(request_id, values)


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


def _target_bytes(order: int | str, by_venue_id: str, by_our_id: str) -> dict[str, bytes]:
    if isinstance(order, str):
        return {by_our_id: client_id_bytes(order)}
    return {by_venue_id: b"%d" % whole_number(order, 0, INT64_MAX, "order id")}


def _timestamp(timestamp_ms: int) -> int:
    return whole_number(timestamp_ms, TIMESTAMP_MS_MIN, TIMESTAMP_MS_MAX, "timestamp in ms")
