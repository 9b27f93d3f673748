"""Exact scaling against Decimal: any tick, any mantissa, any number of decimals."""

from __future__ import annotations

import functools
from decimal import Decimal, localcontext
from fractions import Fraction
from math import gcd

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.compiling.jit import BOUNDS_CHECKED, JIT_OFF
from engine.decoding.scale import (
    INT64_MAX,
    PRICE_LIMIT,
    ScaleError,
    common_unit,
    decimal_unit,
    exact_text,
    scale_table,
    units_per,
)
from engine.layout import layout as L
from engine.layout import status as S
from engine.specs import FeedSpec, InstrumentSpec
from net.venues.bitstamp.market_data import BITSTAMP
from tests.engine.rig import Rig, bitstamp_frame, bitstamp_spec

TICKS = [
    "0.01", "0.05", "0.5", "0.25", "1", "10", "0.00000001", "0.00000025", "1000000",
    "0.000000000000000001", "3", "0.07", "2.5", "0.0625", "0.1", "1e-8", "1E+2", "0.001",
    "0.000000000123456789", "4611686018427387904",
]  # fmt: skip

EXAMPLES = settings(max_examples=60 if JIT_OFF else 200 if BOUNDS_CHECKED else 800)


@functools.cache
def scaler(tick: str) -> Rig:
    rig = Rig.single(bitstamp_spec(tick=tick), window_slots=64, far_levels_max=16)
    rig.set_state(L.BUFFERING)
    return rig


def text_of(mantissa: int, decimals: int) -> str:
    whole, fraction = divmod(mantissa, 10**decimals)
    return f"{whole}.{str(fraction).rjust(decimals, '0')}" if decimals else str(whole)


def scale(tick: str, price: str, amount: str) -> tuple[int, list[tuple[int, int]]]:
    rig = scaler(tick)
    rig.engine.restart_stream(0)
    status = rig.feed(bitstamp_frame(1, [(price, amount)]))
    return status, rig.staged()[0] if status == S.BUFFER else []


mantissas = (
    st.integers(0, INT64_MAX)
    | st.integers(0, 10**6)
    | st.integers(1, 999).flatmap(lambda m: st.integers(0, 15).map(lambda zeros: m * 10**zeros))
)


@given(tick=st.sampled_from(TICKS), mantissa=mantissas, decimals=st.integers(0, 18))
@example(tick="0.01", mantissa=INT64_MAX, decimals=18)
@example(tick="0.000000000000000001", mantissa=PRICE_LIMIT, decimals=18)
@example(tick="0.000000000000000001", mantissa=PRICE_LIMIT + 1, decimals=18)
@example(tick="4611686018427387904", mantissa=PRICE_LIMIT, decimals=0)
@EXAMPLES
def test_prices_are_exact_ticks_or_refused(tick: str, mantissa: int, decimals: int) -> None:
    status, rows = scale(tick, text_of(mantissa, decimals), "1")
    exact = Fraction(mantissa, 10**decimals) / Fraction(tick)
    if exact.denominator == 1 and 0 < exact <= PRICE_LIMIT:
        assert status == S.BUFFER
        assert rows == [(exact.numerator, 10**8)]
    else:
        assert status == S.BAD_PRICE


@given(tick=st.sampled_from(TICKS), ticks=st.integers(1, 10**6), zeros=st.integers(0, 8))
@EXAMPLES
def test_every_multiple_of_the_tick_is_taken(tick: str, ticks: int, zeros: int) -> None:
    mantissa, decimals = decimal_unit(tick)
    price, places = mantissa * ticks, decimals
    while places + zeros > 18 or price * 10**zeros > INT64_MAX:
        zeros -= 1
        if zeros < 0:
            return
    status, rows = scale(tick, text_of(price * 10**zeros, places + zeros), "1")
    if ticks <= PRICE_LIMIT:
        assert (status, rows) == (S.BUFFER, [(ticks, 10**8)])


@given(mantissa=mantissas, decimals=st.integers(0, 18))
@example(mantissa=INT64_MAX, decimals=8)
@EXAMPLES
def test_amounts_are_exact_lots_or_refused(mantissa: int, decimals: int) -> None:
    status, rows = scale("1", "7", text_of(mantissa, decimals))
    exact = Fraction(mantissa, 10**decimals) * 10**8
    if exact.denominator == 1 and exact <= INT64_MAX:
        assert (status, rows) == (S.BUFFER, [(7, exact.numerator)])
    else:
        assert status == S.BAD_QUANTITY


@given(mantissa=st.integers(1, PRICE_LIMIT), decimals=st.integers(0, 18))
@EXAMPLES
def test_tables_hold_what_their_rows_promise(mantissa: int, decimals: int) -> None:
    """multiplier * divisor^-1 is 10^(d-k) / a exactly; every bound fits int64."""
    rows = scale_table((mantissa, decimals), PRICE_LIMIT).reshape(-1, L.SCALE_WORDS).tolist()
    assert len(rows) == L.DECIMALS_MAX + 1
    for k, (multiplier, mantissa_max, inverse, shift, largest) in enumerate(rows):
        assert multiplier >= 1
        assert mantissa_max == INT64_MAX // multiplier
        ratio = Fraction(10**decimals, 10**k) / mantissa
        if largest == 0:
            assert ratio * INT64_MAX < 1 or ratio.denominator > INT64_MAX
            continue
        assert multiplier == ratio.numerator
        assert 0 <= shift < 64 and ratio.denominator % (1 << shift) == 0
        assert (inverse * (ratio.denominator >> shift)) % 2**64 == 1
        assert largest == min(INT64_MAX // ratio.denominator, PRICE_LIMIT)


units = st.tuples(st.integers(1, 10**6), st.integers(0, 12))


@given(given_units=st.lists(units, min_size=1, max_size=8))
def test_the_common_unit_divides_every_tick_and_is_the_greatest(
    given_units: list[tuple[int, int]],
) -> None:
    common = common_unit(given_units)
    sizes = [Fraction(m, 10**d) for m, d in given_units]
    size = Fraction(common[0], 10 ** common[1])
    counts = [units_per(unit, common) for unit in given_units]
    assert [count * size for count in counts] == sizes
    assert gcd(*counts) == 1, "a larger unit would do"


@given(
    count=st.integers(-(2**63), 2**63 - 1),
    mantissa=st.integers(1, 10**9),
    decimals=st.integers(0, 18),
    digits=st.none() | st.integers(0, 20),
)
def test_exact_text_is_exact(count: int, mantissa: int, decimals: int, digits: int | None) -> None:
    text = exact_text(count, mantissa, decimals, digits)
    with localcontext() as context:
        context.prec = 60
        assert Decimal(text) == Decimal(count * mantissa).scaleb(-decimals)
    assert "E" not in text and not text.endswith(".")


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "0", "0.00", "-1", "NaN", "Infinity", "1e-19", "1e40", "0.0000000000000000001"),
        *("1e30000000", " 1", "1_0", "\uff11", "1.", ".1"),
    ],
)
def test_impossible_ticks_are_refused(text: str) -> None:
    with pytest.raises(ScaleError):
        decimal_unit(text)


def test_ticks_are_reduced() -> None:
    assert decimal_unit("0.0100") == (1, 2)
    assert decimal_unit("0.05") == (5, 2)
    assert decimal_unit("1E+2") == (100, 0)
    with pytest.raises(ScaleError):
        units_per((1, 2), (5, 2))


def test_different_ticks_share_the_price_limit() -> None:
    """A venue's ticks times its multiplier stay below 2^62, so that no key can overflow."""
    specs = (bitstamp_spec(tick="0.03", venue="a"), bitstamp_spec(tick="0.02", venue="b"))
    instrument = InstrumentSpec("X", (specs[0], FeedSpec("b", BITSTAMP.rules, 2, "btcusd", "0.02")))
    assert instrument.unit == (1, 2)
    rig = Rig(instrument, window_slots=64, far_levels_max=16)
    limit = PRICE_LIMIT // 3 * 3
    for count, wanted in ((limit, S.BUFFER), (limit + 3, S.BAD_PRICE)):
        rig.engine.restart_stream(0)
        assert rig.feed(bitstamp_frame(1, [(text_of(count, 2), "1")])) == wanted


def test_a_tick_of_more_digits_than_a_decimal_context_is_not_rounded() -> None:
    with pytest.raises(ScaleError):
        decimal_unit("0.01000000000000000000000000000000001")


def test_ticks_too_far_apart_are_refused_in_words() -> None:
    specs = (
        bitstamp_spec(tick="0.000000000000000001"),
        FeedSpec("b", BITSTAMP.rules, 2, "btcusd", "1000000"),
    )
    with pytest.raises(ScaleError):
        Rig(InstrumentSpec("X", specs), window_slots=64, far_levels_max=16)
