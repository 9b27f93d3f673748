"""Every code of the venues has a class, one; and the class says what is safe to believe."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from net.orders.errors import ErrorClass as E
from net.orders.errors import RefusalRow, RefusalTable
from net.orders.messages import MAYBE_THERE
from net.venues.binance.orders import refusals as binance_refusals
from net.venues.binance.orders.refusals import binance_class
from net.venues.bitstamp.orders import refusals as bitstamp_refusals
from net.venues.bitstamp.orders.refusals import bitstamp_class

BINANCE = {
    -1003: E.RATE_LIMITED, -1006: E.UNKNOWN_OUTCOME, -1007: E.UNKNOWN_OUTCOME,
    -1008: E.RATE_LIMITED, -1013: E.BAD_FILTER, -1015: E.RATE_LIMITED, -1021: E.CLOCK_SKEW,
    -1022: E.BAD_KEYS, -1102: E.BAD_REQUEST, -1104: E.BAD_REQUEST, -1106: E.BAD_REQUEST,
    -1111: E.BAD_FILTER, -1121: E.BAD_SYMBOL, -2010: E.REJECTED, -2011: E.UNKNOWN_ORDER,
    -2013: E.UNKNOWN_ORDER, -2014: E.BAD_KEYS, -2015: E.BAD_KEYS, -2021: E.PARTIAL,
    -2022: E.PARTIAL, -2026: E.UNKNOWN_ORDER, -2035: E.REJECTED, -2036: E.REJECTED,
    -2038: E.REJECTED, -2039: E.UNKNOWN_ORDER,
}  # fmt: skip
TEXTS = {
    (-2010, "Account has insufficient balance for requested action."): E.INSUFFICIENT_BALANCE,
    (-2010, "Order would immediately match and take."): E.WOULD_TAKE,
    (-2010, "Duplicate order sent."): E.DUPLICATE,
    (-2010, "Market is closed."): E.MARKET_SUSPENDED,
    (-2010, "This action is disabled on this account."): E.NO_PERMISSION,
    (-2010, "This symbol is not permitted for this account."): E.NO_PERMISSION,
    (-2010, "Something new."): E.REJECTED,
    (-2011, "Unknown order sent."): E.UNKNOWN_ORDER,
    (-2011, "Order was not canceled due to cancel restrictions."): E.REJECTED,
    (-2038, "The requested action would change no state; rejecting."): E.REJECTED,
    (-1013, "Filter failure: LOT_SIZE"): E.BAD_FILTER,
}
BITSTAMP = {
    "400.009": E.INSUFFICIENT_BALANCE, "400.020": E.BAD_FILTER, "400.046": E.BAD_FILTER,
    "400.021": E.BAD_FILTER, "400.003": E.MARKET_SUSPENDED, "500.012": E.MARKET_SUSPENDED,
    "404.002": E.UNKNOWN_ORDER, "403.004": E.NO_PERMISSION, "500.016": E.UNKNOWN_OUTCOME,
    "500.017": E.REJECTED, "400.002": E.RATE_LIMITED, "400.067": E.RATE_LIMITED,
    "400.068": E.RATE_LIMITED, "400.019": E.DUPLICATE, "400.024": E.BAD_REQUEST,
    "404.008": E.UNKNOWN_ORDER, "400.081": E.BAD_REQUEST, "400.085": E.BAD_REQUEST,
    "API0001": E.BAD_KEYS, "API0002": E.BAD_KEYS, "API0003": E.NO_PERMISSION,
    "API0004": E.BAD_REQUEST, "API0005": E.BAD_KEYS, "API0017": E.CLOCK_SKEW,
    "API0020": E.BAD_REQUEST, "API0021": E.BAD_REQUEST,
}  # fmt: skip


@pytest.mark.parametrize("code", BINANCE)
def test_binance_codes(code: int) -> None:
    assert binance_class(400, code, "") is BINANCE[code]
    listed = [row.error for row in binance_refusals.REFUSALS.rows if code in row.codes]
    assert listed == [BINANCE[code]], "in the table, not by default"


@pytest.mark.parametrize(("code", "text"), TEXTS)
def test_binance_texts(code: int, text: str) -> None:
    assert binance_class(400, code, text) is TEXTS[code, text]


@pytest.mark.parametrize("code", BITSTAMP)
def test_bitstamp_codes(code: str) -> None:
    assert bitstamp_class(400, code, "") is BITSTAMP[code]
    assert [row.error for row in bitstamp_refusals.REFUSALS.rows if code in row.codes] == [
        BITSTAMP[code]
    ]


def test_the_whole_of_bitstamps_list_is_in_the_table() -> None:
    """How many codes the venue lists under each number, in 2026."""
    counts = {400: 86, 403: 10, 404: 8, 500: 23}
    listed = [code for row in bitstamp_refusals.REFUSALS.rows for code in row.codes]
    for major, count in counts.items():
        assert {f"{major}.{n:03}" for n in range(1, count + 1)} <= set(listed)
    assert len(listed) == len(set(listed)), "each code once"
    codes = [code for row in binance_refusals.REFUSALS.rows for code in row.codes]
    assert len(codes) == len(set(codes)), "each code once"


def test_every_class_but_none_comes_from_somewhere() -> None:
    tables = [
        [row.error for row in each.REFUSALS.rows] for each in (binance_refusals, bitstamp_refusals)
    ]
    assert set().union(*tables) == set(E) - {E.NONE}
    for table in tables:
        assert len(table) == len(set(table)), "one row for a class"


def test_a_table_of_refusals_has_each_code_once_and_its_texts_in_lower_case() -> None:
    with pytest.raises(AssertionError, match="stands in two rows"):
        RefusalTable(RefusalRow(E.REJECTED, (1,)), RefusalRow(E.BAD_KEYS, (2, 1)))
    with pytest.raises(AssertionError, match="Closed"):
        RefusalTable(RefusalRow(E.MARKET_SUSPENDED, (1,), ("Closed",)))


@given(st.integers(500, 599), st.sampled_from([*BINANCE, 0]), st.text(max_size=20))
def test_after_a_server_error_of_binance_anything_may_have_happened(
    status: int, code: int, text: str
) -> None:
    assert binance_class(status, code, text) is E.UNKNOWN_OUTCOME


@pytest.mark.parametrize(
    ("status", "code", "text", "error"),
    [
        (500, "", "", E.UNKNOWN_OUTCOME),
        (502, "", "Bad Gateway", E.UNKNOWN_OUTCOME),
        (408, "", "", E.UNKNOWN_OUTCOME),
        (400, "500.099", "", E.UNKNOWN_OUTCOME),
        (500, "500.017", "", E.REJECTED),
        (429, "", "", E.RATE_LIMITED),
        (403, "", "<html>Incapsula", E.RATE_LIMITED),
        (404, "", "<html>", E.BAD_SYMBOL),
        (404, "", "Order not found", E.UNKNOWN_ORDER),
        (200, "", "Order not found", E.UNKNOWN_ORDER),
        (400, "400.999", "", E.REJECTED),
        (401, "", "", E.BAD_KEYS),
    ],
)
def test_bitstamp_by_status_and_text(status: int, code: str, text: str, error: E) -> None:
    assert bitstamp_class(status, code, text) is error


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (429, -1015, E.RATE_LIMITED),
        (418, -1003, E.RATE_LIMITED),
        (403, 0, E.RATE_LIMITED),
        (401, -2015, E.BAD_KEYS),
        (400, -9999, E.REJECTED),
        (409, -2021, E.PARTIAL),
    ],
)
def test_binance_by_status(status: int, code: int, error: E) -> None:
    assert binance_class(status, code, "") is error


def test_what_may_be_in_the_book_is_never_taken_for_refused() -> None:
    assert E.UNKNOWN_OUTCOME in MAYBE_THERE and E.DUPLICATE in MAYBE_THERE
    assert not {E.WOULD_TAKE, E.INSUFFICIENT_BALANCE, E.BAD_FILTER, E.RATE_LIMITED} & MAYBE_THERE
