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
"""The name, which is the folder's too, and how people write it; in the order of the ports."""


def simulated_venue(name: str) -> SimulatedVenue:
    """One venue's record."""
    found: SimulatedVenue = import_module(f"net.simulator.{name}.venue").VENUE
    return found
