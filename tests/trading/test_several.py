"""Seeds with two market makers under common limits, and gates broken on purpose."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from engine.compiling.jit import BOUNDS_CHECKED, JIT_OFF
from engine.maker import order_layout as O
from tests.trading.life import Life, SeedFailedError
from tests.trading.several import TwoMakers

pytestmark = pytest.mark.usefixtures("compiled_kernels")

SEEDS = 2 if JIT_OFF else 6 if BOUNDS_CHECKED else 60
BATCHES = 1 if JIT_OFF else 6
CANARY_SEEDS = 40
"""A market maker that is broken must not survive so many."""


@pytest.mark.kernel
@pytest.mark.parametrize("batch", range(BATCHES))
def test_seeds_with_two_market_makers(batch: int) -> None:
    for seed in range(batch, SEEDS, BATCHES):
        TwoMakers(seed).run()


@pytest.mark.skipif(JIT_OFF, reason="too slow")
def test_a_seed_gives_the_same_run_again() -> None:
    assert TwoMakers(1).run() == TwoMakers(1).run()


def keeps_to_its_own(life: Life) -> None:
    """A market maker that knows of no other: what begins with the first step of its life."""
    maker = life.maker
    begin = maker._start

    def broken() -> None:
        begin()
        maker.risk[O.RISK_SHARED] = 0

    vars(maker)["_start"] = broken


def begins_too_early(life: Life) -> None:
    """A market maker whose position counts before it is known."""
    on_timer = life.maker.on_timer

    def broken(now_ns: int) -> None:
        life.maker.risk[O.RISK_IS_KNOWN] = 1
        on_timer(now_ns)

    vars(life.maker)["on_timer"] = broken


@pytest.mark.skipif(JIT_OFF, reason="too slow")
@pytest.mark.parametrize("sabotage", [keeps_to_its_own, begins_too_early])
def test_a_broken_gate_is_caught(sabotage: Callable[[Life], None]) -> None:
    with pytest.raises(SeedFailedError, match="both could hold"):
        for seed in range(CANARY_SEEDS):
            TwoMakers(seed, ("crash",), sabotage).run()
