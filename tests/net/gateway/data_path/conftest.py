"""Fixtures of the data path's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.net.gateway.data_path.rig import Rig


@pytest.fixture
def rig() -> Iterator[Rig]:
    """BTC-USD (two venues, ten levels) and ETH-USD (one, five)."""
    made = Rig()
    yield made
    made.close()
