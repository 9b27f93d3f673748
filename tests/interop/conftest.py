"""Fixtures of the clients' tests; the kernels are compiled once, from the cache as a rule."""

from __future__ import annotations

import pytest

from engine.compiling.jit import compile_kernels


@pytest.fixture(scope="session", autouse=True)
def compiled_kernels() -> None:
    compile_kernels()
