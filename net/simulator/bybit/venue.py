"""Bybit as simulated venues, spot and linear: the records that net/simulator/registry.py names.

Runs on: none (plain values and pure functions).
"""

from __future__ import annotations

from net.simulator.bybit.protocol import BybitServer
from net.simulator.bybit.publisher import BybitPublisher
from net.simulator.calibration import MODEST
from net.simulator.options import VenueInstrument
from net.simulator.venue import BookForm, SimulatedVenue


def instrument(base: str, quote: str) -> VenueInstrument:
    """BTC-USD is BTCUSDT there."""
    name = f"{base}{'USDT' if quote == 'USD' else quote}"
    return VenueInstrument(f"{base}-{quote}", name, base, quote, 1, 8, 1, 8)


VENUES = {
    name: SimulatedVenue(
        name=name,
        server=BybitServer,
        publisher=BybitPublisher,
        profile=MODEST,
        instrument=instrument,
        own_faults=("refused-subscription", "late-ack"),
        form=BookForm(
            diff_marks=('"topic":"orderbook.', '"type":"delta"'),
            sides=("b", "a"),
            last_id="u",
            foreign={"s": "NOSUCHUSDT"},
        ),
    )
    for name in ("bybit", "bybit-linear")
}
