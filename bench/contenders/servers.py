"""Servers of the plain `orderbook` interface as processes, pointed at the feed: ours and the peer.

    ours    `pollux serve` with its gateway as a process of its own
    tonic   the Rust yardstick (bench/yardstick), built by cargo where cargo is there

Both have a thread that takes in and merges, and another that serves, each on a CPU of its own.
Runs on: the harness's main thread.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import psutil

from bench.load import frames as F
from bench.options import Say
from bench.rig.host import free_port
from bench.rig.segments import new_segment
from bench.rig.venue_names import SNAPSHOT_CHANNELS, SYMBOLS
from bench.rig.workers import WorkerError
from engine.compiling.jit import cache_directory
from net.process.bound_child import bound_arguments
from net.process.child import LoggedChild

OURS, TONIC = "ours", "tonic"
SOURCE = Path(__file__).resolve().parents[1] / "yardstick"
NO_CARGO = "no tonic rows: cargo is not installed (bench/yardstick is written in Rust)"
MERGER_THREAD = "merger"
"""The peer's thread that takes in and merges: not part of what serving costs."""
GATEWAY_MODULE = "net.gateway"
STIME_AT = 12
"""Of the kernel's time in /proc/PID/stat, counted from behind the name (proc(5), field 15)."""
SUBSCRIBERS_MAX = 20_000
STOP_LIMIT_S = 8.0
READY_LIMIT_S = 60.0
PAUSE_US = 100
"""Between two looks of the peer's merger at its sockets, where it shares its CPU."""

Found = TypeVar("Found")


@dataclass(frozen=True)
class Layout:
    """Which CPU takes in and merges, which one serves, and whether the first may spin."""

    merge_cpu: int
    serve_cpu: int
    spins: bool = True


class Usage(NamedTuple):
    """CPU seconds of what serves subscribers, and the kernel's part of them."""

    cpu_s: float
    system_s: float


class Server:
    """A server that runs: where it listens, and what serving costs it."""

    def __init__(self, target: str, pid: int, daemon_pid: int = 0, segment: str = "") -> None:
        self.target = target
        self._pid = pid
        """Of the process that serves: our gateway, the whole of the peer."""
        self.daemon_pid = daemon_pid
        self.segment = segment
        """Of ours: the name of its handoff."""

    def usage(self) -> Usage:
        """So far."""
        cpu_ns, system_ticks = 0, 0
        for thread in Path(f"/proc/{self._pid}/task").iterdir():
            if (thread / "comm").read_text(encoding="ascii").strip() == MERGER_THREAD:
                continue
            cpu_ns += int((thread / "schedstat").read_text(encoding="ascii").split()[0])
            after_name = (thread / "stat").read_text(encoding="ascii").rpartition(")")[2]
            system_ticks += int(after_name.split()[STIME_AT])
        return Usage(cpu_ns / 1e9, system_ticks / os.sysconf("SC_CLK_TCK"))


def config_text(
    feed_port: int, listen: str, layout: Layout, segment: str, instruments: int = 1
) -> str:
    """A configuration for `pollux serve` that points at the feed."""
    url = f'ws_url = "ws://127.0.0.1:{feed_port}"\nrest_url = "http://127.0.0.1:{feed_port}"\n'
    url += "late_after_ms = 0\n"  # the feed numbers its events by their microtimestamp
    venue = '[[instrument.venue]]\nname = "{}"\nsymbol = "{}"\ntick_size = "0.01"\n'
    idle = "spin" if layout.spins else "block"
    books = ""
    for number in range(instruments):
        known = dict.fromkeys(SYMBOLS, F.symbol_of(number)) if number else SYMBOLS
        books += f'[[instrument]]\nsymbol = "{F.symbol_of(number)}"\n'
        books += "".join(venue.format(name, symbol) for name, symbol in known.items())
    return (
        books
        + "".join(f"[venue.{name}]\n{url}" for name in SYMBOLS)
        + f'[engine]\nname = "{segment}"\ncpu = {layout.merge_cpu}\nidle = "{idle}"\n'
        f'[gateway]\nlisten = "{listen}"\ncpu = {layout.serve_cpu}\n'
        f"subscribers_max = {SUBSCRIBERS_MAX}\nconnections_max = {SUBSCRIBERS_MAX}\n"
        f"streams_per_client_max = {SUBSCRIBERS_MAX}\n"
        f'[metrics]\nlisten = ""\n[log]\nlevel = "warning"\n'
    )


@contextlib.contextmanager
def running(command: list[str], folder: Path, name: str) -> Iterator[LoggedChild]:
    """A command as a process, ended with the block; WorkerError where it ended by itself."""
    child = LoggedChild(command, folder / "log")
    try:
        yield child
        if not child.is_up:
            raise WorkerError(f"{name} ended: {child.text[-2000:]}")
    finally:
        child.end(STOP_LIMIT_S)


def eventually(what: str, child: LoggedChild, find: Callable[[], Found | None]) -> Found:
    """What is found while a child starts; WorkerError where it ends, or after READY_LIMIT_S."""
    end_s = time.monotonic() + READY_LIMIT_S
    while child.is_up and time.monotonic() < end_s:
        found = find()
        if found is not None:
            return found
        time.sleep(0.02)
    raise WorkerError(f"no {what}: {child.text[-2000:]}")


def _gateway_pid(daemon: LoggedChild) -> int | None:
    for process in psutil.Process(daemon.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if GATEWAY_MODULE in process.cmdline():
                return process.pid
    return None


@contextlib.contextmanager
def ours(feed_port: int, layout: Layout, instruments: int = 1) -> Iterator[Server]:
    """`pollux serve`, which may not be ready yet."""
    listen = f"127.0.0.1:{free_port()}"
    with tempfile.TemporaryDirectory(prefix="pollux-bench-") as name, new_segment() as segment:
        config = Path(name) / "pollux.toml"
        text = config_text(feed_port, listen, layout, segment, instruments)
        config.write_text(text, encoding="utf-8")
        command = bound_arguments("pollux", "serve", "--config", str(config))
        with running(command, Path(name), "pollux serve") as child:
            pid = eventually("gateway of pollux serve", child, lambda: _gateway_pid(child))
            yield Server(listen, pid, child.pid, segment)


@contextlib.contextmanager
def tonic(binary: Path, feed_port: int, layout: Layout) -> Iterator[Server]:
    """The yardstick, ready."""
    words = [str(binary), "127.0.0.1:0", str(layout.merge_cpu), str(layout.serve_cpu)]
    words.append("0" if layout.spins else str(PAUSE_US))
    for name, channel in SNAPSHOT_CHANNELS.items():
        words += [name, f"ws://127.0.0.1:{feed_port}{channel.path}", channel.subscribe]

    def port(child: LoggedChild) -> int | None:
        found = re.search(r"^ready (\d+)$", child.text, re.M)
        return int(found[1]) if found else None

    with (
        tempfile.TemporaryDirectory(prefix="pollux-bench-") as folder,
        running(words, Path(folder), "yardstick") as child,
    ):
        listens = eventually("port of the yardstick", child, lambda: port(child))
        yield Server(f"127.0.0.1:{listens}", child.pid)


def yardstick_folder() -> Path:
    """Where cargo builds it: beside the compiled kernels."""
    return cache_directory().parent / "yardstick"


def yardstick_binary() -> Path:
    """Where it is once it is built."""
    return yardstick_folder() / "release" / "yardstick"


def build_yardstick(say: Say) -> tuple[Path | None, str]:
    """Its binary, built into the cache where that is not done yet; else None, and why not.

    Takes some minutes the first time, and needs crates.io then; each package is said.
    """
    cargo = shutil.which("cargo")
    if cargo is None:
        return None, NO_CARGO
    target = yardstick_folder()
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    command = [cargo, "build", "--release", "--locked", "--target-dir", str(target)]
    lines: list[str] = []
    environment = {**os.environ, "RUSTFLAGS": "-C target-cpu=native"}
    with subprocess.Popen(
        command, cwd=SOURCE, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        env=environment,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        for line in process.stderr:
            lines.append(line.strip())
            say(f"yardstick: {lines[-1]}")
            if not sys.stderr.isatty():
                print(f"yardstick: {lines[-1]}", file=sys.stderr, flush=True)
    if process.returncode != 0:
        return None, f"no tonic rows: cargo build failed: {' '.join(lines[-3:])}"
    return yardstick_binary(), ""


if __name__ == "__main__":
    path, reason = build_yardstick(lambda line: print(line) if sys.stderr.isatty() else None)
    print(path or reason)
    sys.exit(0 if path else 1)
