"""The venues of the benches, by name: the only file of bench/ that names an exchange.

What is measured sends and reads the messages of one of them: bench.load.frames and
bench.load.order_venue write its form.
Runs on: any thread (facts only).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from net.orders.messages import Market
from net.venues.registry import VENUES

SYMBOLS = {"binance": "BTCUSDT", "bitstamp": "btcusd"}
"""The venues that are simulated together, and what each calls BTC-USD."""


class Channel(NamedTuple):
    """How a stream of a venue begins: the path of its URL, and what is sent on it."""

    path: str
    subscribe: str


SNAPSHOT_CHANNELS = {
    "binance": Channel("/ws/btcusdt@depth20@100ms", ""),
    "bitstamp": Channel("/", '{"event":"bts:subscribe","data":{"channel":"order_book_btcusd"}}'),
}
"""Whole books of twenty levels a side or more, for a program that knows no diffs."""
MEASURED = VENUES["binance"]
TAPE_NAME = "binance-btcusdt-20240808.jsonl.gz"
"""A recording of its BTCUSDT market."""


class Recorded(NamedTuple):
    """A market on a tape."""

    tape: str
    symbol: str
    tick_size: str
    tape_venue: str
    lacks_ids: bool = False
    """Of a time before the venue's messages had any."""


RECORDED = {
    "kraken": Recorded("three-venues-btcusd-20260809.jsonl.gz", "BTC/USD", "0.1", "kraken"),
    "coinbase": Recorded(
        "three-venues-btcusd-20260809-first.jsonl.gz", "BTC-USD", "0.01", "coinbase"
    ),
    "okx": Recorded("okx-books-three-20220513.jsonl.gz", "BTC-USDT", "0.1", "okx", True),
    "binance-usdm": Recorded(
        "binance-usdm-btcusdt-20240808.jsonl.gz", "BTCUSDT", "0.01", "binance-usdm"
    ),
    "gemini": Recorded("gemini-ten-20210624.jsonl.gz", "FILUSD", "0.0001", "gemini"),
    "gate": Recorded("gate-spot-ten-20210422.jsonl.gz", "OMG_USDT", "0.001", "gate"),
    "kucoin": Recorded("kucoin-nine-20210425.jsonl.gz", "BCHSV-USDT", "0.00000001", "kucoin"),
}
"""The other venues, each with a recording in which whole books and diffs are."""


def order_reader(market: Market) -> Callable[[bytes], object]:
    """What order entry reads its order events with; loaded when it is asked for."""
    from net.venues.binance.orders.events import BinanceReader

    return BinanceReader((market,)).read
