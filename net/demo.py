"""`pollux demo`: simulated venues, the daemon and the live ladder, three processes and one screen.

The simulator and the daemon are the ordinary commands, as processes of their own, and talk over
loopback sockets; only their configuration is written here. They end with the demo.
Runs on: the main thread of the command. Called by: pollux.py.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO

from net.entry.keys import BINANCE_API_KEY, BINANCE_SECRET, BITSTAMP_API_KEY, BITSTAMP_SECRET
from net.simulator.options import TradingOptions
from net.supervisor import child_environment
from net.watch.run import WatchOptions, run_watch

DEFAULT_PORT = 5002
PIPED_SECONDS = 30.0
"""Without a terminal nobody presses Ctrl-C."""
START_LIMIT_S = 30.0
STOP_LIMIT_S = 5.0
ENDING = (signal.SIGINT, signal.SIGTERM)

QUOTING = """
[maker]
orders = "live"
symbol = "{symbol}"
journal = '{journal}'
watchdog = false
[maker.fair]
method = "micro_price"
half_life_ms = 300
[maker.quotes]
size = "0.01"
levels = 3
first = 0.5
step = 1.5
hold = 0.4
edge_bps_min = 0.2
skew_bps = 2.0
[maker.risk]
order_size_max = "0.05"
order_value_max = "10000"
position_max = "0.2"
reduce_at = "0.15"
exposure_max = "50000"
daily_loss_max = "1000"
"""
"""Close to the market, so that there is something to see in half a minute."""


class DemoError(Exception):
    """A part of the demo did not start: one line."""


def run_demo(
    symbol: str,
    seed: int,
    seconds: float | None,
    stdout: TextIO,
    *,
    is_quoting: bool = False,
) -> int:
    """Until Ctrl-C, or for some seconds; the exit status."""
    if seconds is None and not stdout.isatty():
        seconds = PIPED_SECONDS
    # An exception, so that the processes end with the demo; set anew, because a job in the
    # background was given an ignored SIGINT.
    for number in ENDING:
        signal.signal(number, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        return _run_demo(symbol, seed, seconds, stdout, is_quoting=is_quoting)
    return 0


def _run_demo(
    symbol: str, seed: int, seconds: float | None, stdout: TextIO, *, is_quoting: bool
) -> int:
    with tempfile.TemporaryDirectory(prefix="pollux-demo-") as folder, contextlib.ExitStack() as on:
        place = Path(folder)
        port = _gateway_port()
        venues = place / "venues.toml"
        on.enter_context(
            _process(place, "simulate", "--symbol", symbol, "--seed", str(seed), "--write-config",
                     str(venues))
        )  # fmt: skip
        config = place / "pollux.toml"
        text = _configuration(_wait_for_file(venues, place), port)
        if is_quoting:
            text += QUOTING.format(symbol=symbol, journal=place / "journal")
        config.write_text(text, encoding="utf-8")
        keys = simulated_keys() if is_quoting else {}
        daemon = on.enter_context(_process(place, "serve", "--config", str(config), keys=keys))
        _wait_for_port(port, daemon, place)
        print(
            f"simulated binance and bitstamp -> engine -> gRPC on 127.0.0.1:{port}; "
            f"another subscriber: pollux watch --target 127.0.0.1:{port}",
            file=sys.stderr,
        )
        if seconds is not None:
            _interrupt_after(seconds)
        on.callback(_end_undisturbed)
        return run_watch(WatchOptions(target=f"127.0.0.1:{port}", symbol=symbol), stdout)


def _end_undisturbed() -> None:
    """From here on each process has its time to end, and nobody may be left behind."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)


def _gateway_port() -> int:
    """The usual port, or a free one where that is taken."""
    for port in (DEFAULT_PORT, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return int(probe.getsockname()[1])
    raise DemoError("no free port on 127.0.0.1")


def _configuration(venues: str, port: int) -> str:
    return (
        f"{venues}\n"
        f'[engine]\nname = "demo-{os.getpid()}"\nidle = "block"\n'
        f'[gateway]\nlisten = "127.0.0.1:{port}"\n'
        f'[metrics]\nlisten = ""\n'
        f'[log]\nformat = "console"\n'
    )


@contextlib.contextmanager
def _process(
    place: Path, command: str, *arguments: str, keys: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """One of our own commands, its output in a file, ended with the block."""
    with open(place / f"{command}.log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "pollux", command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=child_environment() | dict(keys or {}),
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def simulated_keys() -> dict[str, str]:
    """The environment that opens the simulated venues' accounts."""
    account = TradingOptions()
    return {
        BINANCE_API_KEY: account.api_key,
        BINANCE_SECRET: account.api_secret,
        BITSTAMP_API_KEY: account.api_key,
        BITSTAMP_SECRET: account.api_secret,
    }


def _last_line(place: Path, command: str) -> str:
    with contextlib.suppress(OSError):
        lines = (place / f"{command}.log").read_text(errors="replace").strip().splitlines()
        if lines:
            return lines[-1]
    return "it said nothing"


def _wait_for_file(path: Path, place: Path) -> str:
    limit_s = time.monotonic() + START_LIMIT_S
    while not path.exists():
        if time.monotonic() > limit_s:
            raise DemoError(f"the simulated venues did not start: {_last_line(place, 'simulate')}")
        time.sleep(0.02)
    return path.read_text(encoding="utf-8")


def _wait_for_port(port: int, daemon: subprocess.Popen[bytes], place: Path) -> None:
    limit_s = time.monotonic() + START_LIMIT_S
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            return
        if daemon.poll() is not None or time.monotonic() > limit_s:
            raise DemoError(f"the daemon did not start: {_last_line(place, 'serve')}")
        time.sleep(0.05)


def _interrupt_after(seconds: float) -> None:
    """End the watching in time, the way Ctrl-C does."""

    def interrupt() -> None:
        signal.raise_signal(signal.SIGINT)

    timer = threading.Timer(seconds, interrupt)
    timer.daemon = True
    timer.start()
