"""Estimates against markets whose numbers are given, and the command on a tape."""

from __future__ import annotations

import math
import random
from pathlib import Path

import orjson
import pytest

import pollux
from net.replay.estimate.estimate import Estimate
from tests.net.replay.backtest.tapes import market_tape
from tests.net.replay.backtest.test_command import TEXT

S = 10**9
MID = 100.0
GRID = tuple(0.1 * number for number in range(1, 25))


def reached(rate: float, decay: float, seconds: float, seed: int) -> Estimate:
    """A market whose mid stays, and whose best prices reach out as often, and as far, as given:
    orders come at `rate` a second and reach an exponential distance of mean 1 / `decay`."""
    rng, estimate = random.Random(seed), Estimate(GRID)
    now, due_s = 0.0, 0.0
    while now < seconds:
        due_s += rng.expovariate(2 * rate)
        while now + 0.25 < due_s:
            now += 0.25
            estimate.take(round(now * S), MID, MID)
        now = due_s
        depth = rng.expovariate(decay) * rng.choice((-1, 1))
        for away in (0.0, depth, 0.0):
            estimate.take(round(now * S), MID + away, MID + away)
    return estimate


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("rate", "decay"), [(140.0, 1.5), (2.0, 3.0), (10.0, 0.8)])
def test_it_finds_the_rate_and_the_decay_that_a_market_has(
    rate: float, decay: float, seed: int
) -> None:
    """The first are the paper's own, of its section 3.3: A = 140 and k = 1.5."""
    fit = reached(rate, decay, 30_000 / rate, seed).fit()
    assert fit is not None and fit.r_squared > 0.95
    assert fit.decay == pytest.approx(decay, rel=0.1) and fit.rate == pytest.approx(rate, rel=0.15)


def test_it_finds_the_volatility_of_a_walk() -> None:
    """The paper's, sigma = 2 at a price of 100 in its unit of time; here 2e-4 for a second."""
    rng, estimate, mid = random.Random(1), Estimate(GRID), MID
    for number in range(20_000):
        estimate.take(number * S, mid - 0.005, mid + 0.005)
        mid *= 1 + rng.gauss(0, 2e-4)
    assert estimate.volatility == pytest.approx(2e-4, rel=0.02)
    assert estimate.seconds == pytest.approx(19_999)


def test_what_happens_over_a_silence_or_without_a_side_is_not_counted() -> None:
    estimate = Estimate(GRID)
    for start, mid in ((0, 100.0), (100, 200.0)):
        for number in range(3):
            estimate.take((start + number) * S, mid - 0.01, mid + 0.01)
    assert estimate.seconds == 4 and estimate.volatility == 0
    estimate.take(103 * S, 0, 50.0)
    estimate.take(104 * S, 49.0, 50.0)
    assert estimate.seconds == 4 and estimate.fit() is None


def test_a_market_in_which_nothing_is_reached_has_no_decay() -> None:
    estimate = Estimate()
    assert math.isnan(estimate.volatility) and estimate.fit() is None
    for number in range(100):
        estimate.take(number * S, 99.9, 100.1)
    assert estimate.fit() is None and estimate.rates() == []


@pytest.mark.kernel
@pytest.mark.usefixtures("compiled_kernels")
def test_the_command_prints_both_for_every_market(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    market_tape(tmp_path / "t.jsonl.gz", frames=150)
    (tmp_path / "c.toml").write_text(TEXT)
    arguments = ["estimate", str(tmp_path / "t.jsonl.gz"), "--config", str(tmp_path / "c.toml")]
    for more in ([], ["--json"]):
        with pytest.raises(SystemExit) as ended:
            pollux.main([*arguments, *more])
        assert ended.value.code == 0
        out = capfd.readouterr().out
        if more:
            (market,) = orjson.loads(out)["markets"]
            assert market["venue"] == "binance" and market["seconds"] > 10
            assert market["volatility_bps"] > 0
        else:
            assert out.startswith("binance BTCUSDT, ") and "  volatility  " in out
