"""How the simulated Binance USD-M speaks: combined streams by address, depth and markets by REST.

Runs on: the simulator's event loop.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from net.simulator.binance_usdm.publisher import JUMP
from net.simulator.connection import Connection
from net.simulator.market_data import MarketDataServer, listed, step
from net.simulator.plain_book import PlainBook


class UsdmServer(MarketDataServer):
    """See the module."""

    socket_path = "/stream"

    def rest_routes(self) -> list[web.RouteDef]:
        return [
            web.get("/fapi/v1/depth", self._depth),
            web.get("/fapi/v1/exchangeInfo", self._exchange_info),
        ]

    def opened(self, connection: Connection, request: web.Request) -> None:
        for stream in request.query.get("streams", "").split("/"):
            self.subscribe(connection, stream.partition("@")[0].upper())

    def notice_text(self, connection: Connection) -> str:
        return f'{{"e":"serverShutdown","E":{self._clock.now_ns() // 1_000_000}}}'

    def received(self, connection: Connection, request: Any) -> None:
        """Nothing is asked on a stream."""

    async def _depth(self, request: web.Request) -> web.Response:
        return await self.rest_book(request, request.query.get("symbol", ""))

    def snapshot_text(self, symbol: str, book: PlainBook, request: web.Request) -> str:
        text, limit = self.text[symbol], int(request.query.get("limit", "500"))
        time_ms = self._clock.now_ns() // 1_000_000
        return (
            f'{{"lastUpdateId":{book.version * JUMP},"E":{time_ms},"T":{time_ms},'
            f'"bids":{text.levels(book.sorted_bids(limit))},'
            f'"asks":{text.levels(book.sorted_asks(limit))}}}'
        )

    async def _exchange_info(self, request: web.Request) -> web.Response:
        symbols = [
            {
                "symbol": each.venue_symbol,
                "status": "TRADING",
                "pricePrecision": 8,
                "filters": [
                    {"filterType": "PRICE_FILTER", "tickSize": step(each.price_decimals)},
                    {"filterType": "LOT_SIZE", "stepSize": step(each.qty_text_decimals)},
                ],
            }
            for each in self.feed.instruments.values()
        ]
        return listed({"timezone": "UTC", "symbols": symbols})
