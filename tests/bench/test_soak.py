"""The soak, seconds long: it runs, inflicts, judges, measures and reports; and it can fail."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from bench.soak.report import GROWTH_MAX
from bench.soak.schedule import UNSEEN, Schedule
from bench.soak.spread import Spread
from net.simulator.faults import FAULTS, ORDER_ENTRY, read_order
from tests.e2e.rig import running

SECONDS = 6
GROWING = ("daemon: memory", "gateway: memory", "daemon: descriptors", "gateway: descriptors")
"""Too early to say after some seconds."""


@pytest.mark.timeout(110)
def test_a_soak_of_some_seconds(tmp_path: Path) -> None:
    report = tmp_path / "report.md"
    arguments = ("soak", "--seconds", str(SECONDS), "--seed", "5", "--report", str(report))
    with running(tmp_path, "soak", *arguments) as soak:
        soak.popen.wait(100)
        said = soak.text
    found = orjson.loads(report.with_suffix(".json").read_bytes())
    failed = [c for c in found["checks"] if not c["holds"] and c["what"] not in GROWING]
    assert failed == [], said
    assert len(found["marks"]) == 2 and found["episodes"] >= 1
    assert found["seconds"] >= SECONDS * 0.8
    text = report.read_text()
    for part in ("# Soak: ", f"--seconds {SECONDS} --seed 5", "| wrong books | 0 | at most 0 |"):
        assert part in text, text
    assert 0 < GROWTH_MAX <= 0.02


def test_a_schedule_comes_from_its_seed_and_deals_every_fault() -> None:
    venues = ("binance", "bitstamp")
    one, other = Schedule(7), Schedule(7)
    orders = []
    while one.passes < 12:
        episode = one.episode(venues)
        assert episode == other.episode(venues)
        assert one.pause_s() == other.pause_s()
        orders += [read_order(order) for order in episode]
    assert all(set(order.venues) <= set(venues) for order in orders)
    struck = {(order.fault.name, venue) for order in orders for venue in order.venues}
    assert struck.isdisjoint(UNSEEN)
    dealt = {name: each for name, each in FAULTS.items() if each.occasion not in ORDER_ENTRY}
    pairs = {(name, venue) for name, fault in dealt.items() for venue in fault.venues}
    wanted = {(name, venue) for name, venue in pairs if venue in venues}
    assert struck == wanted - set(UNSEEN)
    assert "many-levels" in {order.fault.name for order in orders[:6]}


def test_a_spread_keeps_two_digits() -> None:
    spread = Spread()
    for value in range(1, 1001):
        spread.add(value)
    assert spread.as_json() == {
        "count": 1000, "p50": 500, "p90": 900, "p99": 990, "p99.9": 1000, "max": 1000,
    }  # fmt: skip
