"""What first goes wrong, at a real daemon: each says so in a line, a number and the page's reason.

A blocked network has its tests in test_page_of_daemon.py and in tests/faults/test_names_and_tls.py.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.rig import Process, Venues, until
from tests.operate import rig
from tests.operate.rig import Paged, log_lines

pytestmark = pytest.mark.timeout(90)

CLOCK_OFF_MS, CLOCK_OFF_S = 1500, 4
HALT_S = 0.6
BINANCE = {"instrument": "BTC-USD", "venue": "binance", "symbol": "BTCUSDT"}


@pytest.fixture(scope="module")
def mistaken(folder: Path, venues: Venues) -> Iterator[tuple[Paged, Process]]:
    """A daemon whose symbols no venue has; their tick sizes are given, so that nobody is asked."""
    toml = venues.toml.replace('"BTCUSDT"', '"BTCUSTD"\ntick_size = "0.01"')
    daemon = Paged(toml.replace('"btcusd"', '"btcudd"\ntick_size = "0.01"'))
    with daemon.running(folder) as process:
        yield daemon, process


@pytest.fixture(scope="module")
def well(
    folder: Path, venues: Venues, mistaken: tuple[Paged, Process]
) -> Iterator[tuple[Paged, Process]]:
    """A daemon that is well; the other one is let start first, to fail meanwhile."""
    daemon = Paged(venues.toml)
    with daemon.running(folder) as process:
        until(lambda: daemon.says("/readyz")[0] == 200, what="ready")
        yield daemon, process


def test_a_clock_that_is_off(well: tuple[Paged, Process], venues: Venues) -> None:
    daemon, process = well
    venues.post("binance", f"fault?order=venue-clock={CLOCK_OFF_MS}:binance/{CLOCK_OFF_S}")
    (told,) = until(lambda: log_lines(process.text, "clock off"), 10, "the line")
    assert BINANCE.items() <= told.items() and told["level"] == "warning"
    assert CLOCK_OFF_MS <= told["lag_ms"] < CLOCK_OFF_MS + 1000
    assert "behind this host's clock" in told["reason"] and "timedatectl" in told["reason"]
    assert daemon.metric("pollux_venue_clock_off", venue="binance") == 1
    assert daemon.metric("pollux_venue_clock_off", venue="bitstamp") == 0
    for path, fine in (("/readyz", "ready; "), ("/healthz", "healthy; ")):
        status, text = daemon.says(path)
        assert status == 200 and text.startswith(fine), text
        assert "binance's times of BTCUSDT are 1." in text and "bitstamp's" not in text
    (over,) = until(lambda: log_lines(process.text, "clock agrees again"), 10, "its end")
    assert BINANCE.items() <= over.items() and over["level"] == "info" and over["lag_ms"] < 1000
    assert daemon.metric("pollux_venue_clock_off", venue="binance") == 0
    assert "binance's times" not in daemon.says("/readyz")[1]


def test_a_host_that_is_too_slow(well: tuple[Paged, Process]) -> None:
    daemon, process = well
    before = daemon.metric("pollux_engine_late_beats_total")
    process.popen.send_signal(rig.HALT)
    time.sleep(HALT_S)
    process.popen.send_signal(rig.GO_ON)

    def late() -> list[int]:
        return [each["late_ms"] for each in log_lines(process.text, "engine held up")]

    until(lambda: max(late(), default=0) > 1000 * HALT_S - 100, 10, "the line")
    told = log_lines(process.text, "engine held up")[-1]
    assert told["level"] == "warning" and "pollux doctor" in told["reason"]
    assert told["times_in_last_minute"] >= 1 and told["longest_ms"] >= told["late_ms"]
    assert daemon.metric("pollux_engine_late_beats_total") > before
    assert daemon.metric("pollux_engine_beat_late_seconds") > HALT_S - 0.1
    for path in ("/readyz", "/healthz"):
        until(lambda path=path: daemon.says(path)[0] == 200)  # type: ignore[misc]
        text = daemon.says(path)[1]
        assert "the engine was held up " in text and text.endswith("run pollux doctor\n"), text


def test_symbols_that_no_venue_has(mistaken: tuple[Paged, Process]) -> None:
    daemon, process = mistaken
    for venue, symbol, reason in (
        ("binance", "BTCUSTD", "HTTP 400 Bad Request (Invalid symbol.)"),
        ("bitstamp", "btcudd", "HTTP 404 Not Found"),
    ):
        names = {"instrument": "BTC-USD", "venue": venue, "symbol": symbol, "level": "warning"}
        told = until(
            lambda names=names: log_lines(process.text, "snapshot refused", **names),  # type: ignore[misc]
            15,
            "the line",
        )[0]
        assert told["reason"] == reason and told["attempt"] == 1 and told["again_in_ms"] > 0
        status, text = daemon.says("/readyz")
        assert status == 503
        assert re.search(rf"{venue} {symbol} is [A-Z]+, no data yet \(", text), text
        assert f"(snapshot refused: {reason}" in text, text
        labels = {"venue": venue, "symbol": symbol}
        assert daemon.metric("pollux_snapshots_refused_total", **labels) >= 1
        assert daemon.metric("pollux_venue_live", **labels) == 0
    assert daemon.metric("pollux_ready") == 0 and daemon.says("/healthz")[0] == 200


def test_the_end_of_a_daemon_warns_of_nothing(well: tuple[Paged, Process]) -> None:
    """Whoever ends it knows that its venues are lost."""
    _, process = well
    before = len(process.text)
    assert process.end() == 0
    left = process.text[before:]
    assert log_lines(left, "lost", venue="binance", level="info")
    assert '"warning"' not in left and '"error"' not in left, left
