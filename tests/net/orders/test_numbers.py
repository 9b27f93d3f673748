"""Decimals: every integer comes back from its text, and nothing else passes for a number."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.decoding.scale import INT64_MAX, ScaleError, exact_count, exact_text
from net.orders import json_fields
from net.orders.messages import EntryError, Market
from net.orders.request_template import Template
from tests.net.orders.rig import BTCUSDT

tick_sizes = st.tuples(st.integers(1, 9999), st.integers(0, 10)).map(
    lambda pair: f"{Decimal(pair[0]).scaleb(-pair[1]):f}"
)


@given(st.integers(0, 2**63 - 1), st.integers(1, 10**6), st.integers(0, 18))
def test_text_and_count_are_inverse(count: int, mantissa: int, decimals: int) -> None:
    text = exact_text(count, mantissa, decimals)
    assert exact_count(text, mantissa, decimals, 2**63 - 1) == count
    if count:
        with pytest.raises(ScaleError, match="too large"):
            exact_count(text, mantissa, decimals, count - 1)


@given(st.decimals(0, 10**20, allow_nan=False), st.integers(1, 999), st.integers(0, 12))
def test_counts_agree_with_decimal(value: Decimal, mantissa: int, decimals: int) -> None:
    unit = Decimal(mantissa).scaleb(-decimals)
    for text in (str(value), f"{value:f}", f"{value:E}"):
        if len(f"{value:f}") > 28:
            continue
        ratio = value / unit
        try:
            count = exact_count(text, mantissa, decimals, 2**63 - 1)
        except ScaleError:
            assert ratio != ratio.to_integral_value() or ratio > 2**63 - 1
        else:
            assert count * unit == value


@pytest.mark.parametrize(
    "text", ["", "-1", "+1", "1.", ".5", "1,5", "0x1", "1_0", "١", " 1", "1\n", "NaN", "Infinity",
             "1e999", "1" * 29, "1e", "--1"],
)  # fmt: skip
def test_what_is_no_decimal(text: str) -> None:
    with pytest.raises(ScaleError):
        exact_count(text, 1, 8, 2**63 - 1)


@given(tick_sizes, st.integers(1, 2**62), st.integers(0, 8), st.integers(1, 10**7))
def test_a_market_writes_and_reads_every_price_and_quantity(
    tick_size: str, ticks: int, places: int, steps: int
) -> None:
    step_size = f"{Decimal(1).scaleb(-places):f}"
    market = Market("BTCUSDT", "BTC", "USDT", tick_size, step_size)
    price = Template([b"", b""], [market.price_field])
    if ticks * market.tick[0] > INT64_MAX:
        with pytest.raises(EntryError, match="price in ticks"):
            price.write(ticks)
        return
    text = price.write(ticks).decode()
    assert Decimal(text) == Decimal(ticks) * Decimal(tick_size)
    if len(text) <= 28:
        assert market.price_ticks(text) == ticks == json_fields.ticks({"p": text}, "p", market)
    lots = steps * market.step_lots
    quantity = Template([b"", b""], [market.quantity_field]).write(lots).decode()
    assert Decimal(quantity) == Decimal(lots).scaleb(-8)
    assert len(quantity.partition(".")[2]) == places
    assert json_fields.lots({"q": quantity}, "q") == lots


@pytest.mark.parametrize(
    ("tick", "step", "symbol"),
    [("0", "1", "A"), ("x", "1", "A"), ("1", "0.000000001", "A"), ("1", "1", ""), ("1", "1", "a/b"),
     ("1", "1", "a\r\n"), ("1", "-1", "A"), ("1", "1", 'a"b')],
)  # fmt: skip
def test_impossible_markets(tick: str, step: str, symbol: str) -> None:
    with pytest.raises(EntryError):
        Market(symbol, "A", "B", tick, step)


def test_the_largest_quantity_of_binance_fits_and_one_more_does_not() -> None:
    assert json_fields.lots({"q": "92233720368.54775807"}, "q") == 2**63 - 1
    with pytest.raises(EntryError, match="too large"):
        json_fields.lots({"q": "92233720368.54775808"}, "q")
    with pytest.raises(EntryError, match="no multiple of"):
        json_fields.lots({"q": "0.000000001"}, "q")
    with pytest.raises(EntryError, match=r"no multiple of 0\.01"):
        json_fields.ticks({"p": "1.001"}, "p", BTCUSDT)


@pytest.mark.parametrize(
    ("fee", "lots"),
    [("0", 0), ("0.00000001", 1), ("0.000000001", 1), ("0.000000011", 2), ("-0.000000019", -1),
     ("-0.00000001", -1), ("1E-8", 1), (3, 300000000)],
)  # fmt: skip
def test_fees_are_never_understated(fee: Any, lots: int) -> None:
    assert json_fields.fee_lots({"n": fee}, "n") == lots


@pytest.mark.parametrize("bad", [0.1, None, True, [], {}, "x", "-1", 2**63, -1, "1" * 1000])
def test_what_is_no_quantity(bad: Any) -> None:
    with pytest.raises(EntryError) as caught:
        json_fields.lots({"q": bad}, "q")
    assert len(str(caught.value)) < 200
    with pytest.raises(EntryError, match="q is missing"):
        json_fields.lots({"r": bad}, "q")


@pytest.mark.parametrize(
    ("text", "time_ns"),
    [("1970-01-01 00:00:00", 0), ("2022-01-31 14:43:15.796000", 1643640195_796000_000),
     ("2022-01-31 14:43:15", 1643640195_000000_000)],
)  # fmt: skip
def test_dates(text: str, time_ns: int) -> None:
    assert json_fields.datetime_ns({"d": text}, "d") == time_ns


@pytest.mark.parametrize(
    "bad", ["", "2022-13-01 00:00:00", "9999-01-01 00:00:00", "1969-12-31 23:59:59", 7, None,
            "2022-01-31T14:43:15", "2022-01-31 14:43:15Z", "2022-02-30 00:00:00"],
)  # fmt: skip
def test_what_is_no_date(bad: Any) -> None:
    with pytest.raises(EntryError):
        json_fields.datetime_ns({"d": bad}, "d")


def test_json_numbers_keep_their_digits() -> None:
    value = json_fields.read_exact(b'{"a": 0.10000000000000000001, "b": 1E-8, "c": 5}')
    assert value == {"a": "0.10000000000000000001", "b": "1E-8", "c": 5}
    assert json_fields.lots(value, "b") == 1 and json_fields.lots(value, "c") == 5 * 10**8


@pytest.mark.parametrize(
    "bad", [-1, 2**63, "-1", str(2**63), "1" * 5000, "", "1.0", 1.0, True, None]
)
def test_what_is_no_number_of_an_order(bad: Any) -> None:
    assert (
        json_fields.whole({"i": 2**63 - 1}, "i")
        == json_fields.whole({"i": str(2**63 - 1)}, "i")
        == 2**63 - 1
    )
    with pytest.raises(EntryError, match=r"^i: "):
        json_fields.whole({"i": bad}, "i")


@pytest.mark.parametrize("bad", ["a\nb", "\x1b[31m", "\ud800", "a" * 181, 7, [], None])
def test_what_is_no_name(bad: Any) -> None:
    assert (
        json_fields.text({"c": "ä" * 180}, "c") == "ä" * 180 and json_fields.text({}, "c", "") == ""
    )
    with pytest.raises(EntryError, match=r"^c: "):
        json_fields.text({"c": bad}, "c")
