"""The connections of order entry: each quoted venue's entry with what carries it.

Runs on: made on the main thread, used on the engine thread. Called by: net.maker.housekeeping,
net.live.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from net.entry.keys import BinanceKeys, BitstampKeys, binance_keys, bitstamp_keys

BACKOFF_FLOOR_MS = 500
"""Between two connections to a venue's order entry: fewer than 120 attempts in a minute."""


@dataclass(frozen=True)
class Keys:
    """The venues' keys, from the environment; None for a venue that is not traded at."""

    binance: BinanceKeys | None
    bitstamp: BitstampKeys | None


def read_keys(venues: frozenset[str], environment: Mapping[str, str]) -> Keys:
    """The keys of these venues; EntryError with one line."""
    return Keys(
        binance_keys(environment) if "binance" in venues else None,
        bitstamp_keys(environment) if "bitstamp" in venues else None,
    )
