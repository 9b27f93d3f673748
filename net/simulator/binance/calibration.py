"""The order flow of a simulated Binance market, as measured on recorded tapes (../calibration.py).

Runs on: none (constants).
"""

from __future__ import annotations

from net.simulator.calibration import FlowProfile, QuantileTable

PROFILE = FlowProfile(
    events_median=16.0,
    events_log_sd=1.1,
    events_log_memory=0.7,
    events_max=1500,
    move_boost=8.0,
    add_share=0.405,
    cancel_share=0.36,
    resize_share=0.22,
    resize_at_touch_share=0.5,
    cancel_recent_share=0.8,
    recent_orders=60,
    pool_target=2600,
    distance_bps=QuantileTable(
        (0.0, 0.001), (0.05, 0.005), (0.1, 0.30), (0.25, 1.71), (0.5, 5.46), (0.75, 15.9),
        (0.9, 33.3), (0.95, 242.0), (0.99, 1000.0), (1.0, 22_000.0),
    ),
    qty_units=QuantileTable(
        (0.0, 1e-5), (0.01, 9e-5), (0.05, 1.7e-4), (0.1, 5.4e-4), (0.25, 0.01), (0.5, 0.0525),
        (0.75, 0.307), (0.9, 0.761), (0.95, 1.99), (0.99, 5.62), (1.0, 550.0),
    ),
    rank_distance_bps=QuantileTable(
        (0.0, 0.0016), (0.01, 0.55), (0.05, 2.6), (0.1, 4.6), (0.5, 20.0), (1.0, 34.0),
    ),
    depth_reference=1000,
    depth_bids=6000,
    depth_asks=6000,
    follow_lag_slices=0,
    follow_threshold_bps=0.0,
    basis_sd_bps=0.0,
)  # fmt: skip
