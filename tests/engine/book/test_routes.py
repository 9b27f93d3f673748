"""Many instruments in one engine: whose a frame is, and which books are published for it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from engine.book import routes
from engine.layout import layout as L
from engine.layout import status as S
from engine.specs import FeedSpec, InstrumentSpec
from tests.engine.rig import (
    Rig,
    binance_frame,
    binance_snapshot,
    binance_spec,
    bitstamp_frame,
    bitstamp_snapshot,
    bitstamp_spec,
)

pytestmark = pytest.mark.kernel

COUNT = 12
START = 1_700_000_000_000_000


def binance(number: int) -> FeedSpec:
    return binance_spec(f"COIN{number}USDT")


def bitstamp(number: int) -> FeedSpec:
    return replace(bitstamp_spec(f"coin{number}usd"), connection=0)


def frame_of(spec: FeedSpec, book_id: int, amount: str) -> bytes:
    """A diff that continues whatever came before."""
    if spec.venue == "binance":
        return binance_frame(START, book_id, [("100.00", amount)], symbol=spec.symbol)
    return bitstamp_frame(book_id, [("100.00", amount)], pair=spec.symbol)


def engine_of(feed: Callable[[int], FeedSpec], count: int = COUNT) -> Rig:
    """Every instrument LIVE, with one level a side."""
    specs = [feed(number) for number in range(count)]
    rig = Rig(*(InstrumentSpec(f"I{each}", (spec,)) for each, spec in enumerate(specs)))
    for each, spec in enumerate(specs):
        make = binance_snapshot if spec.venue == "binance" else bitstamp_snapshot
        rig.start(make(START, [("99.00", "1")], [("101.00", "1")]), feed=each)
    return rig


@pytest.mark.parametrize("feed", [binance, bitstamp])
@pytest.mark.parametrize("count", [routes.FEEDS_MIN, COUNT])
def test_each_frame_reaches_its_feed_and_each_touched_book_is_published(
    feed: Callable[[int], FeedSpec], count: int
) -> None:
    rig, rng = engine_of(feed, count), random.Random(5)
    assert bool(rig.engine.arena[L.ENGINE_ROUTES]) == (count > routes.FEEDS_MIN)
    shown = {each: "" for each in range(count)}
    waiting: dict[int, str] = {}
    sequences = [rig.sequence(each) for each in range(count)]
    for step in range(1, 400):
        number, amount = rng.randrange(count), str(step + 1)
        spec, is_last = rig.engine.feeds[number], rng.random() < 0.4
        status = rig.feed(frame_of(spec, START + step, amount), number, is_last=is_last)
        assert status == S.APPLIED and rig.engine.last_feed == number
        waiting[number] = amount
        if is_last:
            shown |= waiting
            for each in waiting:
                sequences[each] += 1
            waiting.clear()
            assert [rig.sequence(each) for each in range(count)] == sequences
            for each in range(count):
                if shown[each]:
                    assert f"{rig.published(each).bids[0][1].normalize():f}" == shown[each]


@pytest.mark.parametrize("feed", [binance, bitstamp])
def test_the_first_bytes_or_the_last_tell_whose_a_frame_is(
    feed: Callable[[int], FeedSpec],
) -> None:
    rig = engine_of(feed)
    for step in range(1, 4):
        for number in range(COUNT):
            rig.feed(frame_of(feed(number), START + step, str(step)), number)
    arena = rig.engine.arena
    at = int(arena[L.ENGINE_ROUTES_OFFSET])
    table = arena[at : at + int(arena[L.ENGINE_ROUTES])]
    known = set((table & ((1 << routes.FEED_BITS) - 1)).tolist()) - {0}
    assert known == set(range(1, COUNT + 1))
    assert np.count_nonzero(table) == COUNT, "one end of a frame varies"
    before = table.copy()
    for number in range(COUNT):
        rig.feed(frame_of(feed(number), START + 9, "9"), number)
    assert (table == before).all(), "all were found at once"


def test_a_wrong_guess_is_no_harm() -> None:
    rig = engine_of(binance)
    arena = rig.engine.arena
    at = int(arena[L.ENGINE_ROUTES_OFFSET])
    table = arena[at : at + int(arena[L.ENGINE_ROUTES])]
    for step in range(1, 6):
        number_mask = (1 << routes.FEED_BITS) - 1
        table[table != 0] = (table & ~number_mask | 1 + step % COUNT)[table != 0]
        for number in range(COUNT):
            assert rig.feed(frame_of(binance(number), START + step, "3"), number) == S.APPLIED
            assert rig.engine.last_feed == number


def test_a_book_that_is_withdrawn_while_it_waits_is_told_once() -> None:
    rig = engine_of(binance)
    rig.feed(frame_of(binance(3), START + 1, "5"), 3, is_last=False)
    before = rig.sequence(3)
    rig.set_state(L.BUFFERING, 3)
    rig.engine.publish_touched()
    assert rig.sequence(3) == before + 1
    rig.set_state(L.LIVE, 3)
    rig.feed(frame_of(binance(3), START + 2, "6"), 3)
    assert rig.sequence(3) == before + 3
