"""`pollux check`: whether the venues have what a configuration names, before anything is served.

Each venue is asked once for each of its symbols' tick sizes, with the same client as the daemon's.
Runs on: the main thread of the command.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

import aiohttp

from net.config.schema import Config
from net.daemon.tick_sizes import ask_listing, case_hint
from net.feed.rest import RestClient, rest_clients
from net.sockets.http_body import RestError
from net.venues.checked_by import checked_by
from net.venues.interface import MarketStatus, MetadataError

GOOD, UNREACHABLE, WRONG = 0, 1, 2
"""Exit statuses: all is there; a venue gave no answer; it has no such symbol, or another tick."""


class Member(NamedTuple):
    """What a venue says of one symbol of the configuration."""

    venue: str
    symbol: str
    text: str
    status: int


async def check_members(config: Config, show: Callable[[Member], None]) -> int:
    """Ask for every venue's every symbol; `show` is given each answer. The worst status."""
    async with aiohttp.ClientSession(headers={"User-Agent": "pollux"}) as session:
        clients = rest_clients(config, session)
        asked = [
            _check(clients[venue.name], venue.symbol, venue.tick_size)
            for instrument in config.instrument
            for venue in instrument.venue
        ]
        worst = GOOD
        for coming in asyncio.as_completed(asked):
            member = await coming
            worst = max(worst, member.status)
            show(member)
    return worst


async def _check(client: RestClient, symbol: str, configured: str | None) -> Member:
    name = client.protocol.name
    try:
        listing, _, _ = await ask_listing(client, symbol)
    except MetadataError as error:
        return Member(name, symbol, f"{error}{await case_hint(client, symbol)}", WRONG)
    except RestError as error:
        return Member(name, symbol, f"no answer: {error}", UNREACHABLE)
    tick_size = listing.tick_size
    if configured is not None and Decimal(configured) != Decimal(tick_size):
        text = f"tick_size = {configured!r}, but the venue says {tick_size}: leave it out"
        return Member(name, symbol, text, WRONG)
    is_trading = listing.status is MarketStatus.TRADING
    more = "" if is_trading else f"; the market is {listing.status.value}"
    text = f"tick size {tick_size}{more}; checked by: {checked_by(client.protocol)}"
    return Member(name, symbol, text, GOOD)
