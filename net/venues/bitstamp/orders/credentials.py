"""Bitstamp's API key, from the environment: POLLUX_BITSTAMP_API_KEY, POLLUX_BITSTAMP_SECRET.

Runs on: the main thread, once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from net.orders.credentials import read_token_variable
from net.orders.signing import HmacSigner

BITSTAMP_API_KEY = "POLLUX_BITSTAMP_API_KEY"
BITSTAMP_SECRET = "POLLUX_BITSTAMP_SECRET"


@dataclass(frozen=True)
class BitstampKeys:
    """One Bitstamp key."""

    api_key: str = field(repr=False)
    signer: HmacSigner


def bitstamp_keys(environment: Mapping[str, str]) -> BitstampKeys:
    """Bitstamp's key; EntryError with one line."""
    api_key = read_token_variable(environment, BITSTAMP_API_KEY)
    return BitstampKeys(
        api_key, HmacSigner(read_token_variable(environment, BITSTAMP_SECRET).encode())
    )
