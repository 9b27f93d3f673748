"""The kernel suites' fixtures: everything here needs the kernels and carries their marker."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.compiling.jit import JIT_OFF

HERE = Path(__file__).resolve().parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.kernel)


@pytest.fixture(scope="session", autouse=True)
def kernels_first(compiled_kernels: None) -> None:
    """Compile before the first test, so that no test's time-out pays for it."""


@pytest.fixture
def compiled_only() -> None:
    """For tests of the machine code itself."""
    if JIT_OFF:
        pytest.skip("the JIT is off: there is no machine code to look at")
