"""Every error names the key, the value and what is allowed, in one line; nothing starts then."""

from __future__ import annotations

from pathlib import Path

import pytest

from net.config.schema import INSTRUMENTS_MAX, ConfigError, load_config, parse_config
from net.venues.registry import VENUES

MINIMAL = """
[[instrument]]
symbol = "BTC-USD"
  [[instrument.venue]]
  name = "binance"
  symbol = "BTCUSDT"
"""

CONTRACT = """
[[instrument]]
symbol = "BTC-USD"
depth = 10
  [[instrument.venue]]
  name = "binance"
  symbol = "BTCUSDT"
  tick_size = "0.01"
  [[instrument.venue]]
  name = "bitstamp"
  symbol = "btcusd"

[venue.binance]
ws_url = "wss://stream.binance.com:9443"
rest_url = "https://api.binance.com"
stream_interval_ms = 100
ca_file = "ca.pem"
snapshot_depth = 1000
[venue.bitstamp]
ws_url = "wss://ws.bitstamp.net"
rest_url = "https://www.bitstamp.net"

[engine]
cpu = 1
idle = "spin"
resync_scope = "venue"
stale_after_ms = 5000
[gateway]
listen = "127.0.0.1:5002"
placement = "process"
cpu = 0
tls_cert = ""
tls_key = ""
tls_client_ca = ""
[metrics]
listen = "127.0.0.1:9102"
[log]
level = "info"
format = "json"
"""


def test_the_contract_is_accepted_as_written() -> None:
    config = parse_config(CONTRACT, "c.toml")
    assert config.venue_names() == ("binance", "bitstamp")
    assert config.instrument[0].venue[0].tick_size == "0.01"
    assert config.engine.cpu == 1 and config.gateway.cpu == 0
    assert config.settings("binance").ca_file == "ca.pem"


def test_what_is_left_out_has_the_contracts_defaults() -> None:
    config = parse_config(MINIMAL, "c.toml")
    full = parse_config(CONTRACT, "c.toml")
    assert config.instrument[0].depth == full.instrument[0].depth
    assert config.engine.idle == full.engine.idle
    assert config.engine.stale_after_ms == full.engine.stale_after_ms
    assert (config.gateway.listen, config.gateway.placement) == ("127.0.0.1:5002", "process")
    assert config.metrics == full.metrics and config.log == full.log
    assert config.settings("binance").ws_url == "wss://stream.binance.com:9443"
    assert config.engine.cpu is None


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ('[engine]\nidle = "fast"', ["engine.idle", "'fast'", "'spin', 'backoff' or 'block'"]),
        ("[engine]\nspeed = 1", ["engine.speed", "unknown key", "stale_after_ms"]),
        ("[engine]\ncpu = -1", ["engine.cpu", "-1", "greater than or equal to 0"]),
        ('[engine]\ncpu = "1"', ["engine.cpu", "'1'", "whole number"]),
        ("[engine]\nstale_after_ms = 5", ["engine.stale_after_ms", "5", "100"]),
        ('[engine]\nname = "a/b"', ["engine.name", "'a/b'", "letters"]),
        ("[venue.moonbase]", ["venue", "moonbase", "binance, "]),
        ('[venue.binance]\nws_url = "http://x"', ["ws_url", "http://x", "wss:// or ws://"]),
        ('[venue.binance]\nrest_url = "ftp://x"', ["rest_url", "https:// or http://"]),
        ('[venue.binance]\nproxy = "socks5://x"', ["binance.proxy", "http:// or https://"]),
        ('[venue.binance]\nproxy = "http://u:p@x"', ["'http://***@x'", "environment"]),
        ('[venue.binance]\ntime_unit = "s"', ["time_unit", "'s'", "'ms' or 'us'"]),
        ("[venue.binance]\nstream_interval_ms = 50", ["stream_interval_ms", "50", "100 or 1000"]),
        ("[venue.binance]\nsnapshot_depth = 9999", ["snapshot_depth", "9999", "5000"]),
        ('[gateway]\nlisten = "5002"', ["gateway.listen", "'5002'", "host:port"]),
        ('[gateway]\nlisten = "a:99999"', ["gateway.listen", "65535"]),
        ('[gateway]\ntls_cert = "a.pem"', ["gateway", "tls_key"]),
        ('[gateway]\nplacement = "moon"', ["gateway.placement", "'process' or 'thread'"]),
        ('[log]\nformat = "xml"', ["log.format", "'json' or 'console'"]),
        ("[colour]\nbook = 1", ["colour", "unknown key", "gateway"]),
        ("nonsense", ["not TOML", "line"]),
    ],
)
def test_an_error_is_one_line_that_says_what_and_where(extra: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(f"{MINIMAL}\n{extra}\n", "c.toml")
    text = str(caught.value)
    assert text.startswith("c.toml: ") and "\n" not in text
    for word in words:
        assert word in text, text


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ('"binance"', '"mtgox"', ["instrument[1].venue[1].name", "'mtgox'", "binance, "]),
        ('symbol = "BTCUSDT"', "", ["instrument[1].venue[1].symbol", "missing"]),
        ('symbol = "BTCUSDT"', 'symbol = "BTCUSDT"\ntick_size = "0"', ["tick_size", "zero"]),
        (
            'symbol = "BTCUSDT"',
            'symbol = "BTCUSDT"\ntick_size = 0.01',
            ["tick_size", "text in quotes"],
        ),
        ('symbol = "BTCUSDT"', 'symbol = "BTCUSDT"\ntick_size = "x"', ["tick_size", "'x'"]),
        ('symbol = "BTC-USD"', 'symbol = "BTC-USD"\ndepth = 51', ["depth", "51", "50"]),
        ('symbol = "BTC-USD"', 'symbol = ""', ["instrument[1].symbol", "''"]),
    ],
)
def test_an_instrument_that_cannot_be_is_refused(before: str, after: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(MINIMAL.replace(before, after), "c.toml")
    for word in words:
        assert word in str(caught.value), str(caught.value)


@pytest.mark.parametrize(
    ("key", "url", "shown"),
    [
        ("ws_url", "wss://ann:S3cr/et@x.test", "wss://***@x.test"),
        ("rest_url", "https://S3cret@x.test", "https://***@x.test"),
        ("trade_url", "wss://x.test/?key=S3cret", "wss://x.test/***"),
        ("ws_url", "ann:S3cret@x.test", "***@x.test"),
        ("rest_url", "https://x.test#S3cret", "https://x.test***"),
    ],
)
def test_an_address_with_a_secret_is_refused_and_the_secret_not_shown(
    key: str, url: str, shown: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(f'{MINIMAL}\n[venue.binance]\n{key} = "{url}"\n', "c.toml")
    text = str(caught.value)
    assert f"venue.binance.{key}: '{shown}': must " in text and "S3c" not in text
    assert url.startswith("ann") or "secrets come from the environment" in text


@pytest.mark.parametrize(
    "url",
    ["ws://", "ws:///x", "ws://a b", "ws://h:abc", "ws://h:99999", "ws://h:0", "ws://[::1",
     f"ws://{'a' * 64}.test", "ws://a..test"],
)  # fmt: skip
def test_what_nothing_can_be_connected_to_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"venue\.binance\.ws_url: '.*': is not an address"):
        parse_config(f'{MINIMAL}\n[venue.binance]\nws_url = "{url}"\n', "c.toml")


@pytest.mark.parametrize("url", ["ws://127.0.0.1:1", "wss://[::1]:9443", "ws://bücher.test/x"])
def test_what_may_be_there_is_an_address(url: str) -> None:
    config = parse_config(f'{MINIMAL}\n[venue.binance]\nws_url = "{url}"\n', "c.toml")
    assert config.settings("binance").ws_url == url


def test_so_many_instruments_and_no_more() -> None:
    each = [MINIMAL.replace("BTC", f"A{number}") for number in range(INSTRUMENTS_MAX + 1)]
    config = parse_config("".join(each[:-1]), "c.toml")
    assert len(config.instrument) == INSTRUMENTS_MAX == 512
    with pytest.raises(ConfigError, match=r"instrument: .*at most 512"):
        parse_config("".join(each), "c.toml")


def test_doubles_are_refused() -> None:
    with pytest.raises(ConfigError, match="configured twice"):
        parse_config(MINIMAL + MINIMAL.replace("BTCUSDT", "BTCUSDC"), "c.toml")
    with pytest.raises(ConfigError, match="belongs to two instruments"):
        parse_config(MINIMAL + MINIMAL.replace("BTC-USD", "OTHER"), "c.toml")
    again = '  [[instrument.venue]]\n  name = "binance"\n  symbol = "BTCUSDC"\n'
    with pytest.raises(ConfigError, match="named twice"):
        parse_config(MINIMAL + again, "c.toml")


def test_no_instrument_is_an_error() -> None:
    with pytest.raises(ConfigError, match="instrument: is missing"):
        parse_config("", "c.toml")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_config(tmp_path / "absent.toml")
    (tmp_path / "latin.toml").write_bytes(b"# \xff")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(tmp_path / "latin.toml")


@pytest.mark.parametrize(("section", "is_alone"), [("[maker]", True), ("[[maker]]", False)])
def test_an_unknown_key_of_a_market_maker_names_what_it_may_have(
    section: str, is_alone: bool
) -> None:
    with pytest.raises(ConfigError, match=r"maker.*\.sise: unknown key") as caught:
        parse_config(f"{MINIMAL}\n{section}\nsise = 1\n", "c.toml")
    allowed = str(caught.value).partition("allowed here: ")[2].partition(" (")[0].split(", ")
    assert "quotes" in allowed and ("journal" in allowed) == is_alone


def test_a_venues_own_setting_is_unknown_to_another() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(f"{MINIMAL}\n[venue.bitstamp]\nsnapshot_depth = 1000\n", "c.toml")
    allowed = "ws_url, rest_url, trade_url, late_after_ms, proxy, ca_file"
    text = f"c.toml: venue.bitstamp.snapshot_depth: unknown key; allowed here: {allowed}"
    assert str(caught.value) == text
    config = parse_config(f"{MINIMAL}\n[venue.binance]\nsnapshot_depth = 500\n", "c.toml")
    settings = config.settings("binance")
    assert VENUES["binance"].snapshot_depths(settings)[-1] == 500
