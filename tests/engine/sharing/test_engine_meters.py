"""The engine's meters: every frame and book counted once, in the words that a reader finds."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from engine.compiling.atomics import Words
from engine.engine import Engine
from engine.layout import layout as L
from engine.layout import status as S
from engine.sharing import meter_layout as M
from engine.sharing.directory import HandoffError
from engine.sharing.handoff import HandoffReader
from engine.sharing.meter_layout import ENGINE, ENGINE_METERS, EngineMeters
from engine.sharing.meters import HIGHEST, Kind, MeterReader
from engine.sharing.segment import segment_path
from engine.specs import InstrumentSpec
from tests.engine.rig import (
    Rig,
    binance_frame,
    binance_snapshot,
    binance_spec,
    bitstamp_frame,
    bitstamp_snapshot,
    bitstamp_spec,
)
from tests.engine.sharing.torn_reads import in_child
from tuning.clock import wall_ns

pytestmark = pytest.mark.kernel

VENUE_MS = 1_723_161_255_208
ONE, TWO = [("100.00", "1")], [("101.00", "2")]
PAIR = InstrumentSpec("BTC-USD", (binance_spec(), bitstamp_spec()))


@pytest.fixture
def name() -> Iterator[str]:
    chosen = f"test-{os.getpid()}"
    yield chosen
    for kind in ("", ENGINE_METERS):
        segment_path(chosen, kind).unlink(missing_ok=True)


def buckets(values: list[int]) -> Words:
    """How often each bucket is hit."""
    counts: Words = np.zeros(len(HIGHEST), np.int64)
    for bucket, count in Counter(np.searchsorted(HIGHEST, values).tolist()).items():
        counts[bucket] = count
    return counts


def test_a_feed_counts_its_frames_one_by_one() -> None:
    rig = Rig(PAIR)
    other = {"venue": "bitstamp"}
    rig.start(binance_snapshot(100, ONE, TWO))
    own = {"venue": "binance", "symbol": "BTCUSDT", "instrument": "BTC-USD"}
    seen = {"frames": 0, "frame": 0, "levels": 0, "old_frames": 0, "unknown_deletes": 0}
    steps = (
        (binance_frame(101, 101, ONE, TWO), S.APPLIED, 2, 0, 0),
        (binance_frame(101, 101, ONE), S.OLD, 1, 1, 0),
        (binance_frame(102, 103, [("55.00", "0"), ("54.00", "0")], TWO), S.APPLIED, 3, 0, 2),
        (binance_frame(104, 104), S.APPLIED, 0, 0, 0),
        (binance_frame(106, 106, ONE), S.GAP, 1, 0, 0),
    )
    for raw, status, levels, old, unknown in steps:
        assert rig.feed(raw) == status
        more = (1, len(raw), levels, old, unknown)
        seen = {key: seen[key] + each for key, each in zip(seen, more, strict=True)}
        assert {key: rig.meter(key, **own) for key in seen} == seen
    assert rig.feed(binance_frame(107, 107)[:-1]) == S.BAD_JSON
    assert {key: rig.meter(key, **own) for key in seen} == seen, "a refused one is the session's"
    assert {key: rig.meter(key, **other) for key in seen} == dict.fromkeys(seen, 0)
    counters = rig.engine.counters(0)
    assert list(seen.values()) == [
        counters.frames, counters.bytes, counters.levels, counters.old, counters.unknown_deletes
    ]  # fmt: skip


def test_the_receive_lag_is_that_of_every_frame_that_was_new() -> None:
    rig = Rig(PAIR)
    rig.start(binance_snapshot(100))
    lags = [0, 1, 31, 32, 900, 5_000_000, 5_000_000, 7_777_777, 12_345_678_901]
    for number, lag_ns in enumerate([*lags, -1, -(10**12)], 101):
        raw = binance_frame(number, number, ONE, time_ms=VENUE_MS)
        assert rig.feed(raw, receive_ns=VENUE_MS * 10**6 + lag_ns) == S.APPLIED
        assert rig.feed(raw, receive_ns=VENUE_MS * 10**6 + 10**9) == S.OLD
    seen = rig.meters.histogram(rig.series("receive_lag", venue="binance"))
    assert (seen.counts == buckets(lags)).all()
    assert (seen.sum, seen.max, seen.negative) == (sum(lags), max(lags), 2)
    assert rig.meters.histogram(rig.series("receive_lag", venue="bitstamp")).count == 0


def test_a_buffered_frame_has_its_lag_counted_once() -> None:
    """When it arrives, and not again when it is run through the spare book."""
    rig = Rig(PAIR)
    rig.set_state(L.BUFFERING)
    frames = [binance_frame(n, n, [("1.00", "0")], time_ms=VENUE_MS) for n in (101, 102)]
    for raw in frames:
        assert rig.feed(raw, receive_ns=VENUE_MS * 10**6 + 70) == S.BUFFER
    assert rig.start(binance_snapshot(101, ONE), frames) == [S.OLD, S.APPLIED]
    assert rig.meters.histogram(rig.series("receive_lag", venue="binance")).count == 2
    assert rig.meter("frames", venue="binance") == 2
    assert rig.meter("unknown_deletes", venue="binance") == 1, "an echo's are no news"


def test_an_instrument_counts_its_books() -> None:
    rig = Rig(PAIR)

    def seen() -> tuple[int, int, int]:
        names = ("books_published", "books_crossed", "books_unchanged")
        published, crossed, unchanged = (rig.meter(n, instrument="BTC-USD") for n in names)
        assert published == rig.sequence()
        return published, crossed, unchanged

    rig.start(binance_snapshot(100, ONE, TWO))
    rig.start(bitstamp_snapshot(100, ONE, [("102.00", "1")]), feed=1)
    assert seen() == (2, 0, 0)
    rig.feed(binance_frame(101, 101, [("100.00", "3")]))
    assert seen() == (3, 0, 0)
    rig.feed(binance_frame(102, 102, [("100.00", "3")]))
    assert seen() == (3, 0, 1), "nothing new"
    rig.feed(bitstamp_frame(101, [("101.50", "1")]), 1)
    assert seen() == (4, 1, 1)
    rig.set_state(L.BUFFERING, 1)
    assert seen() == (5, 1, 1)


@pytest.mark.parametrize("reads_clock", [True, False])
def test_the_publish_latency_is_that_of_books_that_frames_caused(reads_clock: bool) -> None:
    rig = Rig(PAIR, reads_clock=reads_clock)
    rig.start(binance_snapshot(100, ONE, TWO))
    taken = []
    for number in range(101, 121, 2):
        best = [("100.00", str(number))]
        receive_ns = wall_ns() - 5_000
        assert rig.feed(binance_frame(number, number, best), receive_ns=receive_ns) == S.APPLIED
        assert rig.feed(binance_frame(number + 1, number + 1, best)) == S.APPLIED, "no change"
        taken.append(rig.published().publish_ns - receive_ns)
    rig.set_state(L.BUFFERING)
    rig.start(binance_snapshot(130, ONE, TWO))
    seen = rig.meters.histogram(rig.series("publish_latency"))
    if not reads_clock:
        assert (seen.count, seen.sum, taken) == (0, 0, [0] * 10), "a replay has no latency"
        return
    assert (seen.counts == buckets(taken)).all()
    assert (seen.sum, seen.max, seen.negative) == (sum(taken), max(taken), 0)
    assert min(taken) >= 5_000


def test_the_snapshots_time_and_the_far_levels_are_the_active_books() -> None:
    rig = Rig(
        InstrumentSpec("BTC-USD", (binance_spec(), bitstamp_spec())),
        window_slots=64,
        far_levels_max=4,
    )
    rig.load(binance_snapshot(100, [("9.00", "1"), ("5.00", "1"), ("4.00", "1")], TWO))
    rig.engine.activate(0, 12_345)

    def far(side: str, name: str = "far_levels") -> int:
        return rig.meter(name, venue="binance", side=side)

    assert rig.meter("snapshot_timestamp", venue="binance") == 12_345
    assert rig.meter("snapshot_timestamp", venue="bitstamp") == 0
    assert (far("bid"), far("ask")) == (2, 0)
    rig.feed(binance_frame(101, 101, [("4.00", "0"), ("3.00", "1"), ("2.00", "1")]))
    assert (far("bid"), far("ask")) == (3, 0), "one that is deleted is none"
    rig.load(binance_snapshot(100, [("9.00", "1")]))
    rig.engine.replay(0, binance_frame(101, 101, [], [("900.00", "1")]))
    assert (far("bid"), far("ask")) == (3, 0), "the spare book is not shown yet"
    assert far("bid", "window_slides") == 0
    rig.feed(binance_frame(102, 102, [("20.00", "1")]))
    assert far("bid", "window_slides") == 1 and far("ask", "window_slides") == 0
    assert far("bid", "far_levels_dropped") == 0
    rig.feed(binance_frame(103, 103, [("1.00", "1")]))
    assert far("bid", "far_levels_dropped") == 1 and far("ask", "far_levels_dropped") == 0
    assert far("bid") == 4
    rig.start(binance_snapshot(103, ONE, TWO))
    assert (far("bid"), far("ask")) == (0, 0)


def test_every_series_has_a_name_and_labels_of_its_own() -> None:
    specs = tuple(
        InstrumentSpec(f"{base}-USD", (binance_spec(f"{base}USDT"), bitstamp_spec(f"{base}usd")))
        for base in ("BTC", "ETH")
    )
    rig = Rig(*specs, window_slots=64, far_levels_max=64)
    series = rig.meters.series
    keys = [(each.name, each.unit, *sorted(each.labels.items())) for each in series]
    assert len(set(keys)) == len(keys)
    assert len({each.at for each in series}) == len(series)
    assert {each.labels["venue"] for each in series if each.name == "connections"} == {
        "binance", "bitstamp"
    }  # fmt: skip
    reasons = [e.labels["reason"] for e in series if e.name == "refused_frames"]
    assert reasons == [S.TEXTS[status] for status in S.REFUSALS] * 4
    by_name = {each.name: (each.kind, each.unit, each.text) for each in series}
    assert all(by_name[e.name] == (e.kind, e.unit, e.text) for e in series), "one family each"
    histograms = {each.name for each in series if each.kind is Kind.HISTOGRAM}
    assert histograms == {"loop_turn", "receive_lag", "publish_latency"}


def test_the_places_are_where_the_description_says() -> None:
    rig = Rig(PAIR)
    for feed, spec in enumerate(PAIR.feeds):
        at = rig.engine.meters.feed_at[feed]
        assert rig.series("frames", venue=spec.venue).at == at + M.FEED_FRAMES
        assert at % L.CACHE_LINE_WORDS == 0, "no line belongs to two blocks"
        for is_asks, side in enumerate(("bid", "ask")):
            slides = rig.series("window_slides", venue=spec.venue, side=side)
            assert slides.at == at + M.FEED_SIDES_AT + is_asks * M.SIDE_WORDS + M.SIDE_SLIDES


# --- the segment's life --------------------------------------------------------------------------


def test_the_meters_come_and_go_with_the_handoff(name: str) -> None:
    engine = Engine((PAIR,), handoff_name=name, start_ns=5, window_slots=64, far_levels_max=64)
    reader = MeterReader.attach(name, ENGINE)
    assert (reader.writer_pid, reader.start_ns) == (os.getpid(), 5)
    assert HandoffReader.attach(name).writer_pid == os.getpid()
    engine.close()
    path = segment_path(name)
    assert list(path.parent.glob(f"{path.name}*")) == []


def test_an_engine_that_cannot_begin_leaves_no_meters(name: str) -> None:
    spec = InstrumentSpec("S" * 65, PAIR.feeds)
    with pytest.raises(HandoffError, match="longer than"):
        Engine((spec,), handoff_name=name, window_slots=64, far_levels_max=64)
    path = segment_path(name)
    assert list(path.parent.glob(f"{path.name}*")) == []


def _count_and_die(name: str, _connection: object) -> None:
    meters = EngineMeters(name, (PAIR,), 7)
    meters.words[meters.feed_at[0] + M.FEED_FRAMES] = 42
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_engines_meters_stay_readable_until_the_next_one(name: str) -> None:
    process, _ = in_child(_count_and_die, name)
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
    left = MeterReader.attach(name, ENGINE)
    (frames,) = [
        e for e in left.series if e.name == "frames" and e.labels["venue"] == "binance"
    ]  # fmt: skip
    assert left.writer_pid == process.pid and left.value(frames) == 42
    successor = EngineMeters(name, (PAIR,), 8)
    assert MeterReader.attach(name, ENGINE).writer_pid == os.getpid()
    assert MeterReader.attach(name, ENGINE).value(frames) == 0
    assert left.value(frames) == 42, "whoever has mapped the old ones keeps them"
    successor.close()
