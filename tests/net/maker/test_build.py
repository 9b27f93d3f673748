"""A market maker from a configuration: whole on paper, one line where it does not fit."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest

from engine.maker import journal_codes as J
from engine.maker import order_layout as O
from engine.maker import quote_layout as Q
from engine.maker import risk_codes as R
from engine.maker import risk_gate
from engine.maker import state_board_layout as B
from engine.maker.client_ids import format_client_id
from engine.maker.state_board import BOARD_KIND, StateBoardReader
from engine.sharing.segment import segment_path
from net.config.schema import Config, ConfigError, parse_config
from net.journal.files import Record
from net.journal.ledger import Account, Holding, Ledger
from net.maker.build import DigestJournal, build_maker, plain_market, result_texts
from net.maker.maker import Maker
from net.maker.market_fit import RulesError
from net.maker.paper_orders import PaperEntry
from net.maker.recovery import Start
from net.orders.interface import EntryState, Opening, VenueEntry
from net.orders.markets import MarketRules
from net.orders.messages import Kind, OrderEvent, State
from tests.trading.setup import draw_markets, new_engine

pytestmark = pytest.mark.kernel

NOW_NS = 1_700_000_000 * 10**9
CONFIG = """
[[instrument]]
symbol = "BTC-USD"
[[instrument.venue]]
name = "binance"
symbol = "BTCUSDT"
tick_size = "0.01"
[[instrument.venue]]
name = "bitstamp"
symbol = "btcusd"
tick_size = "1"
[maker]
orders = "{orders}"
{more}
[maker.venue.bitstamp]
quote = false
[maker.quotes]
size = "0.01"
[maker.risk]
order_size_max = "1"
order_value_max = "100000"
position_max = "3"
exposure_max = "250000"
daily_loss_max = "500"
"""


@pytest.fixture
def name() -> Iterator[str]:
    chosen = f"maker-build-{os.getpid()}"
    yield chosen
    segment_path(chosen, BOARD_KIND).unlink(missing_ok=True)


class Host:
    """Keeps what is told."""

    def __init__(self) -> None:
        self.notes: list[tuple[str, str]] = []
        self.facts: list[dict[str, object]] = []
        """Of each note."""

    def wall_ns(self) -> int:
        return NOW_NS

    def note_maker(self, level: str, what: str, **facts: object) -> None:
        self.notes.append((level, what))
        self.facts.append(facts)


def config_of(orders: str = "paper", more: str = "") -> Config:
    return parse_config(CONFIG.format(orders=orders, more=more), "test")


def build(
    config: Config,
    journal: DigestJournal,
    *,
    board_name: str | None = None,
    ledger: Ledger | None = None,
    **changes: object,
) -> tuple[Maker, Host]:
    """A maker over an engine without any book; `changes`: of the first venue's market."""
    markets, _ = draw_markets(random.Random(1))
    first: MarketRules = replace(markets[0], **changes)  # type: ignore[arg-type]
    host = Host()
    maker = build_maker(
        config,
        new_engine(markets),
        {"binance": first, "bitstamp": markets[1]},
        journal,
        host,
        epoch=7,
        rng=random.Random(2),
        ledger=ledger,
        board_name=board_name,
    )
    return maker, host


def test_on_paper_every_quoted_venue_has_an_entry_and_the_position_is_zero() -> None:
    journal = DigestJournal()
    maker, host = build(config_of(), journal)
    assert isinstance(maker.entries[0], PaperEntry) and maker.entries[1] is None
    assert not maker.board.info.is_live and maker.board.info.venues == ("binance", "bitstamp")
    empty = journal.digest
    maker.on_timer(NOW_NS)
    assert ("info", "position at the start") in host.notes
    assert maker.recovery.starts == [Start(0, 0), None] and maker.orders.position_lots == 0
    assert journal.records == 2 and journal.digest != empty, "a reconnect, the position"
    assert result_texts(maker) == {"fills": "0", "position": "0.00000000", "fees": "0.00"}


def test_a_named_board_is_what_others_find_and_see(name: str) -> None:
    maker, _ = build(config_of("live"), DigestJournal(), board_name=name)
    try:
        reader = StateBoardReader(name)
        assert reader.info == maker.board.info and reader.info.is_live
        assert reader.info.venues == ("binance", "bitstamp")
        maker.on_timer(NOW_NS)
        assert not reader.read().orders
    finally:
        maker.board.close()


def test_a_result_is_marked_to_the_fair_price_once_there_is_one() -> None:
    maker, _ = build(config_of(), DigestJournal())
    mantissa, decimals = maker.rules.unit
    price = round(60_000 * 10**decimals / mantissa)
    maker.table[O.ACCOUNT_POSITION_LOTS] = 50_000_000
    maker.table[O.ACCOUNT_CASH_VALUE] = round(-29_000 / maker.rules.value_size)
    maker.table[O.ACCOUNT_FEE_VALUE] = round(7.251 / float(maker.rules.value_size))
    risk_gate.submit(maker.table, maker.risk, maker._step.actions, 0, price, NOW_NS)
    texts = {"fills": "0", "position": "0.50000000", "fees": "7.26", "result": "1000.00"}
    assert result_texts(maker) == texts


def test_a_digest_is_of_every_record_and_shows_each() -> None:
    journals = (DigestJournal(), DigestJournal(), DigestJournal())
    seen: list[Record] = []
    journals[0].watch = seen.append
    kill, release = Record(J.EVENT_KILL, NOW_NS), Record(J.EVENT_RELEASE, NOW_NS)
    for journal, records in zip(
        journals, ((kill, release), (kill, release), (release, kill)), strict=True
    ):
        assert [journal.append(each) for each in records] == [1, 2]
    assert seen == [kill, release]
    assert journals[0].digest == journals[1].digest != journals[2].digest


def test_what_the_configuration_says_is_neutral_comes_before_the_journal() -> None:
    ledger = Ledger()
    ledger.holdings[Account(True, "binance", "BTCUSDT")] = Holding(5, 0, False, 0)
    live, _ = build(config_of("live"), DigestJournal(), ledger=ledger)
    assert live.entries == [None, None] and live.board.info.is_live
    (memory, unquoted) = live.accounts.memories()
    assert memory is not None and memory.neutral_lots == 5 and unquoted is None
    given = '[maker.venue.binance]\nneutral = "10.5"'
    told, _ = build(config_of("live", given), DigestJournal(), ledger=ledger)
    (memory, _) = told.accounts.memories()
    assert memory is not None and memory.neutral_lots == 1_050_000_000
    with pytest.raises(ConfigError, match=r"maker.*\[maker\.venue\.NAME\] neutral"):
        config_of("live", 'neutral = "10.5"')


def test_paper_goes_on_where_it_was_and_never_with_what_is_live() -> None:
    """Issue 14.1: a paper run and a live one with the same journal."""
    ledger = Ledger()
    ledger.holdings[Account(True, "binance", "BTCUSDT")] = Holding(5, 3, False, 0)
    paper, _ = build(config_of(), DigestJournal(), ledger=ledger)
    paper.on_timer(NOW_NS)
    assert paper.orders.position_lots == 0
    ledger.holdings[Account(False, "binance", "BTCUSDT")] = Holding(0, -7, False, 0)
    paper, _ = build(config_of(), DigestJournal(), ledger=ledger)
    paper.on_timer(NOW_NS)
    assert paper.orders.position_lots == -7


def test_a_kill_outlives_the_process_until_its_release() -> None:
    """Issue 14.3."""
    ledger = Ledger()
    first, _ = build(config_of(), DigestJournal(), ledger=ledger)
    first.on_timer(NOW_NS)
    first.halts.kill(J.REASON_WATCHDOG, NOW_NS)
    for _ in range(2):
        maker, _ = build(config_of(), DigestJournal(), ledger=ledger)
        assert maker.halts.is_halted and maker.accounts.halt == J.REASON_WATCHDOG
        maker.on_timer(NOW_NS)
        assert maker.halts.is_halted
        maker.stop(NOW_NS)
        maker.end()
    maker, host = build(config_of(), DigestJournal(), ledger=ledger)
    maker.halts.release()
    assert not maker.halts.is_halted and ("warning", "quoting released") in host.notes
    maker.stop(NOW_NS)
    maker.end()
    assert not build(config_of(), DigestJournal(), ledger=ledger)[0].halts.is_halted


@pytest.mark.parametrize("is_told", [True, False], ids=["accepted", "told later"])
def test_an_account_that_is_explained_ends_its_halt_and_no_day(
    is_told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen: a deposit between two runs, found in the venue's history, forgot the day's loss."""
    ledger = Ledger()
    maker, host = build(config_of(), DigestJournal(), ledger=ledger)
    maker.on_timer(NOW_NS)
    maker.risk[O.RISK_DAY], maker.risk[O.RISK_DAY_START_VALUE] = 20_000, 777
    monkeypatch.setattr(type(maker.recovery), "disputed", [0])
    maker.halts.dispute(NOW_NS)
    maker.on_timer(NOW_NS)
    assert maker.halts.is_halted and maker.accounts.halt == J.REASON_ACCOUNT
    monkeypatch.setattr(type(maker.recovery), "disputed", [])
    if is_told:
        maker.halts.settle([])
    else:
        maker.on_timer(NOW_NS)
    assert not maker.halts.is_halted and maker.accounts.halt == J.REASON_NONE
    assert (maker.risk[O.RISK_DAY], maker.risk[O.RISK_DAY_START_VALUE]) == (20_000, 777)
    assert ("warning", "quoting goes on: the account is explained") in host.notes
    maker.halts.kill(J.REASON_OPERATOR, NOW_NS)
    maker.halts.settle([])
    assert maker.halts.is_halted, "a kill waits for its release"


def test_a_setting_that_does_not_fit_the_market_names_its_key() -> None:
    with pytest.raises(RulesError, match=r"maker\.quotes\.size: 0\.01 is below what binance takes"):
        build(config_of(), DigestJournal(), lots_min=2_000_000)


def test_a_kill_is_told_once_and_no_release_passes_the_kill_file() -> None:
    maker, host = build(config_of(), DigestJournal())
    maker.on_timer(NOW_NS)
    assert not maker.halts.is_halted
    maker.halts.kill(J.REASON_OPERATOR, NOW_NS)
    assert maker.halts.is_halted and int(maker.risk[O.RISK_HALTS]) == 1
    maker.halts.kill(J.REASON_OPERATOR, NOW_NS)
    assert host.notes.count(("warning", "quoting killed")) == 1
    maker.halts.is_blocked = True
    maker.halts.release()
    assert maker.halts.is_halted
    maker.halts.is_blocked = False
    maker.halts.release()
    assert not maker.halts.is_halted


def test_a_market_of_which_only_the_tick_is_known_has_no_limits() -> None:
    market = plain_market("X", "0.5")
    assert market.market.tick == (5, 1) and market.notional_min == "0" and market.is_trading


FEE_TOLD = "the first level is inside the fee: it is quoted farther out"


def quoted(maker: Maker) -> tuple[int, int]:
    """The edge and the first level of the first venue's quotes, in ppm."""
    words = maker._step.quotes
    return int(words[Q.QUOTE_EDGE_PPM_MIN]), int(words[Q.QUOTE_FIRST])


def live(config: Config) -> tuple[Maker, Host]:
    """A market maker with an order entry that is not connected."""
    maker, host = build(config, DigestJournal())
    entry = SimpleNamespace(
        compiled=None,
        state=EntryState.DISCONNECTED,
        can_replace=True,
        audit_every_ns=0,
        on_timer=lambda now_ns: None,
        cancel_all=lambda order_ids, now_ns: None,
    )
    maker.attach(0, cast(VenueEntry, entry))
    return maker, host


def told(maker: Maker, fee_ppm: int | None) -> None:
    """The venue's order entry has read the account."""
    maker.on_ready(0, Opening((), (), (), fee_ppm), NOW_NS)


def test_on_paper_the_fee_of_paper_counts() -> None:
    maker, host = build(config_of(), DigestJournal())
    maker.on_timer(NOW_NS)
    assert maker.fees.maker_ppm == [1_000, 1_000] and quoted(maker) == (1_100, 1_100)
    assert FEE_TOLD not in [what for _, what in host.notes], "nobody has asked for ten points"


def test_what_the_venue_tells_of_its_fee_counts_from_then_on() -> None:
    maker, _ = live(config_of("live"))
    told(maker, None)
    assert maker.fees.maker_ppm == [1_000, 3_000] and quoted(maker) == (1_100, 1_100)
    told(maker, 750)
    assert maker.fees.maker_ppm[0] == 750 and quoted(maker) == (850, 1_000)
    told(maker, None)
    assert maker.fees.maker_ppm[0] == 750, "nothing new was told"
    told(maker, -20)
    assert quoted(maker) == (100, 1_000), "a rebate brings no quote nearer than the edge"
    maker.on_timer(NOW_NS)
    assert maker.board.venues[B.VENUE_FEE_PPM] == -20


def test_a_first_level_inside_the_fee_is_told_once_and_moved_out() -> None:
    near = config_of("live").model_copy()
    quotes = type(near.maker[0].quotes)(size="0.01", first=5.0)
    settings = near.maker[0].model_copy(update={"quotes": quotes})
    maker, host = live(near.model_copy(update={"maker": (settings,)}))
    for _ in range(2):
        told(maker, 750)
    assert host.notes.count(("warning", FEE_TOLD)) == 1
    assert quoted(maker) == (850, 850)


def test_a_fee_that_leaves_no_price_is_told_as_an_error() -> None:
    maker, host = live(config_of("live"))
    told(maker, 19_800)
    assert [what for level, what in host.notes if level == "error"] == []
    told(maker, 19_900)
    (what,) = [what for level, what in host.notes if level == "error"]
    assert what.startswith("the fee leaves no price to quote at")


def test_a_configured_fee_stays_whatever_the_venue_tells() -> None:
    maker, _ = live(config_of("live", "[maker.venue.binance]\nfee_bps = 2.0"))
    told(maker, 750)
    assert maker.fees.maker_ppm[0] == 200 and quoted(maker) == (300, 1_000)


# --- another market maker ------------------------------------------------------------------------


def order_of(epoch: int, kind: Kind) -> OrderEvent:
    return OrderEvent(kind, State.OPEN, "BTCUSDT", format_client_id(epoch << 32 | 1), 5)


NEWER, OLDER = 8, 6
SEEN: dict[str, Callable[[Maker, int], None]] = {
    "an event": lambda maker, epoch: maker.on_push(0, (order_of(epoch, Kind.ACCEPTED),), (), 0),
    "an audit": lambda maker, epoch: maker.on_audit(
        0, Opening((order_of(epoch, Kind.STATE),), (), ()), 0
    ),
    "an opening": lambda maker, epoch: maker.on_ready(
        0, Opening((order_of(epoch, Kind.STATE),), (), ()), 0
    ),
}


@pytest.mark.parametrize("how", SEEN)
def test_a_newer_run_on_the_same_account_and_market_halts_this_one(how: str) -> None:
    maker, host = live(config_of("live"))
    records: list[Record] = []
    shown: list[int] = []

    def write(record: Record) -> None:
        records.append(record)
        shown.append(int(maker.risk[O.RISK_HALT_REASON]))

    vars(maker._journal)["write"] = write
    maker._is_started = True
    SEEN[how](maker, NEWER)
    assert R.KILLED not in shown, "the reason is there from the first moment of the halt"
    assert maker.halts.is_halted and maker.risk[O.RISK_HALT_REASON] == R.OTHER_MAKER
    kills = [each.reason for each in records if each.kind == J.EVENT_KILL]
    assert kills == [J.REASON_OTHER_MAKER] and not maker.recovery.has_strays
    told = ("error", R.TEXTS[R.OTHER_MAKER])
    assert host.notes.count(told) == 1
    SEEN[how](maker, NEWER)
    assert host.notes.count(told) == 1, "it is known"


@pytest.mark.parametrize("how", SEEN)
def test_an_order_of_an_older_run_is_cancelled_and_halts_nothing(how: str) -> None:
    maker, _ = live(config_of("live"))
    maker._is_started = True
    SEEN[how](maker, OLDER)
    assert not maker.halts.is_halted and maker.recovery.is_stray(0, OLDER << 32 | 1)


def test_before_the_start_whatever_is_open_under_our_names_is_left_from_before() -> None:
    maker, _ = live(config_of("live"))
    SEEN["an opening"](maker, NEWER)
    assert not maker.halts.is_halted and maker.recovery.is_stray(0, NEWER << 32 | 1)
