"""The machine under the bench: what it is, which CPU does what, and how much its CPUs stutter.

The jitter table comes first in every report: a gap in a loop that does nothing but read the clock
is time that the machine, not the program, took away.
Runs on: the harness's main thread.
"""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import resource
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from bench.report.result import Cell, Table
from tuning.jitter import measure

GAPS_NS = (1_000, 10_000, 100_000)
"""The gaps that are counted: more than 1, 10 and 100 us, to 3 %."""
GAP_COLUMNS = ("> 1 us", "> 10 us", "> 100 us")


@functools.cache
def cpus() -> tuple[int, ...]:
    """The CPUs this process might use when it was first asked, before it pinned anything."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def allow_descriptors() -> None:
    """Let this process and its children have as many sockets as the system allows it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@dataclass(frozen=True)
class Placement:
    """Which CPU does what: the measured engine on the last, sender and collector on the first."""

    engine: int
    sender: int
    others: tuple[int, ...]
    """Gateways and clients: the CPUs between, or the sender's where there are only two."""


def placement() -> Placement:
    """The placement for this machine."""
    known = cpus()
    between = known[1:-1]
    return Placement(known[-1], known[0], between or (known[0],))


def pin(*wanted: int) -> None:
    """Keep the calling thread, and threads it starts, on these CPUs."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, set(wanted))


AUTOGROUP = Path("/proc/self/autogroup")
HIGHEST_NICE = -20
"""The measured thread and the sender ask for it: on a shared machine other programs' turns on their
CPUs would else be most of what is measured. All contenders get the same, or none."""


def prioritise(nice: int = HIGHEST_NICE) -> None:
    """Give the calling thread a priority within its session, where the system allows it."""
    with contextlib.suppress(OSError, AttributeError):
        # On Linux 0 is the calling thread alone.
        os.setpriority(os.PRIO_PROCESS, 0, nice)


def session_nice() -> int:
    """The nice value of the session, 0 where there is none."""
    try:
        return int(AUTOGROUP.read_text(encoding="ascii").split()[-1])
    except (OSError, ValueError, IndexError):
        return 0


def set_session_nice(nice: int = HIGHEST_NICE) -> None:
    """Under autogrouping (sched(7)) nice values count within a session only, and sessions have one.

    Workers have sessions of their own. The harness's is the user's: it must be set back.
    """
    with contextlib.suppress(OSError):
        if AUTOGROUP.exists():
            AUTOGROUP.write_text(str(nice), encoding="ascii")


@contextlib.contextmanager
def placed(wanted: tuple[int, ...], is_measured: bool) -> Iterator[None]:
    """Run a block on these CPUs, at the highest priority where it is what is measured."""
    if not hasattr(os, "sched_getaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    nice, of_session = os.getpriority(os.PRIO_PROCESS, 0), session_nice()
    pin(*wanted)
    if is_measured:
        prioritise()
        set_session_nice()
    try:
        yield
    finally:
        set_session_nice(of_session)
        prioritise(nice)
        pin(*before)


def jitter(seconds: float) -> Table:
    """Every CPU in turn for `seconds`: how often and how long it was taken away."""
    rows: list[tuple[Cell, ...]] = []
    for cpu in cpus():
        found = measure(cpu, seconds)
        per_second = [found.longer_than(limit) / found.seconds for limit in GAPS_NS]
        rows.append((f"cpu {cpu}", *per_second, found.longest_ns / 1000))
    columns = ("gaps a second", *GAP_COLUMNS, "max us")
    return Table(f"jitter: a spinning thread for {seconds:g} s on each CPU", columns, tuple(rows))


def _cpu_model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or "unknown"
    names = [line.split(":", 1)[1].strip() for line in text.splitlines() if "model name" in line]
    return names[0] if names else platform.machine()


def _virtualisation() -> str:
    """What the CPU flags and the firmware tell about a hypervisor."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return "unknown"
    if " hypervisor" not in flags:
        return "none"
    for name in ("sys_vendor", "product_name"):
        try:
            text = Path(f"/sys/class/dmi/id/{name}").read_text(encoding="utf-8").strip()
        except OSError:
            continue
        if text:
            return f"hypervisor ({text})"
    return "hypervisor"


def describe() -> dict[str, Any]:
    """The facts that belong beside every figure."""
    packages = ("numba", "numpy", "picows", "orjson", "grpcio", "uvloop", "websockets")
    return {
        "date": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "host": platform.node(),
        "cpu": _cpu_model(),
        "cores": len(cpus()),
        "kernel": f"{platform.system()} {platform.release()}",
        "virtualisation": _virtualisation(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in packages},
        "load": [round(value, 2) for value in psutil.getloadavg()],
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except ModuleNotFoundError:
        return "absent"
