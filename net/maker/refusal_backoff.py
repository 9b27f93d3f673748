"""How long a venue is left alone after it has refused something: no refusal becomes a storm.

    must_wait    the whole venue: it limits our rate, or does not accept us. Nothing is sent
    must_pause   one side of it: orders are refused there. What rests is cancelled, nothing placed

Waits double from refusal to refusal, up to five minutes, until an order is accepted again.
Runs on: the engine thread.
"""

from __future__ import annotations

import random

from engine.layout.units import NS_PER_MS
from engine.maker.order_layout import SIDES
from net.orders.errors import ErrorClass, Refusal
from net.sockets.backoff import Backoff

RATE_WAIT_NS = 10_000 * NS_PER_MS
"""Where a venue limits our rate and does not say for how long: its window of orders."""
BARRED_WAIT_NS = 60_000 * NS_PER_MS
"""Where it does not accept who we are: the order entry itself asks again much later."""
WOULD_TAKE_NS = 200 * NS_PER_MS
"""A post-only order that would have traded: the book that we saw is a moment old. Two of its
frames later it is not."""
PAUSE_FLOOR_MS, PAUSE_LIMIT_MS = 2_000, 300_000


class RefusalBackoff:
    """The waits of every venue and side."""

    def __init__(self, venues: int, rng: random.Random) -> None:
        self._wait_until_ns = [0] * venues
        self._pause_until_ns = [[0] * SIDES for _ in range(venues)]
        self._backoffs = [
            [
                Backoff(
                    random.Random(rng.random()),
                    floor_ms=PAUSE_FLOOR_MS,
                    limit_ms=PAUSE_LIMIT_MS,
                )
                for _ in range(SIDES)
            ]
            for _ in range(venues)
        ]

    def must_wait(self, venue: int, now_ns: int) -> bool:
        """Whether nothing may be sent to the venue."""
        return now_ns < self._wait_until_ns[venue]

    def must_pause(self, venue: int, side: int, now_ns: int) -> bool:
        """Whether nothing may be placed on a side."""
        return now_ns < self._pause_until_ns[venue][side]

    def succeed(self, venue: int, side: int) -> None:
        """An order was accepted."""
        if 0 <= side < SIDES:
            self._backoffs[venue][side].reset()

    def fail(self, venue: int, side: int, error: ErrorClass, now_ns: int) -> tuple[bool, int]:
        """An order was rejected: whether that is ordinary, and how long its side waits in ns.

        For money nothing pauses: what rests is paid for, and net.maker.balances adds nothing to it
        for so long.
        """
        if not 0 <= side < SIDES:
            return True, 0
        if error is ErrorClass.WOULD_TAKE:
            is_ordinary, wait_ns = True, WOULD_TAKE_NS
        else:
            is_ordinary, wait_ns = False, self._backoffs[venue][side].next_ns()
        if error is ErrorClass.INSUFFICIENT_BALANCE:
            return is_ordinary, wait_ns
        until_ns = max(self._pause_until_ns[venue][side], now_ns + wait_ns)
        self._pause_until_ns[venue][side] = until_ns
        return is_ordinary, wait_ns

    def on_trouble(self, venue: int, refusal: Refusal, now_ns: int) -> int:
        """The venue's refusal is about us: how long it is left alone in ns."""
        wait_ns = BARRED_WAIT_NS
        if refusal.error is ErrorClass.RATE_LIMITED:
            wait_ns = refusal.wait_ns if refusal.wait_ns > 0 else RATE_WAIT_NS
        self._wait_until_ns[venue] = max(self._wait_until_ns[venue], now_ns + wait_ns)
        return wait_ns
