"""Snapshots that the engine thread asks for: fetched here, decoded in a helper thread.

One request of a feed is under way at a time; a book that is lost is asked for before one that is
only compared, and at the depth that the venue's limit allows (net.feed.rest_limit).
Runs on: the main thread's loop; `request` and `cancel` on the engine thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from engine.engine import Engine, Stage
from engine.layout.units import NS_PER_MS
from net.config.schema import Config
from net.daemon.tick_sizes import Record
from net.feed.rest import RestClient
from net.feed.rest_limit import Urgency
from net.feed.snapshot_request import SnapshotRequest
from net.sockets.http_body import RestError
from net.venues.registry import VENUES
from tuning.clock import wall_ns


class SnapshotReceiver(Protocol):
    """Who is given the snapshots; all of it is called on the main thread."""

    engine: Engine

    def snapshot_sent(self, request: SnapshotRequest) -> None:
        """It has left for the venue."""

    def snapshot(self, request: SnapshotRequest, stage: Stage, depth: int) -> None:
        """It came, and was decoded if it can be: the stage says."""

    def snapshot_failed(self, request: SnapshotRequest, reason: str, retry_after_s: float) -> None:
        """There is none: why, and how long the venue wants to be left alone."""


class Snapshots:
    """The requests of one engine that are under way. Create on the main thread's loop."""

    def __init__(
        self,
        config: Config,
        clients: Mapping[str, RestClient],
        record: Record,
        receiver: SnapshotReceiver,
    ) -> None:
        self._config = config
        self._clients = clients
        self._record = record
        self._receiver = receiver
        self._loop = asyncio.get_running_loop()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        """By feed."""
        self._is_closed = False

    def request(self, request: SnapshotRequest) -> None:
        """From the engine thread: fetch and decode on this one; an earlier one is given up."""
        self._loop.call_soon_threadsafe(self._start, request)

    def cancel(self, feed: int) -> None:
        """From the engine thread: nobody waits for this feed's book any more."""
        self._loop.call_soon_threadsafe(self._stop, feed)

    def close(self) -> None:
        """Fetch nothing more; what is under way is given up."""
        self._is_closed = True
        for feed in list(self._tasks):
            self._stop(feed)

    def _start(self, request: SnapshotRequest) -> None:
        self._stop(request.feed)
        if not self._is_closed:
            self._tasks[request.feed] = asyncio.create_task(self._fetch(request))

    def _stop(self, feed: int) -> None:
        task = self._tasks.pop(feed, None)
        if task is not None:
            task.cancel()

    async def _fetch(self, request: SnapshotRequest) -> None:
        spec, receiver = self._receiver.engine.feeds[request.feed], self._receiver
        protocol, settings = VENUES[spec.venue], self._config.settings(spec.venue)
        depths = protocol.snapshot_depths(settings)[-1 if request.is_audit else 0 :]
        nonce_ms = wall_ns() // NS_PER_MS
        choices = [
            (protocol.snapshot_path(spec.symbol, depth, nonce_ms), protocol.snapshot_weight(depth))
            for depth in depths
        ]
        urgency = Urgency.AUDIT if request.is_audit else Urgency.LOST_BOOK
        try:
            index, body = await self._clients[spec.venue].get_heaviest(
                choices, urgency, on_sent=lambda: receiver.snapshot_sent(request)
            )
        except RestError as error:
            receiver.snapshot_failed(request, str(error), error.retry_after_s)
            return
        self._record(spec.venue, choices[index][0], body)
        stage = Stage()
        await asyncio.to_thread(receiver.engine.stage, request.feed, body, stage)
        receiver.snapshot(request, stage, depths[index])
