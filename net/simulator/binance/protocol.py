"""Binance's protocol: market streams and the order API over websocket, REST market data.

Rules are from the exchange's published documentation; where it says nothing the note "observed"
marks what users report. A tape takes no orders: there the order API does not exist.
Runs on: the simulator's event loop.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

import orjson
from aiohttp import web

from net.log.one_line import one_line
from net.simulator.binance.exchange_info import exchange_info
from net.simulator.binance.orders.orders import BinanceOrders
from net.simulator.binance.orders.wallet import WEIGHTS as WALLET_PATHS
from net.simulator.clock import NS_PER_S, SimulatorClock, monotonic_s, wall_s
from net.simulator.connection import Connection, Interceptor
from net.simulator.options import SimulatorOptions
from net.simulator.orders.accounts import Account
from net.simulator.plain_book import PlainBook
from net.simulator.server import VenueServer, json_response
from net.simulator.source import Feed, Message
from net.simulator.synthetic import SyntheticFeed
from net.simulator.venue import SimulatedVenue

MESSAGES_PER_SECOND_MAX = 5  # from a client: control messages, pings and pongs all count
DEPTH_LEVELS_DEFAULT = 100
DEPTH_LEVELS_MAX = 5000  # a larger limit is cut to this
DEPTH_WEIGHTS = ((100, 5), (500, 25), (1000, 50), (DEPTH_LEVELS_MAX, 250))
WEIGHT_WINDOW_S = 60
PING_WEIGHT = 1
ORDER_PATH = "/ws-api/v3"
INFO_WEIGHT = 20
SYMBOL_TEXT = re.compile(r"[A-Z0-9\-_.]{1,20}")
DIGITS = re.compile(r"[0-9]{1,20}")
REQUEST_ID_TEXT = re.compile(r"[A-Za-z0-9_\-]{1,36}")
METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
_NO_ID = object()


class _RefusedError(Exception):
    """A control message that gets an error reply."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class BinanceServer(VenueServer):
    """See the module."""

    def __init__(
        self,
        venue: SimulatedVenue,
        feed: Feed,
        clock: SimulatorClock,
        options: SimulatorOptions,
        interceptor: Interceptor,
    ) -> None:
        super().__init__(venue, feed, clock, options, interceptor)
        self._weight_window = 0
        self._weight_used = 0
        self.orders: BinanceOrders | None = None
        if isinstance(feed, SyntheticFeed):
            self.orders = BinanceOrders(
                feed,
                clock,
                options,
                interceptor=interceptor,
                weigh=self._weight,
                publish=self.publish,
            )

    def routes(self) -> list[web.RouteDef]:
        """Streams, orders and REST."""
        orders = []
        if self.orders is not None:
            wallet = [web.get(path, self._wallet) for path in WALLET_PATHS]
            orders = [web.get(ORDER_PATH, self.serve_websocket), *wallet]
        return [
            *orders,
            web.get("/ws", self.serve_websocket),
            web.get("/ws/{streams:.*}", self.serve_websocket),
            web.get("/stream", self.serve_websocket),
            web.get("/api/v3/depth", self._depth),
            web.get("/api/v3/time", self._time),
            web.get("/api/v3/ping", self._ping),
            web.get("/api/v3/exchangeInfo", self._exchange_info),
        ]

    async def _wallet(self, request: web.Request) -> web.Response:
        assert self.orders is not None
        key, now_ns = request.headers.get("X-MBX-APIKEY", ""), self._clock.now_ns()
        query = request.rel_url.raw_query_string
        status, body = self.orders.wallet.get(request.path, query, key, now_ns)
        return web.Response(body=body, status=status, content_type="application/json")

    @property
    def account(self) -> Account | None:
        return None if self.orders is None else self.orders.account

    def stats(self) -> dict[str, object]:
        """Adds the request weight of this minute, and the orders."""
        orders = {} if self.orders is None else {"orders": self.orders.desk.summary()}
        return super().stats() | {"weight_used": self._weight(0)} | orders

    # -- streams -------------------------------------------------------------------------------

    def opened(self, connection: Connection, request: web.Request) -> None:
        """Subscriptions and properties come from the URL."""
        connection.combined = request.path == "/stream"
        connection.microseconds = request.query.get("timeUnit", "").upper() == "MICROSECOND"
        if self.orders is not None and connection.path == ORDER_PATH:
            self.orders.opened(connection, request.query.get("returnRateLimits") != "false")
            return
        names = (
            request.query.get("streams", "")
            if connection.combined
            else (request.match_info.get("streams", ""))
        )
        for name in names.split("/"):
            if name:
                self.subscribe(connection, name)

    def closed(self, connection: Connection) -> None:
        """Ends the session of the order API."""
        if self.orders is not None:
            self.orders.closed(connection)

    def frame_text(self, connection: Connection, message: Message) -> str:
        """Wrapped on combined connections, microseconds where asked for."""
        if connection.combined and message.wrapped is not None:
            return message.wrapped
        text = message.text
        if connection.microseconds and message.text_us is not None:
            text = message.text_us
        if connection.combined:
            return f'{{"stream":"{message.channel}","data":{text}}}'
        return text

    def notice_text(self, connection: Connection) -> str:
        """serverShutdown."""
        unit_ns = 1000 if connection.microseconds else 1_000_000
        text = f'{{"e":"serverShutdown","E":{self._clock.now_ns() // unit_ns}}}'
        if connection.path == ORDER_PATH:
            return f'{{"event":{text}}}'
        return f'{{"stream":"!serverShutdown","data":{text}}}' if connection.combined else text

    def counted(self, connection: Connection) -> bool:
        """Five in any second are allowed; the sixth disconnects. Orders have other limits."""
        super().counted(connection)
        if connection.path == ORDER_PATH:
            return True
        now_s, times_s = monotonic_s(), connection.message_times_s
        while times_s and now_s - times_s[0] >= 1.0:
            times_s.popleft()
        times_s.append(now_s)
        return len(times_s) <= MESSAGES_PER_SECOND_MAX

    async def keep(self, connection: Connection) -> None:
        """Ping on schedule, cut silent clients and old connections."""
        options = self._options
        end_s = connection.opened_s + options.connection_lifetime_s
        ping_s = connection.opened_s + options.ping_interval_s
        while True:
            oldest_s = min(connection.unanswered_pings.values(), default=float("inf"))
            silent_s = oldest_s + options.pong_timeout_s
            await asyncio.sleep(max(0.0, min(end_s, ping_s, silent_s) - monotonic_s()))
            now_s = monotonic_s()
            if now_s >= end_s:
                await connection.close(1001, "Connection lifetime reached")
                return
            oldest_s = min(connection.unanswered_pings.values(), default=float("inf"))
            if now_s >= oldest_s + options.pong_timeout_s:
                await connection.close(1008, "Pong timeout")  # observed
                return
            if now_s >= ping_s:
                ping_s += options.ping_interval_s
                payload = str(self._clock.now_ns() // 1_000_000).encode()
                connection.unanswered_pings[payload] = now_s
                if not connection.is_silenced:
                    await connection.websocket.ping(payload)

    async def receive_text(self, connection: Connection, data: str) -> None:
        """A control message, or a request of the order API."""
        if self.orders is not None and connection.path == ORDER_PATH:
            self.orders.receive(connection, data)
            return
        request_id: object = _NO_ID
        try:
            request = _parse(data)
            request_id = request.get("id", _NO_ID)
            result = self._control(connection, request)
        except _RefusedError as refused:
            reply: dict[str, object] = {"code": refused.code, "msg": refused.text}
            if refused.code != 3 and request_id is not _NO_ID and _id_is_valid(request_id):
                reply["id"] = request_id
        else:
            reply = {"result": result, "id": None if request_id is _NO_ID else request_id}
        connection.send(orjson.dumps(reply).decode())

    def _control(self, connection: Connection, request: dict[str, object]) -> object:
        method, params = request.get("method"), request.get("params", [])
        if "method" not in request:
            end = len(one_line(request))
            raise _RefusedError(
                2, f"Invalid request: missing field `method` at line 1 column {end}"
            )
        if method not in METHODS:
            expected = ", ".join(f"`{name}`" for name in METHODS)
            given = one_line(method)
            raise _RefusedError(
                2,
                f"Invalid request: unknown variant `{given}`, expected one of "
                f"{expected} at line 1 column {11 + len(given) + 2}",
            )
        if not _id_is_valid(request.get("id")):
            raise _RefusedError(2, "Invalid request: request ID must be an unsigned integer")
        if not isinstance(params, list):
            raise _RefusedError(2, "Invalid request: params must be an array")
        if method == "LIST_SUBSCRIPTIONS":
            return list(connection.channels)
        if method in ("SET_PROPERTY", "GET_PROPERTY"):
            return _property(connection, method == "SET_PROPERTY", params)
        if not all(isinstance(name, str) for name in params):
            raise _RefusedError(2, "Invalid request: stream name must be a string")
        change: Callable[[Connection, str], object] = (
            self.subscribe if method == "SUBSCRIBE" else self.unsubscribe
        )
        for name in params:
            if change(connection, name) is False:
                raise _RefusedError(2, "Invalid request: too many subscriptions")
        return None

    # -- REST ----------------------------------------------------------------------------------

    def _weight(self, weight: int) -> int:
        """Add to this minute's weight (windows are aligned to the clock); returns the sum."""
        window = int(wall_s()) // WEIGHT_WINDOW_S
        if window != self._weight_window:
            self._weight_window, self._weight_used = window, 0
        self._weight_used += weight
        return self._weight_used

    def _answer(
        self, weight: int, value: object = None, status: int = 200, text: str | None = None
    ) -> web.Response:
        used = self._weight(weight)
        headers = {"X-MBX-USED-WEIGHT": str(used), "X-MBX-USED-WEIGHT-1M": str(used)}
        limit = self._options.weight_limit
        if used > limit:
            headers["Retry-After"] = str(WEIGHT_WINDOW_S - int(wall_s()) % WEIGHT_WINDOW_S)
            status, text = 429, None
            value = {
                "code": -1003,
                "msg": (
                    f"Too much request weight used; current limit is {limit} request weight per "
                    "1 MINUTE. Please use WebSocket Streams for live updates to avoid polling the "
                    "API."
                ),
            }
        body = orjson.dumps(value) if text is None else text.encode()
        return web.Response(
            body=body,
            status=status,
            headers=headers,
            content_type="application/json",
            charset="UTF-8",
        )

    def _error(self, weight: int, code: int, text: str) -> web.Response:
        return self._answer(weight, {"code": code, "msg": text}, 400)

    async def _ping(self, request: web.Request) -> web.Response:
        return self._answer(PING_WEIGHT, {})

    async def _time(self, request: web.Request) -> web.Response:
        unit = request.headers.get("X-MBX-TIME-UNIT", "").upper()
        unit_ns = 1000 if unit == "MICROSECOND" else 1_000_000
        return self._answer(PING_WEIGHT, {"serverTime": self._clock.now_ns() // unit_ns})

    async def _exchange_info(self, request: web.Request) -> web.Response:
        names = list(self.feed.instruments)
        if "symbol" in request.query:
            names = [request.query["symbol"]]
        elif "symbols" in request.query:
            try:
                names = [str(name) for name in orjson.loads(request.query["symbols"])]
            except (orjson.JSONDecodeError, TypeError):
                return self._error(
                    INFO_WEIGHT,
                    -1100,
                    _illegal(
                        "symbols",
                        '\'^\\[("[A-Z0-9-_.]{1,20}"(,"[A-Z0-9-_.]{1,20}"){0,}){0,1}\\]$\'',
                    ),
                )
        if not all(name in self.feed.instruments for name in names):
            return self._error(INFO_WEIGHT, -1121, "Invalid symbol.")
        instruments = [self.feed.instruments[name] for name in names]
        now_ms = self._clock.now_ns() * 1000 // NS_PER_S
        return self._answer(INFO_WEIGHT, exchange_info(instruments, now_ms, self._options))

    async def _depth(self, request: web.Request) -> web.Response:
        symbol = request.query.get("symbol", "")
        limit_text = request.query.get("limit", str(DEPTH_LEVELS_DEFAULT))
        if not symbol:
            return self._error(
                PING_WEIGHT,
                -1102,
                "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.",
            )
        if SYMBOL_TEXT.fullmatch(symbol) is None:
            return self._error(PING_WEIGHT, -1100, _illegal("symbol", "'^[A-Z0-9-_.]{1,20}$'"))
        if DIGITS.fullmatch(limit_text) is None:
            return self._error(PING_WEIGHT, -1100, _illegal("limit", "'^[0-9]{1,20}$'"))
        if int(limit_text) < 1:
            return self._error(PING_WEIGHT, -1130, "Data sent for parameter 'limit' is not valid.")
        limit = _depth_limit(request)
        weight = next(w for levels_max, w in DEPTH_WEIGHTS if limit <= levels_max)
        if symbol not in self.feed.instruments:
            return self._error(weight, -1121, "Invalid symbol.")
        if self._weight(0) + weight > self._options.weight_limit:
            return self._answer(weight)
        recorded = await self.feed.recorded_body(symbol)
        if recorded is not None:
            return self._answer(weight, text=recorded)
        book = self.feed.book(symbol)
        if book is None:
            return json_response(
                {"code": -1000, "msg": "The tape has no book for this symbol."}, 503
            )
        return self._answer(weight, text=self.snapshot_text(symbol, book, request))

    def snapshot_text(self, symbol: str, book: PlainBook, request: web.Request) -> str:
        """As many levels as were asked for."""
        text, limit = self.text[symbol], _depth_limit(request)
        return (
            f'{{"lastUpdateId":{book.version},"bids":{text.levels(book.sorted_bids(limit))},'
            f'"asks":{text.levels(book.sorted_asks(limit))}}}'
        )


def _depth_limit(request: web.Request) -> int:
    return min(int(request.query.get("limit", DEPTH_LEVELS_DEFAULT)), DEPTH_LEVELS_MAX)


def _parse(data: str) -> dict[str, object]:
    try:
        request = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise _RefusedError(
            3, f"Invalid JSON: expected value at line {error.lineno} column {error.colno}"
        ) from None
    if not isinstance(request, dict):
        raise _RefusedError(2, "Invalid request: expected an object")
    return request


def _id_is_valid(request_id: object) -> bool:
    """A signed 64-bit integer, up to 36 alphanumeric characters, or null."""
    if isinstance(request_id, bool):
        return False
    if isinstance(request_id, int):
        return -(2**63) <= request_id < 2**63
    if isinstance(request_id, str):
        return REQUEST_ID_TEXT.fullmatch(request_id) is not None
    return request_id is None


def _property(connection: Connection, change: bool, params: list[object]) -> object:
    """SET_PROPERTY and GET_PROPERTY; `combined` is the only one."""
    if len(params) > (2 if change else 1):
        raise _RefusedError(2, "Invalid request: too many parameters")
    if not params or not isinstance(params[0], str):
        raise _RefusedError(2, "Invalid request: property name must be a string")
    if params[0] != "combined":
        raise _RefusedError(0, "Unknown property")
    if not change:
        return connection.combined
    value = params[1] if len(params) == 2 else None
    if not isinstance(value, bool):
        raise _RefusedError(1, "Invalid value type: expected Boolean")
    connection.combined = value
    return None


def _illegal(name: str, legal: str) -> str:
    return f"Illegal characters found in parameter '{name}'; legal range is {legal}."
