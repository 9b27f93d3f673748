"""The `[maker]` section, one for each market maker: its schema and its defaults.

Amounts are texts, so that they stay exact. Nothing is quoted without the section; nothing leaves
the process unless it says `orders = "live"`.
Runs on: the main thread, once.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from engine.layout import layout as L
from engine.maker.quote_layout import LEVELS_MAX
from net.config.errors import SettingError
from net.config.maker_contradictions import refuse_contradictions
from net.config.makers import COMMON_KEYS
from net.config.model import ModelSettings
from net.config.paper import FeeBps, PaperSettings
from net.config.section import PositiveDecimal, Section
from net.config.taking import TakingSettings

Bps = Annotated[float, Field(ge=0, le=9_999, allow_inf_nan=False)]
"""Basis points, to the hundredth."""
DECIMAL = re.compile(r"[0-9]{1,20}(\.[0-9]{1,8})?", re.ASCII)
RATE_LEAST, RATE_MOST = Decimal("0.01"), Decimal(100)
SIGNED_DECIMAL = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,8})?", re.ASCII)


class FairSettings(Section):
    """How the fair price is computed, and when there is none (engine.maker.fair)."""

    method: Literal["mid", "weighted_mid", "micro_price"] = "weighted_mid"
    """How it is computed."""
    prices: Annotated[int, Field(ge=1, le=L.DEPTH_MAX)] = 5
    """`micro_price`: over so many of the best prices."""
    crossed_bps_max: Bps = 10.0
    """A book that is crossed by more gives no fair price: then nothing is quoted."""
    age_ms_max: Annotated[int, Field(ge=1, le=3_600_000)] = 2_000
    """An older book gives no fair price."""
    half_life_ms: Annotated[int, Field(ge=0, le=3_600_000)] = 0
    """Of a moving average; 0: none."""


class QuoteSettings(Section):
    """The quotes of each venue (engine.maker.quotes)."""

    levels: Annotated[int, Field(ge=1, le=LEVELS_MAX)] = 1
    """A side."""
    size: PositiveDecimal
    """Of the base currency, at the first level."""
    growth: Annotated[float, Field(ge=0.001, le=10)] = 1.0
    """The size from level to level, as a factor."""
    unit: Literal["bps", "ticks"] = "bps"
    """What `first`, `step` and `hold` are counted in."""
    first: Annotated[float, Field(ge=0, le=2**40)] = 10.0
    """From the fair price to the first level; in bps, where the venue's fee and `edge_bps_min` are
    more, all levels are farther by the difference."""
    step: Annotated[float, Field(ge=0, le=2**40)] = 5.0
    """From level to level."""
    hold: Annotated[float, Field(ge=0, le=2**40)] = 1.0
    """How far a quote may be from where it should be before it moves."""
    hold_size_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    """How much of its size a quote may have lost before it is placed anew."""
    edge_bps_min: Annotated[float, Field(ge=0.01, le=9_999)] = 1.0
    """What a fill at least earns after the venue's fee: no quote is nearer to the fair price than
    both together."""
    skew_bps: Annotated[float, Field(ge=0, le=1_000)] = 0.0
    """So far both sides move at `position_max`, against the position."""
    target: str = "0"
    """The position that the skew leads to."""
    touch: Literal["join", "improve", "free"] = "join"
    """Quotes may be at the venue's best, one tick better, or anywhere that is no trade."""
    band_percent: Annotated[float, Field(ge=0.001, le=100)] = 5.0
    """No quote is farther from the fair price."""

    pause_ms: Annotated[int, Field(ge=0, le=3_600_000)] = 500
    """After a fill: so long nothing new is placed on its side, at no venue; what rests stays."""

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
    """What no order passes (engine.maker.risk_gate). Sizes in the base currency, values in the
    quote currency; `reduce_at`: the position from which on only orders that reduce it are placed.
    """

    order_size_max: PositiveDecimal
    """Of one order, in the base currency."""
    order_value_max: PositiveDecimal
    """Of one order, in the quote currency."""
    position_max: PositiveDecimal
    """Long or short, open orders included, in the base currency."""
    exposure_max: PositiveDecimal
    """What the position could be worth, open orders included, in the quote currency."""
    daily_loss_max: PositiveDecimal
    """In the quote currency; at this loss since 00:00 UTC quoting is halted."""
    reduce_at: PositiveDecimal | None = None
    """From this position on only orders that reduce it; left out: `position_max`."""
    collar_bps: Annotated[float, Field(ge=1, le=9_999)] = 200.0
    """No order is farther from the fair price."""
    open_orders_max: Annotated[int, Field(ge=1, le=400)] = 40
    """At all venues together."""
    orders_per_10_s: Annotated[int, Field(ge=1, le=10_000)] = 50
    """Our own limit at each venue."""
    venue_orders_per_10_s: Annotated[int, Field(ge=1, le=10_000)] = 90
    """The venue's limit for the account."""
    venue_orders_per_day: Annotated[int, Field(ge=1, le=10_000_000)] = 160_000
    """The venue's limit for the account."""
    fills_per_min: Annotated[int, Field(ge=1, le=100_000)] = 100
    """Of both sides at all venues; at this many all quotes are withdrawn until it is fewer."""
    volume_per_min: PositiveDecimal | None = None
    """What is traded and what is open, of both sides at all venues, never exceed it together, in
    the base currency; left out: no limit."""


class MakerVenue(Section):
    """One venue's part: whether it is quoted, and its weight in the fair price."""

    quote: bool = True
    """Whether it is quoted."""
    weight: Annotated[float, Field(ge=0, le=1_000)] = 1.0
    """Its weight in the fair price."""
    rate: str = "1"
    """What one of the venue's quote currency is worth in the maker's own, which fair price, limits
    and results are in: a decimal, or the symbol of an instrument whose mid it is (USDT-USD)."""
    fee_bps: FeeBps | None = None
    """What it takes of each fill's value, below zero for a rebate; left out: what it tells for the
    account. Orders on paper have their own."""
    self_trade_mode: Literal["", "NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"] = ""
    """What the venue does with an order that would meet our own; left out: the market's default."""
    position_max: PositiveDecimal | None = None
    """What may be held at this venue, long or short of what is neutral there, in the base
    currency; left out: no limit but that of `[maker.risk]`."""
    skew_bps: Annotated[float, Field(ge=0, le=1_000)] = 0.0
    """So far both sides move at this venue's own `position_max`, against what is held there."""
    paper_fee_bps: FeeBps | None = None
    """On paper, what it takes of each fill's value; left out: `fee_bps` of `[maker.paper]`."""
    neutral: str | None = None
    """What its account holds of the base currency where the position is zero; left out: as the
    journal has it, which a new one takes from the account at the first start."""

    @field_validator("rate")
    @classmethod
    def _is_rate(cls, value: str) -> str:
        if not value:
            raise ValueError('must be a decimal, or the symbol of an instrument: "0.9996"')
        if not DECIMAL.fullmatch(value):
            return value
        if not RATE_LEAST <= Decimal(value) <= RATE_MOST:
            raise ValueError(f"from {RATE_LEAST} to {RATE_MOST} is possible")
        return value

    @property
    def rate_market(self) -> str:
        """The symbol of the instrument that the rate is taken from; "" where it is a decimal."""
        return "" if DECIMAL.fullmatch(self.rate) else self.rate

    @field_validator("neutral")
    @classmethod
    def _is_amount(cls, value: str | None) -> str | None:
        if value is not None and not DECIMAL.fullmatch(value):
            raise ValueError('must be a decimal amount of the base currency, for example "10.5"')
        return value


class MakerSettings(Section):
    """The market maker of one instrument; of several, each has a `[[maker]]`."""

    symbol: str = ""
    """The instrument that is quoted; left out: the first."""
    orders: Literal["paper", "live"] = "paper"
    """`paper`: nothing leaves the process; `live`: at the venues."""
    fee_rates: dict[str, PositiveDecimal] = Field(default_factory=dict)
    """What one of an asset, beside base and quote, that fees are paid in is worth in the quote
    currency, for example `{BNB = "600"}`; a fee without a rate is told and in no result."""
    quotes: QuoteSettings
    """The quotes of each venue."""
    risk: RiskSettings
    """What no order passes."""
    fair: FairSettings = FairSettings()
    """The fair price."""
    paper: PaperSettings = PaperSettings()
    """Orders on paper."""
    model: ModelSettings = ModelSettings()
    """Volatility and the model."""
    taking: TakingSettings = TakingSettings()
    """Orders that take."""
    venue: dict[str, MakerVenue] = Field(default_factory=dict)
    """Each venue's part."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_keys_of_others(cls, given: object) -> object:
        if isinstance(given, dict) and "neutral" in given:
            text = "neutral is said for each venue: [maker.venue.NAME] neutral"
            raise ValueError(text)
        for key in COMMON_KEYS:
            if isinstance(given, dict) and key in given:
                text = "is of all market makers where there are several: say it in [makers]"
                raise SettingError(key, text)
        return given

    @model_validator(mode="after")
    def _is_consistent(self) -> MakerSettings:
        refuse_contradictions(self)
        return self
