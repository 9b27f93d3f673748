"""Tells that venues quote in different currencies, and when their basis leaves no fair price.

A BTCUSDT book beside a BTCUSD one is the price of another currency. Without a rate, as long as the
two are near each other, their prices are compared as they are. Where the basis exceeds
`crossed_bps_max` the merged book is crossed for good, which is no fault of any book: it is told as
what it is, once until there is a fair price again for longer than a minute.
Runs on: the engine thread.
"""

from __future__ import annotations

from decimal import Decimal

from engine.compiling.atomics import Words
from engine.maker import fair_codes
from engine.maker import quote_layout as Q
from engine.maker.order_layout import RATE_ONE
from net.config.maker_contradictions import PPM_PER_BPS
from net.maker.risk_report import TELL_EVERY_NS, MakerHost
from net.maker.scaled_settings import MakerRules

REMEDY = (
    "give the venues of one currency a rate in [maker.venue.NAME], or a weight of 0, or raise "
    "maker.fair.crossed_bps_max"
)


class BasisReport:
    """What was last told of one market maker. `fair` is read and never changed."""

    def __init__(
        self, rules: MakerRules, venues: tuple[str, ...], fair: Words, host: MakerHost
    ) -> None:
        rows = zip(venues, rules.currencies, rules.fair.weights_mille, rules.rates, strict=True)
        self._currencies = {
            venue: currency for venue, currency, weight, rate in rows if weight and rate == RATE_ONE
        }
        self._rates = {
            venue: rate if isinstance(rate, str) else f"{Decimal(rate) / RATE_ONE:f}"
            for venue, rate in zip(venues, rules.rates, strict=True)
            if rate != RATE_ONE
        }
        self._fair = fair
        self._host = host
        self._is_begun = False
        self._seen_ns: int | None = None
        """When there last was no fair price for the basis."""

    def look(self, now_ns: int) -> None:
        """Tell what has changed since the last look."""
        if not self._is_begun:
            self._is_begun = True
            if self._rates:
                self._host.note_maker("info", "rates of the venues' currencies", **self._rates)
            if len(set(self._currencies.values())) > 1:
                text = "venues quote in different currencies: prices are compared as they are"
                self._host.note_maker("info", text, **self._currencies)
        if int(self._fair[Q.FAIR_STATUS]) != fair_codes.BASIS:
            return
        is_new = self._seen_ns is None or now_ns - self._seen_ns >= TELL_EVERY_NS
        self._seen_ns = now_ns
        if is_new:
            basis_bps = int(self._fair[Q.FAIR_CROSSED_PPM]) / PPM_PER_BPS
            text = "no fair price: the basis between currencies is above crossed_bps_max"
            facts = {**self._currencies, "basis_bps": basis_bps, "remedy": REMEDY}
            self._host.note_maker("error", text, **facts)
