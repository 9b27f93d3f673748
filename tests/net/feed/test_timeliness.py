"""What a frame's time says of it, and what becomes of a book whose frames are late."""

from __future__ import annotations

import pytest

from engine.layout.layout import ANY_LAG_NS
from net.feed.timeliness import (
    EARLY_FRAMES,
    EARLY_NS,
    FEW_FRAMES,
    GIVE_UP_NS,
    PEER_NS,
    Timeliness,
    Timing,
)
from tests.net.rig import SECOND, Desk, binance_diff, bitstamp_diff

MS = SECOND // 1000
STEADY_NS = 5 * SECOND
"""Of a host that has just started: steady time has nothing to do with the venue's."""
VENUE_NS = 1_700_000_000 * SECOND


class Feed:
    """A feed's frames at this host, whose wall clock is ahead by so much."""

    def __init__(self, late_after_ms: int = 2000, wall_ahead_ns: int = 0) -> None:
        self.timeliness = Timeliness(late_after_ms)
        self.now_ns = 0
        self._wall_ahead_ns = wall_ahead_ns

    def take(self, after_ns: int, lag_ns: int) -> Timing:
        """A frame that arrives after so much more time, and was so long on its way."""
        self.now_ns += after_ns
        sent_ns = VENUE_NS + self.now_ns - lag_ns
        stamp_ns = sent_ns + lag_ns + self._wall_ahead_ns
        return self.timeliness.take(sent_ns, stamp_ns, STEADY_NS + self.now_ns)


@pytest.mark.parametrize("wall_ahead_s", [-86_400, -10, 0, 10, 86_400])
def test_a_wrong_clock_alone_is_no_alarm_and_hides_none(wall_ahead_s: int) -> None:
    feed = Feed(wall_ahead_ns=wall_ahead_s * SECOND)
    for _ in range(EARLY_FRAMES - 1):
        feed.take(100 * MS, 20 * MS)
    for _ in range(50):
        assert feed.take(100 * MS, 20 * MS) is Timing.GOOD
    assert feed.take(100 * MS, 1900 * MS) is Timing.GOOD
    for _ in range(50):
        assert feed.take(100 * MS, 15 * SECOND) is Timing.LATE
    assert feed.timeliness.is_late and feed.timeliness.excess_ns > 14 * SECOND
    assert feed.take(100 * MS, 30 * MS) is Timing.GOOD and not feed.timeliness.is_late


def test_frames_that_a_wrong_wall_clock_took_for_early_show_a_late_one() -> None:
    """Simulation seed 12321: the third frame had waited 4 s."""
    feed = Feed(wall_ahead_ns=-30 * SECOND)
    for _ in range(EARLY_FRAMES - 1):
        assert feed.take(100 * MS, 20 * MS) is Timing.EARLY
    assert feed.take(7 * SECOND, 4 * SECOND) is Timing.LATE
    assert feed.take(100 * MS, 20 * MS) is Timing.GOOD


def test_a_new_feeds_first_frames_are_held_against_the_venues_other_feeds() -> None:
    """Simulation seeds 14057 and 15665: a feed whose very first frame had waited."""
    known, new = Feed(), Feed()
    new.timeliness.peers = (known.timeliness,)
    for _ in range(FEW_FRAMES - 1):
        known.take(100 * MS, 20 * MS)
    new.now_ns = known.now_ns
    assert new.take(0, 3 * SECOND) is Timing.GOOD, "the other does not know itself yet"
    known.take(0, 20 * MS)
    assert new.take(0, 3 * SECOND) is Timing.LATE
    for _ in range(FEW_FRAMES):
        assert new.take(100 * MS, 30 * MS) is Timing.GOOD
    # From here on it is by itself: a venue whose clock was set is known feed by feed.
    silent, late = Feed(), Feed()
    late.timeliness.peers = (silent.timeliness,)
    for _ in range(FEW_FRAMES):
        silent.take(0, 20 * MS)
    assert late.take(PEER_NS + SECOND, 3 * SECOND) is Timing.GOOD


@pytest.mark.parametrize("wall_ahead_s", [86_400, 60])
def test_one_frame_from_the_future_is_no_measure_where_the_wall_clock_is_wrong(
    wall_ahead_s: int,
) -> None:
    """Simulation seed 15674: every frame after it was late for hours."""
    feed = Feed(wall_ahead_ns=wall_ahead_s * SECOND)
    for _ in range(10):
        assert feed.take(100 * MS, 20 * MS) is Timing.GOOD
    assert feed.take(100 * MS, -4 * SECOND) is Timing.GOOD
    assert feed.take(100 * MS, 20 * MS) is Timing.GOOD and feed.timeliness.excess_ns < MS
    for _ in range(EARLY_FRAMES):
        assert feed.take(100 * MS, -4 * SECOND) is Timing.GOOD
    assert feed.take(100 * MS, 20 * MS) is Timing.LATE, "so many in a row: a clock was set"


def test_a_feed_that_stays_late_stays_late() -> None:
    feed = Feed()
    feed.take(0, 20 * MS)
    for _ in range(3600):
        assert feed.take(SECOND, 15 * SECOND) is Timing.LATE


def test_a_backlog_that_is_worked_off_is_not_from_the_future() -> None:
    """As the recorded ten Bitstamp pairs begin: six seconds late, then at once in time."""
    feed = Feed()
    assert feed.take(0, 6 * SECOND) is Timing.GOOD, "nothing is known yet"
    assert feed.take(100 * MS, 5 * SECOND) is Timing.GOOD
    assert feed.take(100 * MS, -50 * MS) is Timing.GOOD
    assert feed.take(100 * MS, 3 * SECOND) is Timing.LATE


def test_one_frame_from_the_future_is_early_and_a_venue_that_set_its_clock_is_believed() -> None:
    feed = Feed()
    feed.take(0, 20 * MS)
    assert feed.take(100 * MS, -EARLY_NS - 30 * MS) is Timing.EARLY
    assert feed.take(100 * MS, 20 * MS) is Timing.GOOD
    for _ in range(EARLY_FRAMES - 1):
        assert feed.take(100 * MS, -3600 * SECOND) is Timing.EARLY
    assert feed.take(100 * MS, -3600 * SECOND) is Timing.GOOD


def test_frames_from_the_future_that_were_believed_do_not_make_the_next_ones_late() -> None:
    """A few bogus times in a row silenced a feed for ten minutes."""
    feed = Feed()
    feed.take(0, 20 * MS)
    for _ in range(EARLY_FRAMES):
        feed.take(100 * MS, -3600 * SECOND)
    assert feed.take(100 * MS, 20 * MS) is Timing.GOOD
    assert feed.take(100 * MS, 3 * SECOND) is Timing.LATE


def test_a_venue_that_set_its_clock_back_is_believed_after_a_while() -> None:
    feed = Feed()
    for _ in range(EARLY_FRAMES):
        feed.take(0, -10 * SECOND)
    while feed.now_ns < GIVE_UP_NS:
        assert feed.take(SECOND, 20 * MS) is Timing.LATE
    assert feed.take(2 * SECOND, 20 * MS) is Timing.GOOD, "by the wall clock it is in time"


def test_an_absurd_first_time_is_no_measure_for_those_that_follow() -> None:
    feed = Feed()
    assert feed.take(0, -(2**62)) is Timing.EARLY
    for _ in range(10):
        assert feed.take(100 * MS, 20 * MS) is Timing.GOOD
    assert feed.take(100 * MS, 3 * SECOND) is Timing.LATE


def test_zero_switches_it_off_and_a_venue_without_times_is_never_late() -> None:
    feed = Feed(late_after_ms=0)
    feed.take(0, 20 * MS)
    assert feed.take(100 * MS, 900 * SECOND) is Timing.GOOD
    assert feed.take(100 * MS, -900 * SECOND) is Timing.GOOD
    assert feed.timeliness.lag_bounds_ns(VENUE_NS, STEADY_NS) is None
    assert Timeliness(2000).take(0, STEADY_NS, 0) is Timing.GOOD


def test_the_bounds_follow_the_wall_clock() -> None:
    feed, other = Feed(), Feed()

    def bounds(ahead_ns: int = 0) -> tuple[int, int] | None:
        return feed.timeliness.lag_bounds_ns(VENUE_NS + ahead_ns, STEADY_NS)

    feed.timeliness.peers = (other.timeliness,)
    assert bounds() == (-EARLY_NS, ANY_LAG_NS), "nothing is known yet, but the future (seed 31269)"
    for _ in range(FEW_FRAMES):
        other.take(0, 50 * MS)
    assert bounds() == (-EARLY_NS, 2050 * MS), "as the venue's other feeds (seed 32498)"
    feed.take(0, 20 * MS)
    assert bounds() == (-EARLY_NS, 2020 * MS)
    assert bounds(3600 * SECOND) == (-EARLY_NS, 3602 * SECOND + 20 * MS)
    feed.take(0, 3 * SECOND)
    assert bounds() is None, "late: every frame is looked at"


def test_a_backlog_that_is_not_quite_worked_off_lowers_the_best() -> None:
    """Seed 34771: eight seconds late from the first frame on, then three, by a right wall clock."""
    feed = Feed()
    for _ in range(5):
        assert feed.take(100 * MS, 8 * SECOND) is Timing.GOOD
    assert feed.take(100 * MS, 3 * SECOND) is Timing.GOOD
    assert feed.take(100 * MS, 8 * SECOND) is Timing.LATE


# --- a book whose frames are late ----------------------------------------------------------------


def timely_desk() -> Desk:
    desk = Desk(late_after_ms=2000)
    desk.connect("bitstamp")
    send(desk, 0)
    desk.answer("bitstamp", desk.now_ns // 1000)
    for _ in range(20):
        desk.wait(0.1)
        send(desk, 0)
    assert desk.state("bitstamp") == "LIVE"
    return desk


def send(desk: Desk, age_ns: int) -> int:
    desk.now_ns += 1000  # no two of one microsecond
    return desk.frame("bitstamp", bitstamp_diff((desk.now_ns - age_ns) // 1000))


def test_a_feed_that_falls_behind_is_stale_with_that_reason_until_it_has_caught_up() -> None:
    """Issue 13.2. Seen: a feed steadily 15 s behind was LIVE with a receive age of 0.1 s."""
    desk = timely_desk()
    desk.wait(16.0)  # held up: the next frames were sent since
    for behind in range(15, 2, -1):
        send(desk, behind * SECOND)
        assert desk.state("bitstamp") == "STALE" and desk.bids() == [], behind
        desk.wait(0.1)
    send(desk, SECOND)
    assert desk.state("bitstamp") == "LIVE"


def test_what_has_waited_is_not_shown_before_the_timer_has_looked() -> None:
    """After SIGCONT the backlog comes first: no frame of it may be published as live."""
    desk = timely_desk()
    before = desk.reader.sequence(0)
    desk.now_ns += 4 * SECOND
    send(desk, 3 * SECOND)
    assert desk.state("bitstamp") == "STALE" and desk.bids() == []
    assert desk.reader.sequence(0) == before + 1, "published once: without the venue"
    reasons = [str(facts["reason"]) for _, _, facts in desk.notes if "late_ms" in facts]
    assert reasons in ([f"its frames are {late} s later than the best"] for late in ("2.9", "3.0"))


@pytest.mark.parametrize("step_s", [-3600, -30, 30, 3600])
def test_a_set_wall_clock_makes_no_feed_late(step_s: int) -> None:
    desk = timely_desk()
    desk.wall_step_ns = step_s * SECOND
    for _ in range(5):
        send(desk, 0)
        assert desk.state("bitstamp") == "LIVE"
        desk.wait(0.1)
    assert desk.syncs["bitstamp"].counters.resyncs == 0


def test_a_late_feed_does_not_become_live_by_joining() -> None:
    desk = timely_desk()
    send(desk, 0)
    desk.venues["bitstamp"].break_off("a whim", desk.now_ns)
    desk.wait(5.0)
    send(desk, 4 * SECOND)
    desk.wait(0.1)
    desk.answer("bitstamp", (desk.now_ns - 4 * SECOND) // 1000)
    assert desk.state("bitstamp") == "SYNCING" and desk.bids() == []
    send(desk, 0)
    desk.wait(0.1)
    assert desk.state("bitstamp") == "LIVE"


def test_one_diff_from_the_future_costs_a_resync_and_does_not_silence_the_feed() -> None:
    """Issue 13.6. Seen: every later diff was old, as long as the connection lived."""
    desk = timely_desk()
    send(desk, -3600 * SECOND)
    assert desk.state("bitstamp") == "BUFFERING" and desk.withdrawals == ["bitstamp"]
    desk.wait(0.2)
    send(desk, 0)
    desk.wait(1.0)
    send(desk, 0)
    desk.answer("bitstamp", desk.now_ns // 1000)
    assert desk.state("bitstamp") == "LIVE"


def test_a_frame_from_the_future_behind_a_late_one_resumes_nothing() -> None:
    """Seed 454: the bounds were lifted for the late one, and the next in the same read passed."""
    desk = timely_desk()
    desk.wait(6.0)
    assert desk.state("bitstamp") == "STALE"
    send(desk, 3 * SECOND)
    send(desk, -3600 * SECOND)
    assert desk.state("bitstamp") == "BUFFERING" and desk.bids() == []


def test_a_frame_from_the_future_behind_the_one_that_resumes_is_refused() -> None:
    """Seed 25418: the bounds stayed lifted until the next timer, and it came in the same read."""
    desk = timely_desk()
    desk.wait(6.0)
    send(desk, 3 * SECOND)
    assert desk.state("bitstamp") == "STALE"
    send(desk, 20 * MS)
    assert desk.state("bitstamp") == "LIVE"
    send(desk, -3600 * SECOND)
    assert desk.state("bitstamp") == "BUFFERING" and desk.bids() == []


def test_an_absurd_time_resumes_no_book_that_was_withdrawn_for_lateness() -> None:
    """Seed 2600: where ids are the order such a frame is applied, but its time proves nothing."""
    desk = Desk(late_after_ms=2000, names=("binance",))
    desk.connect("binance")
    now_ms = desk.now_ns // 10**6
    desk.frame("binance", binance_diff(100, 100, time_ms=now_ms))
    desk.answer("binance", 100)
    for last in range(101, 121):
        desk.wait(0.1)
        desk.frame("binance", binance_diff(last, last, time_ms=desk.now_ns // 10**6))
    assert desk.state("binance") == "LIVE"
    desk.wait(6.0)
    for last, ahead_ms in ((121, -5000), (122, 3_600_000)):
        time_ms = desk.now_ns // 10**6 + ahead_ms
        desk.frame("binance", binance_diff(last, last, time_ms=time_ms))
        assert desk.state("binance") == "STALE"
    desk.frame("binance", binance_diff(123, 123, time_ms=desk.now_ns // 10**6))
    assert desk.state("binance") == "LIVE"


def test_a_time_that_was_believed_and_is_taken_back_bars_no_frame_for_ever() -> None:
    """Seed 367: every later one was older, and none began the stream anew."""
    desk = timely_desk()
    for _ in range(EARLY_FRAMES):
        send(desk, -3600 * SECOND)
    for _ in range(100):
        desk.wait(0.1)
        send(desk, 0)
        if desk.syncs["bitstamp"].is_asking:
            desk.answer("bitstamp", desk.now_ns // 1000)
    assert desk.state("bitstamp") == "LIVE"


def test_another_change_of_the_same_microsecond_is_applied_and_audited_at_once() -> None:
    """Issue 13.6. Seen: it was dropped as old, and the book wrong for up to 180 s."""
    desk = timely_desk()
    desk.wait(0.1)
    stamp = desk.now_ns // 1000
    desk.frame("bitstamp", bitstamp_diff(stamp, [("100.00", "5")]))
    asked = len(desk.asked)
    desk.frame("bitstamp", bitstamp_diff(stamp, [("100.00", "6")]))
    assert desk.bids()[0] == ("bitstamp", 10000, 6 * 10**8)
    desk.wait(0.1)
    send(desk, 0)
    assert len(desk.asked) == asked + 1, "compared with a fresh book at once"
