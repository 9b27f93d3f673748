"""Learns from the venues what the configuration leaves out: tick sizes, and the rules for orders.

A venue that does not answer is asked again, later and later, until it does. So is one that answers
that it has no such symbol, after minutes: it may be listed later, or the venue may be mistaken. One
member's fault is its own; `pollux check` is where a wrong symbol is an error.
Runs on: the main thread's loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from engine.decoding.scale import ScaleError, decimal_unit
from engine.layout.units import NS_PER_S
from net.config.schema import Config
from net.feed.events import FeedEvent, NoteFunction
from net.feed.rest import RestClient
from net.log.log_function import LogFunction
from net.log.one_line import one_line
from net.orders.markets import MarketRules
from net.orders.messages import EntryError
from net.sockets.backoff import Backoff
from net.sockets.http_body import RestError
from net.venues.interface import Listing, MarketStatus, MetadataError

ASK_AGAIN_FLOOR_MS = 500
"""The least between two questions about one symbol."""

REFUSED_AGAIN_MS = (60_000, 60_000, 600_000)
"""Between two questions about a symbol that the venue says it does not have: the least, what is
added at first, the most."""
SETTLE_LIMIT_S = 10.0
"""How long what has been learned waits for more, before it is served."""

Ticks = dict[tuple[str, str], str]
"""Tick sizes as text, by venue and its symbol."""
Answer = TypeVar("Answer")
Record = Callable[[str, str, bytes], None]
"""Called with venue, path and body of an answer that belongs on a tape."""


def known_part(config: Config, ticks: Ticks, contracts: Ticks | None = None) -> Config | None:
    """The configuration without the venues whose ticks are unknown; None if nothing is left.

    `contracts`: values of contracts that were learned too.
    """
    instruments = []
    for each in config.instrument:
        venues = tuple(
            venue.with_contract_value((contracts or {}).get((venue.name, venue.symbol)))
            for venue in each.venue
            if (venue.name, venue.symbol) in ticks
        )
        if venues:
            instruments.append(each.model_copy(update={"venue": venues}))
    return config.model_copy(update={"instrument": tuple(instruments)}) if instruments else None


async def ask_listing(client: RestClient, symbol: str) -> tuple[Listing, str, bytes]:
    """What the venue lists of a symbol, and the path and body it was read from.

    MetadataError: the venue has no such symbol. RestError: no usable answer this time.
    """
    path, body, value = await client.metadata(symbol)
    try:
        listing = client.protocol.listing(value, symbol)
        decimal_unit(listing.tick_size)
    except MetadataError as error:
        if error.is_final:
            raise
        raise RestError(f"{path}: {error}") from None
    except ScaleError as error:
        raise RestError(f"{path}: {symbol}: {one_line(str(error))}") from None
    return listing, path, body


async def case_hint(client: RestClient, symbol: str) -> str:
    """Whether a venue that has no such symbol has it in the other case."""
    for other in {symbol.upper(), symbol.lower()} - {symbol}:
        with contextlib.suppress(MetadataError, RestError):
            await ask_listing(client, other)
            return f"; it has {other}"
    return ""


async def ask_market_rules(client: RestClient, symbol: str) -> MarketRules:
    """What the venue says of orders in a market; the errors as in `ask_listing`."""
    orders = client.protocol.orders
    if orders is None:
        raise MetadataError(f"{client.protocol.name}: no orders can be sent to this venue")
    path, _, value = await client.metadata(symbol)
    try:
        return orders.market_rules(value, symbol)
    except EntryError as error:
        raise RestError(f"{path}: {error}") from None


class TickSizes:
    """`ticks` fills up while `learn` runs."""

    def __init__(
        self,
        config: Config,
        clients: Mapping[str, RestClient],
        log: LogFunction,
        note: NoteFunction,
        record: Record,
        add_market: Callable[[str, MarketRules], None] | None = None,
    ) -> None:
        """`add_market` is given the quoted markets' rules; without it nobody asks for them."""
        self.ticks: Ticks = {}
        self.contracts: Ticks = {}
        """What a quantity of one is, as text, where a venue has said that with the tick."""
        self.refused: dict[tuple[str, str], str] = {}
        """What a venue says that it does not have: its words, by venue and symbol."""
        self._config = config
        self._clients = clients
        self._log = log
        self._note = note
        self._record = record
        self._add_market = add_market
        venues = [v for each in config.instrument for v in each.venue]
        for venue in venues:
            if venue.tick_size is not None:
                self.ticks[venue.name, venue.symbol] = venue.tick_size
        makers = config.maker if add_market is not None else ()
        quoted = [v for maker in makers for v in config.quoted_instrument(maker).venue]
        self._asked = [(v.name, v.symbol) for v in venues if v.tick_size is None]
        self._quoted = [(v.name, v.symbol) for v in quoted]
        self._unanswered = len(self._asked) + len(self._quoted)
        self._rules_missing = len(self._quoted)
        self._failure: Exception | None = None
        self._changed = asyncio.Event()

    @property
    def learned(self) -> int:
        """How much is known; it only grows."""
        return len(self.ticks) + len(self._quoted) - self._rules_missing

    @property
    def is_all_refused(self) -> bool:
        """Whether there is nothing to serve, and no venue left that might say otherwise soon."""
        return not self.ticks and self._unanswered == 0

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to be asked."""
        return self._rules_missing == 0 and all(each in self.ticks for each in self._asked)

    async def learn(self) -> None:
        """Until all is known, which may be never."""
        ticks = [self._learn_tick(*each) for each in self._asked]
        try:
            await asyncio.gather(*ticks, *(self._learn_market(*each) for each in self._quoted))
        except Exception as error:
            self._failure = error  # a mistake of ours: whoever waits must not wait for ever
            self._changed.set()

    async def settled(self) -> None:
        """Until every question has been answered, somehow."""
        await self._until(lambda: self._unanswered == 0)

    async def more(self, learned: int) -> None:
        """Until more is known than then, or all is refused; what comes at once comes together."""
        await self._until(lambda: self.learned > learned or self.is_all_refused)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_LIMIT_S):
                await self.settled()

    async def _until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            if self._failure is not None:
                raise self._failure
            self._changed.clear()
            await self._changed.wait()

    async def _learn_tick(self, name: str, symbol: str) -> None:
        listing, path, body = await self._ask_until_known(name, symbol, ask_listing)
        self.contracts[name, symbol] = listing.contract_value
        self.ticks[name, symbol] = listing.tick_size
        self._changed.set()
        self._record(name, path, body)
        names = {"instrument": self._config.instrument_of(name, symbol), "venue": name}
        facts = {"tick_size": listing.tick_size, "status": listing.status.value}
        is_trading = listing.status is MarketStatus.TRADING
        self._log("info" if is_trading else "warning", "tick size", **names, symbol=symbol, **facts)

    async def ask_again(self, name: str, symbol: str) -> str:
        """The tick that a venue declares now; the next generation has it, and the rules for orders.

        A configured one stays what it is there: a book counts in what is printed all the same.
        """
        question = self._ask_until_known(name, symbol, ask_listing, is_awaited=False)
        listing, path, body = await question
        tick_size = listing.tick_size
        self._record(name, path, body)
        if (name, symbol) in self._quoted and self._add_market is not None:
            rules = self._ask_until_known(name, symbol, ask_market_rules, is_awaited=False)
            self._add_market(name, await rules)
        if (name, symbol) in self._asked:
            self.ticks[name, symbol] = tick_size
        return tick_size

    async def _learn_market(self, name: str, symbol: str) -> None:
        assert self._add_market is not None
        self._add_market(name, await self._ask_until_known(name, symbol, ask_market_rules))
        self._rules_missing -= 1
        self._changed.set()

    async def _ask_until_known(
        self,
        name: str,
        symbol: str,
        ask: Callable[[RestClient, str], Awaitable[Answer]],
        *,
        is_awaited: bool = True,
    ) -> Answer:
        unanswered = Backoff(random.Random(), floor_ms=ASK_AGAIN_FLOOR_MS)
        refused = Backoff(random.Random(), *REFUSED_AGAIN_MS)
        is_answered = not is_awaited
        while True:
            try:
                answer = await ask(self._clients[name], symbol)
            except MetadataError as refusal:
                hint = await case_hint(self._clients[name], symbol)
                error = MetadataError(f"{refusal}{hint}")
                self.refused[name, symbol] = str(error)
                self._unanswered -= not is_answered
                is_answered = True
                self._changed.set()
                delay_s = self._tell(FeedEvent.MARKET_REFUSED, name, symbol, error, refused)
            except RestError as error:
                delay_s = self._tell(FeedEvent.MARKET_UNKNOWN, name, symbol, error, unanswered)
            else:
                self.refused.pop((name, symbol), None)
                self._unanswered -= not is_answered
                return answer
            await asyncio.sleep(delay_s)

    def _tell(
        self, event: FeedEvent, name: str, symbol: str, error: Exception, backoff: Backoff
    ) -> float:
        """Say why there is no answer; how long to wait, in seconds."""
        asked_s = error.retry_after_s if isinstance(error, RestError) else 0.0
        delay_s = max(backoff.next_ns() / NS_PER_S, asked_s)
        self._note(
            event,
            event.level,
            instrument=self._config.instrument_of(name, symbol),
            venue=name,
            symbol=symbol,
            reason=str(error),
            attempt=backoff.attempt,
            again_in_ms=int(delay_s * 1000),
        )
        return delay_s
