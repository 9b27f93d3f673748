"""How a venue's book becomes live and stops being it: every rule, by hand-driven time."""

from __future__ import annotations

import pytest

from engine.layout import status as S
from engine.layout.units import NS_PER_S
from engine.sharing.meters import Kind
from net.feed.events import FeedEvent
from net.feed.sync_limits import WITNESS_LIMIT_NS
from tests.net.rig import ASKS, BIDS, SECOND, Desk, binance_diff, bitstamp_diff, diff

pytestmark = pytest.mark.kernel


def test_frames_are_buffered_before_the_snapshot_is_asked_for() -> None:
    desk = Desk()
    desk.connect("binance")
    assert desk.state("binance") == "BUFFERING" and desk.asked == []
    assert desk.frame("binance", binance_diff(1, 3)) == S.BUFFER
    assert desk.asked == ["binance"] and desk.state("binance") == "SYNCING"
    assert desk.bids() == []


@pytest.mark.parametrize("snapshot_id", [99, 100, 104, 110])
def test_binance_joins_at_a_straddling_or_contiguous_event(snapshot_id: int) -> None:
    """Defect 1 of the field: the first event after the snapshot usually straddles it."""
    desk = Desk()
    desk.connect("binance")
    desk.frame("binance", binance_diff(100, 104, [("100.00", "7")]))
    desk.frame("binance", binance_diff(105, 110, [("99.99", "8")]))
    desk.answer("binance", snapshot_id)
    assert desk.state("binance") == "LIVE"
    wanted = {99: ("7", "8"), 100: ("7", "8"), 104: ("7", "8"), 110: ("1", "8")}[snapshot_id]
    assert [lots for _, _, lots in desk.bids()] == [int(q) * 10**8 for q in wanted]
    assert desk.frame("binance", binance_diff(111, 112, [("100.00", "9")])) == S.APPLIED
    assert desk.bids()[0] == ("binance", 10000, 9 * 10**8)


def test_a_snapshot_older_than_the_buffer_is_refused_and_fetched_again() -> None:
    desk = Desk()
    for name, first in (("binance", binance_diff(100, 104)), ("bitstamp", bitstamp_diff(100))):
        desk.connect(name)
        desk.frame(name, first)
        desk.answer(name, 98)
        assert desk.state(name) == "SYNCING" and desk.syncs[name].counters.snapshots_refused == 1
    desk.wait(1.0)
    assert sorted(desk.asked) == ["binance", "binance", "bitstamp", "bitstamp"]
    desk.answer("binance", 104)
    desk.answer("bitstamp", 100)
    assert desk.state("binance") == desk.state("bitstamp") == "LIVE"


def test_a_snapshot_ahead_of_the_stream_waits_for_it() -> None:
    desk = Desk()
    desk.connect("binance")
    desk.frame("binance", binance_diff(100, 104))
    desk.answer("binance", 108)
    assert desk.state("binance") == "SYNCING" and desk.bids() == []
    desk.frame("binance", binance_diff(105, 107))
    assert desk.state("binance") == "SYNCING"
    desk.frame("binance", binance_diff(108, 112, [("100.00", "5")]))
    assert desk.state("binance") == "LIVE" and desk.bids()[0][2] == 5 * 10**8


def test_a_snapshot_of_something_else_does_not_freeze_the_book() -> None:
    desk = Desk()
    desk.connect("binance")
    desk.frame("binance", binance_diff(100, 104))
    desk.answer("binance", 10**12)
    for number in range(30):
        desk.wait(1.0)
        desk.frame("binance", binance_diff(105 + number, 105 + number))
    assert desk.state("binance") == "SYNCING" and desk.bids() == []
    assert any(facts.get("reason") == "the stream never reached it" for _, _, facts in desk.notes)
    assert len(desk.asked) >= 2, "another one was asked for"


def test_an_empty_snapshot_is_refused() -> None:
    desk = Desk()
    desk.connect("binance")
    desk.frame("binance", binance_diff(100, 104))
    desk.answer("binance", 104, [], [])
    assert desk.state("binance") == "SYNCING"


def test_a_quiet_pair_goes_live_without_any_frame() -> None:
    desk = Desk()
    desk.connect("bitstamp")
    desk.wait(2.5)
    assert desk.asked == ["bitstamp"]
    desk.answer("bitstamp", 90)
    assert desk.state("bitstamp") == "LIVE"
    desk.frame("bitstamp", bitstamp_diff(100, [("100.00", "5")]))
    assert desk.bids()[0] == ("bitstamp", 10000, 5 * 10**8)


def test_a_snapshot_older_than_what_the_stream_has_brought_joins_no_empty_buffer() -> None:
    """Found by the simulation: after a break the stream fell quiet, and an old answer came."""
    desk = Desk(names=("bitstamp",))
    desk.go_live("bitstamp")
    desk.frame("bitstamp", bitstamp_diff(150, [("100.00", "5")]))
    desk.venues["bitstamp"].break_off("a whim", desk.now_ns)
    desk.wait(2.5)
    desk.answer("bitstamp", 120)
    assert desk.state("bitstamp") == "SYNCING" and desk.bids() == []
    desk.wait(1.0)
    desk.answer("bitstamp", 150, [("100.00", "5")])
    assert desk.state("bitstamp") == "LIVE"


def test_a_pair_is_not_called_quiet_before_its_subscription_is_acknowledged() -> None:
    """Found by the simulation: diffs between the snapshot and a late acknowledgement were lost."""
    desk = Desk(names=("bitstamp",))
    venue = desk.venues["bitstamp"]
    for is_moving in (False, True):
        if is_moving:
            venue.on_subscribing()
            venue.on_moved(desk.now_ns)
        else:
            venue.on_connecting(desk.now_ns)
            venue.on_subscribed(desk.now_ns)
        asked = len(desk.asked)
        desk.wait(8.0)
        assert len(desk.asked) == asked
        venue.on_acknowledged(desk.now_ns)
        desk.wait(2.5)
        assert len(desk.asked) == asked + 1
        desk.answer("bitstamp", 90)
        assert desk.state("bitstamp") == "LIVE"


def test_a_quiet_pair_shown_with_a_snapshot_of_something_else_is_not_frozen_for_long() -> None:
    """Found by the simulation: every diff was older than the book, until the next audit."""
    desk = Desk(names=("binance",))
    desk.connect("binance")
    desk.wait(2.5)
    desk.answer("binance", 10**12)
    assert desk.state("binance") == "LIVE", "nothing tells yet"
    states = []
    for number in range(20):
        desk.wait(1.0)
        desk.frame("binance", binance_diff(105 + number, 105 + number))
        states.append(desk.state("binance"))
    assert states[-1] in ("BUFFERING", "SYNCING") and desk.bids() == []
    assert states.index("LIVE") == 0 and states.count("LIVE") <= 16


def test_a_gap_withdraws_the_venue_at_once_and_the_other_goes_on() -> None:
    """Defect 2 of the field: any larger id was accepted, the old book was merged into."""
    desk = Desk()
    desk.go_live("binance")
    desk.go_live("bitstamp")
    assert {venue for venue, _, _ in desk.bids()} == {"binance", "bitstamp"}
    assert desk.frame("binance", binance_diff(102, 103, [("50.00", "66")])) == S.GAP
    assert desk.state("binance") != "LIVE" and desk.withdrawals == ["binance"]
    assert {venue for venue, _, _ in desk.bids()} == {"bitstamp"}
    desk.wait(1.0)
    desk.answer("binance", 103, [("50.00", "66")], [("51.00", "1")])
    assert desk.state("binance") == "LIVE"
    ghost = [row for row in desk.bids() if row[0] == "binance"]
    assert ghost == [("binance", 5000, 66 * 10**8)], "nothing of the old book is left"


@pytest.mark.parametrize("ratio", [0.05, 20])
@pytest.mark.parametrize("name", ["binance", "bitstamp"])
def test_another_markets_snapshot_is_not_shown_before_the_stream_gives_it_away(
    name: str, ratio: float
) -> None:
    """It has the very id of the last frame: nothing that follows could have crossed it yet."""
    desk = Desk()
    desk.connect(name)
    desk.frame(name, diff(name, 100, [], []))
    elsewhere = [
        [(f"{float(price) * ratio:.2f}", qty) for price, qty in each] for each in (BIDS, ASKS)
    ]
    desk.answer(name, 100, *elsewhere)
    assert desk.bids() == [], "nothing has confirmed it"
    # One side alone may agree with it.
    far, near = ([], [("100.02", "3")]) if ratio < 1 else ([("99.99", "3")], [])
    desk.frame(name, diff(name, 101, far, near))
    assert desk.bids() == []
    desk.frame(name, diff(name, 102, [("99.99", "4")], [("100.02", "4")]))
    assert desk.state(name) != "LIVE" and desk.bids() == []
    reasons = [
        facts.get("reason") for _, what, facts in desk.notes if what is FeedEvent.SNAPSHOT_REFUSED
    ]
    assert reasons == ["crossed by the frames that follow it"]


@pytest.mark.parametrize("name", ["binance", "bitstamp"])
def test_a_stream_that_speaks_of_one_side_only_is_waited_for_two_seconds(name: str) -> None:
    desk = Desk()
    desk.connect(name)
    desk.frame(name, diff(name, 100, [("99.99", "3")], []))
    desk.answer(name, 100)
    assert desk.state(name) == "SYNCING"
    desk.wait(WITNESS_LIMIT_NS / NS_PER_S + 0.1)
    assert desk.state(name) == "LIVE"
    assert desk.bids()[:2] == [(name, 10000, 10**8), (name, 9999, 3 * 10**8)]


def test_a_gap_while_buffering_starts_the_buffer_anew() -> None:
    desk = Desk()
    desk.connect("binance")
    desk.frame("binance", binance_diff(100, 104))
    desk.frame("binance", binance_diff(200, 204))
    desk.answer("binance", 104)
    assert desk.state("binance") != "LIVE", "its answer was for a buffer that is gone"
    desk.wait(1.0)
    desk.answer("binance", 202)
    assert desk.state("binance") == "LIVE"


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b'{"e":"depthUpdate"}',
        binance_diff(101, 102, [("-1", "1")]),
        binance_diff(101, 102, [("100.00", "1e99")]),
    ],
)
def test_a_refused_frame_is_counted_and_leads_to_a_resync(raw: bytes) -> None:
    """Defect 9 of the field: one malformed message ended the process."""
    desk = Desk()
    desk.go_live("binance")
    assert desk.frame("binance", raw) <= S.BAD_JSON
    assert desk.state("binance") == "BUFFERING" and desk.bids() == []
    assert desk.syncs["binance"].counters.refused_frames == 1
    desk.frame("binance", binance_diff(500, 501))
    desk.wait(1.0)
    desk.answer("binance", 501)
    assert desk.state("binance") == "LIVE"


def test_bitstamp_time_running_backwards_leads_to_a_resync() -> None:
    desk = Desk()
    desk.go_live("bitstamp")
    assert desk.frame("bitstamp", bitstamp_diff(100)) == S.SAME_TIME
    assert desk.state("bitstamp") == "LIVE", "a duplicate is harmless"
    desk.frame("bitstamp", bitstamp_diff(150))
    assert desk.frame("bitstamp", bitstamp_diff(149)) == S.BACKWARDS
    assert desk.state("bitstamp") == "BUFFERING"


def test_a_lastingly_crossed_book_is_withdrawn() -> None:
    desk = Desk()
    desk.go_live("bitstamp")
    desk.frame("bitstamp", bitstamp_diff(101, [("101.00", "1")]))
    assert desk.state("bitstamp") == "LIVE", "for a frame or two it may be so"
    for micro in (102, 103, 104):
        desk.frame("bitstamp", bitstamp_diff(micro, [("90.00", str(micro))]))
    assert desk.state("bitstamp") == "BUFFERING" and desk.bids() == []


def test_silence_makes_the_book_stale_without_any_frame_arriving() -> None:
    """Defect 4 of the field: eviction ran only when some book arrived."""
    desk = Desk()
    desk.go_live("binance")
    desk.wait(4.9)
    assert desk.state("binance") == "LIVE" and desk.bids()
    desk.wait(0.3)
    assert desk.state("binance") == "STALE" and desk.bids() == []
    assert desk.frame("binance", binance_diff(101, 102, [("100.00", "3")])) == S.RESUMED
    assert desk.state("binance") == "LIVE" and desk.bids()[0][2] == 3 * 10**8


def test_a_connection_that_brings_nothing_is_silent_even_where_a_feed_waits_for_its_stream() -> (
    None
):
    """Found by the simulation: SYNCING beside STALE, and the connection was never renewed."""
    desk = Desk(names=("binance",))
    venue = desk.venues["binance"]
    desk.connect("binance")
    desk.frame("binance", binance_diff(100, 104))
    desk.answer("binance", 110)
    desk.wait(14.0)
    assert desk.state("binance") == "SYNCING" and not venue.is_silent(desk.now_ns, 15 * SECOND)
    desk.wait(2.0)
    assert desk.state("binance") == "SYNCING" and venue.is_silent(desk.now_ns, 15 * SECOND)
    venue.on_lost("cut", desk.now_ns)
    desk.connect("binance")
    assert not venue.is_silent(desk.now_ns, 15 * SECOND), "the silence of the one before"


def test_a_gap_after_silence_is_still_a_gap() -> None:
    desk = Desk()
    desk.go_live("binance")
    desk.wait(6.0)
    assert desk.frame("binance", binance_diff(150, 151)) == S.GAP
    assert desk.state("binance") in ("BUFFERING", "SYNCING")


def test_an_audit_that_agrees_renews_the_book_without_withdrawing_it() -> None:
    desk = Desk(names=("bitstamp",))
    desk.go_live("bitstamp")
    micro, sequences = 100, []
    while desk.syncs["bitstamp"].counters.audits_passed == 0:
        desk.wait(1.0)
        micro += 1
        desk.frame("bitstamp", bitstamp_diff(micro))
        if desk.syncs["bitstamp"].is_asking:
            desk.answer("bitstamp", micro)
        sequences.append(desk.state("bitstamp"))
        assert len(sequences) < 400
    assert set(sequences) == {"LIVE"}
    assert desk.reader.sequence(0) == 4, "connect, subscribe, ask, live: nothing since"


def test_an_audit_that_differs_withdraws_the_book() -> None:
    desk = Desk(names=("bitstamp",))
    desk.go_live("bitstamp")
    micro = 100
    while desk.state("bitstamp") == "LIVE":
        desk.wait(1.0)
        micro += 1
        desk.frame("bitstamp", bitstamp_diff(micro))
        if desk.syncs["bitstamp"].is_asking:
            desk.answer("bitstamp", micro, [("100.00", "1.00000001"), BIDS[1]])
        assert micro < 600
    assert desk.syncs["bitstamp"].counters.audits_failed == 1 and desk.bids() == []


def test_answers_that_come_late_are_ignored() -> None:
    desk = Desk()
    desk.connect("binance")
    desk.frame("binance", binance_diff(100, 104))
    desk.venues["binance"].on_lost("cut", desk.now_ns)
    desk.answer("binance", 104)
    assert desk.state("binance") == "DISCONNECTED" and desk.bids() == []
    desk.connect("binance")
    desk.frame("binance", binance_diff(300, 301))
    assert desk.asked == ["binance", "binance"]


def test_retry_after_is_honoured() -> None:
    desk = Desk()
    desk.connect("binance")
    desk.frame("binance", binance_diff(100, 104))
    desk.fail("binance", "HTTP 429", 20 * 10**9)
    desk.wait(19.5)
    assert desk.asked == ["binance"]
    desk.wait(1.0)
    assert desk.asked == ["binance", "binance"]


def test_repeated_breaks_wait_longer_and_longer_for_the_next_snapshot() -> None:
    desk = Desk()
    desk.connect("binance")
    last = 100
    for _ in range(200):
        last += 10
        desk.frame("binance", binance_diff(last, last))
        if desk.syncs["binance"].is_asking:
            desk.answer("binance", last)
        desk.wait(0.1)
    assert desk.syncs["binance"].counters.gaps > 150
    assert len(desk.asked) < 25, "no storm of snapshots in 20 s"


def test_refused_frames_do_not_hasten_the_request_for_a_book_that_was_never_shown() -> None:
    """Seed 254: each began the back-off anew, and two a second were asked for."""
    desk = Desk()
    desk.connect("binance")
    for number in range(100, 400):
        desk.frame("binance", binance_diff(number, number))
        if desk.syncs["binance"].is_asking:
            desk.fail("binance", "not JSON")
        desk.frame("binance", b"{}x")
        desk.wait(0.1)
    assert desk.syncs["binance"].counters.refused_frames == 300
    assert len(desk.asked) < 15, "no storm of snapshots in 30 s"


def test_control_messages() -> None:
    desk = Desk()
    desk.go_live("binance")
    desk.go_live("bitstamp")
    desk.frame("binance", b'{"result":null,"id":1}')
    desk.frame("binance", b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}')
    desk.frame("bitstamp", b'{"event":"bts:request_reconnect","channel":"","data":""}')
    desk.frame("bitstamp", b'{"event":"bts:error","channel":"","data":{"message":"Bad"}}')
    desk.frame("bitstamp", b'{"event":"trade","channel":"live_trades_btcusd","data":{}}')
    assert desk.reconnects == ["binance", "bitstamp"] and desk.acknowledgements == 1
    assert ("bitstamp", FeedEvent.VENUE_ERROR, {"text": "Bad"}) in desk.notes
    assert desk.state("binance") == desk.state("bitstamp") == "LIVE"
    # A diff that lost its name cannot be told from silence on Bitstamp: it must not be passed over.
    desk.frame("bitstamp", b'{"data":{"microtimestamp":"200","bids":[],"asks":[]}}')
    assert desk.state("bitstamp") == "BUFFERING"


def test_what_sessions_and_venues_count_is_found_in_the_engines_meters() -> None:
    desk = Desk()
    reader = desk.engine.meters.reader()

    def counted(venue: str) -> dict[str, int]:
        """Whatever is rare and has happened; a refused frame by its reason."""
        return {
            each.labels.get("reason", each.name): count
            for each in reader.series
            if each.labels.get("venue") == venue
            and each.kind is Kind.COUNTER
            and each.name not in ("frames", "frame", "levels", "unknown_deletes")
            and (count := reader.value(each))
        }

    desk.go_live("binance")
    desk.go_live("bitstamp")
    assert counted("binance") == counted("bitstamp") == {"snapshots_asked": 1}
    desk.frame("binance", binance_diff(200, 201))
    desk.frame("binance", b'{"e":"depthUpdate"}')
    desk.frame("binance", binance_diff(301, 302, [("0.00", "1")]))
    desk.frame("binance", binance_diff(303, 304, [("0.00", "1")]))
    desk.fail("bitstamp", "not asked for")
    desk.venues["bitstamp"].on_binary(desk.now_ns)
    desk.frame("bitstamp", b'{"who":"knows"}')
    desk.frame("bitstamp", b'{"who":"knows"}')
    for _ in range(3):
        desk.frame("bitstamp", bitstamp_diff(101).replace(b"btcusd", b"ethusd"))
    assert counted("binance") == {
        "snapshots_asked": 1, "gaps": 1, "resyncs": 4, S.TEXTS[S.BAD_SCHEMA]: 1,
        S.TEXTS[S.BAD_PRICE]: 2,
    }  # fmt: skip
    assert counted("bitstamp") == {
        "snapshots_asked": 1, "binary_frames": 1, "not_understood": 2, "other_symbols": 3,
        "resyncs": 3,
    }  # fmt: skip
    counters = desk.syncs["binance"].counters
    assert (counters.refused_frames, counters.refused[S.BAD_PRICE], counters.gaps) == (3, 2, 1)


def test_reconnecting_starts_from_nothing() -> None:
    desk = Desk()
    desk.go_live("binance")
    desk.venues["binance"].on_lost("cut", desk.now_ns)
    assert desk.bids() == [] and desk.asks() == []
    desk.connect("binance")
    desk.frame("binance", binance_diff(7, 9))
    desk.wait(0.1)
    desk.answer("binance", 9, [("1.00", "1")], ASKS)
    assert desk.bids() == [("binance", 100, 10**8)]


def test_leaving_the_known_depth_is_said_and_asks_for_a_fresh_book() -> None:
    desk = Desk(names=("binance",))
    deep = [(f"{100 - i}.00", "1") for i in range(5)]
    desk.connect("binance")
    desk.frame("binance", binance_diff(95, 100))
    desk.answer("binance", 100, deep, ASKS)
    assert desk.engine.is_incomplete(0), "five levels were all we were given"
    last = 100
    while len(desk.asked) < 2:
        desk.wait(1.0)
        last += 1
        desk.frame("binance", binance_diff(last, last))
        assert last < 150
    desk.answer("binance", last, [*deep, ("90.00", "4")], ASKS)
    assert desk.state("binance") == "LIVE"
    assert ("binance", 9000, 4 * 10**8) in desk.bids(), "the fresh book knows more depth"
