"""The ladder as text: sizes, colours, empty and crossed books; and the exact decimals."""

from __future__ import annotations

import io
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from net.client.book_lines import duration_text, state_name, time_text
from net.client.decimals import decimal_text
from net.client.ladder import Ladder, LadderStatus
from proto.pollux.v1 import maker_pb2
from proto.pollux.v1 import market_data_pb2 as pb

NOW_NS = 1_700_000_000_123_000_000


def _book(bids: int = 10, asks: int = 10, venues: int = 2, crossed: bool = False) -> pb.Book:
    names = ["binance", "bitstamp", "coinbase", "kraken"][:venues]
    book = pb.Book(
        symbol="BTC-USD",
        sequence=123_456,
        publish_time_ns=NOW_NS,
        crossed=crossed,
        tick_mantissa=1,
        tick_decimals=2,
        lot_decimals=8,
    )
    for i in range(bids):
        venue = names[i % venues]
        book.bids.add(venue=venue, price_ticks=6_183_762 - i, amount_lots=10**8 + i)
    for i in range(asks):
        ticks = 6_183_763 + i - (50 if crossed else 0)
        book.asks.add(venue=names[i % venues], price_ticks=ticks, amount_lots=2 * 10**8)
    if bids and asks:
        book.spread_ticks = book.asks[0].price_ticks - book.bids[0].price_ticks
    for i, name in enumerate(names):
        state = pb.VENUE_STATE_STALE if i == 1 else pb.VENUE_STATE_LIVE
        book.venues.add(venue=name, state=state, receive_time_ns=NOW_NS - 7_300_000_000 * i)
    return book


def _render(
    book: pb.Book | None,
    width: int = 80,
    height: int = 24,
    *,
    notice: str = "",
    colour: bool = True,
    maker: maker_pb2.Maker | None = None,
    encoding: str = "utf-8",
) -> str:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(
        width=width,
        height=height,
        file=file,
        force_terminal=True,
        color_system="256" if colour else None,
        no_color=not colour,
        legacy_windows=False,
    )
    status = LadderStatus(NOW_NS, 48.2, 400_000, notice)
    console.print(Ladder(book, status, "127.0.0.1:5002", maker))
    file.flush()
    file.seek(0)
    return file.read()


def _lines(text: str) -> list[str]:
    return text.splitlines()


def test_ten_levels_a_side_fit_into_80_by_24() -> None:
    lines = _lines(_render(_book(), colour=False))
    assert len(lines) <= 24 and max(map(len, lines)) <= 80
    assert lines[0].startswith("BTC-USD") and "#123,456  48/s  lag 0.40 ms" in lines[0]
    assert sum("61,837." in line for line in lines) == 21, "20 levels and the mid"
    middle = next(i for i, line in enumerate(lines) if "spread" in line)
    assert "spread 0.01 (0.00 bps)  mid 61,837.625" in lines[middle]
    assert "61,837.63" in lines[middle - 1], "the best ask lies on the spread"
    assert "61,837.62" in lines[middle + 1], "the best bid lies under it"
    assert "61,837.72" in lines[middle - 10] and "61,837.53" in lines[middle + 10]
    assert "● binance LIVE 0.00 ms" in lines[-1] and "◆ bitstamp STALE 7.3 s" in lines[-1]


def test_with_and_without_colour_the_words_are_the_same() -> None:
    plain, coloured = _render(_book(), colour=False), _render(_book())
    assert "\x1b[" not in plain
    for code in ("32m", "31m", "33m", "36m"):
        assert code in coloured, "bids green, asks red, the venues yellow and cyan"
    words = Console(file=io.StringIO(), width=80, height=24, no_color=True, force_terminal=True)
    with words.capture() as captured:
        words.print(Ladder(_book(), LadderStatus(NOW_NS, 48.2, 400_000)))
    assert "38;5" not in captured.get()
    assert "CROSSED" in _render(_book(crossed=True), colour=False)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 10), (20, 6), (10, 5), (200, 60)])
@pytest.mark.parametrize("venues", [1, 2, 4])
def test_every_size_holds_the_spread_and_overflows_nowhere(
    width: int, height: int, venues: int
) -> None:
    lines = _lines(_render(_book(venues=venues), width, height, colour=False))
    assert max(map(len, lines)) <= width
    if width >= 20 * venues:
        assert len(lines) <= max(height, 5)
    assert any("spr" in line for line in lines)


def test_levels_come_before_the_column_heads() -> None:
    assert not any("venue " in line for line in _lines(_render(_book(), 80, 23, colour=False)))
    assert any("venue " in line for line in _lines(_render(_book(), 80, 24, colour=False)))


@pytest.mark.parametrize(("bids", "asks"), [(0, 0), (3, 0), (0, 3), (1, 1), (2, 7)])
def test_thin_books(bids: int, asks: int) -> None:
    text = _render(_book(bids, asks), colour=False)
    assert ("a side is empty" in text) == (not bids or not asks)
    assert text.count("no levels") == (not bids) + (not asks)


def test_a_crossed_book_says_so() -> None:
    text = _render(_book(crossed=True), colour=False)
    assert "spread -0.49 (-0.08 bps)" in text and "CROSSED" in text


def test_a_terminal_without_unicode() -> None:
    text = _render(_book(), encoding="ascii", colour=False)
    assert text.isascii() and "####" in text and "* binance LIVE" in text


def test_waiting_and_trouble_are_shown() -> None:
    assert "waiting for the first book" in _render(None, colour=False)
    assert "connecting: nobody" in _render(None, notice="connecting: nobody", colour=False)
    lines = _lines(_render(_book(), notice="connecting: " + "x" * 200, colour=False))
    assert "connecting: xxx" in lines[0] and len(lines[0]) <= 80


@given(st.integers(-(2**70), 2**70), st.integers(0, 18))
def test_decimal_text_is_exact(mantissa: int, decimals: int) -> None:
    text = decimal_text(mantissa, decimals)
    sign, digits, exponent = Decimal(text).as_tuple()
    value = int("".join(map(str, digits))) * (-1 if sign else 1)
    assert (value, exponent) == (mantissa, -decimals)
    assert decimal_text(mantissa, decimals, grouped=True).replace(",", "") == text


def test_small_words() -> None:
    assert duration_text(-5) == "0.00 ms"
    assert duration_text(17_000_000) == "17 ms"
    assert duration_text(7_300_000_000) == "7.3 s"
    assert duration_text(300_000_000_000) == "5 min"
    assert state_name(pb.VENUE_STATE_LIVE) == "LIVE" and state_name(77) == "77"
    assert time_text(NOW_NS) == "22:13:20.123Z"


def _maker(symbol: str = "BTC-USD") -> maker_pb2.Maker:
    maker = maker_pb2.Maker(
        symbol=symbol,
        risk_state=maker_pb2.RISK_STATE_NORMAL,
        tick_mantissa=1,
        tick_decimals=2,
        lot_decimals=8,
        value_mantissa=1,
        value_decimals=10,
        fair_price=61_837.625,
        position_lots=-(10**7),
        day_result_units=-123_400_000_001,
    )
    buy, sell = maker_pb2.SIDE_BUY, maker_pb2.SIDE_SELL
    maker.orders.add(venue="binance", side=buy, price_ticks=6_183_760)
    maker.orders.add(venue="bitstamp", side=sell, price_ticks=6_183_764)
    maker.orders.add(venue="bitstamp", side=buy, price_ticks=6_183_762)  # that level is binance's
    maker.orders.add(venue="binance", side=sell, price_ticks=6_183_758)  # a bid is there
    return maker


@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 10), (20, 6)])
def test_own_orders_are_marked_and_the_market_maker_is_below(width: int, height: int) -> None:
    lines = _lines(_render(_book(), width, height, maker=_maker(), colour=False))
    assert max(map(len, lines)) <= width
    assert len(lines) <= height
    if width < 80:
        return
    marked = [line for line in lines if line.startswith(">")]
    assert len(marked) == 2
    assert "bitstamp" in marked[0] and "61,837.64" in marked[0]
    assert "binance" in marked[1] and "61,837.60" in marked[1]
    assert lines[-1].split("  ") == [
        " maker NORMAL on paper",
        "fair 61,837.6250",
        "position -0.1",
        "fills 0",
        "today -12.35 ",
    ], "a loss never looks smaller than it is"


def test_a_halted_market_maker_says_why_and_another_instruments_says_nothing() -> None:
    maker = _maker()
    maker.risk_state, maker.halt_reason = maker_pb2.RISK_STATE_HALTED, "killed"
    maker.ClearField("fair_price")
    maker.fair_status = "the book is empty"
    text = _render(_book(), maker=maker, colour=False)
    assert "maker HALTED: killed on paper" in text and "fair none (the book is empty)" in text
    assert _render(_book(), maker=_maker("ETH-USD")) == _render(_book())
