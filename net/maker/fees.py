"""What fills have cost: a fee in base, in quote or in a third asset, as the order table counts it.

    in the base currency    the position is smaller by it
    in the quote currency   the cash is smaller by it
    in a third asset        the cash is smaller by what it is worth at the configured rate; where
                            there is none, it is counted apart and told, and no result has it

All as values in the venue's own quote currency; the quote currency of another of the instrument's
venues is worth what the rates of both say. Values
are rounded against us. Every execution's own figure counts; what the venue says it would take is
for the quotes alone (`put_fee`).
Runs on: the engine thread; `FeeRules` and `quoted_with` any thread.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from engine.compiling.atomics import Words
from engine.layout.layout import LOT_DECIMALS
from engine.maker import journal_codes as J
from engine.maker import order_layout as O
from engine.maker import quote_layout as Q
from engine.maker.quotes import QuoteSpec
from net.orders.messages import OrderEvent

EDGE_PPM_MAX = Q.PPM - 1


@dataclass(frozen=True)
class FeeRules:
    """What is known of fees before any is paid; by venue in the instrument's order."""

    bases: tuple[str, ...]
    quotes: tuple[str, ...]
    rates: Mapping[str, Fraction]
    """What one of a third asset is worth in the maker's currency."""
    maker_ppm: tuple[int, ...]
    """What a venue takes of a post-only order's fill: as configured, else its standard."""
    is_configured: tuple[bool, ...]
    """Whether that stays, whatever the venue tells."""


class Fee(NamedTuple):
    """One execution's fee, as the order table and the journal have it."""

    base_lots: int
    value: int
    reason: int
    """Of the journal: in which kind of asset it was paid; REASON_NONE where there was none."""


NO_FEE = Fee(0, 0, J.REASON_NONE)


class FeeCounter:
    """The fees of one market maker. `value_size`: the quote currency in one value."""

    def __init__(self, rules: FeeRules, value_size: Decimal) -> None:
        self.paid: Counter[tuple[int, str]] = Counter()
        """Lots by venue and asset."""
        self.other_value = [0] * len(rules.bases)
        """By venue: what was paid in third assets, as it is in the cash."""
        self.maker_ppm = list(rules.maker_ppm)
        """By venue: what it takes of a fill, as far as it is known."""
        self.rates: Callable[[int], int] = lambda venue: O.RATE_ONE
        """By venue: what one of its quote currency is worth in the maker's, in 1e-8."""
        self.rules, self.value_size = rules, value_size
        self._untold: list[tuple[int, str]] = []
        lots_per_value = Fraction(value_size) * 10**LOT_DECIMALS
        self._values_per_lot: Fraction = 1 / lots_per_value

    def quote_with(self, quotes: Words, venue: int, spec: QuoteSpec, told_ppm: int | None) -> bool:
        """Let a venue's quotes count what it takes of a fill, which it may have told; whether that
        is another fee than they have counted before. `quotes`: QUOTE words of each venue."""
        if told_ppm is not None and not self.rules.is_configured[venue]:
            self.maker_ppm[venue] = told_ppm
        at = venue * Q.QUOTE_WORDS
        before = int(quotes[at + Q.QUOTE_EDGE_PPM_MIN])
        put_fee(quotes, at, spec, self.maker_ppm[venue])
        return int(quotes[at + Q.QUOTE_EDGE_PPM_MIN]) != before

    def pay(self, venue: int, event: OrderEvent, fee: Fee) -> None:
        """A FILL has counted, and its fee with it."""
        paid_in = venue, event.fee_asset.upper()
        if fee.reason == J.REASON_FEE_NOT_VALUED and paid_in not in self.paid:
            self._untold.append(paid_in)
        self.paid[paid_in] += event.fee_lots
        if fee.reason == J.REASON_FEE_IN_OTHER:
            self.other_value[venue] += fee.value

    def take_untold(self) -> list[tuple[int, str]]:
        """Venues and assets whose fees are in no result; each is given once."""
        untold, self._untold = self._untold, []
        return untold

    def of(self, venue: int, event: OrderEvent) -> Fee:
        """What a FILL's fee does."""
        lots, asset = event.fee_lots, event.fee_asset.upper()
        if lots == 0:
            return NO_FEE
        if asset == self.rules.bases[venue].upper():
            return Fee(lots, 0, J.REASON_FEE_IN_BASE)
        quotes = [quote.upper() for quote in self.rules.quotes]
        if asset == quotes[venue]:
            return Fee(0, self._value(lots, Fraction(1)), J.REASON_FEE_IN_QUOTE)
        own_rate = self.rates(venue)
        if asset in quotes:
            rate = Fraction(self.rates(quotes.index(asset)), own_rate)
            return Fee(0, self._value(lots, rate), J.REASON_FEE_IN_QUOTE)
        if asset not in self.rules.rates:
            return Fee(0, 0, J.REASON_FEE_NOT_VALUED)
        rate = self.rules.rates[asset] * Fraction(O.RATE_ONE, own_rate)
        return Fee(0, self._value(lots, rate), J.REASON_FEE_IN_OTHER)

    def _value(self, lots: int, rate: Fraction) -> int:
        """Rounded up."""
        worth: Fraction = lots * rate * self._values_per_lot
        return math.ceil(worth)


def put_fee(words: Words, quotes: int, spec: QuoteSpec, fee_ppm: int) -> None:
    """Let the quotes whose words begin at `quotes`, made of `spec`, count this fee from now on."""
    quoted = quoted_with(spec, fee_ppm)
    words[quotes + Q.QUOTE_EDGE_PPM_MIN] = quoted.edge_ppm_min
    words[quotes + Q.QUOTE_FIRST] = quoted.first


def quoted_with(spec: QuoteSpec, fee_ppm: int) -> QuoteSpec:
    """The quotes' rules after a fee: no quote is nearer to fair than the fee and the edge.

    The whole grid moves out by as much as its first level lacks, so that the levels keep their
    distances; in ticks, which are no share of the price, the edge alone holds. A rebate brings
    no quote nearer than the edge.
    """
    edge_ppm = min(spec.edge_ppm_min + max(fee_ppm, 0), EDGE_PPM_MAX)
    first = max(spec.first, edge_ppm) if spec.unit == Q.IN_PPM else spec.first
    return replace(spec, edge_ppm_min=edge_ppm, first=first)
