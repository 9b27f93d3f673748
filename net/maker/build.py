"""A market maker from a configuration: with paper order entry, or ready for the venues'.

Runs on: the main thread.
"""

from __future__ import annotations

import hashlib
import random
import struct
from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_CEILING, Decimal

from engine.engine import Engine
from engine.layout.layout import LOT_DECIMALS
from engine.maker import journal_records as JR
from engine.maker import order_layout as O
from engine.maker.state_board import StateBoardInfo
from engine.maker.state_board_writer import StateBoardWriter
from engine.specs import InstrumentSpec
from net.config.maker import MakerSettings, MakerVenue
from net.config.schema import Config
from net.journal.files import Record
from net.journal.ledger import Account, Ledger
from net.maker.accounts import AccountSpec, AccountsSpec
from net.maker.event_journal import Journal, JournalNames
from net.maker.maker import Maker
from net.maker.paper_orders import PaperEntry, PaperMarket
from net.maker.risk_report import MakerHost
from net.maker.scaled_settings import MakerRules, lots_of, make_rules, paper_fee_bps
from net.orders.markets import MarketRules
from net.orders.messages import Market

LOT_STEP = "0.00000001"
_RECORD = struct.Struct(f"={JR.DRAFT_WORDS}q")


def build_maker(
    config: Config,
    engine: Engine,
    markets: Mapping[str, MarketRules],
    journal: Journal,
    host: MakerHost,
    *,
    epoch: int,
    rng: random.Random,
    ledger: Ledger | None = None,
    board_name: str | None = None,
    start_ns: int = 0,
    settings: MakerSettings | None = None,
    number: int = 0,
    names: JournalNames | None = None,
) -> Maker:
    """The market maker of the configured instrument; RulesError where a setting does not fit.

    `markets` by venue; `ledger`: what the journal remembers, kept up from now on, or None;
    `board_name`: the daemon's, by which others find the state board, None for a private one, and
    HandoffError where it cannot be made. `settings`: of the configuration's, or its first;
    `number`: among those that run, from 0; `names`: the journal's.
    """
    settings = settings or config.maker[0]
    symbol = config.quoted_instrument(settings).symbol
    index = [each.symbol for each in engine.instruments].index(symbol)
    instrument = engine.instruments[index]
    rules = make_rules(settings, instrument, tuple(markets[f.venue] for f in instrument.feeds))
    info = state_board_info(rules, instrument, is_live=settings.orders == "live")
    board = StateBoardWriter(board_name, info, start_ns, number)
    accounts = accounts_spec(settings, instrument, info, rules.is_quoted, markets)
    maker = Maker(
        engine, index, rules, journal, host, accounts, board,
        ledger=ledger if ledger is not None else Ledger(), epoch=epoch, rng=rng,
        number=number, names=names,
    )  # fmt: skip
    if settings.orders == "paper":
        for venue, is_quoted in enumerate(rules.is_quoted):
            if is_quoted:
                maker.attach(venue, _paper_entry(settings, engine, index, venue, markets, maker))
    return maker


def _paper_entry(
    settings: MakerSettings,
    engine: Engine,
    instrument: int,
    venue: int,
    markets: Mapping[str, MarketRules],
    maker: Maker,
) -> PaperEntry:
    """Paper order entry at one venue of an instrument, both by their places in the engine."""
    feed = sum(len(each.feeds) for each in engine.instruments[:instrument]) + venue
    name = engine.feeds[feed].venue
    given = settings.venue.get(name, MakerVenue())
    market = markets[name].market
    fee_bps, taker_fee_bps = paper_fee_bps(settings, given), settings.paper.taker_fee_bps
    paper = PaperMarket(engine, feed, market, fee_bps, taker_fee_bps)
    return PaperEntry(maker, venue, paper, settings.paper)


def accounts_spec(
    settings: MakerSettings,
    instrument: InstrumentSpec,
    info: StateBoardInfo,
    is_quoted: Sequence[bool],
    markets: Mapping[str, MarketRules],
) -> AccountsSpec:
    """The accounts that a market maker of an instrument uses; RulesError."""
    found: list[AccountSpec | None] = []
    for feed, is_ours in zip(instrument.feeds, is_quoted, strict=True):
        name = f"venue.{feed.venue}.neutral"
        given = settings.venue[feed.venue].neutral if feed.venue in settings.venue else None
        account = Account(info.is_live, feed.venue, feed.symbol)
        neutral_lots = lots_of(name, given) if given is not None and info.is_live else None
        base = markets[feed.venue].market.base
        found.append(AccountSpec(account, base, neutral_lots) if is_ours else None)
    unit = info.value_mantissa, info.value_decimals
    return AccountsSpec(instrument.symbol, info.is_live, tuple(found), unit)


def state_board_info(
    rules: MakerRules, instrument: InstrumentSpec, *, is_live: bool
) -> StateBoardInfo:
    """What the state board says of a market maker once. `is_live`: its orders go to the venues."""
    venues = tuple(feed.venue for feed in instrument.feeds)
    mantissa, decimals = rules.unit
    return StateBoardInfo(instrument.symbol, venues, is_live, mantissa, decimals, rules.value_scale)


def plain_market(symbol: str, tick_size: str) -> MarketRules:
    """A market of which nothing but the tick is known: no filters, any amount."""
    market = Market(symbol, "BASE", "QUOTE", tick_size, LOT_STEP)
    return MarketRules(market, 1, 1 << 60, "0", 0, 0, True)


def result_texts(maker: Maker) -> dict[str, str]:
    """Position, fees and result as decimals, and how often there was a fill."""
    table, scale = maker.table, maker.rules.value_size
    position = Decimal(maker.orders.position_lots).scaleb(-LOT_DECIMALS)
    fees = int(table[O.ACCOUNT_FEE_VALUE]) * scale
    texts = {"fills": str(table[O.ACCOUNT_FILLS]), "position": f"{position:f}"}
    texts["fees"] = f"{fees.quantize(Decimal('0.01'), ROUND_CEILING):f}"
    if maker.risk[O.RISK_FAIR_PRICE]:
        texts["result"] = f"{int(maker.risk[O.RISK_RESULT_VALUE]) * scale:.2f}"
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
        self._digest.update(_RECORD.pack(*record[: JR.DRAFT_WORDS]))
        if self.watch is not None:
            self.watch(record)
        return self.records

    @property
    def digest(self) -> str:
        """Of all records so far, as hex."""
        return self._digest.hexdigest()
