"""OKX as simulated venues, spot and swaps: the records that net/simulator/registry.py names.

Runs on: none (plain values and pure functions).
"""

from __future__ import annotations

import re

from net.simulator.calibration import MODEST
from net.simulator.level_forms import LongerForm
from net.simulator.okx.protocol import OkxServer
from net.simulator.okx.publisher import OkxPublisher
from net.simulator.options import VenueInstrument
from net.simulator.venue import BookForm, SimulatedVenue


def spot(base: str, quote: str) -> VenueInstrument:
    """BTC-USD is BTC-USDT there."""
    name = f"{base}-{'USDT' if quote == 'USD' else quote}"
    return VenueInstrument(f"{base}-{quote}", name, base, quote, 1, 8, 1, 8)


def swap(base: str, quote: str) -> VenueInstrument:
    """And BTC-USDT-SWAP; a contract is one coin."""
    name = f"{base}-{'USDT' if quote == 'USD' else quote}-SWAP"
    return VenueInstrument(f"{base}-{quote}", name, base, quote, 1, 8, 1, 8)


VENUES = {
    name: SimulatedVenue(
        name=name,
        server=OkxServer,
        publisher=OkxPublisher,
        profile=MODEST,
        instrument=instrument,
        own_faults=("gap", "refused-subscription", "late-ack"),
        form=BookForm(
            diff_marks=('"channel":"books"', '"action":"update"'),
            sides=("bids", "asks"),
            last_id="seqId",
            foreign={"instId": "NOSUCH-USDT"},
            snapshot_path=re.compile(r"/api/v5/market/books\?instId=([^&]+)&.*"),
            snapshot_id="seqId",
            levels=LongerForm("0", "1"),
            previous_id="prevSeqId",
            checksum="checksum",
        ),
    )
    for name, instrument in (("okx", spot), ("okx-swap", swap))
}
