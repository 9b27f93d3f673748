"""Simulated venues on a thread of their own, their books known to the last level.

Runs on: the thread it starts.
"""

from __future__ import annotations

import asyncio
import threading

from bench.rig.venue_names import SYMBOLS
from bench.soak.truth import Truth
from net.simulator.options import SimulatorOptions
from net.simulator.venues import SimulatedVenues

START_LIMIT_S = 60.0


class VenueThread:
    """The simulated venues on an event loop of their own."""

    def __init__(self, options: SimulatorOptions) -> None:
        self._options = options
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), name="venues")
        self._error: BaseException | None = None
        self._thread.start()
        assert self._ready.wait(START_LIMIT_S)
        if self._error is not None:
            raise self._error

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        try:
            async with SimulatedVenues(self._options) as self.venues:
                self.truths = {
                    name: Truth(self.venues.server(name), SYMBOLS[name]) for name in SYMBOLS
                }
                self._ready.set()
                await self._stop.wait()
        except BaseException as error:
            self._error = error
            self._ready.set()

    @property
    def urls(self) -> dict[str, str]:
        """Each venue's REST address."""
        return {name: self.venues.url(name) for name in SYMBOLS}

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
