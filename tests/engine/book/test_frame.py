"""What becomes of a frame: joins, gaps, states, routing, publication, the spare book."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.layout import layout as L
from engine.layout import status as S
from engine.specs import InstrumentSpec
from tests import oracle
from tests.engine.rig import (
    Rig,
    binance_frame,
    binance_snapshot,
    binance_spec,
    bitstamp_frame,
    bitstamp_snapshot,
    bitstamp_spec,
)

ONE = [("100.00", "1")]
WAITING = (L.DISCONNECTED, L.CONNECTING, L.BUFFERING, L.SYNCING)


def live_binance(snapshot_id: int = 100) -> Rig:
    rig = Rig.single(binance_spec())
    rig.start(binance_snapshot(snapshot_id, [("99.00", "1")], [("101.00", "1")]))
    return rig


def live_bitstamp() -> Rig:
    rig = Rig.single(bitstamp_spec())
    rig.start(bitstamp_snapshot(100, [("99.00", "1")], [("101.00", "1")]))
    return rig


# --- joining and following -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first_id", "last_id", "wanted"),
    [
        (90, 99, S.OLD),
        (99, 100, S.OLD),
        (100, 100, S.OLD),
        (95, 105, S.APPLIED),  # straddles the snapshot: the documented join
        (100, 101, S.APPLIED),
        (101, 101, S.APPLIED),
        (101, 105, S.APPLIED),  # contiguous: equally valid
        (102, 105, S.GAP),
        (200, 205, S.GAP),
    ],
)
def test_binance_joins_at_the_snapshot(first_id: int, last_id: int, wanted: int) -> None:
    rig = Rig.single(binance_spec())
    frame = binance_frame(first_id, last_id, ONE)
    assert rig.start(binance_snapshot(100), [frame]) == [wanted]
    assert rig.engine.book_id(0) == (last_id if wanted == S.APPLIED else 100)
    live = live_binance()
    assert live.feed(frame) == wanted
    assert live.engine.book_id(0) == (last_id if wanted == S.APPLIED else 100)
    assert (10_000 in live.levels(0)) == (wanted == S.APPLIED)


@pytest.mark.parametrize(
    ("first_id", "last_id", "wanted"),
    [
        (111, 111, S.APPLIED),
        (111, 120, S.APPLIED),
        (105, 112, S.APPLIED),  # overlap: absolute amounts make it harmless
        (101, 110, S.OLD),
        (110, 110, S.OLD),
        (1, 2, S.OLD),
        (112, 120, S.GAP),
        (10**17, 10**17, S.GAP),
        (10**18, 10**18, S.BAD_SCHEMA),
    ],
)
def test_binance_follows_its_stream(first_id: int, last_id: int, wanted: int) -> None:
    rig = live_binance()
    assert rig.feed(binance_frame(101, 110, ONE)) == S.APPLIED
    frame = binance_frame(first_id, last_id, [("100.00", "7")])
    assert rig.feed(frame) == wanted
    is_applied = wanted == S.APPLIED
    assert rig.engine.book_id(0) == (last_id if is_applied else 110)
    assert rig.levels(0)[10_000] == (7 if is_applied else 1) * 10**8
    assert rig.engine.counters(0).old == (wanted == S.OLD)


@pytest.mark.parametrize(
    ("stamp", "wanted"),
    [
        (111, S.APPLIED), (10**15, S.APPLIED), (110, S.SAME_TIME), (109, S.BACKWARDS),
        (1, S.BACKWARDS),
    ],
)  # fmt: skip
def test_bitstamp_follows_its_stream(stamp: int, wanted: int) -> None:
    """Issue 13.6. Seen: the second of two diffs of one microtimestamp was dropped as old."""
    rig = live_bitstamp()
    assert rig.feed(bitstamp_frame(110, ONE)) == S.APPLIED
    assert rig.feed(bitstamp_frame(stamp, [("100.00", "7")])) == wanted
    is_applied = wanted in (S.APPLIED, S.SAME_TIME)
    assert rig.engine.book_id(0) == (stamp if is_applied else 110)
    assert rig.levels(0)[10_000] == (7 if is_applied else 1) * 10**8


@pytest.mark.parametrize(
    ("stamp", "wanted"), [(99, S.OLD), (100, S.APPLIED), (101, S.APPLIED), (999, S.APPLIED)]
)
def test_bitstamp_joins_at_the_snapshot(stamp: int, wanted: int) -> None:
    assert live_bitstamp().feed(bitstamp_frame(stamp, ONE)) == wanted
    rig = Rig.single(bitstamp_spec())
    assert rig.start(bitstamp_snapshot(100), [bitstamp_frame(stamp, ONE)]) == [wanted]


def test_a_gap_starts_the_stream_anew_with_its_own_frame() -> None:
    rig = live_binance()
    assert rig.feed(binance_frame(101, 110, ONE)) == S.APPLIED
    gap = binance_frame(115, 120, ONE)
    before = rig.sequence()
    assert rig.feed(gap) == S.GAP
    assert rig.sequence() == before
    assert rig.engine.last_feed == 0
    assert rig.engine.last_frame_id(0) == 120
    rig.set_state(L.BUFFERING)
    following = binance_frame(121, 125, [("100.50", "2")])
    assert rig.feed(following) == S.BUFFER
    assert rig.feed(binance_frame(127, 130)) == S.GAP, "a gap while buffering is one too"
    assert rig.feed(binance_frame(131, 132)) == S.BUFFER
    assert rig.start(binance_snapshot(117), [gap, following]) == [S.APPLIED, S.APPLIED]
    assert rig.engine.book_id(0) == 125


def test_a_snapshot_newer_than_everything_buffered_joins_later() -> None:
    rig = Rig.single(binance_spec())
    rig.set_state(L.BUFFERING)
    frames = [binance_frame(101, 105, ONE), binance_frame(106, 110, ONE)]
    assert [rig.feed(frame) for frame in frames] == [S.BUFFER, S.BUFFER]
    assert rig.start(binance_snapshot(120), frames) == [S.OLD, S.OLD]
    assert rig.feed(binance_frame(111, 115, ONE)) == S.OLD
    assert rig.feed(binance_frame(116, 125, ONE)) == S.APPLIED
    rig.check()


def test_an_old_snapshot_shows_as_a_gap_in_the_replay() -> None:
    rig = Rig.single(binance_spec())
    rig.set_state(L.BUFFERING)
    frame = binance_frame(101, 105, ONE)
    assert rig.feed(frame) == S.BUFFER
    assert rig.start(binance_snapshot(99), [frame]) == [S.GAP]


@given(data=st.data())
def test_any_sequence_of_ids_ends_as_the_oracle_says(data: st.DataObject) -> None:
    """Lost, doubled and overlapping frames: the engine's answers are the oracle's.

    The engine is stricter in one thing: a hole in the stream is a gap even where the snapshot
    covers it, for what came through the hole is not known to be all.
    """
    rig, book = live_binance(), oracle.BinanceBook(id=100)
    names = {S.APPLIED: "applied", S.OLD: "old", S.GAP: "gap"}
    at, stream = 100, 10**18
    for _ in range(data.draw(st.integers(1, 12))):
        first = max(1, at + 1 + data.draw(st.sampled_from([0, 0, 0, 0, -1, -5, 1, 3])))
        last = first + data.draw(st.integers(0, 6))
        frame = binance_frame(first, last, [(f"{data.draw(st.integers(90, 99))}.00", "2")])
        diff = oracle.read_binance_diff(frame)
        assert diff is not None
        status = rig.feed(frame)
        if first > stream + 1:
            assert status == S.GAP
            break
        assert names[status] == book.on_diff(diff)
        if status == S.GAP:
            break
        stream = last if stream == 10**18 else max(stream, last)
        at = max(at, last)
        assert rig.engine.book_id(0) == book.id


# --- states --------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", WAITING)
def test_frames_are_buffered_until_live(state: int) -> None:
    rig = live_binance()
    rig.set_state(state)
    before = rig.levels(0), rig.sequence(), rig.engine.book_id(0)
    assert rig.feed(binance_frame(101, 105, ONE)) == S.BUFFER
    assert (rig.levels(0), rig.sequence(), rig.engine.book_id(0)) == before
    assert rig.engine.last_frame_id(0) == 105


@pytest.mark.parametrize("state", range(len(L.STATE_NAMES)))
def test_only_a_new_connection_forgets_the_streams_id(state: int) -> None:
    rig = live_binance()
    assert rig.feed(binance_frame(101, 105, ONE)) == S.APPLIED
    rig.set_state(state)
    is_new = state in (L.DISCONNECTED, L.CONNECTING)
    assert rig.engine.last_frame_id(0) == (0 if is_new else 105)
    assert rig.engine.state(0) == state


def test_a_stale_feed_resumes_with_its_first_frame() -> None:
    rig = live_binance()
    rig.set_state(L.STALE)
    assert rig.feed(binance_frame(101, 105, ONE)) == S.RESUMED
    assert rig.engine.book_id(0) == 105
    assert rig.feed(binance_frame(107, 110, ONE)) == S.GAP
    assert rig.published().bids == [], "still withdrawn: the state is the caller's to change"


def test_an_audit_has_live_frames_buffered_too() -> None:
    rig = live_binance()
    rig.engine.set_buffered(0, True)
    assert rig.feed(binance_frame(101, 105, ONE)) == S.APPLIED_AND_BUFFER
    assert rig.levels(0)[10_000] == 10**8
    rig.engine.set_buffered(0, False)
    assert rig.feed(binance_frame(106, 106)) == S.APPLIED
    rig.engine.set_buffered(0, True)
    rig.set_state(L.BUFFERING)
    rig.start(binance_snapshot(106))
    assert rig.feed(binance_frame(107, 107)) == S.APPLIED, "a resynchronisation ends the audit"


def test_a_book_crossed_for_too_long_is_reported() -> None:
    rig = live_binance()
    crossing = [binance_frame(101 + n, 101 + n, [("101.00", str(n + 1))]) for n in range(6)]
    assert [rig.feed(raw) for raw in crossing[:3]] == [S.APPLIED] * 3
    assert rig.published().is_crossed
    assert rig.feed(crossing[3]) == S.CROSSED_TOO_LONG
    assert rig.feed(crossing[4]) == S.CROSSED_TOO_LONG
    assert rig.feed(binance_frame(106, 106, [("101.00", "0")])) == S.APPLIED
    assert rig.feed(binance_frame(107, 107, [("101.00", "1")])) == S.APPLIED, "counted anew"
    assert not rig.published().bids[1:] or rig.published().is_crossed


def test_a_renewed_book_starts_with_no_crossed_frames() -> None:
    rig = live_bitstamp()
    for number in range(101, 104):
        assert rig.feed(bitstamp_frame(number, [("101.00", str(number))])) == S.APPLIED
    rig.start(bitstamp_snapshot(200, [("99.00", "1")], [("101.00", "1")]))
    for number in range(201, 204):
        assert rig.feed(bitstamp_frame(number, [("101.00", str(number))])) == S.APPLIED
    assert rig.feed(bitstamp_frame(204, ONE)) == S.CROSSED_TOO_LONG


def test_an_empty_side_is_not_crossed() -> None:
    rig = Rig.single(binance_spec())
    rig.start(binance_snapshot(1))
    for number in range(2, 9):
        assert rig.feed(binance_frame(number, number, [("1.00", str(number))])) == S.APPLIED


# --- routing -------------------------------------------------------------------------------------


def two_instruments() -> Rig:
    """BTC and ETH on one Binance connection, and the same symbol on another connection."""
    return Rig(
        InstrumentSpec("BTC-USD", (binance_spec(), bitstamp_spec())),
        InstrumentSpec("ETH-USD", (binance_spec("ETHUSDT"), bitstamp_spec("ethusd"))),
        InstrumentSpec("BTC-2", (binance_spec(connection=7),)),
        window_slots=64,
        far_levels_max=64,
    )


def test_two_instruments_share_a_connection() -> None:
    rig = two_instruments()
    for feed in (0, 2, 4):
        rig.start(binance_snapshot(100), feed=feed)
    for feed in (1, 3):
        rig.start(bitstamp_snapshot(100), feed=feed)
    assert rig.feed(binance_frame(101, 101, [("7.00", "1")], symbol="ETHUSDT")) == S.APPLIED
    assert rig.engine.last_feed == 2
    assert rig.feed(bitstamp_frame(101, [("8.00", "1")], pair="ethusd"), 1) == S.APPLIED
    assert rig.engine.last_feed == 3
    assert [rig.levels(0, feed) for feed in range(5)] == [
        {}, {}, {700: 10**8}, {800: 10**8}, {}
    ]  # fmt: skip
    assert rig.feed(binance_frame(101, 101, ONE), 4) == S.APPLIED
    assert rig.engine.last_feed == 4
    assert rig.levels(0, 0) == {}, "another connection's symbol"


def test_an_unknown_symbol_is_told_and_changes_nothing() -> None:
    rig = two_instruments()
    for symbol in ("BTCUSD", "BTCUSDTT", "btcusdt", "B" * 64, "B" * 65, "é"):
        assert rig.feed(binance_frame(1, 1, ONE, symbol=symbol)) == S.UNKNOWN_SYMBOL
        assert rig.engine.last_feed == -1
    assert all(rig.engine.counters(feed).frames == 0 for feed in range(5))


@pytest.mark.parametrize("length", [1, 7, 8, 9, 63, 64])
def test_symbols_of_every_length_are_told_apart(length: int) -> None:
    symbol = "ABCDEFGH" * 8
    name, other = symbol[:length], symbol[: length - 1] + "x"
    specs = (binance_spec(name), binance_spec(other, venue="other"))
    rig = Rig(InstrumentSpec("X", specs), window_slots=64, far_levels_max=64)
    assert rig.feed(binance_frame(1, 1, symbol=other)) == S.BUFFER
    assert rig.engine.last_feed == 1
    assert rig.feed(binance_frame(1, 1, symbol=name)) == S.BUFFER
    assert rig.engine.last_feed == 0
    last = b'{"b":[],"a":[],"e":"depthUpdate","E":1,"U":1,"u":2,"s":"%b"}' % name.encode()
    assert rig.feed(last) == S.BUFFER, "the symbol at the frame's very end"
    assert rig.engine.last_feed == 0


def test_a_refused_frame_tells_its_feed_where_it_can() -> None:
    rig = two_instruments()
    good = binance_frame(1, 2, ONE, symbol="ETHUSDT")
    assert rig.feed(good[:-3]) == S.BAD_JSON
    assert rig.engine.last_feed == 2, "the symbol stands before the damage"
    assert rig.feed(good.replace(b"100.00", b"100.001")) == S.BAD_PRICE
    assert rig.engine.last_feed == 2
    assert rig.feed(b"\xff") == S.BAD_JSON
    assert rig.engine.last_feed == -1
    assert rig.feed(bitstamp_frame(5, [("x", "1")], pair="ethusd"), 1) == S.BAD_DECIMAL


# --- refusals and publication --------------------------------------------------------------------

REFUSED = [
    (S.BAD_PRICE, binance_frame(101, 105, [*ONE, ("98.00", "0"), ("1.001", "1")])),
    (S.BAD_PRICE, binance_frame(101, 105, ONE, [("101.00", "0"), ("0", "1")])),
    (S.BAD_QUANTITY, binance_frame(101, 105, ONE, [("101.00", "0.000000001")])),
    (S.BAD_QUANTITY, binance_frame(101, 105, ONE, [("101.00", "-1")])),
    (S.BAD_DECIMAL, binance_frame(101, 105, ONE, [("101.00", "1e99")])),
    (S.BAD_JSON, binance_frame(101, 105, ONE)[:-1]),
    (S.BAD_IDS, binance_frame(106, 105, ONE)),
    (S.BAD_SCHEMA, binance_frame(101, 105, ONE).replace(b'"a"', b'"c"')),
    (S.GAP, binance_frame(102, 105, ONE)),
]


@pytest.mark.parametrize(("wanted", "raw"), REFUSED)
def test_a_refused_frame_leaves_the_book_untouched(wanted: int, raw: bytes) -> None:
    rig = live_binance()
    rig.load(binance_snapshot(50, [("42.00", "1")]))
    spare = 1 - rig.active_book()
    before = (rig.levels(0), rig.levels(1), rig.levels(0, book=spare), rig.published())
    assert rig.feed(raw) == wanted
    assert wanted < 0 and wanted in S.TEXTS
    assert rig.engine.book_id(0) == 100
    rig.engine.publish_touched()
    assert (rig.levels(0), rig.levels(1), rig.levels(0, book=spare), rig.published()) == before
    assert rig.feed(binance_frame(101, 105, ONE)) in (S.APPLIED, S.OLD)
    rig.check()


@pytest.mark.parametrize(("wanted", "raw"), [pair for pair in REFUSED if pair[0] <= S.BAD_JSON])
def test_a_refused_frame_in_a_replay_leaves_both_books_untouched(wanted: int, raw: bytes) -> None:
    rig = live_binance()
    rig.load(binance_snapshot(100, [("42.00", "1")]))
    assert rig.engine.replay(0, raw) == wanted
    assert rig.levels(0, book=1 - rig.active_book()) == {4_200: 10**8}
    assert rig.levels(0) == {9_900: 10**8}


def test_books_are_published_once_a_buffer() -> None:
    rig = two_instruments()
    for feed in (0, 2):
        rig.start(binance_snapshot(100), feed=feed)
    before = [rig.sequence(number) for number in range(3)]
    for symbol in ("BTCUSDT", "ETHUSDT"):
        for number in (101, 102):
            frame = binance_frame(number, number, [(f"{number}.00", "1")], symbol=symbol)
            assert rig.feed(frame, is_last=False) == S.APPLIED
    assert [rig.sequence(number) for number in range(3)] == before
    assert rig.feed(b'{"result":null,"id":1}') == S.OTHER, "the buffer's last is no book frame"
    assert [rig.sequence(number) for number in range(3)] == [
        before[0] + 1,
        before[1] + 1,
        before[2],
    ]
    assert [level[0] for level in rig.published(1).bids] == [102, 101]
    rig.engine.publish_touched()
    assert rig.sequence(0) == before[0] + 1, "nothing is left to publish"


def test_a_negative_status_publishes_nothing_until_the_feed_is_withdrawn() -> None:
    rig = two_instruments()
    for feed in (0, 2):
        rig.start(binance_snapshot(100), feed=feed)
    before = rig.sequence(0)
    assert rig.feed(binance_frame(101, 101, ONE), is_last=False) == S.APPLIED
    assert rig.feed(binance_frame(105, 105, symbol="ETHUSDT")) == S.GAP
    assert rig.sequence(0) == before
    rig.set_state(L.BUFFERING, 2)
    rig.engine.publish_touched()
    assert rig.sequence(0) == before + 1
    assert rig.published(0).bids[0][0] == Decimal(100)
    assert rig.published(1).states[0] == L.BUFFERING


def test_counters_count() -> None:
    rig = live_binance()
    frames = [
        binance_frame(101, 101, ONE, ONE),
        binance_frame(101, 101, ONE),
        binance_frame(102, 102, [("55.00", "0")]),
    ]
    assert [rig.feed(raw) for raw in frames] == [S.APPLIED, S.OLD, S.APPLIED]
    counters = rig.engine.counters(0)
    assert (counters.frames, counters.levels, counters.old) == (3, 4, 1)
    assert counters.bytes == sum(len(raw) for raw in frames)
    assert counters.unknown_deletes == 1


# --- the spare book ------------------------------------------------------------------------------


def test_a_running_book_is_audited_without_being_disturbed() -> None:
    rig = live_bitstamp()
    frames = [bitstamp_frame(101 + n, [(f"{90 + n}.00", "1")]) for n in range(5)]
    rig.engine.set_buffered(0, True)
    assert {rig.feed(raw) for raw in frames} == {S.APPLIED_AND_BUFFER}
    before = rig.published()
    rig.load(bitstamp_snapshot(102, [("99.00", "1"), ("90.00", "1"), ("91.00", "1")],
                               [("101.00", "1")]))  # fmt: skip
    assert [rig.engine.replay(0, raw) for raw in frames] == [S.OLD] + [S.APPLIED] * 4
    assert rig.engine.differing_levels(0) == 0
    assert rig.published() == before
    assert rig.feed(bitstamp_frame(200, [("89.00", "4")])) == S.APPLIED_AND_BUFFER
    assert rig.engine.differing_levels(0) == 1
    rig.check()


@pytest.mark.parametrize(
    ("bids", "limit", "wanted"),
    [
        ([("99.00", "1")], 0, 0),
        ([("99.00", "2")], 0, 1),
        ([("98.00", "1")], 0, 1),
        ([("99.00", "1"), ("98.00", "1")], 0, 1),
        ([], 0, 1),
        # Cut after one level: what lies below is known to one book only, and not compared.
        ([("99.00", "1")], 1, 0),
        ([("99.50", "1")], 1, 1),
    ],
)
def test_differing_levels(bids: list[tuple[str, str]], limit: int, wanted: int) -> None:
    rig = live_binance()
    rig.load(binance_snapshot(200, bids, [("101.00", "1")]), levels_limit=limit)
    assert rig.engine.differing_levels(0) == wanted
    assert rig.engine.differing_levels(0) == wanted


def test_levels_below_a_cut_are_not_compared() -> None:
    rig = Rig.single(binance_spec())
    deep = [(f"{price}.00", "1") for price in range(100, 50, -1)]
    rig.start(binance_snapshot(1, deep, deep[:1]))
    rig.load(binance_snapshot(2, deep[:10], deep[:1]), levels_limit=10)
    assert rig.engine.differing_levels(0) == 0
    rig.feed(binance_frame(2, 2, [("90.99", "1")]))
    rig.load(binance_snapshot(2, deep[:10], deep[:1]), levels_limit=10)
    assert rig.engine.differing_levels(0) == 0, "the first price below the cut"
    rig.load(binance_snapshot(2, [*deep[:9], ("91.00", "3")], deep[:1]), levels_limit=10)
    assert rig.engine.differing_levels(0) == 1


def test_activate_swaps_back_and_forth() -> None:
    rig = live_bitstamp()
    for number in range(2, 7):
        before = rig.sequence()
        price = f"{number}.00"
        rig.start(bitstamp_snapshot(100 * number, [(price, "1")]))
        assert rig.levels(0) == {number * 100: 10**8}
        assert rig.engine.book_id(0) == 100 * number
        assert rig.published().bids == [(Decimal(price), Decimal(1), 0)]
        assert rig.sequence() == before + 1
        assert rig.feed(bitstamp_frame(100 * number + 1, [("1.00", "1")])) == S.APPLIED
        rig.check()
    before = rig.sequence()
    bids = [(str(price), str(amount)) for price, amount, _ in rig.published().bids]
    rig.start(bitstamp_snapshot(900, bids))
    assert rig.sequence() == before, "renewing a live book with an equal one publishes nothing"
