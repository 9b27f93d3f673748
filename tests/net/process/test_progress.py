"""Whoever starts a command is told what it waits for."""

from __future__ import annotations

from pathlib import Path

import numba
import pytest

from engine.compiling import jit
from net.process.progress import compile_with_progress


def test_kernel_that_is_not_cached_is_named_before_it_is_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []

    class Kernel:
        is_compiled = False

        def __init__(self, name: str) -> None:
            self.name = name

        def compile(self) -> None:
            said.append(capsys.readouterr().err)

    (tmp_path / "quick.ready").touch()
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(jit, "_registry", [])
    monkeypatch.setattr(jit, "cache_refusals", [])
    monkeypatch.setattr(jit, "_callbacks", [Kernel("quick"), Kernel("slow")])
    compile_with_progress()
    assert said == ["compiling kernels 1/2: quick\n", "compiling kernels 2/2: slow\n"]
    (tmp_path / "slow.ready").touch()
    said.clear()
    compile_with_progress()
    assert said == ["", ""]
