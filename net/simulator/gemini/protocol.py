"""How the simulated Gemini speaks: marketdata v2, symbol details by REST.

Runs on: the simulator's event loop.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from net.simulator.connection import Connection
from net.simulator.market_data import MarketDataServer, listed, step


class GeminiServer(MarketDataServer):
    """See the module. A subscription is confirmed by its data alone."""

    def rest_routes(self) -> list[web.RouteDef]:
        return [web.get("/v1/symbols/details/{symbol}", self._details)]

    async def keep(self, connection: Connection) -> None:
        await self.beat(connection, '{"type":"heartbeat","timestamp":1624493666869}')

    def received(self, connection: Connection, request: Any) -> None:
        asked = request if isinstance(request, dict) else {}
        for each in asked.get("subscriptions", []):
            for symbol in each.get("symbols", []):
                if asked.get("type") == "unsubscribe":
                    self.unsubscribe(connection, symbol)
                    continue
                error = {"result": "error", "reason": "InvalidSymbol", "message": symbol}
                self.begin(connection, symbol, None, error)

    async def _details(self, request: web.Request) -> web.Response:
        each = self.instrument(request.match_info["symbol"])
        if each is None:
            return listed({"result": "error", "reason": "Bad Request"}, 400)
        return listed(
            {
                "symbol": each.venue_symbol,
                "quote_increment": step(each.price_decimals),
                "tick_size": step(each.qty_text_decimals),
                "status": "open",
            }
        )
