"""The second half of the thousand seeds, beside the first one's file."""

from __future__ import annotations

import pytest

from engine.compiling.jit import BOUNDS_CHECKED, JIT_OFF
from tests.trading.test_seeds import BATCHES, SEEDS
from tests.trading.world import World

pytestmark = [
    pytest.mark.usefixtures("compiled_kernels"),
    pytest.mark.skipif(JIT_OFF or BOUNDS_CHECKED, reason="too slow"),
]


@pytest.mark.parametrize("batch", range(BATCHES))
def test_seeds(batch: int) -> None:
    for seed in range(SEEDS + batch, 2 * SEEDS, BATCHES):
        World(seed).run()
