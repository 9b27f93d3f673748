"""Gemini as a simulated venue: the record that net/simulator/registry.py names.

Runs on: none (plain values and pure functions).
"""

from __future__ import annotations

from net.simulator.calibration import MODEST
from net.simulator.gemini.protocol import GeminiServer
from net.simulator.gemini.publisher import GeminiPublisher
from net.simulator.level_forms import SidedForm
from net.simulator.options import VenueInstrument
from net.simulator.venue import BookForm, SimulatedVenue


def instrument(base: str, quote: str) -> VenueInstrument:
    """BTC-USD is BTCUSD there."""
    return VenueInstrument(f"{base}-{quote}", f"{base}{quote}", base, quote, 2, 8, 2, 8)


VENUES = {
    "gemini": SimulatedVenue(
        name="gemini",
        server=GeminiServer,
        publisher=GeminiPublisher,
        profile=MODEST,
        instrument=instrument,
        own_faults=("refused-subscription",),
        form=BookForm(
            diff_marks=('"type":"l2_updates"', "]]}"),
            sides=("changes", "changes"),
            foreign={"symbol": "NOSUCHUSD"},
            levels=SidedForm(("buy", "sell")),
        ),
    )
}
