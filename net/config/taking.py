"""The `[maker.taking]` section: orders that take, to hedge and to end a position after a halt.

Runs on: the main thread, once.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from net.config.section import PositiveDecimal, Section


class TakingSettings(Section):
    """Orders that take, off by default (net.maker.taking)."""

    hedge_venue: str = ""
    """A quoted venue at which a position that is large is ended at once; left out: none."""
    hedge_above: PositiveDecimal | None = None
    """From this position on, long or short, in the base currency."""
    flatten_on_halt: bool = False
    """Whether the position is ended after a halt by the daily loss, its own or that of all."""
    flatten_on_kill: bool = False
    """Whether it is ended after an operator's kill too; no other halt does."""
    slippage_bps: Annotated[float, Field(ge=0.01, le=9_999)] = 20.0
    """No order that takes pays more than the fair price by so much, or gets less."""

    @property
    def is_on(self) -> bool:
        """Whether there is ever an order that takes."""
        return bool(self.hedge_venue) or self.flatten_on_halt or self.flatten_on_kill
