"""Fixtures of the bench suite: kernels compiled once, and never without the JIT."""

from __future__ import annotations

import pytest

from bench.rig.kernels import compile_bench_kernels
from engine.compiling.jit import JIT_OFF

if JIT_OFF:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session", autouse=True)
def bench_kernels() -> None:
    """Every kernel of engine/, net/ and bench/, so that the workers load them from the cache."""
    import bench.run  # noqa: F401 (declares the benches' kernels)

    compile_bench_kernels()
