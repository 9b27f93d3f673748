"""Binance's order entry, as everything outside this folder reaches it.

Runs on: any thread (no state).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from net.orders.interface import (
    ConnectedEntry,
    EntryAddress,
    EntryConnector,
    EntryHost,
    Keys,
    VenueOrders,
)
from net.orders.markets import MarketRules
from net.orders.messages import Market
from net.venues.binance.orders.credentials import (
    BINANCE_API_KEY,
    BINANCE_ED25519_PEM,
    BINANCE_SECRET,
    BinanceKeys,
    binance_keys,
)
from net.venues.binance.orders.entry import BinanceEntry
from net.venues.binance.orders.markets import binance_market


class BinanceOrders:
    """Loaded when the first order, key or market rule of the venue is asked for."""

    key_names: tuple[str, ...] = (BINANCE_API_KEY, BINANCE_ED25519_PEM, BINANCE_SECRET)

    def read_keys(self, environment: Mapping[str, str]) -> Keys:
        return binance_keys(environment)

    def key_variables(self, api_key: str, secret: str) -> dict[str, str]:
        return {BINANCE_API_KEY: api_key, BINANCE_SECRET: secret}

    def market_rules(self, body: Any, symbol: str) -> MarketRules:
        return binance_market(body, symbol)

    def make_entry(
        self,
        venue: int,
        market: Market,
        keys: Keys,
        address: EntryAddress,
        host: EntryHost,
        connector: EntryConnector,
        *,
        self_trade_mode: str = "",
    ) -> ConnectedEntry:
        assert isinstance(keys, BinanceKeys), "keys of another venue"
        wire = connector.connection(address.trade_url)
        http = connector.http(address.rest_url)
        entry = BinanceEntry(
            venue, market, keys, wire, host, http=http, self_trade_mode=self_trade_mode
        )
        return ConnectedEntry(entry, entry, entry)


ORDERS: VenueOrders = BinanceOrders()
