"""The venues of the benches, by name: the only file of bench/ that names an exchange.

What is measured sends and reads the messages of one of them: bench.load.frames and
bench.load.order_venue write its form.
Runs on: any thread (facts only).
"""

from __future__ import annotations

from collections.abc import Callable

from net.orders.messages import Market
from net.venues.registry import VENUES

SYMBOLS = {"binance": "BTCUSDT", "bitstamp": "btcusd"}
"""The venues that are simulated together, and what each calls BTC-USD."""
MEASURED = VENUES["binance"]
TAPE_NAME = "binance-btcusdt-20240808.jsonl.gz"
"""A recording of its BTCUSDT market."""


def order_reader(market: Market) -> Callable[[bytes], object]:
    """What order entry reads its order events with; loaded when it is asked for."""
    from net.venues.binance.orders.events import BinanceReader

    return BinanceReader((market,)).read
