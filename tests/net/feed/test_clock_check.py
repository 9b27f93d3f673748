"""Clocks and beats in virtual time: what lasts is told once, what passes is not told at all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from engine.layout.units import NS_PER_MS, NS_PER_S
from net.feed.clock_check import (
    HOLD_NS,
    LAG_NS_MAX,
    LAG_NS_MIN,
    LATE_NS_MIN,
    RECENT_NS,
    Beats,
    ClockCheck,
    HostCheck,
)
from tests.net.rig import START_NS, Desk, binance_diff

PERIOD_NS = 50 * NS_PER_MS
FRAME_NS = 100 * NS_PER_MS


class Told(list[tuple[str, str, dict[str, object]]]):
    """What was logged."""

    def log(self, level: str, event: str, **facts: object) -> None:
        self.append((level, event, facts))


class Watched(Desk):
    """A desk whose Binance sends a frame every 100 ms, its clock off by what is said."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.told = Told()
        self.host_check = HostCheck(self.engine, self.told.log, PERIOD_NS)
        self.steady_ns, self.last_id = NS_PER_S, 100
        self.now_ns = START_NS + FRAME_NS
        self.go_live("binance")

    def send(self, seconds: float, lag_ns: int = 0) -> None:
        """Frames for so long, each looked at twice."""
        for _ in range(int(seconds * NS_PER_S) // FRAME_NS):
            self.last_id += FRAME_NS // NS_PER_MS
            self.now_ns = START_NS + self.last_id * NS_PER_MS + lag_ns
            first = self.last_id - FRAME_NS // NS_PER_MS + 1
            self.frame("binance", binance_diff(first, self.last_id))
            self.look()
            self.look()

    def look(self) -> None:
        self.steady_ns += PERIOD_NS
        self.host_check.look(self.steady_ns)

    @property
    def is_off(self) -> bool:
        return self.host_check.clocks[0].is_off


@pytest.fixture
def desk() -> Iterator[Watched]:
    desk = Watched()
    yield desk
    desk.engine.close()


@pytest.mark.parametrize(
    ("lag_ns", "words"),
    [(LAG_NS_MAX + NS_PER_MS, "1.001 s behind"), (LAG_NS_MIN - NS_PER_MS, "0.101 s ahead of")],
)
def test_a_clock_that_stays_off_is_told_once_and_so_is_its_end(
    desk: Watched, lag_ns: int, words: str
) -> None:
    names = {"instrument": "BTC-USD", "venue": "binance", "symbol": "BTCUSDT"}
    desk.send(HOLD_NS / NS_PER_S, lag_ns)
    assert not desk.is_off and desk.told == []
    desk.send(5, lag_ns)
    assert desk.is_off
    [(level, event, facts)] = desk.told
    assert (level, event) == ("warning", "clock off")
    reason = str(facts.pop("reason"))
    assert reason.startswith(f"its times are {words} this host's clock; timedatectl")
    assert facts == {**names, "lag_ms": lag_ns // NS_PER_MS}
    desk.send(1)
    assert desk.is_off, "one second proves nothing"
    desk.send(5)
    assert not desk.is_off
    assert desk.told[1:] == [("info", "clock agrees again", {**names, "lag_ms": 0})]


@pytest.mark.parametrize("lag_ns", [LAG_NS_MAX, LAG_NS_MIN])
def test_within_the_bounds_nothing_is_told(desk: Watched, lag_ns: int) -> None:
    desk.send(10, lag_ns)
    assert desk.told == []


def test_late_frames_among_others_are_no_clock(desk: Watched) -> None:
    for _ in range(5):
        desk.send(1.5, 3 * NS_PER_S)
        desk.send(0.1)
    assert desk.told == []


def test_one_late_frame_that_is_looked_at_for_long_is_no_clock(desk: Watched) -> None:
    desk.send(0.1, 3 * NS_PER_S)
    for _ in range(200):
        desk.look()
    assert desk.told == []


def test_a_feed_that_is_not_live_is_not_judged(desk: Watched) -> None:
    desk.send(5, 3 * NS_PER_S)
    assert desk.is_off
    desk.frame("binance", b'{"stream":')
    desk.look()
    assert not desk.is_off and len(desk.told) == 1


@pytest.mark.parametrize("step_s", [-3600, -30, 30, 3600])
def test_a_clock_that_is_set_meanwhile_is_found_off_when_frames_have_said_so_for_long(
    step_s: int,
) -> None:
    """Issue 13.1: how long is told by the steady clock, not by the one that is set."""
    clock = ClockCheck()
    assert not clock.take(3 * NS_PER_S, 10_000 * NS_PER_S, NS_PER_S)
    assert not clock.take(2 * NS_PER_S, (10_001 + step_s) * NS_PER_S, 2 * NS_PER_S)
    assert clock.take(2 * NS_PER_S, (10_002 + step_s) * NS_PER_S, 3 * NS_PER_S)


def test_a_late_beat_is_told_with_how_late_and_how_often(desk: Watched) -> None:
    desk.look()
    desk.steady_ns += 700 * NS_PER_MS
    desk.look()
    desk.steady_ns += LATE_NS_MIN
    desk.look()
    assert [each[:2] for each in desk.told] == [("warning", "engine held up")] * 2
    facts = dict(desk.told[1][2])
    assert "pollux doctor" in str(facts.pop("reason"))
    assert facts == {"late_ms": 100, "longest_ms": 700, "times_in_last_minute": 2}


def test_beats_are_counted_for_ever_and_shown_for_a_minute() -> None:
    beats, now_ns = Beats(PERIOD_NS), 5 * NS_PER_S
    assert beats.take(now_ns) == 0, "the first has nothing before it"
    for late_ns in (0, LATE_NS_MIN - 1, -PERIOD_NS):
        now_ns += PERIOD_NS + late_ns
        assert beats.take(now_ns) == 0
    now_ns += PERIOD_NS + NS_PER_S
    assert beats.take(now_ns) == NS_PER_S
    assert beats.recent(now_ns + RECENT_NS - 1) == (1, NS_PER_S)
    assert beats.recent(now_ns + RECENT_NS) == (0, 0)
    for _ in range(5000):
        now_ns += PERIOD_NS + LATE_NS_MIN
        assert beats.take(now_ns) == LATE_NS_MIN
    times, longest_ns = beats.recent(now_ns)
    assert times == RECENT_NS // (PERIOD_NS + LATE_NS_MIN) and longest_ns == LATE_NS_MIN
    assert len(beats._late) == times, "no more is kept"
    assert beats.late_count == 5001
