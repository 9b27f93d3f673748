"""Binance as a simulated venue: the record that net/simulator/registry.py names.

Runs on: none (plain values and pure functions).
"""

from __future__ import annotations

import re
from json import JSONDecoder

from net.simulator.binance.calibration import PROFILE
from net.simulator.binance.protocol import ORDER_PATH, BinanceServer
from net.simulator.binance.publisher import BinancePublisher
from net.simulator.calibration import PRICE_DECIMALS
from net.simulator.options import VenueInstrument
from net.simulator.tape_file import TapeLine, read_depth, read_object
from net.simulator.venue import BookForm, SimulatedVenue

QTY_DECIMALS = {"BTC": 5, "ETH": 4}  # the recorded steps; others as ETH
QTY_DECIMALS_DEFAULT = 4


def instrument(base: str, quote: str) -> VenueInstrument:
    """BTC-USD is BTCUSDT there; everything is printed with eight decimals."""
    quote_there = "USDT" if quote == "USD" else quote
    return VenueInstrument(
        f"{base}-{quote}",
        base + quote_there,
        base,
        quote_there,
        PRICE_DECIMALS,
        QTY_DECIMALS.get(base, QTY_DECIMALS_DEFAULT),
        8,
        8,
    )


def read_frame(raw: str, due_ns: int) -> TapeLine | None:
    """A recorded frame of the market streams, raw or combined; None for any other."""
    frame = read_object(raw)
    stream, wrapped, text, data = frame.get("stream"), None, raw, frame
    if isinstance(stream, str) and isinstance(frame.get("data"), dict):
        start = raw.index("{", raw.index('"data"'))
        last = next(reversed(frame)) == "data"
        end = raw.rindex("}") if last else JSONDecoder().raw_decode(raw, start)[1]
        wrapped, text, data = raw, raw[start:end], frame["data"]
    elif data.get("e") == "depthUpdate":
        stream = data["s"].lower() + "@depth@100ms"  # raw frames do not say; the usual one
    elif data.get("e") == "trade":
        stream = data["s"].lower() + "@trade"
    elif "u" in data and "B" in data:
        stream = data["s"].lower() + "@bookTicker"
    else:
        return None  # an answer to a control message
    if data.get("e") != "depthUpdate":
        return TapeLine(due_ns, stream, "", text, wrapped, None)
    depth = read_depth(data["U"], data["u"], data["b"], data["a"])
    return TapeLine(due_ns, stream, data["s"], text, wrapped, depth)


VENUE = SimulatedVenue(
    name="binance",
    server=BinanceServer,
    publisher=BinancePublisher,
    profile=PROFILE,
    instrument=instrument,
    read_frame=read_frame,
    order_scheme="ws",
    order_path=ORDER_PATH,
    own_faults=("gap", "venue-clock", "missed-ping", "lifetime", "snapshot-straddled"),
    form=BookForm(
        diff_marks=('"depthUpdate"',),
        sides=("b", "a"),
        first_id="U",
        last_id="u",
        time_ms="E",
        foreign={"s": "NOSUCH", "stream": "nosuch@depth@100ms"},
        pads_zeros=True,
        snapshot_path=re.compile(r"/api/v3/depth\?(?:.*&)?symbol=([^&]+)(?:&.*)?"),
        snapshot_id="lastUpdateId",
    ),
)
