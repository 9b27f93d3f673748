"""Settings of the market maker that exclude one another: nothing starts, and the key is named."""

from __future__ import annotations

import re

import pytest

from net.config.schema import Config, ConfigError, parse_config

BOOK = """
[[instrument]]
symbol = "BTC-USD"
depth = 5
[[instrument.venue]]
name = "binance"
symbol = "BTCUSDT"
[[instrument.venue]]
name = "bitstamp"
symbol = "btcusd"
"""
QUOTES = {"size": '"0.01"'}
RISK = {
    "order_size_max": '"0.05"',
    "order_value_max": '"5000"',
    "position_max": '"0.5"',
    "exposure_max": '"40000"',
    "daily_loss_max": '"500"',
}


def config_of(
    quotes: dict[str, object], risk: dict[str, object], more: str = "", book: str = BOOK
) -> Config:
    sections = {"maker.quotes": QUOTES | quotes, "maker.risk": RISK | risk}
    lines = [book]
    for name, values in sections.items():
        lines += [f"[{name}]", *(f"{key} = {value}" for key, value in values.items())]
    return parse_config("\n".join([*lines, more]), "c.toml")


WRONG: list[tuple[dict[str, object], dict[str, object], str]] = [
    ({"first": 300}, {}, r"quotes\.first: level 1 is 300 bps .* risk\.collar_bps = 200: .*widen"),
    ({"first": 200}, {}, r"quotes\.first: level 1 is 200 bps .* risk\.collar_bps = 200"),
    ({"levels": 3, "first": 100, "step": 50}, {}, r"quotes\.levels: level 3 is 200 bps"),
    ({"first": 120, "band_percent": 1}, {}, r"quotes\.first: .* quotes\.band_percent = 1: "),
    ({"edge_bps_min": 200}, {}, r"quotes\.edge_bps_min: 200 .* risk\.collar_bps = 200: .*lower"),
    (
        {"first": 9000, "skew_bps": 500, "band_percent": 100},
        {"collar_bps": 9999},
        r"quotes\.skew_bps: 500 .* 9000 bps .*: lower",
    ),
    ({"size": '"0.06"'}, {}, r"quotes\.size: 0\.06 is above risk\.order_size_max = 0\.05: lower"),
    (
        {"size": '"0.6"'},
        {"order_size_max": '"1"'},
        r"quotes\.size: 0\.6 is above risk\.position_max = 0\.5",
    ),
    ({}, {"reduce_at": '"0.6"'}, r"risk\.reduce_at: 0\.6 is above risk\.position_max = 0\.5"),
    ({"target": '"-0.5"'}, {}, r"quotes\.target: -0\.5 is not within risk\.position_max = 0\.5"),
    ({"target": '"0.3"'}, {"reduce_at": '"0.3"'}, r"quotes\.target: 0\.3 .* risk\.reduce_at = 0"),
    (
        {},
        {"orders_per_10_s": 50, "venue_orders_per_10_s": 49},
        r"risk\.orders_per_10_s: 50 is above risk\.venue_orders_per_10_s = 49: lower",
    ),
    (
        {"levels": 2, "growth": 2.0},
        {"volume_per_min": '"0.11999999"'},
        r"risk\.volume_per_min: 0\.11999999 is below the 0\.12 .* at 2 venues: raise",
    ),
    (
        {"levels": 3},
        {"open_orders_max": 11},
        r"risk\.open_orders_max: 11 is below the 12 .*levels = 3 a side at 2 venues: raise",
    ),
]


@pytest.mark.parametrize(("quotes", "risk", "line"), WRONG)
def test_what_excludes_one_another_is_one_line_that_names_the_key_and_the_remedy(
    quotes: dict[str, object], risk: dict[str, object], line: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        config_of(quotes, risk)
    text = str(caught.value)
    assert re.match(rf"c\.toml: maker\.{line}", text) and "\n" not in text, text


RIGHT: list[tuple[dict[str, object], dict[str, object]]] = [
    ({"first": 199.99}, {}),
    ({"levels": 3, "first": 99, "step": 50}, {}),
    ({"first": 300, "unit": '"ticks"'}, {}),
    ({"edge_bps_min": 199}, {}),
    ({"size": '"0.05"'}, {"position_max": '"0.05"'}),
    ({"target": '"-0.49999999"'}, {}),
    ({}, {"reduce_at": '"0.5"'}),
    ({}, {"orders_per_10_s": 50, "venue_orders_per_10_s": 50}),
    ({"levels": 3}, {"open_orders_max": 12}),
    ({"levels": 2, "growth": 2.0}, {"volume_per_min": '"0.12"'}),
]


@pytest.mark.parametrize(("quotes", "risk"), RIGHT)
def test_what_lies_just_beside_it_is_taken(
    quotes: dict[str, object], risk: dict[str, object]
) -> None:
    assert config_of(quotes, risk).maker is not None


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (
            "[maker.venue.binance]\nweight = 0\n[maker.venue.bitstamp]\nweight = 0\n",
            r"maker\.venue: every weight is 0",
        ),
        ("[maker.venue.bitstamp]\nweight = 0.0004\n", r"maker\.venue\.bitstamp\.weight: 0\.0004"),
        (
            '[maker.fair]\nmethod = "micro_price"\nprices = 6\n',
            r"maker\.fair\.prices: 6 is more than the depth = 5 of the instrument: lower",
        ),
    ],
)
def test_what_does_not_fit_the_instrument_names_its_key(more: str, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config_of({}, {}, more)
    assert re.match(rf"c\.toml: {line}", str(caught.value)), str(caught.value)
    unweighted = "[maker.venue.binance]\nweight = 0\n"
    assert config_of({}, {}, unweighted).maker is not None, "one venue has a weight"


def test_a_venue_that_is_not_quoted_needs_no_orders() -> None:
    more = "[maker.venue.bitstamp]\nquote = false\n"
    assert config_of({"levels": 3}, {"open_orders_max": 6}, more).maker is not None
