"""The venues there are: one line each. Everything else asks here.

Runs on: any thread (facts only).
"""

from __future__ import annotations

from net.venues.binance.market_data import BINANCE
from net.venues.binance_usdm.market_data import BINANCE_USDM
from net.venues.bitstamp.market_data import BITSTAMP
from net.venues.bybit.market_data import BYBIT, BYBIT_LINEAR
from net.venues.coinbase.market_data import COINBASE
from net.venues.gate.market_data import GATE
from net.venues.gemini.market_data import GEMINI
from net.venues.interface import VenueProtocol
from net.venues.kraken.market_data import KRAKEN
from net.venues.kucoin.market_data import KUCOIN
from net.venues.okx.market_data import OKX, OKX_SWAP

VENUES: dict[str, VenueProtocol] = {
    BINANCE.name: BINANCE,
    BITSTAMP.name: BITSTAMP,
    KRAKEN.name: KRAKEN,
    OKX.name: OKX,
    BYBIT.name: BYBIT,
    BYBIT_LINEAR.name: BYBIT_LINEAR,
    BINANCE_USDM.name: BINANCE_USDM,
    COINBASE.name: COINBASE,
    GEMINI.name: GEMINI,
    GATE.name: GATE,
    KUCOIN.name: KUCOIN,
    OKX_SWAP.name: OKX_SWAP,
}
"""By name, as the configuration and a tape write it."""
