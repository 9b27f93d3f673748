"""Kernels compiled once for the session and venue tests."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _kernels(compiled_kernels: None) -> None:
    """Every test here drives kernels."""
