"""The market maker on the metrics page: what Prometheus would scrape."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from net.config.schema import Config
from net.log.log import Log
from net.observe.metrics.collector import make_registry
from net.observe.page.daemon_state import DaemonState
from tests.net.gateway.maker_engine import MakerEngine

ONE = {"symbol": "BTC-USD", "venue": ({"name": "bitstamp", "symbol": "btcusd"},)}


@pytest.fixture
def registry() -> Iterator[tuple[MakerEngine, CollectorRegistry]]:
    """The daemon's page, of a daemon that has a market maker and nothing else."""
    name = f"test-{os.getpid()}-metrics"
    config = Config.model_validate({"instrument": (ONE,), "engine": {"name": name}})
    maker, registry = MakerEngine(name), make_registry(DaemonState(config, Log("info", "json")))
    yield maker, registry
    maker.close()
    assert b"pollux_maker" not in generate_latest(registry), "nothing without a market maker"


def test_gauges_and_counters(registry: tuple[MakerEngine, CollectorRegistry]) -> None:
    maker, page = registry
    maker.maker.kill()
    maker.publish()

    def value(name: str, **labels: str) -> float | None:
        return page.get_sample_value(f"pollux_maker_{name}", {"instrument": "BTC-USD", **labels})

    assert value("position") == 15e-8
    assert value("fair_price") == 100.005
    assert value("day_result") == value("result") == 39e-10
    assert (value("fees"), value("fees_base"), value("unvalued_fees_total")) == (6e-10, 0, 0)
    assert value("fee_ratio", venue="binance") == 750e-6
    assert (value("live_orders"), value("fills_total"), value("halts_total")) == (2, 1, 1)
    assert (value("risk_state", state="HALTED"), value("risk_state", state="NORMAL")) == (1, 0)
    assert value("refusals_total", reason="would trade with an own order") == 0
    assert (value("entry_ready", venue="binance"), value("entry_ready", venue="bitstamp")) == (1, 0)
    assert value("orders_sent_total", venue="binance") == 1


def test_several_are_told_apart_by_their_instruments(
    registry: tuple[MakerEngine, CollectorRegistry],
) -> None:
    _, page = registry
    other = MakerEngine(f"test-{os.getpid()}-metrics", "ETH-USD", 1)
    try:
        text = generate_latest(page)
    finally:
        other.close()
    assert text.count(b"# TYPE pollux_maker_position gauge") == 1, "a family has one head"
    for symbol in (b"BTC-USD", b"ETH-USD"):
        assert b'pollux_maker_position{instrument="' + symbol + b'"}' in text


def test_what_is_not_known_is_no_number(
    registry: tuple[MakerEngine, CollectorRegistry],
) -> None:
    maker, page = registry
    maker.publish(math.nan)
    assert b'pollux_maker_fair_price{instrument="BTC-USD"} NaN' in generate_latest(page)
