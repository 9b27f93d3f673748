"""One process of a run from what its journal remembers: market maker, order entry, connections.

Beside them is what cleans accounts that are not quoted any more, as net.daemon.left_behind has it.
Runs on: the tests' thread.
"""

from __future__ import annotations

import random
import uuid
from functools import partial
from typing import TYPE_CHECKING

from engine.maker.client_ids import parse_client_id
from engine.maker.state_board_writer import StateBoardWriter
from net.journal.ledger import Account, Ledger
from net.maker.accounts import AccountSpec, AccountsSpec
from net.maker.build import state_board_info
from net.maker.left_behind import LeftBehind
from net.maker.maker import Maker
from net.maker.scaled_settings import MakerRules
from net.orders.interface import EntryHost, VenueEntry
from net.venues.binance.orders.entry import BinanceEntry
from net.venues.bitstamp.orders.entry import BitstampEntry
from tests.trading.judge import WrongError
from tests.trading.life import Life, Notes
from tests.trading.network import Http, Link
from tests.trading.setup import BINANCE_KEYS, BITSTAMP_KEYS

if TYPE_CHECKING:
    from tests.trading.world import World

S = 10**9
OPEN_ORDERS_AGE_NS = S
"""How long Bitstamp's order entry waits before its first reading: ten seconds in the daemon."""


def start_process(world: World, rules: MakerRules, epoch: int, off: str) -> Life:
    """A process that knows its journal, and nothing else. `off`: a venue that is not quoted."""
    journal = Notes(world)
    info = state_board_info(rules, world.engine.instruments[0], is_live=True)
    board = StateBoardWriter(None, info, 0)
    specs = tuple(
        AccountSpec(account, "BTC") if account.venue != off else None for account in world.accounts
    )
    unit = board.info.value_mantissa, board.info.value_decimals
    maker = Maker(
        world.engine, 0, rules, journal, world,
        AccountsSpec("BTC-USD", True, specs, unit), board,
        ledger=_remembered(world, journal), epoch=epoch, rng=world.seeded(),
    )  # fmt: skip
    life = Life(maker, [], [], epoch, [])
    for venue, account in enumerate(world.accounts):
        if account.venue != off:
            maker.attach(venue, _connect(world, life, maker, venue, account.venue))
    if left := maker.accounts.left_behind:
        cleaner = LeftBehind(left, epoch, world, partial(_close, world, life))
        for at, account in enumerate(left):
            cleaner.attach(at, _connect(world, life, cleaner, at, account.venue))
        life.cleaners.append(cleaner)
    return life


def _connect(world: World, life: Life, host: EntryHost, at: int, name: str) -> VenueEntry:
    """An entry at one venue, which its host knows as `at`, and what carries it."""
    venue = next(number for number, each in enumerate(world.venues) if each.name == name)
    link = Link(world, world.venues[venue], world.seeded())
    http = Http(world, world.venues[venue], world.seeded())
    market = world.markets[venue].market
    entry: BinanceEntry | BitstampEntry
    if name == "binance":
        keys = BINANCE_KEYS[world.uses_ed25519]
        entry = BinanceEntry(at, market, keys, link, host, http=http)
    else:
        entry = BitstampEntry(
            at, market, BITSTAMP_KEYS, host, link, http,
            new_nonce=partial(_nonce, world.seeded()), open_orders_age_ns=OPEN_ORDERS_AGE_NS,
        )  # fmt: skip
    link.owner = http.owner = entry
    life.links.append(link)
    life.https.append(http)
    return entry


def _nonce(rng: random.Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128)))


def _remembered(world: World, journal: Notes) -> Ledger:
    """What a new process reads in the journal."""
    ledger = Ledger()
    for record in world.ledger_records:
        ledger.take(world.header, record)
    world.ledger_records.clear()
    ledger.begin(world.header, journal.append)
    return ledger


def _close(world: World, life: Life, account: Account) -> None:
    """An account is said to be clean: it is, but for requests that were under way for minutes."""
    if not world.under_way:
        for venue, order in world.judge.open_orders():
            order_id = parse_client_id(order.client_order_id)
            if venue == account.venue and order_id is not None and order_id >> 32 < life.epoch:
                raise WrongError(f"said to be clean: {order!r:.300}")
    life.maker.accounts.close(account)
