"""KuCoin as a simulated venue: the record that net/simulator/registry.py names.

Runs on: none (plain values and pure functions).
"""

from __future__ import annotations

import re

from net.simulator.calibration import MODEST
from net.simulator.kucoin.protocol import KucoinServer
from net.simulator.kucoin.publisher import KucoinPublisher
from net.simulator.level_forms import LongerForm
from net.simulator.options import VenueInstrument
from net.simulator.venue import BookForm, SimulatedVenue


def instrument(base: str, quote: str) -> VenueInstrument:
    """BTC-USD is BTC-USDT there."""
    name = f"{base}-{'USDT' if quote == 'USD' else quote}"
    return VenueInstrument(f"{base}-{quote}", name, base, quote, 1, 8, 1, 8)


VENUES = {
    "kucoin": SimulatedVenue(
        name="kucoin",
        server=KucoinServer,
        publisher=KucoinPublisher,
        profile=MODEST,
        instrument=instrument,
        own_faults=("gap", "refused-subscription"),
        form=BookForm(
            diff_marks=('"subject":"trade.l2update"',),
            sides=("bids", "asks"),
            first_id="sequenceStart",
            last_id="sequenceEnd",
            time_ms="time",
            foreign={"topic": "/market/level2:NOSUCH-USDT"},
            snapshot_path=re.compile(
                r"/api/v1/market/orderbook/level2_100\?symbol=([^&]+)(?:&.*)?"
            ),
            snapshot_id="sequence",
            inner="changes",
            levels=LongerForm("1"),
        ),
    )
}
