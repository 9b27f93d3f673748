"""Fixtures of the gateway's tests; the kernels are compiled once, from the cache as a rule."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from engine.compiling.jit import compile_kernels
from tests.net.gateway.rig import Engine


@pytest.fixture(scope="session", autouse=True)
def compiled_kernels() -> None:
    compile_kernels()


@pytest.fixture
def engine() -> Iterator[Engine]:
    """A segment with BTC-USD (two venues) and ETH-USD (one)."""
    engine = Engine()
    yield engine
    engine.close()
