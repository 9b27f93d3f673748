"""The figures the synthetic order flow is tuned to, measured on the recorded tapes.

Sources: binance-btcusdt-20240808 (3,451 frames, 345 s, a fast market) and the Bitstamp part of
three-venues-btcusd-20260809 (517 frames, 179 s, a still market: the touch never moved). Distances
are from the same side's best price before the change, in bps of it.

|                         | Binance BTCUSDT      | Bitstamp btcusd       |
|-------------------------|----------------------|-----------------------|
| frames a second         | 9.98                 | 2.89 (every 325 ms)   |
| levels a frame          | 16, p90 70, p99 389  | 6, p90 10, p99 34     |
| (median, tail, mean)    | mean 36              | mean 6.3              |
| update ids a frame      | 19, p99 606, mean 53 | none                  |
| share of deletes        | 0.477                | 0.474                 |
| new levels, distance    | 5.5, p90 33, p99 1000| 2.2, p90 33, p99 281  |
| deleted, distance       | 5.2, p90 24, p99 252 | 2.2, p90 33, p99 300  |
| quantity (median, p90)  | 0.0525, 0.76         | 0.77, 2.3             |
| spread, ticks           | 1 (p95 1)            | 1                     |
| book, levels a side     | > 1000 within 34 bps | 2,885 and 3,618       |
| best changes a second   | 81                   | -                     |
| trades a second         | 28 in 9.3 instants   | -                     |
| mid moves, share        | 0.081 of frames      | 0                     |
| size of a move, bps     | 0.43, p90 1.46       | -                     |
Runs on: none (constants).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class QuantileTable:
    """A distribution given by quantiles, drawn by inverting them (linear between, in the log)."""

    def __init__(self, *points: tuple[float, float]) -> None:
        self.probabilities = np.array([p for p, _ in points])
        self._logs = np.log([value for _, value in points])
        assert (np.diff(self.probabilities) > 0).all() and (np.diff(self._logs) >= 0).all()

    def draw(self, generator: np.random.Generator, count: int) -> Floats:
        """`count` independent values."""
        logs = np.interp(generator.random(count), self.probabilities, self._logs)
        return np.asarray(np.exp(logs), dtype=np.float64)

    def at(self, probability: float | Floats) -> Floats:
        """The value at a quantile."""
        return np.asarray(np.exp(np.interp(probability, self.probabilities, self._logs)))


@dataclass(frozen=True)
class FlowProfile:
    """One venue's order flow. Rates are per slice of 100 ms simulated time."""

    events_median: float  # a quiet slice; the log of the rate is an AR(1) process
    events_log_sd: float
    events_log_memory: float
    events_max: int
    move_boost: float  # a price move multiplies the rate
    add_share: float
    cancel_share: float
    resize_share: float  # the rest are market orders
    resize_at_touch_share: float
    cancel_recent_share: float  # of cancels that take a recent order (flicker)
    recent_orders: int
    pool_target: int  # orders the flow keeps alive
    distance_bps: QuantileTable
    qty_units: QuantileTable  # at a price of 61,800; scaled by notional elsewhere
    rank_distance_bps: QuantileTable  # level rank / depth_reference -> distance, the seeded book
    depth_reference: int
    depth_bids: int
    depth_asks: int
    follow_lag_slices: int  # how late this venue follows the common price
    follow_threshold_bps: float  # and how far it lets it run before it moves
    basis_sd_bps: float  # size of each change of its own offset from the common price


# The common price moves in jumps, as the recorded one: still in 92 % of 100 ms slices.
MOVE_PROBABILITY = 0.081
MOVE_BPS = QuantileTable(
    (0.0, 0.0016), (0.1, 0.02), (0.25, 0.21), (0.5, 0.43), (0.75, 0.8), (0.9, 1.46),
    (0.95, 2.29), (0.99, 4.05), (1.0, 7.6),
)  # fmt: skip
TRADE_QTY_UNITS = QuantileTable(
    (0.0, 3e-5), (0.25, 1.1e-4), (0.5, 6e-4), (0.75, 0.0133), (0.9, 0.0556), (0.95, 0.1),
    (0.99, 0.324), (1.0, 0.98),
)  # fmt: skip
QTY_REFERENCE_PRICE = 61_800.0

# Starting prices; anything else starts at DEFAULT_PRICE with ticks of 0.01.
START_PRICES = {"BTC": 61_800.0, "ETH": 2_680.0, "SOL": 150.0, "LTC": 65.0, "BNB": 500.0}
DEFAULT_PRICE = 100.0
PRICE_DECIMALS = 2
FAR_PRICE_MAX = 1_000_000.0  # recorded books reach this far and beyond
FAR_PRICE_MIN = 1.0

MODEST = FlowProfile(
    events_median=3.0,
    events_log_sd=0.5,
    events_log_memory=0.5,
    events_max=200,
    move_boost=1.5,
    add_share=0.47,
    cancel_share=0.46,
    resize_share=0.06,
    resize_at_touch_share=0.2,
    cancel_recent_share=0.9,
    recent_orders=40,
    pool_target=300,
    distance_bps=QuantileTable((0.0, 0.002), (0.1, 0.97), (0.5, 2.2), (0.9, 33.0), (1.0, 1500.0)),
    qty_units=QuantileTable((0.0, 1e-5), (0.1, 5e-3), (0.5, 0.5), (0.9, 2.0), (1.0, 15.0)),
    rank_distance_bps=QuantileTable((0.0, 0.002), (0.05, 8.6), (0.5, 400.0), (1.0, 1000.0)),
    depth_reference=150,
    depth_bids=200,
    depth_asks=200,
    follow_lag_slices=2,
    follow_threshold_bps=0.6,
    basis_sd_bps=0.8,
)
"""A venue of which no recording is long enough to be measured: a small book, a few changes a slice,
by the shape of those above."""
