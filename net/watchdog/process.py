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
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from engine.layout.units import NS_PER_MS
from engine.maker.state_board import StateBoardError, StateBoardReader, open_boards
from net.config.maker import MakerSettings, MakerVenue
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
    if not options.markets:
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
    _keep_on_cpu(options.config.gateway.cpu)
    boards = {board.info.symbol: board for board in open_boards(options.config.engine.name)}
    guards, runs = [], []
    for settings in options.config.maker:
        symbol = options.config.quoted_instrument(settings).symbol
        if symbol in options.markets:
            guard, kept_up = _guard(options, settings, symbol, boards, log)
            guards.append(guard)
            runs += [asyncio.create_task(run) for run in kept_up]
    # In the end nothing is under way: the connections end with the process.
    return await _look(guards, runs, terminated)


def _guard(
    options: WatchdogOptions,
    settings: MakerSettings,
    symbol: str,
    boards: Mapping[str, StateBoardReader],
    log: Log,
) -> tuple[Watchdog, list[Coroutine[Any, Any, None]]]:
    """The watch over one market maker, and what keeps its connections up."""
    config, board = options.config, boards.get(symbol)
    if board is None:
        raise WatchdogError(f"{config.engine.name}: the market maker of {symbol} has no board")
    if board.writer_pid != options.parent_pid:
        raise WatchdogError(f"the market maker's board is of another process, {board.writer_pid}")

    def say(level: str, event: str, **facts: object) -> None:
        log.log(level, event, part="watchdog", instrument=symbol, **facts)

    def is_gone() -> bool:
        return os.getppid() != options.parent_pid

    silent_ns_max = config.makers.watchdog_after_ms * NS_PER_MS
    guard = Watchdog(board, options.epoch, silent_ns_max, is_gone, say, steady_ns(), wall_ns)
    names = (venue.name for venue in config.quoted_instrument(settings).venue)
    quoted = frozenset(name for name in names if settings.venue.get(name, MakerVenue()).quote)
    keys = read_keys(quoted, os.environ)
    markets, loop = options.made_markets(symbol), asyncio.get_running_loop()
    lines = OrderConnections(config, settings, markets, keys, loop)
    return guard, lines.connect(guard, guard.attach)


async def _look(
    guards: Sequence[Watchdog], runs: list[asyncio.Task[None]], terminated: Sequence[int]
) -> int:
    """Until every watch is over; the largest of their exit statuses."""
    os.set_blocking(sys.stdout.fileno(), False)
    has_said_ready, beat_s = False, 0.0
    watching, status = list(guards), 0
    while True:
        for guard in tuple(watching):
            ended = guard.on_timer(steady_ns(), is_terminated=bool(terminated))
            if ended is not None:
                watching.remove(guard)
                status = max(status, ended)
        if not watching:
            return status
        is_calm = all(guard.phase is Phase.WATCHING for guard in watching)
        if is_calm and any(run.done() for run in runs):
            # A mistake of ours. There is time to start anew; when acting, the others go on.
            await asyncio.gather(*(run for run in runs if run.done()))
            raise WatchdogError("a connection is kept up no longer")
        if not has_said_ready and all(guard.has_been_ready for guard in guards):
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
