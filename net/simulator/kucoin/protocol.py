"""How the simulated KuCoin speaks: a token, the classic WebSocket, books and symbols by REST.

Runs on: the simulator's event loop.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from net.simulator.connection import Connection
from net.simulator.market_data import MarketDataServer, listed, step
from net.simulator.plain_book import PlainBook

TOPIC = "/market/level2:"
TOKEN = "simulated+token=="
DEPTH = 100


class KucoinServer(MarketDataServer):
    """See the module."""

    def rest_routes(self) -> list[web.RouteDef]:
        return [
            web.post("/api/v1/bullet-public", self._token),
            web.get("/api/v1/market/orderbook/level2_100", self._book),
            web.get("/api/v2/symbols/{symbol}", self._symbol),
        ]

    async def serve_websocket(self, request: web.Request) -> web.StreamResponse:
        if request.query.get("token") != TOKEN:
            return web.Response(status=401, text="token is invalid")
        return await super().serve_websocket(request)

    def opened(self, connection: Connection, request: web.Request) -> None:
        self.tell(connection, {"id": "NSkIrWGB1s", "type": "welcome"})

    def received(self, connection: Connection, request: Any) -> None:
        asked = request if isinstance(request, dict) else {}
        kind, number = asked.get("type"), asked.get("id", "")
        if kind == "ping":
            self.tell(connection, {"id": number, "type": "pong"})
            return
        symbol = str(asked.get("topic", "")).removeprefix(TOPIC)
        if kind == "unsubscribe":
            self.unsubscribe(connection, symbol)
            self.tell(connection, {"id": number, "type": "ack"})
        elif kind == "subscribe":
            error = {"id": number, "type": "error", "code": 404, "data": f"topic {symbol}"}
            self.begin(connection, symbol, {"id": number, "type": "ack"}, error)

    async def _token(self, request: web.Request) -> web.Response:
        servers = [{"endpoint": "wss://elsewhere.invalid/", "pingInterval": 18_000}]
        return listed({"code": "200000", "data": {"token": TOKEN, "instanceServers": servers}})

    async def _book(self, request: web.Request) -> web.Response:
        return await self.rest_book(request, request.query.get("symbol", ""))

    def snapshot_text(self, symbol: str, book: PlainBook, request: web.Request) -> str:
        text, time_ms = self.text[symbol], self._clock.now_ns() // 1_000_000
        return (
            f'{{"code":"200000","data":{{"time":{time_ms},"sequence":"{book.version}",'
            f'"bids":{text.levels(book.sorted_bids(DEPTH))},'
            f'"asks":{text.levels(book.sorted_asks(DEPTH))}}}}}'
        )

    async def _symbol(self, request: web.Request) -> web.Response:
        each = self.instrument(request.match_info["symbol"])
        if each is None:
            return listed({"code": "900001", "msg": "symbol not exists"})
        entry = {
            "symbol": each.venue_symbol,
            "priceIncrement": step(each.price_decimals),
            "baseIncrement": step(each.qty_text_decimals),
            "enableTrading": True,
        }
        return listed({"code": "200000", "data": entry})
