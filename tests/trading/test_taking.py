"""Orders that take, on the simulated venues: a position is hedged, and ended after a halt.

The judge holds every order against its limits, and after a kill against the position itself.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from engine.compiling.jit import BOUNDS_CHECKED, JIT_OFF
from engine.maker import journal_codes as J
from engine.maker import order_layout as O
from engine.maker import risk_codes as R
from net.config.maker import FairSettings, MakerSettings, MakerVenue, QuoteSettings, RiskSettings
from net.config.taking import TakingSettings
from net.maker.scaled_settings import MakerRules, make_rules
from tests.trading import world as W
from tests.trading.life import Life, SeedFailedError
from tests.trading.setup import AGE_MS_MAX, Markets, draw_options, new_engine
from tests.trading.world import World

pytestmark = [pytest.mark.usefixtures("compiled_kernels"), pytest.mark.kernel]

SEEDS = 2 if JIT_OFF else 6 if BOUNDS_CHECKED else 60
SIZE, HEDGE_LOTS = "0.02", 4_000_000
DUST_LOTS = 25_000
"""Worth more than the least order of either venue: what fees in base leave is less."""
POSITION_NS = 600 * W.S
FLATTEN_NS = W.QUIET_NS


def rules_of(rng: random.Random, markets: Markets, taking: TakingSettings) -> MakerRules:
    """Quotes near the market, which are filled."""
    settings = MakerSettings(
        orders="live",
        quotes=QuoteSettings(
            size=SIZE, levels=rng.choice((1, 2)), first=0.5, step=2.0, hold=0.5,
            edge_bps_min=0.1, touch="free", pause_ms=100,
        ),
        risk=RiskSettings(
            order_size_max="0.03",
            order_value_max="5000",
            position_max="0.2",
            reduce_at=rng.choice((None, "0.1")),
            exposure_max="100000",
            daily_loss_max="6000",
            collar_bps=200.0,
            orders_per_10_s=90,
        ),
        fair=FairSettings(age_ms_max=AGE_MS_MAX, crossed_bps_max=50.0),
        venue={name: MakerVenue(fee_bps=0.0) for name in ("binance", "bitstamp")},
        taking=taking,
    )  # fmt: skip
    return make_rules(settings, new_engine(markets).instruments[0], markets)


class Taking(World):
    """A world whose maker sends orders that take."""

    taking = TakingSettings()
    fee_ppm: int | None = None

    def __init__(
        self,
        seed: int,
        kinds: Sequence[str] = (),
        broken: Callable[[Life], None] = lambda life: None,
    ) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                W, "draw_rules", lambda rng, _, markets: rules_of(rng, markets, self.taking)
            )
            patch.setattr(W, "draw_options", self._options)
            super().__init__(seed, kinds, broken)

    def _options(self, rng: random.Random) -> object:
        options = draw_options(rng)
        if self.fee_ppm is None:
            return options
        trading = replace(options.trading, maker_fee=self.fee_ppm, taker_fee=self.fee_ppm)
        return replace(options, trading=trading)

    def await_position(self, lots: int) -> None:
        self._until(lambda: abs(self.judge.position_lots) >= lots, POSITION_NS, "in a position")


def hedging(seed: int, broken: Callable[[Life], None] = lambda life: None) -> Taking:
    class Hedging(Taking):
        taking = TakingSettings(
            hedge_venue=("binance", "bitstamp")[seed % 2], hedge_above="0.04", slippage_bps=30.0
        )

    return Hedging(seed, broken=broken)


def test_a_position_is_hedged_whatever_happens_meanwhile() -> None:
    taken = 0
    for seed in range(SEEDS):
        world = hedging(seed)
        world.run()
        taken += len(world.judge.takes)
        venue = ("binance", "bitstamp")[seed % 2]
        for name, account in world.judge.accounts.items():
            made = [each for each in account.desk.executions.values() if not each.is_maker]
            assert name == venue or not made
    assert taken > SEEDS


class Ending(Taking):
    """The position is ended after a kill, or after the daily loss."""

    taking = TakingSettings(flatten_on_halt=True, flatten_on_kill=True, slippage_bps=30.0)

    def start_life(self) -> None:
        """A fault may be a kill too."""
        self.judge.is_flattened = True
        super().start_life()


def end_position(world: Taking, halt: Callable[[Life], None]) -> int:
    """Through the faults, then halt in a position: what is left of it in the end."""
    world._rage()
    world._await_quotes()
    world.await_position(1_000_000)
    life = world.life
    assert life is not None
    halt(life)
    world.judge.is_killed = True
    taken = len(world.judge.takes)
    ended = lambda: life.maker.is_quiet and abs(world.judge.position_lots) < DUST_LOTS  # noqa: E731
    world._until(ended, FLATTEN_NS, "ended")
    assert len(world.judge.takes) > taken
    end_ns = world.now_ns + W.DETECT_NS
    while world.now_ns < end_ns:
        world.step()
    world._compare_accounts(life)
    assert life.maker.halts.is_halted and life.maker.is_quiet
    return abs(world.judge.position_lots)


def kill(world: World) -> Callable[[Life], None]:
    return lambda life: life.maker.halts.kill(J.REASON_OPERATOR, world.steady_ns)


def test_after_a_kill_the_position_is_ended_and_never_turned() -> None:
    for seed in range(SEEDS):
        world = Ending(seed)
        assert end_position(world, kill(world)) < DUST_LOTS, seed


class Free(Ending):
    """Nothing is lost to fees."""

    fee_ppm = 0


def lose(world: World) -> Callable[[Life], None]:
    def halt(life: Life) -> None:
        life.maker.risk[O.RISK_DAILY_LOSS_MAX] = -(1 << 60)
        while not life.maker.halts.is_halted:
            world.step()
        assert life.maker.risk[O.RISK_HALT_REASON] == R.DAILY_LOSS

    return halt


@pytest.mark.parametrize("how", [kill, lose])
def test_without_fees_nothing_is_left(how: Callable[[World], Callable[[Life], None]]) -> None:
    for seed in range(1 if JIT_OFF else 4):
        world = Free(seed, ("none",))
        assert end_position(world, how(world)) == 0, seed
        assert world.report.seen["the position is ended"] == 1


@pytest.mark.parametrize("reason", [J.REASON_OTHER_MAKER, J.REASON_ACCOUNT, J.REASON_WATCHDOG])
def test_a_halt_in_doubt_ends_no_position(reason: int, monkeypatch: pytest.MonkeyPatch) -> None:
    world = Free(1, ("none",))

    def halt(life: Life) -> None:
        if reason == J.REASON_ACCOUNT:
            monkeypatch.setattr(type(life.maker.recovery), "disputed", [0])
        life.maker.halts.kill(reason, world.steady_ns)

    with pytest.raises(AssertionError, match="not ended"):
        end_position(world, halt)
    assert not world.judge.takes


# --- the canary ----------------------------------------------------------------------------------


def takes_twice(life: Life) -> None:
    """A maker that sends a second order before the first is answered, past the gate."""
    taking = life.maker.taking
    assert taking is not None
    lots, table = taking._lots, life.maker.table

    def doubled(*args: object) -> int:
        life.maker.risk[O.RISK_ORDER_LOTS_MAX] = O.LOTS_MAX
        table[O.ACCOUNT_POSITION_LOTS] *= 2
        return lots(*args)  # type: ignore[arg-type]

    vars(taking)["_lots"] = doubled


def test_one_that_takes_more_than_the_position_is_caught() -> None:
    with pytest.raises((SeedFailedError, AssertionError)):
        for seed in range(3):
            world = Free(seed, ("none",), takes_twice)
            end_position(world, kill(world))
