"""An account that has money for less than the quotes want: what it has is quoted, and stays."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest

from engine.compiling.jit import JIT_OFF
from net.config.maker import FairSettings, MakerSettings, MakerVenue, QuoteSettings, RiskSettings
from net.maker.scaled_settings import MakerRules, make_rules
from net.simulator.market import BID
from net.simulator.options import SimulatorOptions
from tests.trading import world as W
from tests.trading.setup import AGE_MS_MAX, Markets, draw_options, new_engine
from tests.trading.world import Life, World

pytestmark = [pytest.mark.usefixtures("compiled_kernels"), pytest.mark.kernel]

SEEDS = 2 if JIT_OFF else 8
SIZE, PRICE = "0.02", 60_000
BID_USD = 1_200
"""About what one bid costs."""
CALM = ("none",)
"""Faults that there are not."""
WARM_NS = 4 * W.S
"""From the start on: until both venues have been read and quoted."""


def rules_of(markets: Markets, **venues: MakerVenue) -> MakerRules:
    """Three levels a side, so far from the market that none is filled."""
    settings = MakerSettings(
        orders="live",
        quotes=QuoteSettings(size=SIZE, levels=3, first=60.0, step=10.0, hold=8.0, touch="free"),
        risk=RiskSettings(
            order_size_max=SIZE,
            order_value_max="5000",
            position_max="1",
            exposure_max="100000",
            daily_loss_max="6000",
            collar_bps=200.0,
            orders_per_10_s=90,
        ),
        fair=FairSettings(age_ms_max=AGE_MS_MAX, crossed_bps_max=50.0),
        venue=dict(venues),
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


@pytest.fixture
def poor_world(monkeypatch: pytest.MonkeyPatch) -> type[Calm]:
    """Money for two and a third bids and for one ask and a half, at either venue."""
    monkeypatch.setattr(W, "draw_rules", lambda rng, instrument, markets: rules_of(markets))
    monkeypatch.setattr(W, "draw_options", lambda rng: poor(rng, BID_USD * 2.35, "0.03"))
    monkeypatch.setattr(W, "HELD_LOTS", 3 * 10**6)
    return Calm


def test_the_money_for_two_of_three_bids_is_two_bids_nearly_all_the_time(
    poor_world: type[Calm],
) -> None:
    for seed in range(SEEDS):
        world = poor_world(seed)
        world.run()
        assert world.report.fills == 0 and "order rejected" not in world.report.seen
        # The rest of the money is an order too, but for what is kept back.
        shares = [world.share(venue, BID, 2, 3) for venue in ("binance", "bitstamp")]
        asks = [world.share(venue, -BID, 1, 2) for venue in ("binance", "bitstamp")]
        assert min(shares) > 0.9 and min(asks) > 0.9, (seed, shares, asks)


def test_without_looking_at_balances_it_would_not_be(poor_world: type[Calm]) -> None:
    """The canary: a maker that knows of no money, and pauses a side that was refused."""

    def broken(life: Life) -> None:
        vars(life.maker.balances)["take"] = lambda *_: None

    world = poor_world(0, broken=broken)
    world.run()
    assert world.report.seen["order rejected"] > 0


def test_a_refusal_for_money_cancels_nothing_that_rests(
    poor_world: type[Calm], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the venue tells is wrong: it has no money for the third bid, and says that it has."""

    def rich(life: Life) -> None:
        balances = life.maker.balances
        vars(balances)["take"] = lambda *_: None

    world = poor_world(1, broken=rich)
    world.run()
    assert world.report.seen["order rejected"] > 0
    assert min(world.share(venue, BID, 2, 3) for venue in ("binance", "bitstamp")) > 0.9
