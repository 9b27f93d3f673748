"""The page of a real daemon: there from its first second, and it names what is wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.e2e.rig import FIXED_TICKS, ONE_INSTRUMENT, until
from tests.operate import rig
from tests.operate.rig import Paged, gateways_of, log_lines

pytestmark = pytest.mark.timeout(90)

NOBODY = "127.0.0.1:1"
"""A port that refuses connections: what a firewall may do too."""


UNREACHED = FIXED_TICKS.format(ws_url=f"ws://{NOBODY}")


def test_a_blocked_network_is_named_before_there_is_an_engine(folder: Path) -> None:
    unknown_tick = ONE_INSTRUMENT.replace('tick_size = "0.01"', "")
    daemon = Paged(f'{unknown_tick}\n[venue.binance]\nrest_url = "http://{NOBODY}"\n')
    with daemon.running(folder) as process:
        wanted = "binance BTCUSDT is not started (market not learned yet: "
        until(lambda: daemon.says("/readyz")[1].startswith(wanted), what="the reason")
        assert daemon.says("/readyz")[0] == 503 and daemon.says("/healthz")[0] == 200
        assert process.end() == 0


def test_the_parts_of_a_daemon_are_named(folder: Path) -> None:
    daemon = Paged(UNREACHED)
    with daemon.running(folder) as process:
        until(lambda: daemon.says("/metrics")[1].count("pollux_gateway_serving 1.0"))
        until(lambda: "disconnected" in daemon.says("/readyz")[1])
        status, text = daemon.says("/readyz")
        assert status == 503 and "; b" not in text
        assert text.startswith("binance BTCUSDT is ") and ", no data yet (disconnected: " in text
        os.kill(gateways_of(daemon.name)[0], rig.KILL)
        until(lambda: "; the gateway does not serve" in daemon.says("/readyz")[1])
        until(lambda: "the gateway" not in daemon.says("/readyz")[1])
        status, text = daemon.says("/healthz")
        assert status == 200 and text.startswith("healthy")
        told = log_lines(process.text, "disconnected", venue="binance", level="warning")
        assert [each["attempt"] for each in told[:2]] == [1, 2]
        assert told[0]["address"] == NOBODY and told[0]["reason"] == "Connection refused"
        assert told[0]["again_in_ms"] > 0
        assert daemon.metric("pollux_connect_failures_total", venue="binance") >= 2
        assert daemon.metric("pollux_connections_total", venue="binance") == 0
        assert daemon.metric("pollux_venue_live", venue="binance") == 0
        assert process.end() == 0
