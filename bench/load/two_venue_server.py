"""A simulated feed that any aggregator can be pointed at: both venues' protocols on one port.

    GET  /api/v3/depth, /api/v3/exchangeInfo, /api/v3/ping    Binance REST
    WS   /ws, /ws/<stream>, /stream?streams=<a>/<b>           Binance: @depth, @depth<N>
    GET  /api/v2/order_book/<pair>/, /api/v2/markets/         Bitstamp REST
    WS   /                                                    Bitstamp: [diff_]order_book_<pair>

One venue's books have numbers (update ids), the other's are stamped with times.
Every symbol has the same market. Event k changes one best level and nothing else: an even k gives
the best bid, Binance's, the amount 1 + k * 1e-8, an odd k the best ask, Bitstamp's. So a summary
says itself which events are in it, whoever made it, from whichever channel.
Two ports serve the same market. A measured run goes to the streams of one port; the others get a
frame now and then, so that they stay alive; ids join up on each.
Runs on: a worker process of the harness, off the engine's CPU: one thread with an event loop, and
the worker's main thread.
"""

from __future__ import annotations

import asyncio
import gc
import re
import threading
import time
from pathlib import Path
from typing import Any

import orjson
from aiohttp import WSMsgType, web

from bench.load import frames as F
from bench.load.sender import _asks_for_realtime, _release_realtime
from bench.rig.host import pin
from bench.rig.stamps import Stamps
from bench.rig.workers import Handler, Message
from tuning.clock import wall_ns

IDLE_HZ = 10.0
"""Events a second while nothing is measured: the venues' own pace."""
BASE_ID = 7_000_000_000
BASE_US = 1_700_000_000_000_000
LEVELS = 20
"""Levels a side of each venue's book: as many as @depth20 has."""
STEP_CENTS = 5
NUMBERED_BID, NUMBERED_ASK = F.MID_CENTS, F.MID_CENTS + 40
STAMPED_BID, STAMPED_ASK = F.MID_CENTS - 40, F.MID_CENTS + 10
SLEEP_MARGIN_S = 0.0002
READY_LIMIT_S = 20.0
PARTIAL = re.compile(r"^(.+)@depth(\d+)?(@\d+ms)?$")


def amount_of(event: int) -> int:
    """The lots that stand for an event."""
    return 10**8 + event


def event_of(amount: float) -> int:
    """The event an amount stands for."""
    return round((amount - 1.0) * 1e8)


def levels(best: int, sign: int, first_lots: int, count: int = LEVELS) -> list[list[str]]:
    """A side: the best level, and others that never change."""
    rest = ((best + sign * STEP_CENTS * n, 2 * 10**8 + n) for n in range(1, count))
    return [[F.price(best), F.quantity(first_lots)],
            *([F.price(cents), F.quantity(lots)] for cents, lots in rest)]  # fmt: skip


class Market:
    """Both venues' books after the events so far."""

    def __init__(self) -> None:
        self.event = 1
        self.numbered_event = 0
        self.stamped_event = 1

    def step(self) -> None:
        self.event += 1
        if self.event % 2 == 0:
            self.numbered_event = self.event
        else:
            self.stamped_event = self.event

    def numbered(self, count: int = LEVELS) -> dict[str, Any]:
        """A partial book or a snapshot."""
        return {
            "lastUpdateId": BASE_ID + self.numbered_event,
            "bids": levels(NUMBERED_BID, -1, amount_of(self.numbered_event), count),
            "asks": levels(NUMBERED_ASK, 1, 2 * 10**8, count),
        }

    def stamped(self) -> dict[str, Any]:
        return {
            **self.stamp(),
            "bids": levels(STAMPED_BID, -1, 2 * 10**8),
            "asks": levels(STAMPED_ASK, 1, amount_of(self.stamped_event)),
        }

    def stamp(self) -> dict[str, Any]:
        micro = BASE_US + self.stamped_event
        return {"timestamp": str(micro // 1_000_000), "microtimestamp": str(micro)}


class Stream:
    """One subscription of one connection."""

    def __init__(self, market: Market, link: web.WebSocketResponse, channel: str, wrap: bool):
        self.link, self.channel = link, channel
        self.is_numbered = "@" in channel
        self._market, self._wrap = market, wrap
        self._last_id = 0
        match = PARTIAL.match(channel)
        self._depth = int(match[2]) if match and match[2] else 0
        self._symbol = channel.partition("@")[0].upper()

    def text(self) -> bytes:
        """The newest event as this channel tells it."""
        return orjson.dumps(self._numbered() if self.is_numbered else self._stamped())

    def _numbered(self) -> dict[str, Any]:
        market = self._market
        if self._depth:
            data = market.numbered(min(self._depth, LEVELS))
        else:
            last = BASE_ID + market.numbered_event
            first, self._last_id = (self._last_id or last - 1) + 1, last
            touch = [F.price(NUMBERED_BID), F.quantity(amount_of(market.numbered_event))]
            data = {
                "e": "depthUpdate", "E": wall_ns() // 10**6, "s": self._symbol,
                "U": first, "u": last, "b": [touch], "a": [],
            }  # fmt: skip
        return {"stream": self.channel, "data": data} if self._wrap else data

    def _stamped(self) -> dict[str, Any]:
        market = self._market
        if self.channel.startswith("diff_"):
            touch = [F.price(STAMPED_ASK), F.quantity(amount_of(market.stamped_event))]
            data = {**market.stamp(), "bids": [], "asks": [touch]}
        else:
            data = market.stamped()
        return {"data": data, "channel": self.channel, "event": "data"}


class Feed:
    """The server and the pump."""

    def __init__(self) -> None:
        self.market = Market()
        self.streams: dict[int, list[Stream]] = {}
        self.ports: list[int] = []
        self.loop = asyncio.new_event_loop()
        self._paused = asyncio.Event()

    # --- connections -----------------------------------------------------------------------------

    async def serve(self, wanted: list[int], ready: threading.Event) -> None:
        for port in wanted:
            app = web.Application()
            app.router.add_get("/{path:.*}", self._answer)
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", port)
            await site.start()
            assert site._server is not None
            bound = int(site._server.sockets[0].getsockname()[1])  # type: ignore[attr-defined]
            self.ports.append(bound)
            self.streams[bound] = []
        ready.set()
        while True:
            await asyncio.sleep(1 / IDLE_HZ)
            if not self._paused.is_set():
                await self.publish(self.ports)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._websocket(request)
        path = request.path
        if "/depth" in path:
            return web.json_response(self.market.numbered(), dumps=_dumps)
        if "exchangeInfo" in path:
            filters = [{"filterType": "PRICE_FILTER", "tickSize": "0.01000000"}]
            symbol = {"symbol": request.query.get("symbol", F.SYMBOL), "filters": filters}
            return web.json_response({"symbols": [symbol]}, dumps=_dumps)
        if "/order_book/" in path:
            return web.json_response(self.market.stamped(), dumps=_dumps)
        if "/markets" in path:
            market = {"market_symbol": "btcusd", "counter_decimals": 2}
            return web.json_response([market], dumps=_dumps)
        return web.json_response({}, dumps=_dumps)

    async def _websocket(self, request: web.Request) -> web.WebSocketResponse:
        link = web.WebSocketResponse(compress=False, autoping=True)
        await link.prepare(request)
        assert request.transport is not None
        mine = self.streams[request.transport.get_extra_info("sockname")[1]]
        wraps = request.path.startswith("/stream")
        names = request.query.get("streams", "") if wraps else request.path.removeprefix("/ws")
        for name in filter(None, names.strip("/").split("/")):
            mine.append(Stream(self.market, link, name, wraps))
        try:
            async for message in link:
                if message.type is WSMsgType.TEXT:
                    await self._on_text(link, mine, orjson.loads(message.data), wraps)
        finally:
            mine[:] = [stream for stream in mine if stream.link is not link]
        return link

    async def _on_text(
        self, link: web.WebSocketResponse, mine: list[Stream], body: Any, wraps: bool
    ) -> None:
        """Subscriptions of either venue; anything else is not answered."""
        if body.get("event") == "bts:subscribe":
            channel = body["data"]["channel"]
            answer = {"event": "bts:subscription_succeeded", "channel": channel, "data": {}}
            await link.send_str(_dumps(answer))
            mine.append(Stream(self.market, link, channel, False))
        elif body.get("method") == "SUBSCRIBE":
            await link.send_str(_dumps({"result": None, "id": body.get("id")}))
            mine += [Stream(self.market, link, name, wraps) for name in body["params"]]

    # --- events ----------------------------------------------------------------------------------

    async def publish(self, ports: list[int]) -> None:
        """The next event, to the streams of these ports."""
        self.market.step()
        is_numbered = self.market.event % 2 == 0
        for port in ports:
            for stream in list(self.streams[port]):
                if stream.is_numbered == is_numbered and not stream.link.closed:
                    await stream.link.send_str(stream.text().decode())

    async def run(self, request: Message) -> Message:
        """`count` events at `rate_hz` to one port; which event was the first."""
        stamps = Stamps(Path(request["stamps"]), request["columns"])
        interval_ns = 1e9 / request["rate_hz"]
        every = max(int(request["rate_hz"] / IDLE_HZ), 1) | 1
        self._paused.set()
        realtime = _asks_for_realtime()
        gc.collect()
        gc.disable()
        first = self.market.event + 1
        start_ns = wall_ns() + 20_000_000
        try:
            for index in range(request["count"]):
                due_ns = start_ns + int(index * interval_ns)
                await asyncio.sleep(0)
                rest_s = (due_ns - wall_ns()) / 1e9 - SLEEP_MARGIN_S
                if rest_s > 0:
                    time.sleep(rest_s)
                now_ns = wall_ns()
                while now_ns < due_ns:
                    now_ns = wall_ns()
                await self.publish(self.ports if index % every == 0 else [request["port"]])
                stamps.intended[index], stamps.actual[index] = due_ns, now_ns
        finally:
            gc.enable()
            _release_realtime()
            self._paused.clear()
        return {"first": first, "is_realtime": realtime}


def _dumps(value: Any) -> str:
    return orjson.dumps(value).decode()


def handlers() -> dict[str, Handler]:
    """`listen` once, `run` any number of times."""
    feed = Feed()

    def listen(request: Message) -> Message:
        pin(*request["cpus"])
        ready = threading.Event()
        failed: list[BaseException] = []

        def serve() -> None:
            try:
                feed.loop.run_until_complete(feed.serve(request["ports"], ready))
            except BaseException as error:
                failed.append(error)
                ready.set()

        threading.Thread(target=serve, daemon=True).start()
        assert ready.wait(READY_LIMIT_S), "the feed did not start"
        if failed:
            raise failed[0]
        return {"ports": feed.ports}

    def run(request: Message) -> Message:
        return asyncio.run_coroutine_threadsafe(feed.run(request), feed.loop).result()

    def state(request: Message) -> Message:
        channels = {str(port): [s.channel for s in each] for port, each in feed.streams.items()}
        return {"channels": channels, "event": feed.market.event}

    return {"listen": listen, "run": run, "state": state}
