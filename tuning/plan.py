"""The layout of a host: which CPUs are common, isolated for engines, and for interrupts.

Whole cores are dealt out, so that no engine shares one with anything, and an engine runs on the
first CPU of its core. Of one node's cores, in the order of their numbers, the first are common, the
next isolated, the last take interrupts: on 32 cores for 16 engines 0-7, 8-23 and 24-31.
Runs on: the command's main thread.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from tuning.host import CPU, Host, UnknownError, format_cpus
from tuning.topology import Core, Topology, allowed_cpus, network_nodes, read_topology

IRQ_PART = 4
"""One core of four takes interrupts, as far as enough is left for everything else."""
IRQ_CORES_MAX = 8
"""More queues than this a network card of a few streams does not fill."""
GATEWAY_PORT, METRICS_PORT = 5002, 9102
"""Of the first engine; the next ones' follow (the configuration's defaults)."""
REALTIME_PRIORITY_MAX = 49
"""Below 50, at which the kernel runs threaded interrupts (kernel/irq/manage.c)."""
DESCRIPTORS = 65536
COLUMNS = 80


class PlanError(Exception):
    """No such layout on this host: one line."""


@dataclass(frozen=True)
class Layout:
    """Who gets which CPUs; the three sets are disjoint, but where `irq` must share with `common`.

    `engines` has the CPU of each; without isolated CPUs an engine shares with everything else.
    """

    topology: Topology
    engines: tuple[int, ...]
    common: tuple[int, ...]
    isolated: tuple[int, ...]
    irq: tuple[int, ...]
    notes: tuple[str, ...] = ()

    @property
    def idle(self) -> Literal["spin", "backoff", "block"]:
        """The idle policy that fits: nobody spins on a CPU that others need."""
        if self.isolated:
            return "spin"
        return "backoff" if self.engines else "block"

    def gateway_cpu(self, engine: int) -> int:
        """The gateway's CPU of the engine of this number: the last common ones, in turn."""
        return self.common[-1 - engine % len(self.common)]

    def kernel_arguments(self) -> tuple[tuple[str, str], ...]:
        """(argument, reason) for the kernel's command line (kernel-parameters.txt)."""
        if not self.isolated:
            return ()
        cpus = format_cpus(self.isolated)
        return (
            (f"isolcpus=managed_irq,domain,{cpus}", "no task is moved there, no managed IRQ"),
            (f"nohz_full={cpus}", "no timer tick while one thread runs"),
            (f"rcu_nocbs={cpus}", "RCU's callbacks run elsewhere"),
            (f"irqaffinity={format_cpus(self.irq)}", "interrupts start on their own CPUs"),
            ("skew_tick=1", "ticks do not all come at once"),
            ("nowatchdog", "no lockup detector wakes up there"),
        )


def make_layout(topology: Topology, engines: int, near_node: int | None = None) -> Layout:
    """The layout for so many engines, beginning on the node `near_node`. PlanError: impossible."""
    cores = topology.cores
    if engines < 1:
        raise PlanError("at least one engine")
    if len(cores) == 1 and engines == 1:
        return _shared(topology)
    if engines > len(cores) - 1:
        raise PlanError(
            f"{engines} engines need {engines + 1} cores, one of them for everything else; "
            f"usable here: {topology}"
        )
    rest = len(cores) - engines
    node = near_node if near_node in topology.nodes else cores[0].node
    order = (node, *(each for each in topology.nodes if each != node))
    # The first core keeps the time and boots the machine: it stays common.
    free = {each: [core for core in cores[1:] if core.node == each] for each in order}
    irq_count = min(len(cores) // IRQ_PART, rest // 2, IRQ_CORES_MAX, max(len(free[node]) - 1, 0))
    irq = [free[node].pop() for _ in range(irq_count)]
    chosen: list[Core] = []
    for each in order:
        count = min(engines - len(chosen), len(free[each]))
        chosen += free[each][len(free[each]) - count :]
    left = [core for core in cores if core not in irq and core not in chosen]
    common = _cpus(left)
    notes = []
    if not irq:
        notes.append("too few cores for a third set: interrupts share the common CPUs")
    if len({core.node for core in chosen}) > 1:
        nodes = format_cpus({core.node for core in chosen})
        notes.append(f"the engines do not fit on memory node {node}: they are on nodes {nodes}")
    if topology.has_smt:
        notes.append("the second CPU of each engine's core is isolated too, and stays idle")
    return Layout(
        topology, tuple(core.first for core in chosen), common, _cpus(chosen),
        _cpus(irq) or common, tuple(notes),
    )  # fmt: skip


def _cpus(cores: Iterable[Core]) -> tuple[int, ...]:
    return tuple(sorted(cpu for core in cores for cpu in core.cpus))


def _shared(topology: Topology) -> Layout:
    """One core: nothing can be isolated."""
    cpus = topology.cpus
    if len(cpus) == 1:
        note = "one CPU: nothing is pinned, and the engine sleeps when nothing comes"
        return Layout(topology, (), cpus, (), cpus, (note,))
    note = "one core: the engine shares it, and does not spin for long"
    return Layout(topology, cpus[-1:], cpus[:-1], (), cpus[:-1], (note,))


def plan_host(host: Host, engines: int = 1) -> Layout:
    """The layout for a host as it is. PlanError: impossible; UnknownError: it does not tell."""
    topology = read_topology(host)
    usable = allowed_cpus(host, topology)
    cards = network_nodes(host)
    nodes = sorted(cards.values(), key=lambda node: (-list(cards.values()).count(node), node))
    layout = make_layout(topology.limited_to(usable), engines, nodes[0] if nodes else None)
    if usable == topology.cpus:
        return layout
    note = f"the control group leaves CPUs {format_cpus(usable)} of {format_cpus(topology.cpus)}"
    return Layout(**{**vars(layout), "notes": (*layout.notes, note)})


def isolated_engines(host: Host) -> tuple[int, ...]:
    """The first CPU of each core that the kernel has isolated; none where it has not."""
    try:
        isolated = host.cpus(f"{CPU}/isolated")
        cores = read_topology(host).cores
    except UnknownError:
        return ()
    return tuple(min(own) for core in cores if (own := set(core.cpus) & set(isolated)))


def layout_around(host: Host, engines: tuple[int, ...]) -> Layout:
    """The layout whose engines are on these CPUs; the rest as planned.

    UnknownError: the host does not tell, or has no such CPU. PlanError: nothing can be planned.
    """
    topology = read_topology(host)
    isolated = {cpu for engine in engines for cpu in topology.core_of(engine).cpus}
    rest = tuple(cpu for cpu in topology.cpus if cpu not in isolated)
    if not rest:
        return make_layout(topology.limited_to(engines[:1]), 1)
    irq = tuple(cpu for cpu in plan_host(host).irq if cpu in rest) or rest
    common = tuple(cpu for cpu in rest if cpu not in irq) or rest
    return Layout(topology, engines, common, tuple(sorted(isolated)), irq)


# --- what an operator installs -------------------------------------------------------------------


def system_text(layout: Layout) -> str:
    """A drop-in for systemd itself (systemd-system.conf(5)): all services start on these CPUs."""
    return f"[Manager]\nCPUAffinity={format_cpus(layout.common)}\n"


def service_text(layout: Layout) -> str:
    """A drop-in for the daemon's service (systemd.exec(5)).

    CPUAffinity is where its main thread starts; the engine's thread leaves for its own CPU.
    """
    return (
        "[Service]\n"
        f"CPUAffinity={format_cpus(layout.common)}\n"
        f"LimitNOFILE={DESCRIPTORS}\n"
        "LimitMEMLOCK=infinity\n"
        f"LimitRTPRIO={REALTIME_PRIORITY_MAX}\n"
        "AmbientCapabilities=CAP_SYS_NICE CAP_IPC_LOCK\n"
    )


def config_text(layout: Layout, engine: int) -> str:
    """The sections of a pollux configuration that belong to the engine of this number."""
    cpu = f"cpu = {layout.engines[engine]}\n" if layout.engines else ""
    name = "pollux" if engine == 0 else f"pollux-{engine + 1}"
    gateway = f"cpu = {layout.gateway_cpu(engine)}\n" if layout.engines else ""
    return (
        f'[engine]\nname = "{name}"\n{cpu}idle = "{layout.idle}"\nlock_memory = true\n'
        f'[gateway]\nlisten = "127.0.0.1:{GATEWAY_PORT + engine}"\n{gateway}'
        f'[metrics]\nlisten = "127.0.0.1:{METRICS_PORT + engine}"\n'
    )


def boot_command(host: Host, arguments: str) -> str:
    """The command that adds arguments to the kernel's command line on this distribution."""
    if host.exists("/usr/sbin/grubby"):
        return f"sudo grubby --update-kernel=ALL --args='{arguments}'"
    if host.exists("/etc/default/grub"):
        change = f's/^GRUB_CMDLINE_LINUX="/&{arguments} /'
        return f"sudo sed -i '{change}' /etc/default/grub && sudo update-grub"
    return f"# in the boot loader, add to the kernel's command line: {arguments}"


def plan_json(host: Host, layout: Layout) -> dict[str, Any]:
    """All of a plan as plain data."""
    arguments = " ".join(argument for argument, _ in layout.kernel_arguments())
    return {
        "topology": str(layout.topology),
        "common": layout.common,
        "isolated": layout.isolated,
        "irq": layout.irq,
        "engines": layout.engines,
        "notes": layout.notes,
        "kernel_arguments": arguments,
        "boot_command": boot_command(host, arguments) if arguments else "",
        "system": system_text(layout),
        "service": service_text(layout),
        "config": [config_text(layout, index) for index in range(max(len(layout.engines), 1))],
    }


def plan_text(host: Host, layout: Layout) -> str:
    """A plan for people: the sets, then each text with the file it belongs in."""
    several = len(layout.engines) > 1
    irq = format_cpus(layout.irq) + (" (shared)" if layout.irq == layout.common else "")
    lines = [
        f"host      {layout.topology}",
        f"common    {format_cpus(layout.common):<18} system, gateways, the daemon's main thread",
        f"isolated  {format_cpus(layout.isolated) or '-':<18} engines: "
        f"{format_cpus(layout.engines) or 'not pinned'}",
        f"irq       {irq:<18} device interrupts",
        *(line for note in layout.notes for line in wrapped(f"note: {note}", "          ")),
    ]
    arguments = layout.kernel_arguments()
    if arguments:
        lines += ["", "# 1. The kernel's command line, then a reboot:"]
        width = max(len(name) for name, _ in arguments)
        lines += [f"#    {name:<{width}}  {why}" for name, why in arguments]
        lines.append(boot_command(host, " ".join(name for name, _ in arguments)))
    unit = "pollux@.service" if several else "pollux.service"
    lines += ["", "# 2. /etc/systemd/system.conf.d/pollux.conf", system_text(layout)]
    lines += [f"#    /etc/systemd/system/{unit}.d/host.conf", service_text(layout)]
    for index in range(max(len(layout.engines), 1)):
        lines += [f"# {'3.' if index == 0 else '  '} pollux.toml of engine {index + 1}"]
        lines.append(config_text(layout, index))
    engines = f" --engines {len(layout.engines)}" if several else ""
    lines += ["# After each start of the host, what can change at run time:"]
    lines.append(f"sudo pollux tune apply{engines}")
    return "\n".join(lines)


def wrapped(text: str, indent: str) -> list[str]:
    """Lines of at most 80 columns behind an indent."""
    return textwrap.wrap(text, COLUMNS, initial_indent=indent,
                         subsequent_indent=indent) if text else []  # fmt: skip
