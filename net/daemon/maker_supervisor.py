"""The market makers' side of the main thread: markets, journal, kill file, watchdog, beginning.

Runs on: the main thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

from engine.engine import Engine
from engine.layout.units import NS_PER_S
from engine.maker import journal_codes as J
from engine.sharing.directory import HandoffError
from net.config.maker import MakerSettings
from net.config.schema import Config, ConfigError
from net.daemon.left_behind import Cleaning, Steering, keys_of
from net.journal.files import JournalError, Record
from net.journal.ledger import Account, Ledger, missing_segments, read_ledger
from net.journal.writer import JournalWriter
from net.maker.build import build_maker
from net.maker.event_journal import JournalNames
from net.maker.maker import Maker
from net.maker.makers import Makers
from net.maker.market_fit import RulesError
from net.maker.order_connections import OrderConnections, read_keys, venue_orders
from net.maker.shared import share
from net.maker.venue_report import tell_left_behind
from net.orders.interface import Keys
from net.orders.markets import MarketRules
from net.orders.messages import EntryError, Market
from net.sockets.proxy import VARIABLES
from net.watchdog.launcher import WatchdogLauncher
from net.watchdog.options import WatchdogOptions
from tuning.clock import steady_ns, wall_ns

LOOK_EVERY_S = 0.1
"""Between two looks at the kill file and at the journal's room."""
MISSING_TOLD = 8
"""Segments by name: more are a number."""


class Steered(Steering, Protocol):
    """What is steered on the engine thread, from here."""

    def kill_makers(self, reason: int) -> None:
        """Halt quoting and cancel everything."""

    def block_makers(self, is_blocked: bool) -> None:
        """Whether a release is refused: the kill file is there."""

    def guard_makers(self, is_guarded: bool) -> None:
        """Whether orders may be placed, as far as a watchdog is needed for that."""


class MakerSupervisor:
    """Everything of the market makers that outlives a generation of the engine."""

    def __init__(self, config: Config, log: Callable[..., None]) -> None:
        assert config.maker
        self._config = config
        self._settings = config.makers
        self._log = log
        self._markets: dict[tuple[str, str], MarketRules] = {}
        """By venue and its symbol."""
        self._journal: JournalWriter | None = None
        self._ledger = Ledger()
        self._keys: dict[str, Keys] = {}
        self._epoch = 0
        self._to_clean: list[Account] = []
        """Not quoted any more, and there are keys."""
        self._is_live = any(maker.orders == "live" for maker in config.maker)
        self._kill_file = Path(self._settings.kill_file) if self._settings.kill_file else None

    def open(self) -> None:
        """Read what the journal knows, then begin a new run in it; ConfigError."""
        folder = Path(self._settings.journal)
        place = "maker" if len(self._config.maker) == 1 else "makers"
        if self._kill_file is not None and self._kill_file.is_dir():
            raise ConfigError(f"{place}.kill_file: {self._kill_file} is a folder: name a file")
        live = [maker for maker in self._config.maker if maker.orders == "live"]
        quoted = {
            venue.name
            for maker in live
            for venue in self._config.quoted_instrument(maker).venue
            if venue.name not in maker.venue or maker.venue[venue.name].quote
        }
        try:
            self._keys = read_keys(frozenset(quoted), os.environ)
        except EntryError as error:
            raise ConfigError(f'maker.orders = "live": {error}') from None
        try:
            self._ledger = read_ledger(folder)
            if missing := missing_segments(folder):
                self._log(
                    "warning", "the journal lacks segments: its last checkpoint needs none",
                    folder=str(folder), missing=missing[:MISSING_TOLD], count=len(missing),
                )  # fmt: skip
            self._journal = self._begin_run(folder)
        except JournalError as error:
            raise ConfigError(f"{place}.journal: {error}") from None

    def _begin_run(self, folder: Path) -> JournalWriter:
        """The journal's next run: its header names what is quoted, then all that is remembered."""
        quoted, ledger = (
            [self._config.quoted_instrument(m) for m in self._config.maker],
            self._ledger,
        )
        used = [venue for each in quoted for venue in each.venue]
        symbols = (*(each.symbol for each in quoted), *(symbol for _, symbol in ledger.results))
        venues = (*(v.name for v in used), *(a.venue for a in ledger.holdings))
        markets = (*(v.symbol for v in used), *(a.market for a in ledger.holdings))
        journal = JournalWriter(
            folder, unique(symbols), unique(venues), wall_ns(), markets=unique(markets)
        )

        def append(record: Record) -> None:
            journal.append(record._replace(time_ns=wall_ns()))

        ledger.begin(journal.header, append)
        return journal

    def close(self) -> None:
        """The engine thread has ended: have the journal on the disk."""
        if self._journal is not None:
            with contextlib.suppress(JournalError):
                self._journal.close(wall_ns())

    def add_market(self, venue: str, rules: MarketRules) -> None:
        """What a venue says of a quoted market."""
        symbol = rules.market.symbol
        self._markets[venue, symbol] = rules
        if not rules.is_trading:
            facts = {"venue": venue, "symbol": symbol}
            self._log("error", "the market does not trade now", **facts)

    def make_makers(self, config: Config, engine: Engine) -> Makers | None:
        """The market makers of a generation; None, said in the log, while nothing can be quoted.

        Those of which a venue is missing wait for a later one. ConfigError where the configuration
        does not fit the markets; HandoffError. On the housekeeping thread's loop.
        """
        ready = [each for each in self._config.maker if self._is_ready(config, each)]
        # Larger than the one before even where the clock was set back since.
        epoch = self._epoch = max(wall_ns() // NS_PER_S, self._epoch + 1)
        makers: list[Maker] = []
        try:
            # The first board comes last: who finds it finds them all.
            for number in reversed(range(len(ready))):
                makers.insert(0, self._make_maker(config, engine, ready[number], number))
            shared = share(self._settings, makers) if makers else None
        except RulesError as error:
            self._close_all(makers)
            raise ConfigError(str(error)) from None
        except HandoffError:
            self._close_all(makers)
            raise
        if not makers:
            return None
        for maker, settings in zip(makers, ready, strict=True):
            is_watched = self._settings.watchdog and settings.orders == "live"
            maker.is_guarded = not is_watched
        self._look_behind(makers)
        for maker, settings in zip(makers, ready, strict=True):
            maker.host.note_maker("info", "market maker", orders=settings.orders, epoch=epoch)
        lines = [self._connections(config, settings) for settings in ready]
        return Makers(engine, makers, lines, shared)

    def _look_behind(self, makers: Sequence[Maker]) -> None:
        """Where orders of earlier runs may be open and nothing is quoted: what can be cleaned is
        to be, and nothing is quoted before; else only an operator can say that nothing is open."""
        left = makers[0].accounts.left_behind
        keys = keys_of(left) if self._is_live else {}
        self._to_clean = [account for account in left if account.venue in keys]
        if others := [account for account in left if account.venue not in keys]:
            why = "there is no key for it" if self._is_live else "orders are on paper"
            tell_left_behind(makers[0].host, others, why)
            for maker in makers:
                maker.accounts.halt_for(J.REASON_ACCOUNT)

    def _is_ready(self, config: Config, settings: MakerSettings) -> bool:
        """Whether all is known of the markets of a market maker."""
        wanted = self._config.quoted_instrument(settings)
        missing = [v.name for v in wanted.venue if (v.name, v.symbol) not in self._markets]
        # By name: what a generation serves has what the venues say of their markets too.
        served = {each.symbol: len(each.venue) for each in config.instrument}
        is_ready = not missing and served.get(wanted.symbol) == len(wanted.venue)
        if not is_ready:
            facts = {"instrument": wanted.symbol, "venues": sorted(missing)}
            self._log("warning", "not quoting yet: markets unknown", **facts)
        return is_ready

    def _make_maker(
        self, config: Config, engine: Engine, settings: MakerSettings, number: int
    ) -> Maker:
        assert self._journal is not None
        instrument, header = config.quoted_instrument(settings), self._journal.header
        venues = tuple(header.venues.index(venue.name) for venue in instrument.venue)
        return build_maker(
            config,
            engine,
            {v.name: self._markets[v.name, v.symbol] for v in instrument.venue},
            self._journal,
            _Host(self._log, instrument.symbol),
            epoch=self._epoch,
            rng=random.Random(),
            ledger=self._ledger,
            board_name=config.engine.name,
            start_ns=steady_ns(),
            settings=settings,
            number=number,
            names=JournalNames(header.instruments.index(instrument.symbol), venues),
        )

    @staticmethod
    def _close_all(makers: Sequence[Maker]) -> None:
        for maker in makers:
            maker.board.close()

    def _connections(self, config: Config, settings: MakerSettings) -> OrderConnections | None:
        """The connections of order entry; None on paper."""
        if settings.orders != "live":
            return None
        markets, loop = self._plain_markets(settings), asyncio.get_running_loop()
        return OrderConnections(config, settings, markets, self._keys, loop)

    def _plain_markets(self, settings: MakerSettings) -> dict[str, Market]:
        quoted = self._config.quoted_instrument(settings)
        return {v.name: self._markets[v.name, v.symbol].market for v in quoted.venue}

    def _key_variables(self) -> set[str]:
        """Those of the quoted venues' keys, and of the way to them: the watchdog's too."""
        keys = {name for venue in self._keys for name in venue_orders(venue).key_names}
        return keys | VARIABLES

    @contextlib.asynccontextmanager
    async def attending(self, makers: Makers, steered: Steered) -> AsyncIterator[None]:
        """While market makers are there: look after them, and have those that are live watched.

        They must have ended in order before this is left, if they can: the watchdog sees that.
        """
        keeper = None
        tasks = [asyncio.create_task(self._look(steered))]
        if self._to_clean:
            cleaning = Cleaning(
                self._config, self._to_clean, self._epoch, makers.all[0].host, steered
            )
            tasks.append(asyncio.create_task(cleaning.run()))
        pairs = [(self._config.quoted_instrument(each).symbol, each) for each in self._config.maker]
        live = {maker.symbol for maker in makers.all if maker.board.info.is_live}
        if self._settings.watchdog and live:
            markets = {
                symbol: self._plain_markets(each) for symbol, each in pairs if symbol in live
            }
            options = WatchdogOptions.of(os.getpid(), self._epoch, self._config, markets)
            keeper = WatchdogLauncher(options, steered, self._log, self._key_variables())
            tasks.append(asyncio.create_task(keeper.run()))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            if keeper is not None:
                await keeper.leave()

    async def _look(self, steered: Steered) -> None:
        """Until cancelled: the kill file, and room for the journal."""
        was_there = False
        while True:
            is_there = self._kill_file is not None and self._kill_file.exists()
            if is_there != was_there:
                was_there = is_there
                steered.block_makers(is_there)
                if is_there:
                    steered.kill_makers(J.REASON_OPERATOR)
            self._tend()
            await asyncio.sleep(LOOK_EVERY_S)

    def _tend(self) -> None:
        assert self._journal is not None
        try:
            self._journal.tend()
        except JournalError as error:
            # The engine thread halts when the last room is used up, and says so itself.
            self._log("error", "no room for the journal", reason=str(error))


class _Host:
    """What a market maker tells outside: each line names its instrument."""

    def __init__(self, log: Callable[..., None], symbol: str) -> None:
        self._log = log
        self._symbol = symbol

    def wall_ns(self) -> int:
        return wall_ns()

    def note_maker(self, level: str, what: str, **facts: object) -> None:
        self._log(level, what, instrument=self._symbol, **facts)


def unique(names: Iterable[str]) -> list[str]:
    """The names in their order, each once."""
    return list(dict.fromkeys(names))
