"""The `[maker]` section: its schema and its defaults. Amounts are texts, so that they stay exact.

Nothing is quoted without the section; nothing leaves the process unless it says `orders = "live"`.
Runs on: the main thread, once. Called by: net.config.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from engine.maker.quote_layout import LEVELS_MAX
from net.section import PositiveDecimal, Section

Bps = Annotated[float, Field(ge=0, le=9_999, allow_inf_nan=False)]
"""Basis points, to the hundredth."""
DECIMAL = re.compile(r"[0-9]{1,20}(\.[0-9]{1,8})?", re.ASCII)
SIGNED_DECIMAL = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,8})?", re.ASCII)


class FairSettings(Section):
    """How the fair price is computed, and when there is none (engine.maker.fair)."""

    method: Literal["mid", "weighted_mid", "micro_price"] = "weighted_mid"
    prices: Annotated[int, Field(ge=1, le=50)] = 5
    crossed_bps_max: Bps = 10.0
    age_ms_max: Annotated[int, Field(ge=1, le=3_600_000)] = 2_000
    half_life_ms: Annotated[int, Field(ge=0, le=3_600_000)] = 0


class QuoteSettings(Section):
    """The quotes of each venue (engine.maker.quotes)."""

    levels: Annotated[int, Field(ge=1, le=LEVELS_MAX)] = 1
    size: PositiveDecimal
    growth: Annotated[float, Field(ge=0.001, le=10)] = 1.0
    unit: Literal["bps", "ticks"] = "bps"
    first: Annotated[float, Field(ge=0, le=2**40)] = 10.0
    step: Annotated[float, Field(ge=0, le=2**40)] = 5.0
    hold: Annotated[float, Field(ge=0, le=2**40)] = 1.0
    hold_size_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    edge_bps_min: Annotated[float, Field(ge=0.01, le=9_999)] = 1.0
    skew_bps: Annotated[float, Field(ge=0, le=1_000)] = 0.0
    target: str = "0"
    touch: Literal["join", "improve", "free"] = "join"
    band_percent: Annotated[float, Field(ge=0.001, le=100)] = 5.0

    @field_validator("target")
    @classmethod
    def _is_amount(cls, value: str) -> str:
        if not SIGNED_DECIMAL.fullmatch(value):
            raise ValueError('must be a decimal amount of the base currency, for example "-0.5"')
        return value

    @model_validator(mode="after")
    def _whole_ticks(self) -> QuoteSettings:
        if self.unit == "ticks":
            for name in ("first", "step", "hold"):
                if not float(getattr(self, name)).is_integer():
                    raise ValueError(f"{name} must be whole where the unit is ticks")
        return self


class RiskSettings(Section):
    """What no order passes (engine.maker.risk). Sizes in the base currency, values in the quote
    currency; `reduce_at`: the position from which on only orders that reduce it are placed."""

    order_size_max: PositiveDecimal
    order_value_max: PositiveDecimal
    position_max: PositiveDecimal
    exposure_max: PositiveDecimal
    daily_loss_max: PositiveDecimal
    reduce_at: PositiveDecimal | None = None
    collar_bps: Annotated[float, Field(ge=1, le=9_999)] = 200.0
    open_orders_max: Annotated[int, Field(ge=1, le=400)] = 40
    orders_per_10_s: Annotated[int, Field(ge=1, le=10_000)] = 50
    venue_orders_per_10_s: Annotated[int, Field(ge=1, le=10_000)] = 90
    venue_orders_per_day: Annotated[int, Field(ge=1, le=10_000_000)] = 160_000


class MakerVenue(Section):
    """One venue's part: whether it is quoted, and its weight in the fair price."""

    quote: bool = True
    weight: Annotated[float, Field(ge=0, le=1_000)] = 1.0
    self_trade_mode: Literal["", "NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"] = ""


class MakerSettings(Section):
    """The market maker of one instrument."""

    symbol: str = ""
    """The instrument that is quoted; left out: the first."""
    orders: Literal["paper", "live"] = "paper"
    journal: Annotated[str, Field(min_length=1)] = "journal"
    kill_file: str = ""
    """Quoting is killed while a file of this name exists."""
    neutral: str | None = None
    """What the accounts hold of the base currency, together, where the position is zero; left out:
    what they held at the first start that the journal knows of."""
    watchdog: bool = True
    watchdog_after_ms: Annotated[int, Field(ge=500, le=60_000)] = 2_000
    token_file: str = ""
    """Holds the word that the kill switch asks for over gRPC, where not only loopback reaches it.
    """
    quotes: QuoteSettings
    risk: RiskSettings
    fair: FairSettings = FairSettings()
    venue: dict[str, MakerVenue] = Field(default_factory=dict)

    @field_validator("neutral")
    @classmethod
    def _is_amount(cls, value: str | None) -> str | None:
        if value is not None and not DECIMAL.fullmatch(value):
            raise ValueError('must be a decimal amount of the base currency, for example "10.5"')
        return value
