"""How the simulated OKX speaks: the public WebSocket, books and instruments by REST.

Runs on: the simulator's event loop.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from net.simulator.connection import Connection
from net.simulator.diffs import rows
from net.simulator.market_data import MarketDataServer, listed, step
from net.simulator.plain_book import PlainBook

DEPTH = 400


class OkxServer(MarketDataServer):
    """See the module."""

    def rest_routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/v5/market/books", self._book),
            web.get("/api/v5/public/instruments", self._instruments),
        ]

    def notice_text(self, connection: Connection) -> str:
        return '{"event":"notice","code":"64008","msg":"The connection will soon be closed."}'

    def received(self, connection: Connection, request: Any) -> None:
        if request == "ping":
            connection.send("pong")
            return
        op = request.get("op") if isinstance(request, dict) else None
        for argument in request.get("args", []) if isinstance(request, dict) else []:
            symbol = str(argument.get("instId"))
            done = {"event": op, "arg": argument, "connId": "a4d3ae55"}
            if op == "unsubscribe":
                self.unsubscribe(connection, symbol)
                self.tell(connection, done)
            elif op == "subscribe":
                text = f"Wrong URL or channel:books,instId:{symbol} doesn't exist."
                refused = {"event": "error", "code": "60018", "msg": text}
                if argument.get("channel") == "trades":
                    self.begin_trades(connection, symbol, done, refused)
                else:
                    self.begin(connection, symbol, done, refused)

    async def _book(self, request: web.Request) -> web.Response:
        return await self.rest_book(request, request.query.get("instId", ""))

    def snapshot_text(self, symbol: str, book: PlainBook, request: web.Request) -> str:
        text, depth = self.text[symbol], min(int(request.query.get("sz", "1")), DEPTH)
        asks = rows(text, book.sorted_asks(depth), "0", "1", strips=True)
        bids = rows(text, book.sorted_bids(depth), "0", "1", strips=True)
        time_ms = self._clock.now_ns() // 1_000_000
        return (
            f'{{"code":"0","msg":"","data":[{{"asks":{asks},"bids":{bids},'
            f'"ts":"{time_ms}","seqId":{book.version}}}]}}'
        )

    async def _instruments(self, request: web.Request) -> web.Response:
        each = self.instrument(request.query.get("instId", ""))
        if each is None:
            return listed({"code": "51001", "msg": "Instrument ID does not exist", "data": []})
        is_swap = request.query.get("instType") == "SWAP"
        entry = {
            "instId": each.venue_symbol,
            "tickSz": step(each.price_decimals),
            "lotSz": step(each.qty_text_decimals),
            "state": "live",
            "ctVal": "1" if is_swap else "",
            "ctMult": "1" if is_swap else "",
            "ctType": "linear" if is_swap else "",
        }
        return listed({"code": "0", "msg": "", "data": [entry]})
