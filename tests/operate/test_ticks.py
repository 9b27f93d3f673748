"""Ticks are not the grid of every price for ever: a daemon, and an exchange of the test's own.

Issue 13, point 3.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from decimal import Decimal

import pytest

from proto.pollux.v1 import market_data_pb2 as pb
from tests.e2e.rig import START_S, until
from tests.operate.plain_exchange import PlainExchange, PlainMarket
from tests.operate.rig import Operated, log_lines, operated

pytestmark = pytest.mark.timeout(120)

LIMIT_S = 5.0
DEPTH = 10
FINER, OLD_GRID, CHEAP, NEIGHBOUR = "BTCUSDT", "ETHUSDT", "BTTCUSDT", "LTCUSDT"


def exchange() -> PlainExchange:
    two = {"100.00": "1.50000000", "99.99": "2.00000000"}, {"100.01": "1", "100.02": "2"}
    far = ("1.00", "900.00")
    return PlainExchange(
        {
            FINER: PlainMarket("0.01", dict(two[0]), dict(two[1]), far),
            # Its tick was 0.00001 once, and 0.1 is what it declares now.
            OLD_GRID: PlainMarket("0.1", {"100.0": "1", "99.12345": "7"}, {"100.1": "1"}, far),
            CHEAP: PlainMarket(
                "0.00000001",
                {"0.00000061": "1.00", "0.00000060": "184467440737.00000000", "0": "5"},
                {"0.00000062": "1.8e+3", "0.00000063": "2.5"},
                ("0.00000001", "0.09"),
            ),
            NEIGHBOUR: PlainMarket("0.01", dict(two[0]), dict(two[1]), far),
        }
    )


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[PlainExchange, Operated]]:
    there = exchange()
    toml = "".join(
        f'[[instrument]]\nsymbol = "{symbol}"\ndepth = {DEPTH}\n[[instrument.venue]]\n'
        f'name = "binance"\nsymbol = "{symbol}"\n'
        for symbol in there.markets
    )
    with (
        there.running() as venue,
        operated(tmp_path_factory.mktemp("ticks"), toml + venue) as served,
    ):
        yield there, served


def levels(book: pb.Book) -> tuple[list[tuple[Decimal, Decimal]], ...]:
    tick = Decimal(book.tick_mantissa).scaleb(-book.tick_decimals)
    lot = Decimal(1).scaleb(-book.lot_decimals)
    return tuple(
        [(level.price_ticks * tick, level.amount_lots * lot) for level in side]
        for side in (book.bids, book.asks)
    )


def is_right(there: PlainExchange, served: Operated, symbol: str) -> bool:
    """LIVE and exact: but for the far levels, which change with every frame."""
    book, market = served.daemon.get(symbol), there.markets[symbol]
    if book is None or [venue.state for venue in book.venues] != [pb.VENUE_STATE_LIVE]:
        return False
    far = set(map(Decimal, market.far))
    shown, true = levels(book), market.truth(DEPTH)
    return all(
        [row for row in one if row[0] not in far] == [row for row in other if row[0] not in far]
        for one, other in zip(shown, true, strict=True)
    )


def until_right(there: PlainExchange, served: Operated, symbol: str, limit_s: float) -> None:
    def condition() -> bool:
        return is_right(there, served, symbol)

    until(condition, limit_s, f"{symbol}: {served.daemon.get(symbol)} {there.markets[symbol]}")


def change(there: PlainExchange, act: Callable[[], None]) -> None:
    with there.lock:
        act()


def broken(served: Operated, symbol: str) -> int:
    return sum(line["symbol"] == symbol for line in log_lines(served.log, "broken"))


def test_every_market_is_live_and_exact(plain: tuple[PlainExchange, Operated]) -> None:
    """Orders of an older grid, totals that no 1e-8 holds, a price of zero, an exponent."""
    there, served = plain
    for symbol in there.markets:
        until_right(there, served, symbol, START_S)
    book = served.daemon.get(OLD_GRID)
    assert book is not None and (book.tick_mantissa, book.tick_decimals) == (1, 5)
    book = served.daemon.get(CHEAP)
    assert book is not None and book.lot_decimals == 6


def test_a_tick_made_finer_is_learned_within_five_seconds(
    plain: tuple[PlainExchange, Operated],
) -> None:
    there, served = plain
    market = there.markets[FINER]
    until_right(there, served, FINER, START_S)
    asked, before = market.tick_questions, broken(served, NEIGHBOUR)

    def finer() -> None:
        market.tick = "0.001"
        market.set(0, "100.005", "3")
        market.set(1, "100.009", "1.8e-7")

    change(there, finer)
    started_s = time.monotonic()
    until_right(there, served, FINER, LIMIT_S)
    assert time.monotonic() - started_s < LIMIT_S
    until(lambda: market.tick_questions > asked, LIMIT_S, "the metadata to be asked again")
    (told,) = [
        line for line in log_lines(served.log, "tick size") if line.get("tick_size") == "0.001"
    ]
    assert told["symbol"] == FINER
    listed = {
        i.symbol: i
        for i in served.daemon.stub.ListInstruments(pb.ListInstrumentsRequest()).instruments
    }
    assert (listed[FINER].tick_mantissa, listed[FINER].tick_decimals) == (1, 3)
    assert broken(served, NEIGHBOUR) == before == 0
    until_right(there, served, NEIGHBOUR, LIMIT_S)


def test_a_quantity_of_ten_decimals_is_learned_too(plain: tuple[PlainExchange, Operated]) -> None:
    there, served = plain
    change(there, lambda: there.markets[FINER].set(0, "99.98", "0.0123456789"))
    until_right(there, served, FINER, LIMIT_S)
    book = served.daemon.get(FINER)
    assert book is not None and book.lot_decimals == 10
    assert broken(served, NEIGHBOUR) == 0
