"""REST between a venue and its book syncs, with what befalls it: by the rules of net.feed.rest.

Runs on: the tests' thread.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Protocol

from engine.engine import Engine, Stage
from net.feed.book_sync import BookSync
from net.feed.snapshot_request import SnapshotRequest
from net.venues.interface import VenueProtocol
from tests.simulation.faults import ON_REST, Schedule, flipped_body
from tests.simulation.market import Market

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
RETRY_AFTER_S = (1, 20)
STAGE_LEVELS = 128


class Clock(Protocol):
    """The scheduler."""

    now_ns: int

    def wall_ns(self) -> int:
        """The host's wall clock, which is set now and then."""

    def after(self, delay_ns: int, act: Callable[[], None]) -> None:
        """Do something later."""

    def say(self, text: str, *facts: object) -> None:
        """One line for the trace."""


class Window:
    """Events of the last so many seconds, weighed: what venues limit."""

    def __init__(self, seconds: int, weight_max: int) -> None:
        self.total = self.most = self.weight = 0
        self._seconds, self._weight_max = seconds, weight_max
        self._events: deque[tuple[int, int]] = deque()

    def add(self, now_ns: int, weight: int) -> None:
        self.total += 1
        self.weight += weight
        self._events.append((now_ns, weight))
        while self._events[0][0] < now_ns - self._seconds * NS_PER_S:
            self.weight -= self._events.popleft()[1]
        self.most = max(self.most, self.weight)
        assert self.weight <= self._weight_max, f"{self.weight} in {self._seconds} s"


class Disturbed(Protocol):
    """The venue's connection."""

    disturbed_ns: int


class Rest:
    """Answers a venue's snapshot requests, as net.feed.rest does."""

    def __init__(
        self,
        clock: Clock,
        schedule: Schedule,
        engine: Engine,
        link: Disturbed,
        protocol: VenueProtocol,
        markets: dict[int, Market],
        rng: random.Random,
    ) -> None:
        limit = protocol.rest_limit
        self.requests = Window(limit.window_s, limit.weight_max)
        self._clock, self._schedule, self._engine = clock, schedule, engine
        self._link, self._markets, self._rng = link, markets, rng
        self._not_before_ns = 0

    def fetch(self, sync: BookSync, request: SnapshotRequest) -> None:
        """Ask; the answer comes later, or never."""
        clock, rng, protocol = self._clock, self._rng, sync.protocol
        wait_ns = self._not_before_ns - clock.now_ns
        if wait_ns > 0:
            clock.after(NS_PER_MS, lambda: self._fail(sync, request, "left alone", wait_ns))
            return
        # The simulated books are small; a snapshot weighs what the default depth does.
        self.requests.add(
            clock.now_ns,
            protocol.snapshot_weight(protocol.snapshot_depths(protocol.own_settings())[-1]),
        )
        fault = self._schedule.strike(ON_REST, protocol.name, clock.now_ns)
        sync.on_snapshot_sent(request.number, clock.now_ns)
        clock.say("{} {} asks: {}", protocol.name, sync.spec.symbol, fault or "well")
        if fault:
            self._link.disturbed_ns = clock.now_ns
        if fault == "lost":
            return
        delay_ns = rng.randrange(10, 300) * NS_PER_MS
        clock.after(delay_ns, lambda: self._answer(sync, request, fault))

    def _answer(self, sync: BookSync, request: SnapshotRequest, fault: str) -> None:
        """The venue writes its answer; it is read a little later, or much."""
        clock, rng = self._clock, self._rng
        late_ns = rng.randrange(3_000, 45_000) if fault == "late" else rng.randrange(10, 200)
        late_ns *= NS_PER_MS
        if fault in ("error", "limited"):
            retry_ns = rng.randrange(*RETRY_AFTER_S) * NS_PER_S if fault == "limited" else 0
            self._not_before_ns = max(self._not_before_ns, clock.now_ns + retry_ns)
            clock.after(late_ns, lambda: self._fail(sync, request, f"HTTP: {fault}", retry_ns))
            return
        body = self._body(sync, fault)
        clock.after(late_ns, lambda: self._arrive(sync, request, body))

    def _body(self, sync: BookSync, fault: str) -> bytes:
        rng, market = self._rng, self._markets[sync.feed]
        limit = sync.snapshot_depth or None
        if fault == "page":
            return b"<!DOCTYPE html>\n<html><body>Please complete the security check</body></html>"
        if fault == "empty":
            return market.snapshot(0)
        if fault == "old":
            ids = list(market.books)[-40:]
            return market.snapshot(limit, rng.choice(ids)) if ids else market.snapshot(limit)
        if fault == "ahead":
            ahead = rng.randrange(10**6, 10**9)
            market.forged[market.book_id + ahead] = self._clock.now_ns
            return market.snapshot(limit, ahead=ahead)
        if fault == "foreign":
            other = self._markets[rng.choice([each for each in self._markets if each != sync.feed])]
            body = other.snapshot(limit)
            market.forged[other.book_id] = self._clock.now_ns
            return body
        body = market.snapshot(limit, fault=fault)
        if fault == "body-cut":
            return body[: rng.randrange(len(body))]
        return flipped_body(body, market, rng) if fault == "body-flip" else body

    def _arrive(self, sync: BookSync, request: SnapshotRequest, body: bytes) -> None:
        now_ns, stage = self._clock.now_ns, Stage(STAGE_LEVELS)
        self._engine.stage(sync.feed, body, stage)
        self._clock.say("{} {} gets {}", sync.spec.venue, sync.spec.symbol, stage.last_id)
        is_awaited = sync.is_asking and sync.request.number == request.number
        if is_awaited and stage.last_id and not sync._buffer:
            self._markets[sync.feed].hide(stage.last_id, now_ns)
        sync.on_snapshot(request.number, stage, sync.snapshot_depth, now_ns)

    def _fail(
        self, sync: BookSync, request: SnapshotRequest, reason: str, retry_after_ns: int
    ) -> None:
        sync.on_snapshot_failed(request.number, reason, self._clock.now_ns, retry_after_ns)
