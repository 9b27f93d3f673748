"""Quotes that a venue's market would never take: refused before anything is quoted."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from net.maker.market_fit import RulesError, amount_text
from tests.net.maker.test_rules import BINANCE, BITSTAMP, rules_of

WRONG: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "below the smallest order": (
        {"lots_min": 50_001_000}, {}, r"quotes\.size: 0\.5 is below what binance takes: 0\.50001 at"
    ),
    "above the largest order": (
        {"lots_max": 49_999_000}, {}, r"quotes\.size: 0\.5 is above what binance takes: 0\.49999 at"
    ),
    "a later level that has shrunk": (
        {"lots_min": 20_000_000}, {"levels": 3, "growth": 0.5},
        r"quotes\.growth: 0\.5: level 3, 0\.125, is below what binance takes: 0\.2 at least",
    ),
    "a later level that has grown": (
        {"lots_max": 90_000_000}, {"levels": 2, "growth": 2.0},
        r"quotes\.growth: 2: level 2, 1, is above what binance takes: 0\.9 at most",
    ),
    "beyond the venue's own band": (
        {}, {"first": 250.0, "step": 1.0, "band_percent": 5.0},
        r"quotes\.first: level 1 is 250 bps .* the 200 bps within which binance takes orders",
    ),
    "worth less than it takes": (
        {"notional_min": "100000.01"}, {},
        r"risk\.order_value_max: 100000 is below 100000\.01, the least value of an order at bin",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_the_market_never_takes_is_one_line_that_names_the_key(name: str) -> None:
    market, quotes, line = WRONG[name]
    risk = {"collar_bps": 900.0, "order_size_max": "3"}
    with pytest.raises(RulesError) as caught:
        rules_of(binance=replace(BINANCE, **market), quotes=quotes, risk=risk)
    text = str(caught.value)
    assert re.match(rf"maker\.{line}", text) and "\n" not in text, text


def test_a_venue_that_is_not_quoted_refuses_no_size() -> None:
    """Its prices count, its quantities do not."""
    market = replace(BITSTAMP.market, step_size="0.3")
    coarse = replace(BITSTAMP, market=market, lots_min=10**9, lots_max=2 * 10**9)
    assert rules_of(bitstamp=coarse).is_quoted == (True, False)


def test_the_collar_is_rounded_down_as_every_limit() -> None:
    assert rules_of(risk={"collar_bps": 100.9}).limits.collar_bps == 100


def test_lots_are_told_as_an_amount() -> None:
    texts = [amount_text(lots) for lots in (1, 50_001_000, 3 * 10**8, 10**10)]
    assert texts == ["0.00000001", "0.50001", "3", "100"]
