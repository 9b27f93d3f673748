"""A tiny exchange that speaks Binance's market data, of its own: dictionaries of decimal texts.

It shares no code with the readers nor with the simulator. What tests put into its books is what is
right.
Runs on: a thread of its own; tests change it from theirs.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from aiohttp import web

from tests.web_thread import listening
from tuning.clock import wall_ns

FRAME_S = 0.05
Side = dict[str, str]


@dataclass
class PlainMarket:
    """One market: levels by price, as texts, and those that changed since the last frame."""

    tick: str
    bids: Side
    asks: Side
    far: tuple[str, str]
    """A bid and an ask behind all others, which change with every frame."""
    id: int = 1000
    said_id: int = 1000
    changes: tuple[Side, Side] = field(default_factory=lambda: ({}, {}))
    tick_questions: int = 0

    def set(self, is_asks: int, price: str, amount: str) -> None:
        side = self.asks if is_asks else self.bids
        if Decimal(amount):
            side[price] = amount
        else:
            side.pop(price, None)
        self.changes[is_asks][price] = amount
        self.id += 1

    def truth(self, depth: int) -> tuple[list[tuple[Decimal, Decimal]], ...]:
        """The best levels of both sides."""
        sides = []
        for is_asks, side in enumerate((self.bids, self.asks)):
            rows = [(Decimal(price), Decimal(amount)) for price, amount in side.items()]
            real = [row for row in rows if row[0] > 0]
            sides.append(sorted(real, reverse=not is_asks)[:depth])
        return tuple(sides)


@dataclass
class PlainExchange:
    """All markets by symbol; every text is made under the lock."""

    markets: dict[str, PlainMarket]
    lock: threading.Lock = field(default_factory=threading.Lock)
    port: int = 0

    async def info(self, request: web.Request) -> web.Response:
        symbol = request.query["symbol"]
        market = self.markets[symbol]
        market.tick_questions += 1
        filters = [{"filterType": "PRICE_FILTER", "tickSize": market.tick}]
        return web.json_response({"symbols": [{"symbol": symbol, "filters": filters}]})

    async def depth(self, request: web.Request) -> web.Response:
        market = self.markets[request.query["symbol"]]
        with self.lock:
            sides = [[list(row) for row in side.items()] for side in (market.bids, market.asks)]
            body = {"lastUpdateId": market.id, "bids": sides[0], "asks": sides[1]}
        return web.json_response(body)

    async def stream(self, request: web.Request) -> web.WebSocketResponse:
        link = web.WebSocketResponse()
        await link.prepare(request)
        with contextlib.suppress(ConnectionError):
            while not link.closed:
                for symbol, market in self.markets.items():
                    await link.send_str(self._frame(symbol, market))
                await asyncio.sleep(FRAME_S)
        return link

    def _frame(self, symbol: str, market: PlainMarket) -> str:
        with self.lock:
            # Something always changes, far from the best.
            for is_asks, price in enumerate(market.far):
                market.set(is_asks, price, f"{1 + market.id % 7}.5")
            first, market.said_id = market.said_id + 1, market.id
            sides = [[list(row) for row in side.items()] for side in market.changes]
            for side in market.changes:
                side.clear()
        data = {
            "e": "depthUpdate", "E": wall_ns() // 1_000_000, "s": symbol, "U": first,
            "u": market.id, "b": sides[0], "a": sides[1],
        }  # fmt: skip
        return json.dumps({"stream": f"{symbol.lower()}@depth@100ms", "data": data})

    @contextlib.contextmanager
    def running(self) -> Iterator[str]:
        """While it listens: what a configuration says of it."""
        routes = [
            web.get("/api/v3/exchangeInfo", self.info),
            web.get("/api/v3/depth", self.depth),
            web.get("/stream", self.stream),
        ]
        with listening(routes) as self.port:
            where = f"127.0.0.1:{self.port}"
            yield f'[venue.binance]\nws_url = "ws://{where}"\nrest_url = "http://{where}"\n'
