"""The `[maker.paper]` section: how far away a venue is, and how its queues are taken to move.

It counts where orders are on paper: `pollux serve` with `orders = "paper"`, `pollux replay` and
`pollux backtest`.
Runs on: the main thread, once.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from net.config.section import Section

LATENCY_MS_MAX = 60_000
FeeBps = Annotated[float, Field(ge=-100, le=1_000, allow_inf_nan=False)]
"""Basis points of a fill's value, to the hundredth; below zero the venue pays."""


class PaperSettings(Section):
    """Orders on paper (net.maker.paper_orders)."""

    latency_ms: Annotated[float, Field(ge=0, le=LATENCY_MS_MAX)] = 20.0
    """From us to the venue, and from the venue to us: the least that an order, a cancel, a replace
    and their answers take, each way."""
    latency_tail_ms: Annotated[float, Field(ge=0, le=LATENCY_MS_MAX)] = 10.0
    """The mean of what comes on top, drawn anew for each message (exponential); 0: nothing."""
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] = 1
    """Of the latencies that are drawn."""
    queue: Literal["proportional", "behind"] = "proportional"
    """Where orders of our level are cancelled: `proportional`, ahead of ours and behind it alike;
    `behind`: always behind it, so that fills are the fewest."""
    fee_bps: FeeBps = 10.0
    """What a venue takes of each fill's value; a venue's own in `[maker.venue.NAME]`."""
    taker_fee_bps: FeeBps = 10.0
    """What a venue takes of the value of an order that takes (`[maker.taking]`)."""
