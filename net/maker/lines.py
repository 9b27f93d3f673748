"""The connections of order entry: each quoted venue's entry with what carries it.

Runs on: made on the main thread, used on the engine thread; in the watchdog, its main thread.
Called by: net.maker.housekeeping, net.live, net.watchdog.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import random
import uuid
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from net.backoff import Backoff
from net.config import Config
from net.entry.binance_session import BinanceEntry
from net.entry.bitstamp_session import BitstampEntry
from net.entry.http import HttpLine
from net.entry.keys import BinanceKeys, BitstampKeys, binance_keys, bitstamp_keys
from net.entry.line import Line
from net.entry.order import Market
from net.entry.session import EntryHost, VenueEntry
from net.maker.settings import MakerVenue
from net.websocket import tls_context

BACKOFF_FLOOR_MS = 500
"""Between two connections to a venue's order entry: fewer than 120 attempts in a minute."""


@dataclass(frozen=True)
class Keys:
    """The venues' keys, from the environment; None for a venue that is not traded at."""

    binance: BinanceKeys | None
    bitstamp: BitstampKeys | None


def read_keys(venues: frozenset[str], environment: Mapping[str, str]) -> Keys:
    """The keys of these venues; EntryError with one line."""
    return Keys(
        binance_keys(environment) if "binance" in venues else None,
        bitstamp_keys(environment) if "bitstamp" in venues else None,
    )


class OrderLines:
    """Order entry at every quoted venue of a market maker, connected."""

    def __init__(
        self,
        config: Config,
        markets: Mapping[str, Market],
        keys: Keys,
        http_loop: asyncio.AbstractEventLoop,
    ) -> None:
        """`markets` by venue; `http_loop`: the housekeeping thread's."""
        self._config = config
        self._markets = markets
        self._keys = keys
        self._http_loop = http_loop
        self._lines: list[Line] = []
        self._posting: list[concurrent.futures.Future[None]] = []

    def connect(
        self, host: EntryHost, attach: Callable[[int, VenueEntry], None]
    ) -> list[Coroutine[Any, Any, None]]:
        """Make every entry and attach it; what keeps the lines up, to be run on this loop."""
        settings = self._config.maker
        assert settings is not None
        runs = []
        for venue, each in enumerate(self._config.quoted_instrument().venue):
            given = settings.venue.get(each.name, MakerVenue())
            if given.quote:
                make = self._binance if each.name == "binance" else self._bitstamp
                entry, line = make(venue, host, given)
                attach(venue, entry)
                self._lines.append(line)
                runs.append(line.run(entry))
        return runs

    async def stop(self) -> None:
        """Close them with their handshakes; requests that are under way end."""
        await asyncio.gather(*(line.stop() for line in self._lines))
        for posting in self._posting:
            posting.cancel()

    def _line(self, url: str, ca_file: str) -> Line:
        backoff = Backoff(random.Random(), floor_ms=BACKOFF_FLOOR_MS)
        return Line(url, ssl_context=partial(tls_context, ca_file), backoff=backoff)

    def _binance(self, venue: int, host: EntryHost, given: MakerVenue) -> tuple[BinanceEntry, Line]:
        settings = self._config.settings("binance")
        assert self._keys.binance is not None
        line = self._line(settings.trade_url, settings.ca_file)
        market, keys = self._markets["binance"], self._keys.binance
        mode = given.self_trade_mode
        return BinanceEntry(venue, market, keys, line, host, self_trade_mode=mode), line

    def _bitstamp(
        self, venue: int, host: EntryHost, given: MakerVenue
    ) -> tuple[BitstampEntry, Line]:
        settings = self._config.settings("bitstamp")
        assert self._keys.bitstamp is not None
        line = self._line(settings.ws_url, settings.ca_file)
        http = HttpLine(
            settings.trade_url,
            loop=self._http_loop,
            owner_loop=asyncio.get_running_loop(),
            ssl_context=partial(tls_context, settings.ca_file),
        )
        entry = BitstampEntry(
            venue,
            self._markets["bitstamp"],
            self._keys.bitstamp,
            host,
            line,
            http,
            new_nonce=lambda: str(uuid.uuid4()),
            http_host=urlsplit(settings.trade_url).netloc,
        )
        posting = asyncio.run_coroutine_threadsafe(http.run(entry), self._http_loop)
        self._posting.append(posting)
        return entry, line
