"""Which quotes can never be placed at the price there is: told once, when there is the first one.

A venue's least value of an order, our largest one and distances in ticks mean nothing without a
price, so that no start can refuse them. Quoting goes on with the levels that can be placed.
Runs on: the engine thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from engine.compiling.atomics import Words
from engine.layout.layout import LOT_DECIMALS
from engine.maker import order_layout as O
from engine.maker import quote_layout as Q
from engine.maker.quotes import BAND_MILLIPERCENT_MAX, QuoteSpec
from engine.maker.risk_gate import BPS
from net.maker.market_fit import amount_text
from net.maker.risk_report import MakerHost
from net.maker.scaled_settings import MakerRules


def price_misfits(rules: MakerRules, venues: tuple[str, ...], fair_units: int) -> list[str]:
    """One line a level that neither side can place with no position: venue, key, value, remedy.

    `fair_units`: the fair price in common units, above zero. Of a venue the first such level.
    """
    lines = []
    rows = zip(venues, rules.quotes, rules.is_quoted, rules.rates, strict=True)
    for venue, quotes, is_quoted, rate in rows:
        if is_quoted:
            units = fair_units if isinstance(rate, str) else fair_units * O.RATE_ONE // rate
            lines += list(_misfits(rules, quotes, venue, units))[:1]
    return lines


def _misfits(rules: MakerRules, quotes: QuoteSpec, venue: str, fair: int) -> Iterator[str]:
    limits = rules.limits
    for level in range(quotes.levels):
        where = f"{venue}, level {level + 1}"
        distance = quotes.first + level * quotes.step
        if quotes.unit == Q.IN_TICKS:
            distance *= quotes.tick_units
            band = fair * quotes.band_millipercent // BAND_MILLIPERCENT_MAX
            if distance * BPS >= fair * limits.collar_bps or distance >= band:
                ticks = distance // quotes.tick_units
                away = f"{Decimal(distance) * BPS / fair:.0f} bps"
                yield (
                    f"{where}: maker.quotes.first and step: {ticks} ticks are {away} at this "
                    f"price, beyond risk.collar_bps or band_percent: lower them"
                )
        else:
            distance = fair * distance // Q.PPM
        lots = quotes.size(level)
        least, most = (fair - distance) * lots, (fair + distance) * lots
        if most < quotes.notional_min * quotes.tick_units:
            wanted = _quote_text(rules, quotes.notional_min * quotes.tick_units)
            yield (
                f"{where}: maker.quotes.size: {amount_text(lots)} is worth "
                f"{_quote_text(rules, most)}, below {wanted}, the least that the venue takes: "
                f"raise it"
            )
        if least > limits.notional_max * rules.value_scale:
            limit = _quote_text(rules, limits.notional_max * rules.value_scale)
            yield (
                f"{where}: maker.quotes.size: {amount_text(lots)} is worth "
                f"{_quote_text(rules, least)}, above risk.order_value_max = {limit}: lower it or "
                f"raise that"
            )


def _quote_text(rules: MakerRules, units_lots: int) -> str:
    """Price units times lots as an amount of the quote currency."""
    mantissa, decimals = rules.unit
    return f"{Decimal(units_lots * mantissa).scaleb(-decimals - LOT_DECIMALS):.2f}"


class PriceFit:
    """Tells once which settings do not fit the price: at the first that there is."""

    def __init__(
        self, rules: MakerRules, venues: tuple[str, ...], risk: Words, host: MakerHost
    ) -> None:
        self._rules, self._venues, self._risk, self._host = rules, venues, risk, host
        self._is_told = False

    def look(self, now_ns: int) -> None:
        """Look whether there is a price now."""
        fair_units = int(self._risk[O.RISK_FAIR_PRICE])
        if self._is_told or fair_units <= 0:
            return
        self._is_told = True
        for line in price_misfits(self._rules, self._venues, fair_units):
            self._host.note_maker("error", "a setting does not fit the price", reason=line)
