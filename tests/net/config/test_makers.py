"""Several market makers in one configuration: what each says, what is common, what cannot be."""

from __future__ import annotations

import pytest

from net.config.schema import Config, ConfigError, parse_config

BOOKS = """
[[instrument]]
symbol = "BTC-USD"
venue = [{name = "binance", symbol = "BTCUSDT"}]
[[instrument]]
symbol = "ETH-USD"
venue = [{name = "binance", symbol = "ETHUSDT"}, {name = "bitstamp", symbol = "ethusd"}]
"""
QUOTES = """
[maker.quotes]
size = "0.01"
[maker.risk]
order_size_max = "1"
order_value_max = "1000"
position_max = "1"
exposure_max = "1000"
daily_loss_max = "10"
"""
TWO = f'[[maker]]\n{QUOTES}\n[[maker]]\nsymbol = "ETH-USD"\n{QUOTES}'


def parsed(text: str) -> Config:
    return parse_config(BOOKS + text, "f")


def test_one_market_maker_may_say_what_is_common() -> None:
    alone = parsed(f'[maker]\njournal = "j"\nwatchdog = false\n{QUOTES}')
    apart = parsed(f'[[maker]]\n{QUOTES}\n[makers]\njournal = "j"\nwatchdog = false\n')
    assert alone == apart and alone.makers.journal == "j" and not alone.makers.watchdog
    assert parsed("").maker == ()


def test_each_of_several_quotes_an_instrument() -> None:
    config = parsed(f'{TWO}\n[makers]\nexposure_max = {{BTC = "2"}}\n')
    assert [config.quoted_instrument(m).symbol for m in config.maker] == ["BTC-USD", "ETH-USD"]
    assert config.makers.exposure_max == {"BTC": "2"}
    assert Config.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"[maker]\n{QUOTES}\n[[maker]]\n{QUOTES}", "f: [maker] and [[maker]]: each of several"),
        (f"[[maker]]\n{QUOTES}\n[[maker]]\n{QUOTES}", "maker[1].symbol: is missing: of several"),
        (
            f'[[maker]]\nsymbol = "BTC-USD"\n{QUOTES}\n[[maker]]\n{QUOTES}',
            "maker[2].symbol: is missing: of several",
        ),
        (
            f'[[maker]]\nsymbol = "BTC-USD"\n{QUOTES}\n[[maker]]\nsymbol = "BTC-USD"\n{QUOTES}',
            "maker[2].symbol: 'BTC-USD' has a market maker already",
        ),
        (
            f"[maker]\n{QUOTES}".replace('"0.01"', "0.01"),
            'maker.quotes.size: 0.01: must be a text in quotes: size = "0.01"',
        ),
        (
            f"[maker]\n{QUOTES}".replace('size = "0.01"', 'size = "0.01"\nlevels = "3"'),
            "maker.quotes.levels: '3': must be a whole number without quotes: levels = 3",
        ),
        (f'[[maker]]\njournal = "j"\n{QUOTES}', "maker[1].journal: is of all market makers"),
        (
            f'[maker]\njournal = "j"\n{QUOTES}\n[makers]\njournal = "k"\n',
            "maker.journal: makers.journal is given too: leave one out",
        ),
        (f"{TWO}\n[maker.venue.kraken]\n", "maker[2].venue.kraken: not a venue of the quoted"),
        (f"[maker]\njournal = 1\n{QUOTES}", "maker.journal: 1: "),
        (f"[maker]\n{QUOTES}".replace('"0.01"', '"x"'), "f: maker.quotes.size: 'x': "),
        (TWO.replace('"0.01"', '"x"', 1), "f: maker[1].quotes.size: 'x': "),
        ('[makers]\nexposure_max = {BTC = "-2"}', "makers.exposure_max.BTC: "),
    ],
)
def test_what_cannot_be_is_one_line_with_its_place(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(text)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_what_runs_one_at_a_time_is_told_which() -> None:
    config = parsed(TWO)
    assert [m.symbol for m in config.with_maker("ETH-USD").maker] == ["ETH-USD"]
    assert parsed(f"[maker]\n{QUOTES}").with_maker(None).maker
    for symbol in (None, "DOGE-USD"):
        with pytest.raises(ConfigError, match="give --symbol; those with one: BTC-USD, ETH-USD"):
            config.with_maker(symbol)
