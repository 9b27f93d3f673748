"""What can be set at run time: every file with the text it should have for a layout, and why.

The doctor compares these with what is there; `pollux tune apply` writes them, and `restore` writes
back what stood there.
Sources: Documentation/core-api/irq/irq-affinity.rst, admin-guide/pm/cpufreq.rst, pm/cpuidle.rst,
mm/transhuge.rst, sysctl/net.rst, sysctl/kernel.rst, sysctl/vm.rst, core-api/workqueue.rst.
Runs on: the command's main thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tuning.host import CPU, Host, UnknownError, format_cpus, format_mask, parse_cpus, parse_mask
from tuning.plan import Layout

IRQ = "/proc/irq"
DEFAULT_IRQ = f"{IRQ}/default_smp_affinity"
THP = "/sys/kernel/mm/transparent_hugepage"
WORKQUEUE = "/sys/devices/virtual/workqueue"
DMA_LATENCY = "/dev/cpu_dma_latency"

BUSY_POLL_US = 50
"""sysctl/net.rst recommends 50 for busy_read, and for busy_poll with several sockets."""


@dataclass(frozen=True)
class Setting:
    """One file of the host and the text it should have."""

    group: str
    """The doctor's item: settings of one group are told together."""
    file: str
    wanted: str
    why: str
    kind: str = "text"
    """How the file is read: text, choice (the word in brackets), cpus (a list) or mask."""

    def present(self, host: Host) -> str:
        """What is there, in the form in which it is written. UnknownError."""
        return host.choice(self.file) if self.kind == "choice" else host.text(self.file)

    def holds(self, host: Host) -> bool:
        """Whether the file says what is wanted; an IRQ's CPUs may also be fewer. UnknownError."""
        present = self.present(host)
        try:
            if self.kind == "cpus":
                return bool(present) and set(parse_cpus(present)) <= set(parse_cpus(self.wanted))
            if self.kind == "mask":
                return parse_mask(present) == parse_mask(self.wanted)
        except ValueError as error:
            raise UnknownError(f"{self.file}: {error}") from None
        return present == self.wanted


FIXED = (
    Setting("transparent huge pages", f"{THP}/enabled", "madvise",
            "nothing here asks for huge pages; where they come unasked they mean stalls", "choice"),
    Setting("transparent huge pages", f"{THP}/defrag", "madvise",
            "nobody waits for compaction who has not asked for it", "choice"),
    Setting("busy poll", "/proc/sys/net/core/busy_read", str(BUSY_POLL_US),
            "recv() looks at the network card itself instead of waiting for an interrupt"),
    Setting("busy poll", "/proc/sys/net/core/busy_poll", str(BUSY_POLL_US),
            "poll() and epoll_wait() do too"),
    Setting("TCP", "/proc/sys/net/ipv4/tcp_autocorking", "0",
            "a small order is sent at once though an earlier one is still queued"),
    Setting("TCP", "/proc/sys/net/ipv4/tcp_slow_start_after_idle", "0",
            "a connection that was quiet sends at full speed again"),
    Setting("TCP", "/proc/sys/net/ipv4/tcp_moderate_rcvbuf", "1",
            "the receive window grows with what comes"),
    Setting("background work", "/proc/sys/kernel/numa_balancing", "0",
            "no page is made to fault to learn who uses it"),
    Setting("background work", "/proc/sys/vm/stat_interval", "120",
            "memory statistics are folded on each CPU every two minutes, not every second"),
)  # fmt: skip


def settings(host: Host, layout: Layout) -> Iterator[Setting]:
    """Every setting of a layout whose file is there."""
    if layout.isolated:
        yield from _irqs(host, layout)
    yield from _cpus(host, layout)
    yield from (each for each in FIXED if host.exists(each.file))


def _irqs(host: Host, layout: Layout) -> Iterator[Setting]:
    why = "the engines' CPUs are not interrupted"
    if host.exists(DEFAULT_IRQ):
        yield Setting("IRQ affinity", DEFAULT_IRQ, format_mask(layout.irq), why, "mask")
    for number in host.names(IRQ, r"\d+"):
        file = f"{IRQ}/{number}/smp_affinity_list"
        if host.exists(file):
            yield Setting("IRQ affinity", file, format_cpus(layout.irq), why, "cpus")
    if host.exists(f"{WORKQUEUE}/cpumask"):
        wanted = format_mask(cpu for cpu in layout.topology.cpus if cpu not in layout.isolated)
        why = "the kernel's own work that is bound to no CPU stays off them"
        yield Setting("background work", f"{WORKQUEUE}/cpumask", wanted, why, "mask")


def _cpus(host: Host, layout: Layout) -> Iterator[Setting]:
    for cpu in layout.topology.cpus:
        file = f"{CPU}/cpu{cpu}/cpufreq/scaling_governor"
        if host.exists(file):
            yield Setting("governor", file, "performance", "a CPU is at full speed at once")
    for cpu in sorted({*layout.engines, *layout.isolated, *layout.irq}):
        file = f"{CPU}/cpu{cpu}/power/pm_qos_resume_latency_us"
        if host.exists(file) and host.names(f"{CPU}/cpu{cpu}/cpuidle", r"state\d+"):
            why = "never asleep, so never late: this is /dev/cpu_dma_latency for one CPU"
            yield Setting("idle states", file, "n/a", why)


def beyond(host: Host, layout: Layout) -> tuple[str, ...]:
    """What `apply` cannot change, one line each."""
    lines = []
    if layout.isolated:
        try:
            isolated = host.cpus(f"{CPU}/isolated")
        except UnknownError:
            isolated = ()
        if not set(layout.isolated) <= set(isolated):
            cpus = format_cpus(layout.isolated)
            lines.append(f"CPU {cpus} is not isolated: that takes the kernel's command line "
                         f"(pollux tune plan) and a reboot")  # fmt: skip
    else:
        lines.append("one core: interrupts stay where they are")
    if not host.names(f"{CPU}/cpu{layout.topology.cpus[0]}/cpufreq", "scaling_governor"):
        lines.append("no cpufreq here: firmware or hypervisor choose the frequency")
    if is_running(host, "irqbalance"):
        lines.append("irqbalance runs and will move interrupts back: "
                     "sudo systemctl disable --now irqbalance")  # fmt: skip
    if host.exists(DMA_LATENCY):
        lines.append(f"{DMA_LATENCY} lasts only as long as a process holds it open: "
                     "[engine] stay_awake = true has the daemon do it")  # fmt: skip
    lines += [f"{each.file} is not there" for each in FIXED if not host.exists(each.file)]
    return tuple(lines)


def is_running(host: Host, name: str) -> bool:
    """Whether a process of this name runs, as far as this user may see."""
    for number in host.names("/proc", r"\d+"):
        try:
            if host.text(f"/proc/{number}/comm") == name:
                return True
        except UnknownError:
            continue  # it has ended since
    return False
