"""Gate as a simulated venue: the record that net/simulator/registry.py names.

Runs on: none (plain values and pure functions).
"""

from __future__ import annotations

import re

from net.simulator.calibration import MODEST
from net.simulator.gate.protocol import GateServer
from net.simulator.gate.publisher import GatePublisher
from net.simulator.options import VenueInstrument
from net.simulator.venue import BookForm, SimulatedVenue


def instrument(base: str, quote: str) -> VenueInstrument:
    """BTC-USD is BTC_USDT there."""
    name = f"{base}_{'USDT' if quote == 'USD' else quote}"
    return VenueInstrument(f"{base}-{quote}", name, base, quote, 1, 8, 1, 8)


VENUES = {
    "gate": SimulatedVenue(
        name="gate",
        server=GateServer,
        publisher=GatePublisher,
        profile=MODEST,
        instrument=instrument,
        own_faults=("gap", "refused-subscription"),
        form=BookForm(
            diff_marks=('"spot.order_book_update"', '"event":"update"'),
            sides=("b", "a"),
            first_id="U",
            last_id="u",
            time_ms="t",
            foreign={"s": "NOSUCH_USDT"},
            snapshot_path=re.compile(r"/api/v4/spot/order_book\?currency_pair=([^&]+)(?:&.*)?"),
            snapshot_id="id",
            body="result",
        ),
    )
}
