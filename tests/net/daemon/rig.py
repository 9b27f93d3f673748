"""A venue's REST side on a real socket, for the tests of what the daemon asks it.

Runs on: the tests' thread.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from inspect import iscoroutinefunction
from typing import cast

import aiohttp
from aiohttp import web

from net.config.schema import Config, parse_config
from net.feed.events import FeedEvent
from net.feed.rest import RestClient
from net.venues.registry import VENUES

CONFIG = """
[[instrument]]
symbol = "BTC-USD"
  [[instrument.venue]]
  name = "binance"
  symbol = "BTCUSDT"
  [[instrument.venue]]
  name = "bitstamp"
  symbol = "btcusd"
  tick_size = "1"
"""


def config() -> Config:
    """Two venues; the tick size of the first must be asked for."""
    return parse_config(CONFIG, "test")


Answer = Callable[[str], web.Response]
"""From a path with its query to what the venue answers."""
Handler = Callable[[web.Request], Awaitable[web.Response]]


@dataclass
class Told:
    """What the daemon is told meanwhile."""

    events: list[tuple[object, dict[str, object]]] = field(default_factory=list)
    recorded: list[tuple[str, str, bytes]] = field(default_factory=list)

    def log(self, level: str, event: str, **facts: object) -> None:
        self.events.append((event, facts))

    def note(self, event: FeedEvent, level: str, /, **facts: object) -> None:
        self.events.append((event, facts))

    def record(self, venue: str, path: str, body: bytes) -> None:
        self.recorded.append((venue, path, body))


@contextlib.asynccontextmanager
async def venue_clients(answer: Answer | Handler) -> AsyncIterator[dict[str, RestClient]]:
    """A client of each venue, whose server answers so."""

    async def handle(request: web.Request) -> web.Response:
        return cast(Answer, answer)(request.path_qs)

    app = web.Application()
    app.router.add_route(
        "*", "/{path:.*}", cast(Handler, answer) if iscoroutinefunction(answer) else handle
    )
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        async with aiohttp.ClientSession() as session:
            yield {
                name: RestClient(VENUES[name], f"http://{host}:{port}", session, False)
                for name in ("binance", "bitstamp")
            }
    finally:
        await runner.cleanup()
