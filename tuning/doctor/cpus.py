"""The doctor's checks of CPUs: cores, isolation, interrupts, frequency, idle states.

Sources: Documentation/admin-guide/kernel-parameters.txt, cputopology.rst, pm/cpufreq.rst,
pm/cpuidle.rst, core-api/irq/irq-affinity.rst.
Runs on: the command's main thread.
"""

from __future__ import annotations

import re
import sys

from tuning.doctor.finding import Finding, Inspection
from tuning.host import CPU, Host, UnknownError, format_cpus, parse_cpus
from tuning.plan import boot_command
from tuning.settings import DMA_LATENCY, IRQ, is_running
from tuning.topology import network_nodes

APPLY = "sudo pollux tune apply"
IDLE_EXIT_US_MAX = 10
"""An idle state that takes longer to leave than this is felt in every wake-up."""
FREQUENCY_PART_MIN = 0.98
"""A limit below this part of what the CPU can is called a limit: files round differently."""


def cores(about: Inspection) -> Finding:
    topology = about.topology
    value = f"{topology}; engine on CPU {format_cpus(about.engines)}"
    if len(topology.cores) == 1:
        return Finding("advice", value, "one core: an engine shares it with everything else, so "
                       'use [engine] idle = "backoff" or "block"')  # fmt: skip
    missing = [cpu for cpu in about.engines if cpu not in topology.cpus]
    if missing:
        command = "; ".join(f"echo 1 | sudo tee {CPU}/cpu{cpu}/online" for cpu in missing)
        return Finding("problem", value, f"CPU {format_cpus(missing)} is not online", command)
    return Finding("ok", value)


def smt(about: Inspection) -> Finding:
    if not about.topology.has_smt:
        return Finding("ok", "one CPU a core")
    cores = [about.topology.core_of(cpu) for cpu in about.engines]
    pairs = "; ".join(sorted({format_cpus(core.cpus) for core in cores}))
    value = f"the engine's core has CPUs {pairs}"
    isolated = _listed(about.host, f"{CPU}/isolated")
    alone = [cpu for core in cores for cpu in core.cpus if cpu not in about.engines]
    if about.given and any(len(set(core.cpus) & set(about.given)) > 1 for core in cores):
        return Finding("problem", value, "two engines share a core: each gets half of it; give "
                       "each a core of its own (pollux tune plan)")  # fmt: skip
    if set(alone) <= set(isolated):
        return Finding("ok", value, "nothing else is scheduled on its second CPU")
    command = "; ".join(f"echo 0 | sudo tee {CPU}/cpu{cpu}/online" for cpu in alone)
    return Finding("advice", value, "work on the second CPU of the engine's core halves its speed: "
                   "isolate it too, or take it offline", command)  # fmt: skip


def numa(about: Inspection) -> Finding:
    topology = about.topology
    cards = network_nodes(about.host)
    if len(topology.nodes) == 1:
        return Finding("ok", "one memory node")
    nodes = sorted({topology.core_of(cpu).node for cpu in about.engines})
    where = ", ".join(f"{name} on node {node}" for name, node in cards.items()) or "cards unknown"
    value = f"engine on node {format_cpus(nodes)}; {where}"
    if cards and not set(nodes) <= set(cards.values()):
        return Finding("advice", value, "the engine is on another socket than the network card: "
                       "every packet crosses over", "pollux tune plan")  # fmt: skip
    return Finding("ok", value)


# --- isolation -----------------------------------------------------------------------------------


def _listed(host: Host, name: str) -> tuple[int, ...]:
    """The CPUs of a file; none where it is not there: kernels without the feature have no file."""
    return host.cpus(name) if host.exists(name) else ()


def _argument(host: Host, name: str) -> tuple[int, ...] | None:
    """The CPUs that an argument of the kernel's command line names; None: it is not given."""
    found: tuple[int, ...] | None = None
    for word in host.text("/proc/cmdline").split():
        key, _, value = word.partition("=")
        if key == name:
            listed = [part for part in value.split(",") if re.match(r"\d", part)]
            try:
                found = parse_cpus(",".join(listed))
            except ValueError as error:
                raise UnknownError(f"/proc/cmdline: {name}: {error}") from None
    return found


def _isolation(about: Inspection, argument: str, cpus: tuple[int, ...], why: str) -> Finding:
    missing = set(about.engines) - set(cpus)
    value = format_cpus(cpus) or "none"
    if not missing:
        return Finding("ok", value)
    if len(about.topology.cores) == 1:
        return Finding("ok", value, "one core: there is nothing to isolate")
    wanted = [text for text, _ in about.layout.kernel_arguments() if text.startswith(argument)]
    return Finding("advice", value, why, boot_command(about.host, " ".join(wanted)))


def isolcpus(about: Inspection) -> Finding:
    name = f"{CPU}/isolated"
    host = about.host
    cpus = host.cpus(name) if host.exists(name) else _argument(host, "isolcpus") or ()
    return _isolation(about, "isolcpus", cpus, "the scheduler may put other work on the engine's "
                      "CPU; from the next boot on it would not")  # fmt: skip


def nohz_full(about: Inspection) -> Finding:
    name = f"{CPU}/nohz_full"
    host = about.host
    cpus = host.cpus(name) if host.exists(name) else ()
    why = "the timer interrupts the engine up to 1000 times a second"
    if not host.exists(name) and _argument(host, "nohz_full") is not None:
        why += "; this kernel is built without CONFIG_NO_HZ_FULL and ignores nohz_full="
    return _isolation(about, "nohz_full", cpus, why)


def rcu_nocbs(about: Inspection) -> Finding:
    named = _argument(about.host, "rcu_nocbs") or ()
    # nohz_full implies it (kernel-parameters.txt).
    cpus = tuple(sorted({*named, *_listed(about.host, f"{CPU}/nohz_full")}))
    return _isolation(about, "rcu_nocbs", cpus, "RCU callbacks run on the engine's CPU")


# --- interrupts ----------------------------------------------------------------------------------


def irqs(about: Inspection) -> Finding:
    host = about.host
    numbers = host.names(IRQ, r"\d+")
    if not numbers:
        raise UnknownError(f"{IRQ}: no interrupts are shown here")
    touching, unreadable = [], 0
    for number in numbers:
        try:
            cpus = host.cpus(f"{IRQ}/{number}/smp_affinity_list")
        except UnknownError:
            unreadable += 1
            continue
        if set(cpus) & set(about.engines):
            touching.append(int(number))
    engines = format_cpus(about.engines)
    value = f"{len(touching)} of {len(numbers)} may interrupt CPU {engines}"
    if unreadable:
        value += f", {unreadable} unreadable"
    if unreadable == len(numbers):
        raise UnknownError(f"{IRQ}: none of {unreadable} affinities can be read")
    if not touching:
        return Finding("ok", value)
    if len(about.topology.cores) == 1:
        return Finding("ok", value, "one core: there is no other place for them")
    return Finding("advice", value, f"IRQs {format_cpus(touching)} stop the engine when they come; "
                   f"their place is CPU {format_cpus(about.layout.irq)}", APPLY)  # fmt: skip


def irqbalance(about: Inspection) -> Finding:
    if not about.host.names("/proc", r"\d+"):
        raise UnknownError("/proc: no processes are shown here")
    if not is_running(about.host, "irqbalance"):
        return Finding("ok", "not running")
    return Finding("advice", "running", "it moves interrupts back to the engine's CPU",
                   "sudo systemctl disable --now irqbalance")  # fmt: skip


# --- speed ---------------------------------------------------------------------------------------


def governor(about: Inspection) -> Finding:
    files = [each for each in about.settings if each.group == "governor"]
    if not files:
        raise UnknownError("no cpufreq here: firmware or hypervisor choose the frequency")
    words = sorted({each.present(about.host) for each in files})
    slow = about.group("governor")
    if not slow:
        return Finding("ok", ", ".join(words))
    return Finding("advice", ", ".join(words), "a CPU that was idle needs up to milliseconds to "
                   "reach its full frequency", APPLY)  # fmt: skip


def frequency(about: Inspection) -> Finding:
    host = about.host
    shown, slow = [], []
    for cpu in about.engines:
        folder = f"{CPU}/cpu{cpu}/cpufreq"
        if not host.exists(folder):
            raise UnknownError("no cpufreq here: firmware or hypervisor choose the frequency")
        limit = host.number(f"{folder}/scaling_max_freq")
        most = host.number(f"{folder}/cpuinfo_max_freq")
        shown.append(f"CPU {cpu} up to {limit / 1e6:.2f} of {most / 1e6:.2f} GHz")
        if limit < FREQUENCY_PART_MIN * most:
            slow.append(f"echo {most} | sudo tee {folder}/scaling_max_freq")
    value = "; ".join(sorted(shown)[:4])
    if slow:
        return Finding("problem", value, "the engine's CPU is held below its full frequency",
                       "; ".join(slow))  # fmt: skip
    for name, off, on in (
        ("intel_pstate/no_turbo", 1, 0),
        ("cpufreq/boost", 0, 1),
    ):
        if host.exists(f"{CPU}/{name}") and host.number(f"{CPU}/{name}") == off:
            return Finding("advice", value, "turbo frequencies are switched off",
                           f"echo {on} | sudo tee {CPU}/{name}")  # fmt: skip
    return Finding("ok", value)


def _held_latency_us(host: Host) -> int | None:
    """The least that any process holds the latency device at; None: only root may read it."""
    try:
        raw = host.raw(DMA_LATENCY)
    except UnknownError:
        return None
    return int.from_bytes(raw, sys.byteorder, signed=True) if len(raw) == 4 else None


def idle_states(about: Inspection) -> Finding:
    host = about.host
    cpus = sorted({*about.engines, *about.layout.irq})
    slowest, where = -1, cpus[0]
    for cpu in cpus:
        folder = f"{CPU}/cpu{cpu}/cpuidle"
        for state in host.names(folder, r"state\d+"):
            if host.exists(f"{folder}/{state}/disable"):
                if host.number(f"{folder}/{state}/disable") != 0:
                    continue
            latency = host.number(f"{folder}/{state}/latency")
            if latency > slowest:
                slowest, where = latency, cpu
    if slowest < 0:
        raise UnknownError("no cpuidle here: firmware or hypervisor put CPUs to sleep")
    if slowest <= IDLE_EXIT_US_MAX:
        return Finding("ok", f"the deepest takes {slowest} us to leave")
    held = _held_latency_us(host)
    if held is not None and held <= IDLE_EXIT_US_MAX:
        return Finding("ok", f"a process holds {DMA_LATENCY} at {held} us")
    value = f"CPU {where} may sleep so deep that it takes {slowest} us to wake"
    if not about.group("idle states"):
        return Finding("ok", "no sleep on the engines' and the interrupts' CPUs")
    return Finding("advice", value, "packets wait until it is awake; [engine] stay_awake = true "
                   "holds /dev/cpu_dma_latency as long as the daemon runs", APPLY)  # fmt: skip
