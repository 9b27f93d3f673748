"""The venues that a seed draws from.

Runs on: the tests' thread.
"""

from __future__ import annotations

from tests.simulation.dialect import Dialect
from tests.simulation.rest_dialects import Binance, BinanceUsdm, Bitstamp, Gate, Kucoin
from tests.simulation.stream_dialects import Bybit, Coinbase, Kraken, Okx

DIALECTS: dict[str, Dialect] = {
    each.kind.name: each
    for each in (
        Binance(), Bitstamp(), BinanceUsdm(), Gate(), Kucoin(), Okx(), Bybit(), Kraken(),
        Coinbase(),
    )
}  # fmt: skip
"""By the names of their kinds. Gemini is not among them: nothing in its stream shows a loss."""
