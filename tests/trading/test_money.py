"""An account that has money for less than the quotes want: what it has is quoted, and stays."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from decimal import Decimal

import pytest

from engine.compiling.jit import JIT_OFF
from engine.maker import order_layout as O
from net.config.maker import FairSettings, MakerSettings, QuoteSettings, RiskSettings
from net.maker.scaled_settings import MakerRules, make_rules
from net.simulator.market import BID
from net.simulator.options import SimulatorOptions
from tests.trading import world as W
from tests.trading.life import Life
from tests.trading.setup import AGE_MS_MAX, Markets, draw_options, new_engine
from tests.trading.world import World

pytestmark = [pytest.mark.usefixtures("compiled_kernels"), pytest.mark.kernel]

SEEDS = 2 if JIT_OFF else 8
SIZE, PRICE = "0.02", 60_000
BID_USD = 1_200
"""About what one bid costs."""
CALM = ("none",)
"""Faults that there are not."""
WARM_NS = 4 * W.S
"""From the start on: until both venues have been read and quoted."""


def rules_of(markets: Markets, reduce_at: str | None = None) -> MakerRules:
    """Three levels a side, so far from the market that none is filled."""
    settings = MakerSettings(
        orders="live",
        quotes=QuoteSettings(size=SIZE, levels=3, first=60.0, step=10.0, hold=8.0, touch="free"),
        risk=RiskSettings(
            order_size_max=SIZE,
            order_value_max="5000",
            position_max="1",
            reduce_at=reduce_at,
            exposure_max="100000",
            daily_loss_max="6000",
            collar_bps=200.0,
            orders_per_10_s=90,
        ),
        fair=FairSettings(age_ms_max=AGE_MS_MAX, crossed_bps_max=50.0),
    )
    return make_rules(settings, new_engine(markets).instruments[0], markets)


def poor(rng: random.Random, usd: float, btc: str) -> SimulatorOptions:
    """An account with so much, at a venue whose fee is ten basis points."""
    options = draw_options(rng)
    balances = (("BTC", btc), ("USDT", f"{usd:.2f}"), ("USD", f"{usd:.2f}"))
    trading = replace(options.trading, balances=balances, maker_fee=1_000, fee_asset="")
    return replace(options, trading=trading)


class Calm(World):
    """A world without faults; until it is stopped, what rests is looked at after every step."""

    def __init__(self, seed: int, **more: object) -> None:
        self.resting: dict[tuple[str, int], Counter[int]] = {}
        """By venue and side: for how long how many orders rested."""
        super().__init__(seed, CALM, **more)  # type: ignore[arg-type]

    def step(self) -> None:
        before_ns = self.now_ns
        counts = Counter((venue, order.side) for venue, order in self.judge.open_orders())
        super().step()
        if not W.START_NS + WARM_NS <= before_ns < W.START_NS + W.FAULTS_NS:
            return
        for venue in self.venues:
            for side in (BID, -BID):
                seen = self.resting.setdefault((venue.name, side), Counter())
                seen[counts[venue.name, side]] += self.now_ns - before_ns

    def share(self, venue: str, side: int, *counts: int) -> float:
        """Of the time: so many orders of a side rested."""
        seen = self.resting[venue, side]
        return sum(seen[count] for count in counts) / seen.total()


def lives(monkeypatch: pytest.MonkeyPatch, seed: int, usd: float, btc: str, **more: object) -> Calm:
    """The whole life of a maker whose accounts have so much, at either venue."""
    monkeypatch.setattr(W, "draw_rules", lambda rng, instrument, markets: rules_of(markets))
    monkeypatch.setattr(W, "draw_options", lambda rng: poor(rng, usd, btc))
    monkeypatch.setattr(W, "HELD_LOTS", int(Decimal(btc) * 10**8))
    world = Calm(seed, **more)
    world.run()
    return world


POOR = (BID_USD * 2.35, "0.03")
"""Two bids and a third of one, an ask and a half."""
RICH = (1e6, "10")
VENUES = ("binance", "bitstamp")


def test_the_money_for_two_of_three_bids_is_two_bids_all_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """But for the moments in which an order is placed anew, which a rich account has too."""
    for seed in range(SEEDS):
        poor_one, rich = (lives(monkeypatch, seed, *each) for each in (POOR, RICH))
        assert poor_one.report.fills == 0 and "order rejected" not in poor_one.report.seen
        for venue in VENUES:
            # The rest of the money is an order too, but for what is kept back.
            assert poor_one.share(venue, BID, 2, 3) > rich.share(venue, BID, 3) - 0.02, seed
            assert poor_one.share(venue, -BID, 1, 2) > rich.share(venue, -BID, 3) - 0.02, seed


def knows_no_money(life: Life) -> None:
    """What venues tell of balances is not heard."""
    vars(life.maker.balances)["take"] = lambda *_: None


def test_a_refusal_for_money_cancels_nothing_that_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    """And where nothing is known of the money, refusals there are."""
    for seed in range(SEEDS):
        blind = lives(monkeypatch, seed, *POOR, broken=knows_no_money)
        rich = lives(monkeypatch, seed, *RICH)
        assert blind.report.seen["order rejected"] > 0
        for venue in VENUES:
            assert blind.share(venue, BID, 2, 3) > rich.share(venue, BID, 3) - 0.05, seed


def test_a_position_is_reduced_where_that_may_be_and_no_further(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A fee in base leaves what is no multiple of an order's size, and one venue's side pauses."""
    monkeypatch.setattr(W, "draw_rules", lambda rng, instrument, markets: rules_of(markets, "0.02"))
    monkeypatch.setattr(W, "draw_options", lambda rng: poor(rng, *RICH))
    world = Calm(3)
    while world.now_ns < W.START_NS + WARM_NS:
        world.step()
    assert world.life is not None
    maker, position = world.life.maker, 2_970_001
    maker.table[O.ACCOUNT_POSITION_LOTS] = position
    maker.refusal_backoff._pause_until_ns[0][O.SELL] = 1 << 62
    end_ns = world.now_ns + 4 * W.S
    while world.now_ns < end_ns:
        world.step()
    assert maker.risk[O.RISK_STATE] == O.REDUCING
    asks = [(venue, order.open_lots) for venue, order in world.judge.open_orders()]
    assert asks == [("bitstamp", 2_000_000), ("bitstamp", 970_001)]
