"""The ladder against a dictionary: tiny windows, small far stores, prices that travel far.

After every step the side's structural invariants are asserted (`check_side`) and every level is
compared. Prices are ticks here: the tick size is 1.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.compiling.jit import JIT_OFF
from engine.layout import layout as L
from engine.layout import status as S
from engine.specs import InstrumentSpec
from tests.engine.rig import (
    Rig,
    Side,
    binance_snapshot,
    binance_spec,
    bitstamp_frame,
    bitstamp_snapshot,
    bitstamp_spec,
    check_side,
    read_side,
)

Change = tuple[int, int, int]
"""Is it an ask, the price in ticks, the lots (zero deletes)."""

STEPS = 150 if JIT_OFF else 6000


def lots_text(lots: int) -> str:
    return f"{lots // 10**8}.{lots % 10**8:08d}"


@dataclass
class Walk:
    """A Bitstamp book (it never gaps) and the dictionary of what it should hold."""

    window_slots: int = 64
    far_levels_max: int = 4096
    depth: int = 10
    truth: tuple[dict[int, int], dict[int, int]] = field(default_factory=lambda: ({}, {}))
    stamp: int = 10**15

    def __post_init__(self) -> None:
        self.rig = Rig.single(
            bitstamp_spec(tick="1"),
            depth=self.depth,
            window_slots=self.window_slots,
            far_levels_max=self.far_levels_max,
        )
        self.rig.start(bitstamp_snapshot(self.stamp))

    def frame(self, changes: list[Change]) -> bytes:
        self.stamp += 1
        sides: tuple[list[tuple[str, str]], list[tuple[str, str]]] = ([], [])
        for is_asks, price, lots in changes:
            sides[is_asks].append((str(price), lots_text(lots)))
        return bitstamp_frame(self.stamp, *sides)

    def apply(self, changes: list[Change]) -> None:
        """One frame: into the engine and into the dictionary."""
        status = self.rig.feed(self.frame(changes))
        assert status == S.APPLIED or status == S.CROSSED_TOO_LONG, S.TEXTS[status]
        for is_asks, price, lots in changes:
            if lots:
                self.truth[is_asks][price] = lots
            else:
                self.truth[is_asks].pop(price, None)

    def side(self, is_asks: int) -> Side:
        return read_side(self.rig, 0, self.rig.active_book(), is_asks)

    def check(self) -> None:
        """All invariants; all levels, or above the horizon where the far store overflowed."""
        for is_asks in range(2):
            check_side(self.rig, 0, self.rig.active_book(), is_asks)
            side = self.side(is_asks)
            sign = -1 if is_asks else 1
            truth = {sign * price: lots for price, lots in self.truth[is_asks].items()}
            if side.far_dropped == 0:
                assert side.horizon == L.NO_KEY
                assert side.levels == truth
                continue
            assert side.horizon > L.NO_KEY
            known = {key: lots for key, lots in truth.items() if key > side.horizon}
            held = {key: lots for key, lots in side.levels.items() if key > side.horizon}
            assert held == known, "a wrong level above the horizon"
            assert side.levels.items() <= truth.items(), "a level that was never there"

    def check_published(self) -> None:
        """What readers see is what the sides hold."""
        self.rig.engine.publish_touched()
        published = self.rig.published()
        for levels, is_asks in ((published.bids, 0), (published.asks, 1)):
            sign = -1 if is_asks else 1
            held = sorted(self.side(is_asks).levels.items(), reverse=True)[: self.depth]
            seen = [(sign * int(price), int(amount * 10**8)) for price, amount, _ in levels]
            assert seen == held


# --- examples ------------------------------------------------------------------------------------


def test_a_price_that_travels_far_and_back_loses_nothing() -> None:
    walk = Walk()
    for price in [*range(10_000, 12_000, 7), *range(12_000, 8_000, -13), *range(8_000, 9_999, 11)]:
        walk.apply([(0, price, price), (1, price + 5_000, price)])
    walk.check()
    assert len(walk.truth[0]) > (700 if not JIT_OFF else 100)
    for price in sorted(walk.truth[0], reverse=True):
        walk.apply([(0, price, 0)])
        if price % 8 == 0:
            walk.check()
            walk.check_published()
    for price in sorted(walk.truth[1]):
        walk.apply([(1, price, 0)])
        if price % 8 == 0:
            walk.check()
    walk.check()
    assert walk.rig.engine.counters(0).unknown_deletes == 0
    assert walk.truth == ({}, {})


@pytest.mark.parametrize("window_slots", [64, 128, 4096, 8192])
def test_levels_at_every_edge_of_the_window(window_slots: int) -> None:
    """Slots at word, group and window boundaries; the bitmap's second and third level included."""
    walk = Walk(window_slots=window_slots)
    walk.apply([(0, 1_000_003, 1)])
    low = walk.side(0).window_low
    assert low <= 1_000_003 < low + window_slots
    offsets = {0, 1, window_slots // 4 - 1, window_slots // 4, window_slots - 1}
    offsets |= {o + d for o in range(0, window_slots, 4096) for d in (0, 1, 62, 63)}
    for offset in sorted(o for o in offsets if 0 <= o < window_slots):
        walk.apply([(0, low + offset, offset + 1), (0, low - 1 - offset, 5)])
        walk.check()
    for price in sorted(walk.truth[0], reverse=True):
        walk.apply([(0, price, 0)])
        walk.check()


def test_the_largest_window_and_sparse_slots() -> None:
    """64^3 slots: a search must cross from one top-level bit to another, both ways round."""
    walk = Walk(window_slots=L.WINDOW_SLOTS_MAX, far_levels_max=64)
    rng = random.Random(7)
    prices = [10**7 + rng.randrange(-(2**17), 2**16) for _ in range(8 if JIT_OFF else 40)]
    for price in prices:
        walk.apply([(0, price, 3), (1, 3 * 10**7 - price, 4)])
    walk.check()
    walk.check_published()
    for price in sorted(set(prices), reverse=True)[:-1]:
        walk.apply([(0, price, 0), (1, 3 * 10**7 - price, 0)])
        walk.check_published()
    walk.check()


def test_the_last_level_leaves_and_another_comes_anywhere() -> None:
    walk = Walk()
    for price in (5_000, 1, 2**40, 5_031, 4_969, 5_064, 4_936, 2**62 - 1, 63):
        walk.apply([(0, price, 1)])
        walk.check()
        walk.apply([(0, price, 0)])
        walk.check()
        walk.check_published()


def test_deleting_the_window_finds_the_best_in_the_far_store() -> None:
    walk = Walk()
    walk.apply([(0, 1_000, 1), (0, 10, 2), (0, 9, 3), (0, 500, 4)])
    assert [key for key, _ in walk.side(0).far] == [9, 10, 500]
    walk.apply([(0, 1_000, 0)])
    walk.check()
    assert walk.side(0).best == 500
    walk.apply([(0, 500, 0)])
    assert walk.side(0).best == 10
    walk.check()


def test_a_best_that_sinks_takes_the_window_with_it() -> None:
    """In the window's lowest quarter with levels left behind: the window follows down."""
    walk = Walk(window_slots=256)
    walk.apply([(0, 10_000, 1)])
    sunken = walk.side(0).window_low + 8
    walk.apply([(0, sunken, 1), (0, sunken - 100, 1), (0, sunken - 3_000, 1)])
    assert [key for key, _ in walk.side(0).far] == [sunken - 3_000, sunken - 100]
    for price in (10_000, sunken, sunken - 100):
        walk.apply([(0, price, 0)])
        side = walk.side(0)
        assert side.best - side.window_low >= side.slots // 4
        walk.check()


def test_the_worst_level_is_found_from_every_word_of_the_window() -> None:
    """The search upwards crosses words and groups of the bitmap, wherever the window starts."""
    slots = 8_192
    walk = Walk(window_slots=slots)
    for start in range(10**6, 10**6 + slots, 704 if JIT_OFF else 64):
        for distance in (65, 127, 4_096, 4_161, 6_000):
            walk.stamp += 1
            walk.rig.start(bitstamp_snapshot(walk.stamp, [(str(start), "1")]))
            walk.truth = ({start: 10**8}, {})
            worst = walk.side(0).window_low + distance
            walk.apply([(0, worst, 2)])
            assert worst in walk.side(0).window
            walk.apply([(0, start + 2 * slots, 3)])
            walk.check()
            assert [key for key, _ in walk.side(0).far] == [worst, start]


def test_deleted_far_levels_come_back_and_leave_no_ghost() -> None:
    """Set, deleted and set again far below; at the store's end, its middle, and when it is full."""
    walk = Walk(far_levels_max=16)
    walk.apply([(0, 10_000, 1)])
    far = [100 * n for n in range(1, 17)]
    walk.apply([(0, price, price) for price in far])
    for gone in ([100], [1_600], [1_500, 1_600], [1_600, 1_500], far[4:9], far):
        walk.apply([(0, price, 0) for price in gone])
        walk.check()
        unknown = walk.rig.engine.counters(0).unknown_deletes
        walk.apply([(0, price, 0) for price in gone])
        assert walk.rig.engine.counters(0).unknown_deletes == unknown + len(gone)
        walk.apply([(0, price, 7) for price in gone])
        walk.check()
    walk.apply([(0, price, 0) for price in far[::2]])
    walk.apply([(0, price + 1, 5) for price in far[::2]])
    walk.check()
    assert walk.side(0).far_dropped == 0, "there was room where the deleted ones had been"
    walk.apply([(0, 10_000, 0)])
    walk.check()
    walk.check_published()


def test_zero_of_an_unknown_level_changes_nothing_and_is_counted() -> None:
    walk = Walk()
    walk.apply([(0, 100, 1), (1, 300, 1)])
    before = walk.rig.sequence()
    walk.apply([(0, 99, 0), (0, 1, 0), (0, 5_000, 0), (1, 9_000, 0), (1, 1, 0)])
    assert walk.rig.engine.counters(0).unknown_deletes == 5
    walk.check()
    assert walk.rig.sequence() == before
    walk.apply([(0, 100, 1), (1, 300, 1)])
    assert walk.rig.sequence() == before, "the same lots again are no change"
    assert walk.rig.engine.counters(0).unknown_deletes == 5


def test_one_frame_may_name_a_price_twice_the_last_one_counts() -> None:
    walk = Walk()
    walk.apply([(0, 100, 1), (0, 100, 0), (0, 101, 0), (0, 101, 7), (1, 200, 5), (1, 200, 6)])
    assert walk.truth == ({101: 7}, {200: 6})
    walk.check()
    walk.check_published()


# --- the far store's limit -----------------------------------------------------------------------


@pytest.mark.parametrize("far_levels_max", [128, 256])
def test_a_full_far_store_drops_its_worst_and_says_so(far_levels_max: int) -> None:
    walk = Walk(far_levels_max=far_levels_max)
    walk.apply([(0, 10**6, 1), (1, 2 * 10**6, 1)])
    for index in range(3 * far_levels_max):
        walk.apply([(0, 1_000 + 7 * index, 1 + index), (1, 9 * 10**6 - 7 * index, 1 + index)])
        if index % 16 == 0:
            walk.check()
    walk.check()
    for is_asks in range(2):
        side = walk.side(is_asks)
        assert side.far_dropped >= far_levels_max
        assert len(side.far) + side.far_dropped == 3 * far_levels_max
        assert side.horizon > L.NO_KEY
    assert not walk.rig.engine.is_incomplete(0), "the published depth is known"
    walk.apply([(0, 10**6, 0)])
    horizon = walk.side(0).horizon
    while walk.side(0).best > horizon and walk.truth[0]:
        walk.apply([(0, max(walk.truth[0]), 0)])
        walk.check()
    assert walk.rig.engine.is_incomplete(0)
    assert walk.rig.published().incomplete == (True,)


def test_evicting_into_a_full_far_store_drops_there() -> None:
    walk = Walk(far_levels_max=128)
    for price in range(1_000, 1_000 + 64 * 12):
        walk.apply([(0, price, price)])
        if price % 32 == 0:
            walk.check()
    walk.check()
    assert walk.side(0).far_dropped > 0


def test_a_dropped_level_is_not_published_as_a_ghost() -> None:
    walk = Walk(far_levels_max=4, depth=10)
    walk.apply([(0, price, 1) for price in [*range(95, 101), 10, 9, 8, 7]])
    walk.apply([(0, 5, 1)])
    walk.apply([(0, 7, 0)])
    published = walk.rig.published()
    assert 7 not in [int(price) for price, _, _ in published.bids]


# --- snapshots -----------------------------------------------------------------------------------


def test_a_cut_snapshot_has_a_horizon_and_a_whole_one_has_none() -> None:
    bids = [(str(price), "1") for price in range(1_000, 900, -1)]
    asks = [(str(price), "1") for price in range(1_001, 1_050)]
    rig = Rig.single(binance_spec(tick="1"), depth=10)
    rig.start(binance_snapshot(5, bids, asks), levels_limit=100)
    assert read_side(rig, 0, 1, 0).horizon == 900
    assert read_side(rig, 0, 1, 1).horizon == L.NO_KEY, "49 of 100: that side is whole"
    assert not rig.engine.is_incomplete(0)
    rig.start(binance_snapshot(6, bids[:5], asks[:3]), levels_limit=5)
    assert rig.engine.is_incomplete(0)
    assert rig.published().incomplete == (True,)
    rig.start(binance_snapshot(7, bids[:5], asks[:3]))
    assert not rig.engine.is_incomplete(0)
    rig.start(binance_snapshot(8, [*bids, ("1", "1")], asks), levels_limit=100)
    assert read_side(rig, 0, 0, 0).horizon == 900, "a farther one was not asked for"
    rig.start(binance_snapshot(9, [*bids[:99], ("0", "1")], asks), levels_limit=100)
    assert read_side(rig, 0, 1, 0).horizon == 901, "one of the hundred has no price"
    rig.check()


snapshot_rows = st.lists(
    st.tuples(st.integers(1, 3_000), st.integers(0, 5)), max_size=60, unique_by=lambda row: row[0]
)


@given(bids=snapshot_rows, asks=snapshot_rows, others=snapshot_rows)
def test_any_snapshot_in_any_order_replaces_the_book(
    bids: list[tuple[int, int]], asks: list[tuple[int, int]], others: list[tuple[int, int]]
) -> None:
    rig = Rig.single(bitstamp_spec(tick="1"))
    for number, rows in enumerate((others, bids, bids, others, bids), 1):
        texts = [(str(price), lots_text(lots)) for price, lots in rows]
        rig.start(bitstamp_snapshot(number, texts, [(str(p), lots_text(q)) for p, q in asks]))
        rig.check()
    assert rig.levels(0) == {price: lots for price, lots in bids if lots}
    assert rig.levels(1) == {price: lots for price, lots in asks if lots}


def test_a_snapshot_that_names_a_price_twice_is_read_as_a_diff_is() -> None:
    rig = Rig.single(bitstamp_spec(tick="1"))
    rig.start(bitstamp_snapshot(1, [("100", "1"), ("100", "2"), ("99", "3")]))
    assert rig.levels(0) == {100: 2 * 10**8, 99: 3 * 10**8}


# --- properties ----------------------------------------------------------------------------------


@st.composite
def walks(draw: st.DrawFn) -> list[list[Change]]:
    """Frames whose prices crawl, jump far away and come back, with many deletes of known levels."""
    middle = draw(st.integers(2_000, 5_000))
    frames: list[list[Change]] = []
    for _ in range(draw(st.integers(1, 25))):
        middle += draw(st.sampled_from([0, 0, 1, -1, 7, -16, 48, -63, 64, 200, -500, 1_000]))
        middle = max(middle, 1_200)
        rows = draw(
            st.lists(
                st.tuples(
                    st.integers(0, 1),
                    st.one_of(st.integers(0, 12), st.integers(0, 130), st.integers(0, 1_000)),
                    st.sampled_from([0, 0, 1, 2, 3]),
                ),
                min_size=1,
                max_size=8,
            )
        )
        # A bid stands at or below the middle, an ask above it: crossed now and then.
        frames.append([(a, middle + 1 + d if a else middle - d, lots) for a, d, lots in rows])
    return frames


@given(frames=walks(), window_slots=st.sampled_from([64, 128, 256]))
def test_any_walk_is_the_dictionary(frames: list[list[Change]], window_slots: int) -> None:
    walk = Walk(window_slots=window_slots)
    for changes in frames:
        walk.apply(changes)
        walk.check()
    walk.check_published()
    for is_asks in range(2):
        for price in sorted(walk.truth[is_asks], reverse=not is_asks):
            walk.apply([(is_asks, price, 0)])
        walk.check()
    assert walk.truth == ({}, {})


@given(frames=walks(), far_levels_max=st.sampled_from([4, 5, 8, 16]))
@example(frames=[[(0, p, 1)] for p in (3_000, 1, 3, 5, 7, 9, 11, 2)], far_levels_max=4)
def test_any_walk_with_a_full_far_store_is_right_above_its_horizon(
    frames: list[list[Change]], far_levels_max: int
) -> None:
    # Depth 1: the published level is always in the window (see the ghost test for the rest).
    walk = Walk(far_levels_max=far_levels_max, depth=1)
    horizons = [L.NO_KEY, L.NO_KEY]
    dropped = [0, 0]
    for changes in frames:
        walk.apply(changes)
        for is_asks in range(2):
            side = walk.side(is_asks)
            assert side.horizon >= horizons[is_asks], "a horizon never falls"
            assert (side.far_dropped > dropped[is_asks]) >= (side.horizon > horizons[is_asks])
            horizons[is_asks], dropped[is_asks] = side.horizon, side.far_dropped
        walk.check()
        walk.check_published()


MIRROR = 64 * 100_000
"""A price p mirrors to MIRROR - p: a multiple of the window, so that even the slots correspond."""


def mirrored(changes: list[Change]) -> list[Change]:
    return [(1 - is_asks, MIRROR - price, lots) for is_asks, price, lots in changes]


@given(frames=walks(), far_levels_max=st.sampled_from([8, 64, 1024]))
def test_the_mirrored_stream_gives_the_mirrored_book(
    frames: list[list[Change]], far_levels_max: int
) -> None:
    walk, mirror = Walk(far_levels_max=far_levels_max), Walk(far_levels_max=far_levels_max)
    for changes in frames:
        walk.apply(changes)
        # Within one frame a side's own order is kept by the mirror, and sides do not meet.
        mirror.apply(mirrored(changes))
        for is_asks in range(2):
            one, other = walk.side(is_asks), mirror.side(1 - is_asks)
            # A bid's key is p, its mirror image, an ask, has the key p - MIRROR; and the reverse.
            shift = MIRROR if is_asks == 0 else -MIRROR
            assert {key - shift: lots for key, lots in one.window.items()} == other.window
            assert [(key - shift, lots) for key, lots in one.far] == other.far
            assert [(key - shift, lots) for key, lots in one.top] == other.top
            if one.levels:
                assert one.best - shift == other.best
                assert one.window_low - shift == other.window_low
            assert one.far_dropped == other.far_dropped
            assert (one.horizon == L.NO_KEY) == (other.horizon == L.NO_KEY)
            assert one.horizon == L.NO_KEY or one.horizon - shift == other.horizon


# --- a long walk ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("seed", "window_slots", "far_max"), [(1, 64, 4096), (2, 128, 128)])
def test_a_long_random_market(seed: int, window_slots: int, far_max: int) -> None:
    """A market that drifts, gaps and empties; checked at every step. The seed reproduces it."""
    rng = random.Random(seed)
    walk = Walk(window_slots=window_slots, far_levels_max=far_max)
    middle = 100_000
    for step in range(STEPS):
        middle += rng.choice([0, 0, 0, 1, -1, 2, -2, 30, -30] + [900, -900] * (step % 50 == 0))
        changes: list[Change] = []
        for is_asks in range(2):
            truth = walk.truth[is_asks]
            sign = 1 if is_asks else -1
            # What the market has walked over goes, as at a venue.
            stale = [p for p in truth if (p <= middle if is_asks else p > middle)]
            changes += [(is_asks, price, 0) for price in stale]
            for _ in range(rng.randrange(4)):
                distance = int(rng.paretovariate(0.7)) % 20_000 + is_asks
                changes.append((is_asks, middle + sign * distance, rng.choice([0, 1, 2, 3])))
            if truth and rng.random() < 0.3:
                changes.append((is_asks, rng.choice(list(truth)), 0))
        if rng.random() < 0.01:
            changes += [(a, p, 0) for a, p in itertools.product((0, 1), list(walk.truth[0]))]
        walk.apply(changes)
        if step % 7 == 0:
            walk.check()
    walk.check()
    walk.check_published()


def test_two_feeds_do_not_touch_each_other() -> None:
    """Both books of both feeds, side by side in the arena: one changes, the others do not."""
    specs = (bitstamp_spec(tick="1"), bitstamp_spec("ethusd", "1", venue="other"))
    rig = Rig(InstrumentSpec("X", specs), window_slots=64, far_levels_max=4)
    for feed in range(2):
        rows = [(str(1_000 + 10 * index), "1") for index in range(30)]
        rig.start(bitstamp_snapshot(1, rows, rows), feed=feed)
        rig.load(bitstamp_snapshot(2, rows[::2], rows[::3]), feed)
    watched = [(1, book, is_asks) for book in range(2) for is_asks in range(2)]
    watched += [(0, 1 - rig.active_book(0), is_asks) for is_asks in range(2)]
    before = [read_side(rig, *each).levels for each in watched]
    for index in range(20 if JIT_OFF else 200):
        row = [(str(900 + 17 * index % 700), str(index % 3))]
        rig.feed(bitstamp_frame(10 + index, row, row))
    assert [read_side(rig, *each).levels for each in watched] == before
    rig.check(0)
    rig.check(1)
