"""The simulated venues there are: one line each. Everything else asks here.

A venue is loaded when it is asked for: the command line needs its name alone.
Runs on: any thread.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from net.simulator.venue import SimulatedVenue

VENUES: dict[str, str] = {
    "binance": "Binance",
    "bitstamp": "Bitstamp",
}
"""Those that are simulated where none are named: the name, which is the folder's too, and how
people write it; in the order of the ports."""

MARKET_DATA: dict[str, str] = {
    "kraken": "kraken",
    "okx": "okx",
    "bybit": "bybit",
    "bybit-linear": "bybit",
    "binance-usdm": "binance_usdm",
    "coinbase": "coinbase",
    "gemini": "gemini",
    "gate": "gate",
    "kucoin": "kucoin",
    "okx-swap": "okx",
}
"""Those that take no orders, with their folders; simulated where they are named."""

NAMES = (*VENUES, *MARKET_DATA)

DEMONSTRATED = (*VENUES, "kraken", "coinbase")
"""What `pollux demo` shows."""


def simulated_venue(name: str) -> SimulatedVenue:
    """One venue's record."""
    module = import_module(f"net.simulator.{MARKET_DATA.get(name, name)}.venue")
    found: SimulatedVenue = module.VENUES[name] if name in MARKET_DATA else module.VENUE
    return found
