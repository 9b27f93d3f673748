"""Whether the quotes' settings fit what a venue's market takes: refused before anything is quoted.

What contradicts itself without any market is refused by net.config.maker_contradictions.
Runs on: the main thread, once.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

from engine.layout.layout import LOT_DECIMALS
from engine.maker.quotes import BAND_MILLIPERCENT_MAX
from net.config.errors import SettingError
from net.config.maker_contradictions import BPS_ALL, PPM_PER_BPS, refuse_far_level

if TYPE_CHECKING:
    from engine.maker.quotes import QuoteSpec
    from net.config.maker import MakerSettings
    from net.orders.markets import MarketRules
    from net.orders.messages import Market


class RulesError(Exception):
    """A setting that does not fit the market: one line that names the key."""


def amount_text(lots: int) -> str:
    """Lots as an amount of the base currency."""
    text = f"{Decimal(lots).scaleb(-LOT_DECIMALS):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def refuse_step(size: str, lots: int, venue: str, market: Market) -> None:
    """RulesError where a size is between the steps of the venue's quantities."""
    if lots % market.step_lots:
        raise RulesError(
            f"maker.quotes.size: {size} is no multiple of {market.step_size}, the step of "
            f"{venue}'s {market.symbol}"
        )


def refuse_fee(settings: MakerSettings, quoted: QuoteSpec, venue: str, fee_ppm: int) -> None:
    """RulesError where a venue's fee leaves no price at which a fill earns anything; `quoted`: with
    the fee in its edge."""
    band_bps = quoted.band_millipercent * BPS_ALL / BAND_MILLIPERCENT_MAX
    limit_bps = min(settings.risk.collar_bps, band_bps)
    if quoted.edge_ppm_min >= limit_bps * PPM_PER_BPS:
        raise RulesError(
            f"maker.quotes.edge_bps_min: {settings.quotes.edge_bps_min:g} after {venue}'s fee of "
            f"{fee_ppm / PPM_PER_BPS:g} bps is not below the {limit_bps:g} bps that "
            f"risk.collar_bps and quotes.band_percent allow: lower it, or widen those"
        )


def refuse_misfits(
    settings: MakerSettings, quotes: QuoteSpec, venue: str, rules: MarketRules
) -> None:
    """RulesError where a level could never be placed at the venue; `quotes`: its words are fit."""
    for level in range(quotes.levels):
        _refuse_level_size(settings, quotes, level, venue)
    risk = settings.risk
    for name in ("order_value_max", "exposure_max"):
        limit = getattr(risk, name)
        if Fraction(rules.notional_min) > Fraction(limit):
            raise RulesError(
                f"maker.risk.{name}: {limit} is below {rules.notional_min}, the least value of an "
                f"order at {venue}: raise it"
            )
    band_bps = quotes.band_millipercent * BPS_ALL / BAND_MILLIPERCENT_MAX
    what = f"the {band_bps:g} bps within which {venue} takes orders"
    try:
        refuse_far_level(settings.quotes, band_bps, what)
    except SettingError as error:
        raise RulesError(f"maker.{error}") from None


def _refuse_level_size(settings: MakerSettings, quotes: QuoteSpec, level: int, venue: str) -> None:
    """RulesError where the lots of a level are less than the venue takes, or more than allowed."""
    lots, given = quotes.size(level), settings.quotes
    which = f"maker.quotes.size: {given.size}"
    if level > 0:
        which = f"maker.quotes.growth: {given.growth:g}: level {level + 1}, {amount_text(lots)},"
    if lots < quotes.lots_min:
        least = amount_text(quotes.lots_min)
        raise RulesError(f"{which} is below what {venue} takes: {least} at least")
    if lots > quotes.lots_max:
        most = amount_text(quotes.lots_max)
        raise RulesError(f"{which} is above what {venue} takes: {most} at most")
    limit = Decimal(settings.risk.order_size_max)
    if lots > limit.scaleb(LOT_DECIMALS):
        raise RulesError(f"{which} is above maker.risk.order_size_max = {limit:f}")
