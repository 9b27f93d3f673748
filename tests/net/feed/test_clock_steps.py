"""The wall clock is set, either way, in every state of a feed: nothing waits or ends by it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from engine.layout import status as S
from net.feed.connection import _QuotingListener
from net.feed.events import FeedEvent
from tests.net.rig import SECOND, Desk, binance_diff
from tuning.clock import steady_ns, wall_ns

pytestmark = pytest.mark.kernel

STEPS_S = (-86_400, -3600, -30, 30, 3600, 86_400)


@pytest.mark.parametrize("step_s", STEPS_S)
def test_a_set_wall_clock_hides_no_silence_and_makes_none(step_s: int) -> None:
    """Issue 13.1. Seen: set back an hour, then silence: LIVE with the frozen book for an hour."""
    desk = Desk()
    desk.go_live("binance")
    desk.wall_step_ns = step_s * SECOND
    desk.wait(4.5)
    assert desk.state("binance") == "LIVE", "five seconds are allowed"
    desk.frame("binance", binance_diff(101, 101, [("100.00", "3")]))
    desk.wall_step_ns = 0
    desk.wait(4.5)
    assert desk.state("binance") == "LIVE", "it was heard half a second before"
    desk.wait(1.0)
    assert desk.state("binance") == "STALE"
    desk.wall_step_ns = step_s * SECOND
    desk.frame("binance", binance_diff(102, 102, [("100.00", "4")]))
    assert desk.state("binance") == "LIVE" and desk.bids()[0][2] == 4 * 10**8


@pytest.mark.parametrize("step_s", STEPS_S)
def test_a_set_wall_clock_moves_no_retry(step_s: int) -> None:
    """Issue 13.1. Seen: a snapshot retry due an hour later; in every state before LIVE."""
    desk = Desk()
    desk.wall_step_ns = step_s * SECOND
    desk.connect("bitstamp")
    desk.wait(2.5)
    assert desk.asked == ["bitstamp"], "a quiet pair is asked for after two seconds"
    desk.wall_step_ns = 0
    desk.fail("bitstamp", "HTTP 503")
    desk.wall_step_ns = step_s * SECOND
    desk.wait(1.0)
    assert desk.asked == ["bitstamp"] * 2, "again within the back-off's second"
    desk.wall_step_ns = 0
    desk.wait(31.0)
    assert len(desk.asked) == 3, "unanswered for 30 s"
    desk.answer("bitstamp", 90)
    assert desk.state("bitstamp") == "LIVE"


@pytest.mark.parametrize("step_s", STEPS_S)
def test_a_set_wall_clock_neither_holds_a_connection_nor_drops_it(step_s: int) -> None:
    desk = Desk()
    desk.go_live("binance")
    venue, limit_ns = desk.venues["binance"], 15 * SECOND
    desk.wait(10.0)
    desk.wall_step_ns = step_s * SECOND
    assert not venue.is_silent(desk.now_ns, limit_ns)
    desk.wait(6.0)
    assert venue.is_silent(desk.now_ns, limit_ns)


def test_after_a_standstill_only_a_frame_makes_a_book_live_again() -> None:
    """Issue 13.1: SIGCONT, or a host that wakes: what was LIVE before is not known to be so."""
    desk = Desk()
    for name in desk.names:
        desk.go_live(name)
    desk.now_ns += 3 * SECOND
    for venue in desk.venues.values():
        venue.on_standstill(desk.now_ns)
    assert [desk.state(name) for name in desk.names] == ["STALE", "STALE"] and desk.bids() == []
    desk.frame("binance", binance_diff(101, 101, [("100.00", "3")]))
    assert [desk.state(name) for name in desk.names] == ["LIVE", "STALE"]
    told = [facts["reason"] for _, event, facts in desk.notes if event is FeedEvent.SILENT]
    assert told == ["this process stood still, or its host slept"] * 2


def test_the_market_maker_is_told_of_a_frame_in_steady_time() -> None:
    """Issue 13.1: the frame's stamp is the wall clock's, and for the book alone."""
    stamps: list[int] = []
    told: list[int] = []

    def handle(raw: bytes, stamp_ns: int, is_last: bool) -> int:
        stamps.append(stamp_ns)
        return S.APPLIED

    stream: Any = SimpleNamespace(venue=SimpleNamespace(handle=handle), is_recording=False)
    due = memoryview(bytearray(8)).cast("q")
    quoting: Any = SimpleNamespace(due=due, on_frame=told.append)
    listener = _QuotingListener(stream, quoting)
    listener.on_text(b"{}", wall_ns(), True)
    assert not told, "it has touched no instrument that is quoted"
    due[0] = 1
    stamps.clear()
    listener.on_text(b"{}", wall_ns(), True)
    assert abs(stamps[0] - wall_ns()) < SECOND and 0 <= steady_ns() - told[0] < SECOND
