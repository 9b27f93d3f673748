"""How the simulated Gate speaks: the v4 WebSocket, books and pairs by REST.

Runs on: the simulator's event loop.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from net.simulator.connection import Connection
from net.simulator.diffs import rows
from net.simulator.market_data import MarketDataServer, listed
from net.simulator.plain_book import PlainBook

CHANNEL = "spot.order_book_update"


class GateServer(MarketDataServer):
    """See the module."""

    def rest_routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/v4/spot/order_book", self._book),
            web.get("/api/v4/spot/currency_pairs/{pair}", self._pair),
        ]

    def received(self, connection: Connection, request: Any) -> None:
        asked = request if isinstance(request, dict) else {}
        channel, event = asked.get("channel"), asked.get("event")
        if channel == "spot.ping":
            self.tell(connection, {"time": 0, "channel": "spot.pong", "event": "", "result": None})
            return
        head = {"time": 0, "channel": channel, "event": event}
        symbol = (asked.get("payload") or [""])[0]
        if event == "unsubscribe":
            self.unsubscribe(connection, symbol)
        elif channel == CHANNEL and event == "subscribe":
            error = {"code": 2, "message": f"unknown currency pair: {symbol}"}
            done = {**head, "result": {"status": "success"}}
            self.begin(connection, symbol, done, {**head, "error": error, "result": None})

    async def _book(self, request: web.Request) -> web.Response:
        return await self.rest_book(request, request.query.get("currency_pair", ""))

    def snapshot_text(self, symbol: str, book: PlainBook, request: web.Request) -> str:
        text, limit = self.text[symbol], int(request.query.get("limit", "10"))
        time_ms = self._clock.now_ns() // 1_000_000
        return (
            f'{{"id":{book.version},"current":{time_ms},"update":{time_ms},'
            f'"asks":{rows(text, book.sorted_asks(limit), strips=True)},'
            f'"bids":{rows(text, book.sorted_bids(limit), strips=True)}}}'
        )

    async def _pair(self, request: web.Request) -> web.Response:
        each = self.instrument(request.match_info["pair"])
        if each is None:
            return listed({"label": "INVALID_CURRENCY_PAIR", "message": "unknown pair"}, 400)
        return listed(
            {
                "id": each.venue_symbol,
                "precision": each.price_decimals,
                "amount_precision": each.qty_text_decimals,
                "trade_status": "tradable",
            }
        )
