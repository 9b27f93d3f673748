"""Coinbase as a simulated venue: the record that net/simulator/registry.py names.

Runs on: none (plain values and pure functions).
"""

from __future__ import annotations

from net.simulator.calibration import MODEST
from net.simulator.coinbase.protocol import CoinbaseServer
from net.simulator.coinbase.publisher import CoinbasePublisher
from net.simulator.level_forms import SidedForm
from net.simulator.options import VenueInstrument
from net.simulator.venue import BookForm, SimulatedVenue


def instrument(base: str, quote: str) -> VenueInstrument:
    """BTC-USD is BTC-USD there."""
    name = f"{base}-{quote}"
    return VenueInstrument(name, name, base, quote, 2, 8, 2, 8)


VENUES = {
    "coinbase": SimulatedVenue(
        name="coinbase",
        server=CoinbaseServer,
        publisher=CoinbasePublisher,
        profile=MODEST,
        instrument=instrument,
        own_faults=("refused-subscription",),
        form=BookForm(
            diff_marks=('"channel":"l2_data"', '"type":"update"'),
            sides=("updates", "updates"),
            foreign={"product_id": "NOSUCH-USD"},
            body="events",
            levels=SidedForm(("bid", "offer"), ("side", "price_level", "new_quantity")),
        ),
    )
}
