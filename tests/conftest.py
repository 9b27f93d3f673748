"""Fixtures of every suite: the kernels compiled once, hypothesis' profiles, the three modes.

The kernel suites run compiled, with NUMBA_DISABLE_JIT=1 (kernels are plain Python then, some
hundred times slower, so workloads shrink) and with NUMBA_BOUNDSCHECK=1.
Runs on: the tests' thread.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from engine.compiling.jit import BOUNDS_CHECKED, JIT_OFF, compile_kernels

_QUIET = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture)
_IS_CI = os.environ.get("CI", "") not in ("", "0", "false")

_SHARED_MEMORY = Path("/dev/shm")
os.environ["RUNTIME_DIRECTORY"] = tempfile.mkdtemp(
    prefix="pollux-tests-", dir=_SHARED_MEMORY if _SHARED_MEMORY.is_dir() else None
)
"""Of each process of tests its own: what one's daemons leave is not another's to clear away."""

settings.register_profile(
    "compiled",
    max_examples=100,
    deadline=None,
    derandomize=_IS_CI,
    print_blob=True,
    suppress_health_check=_QUIET,
)
settings.register_profile("jit-off", settings.get_profile("compiled"), max_examples=15)
settings.register_profile("checked", settings.get_profile("compiled"), max_examples=50)
settings.load_profile("jit-off" if JIT_OFF else "checked" if BOUNDS_CHECKED else "compiled")


@pytest.fixture(scope="session", autouse=True)
def _runtime_directory() -> Iterator[None]:
    yield
    shutil.rmtree(os.environ["RUNTIME_DIRECTORY"], ignore_errors=True)


@pytest.fixture(scope="session")
def compiled_kernels() -> None:
    """Every kernel of engine/ and of the collected tests, compiled or loaded from the cache."""
    import engine.engine  # noqa: F401 (declares kernels)
    import net.sockets.event_loop  # noqa: F401 (one more)

    compile_kernels()
