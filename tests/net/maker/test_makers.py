"""Several market makers of one engine: who steps when, what they share, and who can be asked."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from engine.engine import Engine, Stage
from engine.layout import layout as L
from engine.layout.status import APPLIED
from engine.maker import journal_codes as J
from engine.maker import order_layout as O
from engine.maker import risk_codes as R
from engine.maker.client_ids import parse_client_id
from engine.maker.state_board import board_kind, open_boards
from engine.sharing.segment import segment_path
from net.config.makers import MakersSettings
from net.config.schema import Config, parse_config
from net.feed.specs import instrument_specs
from net.journal.files import Record
from net.journal.ledger import Account, Holding, Ledger
from net.maker.build import build_maker
from net.maker.event_journal import JournalNames
from net.maker.maker import Maker
from net.maker.makers import Makers
from net.maker.market_fit import RulesError
from net.maker.shared import share
from net.orders.interface import EntryState
from net.orders.markets import MarketRules
from net.orders.messages import Market
from tests.net.maker.test_build import Host

pytestmark = pytest.mark.kernel

NOW_NS = 1_700_000_000 * 10**9
BASES = ("BTC", "ETH", "SOL")
"""The last one is not quoted."""
MAKER = """
[[maker]]
symbol = "{base}-USD"
orders = "{orders}"
{more}
[maker.quotes]
size = "0.01"
[maker.risk]
order_size_max = "1"
order_value_max = "100000"
position_max = "3"
exposure_max = "250000"
daily_loss_max = "500"
"""
TICKS = {("binance", f"{base}USDT"): "0.01" for base in BASES}


@pytest.fixture
def name() -> Iterator[str]:
    chosen = f"makers-{os.getpid()}"
    yield chosen
    for number in range(3):
        segment_path(chosen, board_kind(number)).unlink(missing_ok=True)


def config_of(orders: str = "paper", more: str = "") -> Config:
    books = "".join(
        f'[[instrument]]\nsymbol = "{base}-USD"\nvenue = [{{name = "binance", '
        f'symbol = "{base}USDT", tick_size = "0.01"}}]\n'
        for base in BASES
    )
    makers = "".join(MAKER.format(base=base, orders=orders, more=more) for base in BASES[:2])
    return parse_config(books + makers, "test")


def market(base: str, quote: str = "USDT") -> MarketRules:
    return MarketRules(
        Market(f"{base}{quote}", base, quote, "0.01", "0.00001"), 1_000, 1 << 60, "0", 0, 0, True
    )


class Records:
    """A journal that keeps its records."""

    def __init__(self) -> None:
        self.all: list[Record] = []

    def append(self, record: Record) -> int:
        self.all.append(record)
        return len(self.all)


class Desk:
    """Two market makers and a third instrument, over one connection."""

    def __init__(
        self,
        orders: str = "paper",
        settings: MakersSettings | None = None,
        board_name: str | None = None,
        markets: tuple[MarketRules, MarketRules] = (market("BTC"), market("ETH")),
        more: str = "",
        ledger: Ledger | None = None,
    ) -> None:
        config = config_of(orders, more)
        self.engine = Engine(instrument_specs(config, TICKS), window_slots=1 << 12)
        self.host, self.journal = Host(), Records()
        made: list[Maker] = []
        for number in (1, 0):
            maker = build_maker(
                config, self.engine, {"binance": markets[number]}, self.journal, self.host,
                epoch=7, rng=random.Random(number), board_name=board_name,
                settings=config.maker[number], number=number, names=JournalNames(number, (0,)),
                ledger=ledger,
            )  # fmt: skip
            made.insert(0, maker)
        shared = share(settings or MakersSettings(), made)
        self.makers = Makers(self.engine, made, (), shared)
        self._handle = self.engine.frame_handler(0)
        self._ids = [100, 100, 100]
        for index in range(3):
            self._load(index)

    @property
    def both(self) -> tuple[Maker, ...]:
        return self.makers.all

    def _load(self, index: int) -> None:
        stage = Stage(16)
        body = b'{"lastUpdateId":100,"bids":[["60000.00","1.0"]],"asks":[["60010.00","1.0"]]}'
        assert self.engine.stage(index, body, stage) == APPLIED
        self.engine.set_state(index, L.SYNCING, NOW_NS)
        self.engine.load(index, stage, 16)
        self.engine.activate(index, NOW_NS)

    def frame(self, index: int, quantity: str, *, is_last: bool = True) -> None:
        """One more quantity at the best bid of an instrument."""
        self._ids[index] += 1
        number = self._ids[index]
        text = (
            f'{{"stream":"{BASES[index].lower()}usdt@depth","data":{{"e":"depthUpdate","E":1,'
            f'"s":"{BASES[index]}USDT","U":{number},"u":{number},"b":[["60000.00","{quantity}"]],'
            f'"a":[]}}}}'
        )
        assert self._handle(text.encode(), NOW_NS, int(is_last)) == APPLIED


def stepped(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The instruments that step, as they do."""
    seen: list[str] = []
    for maker in desk.both:
        monkeypatch.setattr(maker, "on_book", lambda now_ns, m=maker: seen.append(m.symbol))
    return seen


def test_a_frame_steps_the_market_makers_whose_instruments_it_touched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = Desk()
    desk.makers.on_timer(NOW_NS)
    seen = stepped(desk, monkeypatch)
    desk.frame(2, "2.0")
    assert desk.makers.due[0] == 0, "nobody quotes it: there is nothing to be stepped"
    desk.frame(1, "2.0")
    assert desk.makers.due[0] == 2
    desk.makers.on_frame(NOW_NS)
    assert seen == ["ETH-USD"] and desk.makers.due[0] == 0
    for index in (1, 0, 2):
        desk.frame(index, "3.0", is_last=index == 2)
    desk.makers.on_frame(NOW_NS)
    assert seen == ["ETH-USD", "BTC-USD", "ETH-USD"], "one step each, of one buffer's frames"


def test_each_has_its_own_orders_journal_places_and_board(name: str) -> None:
    desk = Desk(board_name=name)
    try:
        desk.makers.on_timer(NOW_NS)
        for index in range(3):
            desk.frame(index, "2.0")
        for number in (1, 2):
            desk.makers.on_frame(NOW_NS)
            desk.makers.on_timer(NOW_NS + number)
        boards = open_boards(name)
        assert [board.info.symbol for board in boards] == ["BTC-USD", "ETH-USD"]
        ids = [{order.id for order in board.read().orders} for board in boards]
        assert all(ids) and not ids[0] & ids[1]
        assert {each >> 32 for both in ids for each in both} == {7}
        submits = [r for r in desk.journal.all if r.kind == J.EVENT_SUBMIT]
        assert {record.instrument for record in submits} == {0, 1}
        number = boards[1].request_kill()
        desk.makers.on_timer(NOW_NS + 2 * 10**9)
        assert boards[1].kills_done == number
        assert [maker.halts.is_halted for maker in desk.both] == [False, True]
        boards[0].request_kill()
        desk.makers.on_timer(NOW_NS + 3 * 10**9)
        assert all(maker.halts.is_halted for maker in desk.both)
        for board in boards:
            board.request_release()
        desk.makers.on_timer(NOW_NS + 4 * 10**9)
        assert not any(maker.halts.is_halted for maker in desk.both)
    finally:
        desk.makers.close()
    assert open_boards(name) == ()


def test_a_kill_is_of_one_or_of_all_and_the_watchdogs_of_live_orders_alone() -> None:
    desk = Desk()
    desk.makers.kill(J.REASON_WATCHDOG, "", NOW_NS)
    assert not any(maker.halts.is_halted for maker in desk.both)
    desk.makers.kill(J.REASON_OPERATOR, "ETH-USD", NOW_NS)
    assert [maker.halts.is_halted for maker in desk.both] == [False, True]
    desk.makers.kill(J.REASON_OPERATOR, "", NOW_NS)
    assert all(maker.halts.is_halted for maker in desk.both)


def test_a_release_after_the_loss_of_all_is_of_all() -> None:
    """The first that is released must not find the others' losses again."""
    desk = Desk(settings=MakersSettings(daily_loss_max="10"))
    desk.makers.on_timer(NOW_NS)
    for index in range(2):
        desk.frame(index, "2.0")
    desk.makers.on_frame(NOW_NS)
    for maker in desk.both:
        maker.table[O.ACCOUNT_CASH_VALUE] -= round(6 / float(maker.rules.value_size))
    for number in (1, 2):
        desk.makers.on_timer(NOW_NS + number * 10**8)
    assert all(maker.halts.is_halted for maker in desk.both)
    assert {int(m.risk[O.RISK_HALT_REASON]) for m in desk.both} == {R.SHARED_LOSS}
    assert {m.accounts.halt for m in desk.both} == {J.REASON_SHARED_LOSS_LIMIT}
    for maker in desk.both:
        maker.halts.release()
    desk.makers.on_timer(NOW_NS + 10**9)
    assert not any(maker.halts.is_halted for maker in desk.both)


def test_a_limit_of_all_is_named_with_its_key() -> None:
    """Not with the market maker's own limit of the same name, which is far from reached."""
    desk = Desk("live", settings=MakersSettings(venue_orders_per_10_s=3))
    for maker in desk.both:
        maker.risk[O.RISK_REFUSALS_AT + R.SHARED_RATE] += 1
        maker.halts.look(NOW_NS)
    reason, limit = R.TEXTS[R.SHARED_RATE], "makers.venue_orders_per_10_s = 3"
    assert desk.host.facts == [{"reason": reason, "limit": limit}] * 2


# --- what cannot be shared -----------------------------------------------------------------------


def test_two_positions_in_one_currency_at_a_venue_are_refused() -> None:
    same = (market("BTC"), market("BTC", "EUR"))
    with pytest.raises(RulesError, match="BTC-USD has its position in BTC, which ETH-USD changes"):
        Desk("live", markets=same)
    with pytest.raises(RulesError, match="has its position in BTC"):
        Desk("live", markets=(market("BTC"), market("ETH", "BTC")))
    with pytest.raises(RulesError, match="ETH-USD has its position in BNB, which BTC-USD changes"):
        Desk("live", markets=(market("BTC"), market("BNB")), more='fee_rates = {BNB = "600"}')
    Desk("paper", markets=same)


def test_limits_that_no_market_maker_has_are_refused() -> None:
    def refused(**settings: object) -> str:
        with pytest.raises(RulesError) as caught:
            Desk(settings=MakersSettings.model_validate(settings))
        return str(caught.value)

    assert refused(exposure_max={"DOGE": "1"}) == (
        "makers.exposure_max.DOGE: no market maker holds DOGE; they hold BTC, ETH, USDT"
    )
    assert "ETH-USD is paid for in EUR: give what one EUR is worth in USDT" in _refused_mixed()
    assert "no whole number of 1e-8" in refused(exposure_max={"BTC": "0.000000001"})


def _refused_mixed() -> str:
    with pytest.raises(RulesError) as caught:
        Desk(
            settings=MakersSettings(daily_loss_max="10"),
            markets=(market("BTC"), market("ETH", "EUR")),
        )
    return str(caught.value)


def test_audits_at_one_account_take_turns_and_know_what_they_share() -> None:
    asked: list[int] = []
    entry = SimpleNamespace(
        compiled=None, audit_every_ns=10, state=None, audit=asked.append, can_replace=True
    )
    desk = Desk("live")
    entry.state = EntryState.READY
    audit = desk.both[0].audit
    for now_ns in range(100, 200, 5):
        audit.on_timer(0, entry, now_ns)
    assert asked == [100, 120, 140, 160, 180], "every second turn is the other's"


def test_what_the_others_read_is_not_left_behind() -> None:
    """An account that one of them reads is cleaned by that one, and no reason for a halt."""
    ledger = Ledger()
    for base in BASES:
        ledger.set_holding(Account(True, "binance", f"{base}USDT"), Holding(1, 0, True, 0))
    desk = Desk("live", ledger=ledger)
    left = Account(True, "binance", "SOLUSDT")
    assert [maker.accounts.left_behind for maker in desk.both] == [[left], [left]]
    desk.both[1].accounts.close(left)
    assert [maker.accounts.left_behind for maker in desk.both] == [[], []]


def test_a_name_tells_whose_order_it_is() -> None:
    first, second = (parse_client_id(f"pollux-00000007-{n:08x}") for n in (1, O.ORDERS_MAX + 2))
    assert first is not None and second is not None and second - first == O.ORDERS_MAX + 1
