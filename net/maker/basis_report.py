"""Tells that venues quote in different currencies, and when their basis leaves no fair price.

A BTCUSDT book beside a BTCUSD one is the price of another currency: as long as the two are near
each other their prices are compared as they are. Where the basis exceeds `crossed_bps_max` the
merged book is crossed for good, which is no fault of any book: it is told as what it is, once
until there is a fair price again for longer than a minute.
Runs on: the engine thread.
"""

from __future__ import annotations

from engine.compiling.atomics import Words
from engine.maker import fair_codes
from engine.maker import quote_layout as Q
from net.config.maker_contradictions import PPM_PER_BPS
from net.maker.risk_report import TELL_EVERY_NS, MakerHost
from net.maker.scaled_settings import MakerRules

REMEDY = "raise maker.fair.crossed_bps_max, or give the venues of one currency a weight of 0"


class BasisReport:
    """What was last told of one market maker. `fair` is read and never changed."""

    def __init__(
        self, rules: MakerRules, venues: tuple[str, ...], fair: Words, host: MakerHost
    ) -> None:
        pairs = zip(venues, rules.currencies, rules.fair.weights_mille, strict=True)
        self._currencies = {venue: currency for venue, currency, weight in pairs if weight}
        self._fair = fair
        self._host = host
        self._is_begun = False
        self._seen_ns: int | None = None
        """When there last was no fair price for the basis."""

    def look(self, now_ns: int) -> None:
        """Tell what has changed since the last look."""
        if not self._is_begun:
            self._is_begun = True
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
