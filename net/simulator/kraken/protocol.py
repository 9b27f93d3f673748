"""How the simulated Kraken speaks: WebSocket v2 at /v2, and the list of pairs.

Runs on: the simulator's event loop.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from net.simulator.connection import Connection
from net.simulator.market_data import MarketDataServer, listed, step

REST_NAMES = {"BTC": "XBT", "DOGE": "XDG"}


def rest_name(symbol: str) -> str:
    return "/".join(REST_NAMES.get(asset, asset) for asset in symbol.split("/"))


def _status(system: str) -> dict[str, object]:
    state = {"version": "2.0.10", "system": system, "api_version": "v2", "connection_id": 1}
    return {"channel": "status", "type": "update", "data": [state]}


class KrakenServer(MarketDataServer):
    """See the module."""

    def rest_routes(self) -> list[web.RouteDef]:
        return [web.get("/0/public/AssetPairs", self._pairs)]

    def opened(self, connection: Connection, request: web.Request) -> None:
        self.tell(connection, _status("online"))

    async def keep(self, connection: Connection) -> None:
        await self.beat(connection, '{"channel":"heartbeat"}')

    def notice_text(self, connection: Connection) -> str:
        return (
            '{"channel":"status","type":"update","data":[{"version":"2.0.10",'
            '"system":"maintenance","api_version":"v2","connection_id":1}]}'
        )

    def received(self, connection: Connection, request: Any) -> None:
        method = request.get("method") if isinstance(request, dict) else None
        if method == "ping":
            self.tell(connection, {"method": "pong", "time_in": "", "time_out": ""})
            return
        params = request.get("params", {}) if isinstance(request, dict) else {}
        for symbol in params.get("symbol", []):
            if method == "unsubscribe":
                self.unsubscribe(connection, symbol)
                result = {"channel": "book", "depth": 10, "symbol": symbol}
                self.tell(connection, {"method": method, "result": result, "success": True})
            elif method == "subscribe":
                result = {"channel": "book", "depth": 10, "snapshot": True, "symbol": symbol}
                done = {"method": method, "result": result, "success": True}
                error = f"Currency pair not supported {symbol}"
                refused = {"error": error, "method": method, "success": False, "symbol": symbol}
                if params.get("channel") == "trade":
                    result = {"channel": "trade", "snapshot": False, "symbol": symbol}
                    done = {"method": method, "result": result, "success": True}
                    self.begin_trades(connection, symbol, done, refused)
                    continue
                self.begin(connection, symbol, done, refused)

    async def _pairs(self, request: web.Request) -> web.Response:
        wanted = request.query.get("pair", "")
        for symbol, each in self.feed.instruments.items():
            name = rest_name(symbol)
            if name.replace("/", "") == wanted:
                entry = {
                    "altname": wanted,
                    "wsname": name,
                    "pair_decimals": each.price_decimals,
                    "lot_decimals": each.qty_text_decimals,
                    "tick_size": step(each.price_decimals),
                    "status": "online",
                }
                return listed({"error": [], "result": {f"X{wanted}": entry}})
        return listed({"error": ["EQuery:Unknown asset pair"]})
