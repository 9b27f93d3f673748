"""How the simulated Coinbase speaks: Advanced Trade's WebSocket, products by REST.

Every frame of a connection is numbered, whatever it is.
Runs on: the simulator's event loop.
"""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from aiohttp import web

from net.simulator.coinbase.publisher import NUMBER, stamp
from net.simulator.connection import SUBSCRIBE, Connection
from net.simulator.diffs import trades_channel
from net.simulator.market_data import HEARTBEAT_S, MarketDataServer, listed, step
from net.simulator.source import Message


class CoinbaseServer(MarketDataServer):
    """See the module."""

    def rest_routes(self) -> list[web.RouteDef]:
        return [web.get("/api/v3/brokerage/market/products/{product}", self._product)]

    def opened(self, connection: Connection, request: web.Request) -> None:
        self._numbers[connection.connection_id] = 0

    @property
    def _numbers(self) -> dict[int, int]:
        """The next number of each connection."""
        found: dict[int, int] = self.__dict__.setdefault("_next_numbers", {})
        return found

    def closed(self, connection: Connection) -> None:
        self._numbers.pop(connection.connection_id, None)

    def frame_text(self, connection: Connection, message: Message) -> str:
        number = self._numbers[connection.connection_id]
        self._numbers[connection.connection_id] += 1
        return message.text.replace(NUMBER, str(number), 1)

    async def keep(self, connection: Connection) -> None:
        counter = 0
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            if "heartbeats" in connection.channels:
                counter += 1
                now = stamp(self._clock.now_ns())
                events = f'[{{"current_time":"{now}","heartbeat_counter":{counter}}}]'
                self._send(connection, "heartbeats", events)

    def _send(self, connection: Connection, channel: str, events: str) -> None:
        text = (
            f'{{"channel":"{channel}","timestamp":"{stamp(self._clock.now_ns())}",'
            f'"sequence_num":{NUMBER},"events":{events}}}'
        )
        connection.send(self.frame_text(connection, Message(channel, text)))

    def received(self, connection: Connection, request: Any) -> None:
        asked = request if isinstance(request, dict) else {}
        kind, channel = asked.get("type"), asked.get("channel")
        if kind != "subscribe":
            return
        products = asked.get("product_ids", [])
        spoiled = self._interceptor.spoils(self.venue.name, SUBSCRIBE)
        is_refused = spoiled is not None and spoiled[0] == "refused-subscription"
        if is_refused or any(each not in self.feed.instruments for each in products):
            self.tell(connection, {"type": "error", "message": "Failed to subscribe"})
            return
        if channel == "heartbeats":
            self.subscribe(connection, "heartbeats")
        if channel == "market_trades":
            self._begin_trades(connection, products)
            products = []
        for product in products:
            self.subscribe(connection, product)
            whole = Message(product, self.market(product).whole())
            connection.send(self.frame_text(connection, whole))
        self._tell_subscriptions(connection)

    def _begin_trades(self, connection: Connection, products: list[str]) -> None:
        """The first event of each has past trades: here none."""
        for product in products:
            self.subscribe(connection, trades_channel(product))
            self._send(connection, "market_trades", '[{"type":"snapshot","trades":[]}]')

    def _tell_subscriptions(self, connection: Connection) -> None:
        known = self.feed.instruments
        trades = [each for each in known if trades_channel(each) in connection.channels]
        listed_ = {
            "level2": [each for each in connection.channels if each in known],
            "market_trades": trades,
            "heartbeats": [each for each in connection.channels if each == "heartbeats"],
        }
        named = {name: each for name, each in listed_.items() if each or name == "level2"}
        text = orjson.dumps([{"subscriptions": named}]).decode()
        self._send(connection, "subscriptions", text)

    async def _product(self, request: web.Request) -> web.Response:
        each = self.instrument(request.match_info["product"])
        if each is None:
            return listed({"error": "NOT_FOUND", "message": "valid product_id is required"}, 404)
        return listed(
            {
                "product_id": each.venue_symbol,
                "price_increment": step(each.price_decimals),
                "base_increment": step(each.qty_text_decimals),
                "status": "online",
                "trading_disabled": False,
            }
        )
