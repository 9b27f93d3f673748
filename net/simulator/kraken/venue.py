"""Kraken as a simulated venue: the record that net/simulator/registry.py names.

Runs on: none (plain values and pure functions).
"""

from __future__ import annotations

from net.simulator.calibration import MODEST
from net.simulator.kraken.protocol import KrakenServer
from net.simulator.kraken.publisher import KrakenPublisher
from net.simulator.level_forms import ObjectsForm
from net.simulator.options import VenueInstrument
from net.simulator.venue import BookForm, SimulatedVenue

PRICE_DECIMALS = 1


def instrument(base: str, quote: str) -> VenueInstrument:
    """BTC-USD is BTC/USD there."""
    return VenueInstrument(
        f"{base}-{quote}", f"{base}/{quote}", base, quote, PRICE_DECIMALS, 8, PRICE_DECIMALS, 8
    )


VENUES = {
    "kraken": SimulatedVenue(
        name="kraken",
        server=KrakenServer,
        publisher=KrakenPublisher,
        profile=MODEST,
        instrument=instrument,
        own_faults=("wrong-checksum", "refused-subscription", "late-ack"),
        form=BookForm(
            diff_marks=('"channel":"book"', '"type":"update"'),
            sides=("bids", "asks"),
            foreign={"symbol": "NOSUCH/USD"},
            levels=ObjectsForm("price", "qty"),
            checksum="checksum",
        ),
    )
}
