"""What a run is made of before anything happens: markets, settings, accounts and keys.

Runs on: the tests' thread.
"""

from __future__ import annotations

import random
from dataclasses import replace
from decimal import Decimal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from engine.engine import Engine
from engine.layout import layout as L
from engine.specs import FeedSpec, InstrumentSpec
from net.config.maker import (
    FairSettings,
    MakerSettings,
    MakerVenue,
    QuoteSettings,
    RiskSettings,
)
from net.maker.scaled_settings import MakerRules, make_rules
from net.orders.markets import MarketRules
from net.orders.messages import Market
from net.orders.signing import Ed25519Signer, HmacSigner
from net.simulator.options import SimulatorOptions, TradingOptions, VenueInstrument
from net.venues.binance.market_data import BINANCE
from net.venues.binance.orders.credentials import BinanceKeys
from net.venues.bitstamp.market_data import BITSTAMP
from net.venues.bitstamp.orders.credentials import BitstampKeys

SECRET = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC_PEM = PRIVATE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
HELD_LOTS = 10 * 10**8
"""What either account holds of the base currency at the start."""

BINANCE_KEYS = (
    BinanceKeys("k", HmacSigner(SECRET.encode())),
    BinanceKeys("ed25519-test-key", Ed25519Signer(PRIVATE)),
)
"""One that signs every request, and one that logs on."""
BITSTAMP_KEYS = BitstampKeys("k", HmacSigner(SECRET.encode()))
AGE_MS_MAX = 4_000
"""Of the fair price: the markets move every second at least."""

FEES_PPM = (0, 7, 50, 333, 1_000, 1_234)
"""What a venue takes of a fill."""
BNB_PRICE = "601.5"
"""What one BNB is worth at the venue that takes fees in it, and what we are told that it is."""


def draw_options(rng: random.Random) -> SimulatorOptions:
    """An account's balances and fees. What there is of BNB is soon used up."""
    fee_ppm = rng.choice(FEES_PPM)
    fee_asset = rng.choice(("", "", "BNB"))
    return SimulatorOptions(
        trading=TradingOptions(
            balances=(
                ("BTC", str(HELD_LOTS // 10**8)),
                ("USDT", "10000000"),
                ("USD", "10000000"),
                ("BNB", "0.02"),
            ),
            maker_fee=fee_ppm,
            taker_fee=2 * fee_ppm,
            fee_asset=fee_asset,
            fee_asset_price=BNB_PRICE,
            api_key="k",
            api_secret=SECRET,
            ed25519_public_pem=PUBLIC_PEM.decode(),
        )
    )


Markets = tuple[MarketRules, MarketRules]


def draw_markets(rng: random.Random) -> tuple[Markets, tuple[VenueInstrument, VenueInstrument]]:
    """Binance's and Bitstamp's, as order entry and as the simulator knows them."""
    decimals = rng.choice((0, 1, 2))
    tick = ("1", "0.1", "0.01")[decimals]
    usdt = Market("BTCUSDT", "BTC", "USDT", "0.01", "0.00001")
    usd = Market("btcusd", "BTC", "USD", tick, "0.00000001")
    markets = (
        MarketRules(usdt, 1_000, 9_000 * 10**8, "5.00000000", 5_000_000, 200_000, True),
        MarketRules(usd, 1, 10**18, "10", 0, 0, True),
    )
    binance = VenueInstrument("BTC-USD", "BTCUSDT", "BTC", "USDT", 2, 5, 8, 8)
    bitstamp = VenueInstrument("BTC-USD", "btcusd", "BTC", "USD", decimals, 8, decimals, 8)
    return markets, (binance, bitstamp)


def new_engine(markets: Markets) -> Engine:
    """One with small books."""
    ticks = [each.market.tick_size for each in markets]
    feeds = (
        FeedSpec("binance", BINANCE.rules, 0, "BTCUSDT", ticks[0]),
        FeedSpec("bitstamp", BITSTAMP.rules, 1, "btcusd", ticks[1]),
    )
    instrument = InstrumentSpec("BTC-USD", feeds, 5)
    return Engine((instrument,), window_slots=L.WINDOW_SLOTS_MIN, far_levels_max=128)


def replace_quoted(rules: MakerRules, off: str) -> MakerRules:
    """The rules with a venue that is not quoted; "": both are."""
    return replace(rules, is_quoted=(off != "binance", off != "bitstamp"))


def redraw_quotes(rng: random.Random, rules: MakerRules) -> MakerRules:
    """Other quotes within the same limits."""
    quotes = tuple(
        replace(
            spec,
            levels=rng.randrange(1, spec.levels + 1),
            first=spec.first * rng.choice((1, 2)),
            hold=rng.choice((spec.hold, 2 * spec.hold)),
        )
        for spec in rules.quotes
    )
    return replace(rules, quotes=quotes)


def draw_rules(rng: random.Random, instrument: InstrumentSpec, markets: Markets) -> MakerRules:
    """Settings whose limits bind now and then."""
    levels = rng.choice((1, 2))
    size = rng.choice(("0.01", "0.02", "0.2"))
    # Quotes that count what the venues take are far from the market: few of them are filled.
    fee_bps = rng.choice((None, 0.0, 0.0))
    # What may be held at one venue alone.
    few = rng.choice((None, None, str(Decimal(size) * 2)))
    settings = MakerSettings(
        symbol="BTC-USD",
        orders="live",
        quotes=QuoteSettings(
            levels=levels,
            size=size,
            first=rng.choice((1.0, 2.0, 4.0)),
            step=4.0,
            hold=rng.choice((0.5, 1.5)),
            touch=rng.choice(("join", "improve", "free")),
            skew_bps=rng.choice((0.0, 2.0)),
        ),
        risk=RiskSettings(
            order_size_max=size,
            order_value_max="50000",
            exposure_max="100000",
            position_max=str(Decimal(size) * rng.choice((3, 8))),
            daily_loss_max="6000",
            collar_bps=100.0,
            open_orders_max=rng.choice((2 * levels + 1, 40)),
            orders_per_10_s=rng.choice((15, 30, 50)),
        ),
        fair=FairSettings(age_ms_max=AGE_MS_MAX, crossed_bps_max=50.0),
        fee_rates=rng.choice(({}, {"BNB": BNB_PRICE})),
        venue={
            "binance": MakerVenue(
                fee_bps=fee_bps, position_max=few, skew_bps=1.0 if few is not None else 0.0
            ),
            "bitstamp": MakerVenue(weight=rng.choice((0.5, 1.0)), fee_bps=fee_bps),
        },
    )
    return make_rules(settings, instrument, markets)
