"""Binance's addresses."""

from __future__ import annotations

import pytest

from net.venues.binance.market_data import BINANCE, BinanceSettings


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
