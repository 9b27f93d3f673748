"""The market maker's side of the main thread: markets, journal, kill file, watchdog, beginning.

Runs on: the main thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Protocol

from engine.engine import Engine
from engine.layout.units import NS_PER_S
from engine.maker import journal_codes as J
from net.config.schema import Config, ConfigError
from net.daemon.left_behind import Cleaning, Steering, keys_of
from net.journal.files import JournalError, Record
from net.journal.ledger import Account, Ledger, read_ledger
from net.journal.writer import JournalWriter
from net.maker.build import build_maker
from net.maker.maker import Maker
from net.maker.market_fit import RulesError
from net.maker.order_connections import OrderConnections, read_keys, venue_orders
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


class Steered(Steering, Protocol):
    """What is steered on the engine thread, from here."""

    def kill_maker(self, reason: int) -> None:
        """Halt quoting and cancel everything."""

    def block_maker(self, is_blocked: bool) -> None:
        """Whether a release is refused: the kill file is there."""

    def guard_maker(self, is_guarded: bool) -> None:
        """Whether orders may be placed, as far as a watchdog is needed for that."""


class MakerSupervisor:
    """Everything of the market maker that outlives a generation of the engine."""

    def __init__(self, config: Config, log: Callable[..., None]) -> None:
        assert config.maker is not None
        self._config = config
        self._settings = config.maker
        self._log = log
        self._markets: dict[str, MarketRules] = {}
        self._journal: JournalWriter | None = None
        self._ledger = Ledger()
        self._keys: dict[str, Keys] | None = None
        self._epoch = 0
        self._to_clean: list[Account] = []
        """Not quoted any more, and there are keys."""
        self._has_watchdog = self._settings.orders == "live" and self._settings.watchdog
        self._kill_file = Path(self._settings.kill_file) if self._settings.kill_file else None

    def open(self) -> None:
        """Read what the journal knows, then begin a new run in it; ConfigError."""
        folder = Path(self._settings.journal)
        instrument = self._config.quoted_instrument()
        names = tuple(venue.name for venue in instrument.venue)
        try:
            if self._settings.orders == "live":
                given = self._settings.venue
                quoted = (n for n in names if n not in given or given[n].quote)
                self._keys = read_keys(frozenset(quoted), os.environ)
        except EntryError as error:
            raise ConfigError(f'maker.orders = "live": {error}') from None
        try:
            self._ledger = read_ledger(folder)
            self._journal = self._begin_run(folder)
        except JournalError as error:
            raise ConfigError(f"maker.journal: {error}") from None

    def _begin_run(self, folder: Path) -> JournalWriter:
        """The journal's next run: its header names what is quoted, then all that is remembered."""
        instrument, ledger = self._config.quoted_instrument(), self._ledger
        symbols = (instrument.symbol, *(symbol for _, symbol in ledger.results))
        venues = (*(v.name for v in instrument.venue), *(a.venue for a in ledger.holdings))
        markets = (*(v.symbol for v in instrument.venue), *(a.market for a in ledger.holdings))
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
        """What a venue says of the quoted market."""
        self._markets[venue] = rules
        if not rules.is_trading:
            symbol = rules.market.symbol
            self.note_maker("error", "the market does not trade now", venue=venue, symbol=symbol)

    def make_maker(self, config: Config, engine: Engine) -> Maker | None:
        """The market maker of a generation; None, said in the log, while a venue is missing.

        ConfigError where the configuration does not fit the markets; HandoffError.
        """
        assert self._journal is not None
        wanted = {venue.name for venue in self._config.quoted_instrument().venue}
        missing = wanted - self._markets.keys()
        if missing or config.quoted_instrument() != self._config.quoted_instrument():
            self.note_maker("warning", "not quoting yet: markets unknown", venues=sorted(missing))
            return None
        # Larger than the one before even where the clock was set back since.
        epoch = self._epoch = max(wall_ns() // NS_PER_S, self._epoch + 1)
        try:
            maker = build_maker(
                config,
                engine,
                self._markets,
                self._journal,
                self,
                epoch=epoch,
                rng=random.Random(),
                ledger=self._ledger,
                board_name=config.engine.name,
                start_ns=steady_ns(),
            )
            maker.is_guarded = not self._has_watchdog
            self._look_behind(maker)
        except RulesError as error:
            raise ConfigError(str(error)) from None
        mode = self._settings.orders
        self.note_maker("info", "market maker", orders=mode, epoch=epoch)
        return maker

    def _look_behind(self, maker: Maker) -> None:
        """Where orders of earlier runs may be open and nothing is quoted: what can be cleaned is
        to be, and nothing is quoted before; else only an operator can say that nothing is open."""
        left = maker.accounts.left_behind
        keys = keys_of(left) if self._keys is not None else {}
        self._to_clean = [account for account in left if account.venue in keys]
        if others := [account for account in left if account.venue not in keys]:
            why = "there is no key for it" if self._keys is not None else "orders are on paper"
            tell_left_behind(self, others, why)
            maker.accounts.halt_for(J.REASON_ACCOUNT)

    def make_order_connections(self, config: Config) -> OrderConnections | None:
        """The connections of order entry; None on paper. On the housekeeping thread's loop."""
        if self._keys is None:
            return None
        return OrderConnections(
            config, self._plain_markets(), self._keys, asyncio.get_running_loop()
        )

    def _plain_markets(self) -> dict[str, Market]:
        return {venue: rules.market for venue, rules in self._markets.items()}

    def _key_variables(self) -> set[str]:
        """Those of the quoted venues' keys, and of the way to them: the watchdog's too."""
        keys = {name for venue in self._keys or () for name in venue_orders(venue).key_names}
        return keys | VARIABLES

    def wall_ns(self) -> int:
        return wall_ns()

    def note_maker(self, level: str, what: str, **facts: object) -> None:
        self._log(level, what, instrument=self._config.quoted_instrument().symbol, **facts)

    @contextlib.asynccontextmanager
    async def attending(self, steered: Steered) -> AsyncIterator[None]:
        """While a market maker is there: look after it, and have it watched.

        It must have ended in order before this is left, if it can: its watchdog sees that.
        """
        keeper = None
        tasks = [asyncio.create_task(self._look(steered))]
        if self._to_clean:
            cleaning = Cleaning(self._config, self._to_clean, self._epoch, self, steered)
            tasks.append(asyncio.create_task(cleaning.run()))
        if self._has_watchdog:
            options = WatchdogOptions.of(
                os.getpid(), self._epoch, self._config, self._plain_markets()
            )
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
                steered.block_maker(is_there)
                if is_there:
                    steered.kill_maker(J.REASON_OPERATOR)
            self._tend()
            await asyncio.sleep(LOOK_EVERY_S)

    def _tend(self) -> None:
        assert self._journal is not None
        try:
            self._journal.tend()
        except JournalError as error:
            # The engine thread halts when the last room is used up, and says so itself.
            self._log("error", "no room for the journal", reason=str(error))


def unique(names: Iterable[str]) -> list[str]:
    """The names in their order, each once."""
    return list(dict.fromkeys(names))
