"""Trees of /proc and /sys of several machines, written from the kernel's documentation.

A machine is a few numbers; `plant` writes the files that such a machine has, in the kernel's form
(cputopology.rst, pm/cpufreq.rst, pm/cpuidle.rst, irq-affinity.rst, transhuge.rst, proc(5),
cgroup-v1/cpusets.rst, cgroup-v2.rst). `KernelTree` is a host on such a tree whose files behave as
the kernel's do where that is not how plain files behave.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from pathlib import Path

from tuning.host import CPU, Host, format_cpus, format_mask

CLOCKS = "/sys/devices/system/clocksource/clocksource0"
IRQ_FIRST, IRQ_COUNT = 24, 6
MANAGED_IRQ = 26
"""As a disk's: the kernel places it itself, and refuses a write (kernel/irq/manage.c)."""
LIMITS = """Limit                     Soft Limit           Hard Limit           Units
Max open files            {nofile}                {nofile_hard}               files
Max locked memory         {memlock}              {memlock}              bytes
Max realtime priority     {rtprio}                    {rtprio}
"""


@dataclass(frozen=True)
class Machine:
    """What a tree is made from; the defaults are a bare x86 server as it comes."""

    cores: int = 8
    smt: int = 1
    sockets: int = 1
    card_node: int = -1
    governor: str = "powersave"
    has_cpufreq: bool = True
    has_cpuidle: bool = True
    isolated: tuple[int, ...] = ()
    flags: str = "fpu vme tsc"
    clock: str = "tsc"
    clocks: str = "tsc hpet acpi_pm"
    swap_kb: tuple[int, int] = (0, 0)
    """Total and free."""
    steal_ticks: int = 0
    nofile: tuple[int, int] = (1024, 524288)
    memlock: str = "8388608"
    rtprio: int = 0
    capabilities: int = 0
    processes: tuple[str, ...] = ("systemd",)
    max_khz: tuple[int, int] = (4_000_000, 4_000_000)
    """The limit, and what the CPU can."""
    cgroup: str = "0::/user.slice"
    grub: bool = True
    more: dict[str, str] = field(default_factory=dict)
    """Files, with their content, that only this machine has."""
    less: tuple[str, ...] = ()
    """The beginnings of paths of files that this machine does not show."""

    @property
    def cpus(self) -> int:
        return self.cores * self.smt


SMALL = Machine(
    cores=2, has_cpufreq=False, has_cpuidle=False, flags="fpu tsc hypervisor", steal_ticks=400,
    cgroup="9:name=systemd:/\n3:cpuset:/\n1:cpu,cpuacct:/\n0::/",
    more={"/proc/sys/vm/stat_interval": "1",
          "/sys/class/dmi/id/sys_vendor": "QEMU\n",
          "/sys/fs/cgroup/cpuset/cpuset.cpus": "0-1\n",
          "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
          "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n"},
)  # fmt: skip
SMT = Machine(
    cores=8, smt=2, processes=("systemd", "irqbalance"), swap_kb=(2_097_152, 2_097_152),
    more={f"{CPU}/smt/active": "1\n"},
)  # fmt: skip
TWO_SOCKETS = Machine(
    cores=32, smt=2, sockets=2, card_node=1, capabilities=1 << 23 | 1 << 14, nofile=(65536, 65536),
    max_khz=(2_000_000, 3_500_000), clock="hpet", grub=False, more={"/usr/sbin/grubby": ""},
)  # fmt: skip
TUNED = Machine(
    cores=8, isolated=(5,), governor="performance", capabilities=1 << 23 | 1 << 14,
    nofile=(65536, 65536), more={f"{CPU}/nohz_full": "5\n"},
)  # fmt: skip
CONTAINER = Machine(
    cores=8, cgroup="0::/", flags="fpu tsc", nofile=(1024, 1024), has_cpuidle=False,
    more={"/sys/fs/cgroup/cpuset.cpus.effective": "0-3\n",
          "/sys/fs/cgroup/cpu.max": "150000 100000\n"},
    less=("/proc/irq", "/proc/sys/net", "/sys/class/net", "/boot", "/sys/devices/virtual"),
)  # fmt: skip
ARM = Machine(
    cores=4, clock="arch_sys_counter", clocks="arch_sys_counter", flags="", has_cpuidle=True,
    grub=False, less=("/sys/class/dmi", "/sys/devices/system/node"),
)  # fmt: skip

MACHINES = {
    "small": SMALL, "smt": SMT, "two sockets": TWO_SOCKETS, "tuned": TUNED, "container": CONTAINER,
    "arm": ARM,
}  # fmt: skip


def _cpu_files(machine: Machine) -> dict[str, str]:
    """SMT siblings are numbered as most x86 servers do: CPU n and CPU n + cores."""
    files = {}
    every = tuple(range(machine.cpus))
    per_socket = machine.cores // machine.sockets
    for cpu in every:
        core = cpu % machine.cores
        siblings = [core + thread * machine.cores for thread in range(machine.smt)]
        folder = f"{CPU}/cpu{cpu}"
        files[f"{folder}/topology/thread_siblings_list"] = f"{format_cpus(siblings)}\n"
        files[f"{folder}/topology/physical_package_id"] = f"{core // per_socket}\n"
        files[f"{folder}/power/pm_qos_resume_latency_us"] = "0\n"
        if machine.has_cpufreq:
            files[f"{folder}/cpufreq/scaling_governor"] = f"{machine.governor}\n"
            files[f"{folder}/cpufreq/scaling_max_freq"] = f"{machine.max_khz[0]}\n"
            files[f"{folder}/cpufreq/cpuinfo_max_freq"] = f"{machine.max_khz[1]}\n"
        if machine.has_cpuidle:
            for state, latency_us in enumerate((0, 2, 133)):
                files[f"{folder}/cpuidle/state{state}/latency"] = f"{latency_us}\n"
                files[f"{folder}/cpuidle/state{state}/disable"] = "0\n"
    for node in range(machine.sockets):
        cpus = [cpu for cpu in every if cpu % machine.cores // per_socket == node]
        files[f"/sys/devices/system/node/node{node}/cpulist"] = f"{format_cpus(cpus)}\n"
    files[f"{CPU}/online"] = f"{format_cpus(every)}\n"
    files[f"{CPU}/isolated"] = f"{format_cpus(machine.isolated)}\n"
    return files


def _proc_files(machine: Machine) -> dict[str, str]:
    nofile, nofile_hard = machine.nofile
    limits = LIMITS.format(
        nofile=nofile, nofile_hard=nofile_hard, memlock=machine.memlock, rtprio=machine.rtprio
    )
    ticks = f"1000 0 1000 100000 0 0 0 {machine.steal_ticks} 0 0"
    cpus = "".join(f"cpu{cpu} {ticks}\n" for cpu in range(machine.cpus))
    isolated = format_cpus(machine.isolated)
    asked = f" isolcpus=managed_irq,domain,{isolated} nohz_full={isolated}" if isolated else ""
    return {
        "/proc/cmdline": f"BOOT_IMAGE=/vmlinuz root=/dev/sda1 quiet{asked}\n",
        "/proc/cpuinfo": f"processor : 0\nflags\t\t: {machine.flags}\n",
        "/proc/meminfo": f"MemTotal: 16000000 kB\nSwapTotal: {machine.swap_kb[0]} kB\n"
        f"SwapFree: {machine.swap_kb[1]} kB\n",
        "/proc/vmstat": "pswpin 0\npswpout 0\n",
        "/proc/stat": f"cpu  {ticks}\n{cpus}intr 0\n",
        "/proc/self/cgroup": f"{machine.cgroup}\n",
        "/proc/self/limits": limits,
        "/proc/self/status": f"Name:\tpollux\nPPid:\t1\nCapEff:\t{machine.capabilities:016x}\n",
        "/proc/self/timerslack_ns": "50000\n",
        **{f"/proc/{n}/comm": f"{name}\n" for n, name in enumerate(machine.processes, 1)},
    }


def _setting_files(machine: Machine) -> dict[str, str]:
    every = range(machine.cpus)
    files = {
        "/proc/irq/default_smp_affinity": f"{format_mask(every)}\n",
        "/sys/devices/virtual/workqueue/cpumask": f"{format_mask(every)}\n",
        "/sys/kernel/mm/transparent_hugepage/enabled": "[always] madvise never\n",
        "/sys/kernel/mm/transparent_hugepage/defrag": "always defer [madvise] never\n",
        f"{CLOCKS}/current_clocksource": f"{machine.clock}\n",
        f"{CLOCKS}/available_clocksource": f"{machine.clocks} \n",
        "/sys/class/net/eth0/device/numa_node": f"{machine.card_node}\n",
        "/proc/sys/kernel/osrelease": "6.8.0\n",
        "/proc/sys/kernel/version": "#1 SMP PREEMPT_DYNAMIC\n",
        "/proc/sys/kernel/sched_rt_runtime_us": "950000\n",
        "/proc/sys/kernel/sched_rt_period_us": "1000000\n",
        "/proc/sys/kernel/numa_balancing": f"{int(machine.sockets > 1)}\n",
        "/proc/sys/vm/stat_interval": "1\n",
        "/proc/sys/net/core/busy_read": "0\n",
        "/proc/sys/net/core/busy_poll": "0\n",
        "/proc/sys/net/ipv4/tcp_autocorking": "1\n",
        "/proc/sys/net/ipv4/tcp_slow_start_after_idle": "1\n",
        "/proc/sys/net/ipv4/tcp_moderate_rcvbuf": "1\n",
        "/proc/sys/net/ipv4/tcp_rmem": "4096\t131072\t6291456\n",
    }
    for number in range(IRQ_FIRST, IRQ_FIRST + IRQ_COUNT):
        files[f"/proc/irq/{number}/smp_affinity_list"] = f"{format_cpus(every)}\n"
    if machine.grub:
        files["/etc/default/grub"] = 'GRUB_CMDLINE_LINUX="quiet"\n'
    return files


def plant(root: Path, machine: Machine) -> KernelTree:
    """Write the tree of a machine."""
    files = {**_cpu_files(machine), **_proc_files(machine), **_setting_files(machine)}
    files |= machine.more
    for name, content in files.items():
        if not name.startswith(machine.less or ("-",)):
            path = root / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
    (root / "run").mkdir()
    return KernelTree(root)


def snapshot(root: Path) -> dict[str, bytes]:
    """Every file of a tree with its bytes."""
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


class Power(BaseException):
    """The power went off."""


@dataclass(frozen=True)
class KernelTree(Host):
    """Files that behave as the kernel's: choices in brackets, IRQs that refuse; a power failure."""

    refusing: tuple[str, ...] = ()
    """Files whose write is an error (EIO)."""
    writes_left: list[int] = field(default_factory=list)
    """How many writes until the power fails; empty for ever."""

    def write(self, name: str, raw: bytes) -> None:
        if self.writes_left:
            if self.writes_left[0] == 0:
                raise Power
            self.writes_left[0] -= 1
        if name in self.refusing:
            raise OSError(errno.EIO, "Input/output error")
        words = self.raw(name).decode().replace("[", "").replace("]", "").split()
        if b"[" in self.raw(name):
            chosen = raw.decode().strip()
            if chosen not in words:
                raise OSError(errno.EINVAL, "Invalid argument")
            raw = " ".join(f"[{w}]" if w == chosen else w for w in words).encode() + b"\n"
        super().write(name, raw)
