"""A market maker from a configuration: with paper order entry, or ready for the venues'.

Runs on: the main thread. Called by: net.daemon, net.replay.
"""

from __future__ import annotations

import hashlib
import math
import random
import struct
from collections.abc import Callable, Mapping
from decimal import Decimal

from engine.engine import Engine
from engine.layout import LOT_DECIMALS
from engine.maker import journal as J
from engine.maker import order_layout as L
from engine.maker.fair import read_price
from net.config import Config
from net.entry.markets import MarketRules
from net.entry.order import Market
from net.journal import Record
from net.maker.book import Journal
from net.maker.maker import Maker, MakerHost
from net.maker.opening import Openings
from net.maker.paper import PaperEntry
from net.maker.rules import lots_of, make_rules

LOT_STEP = "0.00000001"
_RECORD = struct.Struct(f"={J.DRAFT_WORDS}q")


def build_maker(
    config: Config,
    engine: Engine,
    markets: Mapping[str, MarketRules],
    journal: Journal,
    host: MakerHost,
    *,
    epoch: int,
    rng: random.Random,
    neutral_lots: int | None = None,
) -> Maker:
    """The market maker of the configured instrument; RulesError where a setting does not fit.

    `markets` by venue; `neutral_lots`: what the journal says, where the configuration does not.
    """
    settings = config.maker
    assert settings is not None
    index = config.instrument.index(config.quoted_instrument())
    instrument = engine.instruments[index]
    rules = make_rules(settings, instrument, tuple(markets[f.venue] for f in instrument.feeds))
    pairs = zip(instrument.feeds, rules.is_quoted, strict=True)
    bases = [markets[f.venue].market.base if is_quoted else None for f, is_quoted in pairs]
    if settings.orders == "paper":
        neutral_lots = 0
    elif settings.neutral is not None:
        neutral_lots = lots_of("neutral", settings.neutral)
    openings = Openings(bases, neutral_lots)
    maker = Maker(engine, index, rules, journal, host, openings, epoch=epoch, rng=rng)
    if settings.orders == "paper":
        for venue, is_quoted in enumerate(rules.is_quoted):
            if is_quoted:
                symbol = instrument.feeds[venue].symbol
                maker.attach(venue, PaperEntry(maker, venue, symbol))
    return maker


def plain_market(symbol: str, tick_size: str) -> MarketRules:
    """A market of which nothing but the tick is known: no filters, any amount."""
    market = Market(symbol, "BASE", "QUOTE", tick_size, LOT_STEP)
    return MarketRules(market, 1, 1 << 60, "0", 0, 0, True)


def result_texts(maker: Maker) -> dict[str, str]:
    """Position and result as exact decimals, and how often there was a fill."""
    table, scale = maker.table, maker.rules.value_size
    fair = read_price(maker.fair)
    cash = int(table[L.ACCOUNT_CASH_VALUE]) * scale
    position = Decimal(maker.book.position_lots).scaleb(-LOT_DECIMALS)
    mantissa, decimals = maker.rules.unit
    texts = {"fills": str(table[L.ACCOUNT_FILLS]), "position": f"{position:f}"}
    if not math.isnan(fair):
        marked = cash + position * Decimal(round(fair) * mantissa).scaleb(-decimals)
        texts["result"] = f"{marked:.2f}"
    return texts


class DigestJournal:
    """A journal of which only the number of records and their digest are kept."""

    def __init__(self) -> None:
        self.records = 0
        self.watch: Callable[[Record], None] | None = None
        """Is shown each record."""
        self._digest = hashlib.sha256()

    def append(self, record: Record) -> int:
        self.records += 1
        self._digest.update(_RECORD.pack(*record[: J.DRAFT_WORDS]))
        if self.watch is not None:
            self.watch(record)
        return self.records

    @property
    def digest(self) -> str:
        """Of all records so far, as hex."""
        return self._digest.hexdigest()
