"""The watchdog's process: its log, its connections, and twenty looks a second.

Order entry is connected from the start, and kept so: opening it takes ten seconds at a venue whose
list of open orders may be that old, and shows that the keys work while there is time to tell.
Runs on: the main thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import time
from collections.abc import Sequence

from engine.layout.units import NS_PER_MS
from engine.maker.state_board import StateBoardError, StateBoardReader
from net.config.maker import MakerVenue
from net.log.log import LibraryLog, Log
from net.log.one_line import error_text
from net.maker.order_connections import OrderConnections, read_keys
from net.orders.messages import EntryError
from net.process.child import BEAT_S
from net.watchdog.options import WatchdogError, WatchdogOptions
from net.watchdog.watchdog import Phase, Watchdog
from tuning.clock import steady_ns, wall_ns

LOOK_S = 0.05
FLUSH_LIMIT_S = 1.0


def run_watchdog(options: WatchdogOptions, terminated: Sequence[int]) -> int:
    """Watch until the engine has ended and nothing of ours is open; the exit status.

    `terminated`: filled where a SIGTERM has come. WatchdogError: it cannot start.
    """
    settings = options.config.maker
    if settings is None:
        raise WatchdogError("there is no market maker to watch")
    log = Log(options.config.log.level, options.config.log.format)
    libraries = LibraryLog(log)
    logging.getLogger().addHandler(libraries)
    try:
        return asyncio.run(_watch(options, log, terminated))
    except (WatchdogError, StateBoardError, EntryError) as error:
        log.log("error", "the watchdog cannot go on", reason=str(error))
        return 1
    except Exception as error:
        log.log("error", "the watchdog has failed", reason=error_text(error))
        return 1
    finally:
        logging.getLogger().removeHandler(libraries)
        log.close(FLUSH_LIMIT_S)


async def _watch(options: WatchdogOptions, log: Log, terminated: Sequence[int]) -> int:
    config = options.config
    assert config.maker is not None
    _keep_on_cpu(config.gateway.cpu)
    board = StateBoardReader(config.engine.name)
    if board.writer_pid != options.parent_pid:
        raise WatchdogError(f"the market maker's board is of another process, {board.writer_pid}")

    def say(level: str, event: str, **facts: object) -> None:
        log.log(level, event, part="watchdog", **facts)

    def is_gone() -> bool:
        return os.getppid() != options.parent_pid

    silent_ns_max = config.maker.watchdog_after_ms * NS_PER_MS
    guard = Watchdog(board, options.epoch, silent_ns_max, is_gone, say, steady_ns(), wall_ns)
    given = config.maker.venue
    names = (venue.name for venue in config.quoted_instrument().venue)
    quoted = frozenset(name for name in names if given.get(name, MakerVenue()).quote)
    keys = read_keys(quoted, os.environ)
    lines = OrderConnections(config, options.made_markets(), keys, asyncio.get_running_loop())
    runs = [asyncio.create_task(run) for run in lines.connect(guard, guard.attach)]
    # In the end nothing is under way: the connections end with the process.
    return await _look(guard, runs, terminated)


async def _look(guard: Watchdog, runs: list[asyncio.Task[None]], terminated: Sequence[int]) -> int:
    """Until the watch is over; its exit status."""
    os.set_blocking(sys.stdout.fileno(), False)
    has_said_ready, beat_s = False, 0.0
    while True:
        is_terminated = bool(terminated)
        status = guard.on_timer(steady_ns(), is_terminated=is_terminated)
        if status is not None:
            return status
        if guard.phase is Phase.WATCHING and any(run.done() for run in runs):
            # A mistake of ours. There is time to start anew; when acting, the others go on.
            await asyncio.gather(*(run for run in runs if run.done()))
            raise WatchdogError("a connection is kept up no longer")
        if guard.has_been_ready and not has_said_ready:
            has_said_ready = True
            _say(b"ready\n")
        if time.monotonic() - beat_s >= BEAT_S:
            beat_s = time.monotonic()
            _say(b"beat\n")
        await asyncio.sleep(LOOK_S)


def _say(line: bytes) -> None:
    """To the daemon, which may be gone, or not reading."""
    with contextlib.suppress(BlockingIOError, BrokenPipeError):
        os.write(sys.stdout.fileno(), line)


def _keep_on_cpu(cpu: int | None) -> None:
    """Where the gateway is kept, away from the engine; anywhere, where that cannot be."""
    if cpu is not None and hasattr(os, "sched_setaffinity"):
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, {cpu})
