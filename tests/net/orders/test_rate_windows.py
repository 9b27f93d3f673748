"""How many requests fit into a venue's windows of time."""

from __future__ import annotations

import random

import pytest

from net.orders.rate_windows import RateLimit, RateWindows

S = 10**9
LIMITS = (RateLimit(20, 10 * S, 5), RateLimit(4, S, 1))


def test_new_orders_leave_room_for_cancels_in_every_window() -> None:
    rates = RateWindows(*LIMITS)
    for _ in range(3):
        assert rates.has_room(0, True)
        rates.add(0)
    assert not rates.has_room(0, True) and rates.has_room(0, False)
    rates.add(0)
    assert not rates.has_room(0, False) and not rates.has_room(S - 1, False)
    assert rates.has_room(S, True), "a window that has passed"


@pytest.mark.parametrize("seed", range(5))
def test_no_window_ever_has_more_than_its_limit(seed: int) -> None:
    chance = random.Random(seed)
    rates, sent, now_ns = RateWindows(*LIMITS), list[int](), 0
    for _ in range(2_000):
        now_ns += chance.choice((0, 0, S // 7, S))
        counts = [sum(at > now_ns - each.window_ns for at in sent) for each in LIMITS]
        for is_order in (False, True):
            room = [each.requests_max - is_order * each.spare for each in LIMITS]
            fits = all(count < most for count, most in zip(counts, room, strict=True))
            assert rates.has_room(now_ns, is_order) == fits
        if rates.has_room(now_ns, False):
            rates.add(now_ns)
            sent.append(now_ns)
    assert len(sent) > 100


def test_a_limit_that_spares_everything_is_a_mistake_of_ours() -> None:
    with pytest.raises(AssertionError):
        RateWindows(RateLimit(5, S, 5))
