"""What is rehearsed must leave no trace, and be the frame's own path to its end."""

from __future__ import annotations

import asyncio
import time
from functools import partial

import pytest

from net.sockets.event_loop import new_event_loop
from net.sockets.rehearsal import EVERY_NS, Rehearsal, play_once
from tests.net.rig import Desk, binance_diff, bitstamp_diff
from tests.net.sockets.test_event_loop import loop_meters, loop_words

pytestmark = pytest.mark.kernel

PAD = [("99.50", "1"), ("99.40", "2"), ("99.30", "3")]
DIFFS = {"binance": binance_diff(95, 99, PAD), "bitstamp": bitstamp_diff(99, PAD)}


@pytest.mark.parametrize(("feed", "name"), list(enumerate(DIFFS)))
def test_a_rehearsal_publishes_each_time_and_only_for_itself(feed: int, name: str) -> None:
    desk = Desk()
    desk.go_live("binance")
    desk.go_live("bitstamp")
    before = (desk.engine.arena.tobytes(), desk.reader.published, desk.engine.counters(feed))
    rehearsal = Rehearsal(desk.engine)
    rehearsal.learn(DIFFS[name], feed)
    assert rehearsal.is_ready
    spare = rehearsal._spare
    assert spare is not None
    published = spare.reader().published
    for _ in range(5):
        play_once(rehearsal.address)
    assert spare.reader().published == published + 5
    assert desk.engine.arena.tobytes() == before[0]
    assert (desk.reader.published, desk.engine.counters(feed)) == before[1:]


def test_what_the_kernel_refuses_is_not_rehearsed() -> None:
    desk = Desk()
    rehearsal = Rehearsal(desk.engine)
    rehearsal.learn(binance_diff(95, 99, [("99.505", "1")]), 0)
    assert not rehearsal.is_ready, "a price off the tick"
    rehearsal.learn(b'{"result":null,"id":1}' + b" " * 200, 0)
    assert not rehearsal.is_ready
    rehearsal.learn(DIFFS["binance"], 0)
    assert rehearsal.is_ready


def test_the_idle_spin_rehearses() -> None:
    desk = Desk()
    rehearsal = Rehearsal(desk.engine)
    rehearsal.learn(DIFFS["binance"], 0)
    spare = rehearsal._spare
    assert spare is not None
    before = spare.reader().published
    words = loop_words(loop_meters())
    loop = partial(new_event_loop, "spin", words, lambda: None, rehearsal)
    started_s = time.monotonic()
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(asyncio.sleep(0.2))
    played = spare.reader().published - before
    passed_ns = (time.monotonic() - started_s) * 1e9
    assert 3 < played <= passed_ns / EVERY_NS + 1
