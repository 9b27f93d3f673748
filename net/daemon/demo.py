"""`pollux demo`: simulated venues, the daemon and the live ladder, three processes and one screen.

The simulator and the daemon are the ordinary commands, as processes of their own, and talk over
loopback sockets; only their configuration is written here. They end with the demo.
Runs on: the main thread of the command.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TextIO

from net.process.bound_child import bound_arguments
from net.process.child import LoggedChild
from net.process.signals import END_LIMIT_S, closing

DEFAULT_PORT = 5002
PIPED_SECONDS = 30.0
"""Without a terminal nobody presses Ctrl-C."""
MAKER_FEE_BPS = "0.1"
"""So little that quotes may be close to the market."""
START_LIMIT_S = 30.0
STOP_LIMIT_S = END_LIMIT_S - 0.4
"""For both processes, which end side by side; the folder is removed after them."""

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
    compile_missing: Callable[[], None],
    *,
    is_quoting: bool = False,
) -> int:
    """Until Ctrl-C, or for some seconds; the exit status.

    `compile_missing` shows its progress here and leaves the daemon kernels that it only loads.
    """
    if seconds is None and not stdout.isatty():
        seconds = PIPED_SECONDS
    status = 0
    compiling = threading.Thread(target=compile_missing, name="compile", daemon=True)
    with contextlib.suppress(KeyboardInterrupt), contextlib.ExitStack() as stack:
        stack.enter_context(closing())
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="pollux-demo-"))
        # Where this process has to leave before they have ended, the others end by themselves.
        stack.enter_context(closing(leave=lambda: shutil.rmtree(folder, ignore_errors=True)))
        status = _run_demo(
            Path(folder), symbol, seed, seconds, stdout, compiling, is_quoting=is_quoting
        )
    if compiling.is_alive():
        # At the interpreter's end the compiler would lose its memory while it works.
        os._exit(status)
    return status


def _run_demo(
    place: Path,
    symbol: str,
    seed: int,
    seconds: float | None,
    stdout: TextIO,
    compiling: threading.Thread,
    *,
    is_quoting: bool,
) -> int:
    from net.simulator.registry import DEMONSTRATED, VENUES

    with _Children(place) as children:
        port = _gateway_port()
        venues = place / "venues.toml"
        names = tuple(VENUES) if is_quoting else DEMONSTRATED  # whoever quotes needs accounts
        simulator = children.start(
            "simulate", "--symbol", symbol, "--seed", str(seed), "--write-config", str(venues),
            "--maker-fee-bps", MAKER_FEE_BPS, *(f"--venue={name}" for name in names),
        )  # fmt: skip
        config = place / "pollux.toml"
        os.mkfifo(config)  # the daemon's imports take a while: meanwhile the venues start
        keys = simulated_keys() if is_quoting else {}
        daemon = children.start("serve", "--config", str(config), keys=keys)
        compiling.start()
        compiling.join()  # in a thread: a signal that comes while one compiles is heard at once
        text = _configuration(_wait_for_file(venues, simulator), port)
        if is_quoting:
            text += QUOTING.format(symbol=symbol, journal=place / "journal")
        _write_to_reader(config, text, daemon)
        # And so do these imports: meanwhile the daemon loads its kernels.
        from net.client.run import WatchOptions, run_watch

        _wait_for_port(port, daemon)
        print(
            f"simulated {', '.join(names)} -> engine -> gRPC on 127.0.0.1:{port}; "
            f"another subscriber: pollux watch --target 127.0.0.1:{port}",
            file=sys.stderr,
        )
        if seconds is not None:
            _interrupt_after(seconds)
        return run_watch(WatchOptions(target=f"127.0.0.1:{port}", symbol=symbol), stdout)


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


class _Children:
    """Our own commands, ended with the block side by side."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._started: list[LoggedChild] = []

    def __enter__(self) -> _Children:
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._started:
            child.terminate()
        end_s = time.monotonic() + STOP_LIMIT_S
        for child in self._started:
            child.end(max(end_s - time.monotonic(), 0))

    def start(
        self, command: str, *arguments: str, keys: Mapping[str, str] | None = None
    ) -> LoggedChild:
        line = bound_arguments("pollux", command, *arguments)
        child = LoggedChild(line, self._place / f"{command}.log", keys)
        self._started.append(child)
        return child


def simulated_keys() -> dict[str, str]:
    """The environment that opens the simulated venues' accounts."""
    from net.simulator.options import TradingOptions
    from net.venues.registry import VENUES

    account = TradingOptions()
    variables: dict[str, str] = {}
    for venue in VENUES.values():
        if venue.orders is not None:
            variables |= venue.orders.key_variables(account.api_key, account.api_secret)
    return variables


def _wait_for_file(path: Path, simulator: LoggedChild) -> str:
    limit_s = time.monotonic() + START_LIMIT_S
    while not path.exists():
        if time.monotonic() > limit_s:
            raise DemoError(f"the simulated venues did not start: {simulator.last_line}")
        time.sleep(0.02)
    return path.read_text(encoding="utf-8")


def _write_to_reader(fifo: Path, text: str, daemon: LoggedChild) -> None:
    """The daemon's configuration, as soon as the daemon opens the FIFO to read it."""
    limit_s = time.monotonic() + START_LIMIT_S
    while True:
        with contextlib.suppress(OSError):  # ENXIO: nobody reads yet
            descriptor = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
            with open(descriptor, "w", encoding="utf-8") as reader:
                reader.write(text)
            return
        _raise_unless_starting(daemon, limit_s)
        time.sleep(0.02)


def _raise_unless_starting(daemon: LoggedChild, limit_s: float) -> None:
    if not daemon.is_up or time.monotonic() > limit_s:
        raise DemoError(f"the daemon did not start: {daemon.last_line}")


def _wait_for_port(port: int, daemon: LoggedChild) -> None:
    limit_s = time.monotonic() + START_LIMIT_S
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            return
        _raise_unless_starting(daemon, limit_s)
        time.sleep(0.05)


def _interrupt_after(seconds: float) -> None:
    """End the watching in time, the way Ctrl-C does."""

    def interrupt() -> None:
        signal.raise_signal(signal.SIGINT)

    timer = threading.Timer(seconds, interrupt)
    timer.daemon = True
    timer.start()
