"""A window is as large as the loaded book wants it; a spare book's memory is given back."""

from __future__ import annotations

import random

import pytest

from engine.book.ladder import SLOTS_PER_LEVEL, WINDOW_SLOTS_LEAST
from engine.compiling.jit import JIT_OFF
from engine.layout import layout as L
from engine.sharing.memory import SparseMemory
from engine.specs import SPARE_WINDOWS_BYTES_MAX, WINDOW_SLOTS, InstrumentSpec, kept_window_slots
from tests.engine.rig import (
    Pair,
    Rig,
    binance_frame,
    binance_snapshot,
    binance_spec,
    read_side,
)

MID = 10_000_000
STEP = 37
"""Ticks between two levels: a large book reaches beyond the largest window."""


def rows(levels: int, sign: int, amount: int = 1) -> list[Pair]:
    """A side, its best level at MID or one tick above."""
    first = MID + (sign > 0)
    return [(f"{first + sign * STEP * n}", f"{amount + n}") for n in range(levels)]


def body(last_id: int, levels: int, amount: int = 1) -> bytes:
    return binance_snapshot(last_id, rows(levels, -1, amount), rows(levels, 1, amount))


def new_rig(window_slots: int = WINDOW_SLOTS, feeds: int = 1) -> Rig:
    specs = [binance_spec(f"S{n}", tick="1") for n in range(feeds)]
    each = [InstrumentSpec(f"I{n}", (spec,)) for n, spec in enumerate(specs)]
    return Rig(*each, window_slots=window_slots, far_levels_max=1 << 15)


def slots_of(rig: Rig) -> tuple[int, int]:
    bids, asks = (read_side(rig, 0, rig.active_book(), is_asks).slots for is_asks in range(2))
    return bids, asks


def assert_book(rig: Rig, levels: int, amount: int = 1) -> None:
    for is_asks, sign in ((0, -1), (1, 1)):
        expected = {int(p): int(q) * 10**8 for p, q in rows(levels, sign, amount)}
        assert rig.levels(is_asks) == expected


@pytest.mark.parametrize("levels", [1, 20, 64, 65, 300, 1024, 1025, 5000])
def test_the_window_follows_the_levels_of_the_snapshot(levels: int) -> None:
    rig = new_rig()
    rig.start(body(10, levels))
    wanted = max(WINDOW_SLOTS_LEAST, levels * SLOTS_PER_LEVEL)
    expected = min(WINDOW_SLOTS, 1 << (wanted - 1).bit_length())
    assert slots_of(rig) == (expected, expected)
    rig.check()
    assert_book(rig, levels)


def test_a_cut_side_has_the_largest_window_and_the_other_its_own() -> None:
    rig = new_rig()
    rig.start(binance_snapshot(10, rows(100, -1), rows(99, 1)), levels_limit=100)
    assert slots_of(rig) == (WINDOW_SLOTS, 1 << 14)


def test_a_small_engine_has_small_windows_only() -> None:
    rig = new_rig(window_slots=256)
    rig.start(body(10, 500))
    assert slots_of(rig) == (256, 256)
    rig.check()
    assert_book(rig, 500)


def test_books_of_any_sizes_one_after_the_other() -> None:
    """Where one layout had its far levels or its slots, the next has its bitmap."""
    rig, chance = new_rig(), random.Random(5)
    for turn in range(8 if JIT_OFF else 60):
        levels = chance.choice((1, 3, 20, 100, 400, 1100, 3000))
        rig.start(body(10 + turn, levels, turn + 1))
        rig.check()
        assert_book(rig, levels, turn + 1)
        price = f"{MID - STEP * chance.randrange(levels)}"
        rig.feed(binance_frame(11 + turn, 11 + turn, [(price, "0")], symbol="S0"))
        rig.check()
        assert int(price) not in rig.levels(0)


@pytest.mark.parametrize("feeds", [1, 40])
def test_the_memory_of_a_large_spare_book_is_given_back_among_many(
    feeds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[int, int]] = []
    give_back = SparseMemory.give_back

    def watch(memory: SparseMemory, first: int, end: int) -> None:
        given.append((first, end))
        give_back(memory, first, end)

    monkeypatch.setattr(SparseMemory, "give_back", watch)
    rig = new_rig(feeds=feeds)
    for turn in range(3):
        rig.start(body(10 * turn + 10, 1100, turn + 1))
        rig.check()
        assert_book(rig, 1100, turn + 1)
    assert (len(given) > 0) == (feeds > 1)
    side_words = int(rig.engine.arena[L.ENGINE_SIDE_WORDS])
    spare = rig.feed_at(0) + L.FEED_BOOKS_AT + 2 * (1 - rig.active_book()) * side_words
    if given:
        assert given[-2:] == [
            (side + L.SIDE_SUMMARY_AT, side + side_words) for side in (spare, spare + side_words)
        ]
        assert not rig.engine.arena[spare + L.SIDE_SUMMARY_AT : spare + side_words - 512].any()


def test_a_small_spare_book_is_kept_among_many(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = new_rig(feeds=40)
    rig.start(body(10, 20))  # before it, the window was the largest there is
    monkeypatch.setattr(SparseMemory, "give_back", lambda *_: pytest.fail("it is small"))
    rig.start(body(20, 30))
    rig.check()


def test_spare_books_keep_what_they_may_in_all() -> None:
    for feeds in (1, 2, 7, 8, 33, 64, 128, 1000, 8192):
        slots = kept_window_slots(feeds)
        in_all = feeds * 2 * 8 * slots
        assert in_all <= SPARE_WINDOWS_BYTES_MAX or slots == WINDOW_SLOTS_LEAST
        assert 2 * in_all > SPARE_WINDOWS_BYTES_MAX
    assert kept_window_slots(8) == WINDOW_SLOTS, "two venues of four instruments keep all"
