"""One subscriber of the plain `orderbook` interface that notes when it saw each event.

The best bid's amount names Binance's newest event and the best ask's Bitstamp's
(bench.load.two_venue_server),
so nothing of the server's has to be known but the interface.
Runs on: a worker process of the harness, off the engine's CPU.
"""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from pathlib import Path

import grpc.aio

from bench.clients.crowd import METHOD
from bench.load.two_venue_server import event_of
from bench.rig.host import pin
from bench.rig.stamps import Stamps
from bench.rig.workers import Handler, Message
from proto import orderbook_pb2
from tuning.clock import wall_ns

EVENT_MAX = 10**8
"""Amounts that stand for no event (of a book that is not the feed's) are not noted."""
CONNECT_LIMIT_S = 60.0


class Client:
    """A thread with an event loop; `latest` is the newest event of each venue that was seen."""

    def __init__(self, target: str) -> None:
        self.latest = [0, 0]
        self.messages = 0
        self.error = ""
        self._stamps: Stamps | None = None
        self._first = 0
        self._seen: dict[int, int] = {}
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._run, args=(target,), daemon=True)
        self._thread.start()

    def _run(self, target: str) -> None:
        asyncio.set_event_loop(self._loop)
        self._task = self._loop.create_task(self._main(target))
        try:
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            pass
        except grpc.aio.AioRpcError as error:
            self.error = f"{error.code().name}: {error.details()}"

    async def _main(self, target: str) -> None:
        async with grpc.aio.insecure_channel(target) as channel:
            while True:
                stream = channel.unary_stream(METHOD, None, None)(b"", wait_for_ready=True)
                try:
                    async for raw in stream:
                        self._on_summary(raw, wall_ns())
                except grpc.aio.AioRpcError as error:
                    # A server that has no book yet may refuse; it is asked again.
                    if error.code() is not grpc.StatusCode.UNAVAILABLE:
                        raise
                await asyncio.sleep(0.05)

    def _on_summary(self, raw: bytes, now_ns: int) -> None:
        self.messages += 1
        summary = orderbook_pb2.Summary.FromString(raw)
        for venue, side in enumerate((summary.bids, summary.asks)):
            event = event_of(side[0].amount) if side else 0
            if 0 < event < EVENT_MAX and event % 2 == venue and event != self.latest[venue]:
                self.latest[venue] = event
                self._seen.setdefault(event, now_ns)

    def write(self, stamps: Stamps, first: int) -> None:
        """Put what was seen from event `first` on into the stamps."""
        for event, seen_ns in list(self._seen.items()):
            if 0 <= event - first < stamps.columns:
                stamps.published[event - first] = seen_ns

    def stop(self) -> None:
        if self._task is not None:
            self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(CONNECT_LIMIT_S)


def handlers() -> dict[str, Handler]:
    """`start` a subscription, `wait` for both venues, `write` the stamps, `stop`."""
    current: list[Client] = []

    def start(request: Message) -> Message:
        pin(*request["cpus"])
        gc.disable()
        current.append(Client(request["target"]))
        return {}

    def wait(request: Message) -> Message:
        """Until both venues' events have been seen from `event` on; whether that came about."""
        client = current[0]
        end_s = time.monotonic() + request["wait_s"]
        while time.monotonic() < end_s and not client.error:
            if min(client.latest) >= request["event"]:
                return {"is_there": True, "messages": client.messages}
            time.sleep(0.01)
        return {"is_there": False, "messages": client.messages, "reason": client.error}

    def write(request: Message) -> Message:
        client = current[0]
        client.write(Stamps(Path(request["stamps"]), request["columns"]), request["first"])
        return {"messages": client.messages}

    def stop(request: Message) -> Message:
        gc.enable()
        current.pop().stop()
        return {}

    return {"start": start, "wait": wait, "write": write, "stop": stop}
