"""The connections of order entry: each quoted venue's entry with what carries it.

Each market maker has its own to each of its venues, also where several trade on one account: a
private connection belongs to one market in all that it is asked and tells (what is open, what has
traded, where a chain of events stands), and one that breaks then stops one instrument alone. What
they share of the venue's limits is kept together: orders by engine.maker.shared_limits, audits by
taking turns. README.md has the venues' limits on connections.
Runs on: made on the main thread, used on the engine thread; in the watchdog, its main thread.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import random
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any

from net.config.maker import MakerSettings, MakerVenue
from net.config.schema import Config
from net.orders.http_connection import HttpLine
from net.orders.interface import (
    ConnectedEntry,
    EntryAddress,
    EntryHost,
    Keys,
    VenueEntry,
    VenueOrders,
)
from net.orders.messages import EntryError, Market
from net.sockets.backoff import Backoff
from net.sockets.private_connection import Line
from net.sockets.proxy import proxy_of
from net.sockets.websocket import tls_context
from net.venues.registry import VENUES

BACKOFF_FLOOR_MS = 500
"""Between two connections to a venue's order entry: fewer than 120 attempts in a minute."""


def venue_orders(name: str) -> VenueOrders:
    """A venue's order-entry half; EntryError where only its market data is to be had."""
    orders = VENUES[name].orders
    if orders is None:
        raise EntryError(f"{name}: orders cannot be sent there: remove it from [maker.venue]")
    return orders


def read_keys(venues: frozenset[str], environment: Mapping[str, str]) -> dict[str, Keys]:
    """The keys of these venues by name; EntryError with one line."""
    return {name: venue_orders(name).read_keys(environment) for name in VENUES if name in venues}


class OrderConnections:
    """Order entry at every quoted venue of a market maker, connected."""

    def __init__(
        self,
        config: Config,
        settings: MakerSettings | None,
        markets: Mapping[str, Market],
        keys: Mapping[str, Keys],
        http_loop: asyncio.AbstractEventLoop,
    ) -> None:
        """`settings`: of the market maker, one of the configuration's, None for `connect_one`
        alone; `markets` and `keys` by venue; `http_loop`: the housekeeping thread's."""
        self._config = config
        self._settings = settings
        self._markets = markets
        self._keys = keys
        self._http_loop = http_loop
        self._lines: list[Line] = []
        self._posting: list[concurrent.futures.Future[None]] = []

    def connect(
        self, host: EntryHost, attach: Callable[[int, VenueEntry], None]
    ) -> list[Coroutine[Any, Any, None]]:
        """Make every entry and attach it; what keeps the lines up, to be run on this loop."""
        settings, runs = self._settings, []
        assert settings is not None
        for venue, each in enumerate(self._config.quoted_instrument(settings).venue):
            given = settings.venue.get(each.name, MakerVenue())
            if given.quote:
                market, mode = self._markets[each.name], given.self_trade_mode
                entry, run = self.connect_one(venue, each.name, market, host, mode)
                attach(venue, entry)
                runs.append(run)
        return runs

    def connect_one(
        self, venue: int, name: str, market: Market, host: EntryHost, self_trade_mode: str = ""
    ) -> tuple[VenueEntry, Coroutine[Any, Any, None]]:
        """The entry in one market, which the host knows as `venue`; what keeps its line up."""
        made = self._make(venue, name, market, host, self_trade_mode)
        return made.entry, self._lines[-1].run(made.line_owner)

    async def stop(self) -> None:
        """Close them with their handshakes; requests that are under way end."""
        await asyncio.gather(*(line.stop() for line in self._lines))
        for posting in self._posting:
            posting.cancel()

    def _make(
        self, venue: int, name: str, market: Market, host: EntryHost, self_trade_mode: str
    ) -> ConnectedEntry:
        settings = self._config.settings(name)
        connector = _Connector(settings.ca_file, settings.proxy, self._http_loop)
        made = venue_orders(name).make_entry(
            venue,
            market,
            self._keys[name],
            EntryAddress(settings.trade_url, settings.ws_url, settings.rest_url),
            host,
            connector,
            self_trade_mode=self_trade_mode,
        )
        assert connector.line is not None, f"{name}: an entry without its private connection"
        assert (connector.http_line is None) == (made.http_owner is None), name
        self._lines.append(connector.line)
        if connector.http_line is not None and made.http_owner is not None:
            posting = connector.http_line.run(made.http_owner)
            self._posting.append(asyncio.run_coroutine_threadsafe(posting, self._http_loop))
        return made


class _Connector:
    """The connections that one entry asks for (net.orders.interface.EntryConnector)."""

    def __init__(self, ca_file: str, proxy: str, http_loop: asyncio.AbstractEventLoop) -> None:
        self.line: Line | None = None
        self.http_line: HttpLine | None = None
        self._ssl_context = partial(tls_context, ca_file)
        self._proxy = proxy
        self._http_loop = http_loop

    def connection(self, url: str) -> Line:
        assert self.line is None, "one private connection for an entry"
        backoff = Backoff(random.Random(), floor_ms=BACKOFF_FLOOR_MS)
        self.line = Line(
            url,
            ssl_context=self._ssl_context,
            backoff=backoff,
            proxy=proxy_of(url, self._proxy),
        )
        return self.line

    def http(self, base_url: str) -> HttpLine:
        assert self.http_line is None, "one HTTP connection for an entry"
        self.http_line = HttpLine(
            base_url,
            loop=self._http_loop,
            owner_loop=asyncio.get_running_loop(),
            ssl_context=self._ssl_context,
            proxy=proxy_of(base_url, self._proxy),
        )
        return self.http_line
