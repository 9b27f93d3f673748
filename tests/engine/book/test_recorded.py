"""Real frames: the published book against the oracle at every frame, and against bookTicker.

`tests/recorded.py` says where the tapes are. With the JIT off a shorter piece of each is played.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from decimal import Decimal

import orjson
import pytest

from engine.compiling.jit import JIT_OFF
from engine.layout import layout as L
from engine.layout import status as S
from engine.sharing import meter_layout as M
from engine.specs import FeedSpec, InstrumentSpec
from net.venues.binance.market_data import BINANCE
from net.venues.bitstamp.market_data import BITSTAMP
from tests import oracle
from tests.engine.rig import Rig, bitstamp_spec
from tests.recorded import BTCUSDT, ETHUSDT, TEN_PAIRS, THREE_VENUES, infer_tick, read_tape

FRAMES_MAX = 250 if JIT_OFF else 10**9
"""Frames of a tape that are played after the snapshot."""

WHOLE_BOOK_EVERY = 25 if JIT_OFF else 150
"""Frames between two comparisons of the whole book, all its levels and invariants."""

TEN = [
    "xlmeur",
    "paxusd",
    "xrpbtc",
    "linketh",
    "kncusd",
    "knceur",
    "xrppax",
    "btcusdc",
    "bcheur",
    "ethgbp",
]  # fmt: skip)


def is_depth(raw: bytes) -> bool:
    return b'"depthUpdate"' in raw[:80]


class Tickers:
    """The tape's best bid and ask by update id."""

    def __init__(self, tape: str) -> None:
        self.ids: list[int] = []
        self.rows: list[tuple[oracle.Levels, oracle.Levels]] = []
        for record in read_tape(tape):
            if b"@bookTicker" in record.raw[:60]:
                data = orjson.loads(record.raw)["data"]
                self.ids.append(data["u"])
                bid = (Decimal(data["b"]), Decimal(data["B"]))
                ask = (Decimal(data["a"]), Decimal(data["A"]))
                self.rows.append(([bid], [ask]))
        assert self.ids == sorted(self.ids)

    def at(self, update_id: int) -> tuple[oracle.Levels, oracle.Levels] | None:
        """The last one whose id is not above `update_id`."""
        place = bisect_right(self.ids, update_id)
        return self.rows[place - 1] if place else None


def without_venue(levels: oracle.Merged) -> oracle.Levels:
    return [(price, amount) for price, amount, _ in levels]


class Pair:
    """An engine with one venue's book, and the oracle's book beside it."""

    def __init__(self, rig: Rig, book: oracle.Book, feed: int = 0) -> None:
        self.rig = rig
        self.book = book
        self.feed = feed

    def start(self, snapshot: bytes, frames: list[bytes], levels_limit: int = 0) -> None:
        """Both join: buffered frames, then the snapshot."""
        binance = isinstance(self.book, oracle.BinanceBook)
        read = oracle.read_binance_diff if binance else oracle.read_bitstamp_diff
        read_snapshot = oracle.read_binance_snapshot if binance else oracle.read_bitstamp_snapshot
        for frame in frames:
            diff = read(frame)
            assert diff is not None
            assert self.book.on_diff(diff) == "buffered"
        assert self.book.on_snapshot(read_snapshot(snapshot))
        statuses = self.rig.start(snapshot, frames, self.feed, levels_limit=levels_limit)
        assert set(statuses) <= {S.OLD, S.APPLIED}
        self.compare_whole()

    def compare_whole(self) -> None:
        self.rig.check(self.feed)
        bids, asks = self.rig.book(self.feed)
        assert bids == self.book.bids
        assert asks == self.book.asks

    def compare_top(self, depth: int, instrument: int = 0) -> tuple[oracle.Levels, oracle.Levels]:
        """Every level of the published book; returns it."""
        published = self.rig.published(instrument)
        bids, asks = without_venue(published.bids), without_venue(published.asks)
        assert bids == oracle.best(self.book.bids, depth, 0)
        assert asks == oracle.best(self.book.asks, depth, 1)
        # A frame that leaves the top as it was is not published, so its id is not seen.
        assert self.book.id is not None and published.update_ids[self.feed] <= self.book.id
        return bids, asks


def binance_pair(symbol: str, depth: int, window_slots: int) -> Pair:
    spec = FeedSpec("binance", BINANCE.rules, 0, symbol, "0.01")
    instrument = InstrumentSpec(symbol, (spec,), depth)
    return Pair(Rig(instrument, window_slots=window_slots), oracle.BinanceBook())


def play_binance(tape: str, pairs: list[Pair]) -> Iterator[tuple[oracle.Diff, int]]:
    """The tape through every pair in true start-up order; yields each frame after the snapshot."""
    buffered: list[bytes] = []
    played = 0
    is_live = False
    for pair in pairs:
        pair.rig.set_state(L.BUFFERING)
    for record in read_tape(tape):
        if record.kind == "rest":
            for pair in pairs:
                pair.start(record.raw, buffered, levels_limit=1000)
            is_live = True
        elif is_depth(record.raw):
            diff = oracle.read_binance_diff(record.raw)
            assert diff is not None
            statuses = {pair.rig.feed(record.raw) for pair in pairs}
            if not is_live:
                assert statuses == {S.BUFFER}
                buffered.append(record.raw)
                continue
            results = {pair.book.on_diff(diff) for pair in pairs}
            expected = {S.APPLIED: {"applied"}, S.OLD: {"old"}}
            assert len(statuses) == 1
            assert results == expected[statuses.pop()]
            played += 1
            if results == {"applied"}:
                yield diff, played
            if played == FRAMES_MAX:
                return


@pytest.mark.parametrize(("tape", "count"), [(BTCUSDT, 3448), (ETHUSDT, 3432)])
def test_binance_book_is_the_oracles_and_the_tickers_at_every_frame(tape: str, count: int) -> None:
    symbol = tape.split("-")[1].upper()
    pairs = [binance_pair(symbol, 10, 1 << 16), binance_pair(symbol, 50, 1 << 10)]
    tickers = Tickers(tape)
    compared = 0
    for diff, played in play_binance(tape, pairs):
        bids, asks = pairs[0].compare_top(10)
        pairs[1].compare_top(50)
        ticker = tickers.at(diff.last_id)
        if ticker is not None:
            assert (bids[:1], asks[:1]) == ticker
            compared += 1
        if played % WHOLE_BOOK_EVERY == 0:
            for pair in pairs:
                pair.compare_whole()
    assert compared == (count if not JIT_OFF else min(count, compared))
    assert compared > 100
    for pair in pairs:
        pair.compare_whole()
        assert pair.rig.engine.counters(0).unknown_deletes == pair.book.unknown_deletes
        assert pair.rig.published().sequence > compared // 2


def test_small_windows_slide_on_real_data() -> None:
    """The 64-tick window of a fast market: its price travels far beyond, no level is lost."""
    pair = binance_pair("BTCUSDT", 10, 64)
    for _, played in play_binance(BTCUSDT, [pair]):
        pair.compare_top(10)
        if played % WHOLE_BOOK_EVERY == 0:
            pair.compare_whole()
    slides = sum(pair.rig.side_meter(0, is_asks, M.SIDE_SLIDES) for is_asks in range(2))
    assert slides > (10 if JIT_OFF else 1000)


# --- Bitstamp ------------------------------------------------------------------------------------


def bitstamp_records(tape: str, pair: str) -> tuple[list[bytes], list[bytes]]:
    """The pair's diffs and its REST books, each in the tape's order."""
    channel = f'"diff_order_book_{pair}"'.encode()
    records = [record for record in read_tape(tape) if record.venue == "bitstamp"]
    diffs = [r.raw for r in records if channel in r.raw and b'"event":"data"' in r.raw]
    books = [r.raw for r in records if r.kind == "rest" and r.path.rstrip("/").endswith(f"/{pair}")]
    return diffs, books


def tick_of(diffs: list[bytes], books: list[bytes]) -> str:
    rows = [oracle.read_bitstamp_diff(raw) for raw in diffs]
    snapshots = [oracle.read_bitstamp_snapshot(raw) for raw in books]
    prices = [
        price
        for each in [*rows, *snapshots]
        if each is not None
        for price, _ in [*each.bids, *each.asks]
    ]
    return infer_tick(prices)


def play_bitstamp(pair: Pair, diffs: list[bytes], snapshot: bytes, depth: int) -> int:
    """Buffer up to the snapshot, join, then compare at every frame; how many were applied."""
    taken = oracle.read_bitstamp_snapshot(snapshot).last_id
    ids = [diff.last_id for raw in diffs if (diff := oracle.read_bitstamp_diff(raw))]
    assert ids == sorted(set(ids)), "microtimestamps strictly rise"
    joined = bisect_right(ids, taken) + 1
    pair.rig.set_state(L.BUFFERING)
    for raw in diffs[:joined]:
        assert pair.rig.feed(raw) == S.BUFFER
    pair.start(snapshot, diffs[:joined])
    applied = 0
    for raw in diffs[joined : joined + FRAMES_MAX]:
        diff = oracle.read_bitstamp_diff(raw)
        assert diff is not None
        assert pair.rig.feed(raw) == S.APPLIED
        assert pair.book.on_diff(diff) == "applied"
        bids, asks = pair.compare_top(depth)
        assert not bids or not asks or bids[0][0] < asks[0][0], "a crossed book"
        assert not pair.rig.published().is_crossed
        applied += 1
        if applied % WHOLE_BOOK_EVERY == 0:
            pair.compare_whole()
    pair.compare_whole()
    return applied


@pytest.mark.parametrize("name", TEN[:3] if JIT_OFF else TEN)
def test_bitstamp_2021_rebuilds_without_an_unknown_delete(name: str) -> None:
    diffs, books = bitstamp_records(TEN_PAIRS, name)
    assert len(books) == 1
    spec = bitstamp_spec(name, tick_of(diffs, books))
    rig = Rig(InstrumentSpec(name, (spec,), 50), window_slots=256, far_levels_max=1 << 13)
    pair = Pair(rig, oracle.BitstampBook())
    assert play_bitstamp(pair, diffs, books[0], 50) > (0 if JIT_OFF else 30)
    assert rig.engine.counters(0).unknown_deletes == 0
    assert pair.book.unknown_deletes == 0


def test_bitstamp_2026_stale_first_answer_then_the_second() -> None:
    diffs, books = bitstamp_records(THREE_VENUES, "btcusd")
    first = oracle.read_bitstamp_diff(diffs[0])
    assert first is not None
    ids = [oracle.read_bitstamp_snapshot(raw).last_id for raw in books]
    assert ids[0] < first.last_id < ids[1]
    rig = Rig(InstrumentSpec("BTC-USD", (bitstamp_spec(tick=tick_of(diffs, books)),), 10))
    assert rig.engine.stage(0, books[0], rig.stage) == S.APPLIED
    assert rig.feed(diffs[0]) == S.BUFFER
    assert rig.stage.last_id < rig.engine.last_frame_id(0), "net can see that it is too old"
    refused = oracle.BitstampBook()
    refused.on_diff(first)
    assert not refused.on_snapshot(oracle.read_bitstamp_snapshot(books[0]))
    rig.engine.restart_stream(0)
    pair = Pair(rig, oracle.BitstampBook())
    assert play_bitstamp(pair, diffs, books[1], 10) > 50


def test_bitstamp_2026_audit_finds_the_second_answer_equal() -> None:
    """The third REST book, taken later, against the running book, as the audit does it."""
    diffs, books = bitstamp_records(THREE_VENUES, "btcusd")
    ids = sorted({oracle.read_bitstamp_snapshot(raw).last_id: raw for raw in books[1:]}.items())
    if JIT_OFF or len(ids) < 2:
        pytest.skip("needs the whole tape and two answers that are new enough")
    rig = Rig(InstrumentSpec("BTC-USD", (bitstamp_spec(tick=tick_of(diffs, books)),), 10))
    (early_id, early), (late_id, late) = ids[0], ids[-1]
    rig.set_state(L.BUFFERING)
    stamps = [d.last_id for raw in diffs if (d := oracle.read_bitstamp_diff(raw))]
    rig.start(early, [raw for raw, stamp in zip(diffs, stamps, strict=True) if stamp <= early_id])
    buffered = []
    rig.engine.set_buffered(0, True)
    for raw, stamp in zip(diffs, stamps, strict=True):
        if stamp > early_id:
            assert rig.feed(raw) == S.APPLIED_AND_BUFFER
            buffered.append(raw)
    assert stamps[-1] >= late_id
    before = rig.published()
    rig.load(late)
    assert {rig.engine.replay(0, raw) for raw in buffered} <= {S.OLD, S.APPLIED}
    rig.check()
    active, spare = rig.active_book(), 1 - rig.active_book()
    equal = all(rig.levels(a, book=active) == rig.levels(a, book=spare) for a in range(2))
    assert rig.engine.differing_levels(0) == 0 or not equal
    assert rig.published() == before, "an audit publishes nothing"


# --- merged --------------------------------------------------------------------------------------


def test_two_recorded_venues_merge_as_the_oracle_says() -> None:
    """Binance BTCUSDT of 2024 and Bitstamp btcusdc of 2021: ticks and prices unlike each other."""
    diffs, books = bitstamp_records(TEN_PAIRS, "btcusdc")
    specs = (
        FeedSpec("binance", BINANCE.rules, 0, "BTCUSDT", "0.01"),
        FeedSpec("bitstamp", BITSTAMP.rules, 1, "btcusdc", "0.005"),
    )
    rig = Rig(InstrumentSpec("BTC", specs, 50), window_slots=1 << 10)
    binance = Pair(rig, oracle.BinanceBook(), 0)
    bitstamp = Pair(rig, oracle.BitstampBook(), 1)
    # The oracle's Bitstamp join: everything up to the snapshot is old, the rest follows.
    bitstamp.start(books[0], [])
    pending = list(diffs)
    compared = 0
    for _, played in play_binance(BTCUSDT, [binance]):
        if played % 3 == 0 and pending:
            raw = pending.pop(0)
            diff = oracle.read_bitstamp_diff(raw)
            assert diff is not None
            status = rig.feed(raw, 1)
            assert (status == S.APPLIED) == (bitstamp.book.on_diff(diff) == "applied")
        published = rig.published()
        bids, asks = oracle.merge([binance.book, bitstamp.book], 50)
        assert published.bids == bids
        assert published.asks == asks
        assert published.is_crossed == oracle.is_crossed(bids, asks)
        compared += 1
        if not JIT_OFF and compared == 1000:
            break
    assert compared >= 100
    assert published.is_crossed
