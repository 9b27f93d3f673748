"""What several market makers share: limits over all of them, and accounts at the venues.

A venue's account holds one amount of each currency, whichever market it came from. What two market
makers hold of one could not be told apart, so a currency that one has its position in belongs to it
alone there; what they pay with they share.
Runs on: the main thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import combinations
from typing import TYPE_CHECKING

from engine.layout.layout import LOT_DECIMALS
from engine.layout.units import DAY_NS, NS_PER_S
from engine.maker import order_layout as O
from engine.maker import risk_codes as R
from engine.maker.shared_limits import SharedLimits, SharedLimitsSpec
from net.config.makers import MakersSettings
from net.maker.market_fit import RulesError

if TYPE_CHECKING:
    from net.maker.maker import Maker


def share(settings: MakersSettings, makers: Sequence[Maker]) -> SharedLimits:
    """Have these market makers keep to what all may do together; RulesError where they cannot."""
    _refuse_shared_holdings(makers)
    for maker in makers:
        own = (other.accounts.own for other in makers if other is not maker)
        maker.accounts.of_others = frozenset().union(*own)
        for venue in _quoted(maker):
            _share_account(maker, venue, [m for m in makers if m is not maker])
    accounts = [name for maker in makers for name in _accounts(maker) if name is not None]
    loss_rates = _loss_rates(settings, makers)
    shared = SharedLimits(_spec(settings, makers), len(makers), accounts)
    limit_texts = _limit_texts(settings)
    for number, maker in enumerate(makers):
        unit = Fraction(maker.rules.value_size) * 10**LOT_DECIMALS
        bases, quotes = _currencies(maker)
        named = (bases[0], quotes[0])
        shared.add(
            number, maker.table, maker.risk, named, unit, loss_rates[number], _accounts(maker)
        )
        maker.halts.tell_limits_of(limit_texts)
    return shared


def _limit_texts(settings: MakersSettings) -> dict[int, str]:
    """The [makers] key and value that each refusal is for."""
    most = ", ".join(f"{name} {amount}" for name, amount in settings.exposure_max.items())
    return {
        R.SHARED_EXPOSURE: f"makers.exposure_max = {most}",
        R.SHARED_RATE: f"makers.venue_orders_per_10_s = {settings.venue_orders_per_10_s}",
        R.SHARED_RATE_DAY: f"makers.venue_orders_per_day = {settings.venue_orders_per_day}",
    }


def _quoted(maker: Maker) -> list[int]:
    return [venue for venue, is_quoted in enumerate(maker.rules.is_quoted) if is_quoted]


def _currencies(maker: Maker) -> tuple[list[str], list[str]]:
    """What it has its position in, and what it pays with, each once; what has a rate is counted in
    what has none."""
    fees, venues = maker.rules.fees, _quoted(maker)
    plain = [venue for venue in venues if maker.rules.rates[venue] == O.RATE_ONE] or venues
    bases = dict.fromkeys(fees.bases[venue].upper() for venue in venues)
    quotes = dict.fromkeys(fees.quotes[venue].upper() for venue in plain)
    return list(bases), list(quotes)


def _accounts(maker: Maker) -> list[str | None]:
    """The venue accounts that it sends orders to, by venue; those on paper are no venue's."""
    mode = "live" if maker.board.info.is_live else "paper"
    pairs = zip(maker.venue_names, maker.rules.is_quoted, strict=True)
    return [f"{mode} {name}" if is_quoted else None for name, is_quoted in pairs]


def _spec(settings: MakersSettings, makers: Sequence[Maker]) -> SharedLimitsSpec:
    held = {name for maker in makers for names in _currencies(maker) for name in names}
    currencies = {}
    for name, amount in settings.exposure_max.items():
        key = f"makers.exposure_max.{name}"
        if name.upper() not in held:
            known = ", ".join(sorted(held))
            raise RulesError(f"{key}: no market maker holds {name}; they hold {known}")
        for maker in makers:
            for names in _currencies(maker):
                if name.upper() in names and len(names) > 1:
                    both = " and ".join(names)
                    raise RulesError(
                        f"{key}: {maker.symbol} is paid for in {both}, which are counted as one: "
                        f"limit what it holds instead"
                    )
        currencies[name.upper()] = _lots(key, amount)
    loss = settings.daily_loss_max
    loss_lots = _lots("makers.daily_loss_max", loss) if loss is not None else 0
    return SharedLimitsSpec(
        currencies,
        loss_lots,
        (settings.venue_orders_per_10_s, 10 * NS_PER_S),
        (settings.venue_orders_per_day, DAY_NS),
    )


def _lots(key: str, text: str) -> int:
    lots = Decimal(text).scaleb(LOT_DECIMALS)
    if lots != int(lots) or lots > O.LOTS_MAX:
        raise RulesError(f"{key}: {text} is no whole number of 1e-8, or too large")
    return int(lots)


def _loss_rates(settings: MakersSettings, makers: Sequence[Maker]) -> list[Fraction]:
    """What one of each market maker's quote currency is worth in the common one."""
    if settings.daily_loss_max is None:
        return [Fraction(1)] * len(makers)
    common = settings.currency.upper() or _currencies(makers[0])[1][0]
    given = {name.upper(): Fraction(Decimal(rate)) for name, rate in settings.rates.items()}
    rates = {**given, common: Fraction(1)}
    found = []
    for maker in makers:
        quotes = _currencies(maker)[1]
        for name in quotes:
            if name not in rates:
                raise RulesError(
                    f"makers.rates: {maker.symbol} is paid for in {name}: give what one {name} is "
                    f"worth in {common}, or leave out makers.daily_loss_max"
                )
        found.append(rates[quotes[0]])
    return found


def _refuse_shared_holdings(makers: Sequence[Maker]) -> None:
    """RulesError where a venue's account would hold of one currency what is two's."""
    live = [maker for maker in makers if maker.board.info.is_live]
    for pair in combinations(live, 2):
        for one, other in (pair, pair[::-1]):
            for venue in _quoted(one):
                base, name = one.rules.fees.bases[venue].upper(), one.venue_names[venue]
                if base in _assets_at(other, name):
                    raise RulesError(
                        f"maker: {one.symbol} has its position in {base}, which {other.symbol} "
                        f"changes too at {name}: nobody could tell whose it is; quote one of them "
                        f"elsewhere, or on paper"
                    )


def _assets_at(maker: Maker, venue_name: str) -> set[str]:
    """What its fills change of a venue's account."""
    fees, found = maker.rules.fees, set[str]()
    for venue in _quoted(maker):
        if maker.venue_names[venue] == venue_name:
            found |= {fees.bases[venue].upper(), fees.quotes[venue].upper()}
            found |= {asset.upper() for asset in fees.rates}
    return found


def _share_account(maker: Maker, venue: int, others: Sequence[Maker]) -> None:
    """Have its audits take turns with those of the others at the venue."""
    name, is_live = maker.venue_names[venue], maker.board.info.is_live
    there = [
        other
        for other in others
        if other.board.info.is_live == is_live
        and name in (other.venue_names[each] for each in _quoted(other))
    ]
    quote = maker.rules.fees.quotes[venue].upper()
    is_shared = any(quote in _assets_at(other, name) for other in there)
    maker.audit.share(venue, makers=1 + len(there), is_quote_shared=is_shared)
