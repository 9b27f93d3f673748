"""What the page's threads know of a daemon, and the one object that they show."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from engine.sharing.meters import BUCKETS, Histogram, highest_of
from net.feed.events import FeedEvent
from net.observe.page import page_state
from net.observe.page.daemon_state import DaemonState
from net.observe.page.page_state import PageState, percentiles_us
from tests.net.observe.page.test_page import COUNTS, Served, config
from tests.net.rig import SECOND, Desk, binance_diff

FEED = {"venue": "binance", "symbol": "BTCUSDT"}


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setattr(page_state, "PERIOD_S", 0.0)
    served = Served()
    served.start()
    yield served
    served.page.close()


def look(state: PageState) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(state.look("BTC-USD"))
    return found


def bucket_of(value: int) -> int:
    return next(bucket for bucket in range(BUCKETS) if highest_of(bucket) >= value)


def test_percentiles_are_in_microseconds() -> None:
    counts = np.zeros(BUCKETS, np.int64)
    assert percentiles_us(Histogram(counts, 0, 0, 0)) is None
    counts[bucket_of(31)] = 99
    counts[bucket_of(20_000)] = 1
    found = percentiles_us(Histogram(counts, 0, 20_000, 0))
    assert found is not None
    assert (found["count"], found["p50"], found["p99"], found["max"]) == (100, 0.031, 0.031, 20.0)


def test_each_object_tells_what_came_since_the_last_one(served: Served) -> None:
    state = PageState(served.daemon)
    first = look(state)["venues"]
    assert first[0]["lag_us"] is None, "nothing came between the first look and itself"
    served.desk.now_ns += SECOND // 10
    served.desk.frame("binance", binance_diff(101, 101, [("100.00", "3")]))
    shown = look(state)
    assert [venue["frames"] for venue in shown["venues"]] == [2, 2]
    assert shown["venues"][0]["lag_us"]["count"] == 1 and shown["venues"][1]["lag_us"] is None
    assert look(state)["venues"][0]["lag_us"] is None


def test_all_who_look_within_a_moment_are_given_one_object(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_state, "PERIOD_S", 60.0)
    state = PageState(served.daemon)
    assert state.look("BTC-USD") is state.look("BTC-USD")


def test_another_generation_begins_anew(served: Served) -> None:
    state = PageState(served.daemon)
    look(state)
    served.desk = Desk(("binance",))
    served.start()
    shown = look(state)
    assert [venue["name"] for venue in shown["venues"]] == ["binance"]
    assert shown["venues"][0]["lag_us"] is None
    served.daemon.hide()
    assert "venues" not in look(state) and look(state)["health"] == ""


def test_the_older_trouble_of_a_book_comes_first_until_it_is_live() -> None:
    daemon = DaemonState(config(), COUNTS)
    assert daemon.trouble(**FEED) is None
    daemon.hear(FeedEvent.DISCONNECTED, {"venue": "binance", "reason": "refused"})
    daemon.hear(FeedEvent.BROKEN, {**FEED, "reason": "a gap\nof ids"})
    assert daemon.trouble(**FEED) == "disconnected: refused; broken: a gap of ids"
    daemon.hear(FeedEvent.DISCONNECTED, {"venue": "binance", "reason": "refused again"})
    assert daemon.trouble(**FEED) == "broken: a gap of ids; disconnected: refused again"
    daemon.hear(FeedEvent.BROKEN, FEED)
    daemon.hear(FeedEvent.RENEWING, {**FEED, "reason": "its age"})
    assert daemon.trouble("bitstamp", "btcusd") is None
    daemon.hear(FeedEvent.JOINED, FEED)
    assert daemon.trouble(**FEED) is None
