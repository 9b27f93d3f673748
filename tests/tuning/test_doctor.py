"""The doctor on several machines: the right state of each item, and never a traceback."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

import pollux
from tests.tuning.trees import CONTAINER, MACHINES, SMALL, SMT, TUNED, TWO_SOCKETS, plant
from tuning.doctor import report
from tuning.doctor.finding import Finding
from tuning.doctor.report import CHECKS, STATES, examine, findings_text
from tuning.host import CPU, Host

COLUMNS_MAX = 80
ENVIRONMENT = {"Python", "libraries"}
"""Items of this very process: no tree has them."""

NOT_OK = {
    "small": {
        "isolcpus": "advice", "nohz_full": "advice", "rcu_nocbs": "advice",
        "IRQ affinity": "advice", "governor": "unknown", "frequency": "unknown",
        "idle states": "unknown", "transparent huge pages": "advice", "background work": "advice",
        "realtime limit": "advice", "realtime throttling": "advice", "locked memory": "advice",
        "busy poll": "advice", "TCP": "advice", "virtualisation": "advice", "steal": "advice",
    },
    "smt": {
        "SMT": "advice", "isolcpus": "advice", "nohz_full": "advice", "rcu_nocbs": "advice",
        "IRQ affinity": "advice", "irqbalance": "advice", "governor": "advice",
        "idle states": "advice", "transparent huge pages": "advice", "swap": "advice",
        "background work": "advice", "realtime limit": "advice", "realtime throttling": "advice",
        "locked memory": "advice", "busy poll": "advice", "TCP": "advice",
    },
    "two sockets": {
        "SMT": "advice", "isolcpus": "advice", "nohz_full": "advice", "rcu_nocbs": "advice",
        "IRQ affinity": "advice", "governor": "advice", "frequency": "problem",
        "idle states": "advice", "transparent huge pages": "advice", "background work": "advice",
        "clock source": "problem", "realtime throttling": "advice", "busy poll": "advice",
        "TCP": "advice",
    },
    "tuned": {
        "IRQ affinity": "advice", "idle states": "advice", "transparent huge pages": "advice",
        "background work": "advice", "realtime throttling": "advice", "busy poll": "advice",
        "TCP": "advice",
    },
    "container": {
        "isolcpus": "advice", "nohz_full": "advice", "rcu_nocbs": "advice",
        "IRQ affinity": "unknown", "governor": "advice", "idle states": "unknown",
        "transparent huge pages": "advice", "background work": "advice",
        "realtime limit": "advice", "realtime throttling": "advice", "locked memory": "advice",
        "open files": "problem", "busy poll": "unknown", "receive buffers": "unknown",
        "TCP": "unknown", "CPU quota": "problem",
    },
    "arm": {
        "isolcpus": "advice", "nohz_full": "advice", "rcu_nocbs": "advice",
        "IRQ affinity": "advice", "governor": "advice", "idle states": "advice",
        "transparent huge pages": "advice", "background work": "advice",
        "realtime limit": "advice", "realtime throttling": "advice", "locked memory": "advice",
        "busy poll": "advice", "TCP": "advice",
    },
}  # fmt: skip


def states(findings: dict[str, Finding]) -> dict[str, str]:
    """Of the items that are not ok and are the host's."""
    return {
        item: each.state
        for item, each in findings.items()
        if each.state != "ok" and item not in ENVIRONMENT
    }


@pytest.mark.parametrize("name", MACHINES)
def test_every_item_has_its_state(tmp_path: Path, name: str) -> None:
    findings = examine(plant(tmp_path, MACHINES[name]))
    assert states(findings) == NOT_OK[name]
    for item, each in findings.items():
        assert each.reason or each.state == "ok", item
        assert each.command or each.state in ("ok", "unknown") or item == "CPUs", item
        assert each.value or each.state == "unknown", item


def test_values_and_commands_are_of_this_host(tmp_path: Path) -> None:
    smt = examine(plant(tmp_path / "smt", SMT))
    assert smt["CPUs"].value == "16 CPUs, 8 cores, 1 socket, 1 memory node; engine on CPU 5"
    assert smt["SMT"].command == f"echo 0 | sudo tee {CPU}/cpu13/online"
    assert smt["IRQ affinity"].value == "6 of 6 may interrupt CPU 5"
    assert "isolcpus=managed_irq,domain,5,13" in smt["isolcpus"].command
    two = examine(plant(tmp_path / "two", MACHINES["two sockets"]))
    assert two["clock source"].command.startswith("echo tsc | sudo tee /sys/devices/")
    assert "3500000" in two["frequency"].command
    assert "grubby --update-kernel=ALL" in two["nohz_full"].command
    assert "eth0 on node 1" in two["NUMA"].value
    small = examine(plant(tmp_path / "small", SMALL))
    assert small["virtualisation"].value == "a virtual machine (QEMU)"
    assert small["steal"].value.startswith("0.39%")
    container = examine(plant(tmp_path / "container", CONTAINER))
    assert container["CPU quota"].value == "1.5 CPUs' worth of time"


@pytest.mark.parametrize(
    ("engines", "item", "state"),
    [
        ((5,), "isolcpus", "ok"),
        ((4,), "isolcpus", "advice"),
        ((5, 6), "isolcpus", "advice"),
        ((9,), "CPUs", "problem"),
        ((9,), "IRQ affinity", "ok"),
    ],
)
def test_the_engines_cpus_can_be_given(
    tmp_path: Path, engines: tuple[int, ...], item: str, state: str
) -> None:
    assert examine(plant(tmp_path, TUNED), engines)[item].state == state


def test_engines_that_share_a_core_or_lie_outside_the_group_are_problems(tmp_path: Path) -> None:
    smt = examine(plant(tmp_path / "smt", SMT), (5, 13))
    assert smt["SMT"].state == "problem" and "share a core" in smt["SMT"].reason
    container = examine(plant(tmp_path / "container", CONTAINER), (6,))
    assert container["cpuset"].state == "problem" and "CPU 6" in container["cpuset"].reason


@pytest.mark.parametrize(
    ("name", "content", "item", "state"),
    [
        ("/proc/sys/net/ipv4/tcp_rmem", "4096 87380 174760", "receive buffers", "advice"),
        ("/proc/sys/kernel/sched_rt_runtime_us", "-1", "realtime throttling", "ok"),
        ("/proc/meminfo", "SwapTotal: 4096 kB\nSwapFree: 1024 kB\n", "swap", "problem"),
        ("/sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]",
         "transparent huge pages", "ok"),
        ("/dev/cpu_dma_latency", "\0\0\0\0", "idle states", "ok"),
        ("/dev/cpu_dma_latency", "\0\x01\0\0", "idle states", "advice"),
        ("/proc/self/timerslack_ns", "10000000", "timer slack", "advice"),
        ("/sys/fs/cgroup/user.slice/cpu.max", "50000 100000", "CPU quota", "problem"),
        ("/sys/fs/cgroup/cpu.max", "max 100000", "CPU quota", "ok"),
        ("/sys/fs/cgroup/user.slice/cpuset.cpus.effective", "0-4", "cpuset", "ok"),
        ("/sys/devices/system/cpu/intel_pstate/no_turbo", "1", "frequency", "advice"),
        ("/proc/stat", "cpu 1\ncpu0 1 0 0 1 0 0 0 90 0 0\ncpu1 1 0 0 1 0 0 0 90 0 0\n"
         "cpu2 1 0 0 1 0 0 0 90 0 0\n", "steal", "problem"),
    ],
)  # fmt: skip
def test_one_file_decides_its_item(
    tmp_path: Path, name: str, content: str, item: str, state: str
) -> None:
    host = plant(tmp_path, MACHINES["arm"])
    host.path(name).parent.mkdir(parents=True, exist_ok=True)
    host.path(name).write_text(content)
    assert examine(host)[item].state == state


def test_the_tightest_group_counts_and_a_card_without_a_node_is_none(tmp_path: Path) -> None:
    host = plant(tmp_path, replace(TWO_SOCKETS, card_node=-1))
    for folder, quota in (("/user.slice", "400000 100000"), ("", "150000 100000")):
        path = host.path(f"/sys/fs/cgroup{folder}/cpu.max")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(quota)
    findings = examine(host)
    assert findings["CPU quota"].value == "1.5 CPUs' worth of time"
    assert findings["NUMA"].state == "ok" and "cards unknown" in findings["NUMA"].value


# --- where files are missing, unreadable or nonsense ---------------------------------------------


@pytest.mark.parametrize("name", ["small", "container", "arm"])
def test_no_damaged_file_is_more_than_unknown(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_host = tuple((item, check) for item, check in CHECKS if item not in ENVIRONMENT)
    monkeypatch.setattr(report, "CHECKS", of_host)
    host = plant(tmp_path, MACHINES[name])
    whole = states(examine(host))
    unknown = 0
    # Of files that each CPU, IRQ or process has, one stands for all.
    files = {re.sub(r"\d+", "N", str(path)): path for path in tmp_path.rglob("*")}
    for path in filter(Path.is_file, files.values()):
        raw = path.read_bytes()
        for damage in (b"", b"\xff\xfe nonsense", b"-1", b"99999999999999999999", None):
            path.unlink()
            if damage is not None:
                path.write_bytes(damage)
            findings = examine(host)
            assert list(findings) == [item for item, _ in of_host], path
            unknown += states(findings) != whole
            findings_text(findings)
        path.write_bytes(raw)
    assert unknown > 50, "damage is seen"
    assert states(examine(host)) == whole


def test_an_empty_host_is_all_unknown_with_reasons(tmp_path: Path) -> None:
    findings = examine(Host(tmp_path))
    known = {item for item, each in findings.items() if each.state != "unknown"}
    assert known <= ENVIRONMENT
    assert all(each.reason for each in findings.values() if each.state == "unknown")


def test_a_file_that_only_root_may_read_is_said_to_be_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = plant(tmp_path, SMT)
    read = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.name == "cmdline":
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    finding = examine(host)["rcu_nocbs"]
    assert (finding.state, finding.reason) == ("unknown", "/proc/cmdline: permission denied")


# --- the command ---------------------------------------------------------------------------------


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        pollux.main(["doctor", *arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.parametrize("name", MACHINES)
def test_the_command_fits_the_page_and_fails_on_problems(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(tmp_path, MACHINES[name])
    status = run("--root", str(tmp_path))
    lines = capsys.readouterr().out.splitlines()
    assert status == int("problem" in NOT_OK[name].values())
    texts = [line for line in lines if not re.match(r" +\$ ", line)]
    assert max(map(len, texts)) <= COLUMNS_MAX
    assert [line for line in lines if line.startswith("problem   ")] == [
        line for line in lines if line.split(" ")[0] == "problem" and ":" in line
    ]
    run("--root", str(tmp_path), "--json")
    told = json.loads(capsys.readouterr().out)
    assert [each["item"] for each in told["items"]] == [item for item, _ in CHECKS]
    assert sum(told[state] for state in STATES) == len(CHECKS)


def test_a_wrong_option_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--cpu", "x") == 2
    assert capsys.readouterr().err == "pollux: --cpu: 'x' is not a list of CPUs like 0-3,8\n"


def test_this_very_host_is_read_and_psutil_is_left_as_it_was() -> None:
    before = psutil.PROCFS_PATH
    findings = examine(Host())
    assert before == psutil.PROCFS_PATH
    assert findings["CPUs"].state in ("ok", "advice")
    assert findings["clock source"].state != "unknown"
