"""Bitstamp's order entry, as everything outside this folder reaches it.

Runs on: any thread (no state).
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

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
from net.venues.bitstamp.orders.credentials import (
    BITSTAMP_API_KEY,
    BITSTAMP_SECRET,
    BitstampKeys,
    bitstamp_keys,
)
from net.venues.bitstamp.orders.entry import BitstampEntry
from net.venues.bitstamp.orders.markets import bitstamp_market


class BitstampOrders:
    """Loaded when the first order, key or market rule of the venue is asked for."""

    key_names: tuple[str, ...] = (BITSTAMP_API_KEY, BITSTAMP_SECRET)

    def read_keys(self, environment: Mapping[str, str]) -> Keys:
        return bitstamp_keys(environment)

    def key_variables(self, api_key: str, secret: str) -> dict[str, str]:
        return {BITSTAMP_API_KEY: api_key, BITSTAMP_SECRET: secret}

    def market_rules(self, body: Any, symbol: str) -> MarketRules:
        return bitstamp_market(body, symbol)

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
        """The venue has one self-trade rule for all: `self_trade_mode` is none of its."""
        assert isinstance(keys, BitstampKeys), "keys of another venue"
        entry = BitstampEntry(
            venue,
            market,
            keys,
            host,
            connector.connection(address.ws_url),
            connector.http(address.trade_url),
            new_nonce=lambda: str(uuid.uuid4()),
            http_host=urlsplit(address.trade_url).netloc,
        )
        return ConnectedEntry(entry, entry, entry)


ORDERS: VenueOrders = BitstampOrders()
