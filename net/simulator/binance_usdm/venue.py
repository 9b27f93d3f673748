"""Binance USD-M as a simulated venue: the record that net/simulator/registry.py names.

Runs on: none (plain values and pure functions).
"""

from __future__ import annotations

import re

from net.simulator.binance_usdm.protocol import UsdmServer
from net.simulator.binance_usdm.publisher import UsdmPublisher
from net.simulator.calibration import MODEST
from net.simulator.options import VenueInstrument
from net.simulator.venue import BookForm, SimulatedVenue


def instrument(base: str, quote: str) -> VenueInstrument:
    """BTC-USD is BTCUSDT there."""
    name = f"{base}{'USDT' if quote == 'USD' else quote}"
    return VenueInstrument(f"{base}-{quote}", name, base, quote, 1, 8, 2, 8)


VENUES = {
    "binance-usdm": SimulatedVenue(
        name="binance-usdm",
        server=UsdmServer,
        publisher=UsdmPublisher,
        profile=MODEST,
        instrument=instrument,
        own_faults=("gap",),
        form=BookForm(
            diff_marks=('"e":"depthUpdate"',),
            sides=("b", "a"),
            last_id="u",
            time_ms="E",
            foreign={"s": "NOSUCHUSDT"},
            pads_zeros=True,
            snapshot_path=re.compile(r"/fapi/v1/depth\?symbol=([A-Z0-9]+)(?:&.*)?"),
            snapshot_id="lastUpdateId",
            previous_id="pu",
        ),
    )
}
