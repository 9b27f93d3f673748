"""Which CPUs there are, which of them share a core, a memory node and a socket.

Sources: Documentation/admin-guide/cputopology.rst, ABI/stable/sysfs-devices-node, cgroup-v2.rst and
cgroup-v1/cpusets.rst.
Runs on: the command's main thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tuning.host import CPU, Host, UnknownError

NODE = "/sys/devices/system/node"
CGROUP = "/sys/fs/cgroup"
SELF_CGROUP = "/proc/self/cgroup"


@dataclass(frozen=True)
class Core:
    """A physical core: its CPUs (two or more with SMT), its memory node and its socket."""

    cpus: tuple[int, ...]
    node: int
    package: int

    @property
    def first(self) -> int:
        return self.cpus[0]


@dataclass(frozen=True)
class Topology:
    """The cores that are online, ordered by their first CPUs; at least one."""

    cores: tuple[Core, ...]

    @property
    def cpus(self) -> tuple[int, ...]:
        return tuple(sorted(cpu for core in self.cores for cpu in core.cpus))

    @property
    def nodes(self) -> tuple[int, ...]:
        return tuple(sorted({core.node for core in self.cores}))

    @property
    def packages(self) -> tuple[int, ...]:
        return tuple(sorted({core.package for core in self.cores}))

    @property
    def has_smt(self) -> bool:
        return any(len(core.cpus) > 1 for core in self.cores)

    def core_of(self, cpu: int) -> Core:
        """The core of a CPU. UnknownError: no such CPU online."""
        for core in self.cores:
            if cpu in core.cpus:
                return core
        raise UnknownError(f"there is no CPU {cpu} online")

    def limited_to(self, cpus: tuple[int, ...]) -> Topology:
        """The same with these CPUs only. UnknownError: none is left."""
        kept = [
            Core(tuple(cpu for cpu in core.cpus if cpu in cpus), core.node, core.package)
            for core in self.cores
        ]
        return _of_cores([core for core in kept if core.cpus])

    def __str__(self) -> str:
        def of(count: int, what: str) -> str:
            return f"{count} {what}{'s' if count != 1 else ''}"

        parts = [of(len(self.cpus), "CPU"), of(len(self.cores), "core")]
        parts += [of(len(self.packages), "socket"), of(len(self.nodes), "memory node")]
        return ", ".join(parts)


def _of_cores(cores: list[Core]) -> Topology:
    if not cores:
        raise UnknownError("no CPU is left")
    return Topology(tuple(sorted(cores, key=lambda core: core.cpus)))


def read_topology(host: Host) -> Topology:
    """The CPUs that are online. UnknownError: the host does not tell.

    A CPU that does not tell its siblings, node or socket (containers, some ARM boards) is taken for
    a core of its own on node 0 and socket 0, as the kernel does where firmware says nothing.
    """
    online = host.cpus(f"{CPU}/online")
    node_of = {}
    for name in host.names(NODE, r"node\d+"):
        for cpu in _cpus_or(host, f"{NODE}/{name}/cpulist", ()):
            node_of[cpu] = int(name.removeprefix("node"))
    cores: list[Core] = []
    taken: set[int] = set()
    for cpu in online:
        if cpu in taken:
            continue
        siblings = _cpus_or(host, f"{CPU}/cpu{cpu}/topology/thread_siblings_list", (cpu,))
        cpus = tuple(each for each in siblings if each in online and each not in taken)
        cpus = cpus if cpu in cpus else (cpu,)
        taken.update(cpus)
        try:
            package = max(host.number(f"{CPU}/cpu{cpu}/topology/physical_package_id"), 0)
        except UnknownError:
            package = 0
        cores.append(Core(cpus, node_of.get(cpu, 0), package))
    return _of_cores(cores)


def _cpus_or(host: Host, name: str, otherwise: tuple[int, ...]) -> tuple[int, ...]:
    try:
        return host.cpus(name)
    except UnknownError:
        return otherwise


def network_nodes(host: Host) -> dict[str, int]:
    """The memory node of each network device that tells one (-1 is the kernel's word for none)."""
    nodes = {}
    for name in host.names("/sys/class/net", r".+"):
        try:
            node = host.number(f"/sys/class/net/{name}/device/numa_node")
        except UnknownError:
            continue
        if node >= 0:
            nodes[name] = node
    return nodes


# --- control groups ------------------------------------------------------------------------------


def cgroup_files(host: Host, controller: str, file: str, file_v1: str) -> Iterator[str]:
    """The files of this process's group and of those above it, the own one first.

    Version 2 has one hierarchy; version 1 one for each controller. Inside a container the path may
    be the host's, and only the mounted root is there to read.
    """
    for line in host.text(SELF_CGROUP).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "":
            roots, name = (CGROUP, f"{CGROUP}/unified"), file
        elif controller in controllers.split(","):
            roots, name = (f"{CGROUP}/{controllers}", f"{CGROUP}/{controller}"), file_v1
        else:
            continue
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for root in roots:
            for depth in range(len(parts), -1, -1):
                found = "/".join((root, *parts[:depth], name))
                if host.exists(found):
                    yield found


def allowed_cpus(host: Host, topology: Topology) -> tuple[int, ...]:
    """The online CPUs that the control group leaves to this process; all where none limits it."""
    try:
        files = [
            *cgroup_files(host, "cpuset", "cpuset.cpus.effective", "cpuset.effective_cpus"),
            *cgroup_files(host, "cpuset", "cpuset.cpus.effective", "cpuset.cpus"),
        ]
    except UnknownError:
        files = []
    for name in files:
        cpus = _cpus_or(host, name, ())
        if cpus:
            return tuple(cpu for cpu in topology.cpus if cpu in cpus)
    return topology.cpus


def cpu_quota(host: Host) -> float | None:
    """The CPUs' worth of time that the tightest control group allows; None: no limit.

    UnknownError: it cannot be read, or is not what the kernel writes.
    """
    limits = []
    for name in cgroup_files(host, "cpu", "cpu.max", "cpu.cfs_quota_us"):
        if name.endswith("cpu.max"):
            words = host.text(name).split()
        else:
            period = host.text(name.replace("cfs_quota_us", "cfs_period_us"))
            words = [host.text(name), period]
        if len(words) != 2 or not words[1].isdigit() or int(words[1]) == 0:
            raise UnknownError(f"{name}: {' '.join(words)[:40]!r} is no quota")
        if words[0] in ("max", "-1"):
            continue
        if not words[0].isdigit():
            raise UnknownError(f"{name}: {' '.join(words)[:40]!r} is no quota")
        limits.append(int(words[0]) / int(words[1]))
    return min(limits, default=None)
