"""What Prometheus scrapes of a daemon: of one without an engine, and of one that serves."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry

from net.feed.clock_check import LATE_NS_MIN
from net.observe.metrics.collector import make_registry
from tests.net.observe.page.test_page import PERIOD_NS, Served
from tests.net.rig import Desk

BINANCE = {"venue": "binance", "symbol": "BTCUSDT"}


@pytest.fixture
def served() -> Iterator[Served]:
    served = Served()
    yield served
    served.page.close()


def value(page: CollectorRegistry, name: str, **labels: str) -> float | None:
    return page.get_sample_value(f"pollux_{name}", labels)


def test_without_an_engine_there_is_the_daemon_alone(served: Served) -> None:
    page = make_registry(served.daemon)
    assert (value(page, "ready"), value(page, "gateway_serving")) == (0, 0)
    assert value(page, "log_records_dropped_total") == 3
    assert value(page, "log_records_swallowed_total") == 5
    assert value(page, "venue_live", **BINANCE) is None
    assert page.get_sample_value("process_resident_memory_bytes") is not None


def test_a_daemon_that_serves(served: Served) -> None:
    served.start()
    page = make_registry(served.daemon)
    assert (value(page, "ready"), value(page, "gateway_serving")) == (1, 1)
    assert value(page, "venue_live", **BINANCE) == 1
    assert value(page, "frames_total", instrument="BTC-USD", **BINANCE) == 1
    assert value(page, "book_levels", instrument="BTC-USD", side="bid") == 6
    assert value(page, "book_crossed", instrument="BTC-USD") == 0
    assert value(page, "venue_clock_off", **BINANCE) == 0
    assert value(page, "engine_late_beats_total") == 0
    received = value(page, "venue_receive_timestamp_seconds", **BINANCE)
    assert received == pytest.approx(served.desk.now_ns / 1e9)
    served.gateway.is_serving = False
    assert (value(page, "ready"), value(page, "gateway_serving")) == (0, 0)


def test_a_beat_that_came_late_is_counted_and_measured(served: Served) -> None:
    served.start()
    page = make_registry(served.daemon)
    now_ns = time.monotonic_ns()
    served.host_check.look(now_ns - 2 * PERIOD_NS - LATE_NS_MIN)
    served.host_check.look(now_ns)
    assert value(page, "engine_late_beats_total") == 1
    assert value(page, "engine_beat_late_seconds") == (PERIOD_NS + LATE_NS_MIN) / 1e9


def test_the_meters_are_those_of_the_generation_that_is_shown(served: Served) -> None:
    served.start()
    page = make_registry(served.daemon)
    labels = {"instrument": "BTC-USD", **BINANCE}
    assert value(page, "frames_total", **labels) == 1
    served.desk = Desk()
    served.start()
    served.desk.frame("binance", b'{"stream":')
    assert value(page, "frames_total", **labels) == 1
    served.daemon.hide()
    assert value(page, "frames_total", **labels) is None
