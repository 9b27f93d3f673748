"""The simulator's order side of both venues, as it is, behind the network of these tests.

Only what stands before or beside it is added: connections, subscriptions, and refusals that a venue
gives before anything is read.
Runs on: the tests' thread.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import orjson
from aiohttp import web
from multidict import CIMultiDict

from net.orders.http_requests import HttpAnswer, HttpRequest
from net.simulator.binance.orders.orders import BinanceOrders
from net.simulator.bitstamp.orders.orders import BitstampOrders
from net.simulator.clock import SimulatorClock, monotonic_s
from net.simulator.connection import Connection, Interceptor
from net.simulator.options import SimulatorOptions
from net.simulator.orders import desk as words
from net.simulator.orders.accounts import Order
from net.simulator.orders.desk import RejectedError, Wanted
from net.simulator.orders.matching import Fill
from net.simulator.source import Message
from tests.trading.faults import ON_ANSWER, ON_ORDER, ON_SPOILT, VALUES
from tests.trading.market import Crowd

if TYPE_CHECKING:
    from tests.trading.network import Socket
    from tests.trading.world import World

S, MS = 10**9, 10**6
BINANCE_CHANGES = ("order.place", "order.cancel", "order.cancelReplace")
BITSTAMP_CHANGES = ("/api/v2/buy/", "/api/v2/sell/", "/api/v2/cancel_order/")
RETRY_AFTER_S = 2
HOST = "www.bitstamp.net"
ELSEWHERE = (0.0, 0.0, 0.05, 0.7)
"""How often an event of our orders is followed by one of another market of the account."""


class Clock(SimulatorClock):
    """The scheduler's time, which the venue takes for its own."""

    def __init__(self, world: World, offset_ns: int) -> None:
        self._world, self._offset_ns = world, offset_ns

    def now_ns(self) -> int:
        return self._world.now_ns + self._offset_ns


class Spoiler(Interceptor):
    """The simulator's own faults, as the schedule has them."""

    def __init__(self, world: World) -> None:
        self._world = world

    def spoils(self, venue: str, occasion: str) -> tuple[str, float] | None:
        names = ON_SPOILT.get(occasion)
        if names is None:
            return None
        kind = self._world.schedule.strike(names, venue, self._world.now_ns)
        return (kind, VALUES.get(kind, 0.0)) if kind else None


class VenueSide:
    """What both venues have in common: a desk that is watched, and its market."""

    orders: BinanceOrders | BitstampOrders

    def __init__(self, name: str, world: World, crowd: Crowd, offset_ns: int) -> None:
        self.name, self.crowd = name, crowd
        self.clock = Clock(world, offset_ns)
        self._world = world
        self._order_fault = ""

    def _watch_desk(self) -> None:
        desk = self.orders.desk
        vars(desk)["place"] = partial(self._place, desk.place)
        vars(desk)["settle_later"] = self._settle_later
        desk.listeners.append(partial(self._world.judge.on_report, self.name))

    def _place(self, place: Any, wanted: Wanted, time_ns: int) -> Order:
        self._world.judge.on_order(self.name, wanted)
        if self._order_fault == "poor":
            raise RejectedError(words.BALANCE)
        order: Order = place(wanted, time_ns)
        return order

    def _settle_later(self, fill: Fill, delay_s: float) -> None:
        self._world.judge.on_lie(self.name, fill)
        self._world.after(int(delay_s * S), partial(self.orders.desk.settle, fill))

    def _strike(self, occasions: tuple[str, ...]) -> str:
        return self._world.schedule.strike(occasions, self.name, self._world.now_ns)

    def opened(self, socket: Socket) -> None:
        """A connection is there."""
        raise NotImplementedError

    def closed(self, socket: Socket) -> None:
        """A connection is gone; its orders stay."""
        raise NotImplementedError

    def receive(self, socket: Socket, message: bytes) -> None:
        """One message from us."""
        raise NotImplementedError

    def handle(self, request: HttpRequest) -> HttpAnswer:
        """One request over HTTP, dealt with at once."""
        raise NotImplementedError

    def deposit(self, lots: int, fee_lots: int, state: str, *, is_listed: bool) -> int:
        """Move some of the base currency; by how much the account has changed."""
        now_ns = self.clock.now_ns()
        more: dict[str, Any] = {"fee_lots": fee_lots, "state": state, "is_listed": is_listed}
        return self.orders.account.deposit("BTC", lots, now_ns, **more)


class _Outbox:
    """Stands in for a connection while one request is dealt with."""

    def __init__(self, socket: Socket) -> None:
        self.connection_id = socket.connection_id
        self.texts: list[str] = []

    def send(self, text: str) -> None:
        self.texts.append(text)


class BinanceSide(VenueSide):
    """The WebSocket API."""

    orders: BinanceOrders

    def __init__(
        self, world: World, crowd: Crowd, options: SimulatorOptions, offset_ns: int
    ) -> None:
        super().__init__("binance", world, crowd, offset_ns)
        self.orders = BinanceOrders(
            crowd,
            self.clock,
            options,
            interceptor=Spoiler(world),
            weigh=lambda weight: 0,
            publish=lambda messages: None,
        )
        self._watch_desk()

    def opened(self, socket: Socket) -> None:
        self.orders.opened(cast(Connection, socket), False)

    def closed(self, socket: Socket) -> None:
        self.orders.closed(cast(Connection, socket))

    def receive(self, socket: Socket, message: bytes) -> None:
        request = orjson.loads(message)
        method = request["method"]
        self._order_fault = self._strike(ON_ORDER) if method in BINANCE_CHANGES else ""
        refusal = self._refusal(method)
        if refusal is not None and self._order_fault != "failed":
            socket.send(_error(request["id"], refusal))
            return
        # What is sent meanwhile is sent in the end, in an order that the venue does not promise.
        session = self.orders._sessions[socket.connection_id]
        outbox = _Outbox(socket)
        session.connection = cast(Connection, outbox)
        self.orders.receive(cast(Connection, outbox), message.decode())
        session.connection = cast(Connection, socket)
        *events, answer = outbox.texts
        if refusal is not None:
            answer = _error(request["id"], refusal)
        is_first = bool(events) and self._strike(ON_ANSWER) != ""
        for text in (answer, *events) if is_first else (*events, answer):
            socket.send(text)

    def handle(self, request: HttpRequest) -> HttpAnswer:
        path, _, query = request.path.partition("?")
        key, now_ns = dict(request.headers)["X-MBX-APIKEY"], self.clock.now_ns()
        status, body = self.orders.wallet.get(path, query, key, now_ns)
        return HttpAnswer(status, {}, body)

    def _refusal(self, method: str) -> dict[str, Any] | None:
        """What is answered whatever becomes of the request."""
        now_ms = self._world.now_ns // MS
        if self._order_fault == "limited":
            data = {"serverTime": now_ms, "retryAfter": now_ms + RETRY_AFTER_S * 1_000}
            return {"status": 429, "code": -1003, "msg": "Too much request weight", "data": data}
        if self._order_fault == "suspended" and method != "order.cancel":
            return {"status": 400, "code": -1013, "msg": "Market is closed."}
        if self._order_fault in ("failed", "undone"):
            return {"status": 500, "code": -1007, "msg": "Timeout waiting for response."}
        return None


def _error(number: object, refusal: dict[str, Any]) -> str:
    error = {key: value for key, value in refusal.items() if key != "status"}
    return orjson.dumps({"id": number, "status": refusal["status"], "error": error}).decode()


class _Request:
    """What the simulator looks at of an HTTP request."""

    method = "POST"
    host = HOST
    query_string = ""
    transport = None

    def __init__(self, request: HttpRequest) -> None:
        self.path = request.path
        self.headers = CIMultiDict(request.headers)
        self._body = request.body

    async def read(self) -> bytes:
        return self._body


class BitstampSide(VenueSide):
    """REST and the private channels."""

    orders: BitstampOrders

    def __init__(
        self, world: World, crowd: Crowd, options: SimulatorOptions, offset_ns: int
    ) -> None:
        super().__init__("bitstamp", world, crowd, offset_ns)
        self._channels: dict[str, list[Socket]] = {}
        self._rng = random.Random(f"elsewhere {world.report.seed}")
        self._elsewhere = self._rng.choice(ELSEWHERE)
        chains_by_market = self._rng.random() < 0.3
        trading = replace(options.trading, chains_by_market=chains_by_market)
        options = replace(options, trading=trading)
        self.orders = BitstampOrders(
            crowd,
            self.clock,
            options,
            interceptor=Spoiler(world),
            publish=self._publish,
        )
        self._watch_desk()

    def _publish(self, messages: list[Message]) -> None:
        for message in messages:
            for socket in self._channels.get(message.channel, ()):
                socket.send(message.text)
            if self._rng.random() < self._elsewhere:
                self.orders.private.elsewhere()

    def opened(self, socket: Socket) -> None:
        """Nothing is known of it before it subscribes."""

    def closed(self, socket: Socket) -> None:
        for sockets in self._channels.values():
            if socket in sockets:
                sockets.remove(socket)

    def receive(self, socket: Socket, message: bytes) -> None:
        request = orjson.loads(message)
        if request["event"] == "bts:heartbeat":
            socket.send('{"event":"bts:heartbeat","channel":"","data":{"status":"success"}}')
            return
        assert request["event"] == "bts:subscribe", request
        channel, token = request["data"]["channel"], request["data"]["auth"]
        assert self.orders.private.allows(channel, token, monotonic_s())
        socket.send(f'{{"event":"bts:subscription_succeeded","channel":"{channel}","data":{{}}}}')
        self._channels.setdefault(channel, []).append(socket)

    def handle(self, request: HttpRequest) -> HttpAnswer:
        is_change = request.path.startswith(BITSTAMP_CHANGES)
        kind = self._order_fault = self._strike(ON_ORDER) if is_change else ""
        if kind == "limited":
            return HttpAnswer(429, {"Retry-After": str(RETRY_AFTER_S)}, b"slow down")
        if kind == "suspended" and "cancel" not in request.path:
            body = {"status": "error", "reason": "no trading now", "response_code": "500.009"}
            return HttpAnswer(500, {}, orjson.dumps(body))
        if kind == "undone":
            return HttpAnswer(502, {}, b"<html>")
        response = cast(
            web.Response, _finished(self.orders.handle(cast(web.Request, _Request(request))))
        )
        if kind == "failed":
            return HttpAnswer(502, {}, b"<html>")
        assert isinstance(response.body, bytes)
        return HttpAnswer(response.status, response.headers, response.body)


def _finished(coroutine: Coroutine[Any, Any, web.StreamResponse]) -> web.StreamResponse:
    """The result of a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: web.StreamResponse = done.value
        return result
    raise asyncio.InvalidStateError("it waits")
