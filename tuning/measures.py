"""What a daemon does for its own engine thread: each measure applied, or refused with the reason.

A realtime thread that spins never lets go of its CPU. Its safety limit: only on an isolated CPU,
where nothing else is scheduled, never above priority 49, where the kernel's own threads still come
first, and what it starts is not realtime.
Sources: sched(7), mlockall(2), prctl(2), Documentation/power/pm_qos_interface.rst.
Runs on: the engine thread, before its loop.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import resource
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import psutil

from tuning.doctor.resources import CAP_IPC_LOCK, has_capability
from tuning.host import CPU, Host, UnknownError
from tuning.plan import REALTIME_PRIORITY_MAX
from tuning.settings import DMA_LATENCY

TIMER_SLACK_NS = 1
"""The least: 0 stands for the default of 50 us."""
PR_SET_TIMERSLACK = 29
MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT = 1, 2, 4
"""From asm-generic/mman.h: on x86, ARM and RISC-V. On fault: nothing grows that is not touched."""


CONFIGURED = frozenset({"realtime", "locked memory", "stay awake"})
"""Measures that are taken only where somebody asked for them."""


class CpuError(Exception):
    """The thread cannot be kept on the CPU it was given."""


@dataclass(frozen=True)
class Measure:
    """One measure and what became of it."""

    name: str
    state: Literal["applied", "refused"]
    reason: str
    """What was applied, or why it was refused."""

    def __str__(self) -> str:
        return f"{self.state}: {self.reason}"


def _applied(name: str, what: str) -> Measure:
    return Measure(name, "applied", what)


def _refused(name: str, why: str) -> Measure:
    return Measure(name, "refused", why)


@contextlib.contextmanager
def tuned(
    host: Host,
    *,
    cpu: int | None = None,
    realtime_priority: int | None = None,
    lock_memory: bool = False,
    stay_awake: bool = False,
) -> Iterator[list[Measure]]:
    """The calling thread with its measures, for a block; those that ask for nothing are left out.

    CpuError: the CPU cannot be used. A refusal of anything else is only told.
    """
    measures = [pin(cpu)] if cpu is not None else []
    measures.append(timer_slack())
    if lock_memory:
        measures.append(locked_memory(host))
    with contextlib.ExitStack() as stack:
        if stay_awake:
            measures.append(stack.enter_context(awake(host)))
        if realtime_priority is not None:
            measures.append(realtime(host, realtime_priority, cpu))
        yield measures


def pin(cpu: int) -> Measure:
    """Keep the calling thread on one CPU. CpuError: it cannot be used."""
    if not hasattr(psutil.Process, "cpu_affinity"):
        return _refused("affinity", "this system has no such call")
    try:
        # psutil pins a thread when given its id as a process id (Linux).
        psutil.Process(threading.get_native_id()).cpu_affinity([cpu])
    except (OSError, ValueError, psutil.Error):
        raise CpuError(f"CPU {cpu} cannot be used") from None
    return _applied("affinity", f"CPU {cpu}")


def timer_slack(slack_ns: int = TIMER_SLACK_NS) -> Measure:
    """How late timers of the calling thread may fire (PR_SET_TIMERSLACK)."""
    reason = _call("prctl", PR_SET_TIMERSLACK, ctypes.c_ulong(slack_ns))
    if reason:
        return _refused("timer slack", reason)
    return _applied("timer slack", f"{slack_ns} ns")


def locked_memory(host: Host) -> Measure:
    """No page of the process is ever swapped out or dropped (mlockall).

    With a limit, later allocations would fail where it is reached: so only without one.
    """
    name = "locked memory"
    try:
        is_free = has_capability(host, CAP_IPC_LOCK)
    except UnknownError:
        is_free = False
    if not is_free and resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] != resource.RLIM_INFINITY:
        return _refused(name, "it takes LimitMEMLOCK=infinity or CAP_IPC_LOCK")
    reason = _call("mlockall", MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)
    return _refused(name, reason) if reason else _applied(name, "now and later, when touched")


@contextlib.contextmanager
def awake(host: Host) -> Iterator[Measure]:
    """No CPU sleeps deeply while the block runs: the device is held open with 0 us in it."""
    name = "stay awake"
    try:
        descriptor = os.open(host.path(DMA_LATENCY), os.O_WRONLY)
    except OSError as error:
        yield _refused(name, f"{DMA_LATENCY}: {(error.strerror or str(error)).lower()}")
        return
    try:
        os.write(descriptor, struct.pack("=i", 0))
        yield _applied(name, f"{DMA_LATENCY} is 0 us")
    finally:
        os.close(descriptor)


def realtime(host: Host, priority: int, cpu: int | None) -> Measure:
    """SCHED_FIFO for the calling thread, within the safety limit."""
    name = "realtime"
    if not 1 <= priority <= REALTIME_PRIORITY_MAX:
        return _refused(name, f"the priority must be 1 to {REALTIME_PRIORITY_MAX}")
    try:
        isolated = host.cpus(f"{CPU}/isolated")
    except UnknownError as error:
        return _refused(name, str(error))
    if cpu not in isolated:
        where = "the thread is not pinned" if cpu is None else f"CPU {cpu} is not isolated"
        return _refused(name, f"{where}: nothing else could run there any more")
    try:
        policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
        os.sched_setscheduler(0, policy, os.sched_param(priority))
    except (OSError, AttributeError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        return _refused(name, f"{reason}: it takes LimitRTPRIO={priority} or CAP_SYS_NICE")
    return _applied(name, f"SCHED_FIFO {priority}")


def freeze_garbage() -> Measure:
    """What exists by now stays: no later collection walks through modules and kernels."""
    gc.collect()
    gc.freeze()
    return _applied("garbage collector", f"{gc.get_freeze_count()} objects are never looked at")


def _call(name: str, *arguments: Any) -> str:
    """A call of libc; why it failed, or nothing."""
    try:
        function = getattr(ctypes.CDLL(None, use_errno=True), name)
    except (OSError, AttributeError):
        return f"this system has no {name}"
    return os.strerror(ctypes.get_errno()).lower() if function(*arguments) else ""
