"""A market maker whose instrument's books begin to count in other units while it quotes.

Whatever the books count in, an order's price is on the tick that its venue declares (issue 13,
point 3).
"""

from __future__ import annotations

import random

import pytest

from engine.maker import quote_layout as Q
from engine.maker.fair import read_price
from engine.maker.step import STEP_IS_SHOWN
from net.config.schema import parse_config
from net.maker.build import DigestJournal, build_maker, plain_market
from net.maker.maker import Maker
from net.maker.market_fit import RulesError
from net.maker.paper_orders import PaperEntry
from tests.net.rig import ASKS, BIDS, Desk, Rows, binance_diff

pytestmark = pytest.mark.kernel

CONFIG = """
[[instrument]]
symbol = "BTC-USD"
[[instrument.venue]]
name = "binance"
symbol = "BTCUSDT"
tick_size = "0.01"
[maker]
orders = "paper"
[maker.quotes]
size = "0.01"
first = 5.0
[maker.risk]
order_size_max = "1"
order_value_max = "100000"
position_max = "3"
exposure_max = "250000"
daily_loss_max = "500"
"""


class Quoting(Desk):
    """A desk of one venue, and a market maker on paper."""

    def __init__(self) -> None:
        super().__init__(("binance",))
        self.told: list[tuple[str, str]] = []
        self.maker = self.build("0.01")

    def build(self, tick_size: str) -> Maker:
        config = parse_config(CONFIG, "test")
        markets = {"binance": plain_market("BTCUSDT", tick_size)}
        rng = random.Random(1)
        return build_maker(config, self.engine, markets, DigestJournal(), self, epoch=1, rng=rng)

    def note_maker(self, level: str, what: str, **facts: object) -> None:
        self.told.append((level, what))

    def step(self) -> None:
        for _ in range(4):
            self.wait(0.05)
            self.maker.on_book(self.wall_ns())
            self.maker.on_timer(self.wall_ns())

    def orders(self) -> list[tuple[int, int]]:
        """What rests on paper: side and price in the venue's declared ticks."""
        entry = self.maker.entries[0]
        assert isinstance(entry, PaperEntry)
        return sorted((order.side, order.price_ticks) for order in entry._orders.values())

    def show(self, book_id: int, bids: Rows, asks: Rows) -> None:
        """The venue's book becomes LIVE with these levels, if it is not."""
        for number in range(8):
            self.wait(0.6)
            self.frame("binance", binance_diff(book_id + number, book_id + number))
            if self.syncs["binance"].is_asking:
                self.answer("binance", book_id + number, bids, asks)
                break
        assert self.state("binance") == "LIVE"
        self.step()


@pytest.fixture
def desk() -> Quoting:
    found = Quoting()
    found.go_live("binance")
    found.step()
    return found


def test_quotes_go_on_at_the_declared_tick_when_the_book_counts_finer(desk: Quoting) -> None:
    before = desk.orders()
    assert len(before) >= 2 and read_price(desk.maker.fair) == pytest.approx(10_000.5, abs=0.5)
    desk.frame("binance", binance_diff(101, 101, [("100.0000000001", "3")], []))
    desk.step()
    assert desk.orders() == [], "a book that is withdrawn is not quoted on"
    desk.show(102, BIDS, ASKS)
    assert desk.engine.units(0).price == (1, 10)
    assert desk.orders() == before and desk.maker.rules.unit == (1, 2)
    assert read_price(desk.maker.fair) == pytest.approx(10_000.5, abs=0.5)


def test_a_best_price_between_two_ticks_is_joined_on_the_worse_one(desk: Quoting) -> None:
    desk.frame("binance", binance_diff(101, 101, [("100.005", "3")], []))
    desk.show(102, [("100.0049", "3"), *BIDS], [("100.0051", "3"), *ASKS])
    assert desk.engine.best_ticks(0) == (10_000, 10_001)
    for side, ticks in desk.orders():
        assert 9_900 < ticks <= 10_000 if side == 0 else 10_001 <= ticks < 10_100


@pytest.mark.parametrize(("tick_size", "is_quoted"), [("0.005", True), ("0.1", False)])
def test_a_tick_that_ours_is_no_multiple_of_ends_quoting(
    desk: Quoting, tick_size: str, is_quoted: bool
) -> None:
    desk.maker.on_tick_size(0, tick_size, desk.wall_ns())
    desk.step()
    assert bool(desk.orders()) is is_quoted
    said = ("error", "the tick has changed: not quoted until a restart")
    assert (said in desk.told) is not is_quoted
    desk.maker.on_tick_size(0, "0.01", desk.wall_ns())
    desk.frame("binance", binance_diff(101, 101, [("99.98", "3")], []))
    desk.step()
    assert desk.orders(), "as it was"


def test_a_configured_tick_that_orders_do_not_have_is_refused(desk: Quoting) -> None:
    """Prices would be of another scale."""
    with pytest.raises(
        RulesError, match=r"0\.01: binance takes orders of BTCUSDT in steps of 0\.1"
    ):
        desk.build("0.1")


@pytest.mark.parametrize("large", ["184467440737.0", "0.0000000001"], ids=["coarser", "finer"])
def test_what_only_we_stand_at_is_no_price_of_others_in_any_lot(desk: Quoting, large: str) -> None:
    desk.maker._step._words[STEP_IS_SHOWN] = 1  # as live: the book shows what rests
    desk.frame("binance", binance_diff(101, 101, [("50.00", large)], []))
    desk.show(102, [*BIDS, ("99.00", "1"), ("50.00", large)], ASKS)
    assert desk.engine.units(0).lot_decimals == (6 if large[0] == "1" else 10)
    bid = max(ticks for side, ticks in desk.orders() if side == 0)
    ask = min(ticks for side, ticks in desk.orders() if side == 1)
    gone: list[Rows] = [[(price, "0") for price, _ in side] for side in (BIDS, ASKS)]
    for amount, best in (("0.01", 9_900), ("0.0101", bid), ("0.01", 9_900)):
        ours = [(f"{bid / 100:.2f}", amount)], [(f"{ask / 100:.2f}", amount)]
        last = desk.engine.last_frame_id(0) + 1
        raw = binance_diff(last, last, gone[0] + ours[0], gone[1] + ours[1])
        desk.frame("binance", raw)
        desk.maker.on_book(desk.wall_ns())
        assert desk.maker._step.quotes[Q.QUOTE_BEST_BID] == best
