"""The server one venue runs: HTTP and websocket on one port, the pump, and the control endpoints.

Invariants: a paused venue sends nothing but answers; after `pause` every pending change has been
sent, so REST and a book built from the stream agree. Each venue's protocol.py adds its protocol;
venues.py starts and stops the servers.

Control endpoints, for tests, on each venue's port:
    POST /simulator/pause            flush what is pending, then freeze the market
    POST /simulator/resume           go on (a synthetic market skips the pause, a tape continues)
    POST /simulator/drop             reset (RST) every websocket connection
    POST /simulator/close?code=1001  closing handshake with every websocket client
    POST /simulator/notice           announce a shutdown, in the venue's words
    POST /simulator/refuse?seconds=N answer 503 to everything else for N seconds
    POST /simulator/fault?order=...  inflict a fault (faults.py has the grammar); repeatable
    POST /simulator/calm             end every fault
    POST /simulator/deposit?asset=BTC&amount=1.5  into the customer's account; below zero: out of
        it; &fee=0.001&state=pending, or failed; &listed=no: not in the venue's history
    GET  /simulator/stats            connections, requests by path, frames, weight, true best prices
Runs on: the simulator's event loop.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Coroutine

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler

from net.process.host_header import is_own_host, is_own_origin
from net.simulator import answers
from net.simulator.clock import SimulatorClock, monotonic_s
from net.simulator.connection import CLOSE_WAIT_S, Connection, Interceptor
from net.simulator.options import (
    InstrumentText,
    SimulatorError,
    SimulatorFailedError,
    SimulatorOptions,
)
from net.simulator.orders.accounts import COMPLETE, TRANSFER_STATES, Account
from net.simulator.orders.amounts import read_lots
from net.simulator.plain_book import PlainBook
from net.simulator.source import Feed, Message
from net.simulator.venue import SimulatedVenue

POLL_INTERVAL_S = 0.004  # well below the 100 ms frames; bookTicker is that much late at most
CLIENT_FRAME_BYTES_MAX = 65_536  # no control message of either protocol comes near
SETTLE_S_MAX = 1.0  # how long `pause` waits for clients to take the last frames
CHANNELS_MAX = 1024  # per connection, on every venue
STOP_S_MAX = 2.0
REFUSE_S_MAX = 3600.0


def json_response(
    value: object, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    """Compact JSON, keys in the order given."""
    return web.Response(
        body=orjson.dumps(value), status=status, headers=headers, content_type="application/json"
    )


class VenueServer(ABC):
    """What all venues have in common."""

    compress = False

    def __init__(
        self,
        venue: SimulatedVenue,
        feed: Feed,
        clock: SimulatorClock,
        options: SimulatorOptions,
        interceptor: Interceptor,
    ) -> None:
        self.venue = venue
        self.feed = feed
        self.text = {name: InstrumentText(each) for name, each in feed.instruments.items()}
        self.port = 0
        self.paused = False
        self._clock = clock
        self._options = options
        self._interceptor = interceptor
        self._connections: dict[int, Connection] = {}
        self._by_channel: dict[str, dict[int, Connection]] = {}
        self._requests: Counter[str] = Counter()
        self._connections_total = 0
        self._slow_total = 0
        self._frames_closed = 0
        self._client_messages = 0
        self._closed_by_client = 0
        self._refuse_until_s = 0.0
        self._runner: web.AppRunner | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.pump: asyncio.Task[None] | None = None

    # -- life ----------------------------------------------------------------------------------

    async def start(self, port: int, ssl_context: ssl.SSLContext | None) -> None:
        """Listen on `port` (0: a free one) and start the market."""
        host = self._options.host
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
        except OSError as error:
            sock.close()
            message = f"cannot listen on {host} port {port} for {self.venue.name}: {error.strerror}"
            raise SimulatorFailedError(message) from None
        self.port = sock.getsockname()[1]
        application = web.Application(middlewares=[self._middleware])
        application[answers.FEED] = self.feed
        application[answers.VENUE] = self.venue
        application[answers.SNAPSHOT_TEXT] = self.snapshot_text
        control = "/simulator/"
        application.add_routes(
            [
                web.post(control + "pause", self._pause),
                web.post(control + "resume", self._resume),
                web.post(control + "drop", self._drop),
                web.post(control + "close", self._close),
                web.post(control + "notice", self._notice),
                web.post(control + "refuse", self._refuse),
                web.post(control + "fault", self._fault),
                web.post(control + "calm", self._calm),
                web.post(control + "deposit", self._deposit),
                web.get(control + "stats", self._stats),
                *self.routes(),
            ]
        )
        self._runner = web.AppRunner(
            application, access_log=None, shutdown_timeout=STOP_S_MAX, handler_cancellation=True
        )
        await self._runner.setup()
        await web.SockSite(self._runner, sock, ssl_context=ssl_context).start()
        self.pump = asyncio.create_task(self._pump(), name=f"{self.venue.name} pump")

    async def stop(self) -> None:
        """Close every connection and stop listening."""
        if self.pump is not None:
            self.pump.cancel()
            await asyncio.gather(self.pump, return_exceptions=True)
        for connection in list(self._connections.values()):
            connection.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()

    @abstractmethod
    def routes(self) -> list[web.RouteDef]:
        """The protocol's own routes."""

    @abstractmethod
    def notice_text(self, connection: Connection) -> str:
        """The announcement of a shutdown, as this connection gets it."""

    @abstractmethod
    def snapshot_text(self, symbol: str, book: PlainBook, request: web.Request) -> str:
        """A whole book as the REST request is answered."""

    @abstractmethod
    def frame_text(self, connection: Connection, message: Message) -> str:
        """A message as this connection gets it."""

    @abstractmethod
    async def receive_text(self, connection: Connection, data: str) -> None:
        """A text frame from a client."""

    # -- sending -------------------------------------------------------------------------------

    async def _pump(self) -> None:
        while True:
            messages = [] if self.paused else self.feed.poll(self._clock.now_ns())
            self.publish(messages)
            if self.feed.exhausted and self._options.close_at_tape_end:
                for connection in self._connections.values():
                    self._spawn(connection.close(1000))
                return
            if self.feed.paced or not messages:
                await asyncio.sleep(POLL_INTERVAL_S)
                continue
            await asyncio.sleep(0)
            while any(connection.backlogged for connection in self._connections.values()):
                await asyncio.sleep(POLL_INTERVAL_S)

    def publish(self, messages: list[Message]) -> None:
        """Queue messages for their subscribers."""
        for message in messages:
            for connection in self._by_channel.get(message.channel, {}).values():
                connection.send(self.frame_text(connection, message))

    def subscribe(self, connection: Connection, channel: str) -> bool:
        """False when the connection has too many channels."""
        if channel in connection.channels:
            return True
        if len(connection.channels) >= CHANNELS_MAX:
            return False
        connection.channels[channel] = None
        self._by_channel.setdefault(channel, {})[connection.connection_id] = connection
        self.feed.subscribed(channel)
        return True

    def unsubscribe(self, connection: Connection, channel: str) -> None:
        """Unknown channels are fine."""
        if channel not in connection.channels:
            return
        del connection.channels[channel]
        subscribers = self._by_channel[channel]
        del subscribers[connection.connection_id]
        if not subscribers:
            del self._by_channel[channel]
        self.feed.unsubscribed(channel)

    # -- websocket clients ---------------------------------------------------------------------

    async def serve_websocket(self, request: web.Request) -> web.StreamResponse:
        """One client from handshake to the end."""
        websocket = web.WebSocketResponse(
            autoping=False,
            compress=self.compress,
            timeout=CLOSE_WAIT_S,
            max_msg_size=CLIENT_FRAME_BYTES_MAX,
        )
        if not websocket.can_prepare(request):
            return web.Response(status=400, text="Bad Request")
        await websocket.prepare(request)
        self._connections_total += 1
        connection = Connection(
            self.venue.name,
            self._connections_total,
            request,
            websocket=websocket,
            options=self._options,
            interceptor=self._interceptor,
            notice_text=self.notice_text,
        )
        self._connections[connection.connection_id] = connection
        writer = self._spawn(connection.write())
        keeper = self._spawn(self.keep(connection))
        try:
            self.opened(connection, request)
            await self._read(connection)
        finally:
            writer.cancel()
            keeper.cancel()
            self.closed(connection)
            for channel in list(connection.channels):
                self.unsubscribe(connection, channel)
            del self._connections[connection.connection_id]
            self._frames_closed += connection.frames_sent
            self._slow_total += connection.too_slow
        return websocket

    def opened(self, connection: Connection, request: web.Request) -> None:  # noqa: B027
        """A client is connected (optional)."""

    def closed(self, connection: Connection) -> None:  # noqa: B027
        """A client is gone (optional)."""

    async def keep(self, connection: Connection) -> None:  # noqa: B027
        """Pings and lifetime, where the venue has them (optional)."""

    def counted(self, connection: Connection) -> bool:
        """Count one frame from the client; False when it sends too many."""
        self._client_messages += 1
        return True

    async def _read(self, connection: Connection) -> None:
        websocket = connection.websocket
        while True:
            message = await websocket.receive()
            kind = message.type
            if kind not in (
                web.WSMsgType.TEXT,
                web.WSMsgType.BINARY,
                web.WSMsgType.PING,
                web.WSMsgType.PONG,
            ):
                self._closed_by_client += kind == web.WSMsgType.CLOSE
                return
            if not self.counted(connection):
                await connection.websocket.close(code=1008, message=b"Too many requests")
                return
            if connection.is_silenced:
                continue
            try:
                if kind == web.WSMsgType.TEXT:
                    await self.receive_text(connection, message.data)
                elif kind == web.WSMsgType.BINARY:
                    await self.receive_text(connection, message.data.decode("utf-8", "replace"))
                elif kind == web.WSMsgType.PING:
                    await websocket.pong(message.data)
                else:
                    self._pong(connection, bytes(message.data))
            except ConnectionError:
                return

    def _pong(self, connection: Connection, payload: bytes) -> None:
        """A pong answers its ping and all before it; an unsolicited one answers nothing."""
        if connection.is_deaf or payload not in connection.unanswered_pings:
            return
        for known in list(connection.unanswered_pings):
            del connection.unanswered_pings[known]
            if known == payload:
                return

    # -- HTTP ----------------------------------------------------------------------------------

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith("/simulator/"):
            if not self._is_control_ours(request):
                return web.Response(status=403, text="not from another site's page\n")
            return await handler(request)
        resource = request.match_info.route.resource
        self._requests[resource.canonical if resource is not None else "unknown"] += 1
        left_s = self._refuse_until_s - monotonic_s()
        if left_s > 0:
            return web.Response(status=503, text="Service Unavailable")
        response = await handler(request)
        if isinstance(response, web.Response):
            return await self._interceptor.response(request, response)
        return response

    def _is_control_ours(self, request: web.Request) -> bool:
        """Whether no stranger's page in a browser sends this (net.process.host_header)."""
        transport = request.transport
        own = [self._options.host]
        if transport is not None:
            own.append(transport.get_extra_info("sockname")[0])
        origin = request.headers.get("Origin", "")
        return is_own_host(request.headers.get("Host", ""), own) and (
            not origin or is_own_origin(origin, own)
        )

    async def _pause(self, request: web.Request) -> web.Response:
        if not self.paused:
            self.publish(self.feed.pause(self._clock.now_ns()))
            self.paused = True
        give_up_s = monotonic_s() + SETTLE_S_MAX
        while monotonic_s() < give_up_s:
            if all(connection.idle for connection in self._connections.values()):
                break
            await asyncio.sleep(POLL_INTERVAL_S)
        return json_response({"paused": True})

    async def _resume(self, request: web.Request) -> web.Response:
        if self.paused:
            self.feed.resume(self._clock.now_ns())
            self.paused = False
        return json_response({"paused": False})

    async def _drop(self, request: web.Request) -> web.Response:
        dropped = list(self._connections.values())
        for connection in dropped:
            connection.abort()
        return json_response({"dropped": len(dropped)})

    async def _close(self, request: web.Request) -> web.Response:
        text = request.query.get("code", "1001")
        if text not in ("1000", "1001"):
            return json_response({"error": f"code {text!r} is not 1000 or 1001"}, 400)
        closed = list(self._connections.values())
        for connection in closed:
            self._spawn(connection.close(int(text)))
        return json_response({"closed": len(closed)})

    async def _notice(self, request: web.Request) -> web.Response:
        for connection in self._connections.values():
            connection.send(self.notice_text(connection))
        return json_response({"noticed": len(self._connections)})

    async def _refuse(self, request: web.Request) -> web.Response:
        text = request.query.get("seconds", "")
        try:
            seconds = float(text)
        except ValueError:
            seconds = -1.0
        if not 0 <= seconds <= REFUSE_S_MAX:
            return json_response({"error": f"seconds {text!r} is not in 0..{REFUSE_S_MAX}"}, 400)
        self._refuse_until_s = monotonic_s() + seconds
        return json_response({"refusing_s": seconds})

    async def _fault(self, request: web.Request) -> web.Response:
        texts = request.query.getall("order", [])
        try:
            self._interceptor.inflict(texts)
        except SimulatorError as error:
            return json_response({"error": str(error)}, 400)
        return json_response({"armed": texts})

    async def _calm(self, request: web.Request) -> web.Response:
        self._interceptor.calm()
        return json_response({"armed": []})

    async def _deposit(self, request: web.Request) -> web.Response:
        asset, amount = (request.query.get(name, "") for name in ("asset", "amount"))
        if self.account is None:
            return json_response({"error": "this venue has no account: it does not trade"}, 400)
        state = request.query.get("state", COMPLETE)
        if state not in TRANSFER_STATES:
            return json_response({"error": f"state {state!r}: one of {TRANSFER_STATES}"}, 400)
        try:
            lots = read_lots(amount.removeprefix("-")) * (-1 if amount.startswith("-") else 1)
            fee_lots = read_lots(request.query.get("fee", "0"))
        except ValueError as error:
            return json_response({"error": str(error)}, 400)
        if self.account.balance(asset).free_lots + lots - fee_lots < 0:
            return json_response({"error": f"{amount} {asset} is more than is free"}, 400)
        is_listed = request.query.get("listed") != "no"
        now_ns = self._clock.now_ns()
        self.account.deposit(
            asset, lots, now_ns, fee_lots=fee_lots, state=state, is_listed=is_listed
        )
        return json_response({"asset": asset, "free_lots": self.account.balance(asset).free_lots})

    @property
    def account(self) -> Account | None:
        """The customer's, where the venue takes orders."""
        return None

    async def _stats(self, request: web.Request) -> web.Response:
        return json_response(self.stats())

    def stats(self) -> dict[str, object]:
        """What `/simulator/stats` answers."""
        live = self._connections.values()
        return {
            "venue": self.venue.name,
            "paused": self.paused,
            "exhausted": self.feed.exhausted,
            "connections": len(live),
            "connections_total": self._connections_total,
            "slow_clients_total": self._slow_total,
            "frames_sent": self._frames_closed + sum(c.frames_sent for c in live),
            "client_messages": self._client_messages,
            "closed_by_client": self._closed_by_client,
            "channels": {name: len(users) for name, users in self._by_channel.items()},
            "requests": dict(self._requests),
            "faults": self._interceptor.strikes(self.venue.name),
            "books": {symbol: self._top(symbol) for symbol in self.feed.instruments},
        }

    def _top(self, symbol: str) -> dict[str, object] | None:
        book = self.feed.book(symbol)
        if book is None:
            return None
        text = self.text[symbol]
        best = [
            None if level is None else [text.price(level[0]), text.qty(level[1])]
            for level in book.best()
        ]
        return {
            "version": book.version,
            "bid": best[0],
            "ask": best[1],
            "bid_levels": len(book.bids),
            "ask_levels": len(book.asks),
        }

    def _spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
