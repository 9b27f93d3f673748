"""The demo, as a newcomer starts it: its contract is in seconds, so nothing runs beside it."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import psutil
import pytest

from tests.e2e.rig import running, until

pytestmark = pytest.mark.timeout(90)


def test_demo_shows_its_first_book_within_five_seconds_and_stops(tmp_path: Path) -> None:
    """As a job in the background too, which is started with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    started_s = time.monotonic()
    with running(tmp_path, "demo", "demo", "--seconds", "4") as shown:
        signal.signal(signal.SIGINT, before)
        until(lambda: "BTC-USD #" in shown.text, 30, "a book")
        first_s = time.monotonic() - started_s
        assert shown.popen.wait(30) == 0
        assert "Traceback" not in shown.text
    assert first_s < 5, f"the first book came after {first_s:.1f} s"


def test_a_demo_that_is_told_to_end_leaves_nobody_behind(tmp_path: Path) -> None:
    with running(tmp_path, "demo", "demo", "--quote", "--seconds", "60") as shown:
        until(lambda: "BTC-USD #" in shown.text, 30, "a book")
        family = psutil.Process(shown.popen.pid).children(recursive=True)
        assert len(family) >= 3, "simulator, daemon and gateway"
        assert shown.end(signal.SIGTERM) == 0
        assert not [each for each in family if each.is_running()]
        assert "Traceback" not in shown.text
