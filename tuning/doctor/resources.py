"""The doctor's checks of memory, limits and the network's settings.

Sources: Documentation/admin-guide/mm/transhuge.rst, sysctl/kernel.rst, sysctl/net.rst,
networking/ip-sysctl.rst, scheduler/sched-rt-group.rst, proc_pid_limits(5), capabilities(7).
Runs on: the command's main thread.
"""

from __future__ import annotations

import re

import psutil

from tuning.doctor.cpus import APPLY
from tuning.doctor.finding import Finding, Inspection, State
from tuning.host import Host, UnknownError
from tuning.plan import DESCRIPTORS, REALTIME_PRIORITY_MAX
from tuning.settings import THP

CAP_IPC_LOCK, CAP_SYS_NICE = 14, 23
"""Bits of CapEff (include/uapi/linux/capability.h)."""
DESCRIPTORS_MIN = 4096
"""Two thousand connections of a gateway, its streams, the venues, and room."""
LOCKED_BYTES_MIN = 1 << 30
"""Interpreter, kernels and ladders of several instruments."""
RECEIVE_BYTES_MIN = 4 << 20
"""Four snapshots of 5,000 levels a side that come while the engine is busy."""
UNLIMITED = 1 << 63


def limit_of(host: Host, name: str) -> tuple[int, int]:
    """The soft and the hard limit of this process; UNLIMITED for none. UnknownError."""
    for line in host.text("/proc/self/limits").splitlines():
        if line.startswith(name):
            words = line[len(name) :].split()[:2]
            if len(words) == 2 and all(re.fullmatch(r"unlimited|\d{1,19}", w) for w in words):
                soft, hard = (UNLIMITED if w == "unlimited" else int(w) for w in words)
                return soft, hard
    raise UnknownError(f"/proc/self/limits: no line {name!r}")


def has_capability(host: Host, bit: int) -> bool:
    """Whether this process has an effective capability. UnknownError."""
    for line in host.text("/proc/self/status").splitlines():
        if line.startswith("CapEff:"):
            digits = line.removeprefix("CapEff:").strip()
            if re.fullmatch(r"[0-9a-fA-F]{1,16}", digits):
                return bool(int(digits, 16) >> bit & 1)
    raise UnknownError("/proc/self/status: no line CapEff")


def _amount(value: int) -> str:
    return "unlimited" if value >= UNLIMITED else f"{value:,}"


def _group(about: Inspection, name: str) -> Finding:
    """The settings of a group, as one finding."""
    wrong = about.group(name)
    known = [each for each in about.settings if each.group == name]
    shown = ", ".join(
        f"{each.file.rpartition('/')[2]} {each.present(about.host)}" for each in wrong or known
    )
    if not wrong:
        return Finding("ok", shown)
    return Finding("advice", shown, "; ".join(each.why for each in wrong), APPLY)


def huge_pages(about: Inspection) -> Finding:
    wrong = _group(about, "transparent huge pages")
    if about.host.choice(f"{THP}/enabled") == "never":  # nothing here asks for them
        return Finding("ok", wrong.value)
    return wrong


def swap(about: Inspection) -> Finding:
    with about.host.for_psutil():
        memory = psutil.swap_memory()
    if memory.total == 0:
        return Finding("ok", "none")
    value = f"{memory.used >> 20:,} of {memory.total >> 20:,} MiB used"
    state: State = "problem" if memory.used else "advice"
    return Finding(state, value, "a page that was swapped out takes milliseconds to come back; "
                   "[engine] lock_memory = true keeps the daemon's in memory",
                   "sudo swapoff -a")  # fmt: skip


def background(about: Inspection) -> Finding:
    return _group(about, "background work")


def busy_poll(about: Inspection) -> Finding:
    return _group(about, "busy poll")


def tcp(about: Inspection) -> Finding:
    return _group(about, "TCP")


def receive_buffers(about: Inspection) -> Finding:
    words = about.host.text("/proc/sys/net/ipv4/tcp_rmem").split()
    if len(words) != 3 or not all(word.isdigit() for word in words):
        raise UnknownError("/proc/sys/net/ipv4/tcp_rmem: not three numbers")
    low, default, most = (int(word) for word in words)
    value = f"TCP windows up to {most:,} bytes"
    if most >= RECEIVE_BYTES_MIN:
        return Finding("ok", value)
    return Finding("advice", value, "a burst that comes while the engine is busy fills the window, "
                   "and the venue stops sending",
                   f"sudo sysctl -w net.ipv4.tcp_rmem='{low} {default} {2 * RECEIVE_BYTES_MIN}'",
                   )  # fmt: skip


# --- limits --------------------------------------------------------------------------------------


def realtime(about: Inspection) -> Finding:
    soft, hard = limit_of(about.host, "Max realtime priority")
    if has_capability(about.host, CAP_SYS_NICE):
        return Finding("ok", "CAP_SYS_NICE")
    if soft >= 1:
        return Finding("ok", f"up to priority {soft}")
    value = f"limit {soft}, at most {hard}"
    return Finding("advice", value, "[engine] realtime_priority would be refused",
                   "pollux tune plan  # LimitRTPRIO in the systemd drop-in "
                   f"(or 'USER - rtprio {REALTIME_PRIORITY_MAX}' in limits.conf)")  # fmt: skip


def throttling(about: Inspection) -> Finding:
    runtime = about.host.number("/proc/sys/kernel/sched_rt_runtime_us")
    period = about.host.number("/proc/sys/kernel/sched_rt_period_us")
    if runtime < 0:
        return Finding("ok", "off")
    value = f"{runtime:,} of {period:,} us"
    stopped_ms = max(period - runtime, 0) / 1000
    return Finding("advice", value, "only for [engine] realtime_priority: a realtime thread that "
                   f"spins may be stopped for {stopped_ms:g} ms a second",
                   "sudo sysctl -w kernel.sched_rt_runtime_us=-1")  # fmt: skip


def locked_memory(about: Inspection) -> Finding:
    soft, _ = limit_of(about.host, "Max locked memory")
    if has_capability(about.host, CAP_IPC_LOCK):
        return Finding("ok", "CAP_IPC_LOCK")
    if soft >= LOCKED_BYTES_MIN:
        return Finding("ok", f"{_amount(soft)} bytes")
    return Finding("advice", f"{_amount(soft)} bytes", "[engine] lock_memory would be refused",
                   "pollux tune plan  # LimitMEMLOCK in the systemd drop-in "
                   "(or 'USER - memlock unlimited' in limits.conf)")  # fmt: skip


def descriptors(about: Inspection) -> Finding:
    soft, hard = limit_of(about.host, "Max open files")
    value = f"{_amount(soft)}, at most {_amount(hard)}"
    if hard < DESCRIPTORS_MIN:
        return Finding("problem", value, "a gateway at its limit of connections needs "
                       f"{DESCRIPTORS_MIN:,}", "pollux tune plan  # LimitNOFILE in the systemd "
                       f"drop-in (or 'USER - nofile {DESCRIPTORS}' in limits.conf)")  # fmt: skip
    return Finding("ok", value, "" if soft >= DESCRIPTORS_MIN else "the gateway raises its own")
