"""Settings that only a price shows to be wrong: told once, at the first one, each with its key."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from net.maker.price_fit import PriceFit, price_misfits
from tests.net.maker.test_rules import BINANCE, rules_of
from tests.net.maker.test_units import Quoting

VENUES = ("binance", "bitstamp")
FAIR_UNITS = 10_000_000
"""100,000 dollars in cents."""


@pytest.mark.parametrize(
    ("quotes", "notional_min", "line"),
    [
        ({"size": "0.00004", "first": 10.0}, "4.003", None),
        ({"size": "0.00004", "first": 10.0}, "4.005", r"quotes\.size: 0\.00004 is worth 4\.00"),
        ({"size": "1", "first": 0.0}, "5", None),
        ({"size": "1.00001", "first": 10.0}, "5", None),
        ({"size": "1.00001", "first": 0.0}, "5", r"quotes\.size: 1\.00001 is worth 100001\.00"),
        ({"first": 19_999, "unit": "ticks"}, "5", None),
        ({"first": 200_000, "unit": "ticks"}, "5", r"quotes\.first and step: 200000 ticks are 200"),
    ],
)
def test_what_no_level_can_be_at_this_price(
    quotes: dict[str, Any], notional_min: str, line: str | None
) -> None:
    market = replace(BINANCE, notional_min=notional_min, lots_min=1, band_down_ppm=0, band_up_ppm=0)
    rules = rules_of(binance=market, quotes=quotes, risk={"order_size_max": "2"})
    found = price_misfits(rules, VENUES, FAIR_UNITS)
    if line is None:
        assert found == []
    else:
        (text,) = found
        assert re.match(rf"binance, level 1: maker\.{line}", text) and "\n" not in text, text


@pytest.mark.kernel
def test_it_is_told_once_and_the_rest_goes_on() -> None:
    desk = Quoting()
    rules = desk.maker.rules
    quotes = (replace(rules.quotes[0], notional_min=10**18),)
    (fit,) = (each for each in desk.maker._reports if isinstance(each, PriceFit))
    fit._rules = replace(rules, quotes=quotes)
    said = ("error", "a setting does not fit the price")
    assert said not in desk.told
    desk.go_live("binance")
    desk.step()
    desk.step()
    assert desk.told.count(said) == 1 and desk.orders()
