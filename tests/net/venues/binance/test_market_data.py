"""Binance's addresses."""

from __future__ import annotations

import orjson
import pytest

from net.venues.binance.channels import ADDRESS_SYMBOLS_MAX
from net.venues.binance.market_data import BINANCE, BinanceSettings
from net.venues.binance_usdm.market_data import BINANCE_USDM
from net.venues.interface import VenueProtocol


@pytest.mark.parametrize(
    ("own", "query"),
    [
        (BinanceSettings(), "btcusdt@depth@100ms/ethusdt@depth@100ms"),
        (BinanceSettings(stream_interval_ms=1000), "btcusdt@depth/ethusdt@depth"),
        (
            BinanceSettings(stream_interval_ms=1000, time_unit="us"),
            "btcusdt@depth/ethusdt@depth&timeUnit=MICROSECOND",
        ),
    ],
)
def test_8_the_address_of_a_stream(own: BinanceSettings, query: str) -> None:
    url = BINANCE.stream_url("wss://x", ("BTCUSDT", "ETHUSDT"), own)
    assert url == f"wss://x/stream?streams={query}"


@pytest.mark.parametrize("venue", [BINANCE, BINANCE_USDM])
def test_many_channels_are_asked_for_in_messages(venue: VenueProtocol) -> None:
    """Five messages a second are the venue's limit, 8 KiB that of an address."""
    own, symbols = venue.own_settings(), [f"ABCDE{n:03}USDT" for n in range(512)]
    assert venue.subscriptions(symbols[:ADDRESS_SYMBOLS_MAX], own) == []
    assert len(venue.stream_url("wss://x", symbols[:ADDRESS_SYMBOLS_MAX], own)) < 6000
    assert venue.stream_url("wss://x", symbols, own) == "wss://x/stream"
    messages = [orjson.loads(each) for each in venue.subscriptions(symbols, own)]
    assert [each["id"] for each in messages] == [1, 2, 3, 4]
    asked = [name for each in messages for name in each["params"]]
    assert asked == [f"{symbol.lower()}@depth@100ms" for symbol in symbols]


def test_many_channels_with_a_unit_of_time() -> None:
    own = BinanceSettings(time_unit="us")
    url = BINANCE.stream_url("wss://x", ["X"] * 1000, own)
    assert url == "wss://x/stream?timeUnit=MICROSECOND"
