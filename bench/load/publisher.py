"""Books at a steady pace without any venue: an engine fed in a loop, and the gateway's heartbeat.

Runs on: a worker process of the harness, off the CPU where the gateway is measured.
"""

from __future__ import annotations

import threading

from bench.load import frames as F
from bench.rig.compiled_loop import seed
from bench.rig.host import pin
from bench.rig.workers import Handler, Message
from engine.engine import Engine
from engine.layout import layout as L
from tuning.clock import steady_ns, wall_ns


class Publisher:
    """A thread that publishes a changed book `rate_hz` times a second."""

    def __init__(self, handoff: str, rate_hz: float) -> None:
        self.engine = Engine(
            (F.instrument(),), handoff_name=handoff, start_ns=steady_ns(), reads_clock=True
        )
        seed(self.engine, F.snapshot())
        self.engine.handoff.set_engine_state(L.ENGINE_IS_RUNNING)
        self._interval_s = 1 / rate_hz
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        handle = self.engine.frame_handler(0)
        number = F.FIRST_ID
        while not self._stop.wait(self._interval_s):
            number += 1
            bid = [F.price(F.MID_CENTS), F.quantity(10**8 + number - F.FIRST_ID)]
            frame = F.diff(number, number, [bid], [])
            handle(frame, wall_ns(), 1)
            self.engine.handoff.beat(steady_ns())

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        self.engine.close()


def handlers() -> dict[str, Handler]:
    """`start` and `stop` publishing."""
    current: list[Publisher] = []

    def start(request: Message) -> Message:
        pin(*request["cpus"])
        current.append(Publisher(request["handoff"], request["rate_hz"]))
        return {}

    def stop(request: Message) -> Message:
        published = current[0].engine.reader().published
        current.pop().stop()
        return {"published": published}

    def close(request: Message) -> Message:
        for publisher in current:
            publisher.engine.close()
        return {}

    return {"start": start, "stop": stop, "close": close}
