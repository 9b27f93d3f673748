"""What the watchdog is told by the daemon: the configuration, the markets, and whose orders.

Keys are not among it: they come from the environment.
Runs on: the main thread, once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, ValidationError

from engine.maker.order_layout import EPOCH_MAX
from net.config.schema import Config
from net.config.section import Section
from net.orders.messages import EntryError, Market


class WatchdogError(Exception):
    """The watchdog cannot start: one line."""


class GivenMarket(Section):
    """A venue's market, as net.orders.messages.Market is made."""

    symbol: str
    base: str
    quote: str
    tick_size: str
    step_size: str


Markets = Mapping[str, Mapping[str, Market]]


class WatchdogOptions(Section):
    """Everything the watchdog needs to know."""

    parent_pid: Annotated[int, Field(ge=1)]
    """The daemon's process."""
    epoch: Annotated[int, Field(ge=1, le=EPOCH_MAX)]
    """Of the market maker's run: orders of a later one are another watchdog's."""
    config: Config
    markets: dict[str, dict[str, GivenMarket]]
    """By instrument, of those whose orders are live, and by venue: at least those quoted."""

    @classmethod
    def of(cls, parent_pid: int, epoch: int, config: Config, markets: Markets) -> WatchdogOptions:
        """From what the daemon has. `markets`: by instrument and by venue."""
        names = list(GivenMarket.model_fields)
        given = {
            symbol: {
                venue: GivenMarket(**{name: getattr(market, name) for name in names})
                for venue, market in its.items()
            }
            for symbol, its in markets.items()
        }
        return cls(parent_pid=parent_pid, epoch=epoch, config=config, markets=given)

    def made_markets(self, symbol: str) -> dict[str, Market]:
        """An instrument's markets by venue; WatchdogError where one cannot be."""
        given = self.markets[symbol]
        try:
            return {venue: Market(**each.model_dump()) for venue, each in given.items()}
        except EntryError as error:
            raise WatchdogError(str(error)) from None

    def to_json(self) -> str:
        """What `python -m net.watchdog` reads."""
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str) -> WatchdogOptions:
        """The opposite of `to_json`; WatchdogError names what is wrong."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "options"
            raise WatchdogError(f"{where}: {first['msg']}") from None
