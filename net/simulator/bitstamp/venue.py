"""Bitstamp as a simulated venue: the record that net/simulator/registry.py names.

Runs on: none (plain values and pure functions).
"""

from __future__ import annotations

import re

from net.simulator.bitstamp.calibration import PROFILE
from net.simulator.bitstamp.protocol import BitstampServer
from net.simulator.bitstamp.publisher import BitstampPublisher
from net.simulator.calibration import PRICE_DECIMALS
from net.simulator.options import VenueInstrument
from net.simulator.tape_file import TapeLine, read_depth, read_object
from net.simulator.venue import BookForm, SimulatedVenue


def instrument(base: str, quote: str) -> VenueInstrument:
    """BTC-USD is btcusd there; prices are printed with the tick's decimals."""
    pair = (base + quote).lower()
    return VenueInstrument(
        f"{base}-{quote}", pair, base, quote, PRICE_DECIMALS, 8, PRICE_DECIMALS, 8
    )


def read_frame(raw: str, due_ns: int) -> TapeLine | None:
    """A recorded frame of a market's channel; None for any other."""
    frame = read_object(raw)
    channel = frame.get("channel")
    if not isinstance(channel, str) or str(frame.get("event")).startswith("bts:"):
        return None
    if not channel.startswith("diff_order_book_"):
        return TapeLine(due_ns, channel, "", raw, None, None)
    data = frame["data"]
    stamp = data["microtimestamp"]
    depth = read_depth(stamp, stamp, data["bids"], data["asks"])
    return TapeLine(due_ns, channel, channel.removeprefix("diff_order_book_"), raw, None, depth)


VENUE = SimulatedVenue(
    name="bitstamp",
    server=BitstampServer,
    publisher=BitstampPublisher,
    profile=PROFILE,
    instrument=instrument,
    read_frame=read_frame,
    order_scheme="http",
    own_faults=("future", "same-time", "refused-subscription"),
    form=BookForm(
        diff_marks=('"diff_order_book_', '"event":"data"'),
        sides=("bids", "asks"),
        last_id="microtimestamp",
        foreign={"channel": "diff_order_book_nosuch"},
        snapshot_path=re.compile(r"/api/v2/order_book/([^/?]+)/?(?:\?.*)?"),
        snapshot_id="microtimestamp",
    ),
)
