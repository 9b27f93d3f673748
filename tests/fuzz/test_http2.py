"""Some thousands of fuzzed frames against the gateway; `make fuzz-http2` is a million."""

from __future__ import annotations

import asyncio

import pytest

from engine.compiling.jit import compile_kernels
from tests.fuzz.http2 import fuzz

FRAMES = 3000


@pytest.mark.parametrize("seed", range(3))
def test_no_frame_breaks_the_gateway(seed: int) -> None:
    compile_kernels()
    seen = asyncio.run(fuzz(FRAMES, seed))
    assert seen["refused"] > 10 and seen["messages"] > 10, seen
