"""The demo, as a newcomer starts it: its contract is in seconds, so nothing runs beside it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.e2e.rig import running, until

pytestmark = pytest.mark.timeout(90)


def test_demo_shows_its_first_book_within_five_seconds_and_stops(tmp_path: Path) -> None:
    started_s = time.monotonic()
    with running(tmp_path, "demo", "demo", "--seconds", "4") as shown:
        until(lambda: "BTC-USD #" in shown.text, 30, "a book")
        first_s = time.monotonic() - started_s
        assert shown.popen.wait(30) == 0
        assert "Traceback" not in shown.text
    assert first_s < 5, f"the first book came after {first_s:.1f} s"
