"""The daemons of these tests start from a warm cache; one pair of venues serves them all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.rig import Venues, simulated_venues
from tests.operate.rig import STALE_AFTER_MS, Operated, operated_live


@pytest.fixture(autouse=True, scope="session")
def _kernels(compiled_kernels: None) -> None:
    """Kernels compiled, and so cached, before the first daemon is started."""


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("operate")


@pytest.fixture(scope="session")
def venues(folder: Path, _kernels: None) -> Iterator[Venues]:
    with simulated_venues(folder) as running_venues:
        yield running_venues


@pytest.fixture(scope="module")
def live(folder: Path, venues: Venues) -> Iterator[Operated]:
    """A daemon of the module's own, both venues LIVE at first."""
    engine = f"stale_after_ms = {STALE_AFTER_MS}"
    with operated_live(folder, venues, engine=engine) as running_daemon:
        yield running_daemon
