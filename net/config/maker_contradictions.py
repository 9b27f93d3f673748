"""What in `[maker]` contradicts itself: settings each of which is possible, and together are not.

Refused is what could never be so while quoting: a level that no order may stand at, a limit beyond
the one that it is part of. What depends on a venue's market is refused by net.maker.market_fit.
Runs on: the main thread, once.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

from engine.maker import quote_layout as Q
from net.config.errors import SettingError
from net.config.model import AVELLANEDA_STOIKOV

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from net.config.maker import FairSettings, MakerSettings, MakerVenue, QuoteSettings

PPM_PER_BPS = 100
BPS_PER_PERCENT = 100
BPS_ALL = Q.PPM // PPM_PER_BPS
"""The whole price in basis points."""


def refuse_contradictions(settings: MakerSettings) -> None:
    """SettingError, which names the key, where settings of `[maker]` exclude one another."""
    _refuse_far_levels(settings)
    _refuse_sizes(settings)
    _refuse_positions(settings)
    _refuse_model(settings)
    _refuse_taking(settings)
    risk = settings.risk
    if risk.orders_per_10_s > risk.venue_orders_per_10_s:
        raise SettingError(
            "risk.orders_per_10_s",
            f"{risk.orders_per_10_s} is above risk.venue_orders_per_10_s = "
            f"{risk.venue_orders_per_10_s}: lower it",
        )


def farthest_bps(quotes: QuoteSettings, level: int) -> float:
    """How far a level is from an unskewed fair price, as kernels count it; `level` from 0."""
    first, step = round(quotes.first * PPM_PER_BPS), round(quotes.step * PPM_PER_BPS)
    return (first + level * step) / PPM_PER_BPS


def level_sizes(quotes: QuoteSettings) -> list[Fraction]:
    """The size of each level of a side, before it is cut to a venue's steps."""
    growth = Fraction(round(quotes.growth * Q.MILLE), Q.MILLE)
    return [Fraction(quotes.size) * growth**level for level in range(quotes.levels)]


def refuse_far_level(quotes: QuoteSettings, limit_bps: float, what: str) -> None:
    """SettingError where a level is not nearer than `limit_bps`; `what`: the limit in words."""
    if quotes.unit != "bps":
        return
    for level in range(quotes.levels):
        distance = farthest_bps(quotes, level)
        if distance >= limit_bps:
            key = "quotes.first" if level == 0 else "quotes.levels"
            raise SettingError(
                key,
                f"level {level + 1} is {distance:g} bps from the fair price, not below {what}: no "
                f"order may stand there; bring it nearer or widen that",
            )


def _refuse_far_levels(settings: MakerSettings) -> None:
    quotes, collar_bps = settings.quotes, settings.risk.collar_bps
    band_bps = quotes.band_percent * BPS_PER_PERCENT
    collar = f"risk.collar_bps = {collar_bps:g}"
    band = f"quotes.band_percent = {quotes.band_percent:g}"
    for limit_bps, what in ((collar_bps, collar), (band_bps, band)):
        refuse_far_level(quotes, limit_bps, what)
        if quotes.edge_bps_min >= limit_bps:
            raise SettingError(
                "quotes.edge_bps_min",
                f"{quotes.edge_bps_min:g} is not below {what}: no quote could be placed; lower it",
            )
    far = farthest_bps(quotes, quotes.levels - 1) if quotes.unit == "bps" else 0
    if far + 2 * quotes.skew_bps >= BPS_ALL:
        raise SettingError(
            "quotes.skew_bps",
            f"{quotes.skew_bps:g} moves the level at {far:g} bps to a price of zero: lower it",
        )


def _refuse_sizes(settings: MakerSettings) -> None:
    size, risk = settings.quotes.size, settings.risk
    limits = {"order_size_max": risk.order_size_max, "position_max": risk.position_max}
    for name, limit in limits.items():
        if Decimal(size) > Decimal(limit):
            raise SettingError(
                "quotes.size", f"{size} is above risk.{name} = {limit}: lower it or raise that"
            )


def _refuse_positions(settings: MakerSettings) -> None:
    risk, target = settings.risk, settings.quotes.target
    if risk.reduce_at is not None and Decimal(risk.reduce_at) > Decimal(risk.position_max):
        raise SettingError(
            "risk.reduce_at",
            f"{risk.reduce_at} is above risk.position_max = {risk.position_max}: lower it",
        )
    name = "position_max" if risk.reduce_at is None else "reduce_at"
    limit = getattr(risk, name)
    if abs(Decimal(target)) >= Decimal(limit):
        raise SettingError(
            "quotes.target",
            f"{target} is not within risk.{name} = {limit}, from which on the position is only "
            f"reduced: choose a smaller one",
        )


def _refuse_model(settings: MakerSettings) -> None:
    """What the model of Avellaneda and Stoikov takes the place of is not given beside it."""
    quotes = settings.quotes
    if settings.model.kind != AVELLANEDA_STOIKOV:
        return
    if quotes.skew_bps:
        text = f"{quotes.skew_bps:g} beside model.kind = {AVELLANEDA_STOIKOV!r}: leave it out"
        raise SettingError("quotes.skew_bps", text)
    if quotes.unit != "bps":
        text = f"{quotes.unit!r} beside model.kind = {AVELLANEDA_STOIKOV!r}: must be 'bps'"
        raise SettingError("quotes.unit", text)


def _refuse_taking(settings: MakerSettings) -> None:
    """What orders that take need: a slot of their own, a price within the collar, a threshold."""
    taking, quotes, risk = settings.taking, settings.quotes, settings.risk
    if bool(taking.hedge_venue) != (taking.hedge_above is not None):
        missing = "hedge_above" if taking.hedge_venue else "hedge_venue"
        text = "is missing: a hedge needs both hedge_venue and hedge_above"
        raise SettingError(f"taking.{missing}", text)
    if not taking.is_on:
        return
    if quotes.levels > Q.LEVELS_MAX - 1:
        text = f"{quotes.levels} beside [maker.taking]: {Q.LEVELS_MAX - 1} are possible then"
        raise SettingError("quotes.levels", text)
    if taking.slippage_bps > risk.collar_bps:
        text = f"{taking.slippage_bps:g} is above risk.collar_bps = {risk.collar_bps:g}: lower it"
        raise SettingError("taking.slippage_bps", text)
    if taking.hedge_above is None:
        return
    if Decimal(taking.hedge_above) > Decimal(risk.position_max):
        text = f"{taking.hedge_above} is above risk.position_max = {risk.position_max}: lower it"
        raise SettingError("taking.hedge_above", text)
    if abs(Decimal(quotes.target)) >= Decimal(taking.hedge_above):
        text = f"{quotes.target} is hedged from taking.hedge_above = {taking.hedge_above}: lower it"
        raise SettingError("quotes.target", text)


def refuse_weights(venues: Sequence[tuple[str, MakerVenue]]) -> None:
    """SettingError where no venue of the instrument has a weight, or a weight rounds to none."""
    for name, venue in venues:
        if venue.weight > 0 and round(venue.weight * Q.MILLE) == 0:
            raise SettingError(
                f"venue.{name}.weight",
                f"{venue.weight:g} counts as 0: give 0.001 at least, or 0",
            )
    if not any(venue.weight for _, venue in venues):
        raise SettingError("venue", "every weight is 0: no venue is left to take a price of")


def refuse_depth(fair: FairSettings, depth: int) -> None:
    """SettingError where the micro-price needs more prices than the merged book has."""
    if fair.method == "micro_price" and fair.prices > depth:
        raise SettingError(
            "fair.prices",
            f"{fair.prices} is more than the depth = {depth} of the instrument: lower it, or "
            f"deepen the book",
        )


def refuse_open_orders(settings: MakerSettings, venues: int) -> None:
    """SettingError where the quotes of so many venues are more than may be open, or be traded."""
    volume = settings.risk.volume_per_min
    quoted = 2 * venues * sum(level_sizes(settings.quotes))
    if volume is not None and quoted > Fraction(volume):
        raise SettingError(
            "risk.volume_per_min",
            f"{volume} is below the {float(quoted):g} that is quoted on both sides at {venues} "
            f"venue{'s' * (venues > 1)}: raise it or quote less",
        )
    needed, most = 2 * settings.quotes.levels * venues, settings.risk.open_orders_max
    if needed > most:
        raise SettingError(
            "risk.open_orders_max",
            f"{most} is below the {needed} orders of quotes.levels = {settings.quotes.levels} a "
            f"side at {venues} venue{'s' * (venues > 1)}: raise it or quote fewer",
        )


def refuse_rates(settings: MakerSettings, others: Container[str]) -> None:
    """SettingError where a rate is to come from a market that is not there; `others`: the symbols
    of the instruments that are not this market maker's."""
    for name, venue in settings.venue.items():
        if venue.rate_market and venue.rate_market not in others:
            raise SettingError(
                f"venue.{name}.rate",
                f"{venue.rate!r} is neither a decimal nor another configured instrument",
            )
