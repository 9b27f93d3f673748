"""Venues that quote in different currencies: a rate, fixed or from a market, and none."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest

from engine.compiling.jit import JIT_OFF
from engine.engine import Engine, Stage
from engine.layout import layout as L
from engine.layout.status import APPLIED
from engine.maker import fair_codes
from engine.maker import order_layout as O
from engine.maker import quote_layout as Q
from engine.maker.fair import read_price
from engine.specs import FeedSpec, InstrumentSpec
from net.config.schema import ConfigError, parse_config
from net.maker.build import DigestJournal, build_maker
from net.maker.paper_orders import PaperEntry
from net.orders.markets import MarketRules
from net.orders.messages import Market
from net.venues.registry import VENUES
from tests.engine.rig import binance_frame, binance_snapshot, bitstamp_frame, bitstamp_snapshot

pytestmark = pytest.mark.kernel

NOW_NS = 1_700_000_000 * 10**9
BINANCE, BITSTAMP, RATE = range(3)
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
tick_size = "0.01"
[[instrument]]
symbol = "USDT-USD"
[[instrument.venue]]
name = "bitstamp"
symbol = "usdtusd"
tick_size = "0.00001"
[maker]
[maker.fair]
method = "mid"
crossed_bps_max = 2
[maker.venue.binance]
{rate}
[maker.quotes]
size = "0.01"
first = 15
pause_ms = 0
[maker.paper]
latency_ms = 0
latency_tail_ms = 0
fee_bps = 0
[maker.risk]
order_size_max = "1"
order_value_max = "100000"
position_max = "3"
exposure_max = "250000"
daily_loss_max = "500000"
collar_bps = 100
"""
Rows = list[tuple[str, str]]


class Rated:
    """A maker on paper at both venues, and the market that a rate may come from."""

    def __init__(self, rate: str) -> None:
        feeds = [
            FeedSpec(name, VENUES[name].rules, number > 0, symbol, tick)
            for number, (name, symbol, tick) in enumerate(
                (("binance", "BTCUSDT", "0.01"), ("bitstamp", "btcusd", "0.01"),
                 ("bitstamp", "usdtusd", "0.00001"))
            )
        ]  # fmt: skip
        instruments = (
            InstrumentSpec("BTC-USD", tuple(feeds[:2])), InstrumentSpec("USDT-USD", (feeds[2],)),
        )  # fmt: skip
        self.engine = Engine(instruments, window_slots=L.WINDOW_SLOTS_MIN, far_levels_max=64)
        self._handlers = [self.engine.frame_handler(connection) for connection in range(2)]
        self.now_ns, self._id, self._stage = NOW_NS, 100, Stage(64)
        self.told: list[str] = []
        config = parse_config(CONFIG.format(rate=rate), "test")
        markets = {
            "binance": _market("BTCUSDT", "USDT"), "bitstamp": _market("btcusd", "USD"),
        }  # fmt: skip
        self.maker = build_maker(
            config, self.engine, markets, DigestJournal(), self, epoch=1, rng=random.Random(1)
        )

    def wall_ns(self) -> int:
        return self.now_ns

    def note_maker(self, level: str, what: str, **facts: object) -> None:
        self.told.append(what)

    def show(self, feed: int, bids: Rows, asks: Rows) -> None:
        """A venue's whole book is this."""
        self._id += 1
        make = binance_snapshot if feed == BINANCE else bitstamp_snapshot
        assert self.engine.stage(feed, make(self._id, bids, asks), self._stage) == APPLIED
        self.engine.restart_stream(feed)
        self.engine.load(feed, self._stage, 64)
        self.engine.activate(feed, self.now_ns)
        self._id += 1
        frame = binance_frame(self._id, self._id)
        if feed != BINANCE:
            frame = bitstamp_frame(self._id, pair=("btcusd", "usdtusd")[feed == RATE])
        assert self._handlers[feed > BINANCE](frame, self.now_ns, 1) == APPLIED
        self.turn()

    def at(self, usdt: str, usd: str, rate: str) -> None:
        """Every market around its price, a cent (a 1e-5) on both sides."""
        self.show(RATE, *_around(rate, "0.00001"))
        self.show(BINANCE, *_around(usdt, "0.01"))
        self.show(BITSTAMP, *_around(usd, "0.01"))
        self.turn()

    def turn(self) -> None:
        for _ in range(2):
            self.now_ns += 10**8
            self.maker.on_book(self.now_ns)
            self.maker.on_timer(self.now_ns)

    @property
    def status(self) -> int:
        return int(self.maker.fair[Q.FAIR_STATUS])

    @property
    def fair(self) -> float:
        """In dollars."""
        mantissa, decimals = self.maker.rules.unit
        return read_price(self.maker.fair) * float(Decimal(mantissa).scaleb(-decimals))

    def published_bids(self) -> list[tuple[int, int]]:
        """By level: whose it is, and its price in cents."""
        reader = self.engine.reader()
        assert reader.read(0) > 0
        levels = reader.book[L.SLOT_BIDS_AT :].reshape(-1, L.LEVEL_WORDS)
        return [(int(v), int(p)) for p, _, v in levels[: int(reader.book[L.SLOT_BIDS])]]

    def orders(self, venue: int) -> list[tuple[int, int]]:
        entry = self.maker.entries[venue]
        assert isinstance(entry, PaperEntry)
        return sorted((order.side, order.price_ticks) for order in entry._orders.values())


def _market(symbol: str, quote: str) -> MarketRules:
    market = Market(symbol, "BTC", quote, "0.01", "0.00000001")
    return MarketRules(market, 1, 1 << 60, "0", 0, 0, True)


def _around(price: str, step: str, lots: str = "3") -> tuple[Rows, Rows]:
    middle, away = Decimal(price), Decimal(step)
    rows = [[(str(middle + sign * (1 + n) * away), lots) for n in range(5)] for sign in (-1, 1)]
    return rows[0], rows[1]


USDT, USD, USDT_RATE = "60060.06", "60000.00", "0.99900"
"""One bitcoin: 60,060.06 tethers, 60,000 dollars."""
FIXED, MARKET = 'rate = "0.999"', 'rate = "USDT-USD"'


def test_without_a_rate_the_basis_is_told_and_nothing_is_quoted() -> None:
    desk = Rated("")
    desk.at(USDT, USD, USDT_RATE)
    assert desk.status == fair_codes.BASIS and desk.orders(BINANCE) == desk.orders(BITSTAMP) == []


@pytest.mark.parametrize("rate", [FIXED, MARKET])
def test_with_a_rate_there_is_one_fair_price_and_each_venue_is_quoted_in_its_currency(
    rate: str,
) -> None:
    desk = Rated(rate)
    desk.at(USDT, USD, USDT_RATE)
    assert desk.status == fair_codes.AVAILABLE and desk.fair == pytest.approx(60_000, abs=0.02)
    for venue, price in ((BINANCE, 60_060.06), (BITSTAMP, 60_000.0)):
        (_, bid), (_, ask) = desk.orders(venue)
        assert bid / 100 == pytest.approx(price * (1 - 15e-4), abs=0.05)
        assert ask / 100 == pytest.approx(price * (1 + 15e-4), abs=0.05)
    # The published book is as the venues say.
    assert desk.published_bids()[0] == (BINANCE, 6_006_005)


def test_a_rate_that_moves_moves_the_fair_price_and_the_result() -> None:
    """Bought with tethers: they are owed, and cheaper when they fall."""
    desk = Rated(MARKET)
    desk.at(USDT, USD, USDT_RATE)
    bid = desk.orders(BINANCE)[0][1]
    desk.show(BINANCE, *_around(f"{(bid - 9) / 100:.2f}", "0.01"))
    desk.turn()
    assert desk.maker.orders.position_lots == 10**6
    table, size = desk.maker.table, desk.maker.rules.value_size
    owed = int(table[O.venue_word(BINANCE, O.VENUE_CASH_VALUE)]) * size
    assert owed == pytest.approx(-Decimal(bid) / 100 * Decimal("0.01"), abs=Decimal("0.01"))
    for rate in ("0.999", "0.9", "1.1"):
        desk.show(RATE, *_around(rate, "0.00001"))
        desk.show(BINANCE, *_around(f"{60_000 / float(rate):.2f}", "0.01"))
        desk.turn()
        cash = int(table[O.ACCOUNT_CASH_VALUE]) * size
        assert float(cash) == pytest.approx(float(owed) * float(rate), rel=1e-7)
        assert desk.fair == pytest.approx(60_000, rel=1e-5)


def test_a_market_that_is_not_live_gives_no_rate_and_nothing_is_quoted() -> None:
    desk = Rated(MARKET)
    desk.at(USDT, USD, USDT_RATE)
    assert desk.orders(BINANCE) and desk.orders(BITSTAMP)
    desk.engine.set_state(RATE, L.STALE, desk.now_ns)
    desk.turn()
    desk.turn()
    assert desk.status == fair_codes.NO_RATE
    assert desk.orders(BINANCE) == desk.orders(BITSTAMP) == []
    desk.show(RATE, *_around(USDT_RATE, "0.00001"))
    desk.turn()
    assert desk.status == fair_codes.AVAILABLE and desk.orders(BINANCE)


def test_the_best_price_counts_that_the_published_book_has_no_room_for() -> None:
    """All ten published bids are the dearer currency's; all ten asks are the other's."""
    desk = Rated(FIXED)
    rows = [[(f"{60060.06 + sign * n / 100:.2f}", "3") for n in range(1, 30)] for sign in (-1, 1)]
    desk.show(BITSTAMP, *_around(USD, "0.01"))
    desk.show(BINANCE, *rows)
    assert {venue for venue, _ in desk.published_bids()} == {BINANCE}
    assert desk.fair == pytest.approx(60_000, abs=0.02)


@pytest.mark.parametrize("seed", range(5 if JIT_OFF else 40))
def test_currencies_that_are_worth_a_power_of_two_change_nothing(seed: int) -> None:
    """The same books in dollars and in a currency worth two of them: one fair price, to the bit."""
    rng = random.Random(seed)
    plain, rated = Rated(""), Rated('rate = "2"')
    for _ in range(5):
        middle = rng.randrange(5_999_000, 6_001_000, 2)
        books = []
        for _ in range(2):
            shift = rng.randrange(-20, 20, 2)
            prices = sorted(rng.sample(range(2, 200, 2), 6))
            lots = [f"{rng.randrange(1, 900) / 100:.2f}" for _ in prices]
            books.append([(middle + shift, prices, lots)])
        for desk, factor in ((plain, 1), (rated, 2)):
            for feed, ((at, prices, lots),) in enumerate(books):
                scale = 100 * (factor if feed == BINANCE else 1)
                sides = [
                    [
                        (f"{(at + sign * p) / scale:.2f}", q)
                        for p, q in zip(prices, lots, strict=True)
                    ]
                    for sign in (-1, 1)
                ]
                desk.show(feed, *sides)
        assert plain.status == rated.status
        if plain.status == fair_codes.AVAILABLE:
            assert read_price(plain.maker.fair) == read_price(rated.maker.fair)


@pytest.mark.parametrize(
    ("rate", "line"),
    [
        ('rate = "USDC-USD"', "maker.venue.binance.rate: 'USDC-USD' is neither a decimal nor"),
        ('rate = "BTC-USD"', "maker.venue.binance.rate: 'BTC-USD' is neither a decimal nor"),
        ('rate = ""', "maker.venue.binance.rate: '': must be a decimal, or the symbol"),
        ('rate = "0.001"', "maker.venue.binance.rate: '0.001': from 0.01 to 100"),
        ('rate = "101"', "maker.venue.binance.rate: '101': from 0.01 to 100"),
    ],
)
def test_what_is_no_rate_is_one_line(rate: str, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(CONFIG.format(rate=rate), "c.toml")
    assert str(caught.value).startswith(f"c.toml: {line}"), str(caught.value)
