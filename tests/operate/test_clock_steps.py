"""A real daemon whose wall clock is set, and one that stood still."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.layout import layout as L
from engine.sharing.handoff import HandoffReader
from proto.pollux.v1 import market_data_pb2 as pb
from proto.pollux.v1.market_data_pb2_grpc import MarketDataServiceStub
from tests.e2e.rig import ROOT, Venues, until
from tests.operate import rig
from tests.operate.rig import LIVE, Operated, log_lines, operated, plain_channel, states_of

pytestmark = pytest.mark.timeout(120)

STEPPED = """
import os, time
real, path = time.time_ns, os.environ["XDG_STEP_FILE"]
def stepped():
    with open(path) as file:
        return real() + int(file.read() or 0) * 10**9
time.time_ns = stepped
"""
"""Run by Python at its start: the processes' wall clock is set by whoever writes the file."""
SETTLE_S = 3.0
STALE_AFTER_MS = 1500


def venue_state(reader: HandoffReader, venue: int) -> int:
    return int(reader.book[L.SLOT_VENUES_AT + venue * L.VENUE_WORDS + L.VENUE_STATE])


@pytest.fixture(scope="module")
def step_file(folder: Path) -> Path:
    (folder / "stepped").mkdir()
    (folder / "stepped" / "sitecustomize.py").write_text(STEPPED)
    file = folder / "step_s"
    file.write_text("0")
    return file


@pytest.fixture(scope="module")
def stepped(folder: Path, venues: Venues, step_file: Path) -> Iterator[Operated]:
    keys = {
        "PYTHONPATH": os.pathsep.join((str(folder / "stepped"), str(ROOT))),
        "XDG_STEP_FILE": str(step_file),
    }
    engine = f"stale_after_ms = {STALE_AFTER_MS}"
    with operated(folder, venues.toml, engine=engine, keys=keys) as live:
        live.daemon.wait_for(binance="LIVE", bitstamp="LIVE")
        yield live


@pytest.mark.parametrize("step_s", [30, -30, 3600, -3600, 86_400, -86_400])
def test_a_set_wall_clock_ends_no_stream_and_withdraws_no_book(
    stepped: Operated, step_file: Path, step_s: int
) -> None:
    """Issue 13.1. Seen: +30 s: every running stream ended, "no sign of life for 30.0 s"."""
    before = stepped.log
    with plain_channel(stepped.target) as channel:
        stream = MarketDataServiceStub(channel).StreamBook(pb.StreamBookRequest(), timeout=60)
        assert states_of(next(iter(stream))) == LIVE
        step_file.write_text(str(step_s))
        end_s = time.monotonic() + SETTLE_S
        for book in stream:
            assert states_of(book) == LIVE, book
            if time.monotonic() > end_s:
                break
        step_file.write_text("0")
        for book in stream:
            assert states_of(book) == LIVE, book
            if time.monotonic() > end_s + SETTLE_S:
                break
    told = stepped.log[len(before) :]
    assert not log_lines(told, "silent") and not log_lines(told, "late"), told
    assert stepped.health() == rig.SERVING


def test_after_a_standstill_no_old_book_is_shown_as_live(live: Operated) -> None:
    """Issue 13.1. What is published first after SIGCONT takes each venue away."""
    reader = live.reader()
    live.signal(rig.HALT)
    try:
        time.sleep(0.2)  # what it was writing is written
        last = reader.sequence(0)
        time.sleep(2.5)
    finally:
        live.signal(rig.GO_ON)
    until(lambda: log_lines(live.log, "silent"), 5, "the line")
    told = log_lines(live.log, "silent")
    assert {each["venue"] for each in told} == {"binance", "bitstamp"}
    assert all("stood still" in each["reason"] for each in told)
    assert all(each["after"] == "STALE" for each in told)
    withdrawn = last + len(LIVE)
    if reader.read_exact(0, withdrawn) == withdrawn:  # else 64 more have been published since
        assert [venue_state(reader, venue) for venue in range(2)] == [L.STALE, L.STALE]
    live.daemon.wait_for(binance="LIVE", bitstamp="LIVE")
