"""Accounts that the journal names and that are not quoted any more, cleaned at a start.

    the venue's rules for the market -> order entry of its own -> net.maker.left_behind -> closed

Their venues need not be configured: their public addresses and the keys in the environment are
enough. What cannot be cleaned, or is not clean in time, is named with the remedy, and quoting
halts.
Runs on: the main thread's loop.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import aiohttp

from engine.layout.units import NS_PER_S
from net.config.schema import Config
from net.daemon.tick_sizes import ask_market_rules
from net.feed.rest import rest_client
from net.journal.ledger import Account
from net.maker.left_behind import LeftBehind
from net.maker.maker import Maker
from net.maker.order_connections import OrderConnections, read_keys
from net.maker.risk_report import MakerHost
from net.maker.venue_report import tell_left_behind
from net.orders.interface import Keys
from net.orders.messages import EntryError, Market
from net.sockets.backoff import Backoff
from net.sockets.http_body import RestError
from net.venues.interface import MetadataError
from tuning.clock import steady_ns

CLEAN_LIMIT_S = 60.0
"""Then quoting halts. A venue whose list of orders may be ten seconds old needs some 40 to show
twice that none is open."""
LOOK_S = 0.1
ASK_AGAIN_MS = (1_000, 500, 15_000)
"""Between two questions about a market: the least, what is added at first, the most."""


class Steering(Protocol):
    """The engine thread's side."""

    def steer_makers(self, act: Callable[[Maker, int], None]) -> None:
        """Do something to each market maker, on its thread; `act` is given `now_ns` too."""


def keys_of(accounts: Iterable[Account]) -> dict[str, Keys]:
    """The keys of the accounts' venues, as far as they are there."""
    found: dict[str, Keys] = {}
    for name in {account.venue for account in accounts}:
        try:
            found |= read_keys(frozenset({name}), os.environ)
        except EntryError:
            continue
    return found


class Cleaning:
    """Of some accounts, whose keys are there. `epoch`: of this run."""

    def __init__(
        self,
        config: Config,
        accounts: Sequence[Account],
        epoch: int,
        host: MakerHost,
        steered: Steering,
    ) -> None:
        self._config = config
        self._accounts = accounts
        self._host = host
        self._steered = steered
        self._open = set(accounts)
        self._told: set[Account] = set()
        self._cleaner = LeftBehind(accounts, epoch, host, self._close)

    async def run(self) -> None:
        """Until all are clean, or cancelled."""
        keys, loop = keys_of(self._accounts), asyncio.get_running_loop()
        lines = OrderConnections(self._config, None, {}, keys, loop)
        limit_s = time.monotonic() + CLEAN_LIMIT_S
        async with aiohttp.ClientSession(headers={"User-Agent": "pollux"}) as session:
            connecting = [
                asyncio.create_task(self._connect(venue, lines, session))
                for venue in range(len(self._accounts))
            ]
            try:
                while self._open:
                    self._cleaner.on_timer(steady_ns())
                    if time.monotonic() > limit_s:
                        self._tell(self._open, f"not within {CLEAN_LIMIT_S:g} s")
                    await asyncio.sleep(LOOK_S)
            finally:
                await lines.stop()
                for task in connecting:
                    task.cancel()

    async def _connect(
        self, venue: int, lines: OrderConnections, session: aiohttp.ClientSession
    ) -> None:
        account = self._accounts[venue]
        try:
            market = await self._ask_market(account, session)
        except MetadataError as error:
            self._tell([account], str(error))
            return
        entry, run = lines.connect_one(venue, account.venue, market, self._cleaner)
        self._cleaner.attach(venue, entry)
        await run

    async def _ask_market(self, account: Account, session: aiohttp.ClientSession) -> Market:
        """Its rules, asked for until they are known; MetadataError: there is no such market."""
        client = rest_client(self._config, account.venue, session)
        backoff = Backoff(random.Random(), *ASK_AGAIN_MS)
        while True:
            try:
                return (await ask_market_rules(client, account.market)).market
            except RestError as error:
                facts = {"venue": account.venue, "market": account.market, "reason": str(error)}
                self._host.note_maker("warning", "the market is not known yet", **facts)
                wait_s = max(backoff.next_ns() / NS_PER_S, error.retry_after_s)
            await asyncio.sleep(wait_s)

    def _close(self, account: Account) -> None:
        self._open.discard(account)
        self._steered.steer_makers(lambda maker, now_ns: maker.accounts.close(account))

    def _tell(self, accounts: Iterable[Account], reason: str) -> None:
        """These are not clean, each is told once; quoting halts."""
        new = set(accounts) - self._told
        if new:
            self._told |= new
            tell_left_behind(self._host, sorted(new), reason)
            self._steered.steer_makers(lambda maker, now_ns: maker.halts.dispute(now_ns))
