"""How the simulated Bybit speaks: the public WebSocket, instruments by REST.

Runs on: the simulator's event loop.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from net.simulator.bybit.publisher import DEPTH
from net.simulator.connection import Connection
from net.simulator.market_data import MarketDataServer, listed, step

TOPIC = f"orderbook.{DEPTH}."
TRADES_TOPIC = "publicTrade."


class BybitServer(MarketDataServer):
    """See the module."""

    def rest_routes(self) -> list[web.RouteDef]:
        return [web.get("/v5/market/instruments-info", self._instruments)]

    def received(self, connection: Connection, request: Any) -> None:
        asked = request if isinstance(request, dict) else {}
        op, head = asked.get("op"), {"conn_id": "a38867ec", "req_id": asked.get("req_id", "")}
        if op == "ping":
            self.tell(connection, {"success": True, "ret_msg": "pong", **head, "op": "ping"})
            return
        done = {"success": True, "ret_msg": "", **head, "op": op}
        for topic in asked.get("args", []):
            symbol = str(topic).removeprefix(TOPIC)
            if op == "unsubscribe":
                self.unsubscribe(connection, symbol)
                self.tell(connection, done)
            elif op == "subscribe":
                text = f"error:handler not found,topic:{topic}"
                refused = {"success": False, "ret_msg": text, **head, "op": op}
                if symbol.startswith(TRADES_TOPIC):
                    market = symbol.removeprefix(TRADES_TOPIC)
                    self.begin_trades(connection, market, done, refused)
                else:
                    self.begin(connection, symbol, done, refused)

    async def _instruments(self, request: web.Request) -> web.Response:
        each = self.instrument(request.query.get("symbol", ""))
        if each is None:
            return listed({"retCode": 10001, "retMsg": "params error: symbol invalid"})
        entry = {
            "symbol": each.venue_symbol,
            "status": "Trading",
            "priceFilter": {"tickSize": step(each.price_decimals)},
            "lotSizeFilter": {"basePrecision": step(each.qty_text_decimals)},
        }
        result = {"category": request.query.get("category"), "list": [entry]}
        return listed({"retCode": 0, "retMsg": "OK", "result": result})
