"""Simulated venues in a thread, and daemons that make a market there, each with its watchdog.

A watchdog outlives its daemon: this process takes it over then, as init would, and sees its exit
status.
Runs on: the tests' thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil

from bench.rig.venue_names import SYMBOLS
from bench.soak.venues import VenueThread
from engine.maker import order_layout as O
from engine.maker.client_ids import parse_client_id
from engine.maker.state_board import BOARD_KIND, StateBoardError, StateBoardReader
from engine.sharing.meter_layout import ENGINE_METERS
from engine.sharing.segment import segment_path
from net.simulator.market import BID
from net.simulator.options import SimulatorOptions, TradingOptions
from net.simulator.orders.desk import Desk, Wanted
from net.venues.binance.orders.credentials import BINANCE_API_KEY, BINANCE_SECRET
from net.venues.bitstamp.orders.credentials import BITSTAMP_API_KEY, BITSTAMP_SECRET
from tests.e2e.rig import ROOT, START_S, free_port, settings, until
from tuning.clock import wall_ns

AFTER_MS = 800
LEVELS = 2
QUOTES = 2 * LEVELS
"""Orders at a venue, when all is well."""
MARGIN_S = 3.0
CLEARED_S = AFTER_MS / 1000 + MARGIN_S
READY_S = 60.0
"""A watchdog loads its kernels, on a host that may be busy."""
PR_SET_CHILD_SUBREAPER = 36
"""From linux/prctl.h."""

T = TypeVar("T")

THREAD = 'placement = "thread"'
"""Of the gateway: one process less to be started."""
MAKER = """
[maker]
orders = "live"
journal = '{journal}'
watchdog_after_ms = {after_ms}
[maker.quotes]
size = "0.01"
levels = {levels}
first = 60.0
step = 10.0
hold = 50.0
[maker.fair]
age_ms_max = 30000
crossed_bps_max = 500.0
[maker.risk]
order_size_max = "1"
order_value_max = "1000000"
position_max = "5"
exposure_max = "1000000"
daily_loss_max = "100000"
"""


class Market:
    """Both simulated venues, and what is open there."""

    def __init__(self) -> None:
        self.thread = VenueThread(SimulatorOptions(seed=5, far_levels_share=0.0))

    def on_loop(self, ask: Callable[[], T]) -> T:
        """Ask where the venues live: on their loop's thread."""

        async def asked() -> T:
            return ask()

        return asyncio.run_coroutine_threadsafe(asked(), self.thread._loop).result(10)

    def desk(self, venue: str) -> Desk:
        server: Any = self.thread.venues.server(venue)
        desk: Desk = server.orders.desk
        return desk

    def open_names(self, venue: str) -> list[str]:
        """The names of all open orders."""
        desk = self.desk(venue)
        return self.on_loop(lambda: [order.client_order_id for order in desk.open_orders()])

    def ours(self, venue: str) -> list[str]:
        return [name for name in self.open_names(venue) if parse_client_id(name) is not None]

    def all_ours(self) -> int:
        return sum(len(self.ours(venue)) for venue in SYMBOLS)

    def place_foreign(self, venue: str, name: str) -> None:
        """Another program's order, far below the market."""
        server: Any = self.thread.venues.server(venue)
        instrument = server.feed.instruments[SYMBOLS[venue]]
        wanted = Wanted(instrument, name, BID, "LIMIT", "GTC", 1_000_000, 1_000_000)
        self.on_loop(lambda: self.desk(venue).place(wanted, wall_ns()))

    def close(self) -> None:
        self.thread.close()


@dataclass
class Quoting:
    """A daemon that makes a market, as the system sees it."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def has_said(self, what: str, times: int = 1) -> bool:
        return self.text.count(what) >= times

    def board(self) -> StateBoardReader:
        return StateBoardReader(self.name)

    def is_halted(self) -> bool:
        """Whether quoting is halted, as far as the board tells."""
        with contextlib.suppress(StateBoardError):
            return self.board().read().risk_state == O.HALTED
        return False

    def watchdog(self) -> psutil.Process:
        """The one watchdog that the daemon has."""
        found = watchdogs_of(self.process.pid)
        assert len(found) == 1, f"{found}\n{self.text[-2000:]}"
        return found[0]


def watchdogs_of(pid: int) -> list[psutil.Process]:
    """The living watchdogs among a process's children."""
    found = []
    for child in psutil.Process(pid).children():
        with contextlib.suppress(psutil.Error):
            if child.cmdline()[-1] == "tests.net.watchdog.patience":
                found.append(child)
    return found


@contextlib.contextmanager
def quoting(folder: Path, market: Market) -> Iterator[Quoting]:
    """`pollux serve` with all its quotes in both books; nothing of it is left behind."""
    port = free_port()
    name, log, config = f"watched-{port}", folder / f"{port}.log", folder / f"{port}.toml"
    maker = MAKER.format(journal=folder / f"journal-{port}", after_ms=AFTER_MS, levels=LEVELS)
    config.write_text(
        market.thread.venues.configuration_toml() + settings(name, port, THREAD) + maker
    )
    account = TradingOptions()
    keys = {
        BINANCE_API_KEY: account.api_key,
        BINANCE_SECRET: account.api_secret,
        BITSTAMP_API_KEY: account.api_key,
        BITSTAMP_SECRET: account.api_secret,
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.net.watchdog.patience", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**os.environ, **keys, "PYTHONPATH": str(ROOT)},
            start_new_session=True,
        )
    running = Quoting(name, process, log)
    adopt()
    try:

        def is_quoting() -> bool:
            assert process.poll() is None, running.text
            return has_all_quotes(market)

        until(is_quoting, START_S + READY_S, "quotes at both venues")
        yield running
        assert "Traceback" not in running.text, running.text[-3000:]
    finally:
        left = watchdogs_of(process.pid) if process.poll() is None else []
        process.kill()
        for each in left:
            with contextlib.suppress(psutil.Error):
                each.kill()
        process.wait()
        for kind in ("", ENGINE_METERS, BOARD_KIND):  # what a daemon that was killed leaves behind
            segment_path(name, kind).unlink(missing_ok=True)


def has_all_quotes(market: Market) -> bool:
    return all(len(market.ours(venue)) == QUOTES for venue in SYMBOLS)


def adopt() -> None:
    """Orphans among our children's children become our own children."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def status_of_orphan(pid: int, limit_s: float) -> int:
    """The exit status of a watchdog whose daemon is gone, once it has ended."""

    def ended() -> tuple[int, int] | None:
        found = os.waitpid(pid, os.WNOHANG)
        return found if found[0] else None

    _, status = until(ended, limit_s, "the watchdog's end")
    return os.waitstatus_to_exitcode(status)
