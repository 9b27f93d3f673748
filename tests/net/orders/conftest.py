"""No test of this room drives a kernel: none is compiled for it."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _kernels() -> None:
    """Stands in for the fixture of the folder above, which compiles them all."""
