"""The doctor's checks of what is around the engine: clock, hypervisor, container, Python.

Sources: Documentation/timers/timekeeping.rst, proc_stat(5), cgroup-v2.rst, sched-bwc.rst.
Runs on: the command's main thread.
"""

from __future__ import annotations

import importlib.metadata
import platform
import re
import sys

import psutil

from tuning.doctor.finding import Finding, Inspection, State
from tuning.host import UnknownError, format_cpus
from tuning.plan import boot_command
from tuning.topology import allowed_cpus, cpu_quota

CLOCKS = "/sys/devices/system/clocksource/clocksource0"
FAST_CLOCKS = {
    "tsc": "x86", "arch_sys_counter": "ARM", "kvm-clock": "KVM", "riscv_clocksource": "RISC-V",
    "hyperv_clocksource_tsc_page": "Hyper-V", "timebase": "POWER",
}  # fmt: skip
"""Clocks that the vDSO reads without entering the kernel."""
TIMER_SLACK_NS_MAX = 50_000
"""The kernel's default."""
STEAL_ADVICE, STEAL_PROBLEM = 0.001, 0.01
"""Parts of the engine's CPU that the hypervisor gave to others since boot."""
PYTHON_MIN = (3, 11)


def clock(about: Inspection) -> Finding:
    current = about.host.text(f"{CLOCKS}/current_clocksource")
    if current in FAST_CLOCKS:
        return Finding("ok", current)
    known = about.host.text(f"{CLOCKS}/available_clocksource").split()
    better = [each for each in known if each in FAST_CLOCKS]
    command = (
        f"echo {better[0]} | sudo tee {CLOCKS}/current_clocksource"
        if better
        else boot_command(about.host, "clocksource=tsc tsc=reliable")
    )
    return Finding("problem", current, "every look at the clock enters the kernel, a microsecond "
                   "instead of 25 ns", command)  # fmt: skip


def timer_slack(about: Inspection) -> Finding:
    slack = about.host.number("/proc/self/timerslack_ns")
    if slack <= TIMER_SLACK_NS_MAX:
        return Finding("ok", f"{slack:,} ns", "the engine's thread sets its own to 1 ns")
    return Finding("advice", f"{slack:,} ns", "timers of whatever is started from here are late",
                   f"echo 0 | sudo tee /proc/{_parent(about)}/timerslack_ns")  # fmt: skip


def _parent(about: Inspection) -> str:
    match = re.search(r"^PPid:\s*(\d+)$", about.host.text("/proc/self/status"), re.MULTILINE)
    return match[1] if match else "self"


def virtualisation(about: Inspection) -> Finding:
    host = about.host
    names = []
    for name in ("/sys/hypervisor/type", "/proc/device-tree/hypervisor/compatible"):
        if host.exists(name):
            names.append(host.text(name))
    is_guest = " hypervisor" in host.text("/proc/cpuinfo")
    if not names and not is_guest:
        return Finding("ok", "none seen")
    for name in ("sys_vendor", "product_name"):
        if not names and host.exists(f"/sys/class/dmi/id/{name}"):
            names.append(host.text(f"/sys/class/dmi/id/{name}"))
    value = f"a virtual machine ({', '.join(filter(None, names)) or 'hypervisor not named'})"
    return Finding("advice", value, "the hypervisor takes CPUs away unseen: pollux jitter tells "
                   "how often; hosts that dedicate their CPUs or bare metal are steadier",
                   f"pollux jitter --cpus {format_cpus(about.engines)}")  # fmt: skip


def steal(about: Inspection) -> Finding:
    if not about.host.exists("/proc/stat"):
        raise UnknownError("/proc/stat: no such file or directory")
    with about.host.for_psutil():
        rows = psutil.cpu_times(percpu=True)
    online = about.topology.cpus
    worst = -1.0
    for cpu in about.engines:
        if cpu in online and online.index(cpu) < len(rows):
            row = rows[online.index(cpu)]
            worst = max(worst, getattr(row, "steal", 0.0) / max(sum(row[:8]), 1e-9))
    if worst < 0:
        raise UnknownError(f"/proc/stat: no CPU {format_cpus(about.engines)}")
    value = f"{worst:.2%} of the engine's CPU since boot"
    if worst < STEAL_ADVICE:
        return Finding("ok", value)
    state: State = "problem" if worst >= STEAL_PROBLEM else "advice"
    return Finding(state, value, "the hypervisor ran somebody else meanwhile: this needs a host "
                   "that dedicates its CPUs", "pollux jitter")  # fmt: skip


def cpuset(about: Inspection) -> Finding:
    online = about.topology.cpus
    allowed = allowed_cpus(about.host, about.topology)
    value = f"CPUs {format_cpus(allowed)} of {format_cpus(online)}"
    outside = set(about.engines) - set(allowed)
    if outside:
        return Finding("problem", value, f"the control group keeps CPU {format_cpus(outside)} from "
                       "the engine: give the container or slice that CPU (cpuset.cpus, "
                       "AllowedCPUs=, docker --cpuset-cpus)",
                       f"docker update --cpuset-cpus {format_cpus({*allowed, *outside})} CONTAINER",
                       )  # fmt: skip
    return Finding("ok", value)


def quota(about: Inspection) -> Finding:
    limit = cpu_quota(about.host)
    if limit is None:
        return Finding("ok", "none")
    needed = len(about.engines) + 1
    value = f"{limit:g} CPUs' worth of time"
    if limit < needed:
        return Finding("problem", value, f"a spinning engine and its gateway take {needed}: the "
                       "group is stopped for the rest of each period",
                       "docker update --cpu-quota -1 CONTAINER  # or CPUQuota= in its unit",
                       )  # fmt: skip
    return Finding("ok", value)


# --- software ------------------------------------------------------------------------------------


def kernel(about: Inspection) -> Finding:
    release = about.host.text("/proc/sys/kernel/osrelease")
    version = about.host.text("/proc/sys/kernel/version")
    kind = next((word for word in ("PREEMPT_RT", "PREEMPT_DYNAMIC", "PREEMPT") if word in version),
                "no preemption")  # fmt: skip
    return Finding("ok", f"{release}, {kind}")


def python(about: Inspection) -> Finding:
    value = f"{platform.python_implementation()} {platform.python_version()}"
    if sys.version_info[:2] < PYTHON_MIN or platform.python_implementation() != "CPython":
        return Finding("problem", value, "CPython 3.11 or newer is needed",
                       "make setup PYTHON=python3.11")  # fmt: skip
    if sys.flags.dev_mode or hasattr(sys, "gettotalrefcount"):
        return Finding("advice", value, "a debugging mode or build: it is several times slower",
                       "unset PYTHONDEVMODE")  # fmt: skip
    return Finding("ok", value)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:4])


def libraries(about: Inspection) -> Finding:
    """What the package itself says it needs, against what is installed."""
    try:
        needed = importlib.metadata.requires("pollux") or []
    except importlib.metadata.PackageNotFoundError:
        raise UnknownError("pollux is not installed as a package: make setup") from None
    known, wrong = [], []
    for line in needed:
        match = re.fullmatch(r"([\w.-]+)>=([\w.]+)", line.replace(" ", ""))
        if match is None:
            continue  # of an extra, which serving does not need
        name, least = match[1], match[2]
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{name} is missing")
            continue
        known.append(f"{name} {version}")
        if _numbers(version) < _numbers(least):
            wrong.append(f"{name} {version} is older than {least}")
    if wrong:
        return Finding("problem", ", ".join(known), "; ".join(wrong),
                       f"{sys.executable} -m pip install -r requirements.lock")  # fmt: skip
    fast = ("numba", "numpy", "picows", "orjson", "grpcio")
    return Finding("ok", ", ".join(each for each in known if each.split()[0] in fast))
