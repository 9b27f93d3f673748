"""The `[maker.model]` section: what makes quotes wider than configured, and lean more.

Runs on: the main thread, once.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from net.config.section import Section

AVELLANEDA_STOIKOV = "avellaneda_stoikov"
Parameter = Annotated[float, Field(ge=1e-12, le=10**12, allow_inf_nan=False)]


class ModelSettings(Section):
    """Volatility, and the model that uses it (engine.maker.model)."""

    kind: Literal["linear", "avellaneda_stoikov"] = "linear"
    """`linear`: `skew_bps`, and `widen`; `avellaneda_stoikov`: the reservation price and the spread
    of their paper of 2008 in the place of `skew_bps` and `first`."""
    widen: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] = 0.0
    """`linear`: each level is farther by so many standard deviations of the mid price over the
    horizon."""
    risk_aversion: Parameter | None = None
    """`avellaneda_stoikov`: gamma, in 1 / quote currency."""
    fill_decay: Parameter | None = None
    """`avellaneda_stoikov`: k, in 1 / quote currency: fills come e times as seldom where a quote is
    1 / k farther away."""
    horizon_s: Annotated[int, Field(ge=1, le=86_400)] = 60
    """How far ahead a model looks: the time left in the paper, always the same here."""
    volatility_half_life_s: Annotated[int, Field(ge=1, le=86_400)] = 60
    """Of the weights of past returns; nothing is quoted before half of it has been seen, where the
    model needs the volatility."""
    volatility_sample_ms: Annotated[int, Field(ge=0, le=60_000)] = 1_000
    """The least time of a return: a shorter one counts the bounce from book to book as risk."""

    @model_validator(mode="after")
    def _fits_together(self) -> ModelSettings:
        given = [name for name in ("risk_aversion", "fill_decay") if getattr(self, name)]
        if self.kind == AVELLANEDA_STOIKOV and len(given) < 2:
            raise ValueError(f"kind = {self.kind!r} needs risk_aversion and fill_decay")
        if self.kind == AVELLANEDA_STOIKOV and self.widen:
            raise ValueError(f"widen = {self.widen:g} is of the linear model: leave it out")
        if self.kind != AVELLANEDA_STOIKOV and given:
            raise ValueError(f"{given[0]} is of kind = {AVELLANEDA_STOIKOV!r}: leave it out")
        if self.volatility_sample_ms > 100 * self.volatility_half_life_s:
            raise ValueError(
                f"volatility_sample_ms = {self.volatility_sample_ms} is more than a tenth of "
                f"volatility_half_life_s = {self.volatility_half_life_s}: lower it"
            )
        return self
