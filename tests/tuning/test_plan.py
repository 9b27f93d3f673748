"""Layouts of hosts of every size: whole cores, near the network card, nobody left out."""

from __future__ import annotations

import configparser
import json
from pathlib import Path

import pytest

import pollux
from net.config.schema import parse_config
from tests.tuning.trees import CONTAINER, SMT, TWO_SOCKETS, Machine, plant
from tuning.host import format_cpus, format_mask, parse_cpus, parse_mask
from tuning.plan import (
    Layout,
    PlanError,
    config_text,
    make_layout,
    plan_host,
    plan_text,
    service_text,
    system_text,
)
from tuning.topology import Core, Topology

INSTRUMENT = '[[instrument]]\nsymbol = "A"\n[[instrument.venue]]\nname = "binance"\nsymbol = "B"\n'


def topology(cpus: int, smt: int, sockets: int) -> Topology:
    """So many CPUs, siblings numbered `n` and `n + cores` as most x86 servers do."""
    count = cpus // smt
    per_socket = count // sockets
    return Topology(
        tuple(
            Core(tuple(core + thread * count for thread in range(smt)), *[core // per_socket] * 2)
            for core in range(count)
        )
    )


def check(layout: Layout, engines: int) -> None:
    """What must hold of every layout."""
    known = layout.topology
    common, isolated, irq = set(layout.common), set(layout.isolated), set(layout.irq)
    assert common | isolated | irq == set(known.cpus)
    assert not isolated & (common | irq) and (irq == common or not irq & common)
    assert known.cpus[0] in common and len(layout.engines) == engines
    cores = [known.core_of(cpu) for cpu in layout.engines]
    assert len(set(cores)) == engines, "an engine has its core for itself"
    assert isolated == {cpu for core in cores for cpu in core.cpus}
    for core in known.cores:
        assert sum(bool(set(core.cpus) & each) for each in (common, isolated, irq - common)) == 1
    assert all(layout.gateway_cpu(index) in common for index in range(engines))


MACHINES = [
    (cpus, smt, sockets)
    for cpus in (2, 4, 8, 32, 64, 128)
    for smt in (1, 2)
    for sockets in (1, 2)
    if cpus // smt > 1
]


@pytest.mark.parametrize(("cpus", "smt", "sockets"), MACHINES)
def test_every_size_has_a_sensible_layout(cpus: int, smt: int, sockets: int) -> None:
    cores = cpus // smt
    known = topology(cpus, smt, sockets)
    for engines in {1, 2, 3, cores // 4, cores // 2, cores - 2, cores - 1} & {*range(1, cores)}:
        for node in known.nodes:
            layout = make_layout(known, engines, node)
            check(layout, engines)
            nodes = [known.core_of(cpu).node for cpu in layout.engines]
            near = nodes.count(node)
            free = sum(core.node == node for core in known.cores[1:])
            taken = 0 if layout.irq == layout.common else len(layout.irq) // smt
            assert near == min(engines, free - taken), "the card's node is filled first"
            if taken:
                assert {known.core_of(cpu).node for cpu in layout.irq} == {node}
    with pytest.raises(PlanError, match="need"):
        make_layout(known, cores)


@pytest.mark.parametrize(
    ("machine", "engines", "node", "common", "isolated", "irq"),
    [
        ((32, 1, 1), 16, None, "0-7", "8-23", "24-31"),
        ((2, 1, 1), 1, None, "0", "1", "0"),
        ((4, 1, 1), 1, None, "0-1", "2", "3"),
        ((4, 1, 1), 3, None, "0", "1-3", "0"),
        ((8, 2, 1), 1, None, "0-1,4-5", "2,6", "3,7"),
        ((64, 1, 2), 4, 1, "0-51", "52-55", "56-63"),
        ((128, 2, 2), 2, 0, "0-21,32-85,96-127", "22-23,86-87", "24-31,88-95"),
    ],
)
def test_layouts_known_by_heart(
    machine: tuple[int, int, int], engines: int, node: int | None,
    common: str, isolated: str, irq: str,
) -> None:  # fmt: skip
    layout = make_layout(topology(*machine), engines, node)
    sets = layout.common, layout.isolated, layout.irq
    assert tuple(map(format_cpus, sets)) == (common, isolated, irq)


def test_one_core_is_shared_and_nobody_spins_on_it() -> None:
    one = make_layout(topology(1, 1, 1), 1)
    assert (one.engines, one.isolated, one.idle) == ((), (), "block")
    two = make_layout(topology(2, 2, 1), 1)
    assert (two.engines, two.common, two.isolated, two.idle) == ((1,), (0,), (), "backoff")
    assert two.kernel_arguments() == ()


def test_the_network_card_decides_the_node(tmp_path: Path) -> None:
    layout = plan_host(plant(tmp_path, TWO_SOCKETS), 4)
    assert {layout.topology.core_of(cpu).node for cpu in (*layout.engines, *layout.irq)} == {1}
    assert 0 in layout.common


def test_interrupts_leave_a_core_of_a_small_node_to_the_engine() -> None:
    known = Topology(tuple(Core((cpu,), cpu // 6, cpu // 6) for cpu in range(8)))
    layout = make_layout(known, 1, near_node=1)
    check(layout, 1)
    assert (layout.engines, layout.irq) == ((6,), (7,))


def test_a_control_group_limits_the_plan(tmp_path: Path) -> None:
    layout = plan_host(plant(tmp_path, CONTAINER), 1)
    assert layout.topology.cpus == (0, 1, 2, 3) and layout.engines == (2,)
    assert "leaves CPUs 0-3 of 0-7" in layout.notes[-1]


def test_what_is_printed_can_be_installed(tmp_path: Path) -> None:
    host = plant(tmp_path, SMT)
    layout = plan_host(host, 2)
    for index, cpu in enumerate(layout.engines):
        config = parse_config(INSTRUMENT + config_text(layout, index), "plan")
        assert (config.engine.cpu, config.engine.idle) == (cpu, "spin")
        assert config.gateway.cpu in layout.common
    names = {parse_config(INSTRUMENT + config_text(layout, i), "").engine.name for i in (0, 1)}
    assert len(names) == 2
    drop_in = configparser.ConfigParser()
    drop_in.read_string(service_text(layout))
    assert parse_cpus(drop_in["Service"]["CPUAffinity"]) == layout.common
    drop_in.read_string(system_text(layout))
    assert parse_cpus(drop_in["Manager"]["CPUAffinity"]) == layout.common
    text = plan_text(host, layout)
    arguments = "isolcpus=managed_irq,domain,4-5,12-13 nohz_full=4-5,12-13 rcu_nocbs=4-5,12-13"
    assert f"{arguments} irqaffinity=6-7,14-15" in text and "sudo update-grub" in text
    assert "sudo pollux tune apply --engines 2" in text


def test_the_command_prints_json_and_refuses_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(tmp_path, SMT)
    with pytest.raises(SystemExit) as ended:
        pollux.main(["tune", "plan", "--root", str(tmp_path), "--json"])
    assert ended.value.code == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["isolated"] == [5, 13] and len(plan["config"]) == 1
    for arguments, status, said in (
        (["--root", str(tmp_path), "--engines", "8"], 2, "8 engines need 9 cores"),
        (["--root", str(tmp_path / "none")], 1, "online: no such file"),
    ):
        with pytest.raises(SystemExit) as ended:
            pollux.main(["tune", "plan", *arguments])
        printed = capsys.readouterr()
        assert ended.value.code == status and said in printed.err
        assert printed.err.count("\n") == 1 and printed.out == ""


def test_lists_and_masks_are_the_kernels() -> None:
    for text, cpus in (("", ()), ("0", (0,)), ("0-2,5", (0, 1, 2, 5)), ("7,3-4\n", (3, 4, 7))):
        assert parse_cpus(text) == cpus
        assert parse_cpus(format_cpus(cpus)) == cpus
    assert format_cpus((5, 0, 1, 2, 4)) == "0-2,4-5"
    assert parse_mask("00000001,80000000\n") == (31, 32)
    assert format_mask((31, 32)) == "1,80000000" and format_mask(()) == "0"
    assert all(parse_mask(format_mask(range(n))) == tuple(range(n)) for n in (1, 32, 33, 128))
    for wrong in ("a", "3-1", "1,,2", "-1", "0-99999", "1 2"):
        with pytest.raises(ValueError, match="CPUs"):
            parse_cpus(wrong)
    for wrong in ("", "g", "0x1"):
        with pytest.raises(ValueError, match="mask"):
            parse_mask(wrong)


def test_a_sibling_that_is_offline_leaves_a_core_of_one_cpu(tmp_path: Path) -> None:
    host = plant(tmp_path, Machine(cores=4, smt=2))
    host.path("/sys/devices/system/cpu/online").write_text("0-5\n")
    layout = plan_host(host)
    assert [core.cpus for core in layout.topology.cores] == [(0, 4), (1, 5), (2,), (3,)]
    check(layout, 1)
