"""The daemons of these tests start from a warm cache."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True, scope="session")
def _kernels(compiled_kernels: None) -> None:
    """Kernels compiled, and so cached, before the first daemon is started."""
