"""An aiohttp application on a loop and a thread of its own, for tests that play a venue.

Runs on: the tests' thread (the block), a thread of its own (the application).
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Sequence

from aiohttp import web


@contextlib.contextmanager
def listening(routes: Sequence[web.RouteDef]) -> Iterator[int]:
    """The loopback port at which these routes are served for the block."""
    loop, is_up = asyncio.new_event_loop(), threading.Event()
    ports: list[int] = []

    async def main() -> None:
        app = web.Application()
        app.add_routes(routes)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        ports.append(runner.addresses[0][1])
        is_up.set()

    def run() -> None:
        loop.run_until_complete(main())
        loop.run_forever()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert is_up.wait(10)
    try:
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
