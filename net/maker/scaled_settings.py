"""The configuration's texts and the venues' filters as the integers that kernels count in.

Amounts are exact: one that is no whole number of lots, or of the market's steps, is refused. Limits
in money are rounded down, what is demanded at least is rounded up.
Runs on: the main thread, once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from engine.decoding.scale import decimal_unit, units_per
from engine.layout.layout import LOT_DECIMALS
from engine.layout.units import DAY_NS, NS_PER_MS, NS_PER_S
from engine.maker import journal_codes as J
from engine.maker import order_layout as O
from engine.maker import quote_layout as Q
from engine.maker import risk_codes as R
from engine.maker.fair import FairSpec
from engine.maker.model import ModelSpec
from engine.maker.quotes import GROWTH_MILLE_MAX, QuoteSpec
from engine.maker.risk_gate import RiskLimits
from engine.specs import InstrumentSpec
from net.config.maker import MakerSettings, MakerVenue, RiskSettings
from net.config.maker_contradictions import BPS_ALL, PPM_PER_BPS, farthest_bps
from net.config.model import ModelSettings
from net.maker.fees import FeeRules, quoted_with
from net.maker.market_fit import RulesError, refuse_fee, refuse_misfits, refuse_step
from net.orders.markets import MarketRules
from net.venues.registry import VENUES

LOTS_PER_UNIT = 10**LOT_DECIMALS
TEN_S_NS = 10_000_000_000
MINUTE_NS = 60_000_000_000
LIMIT_KEYS = {
    R.ORDER_SIZE: "order_size_max",
    R.NOTIONAL: "order_value_max",
    R.COLLAR: "collar_bps",
    R.OPEN_ORDERS: "open_orders_max",
    R.POSITION: "position_max",
    R.EXPOSURE: "exposure_max",
    R.NOT_REDUCING: "reduce_at",
    R.RATE_OWN: "orders_per_10_s",
    R.RATE_VENUE: "venue_orders_per_10_s",
    R.RATE_DAY: "venue_orders_per_day",
    R.FILL_RATE: "fills_per_min",
    R.VOLUME_RATE: "volume_per_min",
}
"""The [maker.risk] key that each refusal is for."""
VALUE_ROOM = 1_000
"""The largest limit stays this far below the largest value that can be counted."""


@dataclass(frozen=True)
class TakingRules:
    """When orders take (net.maker.taking)."""

    hedge_venue: int | None
    """Its place in the instrument's order; None: a position is not hedged."""
    hedge_lots: int
    flattened: frozenset[int]
    """The journal's reasons of the halts after which the position is ended."""
    slippage_ppm: int


@dataclass(frozen=True)
class MakerRules:
    """Everything that kernels need to know, of all venues in the instrument's order."""

    fair: FairSpec
    quotes: tuple[QuoteSpec, ...]
    limits: RiskLimits
    value_scale: int
    unit: tuple[int, int]
    """The common price unit of orders, whatever the books count in: (mantissa, decimals)."""
    tick_units: tuple[int, ...]
    """Common units in one tick of each venue."""
    currencies: tuple[str, ...]
    """What each venue quotes in."""
    is_quoted: tuple[bool, ...]
    fees: FeeRules
    is_first_given: bool
    """Whether the first level's distance is the operator's own word, and no default."""
    pause_ns: int
    """After a fill: so long nothing new is placed on its side."""
    venue_limits: tuple[tuple[int, int] | None, ...]
    """What may be held at a venue in lots, and how far its quotes are skewed then in ppm."""
    model: ModelSpec
    taking: TakingRules | None
    """None: no order ever takes."""
    rates: tuple[int | str, ...]
    """By venue: what one of its quote currency is worth in the maker's, in 1e-8, or the instrument
    whose mid that is."""
    limit_texts: Mapping[int, str]
    """By refusal: the key that it is for, and the value there, as the operator has written it."""

    @property
    def value_size(self) -> Decimal:
        """The quote currency in one value."""
        mantissa, decimals = self.unit
        return Decimal(mantissa * self.value_scale).scaleb(-decimals - LOT_DECIMALS)


def make_rules(
    settings: MakerSettings, instrument: InstrumentSpec, markets: tuple[MarketRules, ...]
) -> MakerRules:
    """The rules of one instrument; RulesError with one line. `markets` in the venues' order."""
    for feed, rules in zip(instrument.feeds, markets, strict=True):
        if decimal_unit(feed.tick_size) != rules.market.tick:
            raise RulesError(
                f"instrument.venue.tick_size: {feed.tick_size}: {feed.venue} takes orders of "
                f"{feed.symbol} in steps of {rules.market.tick_size}: leave it out"
            )
    unit = instrument.unit
    value_scale = _value_scale(settings, unit)
    venues = [settings.venue.get(feed.venue, MakerVenue()) for feed in instrument.feeds]
    tick_units = tuple(units_per(decimal_unit(f.tick_size), unit) for f in instrument.feeds)
    try:
        fees = _fees(settings, instrument, markets)
        quotes = tuple(
            _quotes(settings, venue.quote, feed.venue, rules, units)
            for venue, feed, rules, units in zip(
                venues, instrument.feeds, markets, tick_units, strict=True
            )
        )
        rows = zip(quotes, fees.maker_ppm, instrument.feeds, venues, strict=True)
        for spec, fee_ppm, feed, venue in rows:
            if venue.quote:
                refuse_fee(settings, quoted_with(spec, fee_ppm), feed.venue, fee_ppm)
        return MakerRules(
            _fair(settings, venues, markets),
            quotes,
            _limits(settings, unit, value_scale),
            value_scale,
            unit,
            tick_units,
            tuple(rules.market.quote.upper() for rules in markets),
            tuple(venue.quote for venue in venues),
            fees,
            "first" in settings.quotes.model_fields_set,
            settings.quotes.pause_ms * NS_PER_MS,
            tuple(
                _venue_limit(settings, feed.venue, venue)
                for feed, venue in zip(instrument.feeds, venues, strict=True)
            ),
            _model(settings.model, unit),
            _taking(settings, tuple(feed.venue for feed in instrument.feeds)),
            tuple(venue.rate_market or int(Decimal(venue.rate) * O.RATE_ONE) for venue in venues),
            _limit_texts(settings.risk),
        )
    except ValueError as error:  # SpecError is one
        raise RulesError(f"maker: {error}") from None


def paper_fee_bps(settings: MakerSettings, venue: MakerVenue) -> float:
    """What a venue takes of a fill on paper."""
    return settings.paper.fee_bps if venue.paper_fee_bps is None else venue.paper_fee_bps


def _fees(
    settings: MakerSettings, instrument: InstrumentSpec, markets: tuple[MarketRules, ...]
) -> FeeRules:
    venues = [settings.venue.get(feed.venue, MakerVenue()) for feed in instrument.feeds]
    if settings.orders == "paper":
        given: list[float | None] = [paper_fee_bps(settings, venue) for venue in venues]
    else:
        given = [venue.fee_bps for venue in venues]
    pairs = zip(given, instrument.feeds, strict=True)
    return FeeRules(
        tuple(rules.market.base for rules in markets),
        tuple(rules.market.quote for rules in markets),
        {asset.upper(): Fraction(rate) for asset, rate in settings.fee_rates.items()},
        tuple(
            VENUES[feed.venue].maker_fee_ppm if bps is None else round(bps * PPM_PER_BPS)
            for bps, feed in pairs
        ),
        tuple(bps is not None for bps in given),
    )


def _venue_limit(settings: MakerSettings, name: str, venue: MakerVenue) -> tuple[int, int] | None:
    """What may be held at a venue in lots, and its skew in ppm; None where that has no limit."""
    skew_ppm = round(venue.skew_bps * PPM_PER_BPS)
    if venue.position_max is None:
        if skew_ppm:
            raise RulesError(
                f"maker.venue.{name}.skew_bps: {venue.skew_bps:g} counts from position_max of the "
                f"venue, which is not there: set it too"
            )
        return None
    quotes = settings.quotes
    farthest = farthest_bps(quotes, quotes.levels - 1) if quotes.unit == "bps" else 0
    if farthest + 2 * quotes.skew_bps + venue.skew_bps >= BPS_ALL:
        raise RulesError(
            f"maker.venue.{name}.skew_bps: {venue.skew_bps:g}, with quotes.skew_bps, moves the "
            f"level at {farthest:g} bps to a price of zero: lower it"
        )
    return lots_of(f"venue.{name}.position_max", venue.position_max), skew_ppm


def _fair(
    settings: MakerSettings, venues: list[MakerVenue], markets: tuple[MarketRules, ...]
) -> FairSpec:
    fair = settings.fair
    # With a rate every price is in the maker's currency, and none differs.
    own = [rules.market.quote.upper() for rules in markets]
    plain = [name for name, venue in zip(own, venues, strict=True) if venue.rate == "1"]
    quoted_in = [
        name if venue.rate == "1" or not plain else plain[0]
        for name, venue in zip(own, venues, strict=True)
    ]
    return FairSpec(
        tuple(round(venue.weight * Q.MILLE) for venue in venues),
        Q.METHOD_NAMES.index(fair.method),
        fair.prices,
        round(fair.crossed_bps_max * PPM_PER_BPS),
        fair.age_ms_max * 1_000_000,
        fair.half_life_ms * 1_000_000,
        tuple(quoted_in.index(each) for each in quoted_in),
    )


def _model(given: ModelSettings, unit: tuple[int, int]) -> ModelSpec:
    mantissa, decimals = unit
    return ModelSpec(
        Q.MODEL_NAMES.index(given.kind),
        given.volatility_half_life_s * NS_PER_S,
        given.volatility_sample_ms * NS_PER_MS,
        given.horizon_s * NS_PER_S,
        given.widen,
        given.risk_aversion or 0.0,
        given.fill_decay or 0.0,
        mantissa / 10**decimals,
    )


def _taking(settings: MakerSettings, venues: tuple[str, ...]) -> TakingRules | None:
    given = settings.taking
    if not given.is_on:
        return None
    name = given.hedge_venue
    if name and (name not in venues or not settings.venue.get(name, MakerVenue()).quote):
        raise RulesError(
            f"maker.taking.hedge_venue: {name!r} is no venue that is quoted: choose one of those"
        )
    flattened = {
        J.REASON_LOSS_LIMIT: given.flatten_on_halt,
        J.REASON_SHARED_LOSS_LIMIT: given.flatten_on_halt,
        J.REASON_SHARED_LOSS_LIMIT: given.flatten_on_halt,
        J.REASON_OPERATOR: given.flatten_on_kill,
    }
    return TakingRules(
        venues.index(name) if name else None,
        lots_of("taking.hedge_above", given.hedge_above) if given.hedge_above else 0,
        frozenset(reason for reason, is_wanted in flattened.items() if is_wanted),
        round(given.slippage_bps * PPM_PER_BPS),
    )


def _quotes(
    settings: MakerSettings, is_quoted: bool, venue: str, rules: MarketRules, units: int
) -> QuoteSpec:
    """One venue's quotes; of one that is not quoted only the prices count."""
    given = settings.quotes
    factor = PPM_PER_BPS if given.unit == "bps" else 1
    step = rules.market.step_lots
    lots = lots_of("quotes.size", given.size)
    if is_quoted:
        refuse_step(given.size, lots, venue, rules.market)
    notional_min = _value(rules.notional_min, rules.market.tick, 1, is_up=True)
    quotes = QuoteSpec(
        lots,
        lots_of("risk.position_max", settings.risk.position_max),
        given.levels,
        Q.IN_PPM if given.unit == "bps" else Q.IN_TICKS,
        round(given.first * factor),
        round(given.step * factor),
        round(given.hold * factor),
        round(given.hold_size_share * Q.MILLE),
        round(given.edge_bps_min * PPM_PER_BPS),
        round(given.skew_bps * PPM_PER_BPS),
        lots_of("quotes.target", given.target),
        Q.TOUCH_NAMES.index(given.touch),
        min(round(given.growth * Q.MILLE), GROWTH_MILLE_MAX),
        units,
        step,
        max(rules.lots_min, 1),
        max(rules.lots_max, 1),
        notional_min,
        _band_millipercent(given.band_percent, rules),
    )
    quotes.words()  # refuses what cannot be
    if is_quoted:
        refuse_misfits(settings, quotes, venue, rules)
    return quotes


def _band_millipercent(percent: float, rules: MarketRules) -> int:
    """How far from fair a quote may be: as configured, or less where the venue's band is narrow."""
    bands_ppm = [round(percent * Q.PPM / 100)]
    if rules.band_up_ppm:
        bands_ppm.append(rules.band_up_ppm - Q.PPM)
    if rules.band_down_ppm:
        bands_ppm.append(Q.PPM - rules.band_down_ppm)
    return max(min(bands_ppm) // 10, 1)


def _limits(settings: MakerSettings, unit: tuple[int, int], value_scale: int) -> RiskLimits:
    risk = settings.risk
    position = lots_of("risk.position_max", risk.position_max)
    reduce_at = risk.reduce_at if risk.reduce_at is not None else risk.position_max

    volume = None
    if risk.volume_per_min is not None:
        volume = lots_of("risk.volume_per_min", risk.volume_per_min)

    def value(name: str) -> int:
        found = _value(getattr(risk, name), unit, value_scale, is_up=False)
        if found < 1:
            raise RulesError(f"maker.risk.{name}: {getattr(risk, name)} is too little")
        return found

    return RiskLimits(
        order_lots_max=lots_of("risk.order_size_max", risk.order_size_max),
        notional_max=value("order_value_max"),
        collar_bps=int(risk.collar_bps),
        open_orders_max=risk.open_orders_max,
        position_lots_max=position,
        exposure_max=value("exposure_max"),
        reduce_lots=lots_of("risk.reduce_at", reduce_at),
        daily_loss_max=value("daily_loss_max"),
        own_rate=(risk.orders_per_10_s, TEN_S_NS),
        venue_rate=(risk.venue_orders_per_10_s, TEN_S_NS),
        day_rate=(risk.venue_orders_per_day, DAY_NS),
        fill_rate=(risk.fills_per_min, MINUTE_NS),
        volume_rate=(O.LOTS_MAX if volume is None else volume, MINUTE_NS),
    )


def _limit_texts(risk: RiskSettings) -> dict[int, str]:
    """Those that are set; `reduce_at` may be left to `position_max`."""
    given = {code: (name, getattr(risk, name)) for code, name in LIMIT_KEYS.items()}
    return {
        code: f"risk.{name} = {value}" for code, (name, value) in given.items() if value is not None
    }


def lots_of(name: str, text: str) -> int:
    """A setting in the base currency in lots, perhaps below zero; RulesError where not whole."""
    lots = Decimal(text) * LOTS_PER_UNIT
    if lots != int(lots) or abs(lots) > O.LOTS_MAX:
        raise RulesError(f"maker.{name}: {text} is no whole number of 1e-8, or too large")
    return int(lots)


def _value(text: str, unit: tuple[int, int], value_scale: int, *, is_up: bool) -> int:
    """An amount of the quote currency as price units times lots / value scale."""
    mantissa, decimals = unit
    size = Fraction(mantissa * value_scale, 10 ** (decimals + LOT_DECIMALS))
    whole, rest = divmod(Fraction(text), size)
    return int(whole) + (1 if is_up and rest else 0)


def _value_scale(settings: MakerSettings, unit: tuple[int, int]) -> int:
    """The smallest power of ten with which every limit in money has room above it."""
    risk = settings.risk
    texts = (risk.order_value_max, risk.exposure_max, risk.daily_loss_max)
    scale = 1
    while max(_value(text, unit, scale, is_up=True) for text in texts) > O.VALUE_MAX // VALUE_ROOM:
        scale *= 10
        if scale > O.VALUE_SCALE_MAX:
            raise RulesError("maker.risk: limits in money beyond what can be counted")
    return scale
