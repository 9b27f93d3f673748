"""A frame's age on arrival: what is outside a feed's bounds comes back untouched."""

from __future__ import annotations

import pytest

from engine.layout import layout as L
from engine.layout import status as S
from tests.engine.rig import Rig, bitstamp_frame, bitstamp_snapshot, bitstamp_spec

pytestmark = pytest.mark.kernel


def live_bitstamp() -> Rig:
    rig = Rig.single(bitstamp_spec())
    rig.start(bitstamp_snapshot(100, [("99.00", "1")], [("101.00", "1")]))
    return rig


@pytest.mark.parametrize("lag_ns", [-(10**9) - 1, 2 * 10**9 + 1])
def test_a_frame_out_of_its_time_is_not_touched(lag_ns: int) -> None:
    """Issue 13.2: neither taken nor counted nor published, and handled like any other later."""
    rig = live_bitstamp()
    stamp_us = 10**15
    raw = bitstamp_frame(stamp_us, [("100.00", "7")])
    rig.engine.set_lag_bounds(0, -(10**9), 2 * 10**9)
    before, frames = rig.published(), rig.engine.counters(0).frames
    assert rig.feed(raw, receive_ns=stamp_us * 1000 + lag_ns) == S.OUT_OF_TIME
    assert rig.published() == before and rig.engine.counters(0).frames == frames
    assert rig.engine.staged_venue_ns == stamp_us * 1000
    rig.engine.set_lag_bounds(0, -L.ANY_LAG_NS, L.ANY_LAG_NS)
    assert rig.feed(raw, receive_ns=stamp_us * 1000 + lag_ns) == S.APPLIED
    assert rig.levels(0)[10_000] == 7 * 10**8


@pytest.mark.parametrize("lag_ns", [-(10**9), 2 * 10**9])
def test_the_bounds_themselves_are_in_time(lag_ns: int) -> None:
    rig = live_bitstamp()
    rig.engine.set_lag_bounds(0, -(10**9), 2 * 10**9)
    raw = bitstamp_frame(10**15, [("100.00", "7")])
    assert rig.feed(raw, receive_ns=10**18 + lag_ns) == S.APPLIED
