"""The server of a venue of market data alone: subscriptions by message, metadata by REST.

Each venue's protocol.py says how a request is read and answered. Where whole books come in the
stream, one follows the confirmation of each subscription, or goes before it ("late-ack").
Runs on: the simulator's event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import abstractmethod
from typing import Any

import orjson
from aiohttp import web

from net.simulator.connection import SUBSCRIBE, Connection
from net.simulator.diffs import DiffPublisher, trades_channel
from net.simulator.options import VenueInstrument
from net.simulator.plain_book import PlainBook
from net.simulator.server import VenueServer, json_response
from net.simulator.source import Message
from net.simulator.synthetic import SyntheticFeed

HEARTBEAT_S = 1.0


class MarketDataServer(VenueServer):
    """See the module."""

    socket_path = "/"

    def routes(self) -> list[web.RouteDef]:
        return [web.get(self.socket_path, self.serve_websocket), *self.rest_routes()]

    @abstractmethod
    def rest_routes(self) -> list[web.RouteDef]:
        """Metadata, and whole books where they come by REST."""

    def market(self, symbol: str) -> DiffPublisher:
        assert isinstance(self.feed, SyntheticFeed)
        found = self.feed.publisher(symbol)
        assert isinstance(found, DiffPublisher)
        return found

    def instrument(self, symbol: str) -> VenueInstrument | None:
        return self.feed.instruments.get(symbol)

    # -- the stream ----------------------------------------------------------------------------

    def frame_text(self, connection: Connection, message: Message) -> str:
        return message.text

    def notice_text(self, connection: Connection) -> str:
        return ""

    async def receive_text(self, connection: Connection, data: str) -> None:
        try:
            request = orjson.loads(data)
        except orjson.JSONDecodeError:
            request = data
        self.received(connection, request)

    @abstractmethod
    def received(self, connection: Connection, request: Any) -> None:
        """A client's message, decoded; a text that is no JSON as it is."""

    def tell(self, connection: Connection, value: object) -> None:
        """Send a message that is no book."""
        connection.send(orjson.dumps(value).decode())

    def begin(self, connection: Connection, symbol: str, done: object, refused: object) -> None:
        """Confirm a subscription and send the whole book, or refuse it."""
        spoiled = self._interceptor.spoils(self.venue.name, SUBSCRIBE)
        fault = spoiled[0] if spoiled else ""
        if symbol not in self.feed.instruments or fault == "refused-subscription":
            self.tell(connection, refused)
            return
        self.unsubscribe(connection, symbol)
        self.subscribe(connection, symbol)
        whole = self.market(symbol).whole()
        if whole and fault == "late-ack":
            connection.send(self.frame_text(connection, Message(symbol, whole)))
        if done is not None:
            self.tell(connection, done)
        if whole and fault != "late-ack":
            connection.send(self.frame_text(connection, Message(symbol, whole)))

    def begin_trades(
        self, connection: Connection, symbol: str, done: object, refused: object
    ) -> None:
        """Confirm a subscription of trades, or refuse it."""
        is_known = symbol in self.feed.instruments
        if is_known:
            self.subscribe(connection, trades_channel(symbol))
        self.tell(connection, done if is_known else refused)

    async def beat(self, connection: Connection, text: str) -> None:
        """Send a message again and again, until the client is gone."""
        with contextlib.suppress(ConnectionError):
            while True:
                await asyncio.sleep(HEARTBEAT_S)
                connection.send(text)

    # -- REST ----------------------------------------------------------------------------------

    def snapshot_text(self, symbol: str, book: PlainBook, request: web.Request) -> str:
        raise AssertionError(f"{self.venue.name} has no REST books")

    async def rest_book(self, request: web.Request, symbol: str) -> web.Response:
        """The answer to a question for a whole book."""
        book = self.feed.book(symbol) if symbol in self.feed.instruments else None
        if book is None:
            return json_response({"error": "no such market"}, 404)
        return web.Response(
            text=self.snapshot_text(symbol, book, request), content_type="application/json"
        )


def listed(value: object, status: int = 200) -> web.Response:
    """A REST answer."""
    return json_response(value, status)


def step(decimals: int) -> str:
    """0.01 for two decimals."""
    return f"{1 / 10**decimals:.{decimals}f}"
