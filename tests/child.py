"""A Python of its own for what must not end, or be seen by, the tests' process.

Runs on: the tests' thread.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
END_LIMIT_S = 110
"""Below a test's own time limit; subprocess.TimeoutExpired is raised."""


def run_module(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m MODULE ...` from the project's root, to its end, whatever its status."""
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=END_LIMIT_S,
        check=False,
    )
