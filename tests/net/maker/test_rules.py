"""Settings as integers: nothing is rounded to our disadvantage, and errors name the key."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.maker import order_layout as O
from engine.specs import FeedSpec, InstrumentSpec
from net.config.maker import MakerSettings, MakerVenue
from net.maker.market_fit import RulesError
from net.maker.scaled_settings import MakerRules, lots_of, make_rules
from net.orders.markets import MarketRules
from net.orders.messages import Market
from net.venues.binance.schema import RULES as BINANCE_RULES
from net.venues.bitstamp.schema import RULES as BITSTAMP_RULES

BINANCE = MarketRules(
    Market("BTCUSDT", "BTC", "USDT", "0.01", "0.00001"),
    1_000, 9_000 * 10**8, "5.001", 1_030_000, 980_000, True,
)  # fmt: skip
BITSTAMP = MarketRules(
    Market("btcusd", "BTC", "USD", "1", "0.00000001"), 1, 10**17, "10", 0, 0, True
)
INSTRUMENT = InstrumentSpec(
    "BTC-USD",
    (
        FeedSpec("binance", BINANCE_RULES, 0, "BTCUSDT", "0.01"),
        FeedSpec("bitstamp", BITSTAMP_RULES, 1, "btcusd", "1"),
    ),
)
QUOTES: dict[str, Any] = {"size": "0.5"}
RISK: dict[str, Any] = {
    "order_size_max": "1", "order_value_max": "100000", "position_max": "3",
    "exposure_max": "250000.019", "daily_loss_max": "500",
}  # fmt: skip


def rules_of(
    *, binance: MarketRules = BINANCE, bitstamp: MarketRules = BITSTAMP, **more: Any
) -> MakerRules:
    """The rules of these settings; `quotes` and `risk` are added to the usual ones."""
    given_venue = {"bitstamp": MakerVenue(quote=False, weight=0.25)} | more.pop("venue", {})
    quotes, risk = QUOTES | more.pop("quotes", {}), RISK | more.pop("risk", {})
    found = MakerSettings(quotes=quotes, risk=risk, venue=given_venue, **more)
    return make_rules(found, INSTRUMENT, (binance, bitstamp))


def test_everything_is_counted_in_the_units_of_its_venue() -> None:
    rules = rules_of(quotes={"first": 2.5, "skew_bps": 1.25, "target": "-0.5"})
    binance, bitstamp = rules.quotes
    assert (rules.unit, rules.tick_units, rules.is_quoted) == ((1, 2), (1, 100), (True, False))
    assert rules.fair.weights_mille == (1_000, 250)
    assert (binance.lots, binance.first, binance.skew_ppm) == (50_000_000, 250, 125)
    assert binance.target_lots == -50_000_000 and binance.lot_step == 1_000
    # 5.001 dollars in cents times lots, and in dollars times lots.
    assert (binance.notional_min, bitstamp.notional_min) == (50_010_000_000, 1_000_000_000)
    # Ours is five percent; Binance allows three up, two down.
    assert (binance.band_millipercent, bitstamp.band_millipercent) == (2_000, 5_000)


def test_limits_are_rounded_down_and_demands_up() -> None:
    rules = rules_of()
    assert rules.value_scale == 10 and rules.value_size == Decimal("1e-9")
    limits = rules.limits
    assert limits.exposure_max == 250_000_019_000_000 and limits.position_lots_max == 3 * 10**8
    assert limits.reduce_lots == limits.position_lots_max
    assert rules_of(risk={"reduce_at": "2"}).limits.reduce_lots == 2 * 10**8
    fine = rules_of(binance=replace(BINANCE, notional_min="5.00000000015"))
    assert fine.quotes[0].notional_min == 50_000_000_002


amounts = st.decimals("0.01", "9999999999", places=8).map(str)


@given(amounts, amounts)
def test_no_limit_is_larger_than_it_was_written(value: str, exposure: str) -> None:
    any_value = replace(BINANCE, notional_min="0")
    rules = rules_of(binance=any_value, risk={"order_value_max": value, "exposure_max": exposure})
    with localcontext(prec=60):
        for text, found in (
            (value, rules.limits.notional_max),
            (exposure, rules.limits.exposure_max),
        ):
            assert found * rules.value_size <= Decimal(text) < (found + 1) * rules.value_size
            assert found <= O.VALUE_MAX // 1_000


HUGE = "4" + "0" * 18
"""As large as a decimal of the configuration may be."""

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "between steps": ({"quotes": {"size": "0.500001"}}, "maker.quotes.size"),
    "too small": ({"quotes": {"size": "0.00000"}}, "maker.quotes.size"),
    "too fine": ({"risk": {"position_max": "1.0000000001"}}, "maker.risk.position_max"),
    "too large": ({"risk": {"order_size_max": HUGE}}, "maker.risk.order_size_max"),
    "too little money": ({"risk": {"daily_loss_max": "0.00000000001"}}, "risk.daily_loss_max"),
    "too much money": ({"risk": {"exposure_max": HUGE}}, "maker.risk"),
    "levels that grow beyond an order": (
        {"quotes": {"levels": 3, "growth": 1.5}}, "above maker.risk.order_size_max"
    ),
    "beyond the position": ({"risk": {"reduce_at": "4"}}, "risk.reduce_at"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_one_line_that_names_the_key(name: str) -> None:
    settings, key = WRONG[name]
    with pytest.raises((RulesError, ValueError)) as caught:
        rules_of(**settings)
    text = str(caught.value)
    if isinstance(caught.value, RulesError):
        assert key in text and text.startswith("maker") and "\n" not in text
    else:  # the section has refused it already
        assert key.rpartition(".")[2] in text


def test_a_size_below_the_venues_smallest() -> None:
    with pytest.raises(RulesError, match=r"maker\.quotes\.size: 0\.5 is below what binance takes"):
        rules_of(binance=replace(BINANCE, lots_min=50_001_000))


def test_amounts_in_lots_are_exact_or_refused() -> None:
    assert lots_of("x", "-0.00000001") == -1
    assert lots_of("x", "10000000000") == 10**18
    for text in ("0.000000001", "99999999999"):
        with pytest.raises(RulesError, match=r"maker\.x"):
            lots_of("x", text)


# --- fees ----------------------------------------------------------------------------------------


def test_fees_are_those_configured_else_the_venues_standard() -> None:
    standard = rules_of(orders="live", fee_rates={"bnb": "601.5"}).fees
    assert (standard.bases, standard.quotes) == (("BTC", "BTC"), ("USDT", "USD"))
    assert standard.maker_ppm == (1_000, 3_000) and standard.is_configured == (False, False)
    assert standard.rates == {"BNB": Fraction("601.5")}
    given = rules_of(orders="live", venue={"binance": MakerVenue(fee_bps=-0.25)}).fees
    assert given.maker_ppm == (-25, 3_000) and given.is_configured == (True, False)
    paper = {"binance": MakerVenue(fee_bps=7.0, paper_fee_bps=3.5)}
    assert rules_of(venue=paper).fees.maker_ppm == (350, 1_000), "paper has its own"


def test_a_fee_that_leaves_no_price_to_earn_at_is_refused() -> None:
    """The collar is 200 bps; the fee and the edge must be within it."""
    rules_of(orders="live", venue={"binance": MakerVenue(fee_bps=198.99)})
    text = r"maker\.quotes\.edge_bps_min: 1 after binance's fee of 199 bps .* the 200 bps"
    with pytest.raises(RulesError, match=text):
        rules_of(orders="live", venue={"binance": MakerVenue(fee_bps=199.0)})
    dear = MakerVenue(quote=False, fee_bps=500.0)
    rules_of(orders="live", venue={"bitstamp": dear})
    with pytest.raises(RulesError, match=r"the 10\.6 bps that risk\.collar_bps and"):
        given = {"binance": MakerVenue(paper_fee_bps=9.6)}
        rules_of(quotes={"band_percent": 0.106, "first": 9.0}, venue=given)


def test_whether_the_first_level_is_the_operator_s_own_word() -> None:
    assert not rules_of().is_first_given
    assert rules_of(quotes={"first": 10.0}).is_first_given


# --- a venue's own limit -------------------------------------------------------------------------


def test_a_venue_s_own_limit_in_lots_and_its_skew_in_ppm() -> None:
    assert rules_of().venue_limits == (None, None)
    limited = {"binance": MakerVenue(position_max="0.5", skew_bps=2.5)}
    assert rules_of(venue=limited).venue_limits == ((50_000_000, 250), None)


def test_a_venue_s_skew_without_its_limit_is_refused() -> None:
    text = r"maker\.venue\.binance\.skew_bps: 2\.5 counts from position_max"
    with pytest.raises(RulesError, match=text):
        rules_of(venue={"binance": MakerVenue(skew_bps=2.5)})
    far = {"first": 6_000.0, "skew_bps": 1_000.0, "band_percent": 100.0}
    venues = {"binance": MakerVenue(quote=False)}
    collar = {"collar_bps": 9_999.0}
    near = {"bitstamp": MakerVenue(position_max="0.5", skew_bps=1_000.0)}
    rules_of(quotes=far, risk=collar, venue=venues | near)
    with pytest.raises(RulesError, match=r"maker\.venue\.bitstamp\.skew_bps: .* price of zero"):
        rules_of(quotes=far | {"first": 7_000.0}, risk=collar, venue=venues | near)
