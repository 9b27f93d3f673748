"""The order flow of a simulated Bitstamp market, as measured on recorded tapes (../calibration.py).

Runs on: none (constants).
"""

from __future__ import annotations

from net.simulator.calibration import FlowProfile, QuantileTable

PROFILE = FlowProfile(
    events_median=1.7,
    events_log_sd=0.35,
    events_log_memory=0.3,
    events_max=120,
    move_boost=1.5,
    add_share=0.47,
    cancel_share=0.46,
    resize_share=0.06,
    resize_at_touch_share=0.2,
    cancel_recent_share=0.9,
    recent_orders=40,
    pool_target=400,
    distance_bps=QuantileTable(
        (0.0, 0.002), (0.01, 0.094), (0.05, 0.48), (0.1, 0.97), (0.25, 1.56), (0.5, 2.18),
        (0.75, 2.95), (0.9, 32.9), (0.95, 43.7), (0.99, 281.0), (1.0, 2000.0),
    ),
    qty_units=QuantileTable(
        (0.0, 1e-6), (0.01, 8e-5), (0.05, 3.1e-3), (0.1, 5.1e-3), (0.25, 0.154), (0.5, 0.772),
        (0.75, 1.545), (0.9, 2.317), (0.99, 2.49), (1.0, 15.5),
    ),
    rank_distance_bps=QuantileTable(
        (0.0, 0.0016), (0.01, 0.9), (0.05, 8.6), (0.1, 31.0), (0.5, 428.0), (1.0, 1100.0),
    ),
    depth_reference=1000,
    depth_bids=2885,
    depth_asks=3618,
    follow_lag_slices=2,
    follow_threshold_bps=0.6,
    basis_sd_bps=0.8,
)  # fmt: skip
