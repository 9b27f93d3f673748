"""A simulated feed that any aggregator can be pointed at: both venues' protocols on one port.

    GET  /api/v3/depth, /api/v3/exchangeInfo, /api/v3/ping    Binance REST
    WS   /ws, /ws/<stream>, /stream?streams=<a>/<b>           Binance: @depth, @depth<N>
    GET  /api/v2/order_book/<pair>/, /api/v2/markets/         Bitstamp REST
    WS   /                                                    Bitstamp: [diff_]order_book_<pair>

One venue's books have numbers (update ids), the other's are stamped with times.
Every symbol has the same market. An event changes every level of one venue: an even k those of the
first, whose best bid gets the amount 1 + k * 1e-8, an odd k those of the second, whose best ask
does. So a summary says itself which events are in it, whoever made it, from whichever channel; and
a diff of a diff channel has the very levels that a partial book has.
Frames are rendered when a stream begins; an event overwrites digits in them before it is due.
Two ports serve the same market. A measured run goes to the streams of one port; the others get a
frame now and then, so that they stay alive; ids join up on each.
Runs on: a worker process of the harness, off the engine's CPU: one thread with an event loop, and
the worker's main thread.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import re
import threading
import time
from collections.abc import Sequence
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
ROWS = 16
"""Frames of a stream that differ in every level: they come round again under new numbers."""
ROW_LOTS = 1000
"""What a level's amount grows by from one row to the next."""
STEP_CENTS = 5
NUMBERED_BID, NUMBERED_ASK = F.MID_CENTS, F.MID_CENTS + 40
STAMPED_BID, STAMPED_ASK = F.MID_CENTS - 40, F.MID_CENTS + 10
MARGIN_S = 60e-6
"""Before an event is due: what preparing it takes, and a spin."""
READY_LIMIT_S = 20.0
PARTIAL = re.compile(r"^(.+)@depth(\d+)?(@\d+ms)?$")

ID_KEYS = (b'"lastUpdateId":', b'"U":', b'"u":')
MICRO_KEY, SECOND_KEY = b'"microtimestamp":"', b'"timestamp":"'
ID_DIGITS, MICRO_DIGITS, SECOND_DIGITS, EVENT_DIGITS = 10, 16, 10, 8


def amount_of(event: int) -> int:
    """The lots that stand for an event."""
    return 10**8 + event


def event_of(amount: float) -> int:
    """The event an amount stands for."""
    return round((amount - 1.0) * 1e8)


def levels(best: int, sign: int, event: int, count: int, is_told: bool) -> list[list[str]]:
    """A side after an event, which its best level tells or not: all amounts differ from before."""
    row = event // 2 % ROWS
    lots = [2 * 10**8 + row * ROW_LOTS + n for n in range(count)]
    if is_told:
        lots[0] = amount_of(event)
    return [[F.price(best + sign * STEP_CENTS * n), F.quantity(lots[n])] for n in range(count)]


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
        event = self.numbered_event
        bids, asks = numbered_sides(event, count)
        return {"lastUpdateId": BASE_ID + event, "bids": bids, "asks": asks}

    def stamped(self) -> dict[str, Any]:
        return stamped_book(self.stamped_event)


Sides = tuple[list[list[str]], list[list[str]]]


@functools.lru_cache(maxsize=2 * ROWS)
def numbered_sides(event: int, count: int = LEVELS) -> Sides:
    """Bids and asks of the venue whose books have numbers; not to be changed."""
    return (
        levels(NUMBERED_BID, -1, event, count, True),
        levels(NUMBERED_ASK, 1, event, count, False),
    )


def stamped_book(event: int) -> dict[str, Any]:
    """The book of the other venue, with its time."""
    micro = BASE_US + event
    bids = levels(STAMPED_BID, -1, event, LEVELS, False)
    asks = levels(STAMPED_ASK, 1, event, LEVELS, True)
    stamp = {"timestamp": str(micro // 1_000_000), "microtimestamp": str(micro)}
    return {**stamp, "bids": bids, "asks": asks}


class Frames:
    """Websocket frames, a row for each set of amounts, whose numbers are overwritten in place."""

    def __init__(self, bodies: Sequence[Any], keys: dict[bytes, int]) -> None:
        """keys: what stands before a number, and its digits."""
        self._rows = [bytearray(F.websocket_frame(orjson.dumps(body))) for body in bodies]
        first = self._rows[0]
        self._places = tuple((first.index(key) + len(key), n) for key, n in keys.items())
        for (at, _), key in zip(self._places, keys, strict=True):
            assert all(row[at - len(key) : at] == key for row in self._rows), key

    def fill(self, event: int, numbers: Sequence[int]) -> bytearray:
        """The event's row with these numbers, in the keys' order; valid for a round."""
        row = self._rows[event // 2 % ROWS]
        for (at, digits), number in zip(self._places, numbers, strict=True):
            row[at : at + digits] = b"%0*d" % (digits, number)
        return row


def touch_key(cents: int) -> bytes:
    """What stands before the digits that tell the event."""
    return f'"{F.price(cents)}","1.'.encode()


class Stream:
    """One subscription of one connection."""

    def __init__(
        self, market: Market, link: web.WebSocketResponse, pipe: asyncio.Transport, channel: str,
        wrap: bool,
    ) -> None:  # fmt: skip
        self.link, self.channel = link, channel
        self.is_numbered = "@" in channel
        self._market, self._pipe = market, pipe
        self._last_id = 0
        events = range(0, 2 * ROWS, 2)
        if self.is_numbered:
            self._frames = self._numbered_frames(events, wrap)
        else:
            self._frames = self._stamped_frames(events)

    def _numbered_frames(self, events: range, wraps: bool) -> Frames:
        match = PARTIAL.match(self.channel)
        depth = min(int(match[2]), LEVELS) if match and match[2] else 0
        symbol = self.channel.partition("@")[0].upper()
        bodies: list[dict[str, Any]] = []
        for event in events:
            bids, asks = numbered_sides(event, depth or LEVELS)
            if depth:
                bodies.append({"lastUpdateId": BASE_ID, "bids": bids, "asks": asks})
            else:
                bodies.append({
                    "e": "depthUpdate", "E": BASE_US // 1000, "s": symbol,
                    "U": BASE_ID, "u": BASE_ID, "b": bids, "a": asks,
                })  # fmt: skip
        self._is_diff = not depth
        ids = ID_KEYS[1:] if self._is_diff else ID_KEYS[:1]
        keys = {**dict.fromkeys(ids, ID_DIGITS), touch_key(NUMBERED_BID): EVENT_DIGITS}
        wrapped = [{"stream": self.channel, "data": body} if wraps else body for body in bodies]
        return Frames(wrapped, keys)

    def _stamped_frames(self, events: range) -> Frames:
        bodies = [
            {"data": stamped_book(event + 1), "channel": self.channel, "event": "data"}
            for event in events
        ]
        keys = {SECOND_KEY: SECOND_DIGITS, MICRO_KEY: MICRO_DIGITS}
        return Frames(bodies, {**keys, touch_key(STAMPED_ASK): EVENT_DIGITS})

    def frame(self) -> bytearray:
        """The newest event as this channel tells it."""
        market = self._market
        if not self.is_numbered:
            event = market.stamped_event
            micro = BASE_US + event
            return self._frames.fill(event, (micro // 1_000_000, micro, event))
        event = market.numbered_event
        last = BASE_ID + event
        if not self._is_diff:
            return self._frames.fill(event, (last, event))
        first, self._last_id = (self._last_id or last - 1) + 1, last
        return self._frames.fill(event, (first, last, event))

    def send(self, frame: bytearray) -> None:
        """At once, past the library's own writer: nothing of it is inside the measured time."""
        if not self._pipe.is_closing():
            self._pipe.write(frame)


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
                for stream, frame in self.prepare(self.ports):
                    stream.send(frame)

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
        pipe = request.transport
        assert isinstance(pipe, asyncio.Transport)
        mine = self.streams[pipe.get_extra_info("sockname")[1]]
        wraps = request.path.startswith("/stream")
        names = request.query.get("streams", "") if wraps else request.path.removeprefix("/ws")
        for name in filter(None, names.strip("/").split("/")):
            mine.append(Stream(self.market, link, pipe, name, wraps))
        try:
            async for message in link:
                if message.type is WSMsgType.TEXT:
                    told = orjson.loads(message.data)
                    for channel in await self._subscribed(link, told):
                        mine.append(Stream(self.market, link, pipe, channel, wraps))
        finally:
            mine[:] = [stream for stream in mine if stream.link is not link]
        return link

    async def _subscribed(self, link: web.WebSocketResponse, body: Any) -> list[str]:
        """Answer a subscription of either venue, and no other text; the channels."""
        if body.get("event") == "bts:subscribe":
            channel = str(body["data"]["channel"])
            answer = {"event": "bts:subscription_succeeded", "channel": channel, "data": {}}
            await link.send_str(_dumps(answer))
            return [channel]
        if body.get("method") == "SUBSCRIBE":
            await link.send_str(_dumps({"result": None, "id": body.get("id")}))
            return [str(each) for each in body["params"]]
        return []

    # --- events ----------------------------------------------------------------------------------

    def prepare(self, ports: list[int]) -> list[tuple[Stream, bytearray]]:
        """The next event: what is to be sent to the streams of these ports."""
        self.market.step()
        is_numbered = self.market.event % 2 == 0
        return [
            (stream, stream.frame())
            for port in ports
            for stream in self.streams[port]
            if stream.is_numbered == is_numbered
        ]

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
                # Behind a send the CPU, which they may share, is left to server and client at once.
                rest_s = (due_ns - wall_ns()) / 1e9 - MARGIN_S
                if rest_s > 0:
                    time.sleep(rest_s)
                await asyncio.sleep(0)
                outgoing = self.prepare(self.ports if index % every == 0 else [request["port"]])
                now_ns = wall_ns()
                while now_ns < due_ns:
                    now_ns = wall_ns()
                for stream, frame in outgoing:
                    stream.send(frame)
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
