"""A venue's request limit: what is left of it in this window, and who is served next.

Requests wait here, the most urgent first, and of equals the one that came first. A part is kept
back, enough for a light request for each book there is: audits may not use it, nor the heavier
ones of a request that is offered at several weights (a book at several depths).
Runs on: one event loop.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from net.sockets.http_body import RestError
from net.venues.interface import RestLimit

OWN_SHARE = 0.5
"""The part of a venue's limit that we use: windows of ours and of the venue's begin at different
times, so that two of ours may fall into one of the venue's."""
TOTAL_SHARE = 0.9
"""How far we go where the venue says that others at this address use it too."""
RESERVE_SHARE_MAX = 0.5
"""The most of ours that is kept back, whatever the number of books."""
ROLLOVER_S = 0.1
"""After the window's end, before the next request: clocks differ."""


class Urgency(IntEnum):
    """What a request is for, the most urgent first."""

    METADATA = 0
    LOST_BOOK = 1
    AUDIT = 2


@dataclass(order=True)
class _Waiter:
    urgency: Urgency
    number: int
    weights: tuple[int, ...] = field(compare=False)
    """Ascending."""
    granted: asyncio.Future[int] = field(compare=False)
    """Which of the weights."""


class RequestLimit:
    """One venue's limit, for all requests of this process; all on one loop."""

    def __init__(self, limit: RestLimit, reserve: int = 0) -> None:
        """`reserve`: the weight of a light request for each book."""
        self._limit = limit
        self._reserve = min(reserve, int(limit.weight_max * OWN_SHARE * RESERVE_SHARE_MAX))
        self._window_start_s = 0.0
        self._own_weight = self._total_weight = 0
        self._not_before_s = 0.0
        self._waiters: list[_Waiter] = []
        self._numbers = itertools.count()
        self._timer: asyncio.TimerHandle | None = None

    async def take(self, weights: Sequence[int], urgency: Urgency) -> int:
        """Wait for room; the index of the weight that was given, of those offered, ascending.

        RestError at once, or while it waits: the venue asked to be left alone.
        """
        assert weights and list(weights) == sorted(weights)
        if weights[0] > self._limit.weight_max * OWN_SHARE:
            raise RestError(
                f"a request of weight {weights[0]} is more than the venue's limit allows"
            )
        self._raise_if_banned()
        granted: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        heapq.heappush(
            self._waiters, _Waiter(urgency, next(self._numbers), tuple(weights), granted)
        )
        self._serve()
        try:
            return await granted
        except asyncio.CancelledError:
            self._serve()  # whoever was behind this one
            raise

    def learn_total(self, weight: int) -> None:
        """The venue's own count of this window: others at this address may have used it too."""
        self._total_weight = max(self._total_weight, weight)

    def leave_alone(self, wait_s: float) -> None:
        """The venue wants no request for so long: whoever waits is told."""
        self._not_before_s = max(self._not_before_s, time.monotonic() + wait_s)
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.granted.done():
                waiter.granted.set_exception(self._ban())

    def _raise_if_banned(self) -> None:
        if time.monotonic() < self._not_before_s:
            raise self._ban()

    def _ban(self) -> RestError:
        left_s = max(self._not_before_s - time.monotonic(), 0.0)
        return RestError("the venue asked to be left alone", left_s)

    def _serve(self) -> None:
        """Give room to those who wait, in their order, as far as there is any."""
        now_s = time.monotonic()
        if now_s - self._window_start_s >= self._limit.window_s:
            self._window_start_s, self._own_weight, self._total_weight = now_s, 0, 0
        while self._waiters:
            waiter = self._waiters[0]
            if waiter.granted.done():  # given up
                heapq.heappop(self._waiters)
                continue
            index = self._affordable(waiter)
            if index is None:
                self._serve_at(self._window_start_s + self._limit.window_s + ROLLOVER_S - now_s)
                return
            heapq.heappop(self._waiters)
            weight = waiter.weights[index]
            self._own_weight += weight
            self._total_weight = max(self._total_weight + weight, self._own_weight)
            waiter.granted.set_result(index)

    def _affordable(self, waiter: _Waiter) -> int | None:
        """The heaviest of its weights that there is room for; None: none."""
        room = min(
            self._limit.weight_max * OWN_SHARE - self._own_weight,
            self._limit.weight_max * TOTAL_SHARE - self._total_weight,
        )
        is_first = self._own_weight == 0  # what is left beside the reserve may never be enough
        spare = room if is_first else room - self._reserve
        is_urgent = waiter.urgency is not Urgency.AUDIT
        for index in reversed(range(len(waiter.weights))):
            if waiter.weights[index] <= (room if is_urgent and index == 0 else spare):
                return index
        return None

    def _serve_at(self, wait_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(max(wait_s, 0.0), self._serve)
