"""The list of checks, and how their findings are shown.

Runs on: the command's main thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tuning.doctor import cpus, resources, surroundings
from tuning.doctor.finding import Finding, Inspection
from tuning.host import Host, UnknownError
from tuning.plan import wrapped

CHECKS: tuple[tuple[str, Callable[[Inspection], Finding]], ...] = (
    ("CPUs", cpus.cores),
    ("SMT", cpus.smt),
    ("NUMA", cpus.numa),
    ("isolcpus", cpus.isolcpus),
    ("nohz_full", cpus.nohz_full),
    ("rcu_nocbs", cpus.rcu_nocbs),
    ("IRQ affinity", cpus.irqs),
    ("irqbalance", cpus.irqbalance),
    ("governor", cpus.governor),
    ("frequency", cpus.frequency),
    ("idle states", cpus.idle_states),
    ("transparent huge pages", resources.huge_pages),
    ("swap", resources.swap),
    ("background work", resources.background),
    ("clock source", surroundings.clock),
    ("timer slack", surroundings.timer_slack),
    ("realtime limit", resources.realtime),
    ("realtime throttling", resources.throttling),
    ("locked memory", resources.locked_memory),
    ("open files", resources.descriptors),
    ("busy poll", resources.busy_poll),
    ("receive buffers", resources.receive_buffers),
    ("TCP", resources.tcp),
    ("virtualisation", surroundings.virtualisation),
    ("steal", surroundings.steal),
    ("cpuset", surroundings.cpuset),
    ("CPU quota", surroundings.quota),
    ("kernel", surroundings.kernel),
    ("Python", surroundings.python),
    ("libraries", surroundings.libraries),
)

STATES = ("problem", "advice", "unknown", "ok")
"""The order in which they are shown: what needs somebody first."""
INDENT = " " * 10


def examine(host: Host, engines: tuple[int, ...] = ()) -> dict[str, Finding]:
    """Every item and what was found; what cannot be known is a finding too."""
    about = Inspection(host, engines)
    found = {}
    for item, check in CHECKS:
        try:
            found[item] = check(about)
        except UnknownError as error:
            found[item] = Finding("unknown", "", str(error))
    return found


def count(findings: dict[str, Finding], state: str) -> int:
    return sum(each.state == state for each in findings.values())


def findings_json(findings: dict[str, Finding]) -> dict[str, Any]:
    """All findings as plain data."""
    return {
        "items": [{"item": item, **vars(each)} for item, each in findings.items()],
        **{state: count(findings, state) for state in STATES},
    }


def findings_text(findings: dict[str, Finding]) -> str:
    """All findings for people, at 80 columns; commands are whole, for copying."""
    lines = []
    for state in STATES:
        for item, each in findings.items():
            if each.state == state:
                head = f"{state:<9} {item}" + (f": {each.value}" if each.value else "")
                first, *more = wrapped(head, "") or [""]
                lines += [first, *wrapped(" ".join(more), INDENT)]
                lines += wrapped(each.reason, INDENT)
                lines += [f"{INDENT}$ {each.command}"] if each.command else []
    totals = ", ".join(f"{state} {count(findings, state)}" for state in STATES)
    return "\n".join((*lines, totals))
