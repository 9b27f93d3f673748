"""The wall clock is read in one file, and by the kernels that stamp frames and books."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.house.tree import ROOT, sources

READS = (
    "import time\ntime.time()\n",
    "import time\ntime.time_ns()\n",
    "import datetime\ndatetime.datetime.now()\n",
    "from datetime import UTC, datetime\ndatetime.now(UTC)\n",
    "from datetime import date\ndate.today()\n",
)
STAMPS = {
    "engine/compiling/clock.py",
    "engine/book/merge.py",
    "net/gateway/data_path/turn.py",
    "net/sockets/frames.py",
}
"""The clock itself, who stamps a frame or a book, and who says how old that stamp is."""


def lint(path: str, text: str) -> str:
    command = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--select",
        "TID251",
        "--stdin-filename",
        path,
    ]
    done = subprocess.run(
        [*command, "-"], input=text, cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout


@pytest.mark.parametrize("text", READS)
def test_the_lint_finds_a_wall_clock_everywhere_but_in_its_file(text: str) -> None:
    """Issue 13.1: only stamps are wall clock."""
    for path in ("net/feed/a.py", "engine/maker/a.py", "tests/net/a.py", "bench/a.py"):
        assert "TID251" in lint(path, text), path
    assert "All checks passed" in lint("tuning/clock.py", text)
    assert "All checks passed" in lint("net/a.py", "import time\ntime.monotonic()\n")


def test_compiled_code_reads_it_where_frames_and_books_are_stamped_alone() -> None:
    ours = [each for each in sources() if each.path.startswith(("engine/", "net/", "tuning/"))]
    assert {each.path for each in ours if "CLOCK_REALTIME" in each.text} == STAMPS
