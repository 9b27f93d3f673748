"""Waits after refusals: no refusal becomes a storm, and an accepted order ends its side's waits."""

from __future__ import annotations

import random

from engine.maker.order_layout import BUY, NO_SIDE, SELL
from net.maker.refusal_backoff import BARRED_WAIT_NS, RATE_WAIT_NS, WOULD_TAKE_NS, RefusalBackoff
from net.orders.errors import ErrorClass, Refusal

S = 10**9
NOW_NS = 1_700_000_000 * S


def manners() -> RefusalBackoff:
    return RefusalBackoff(2, random.Random(1))


def test_a_side_that_is_refused_pauses_longer_and_longer_until_an_order_is_accepted() -> None:
    here = manners()
    waits = []
    now_ns = NOW_NS
    for _ in range(30):
        is_ordinary, wait_ns = here.fail(0, BUY, ErrorClass.BAD_FILTER, now_ns)
        assert not is_ordinary and here.must_pause(0, BUY, now_ns + wait_ns - 1)
        now_ns += wait_ns
        assert not here.must_pause(0, BUY, now_ns)
        waits.append(wait_ns)
    assert min(waits) >= 2 * S and 100 * S < max(waits) <= 300 * S
    here.succeed(0, BUY)
    assert here.fail(0, BUY, ErrorClass.REJECTED, now_ns)[1] < 3 * S
    assert not here.must_pause(0, SELL, now_ns) and not here.must_pause(1, BUY, now_ns)
    assert not here.must_wait(0, now_ns)


def test_a_quote_that_would_take_waits_for_the_next_book_only() -> None:
    here = manners()
    for _ in range(20):
        assert here.fail(1, SELL, ErrorClass.WOULD_TAKE, NOW_NS) == (True, WOULD_TAKE_NS)
    assert here.fail(1, SELL, ErrorClass.REJECTED, NOW_NS)[1] < 3 * S, "it is no failure"


def test_a_shorter_pause_does_not_end_a_longer_one() -> None:
    here = manners()
    _, wait_ns = here.fail(0, SELL, ErrorClass.BAD_FILTER, NOW_NS)
    here.fail(0, SELL, ErrorClass.WOULD_TAKE, NOW_NS)
    assert here.must_pause(0, SELL, NOW_NS + wait_ns - 1)
    here.on_trouble(0, Refusal(ErrorClass.CLOCK_SKEW, ""), NOW_NS)
    here.on_trouble(0, Refusal(ErrorClass.RATE_LIMITED, "", S), NOW_NS)
    assert here.must_wait(0, NOW_NS + BARRED_WAIT_NS - 1)
    assert not here.must_wait(0, NOW_NS + BARRED_WAIT_NS)


def test_a_venue_that_limits_our_rate_is_left_alone_as_long_as_it_says() -> None:
    here = manners()
    assert here.on_trouble(0, Refusal(ErrorClass.RATE_LIMITED, "", 7 * S), NOW_NS) == 7 * S
    assert here.must_wait(0, NOW_NS + 7 * S - 1) and not here.must_wait(0, NOW_NS + 7 * S)
    assert not here.must_wait(1, NOW_NS)
    for unsaid in (-1, 0):
        refusal = Refusal(ErrorClass.RATE_LIMITED, "", unsaid)
        assert here.on_trouble(1, refusal, NOW_NS) == RATE_WAIT_NS


def test_an_order_whose_side_is_not_known_pauses_nothing() -> None:
    here = manners()
    assert here.fail(0, NO_SIDE, ErrorClass.REJECTED, NOW_NS) == (True, 0)
    here.succeed(0, NO_SIDE)
    assert not any(here.must_pause(0, side, NOW_NS) for side in (BUY, SELL))
