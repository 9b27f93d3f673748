"""`tune apply` and `restore`: every file byte for byte as before, whatever happens in between."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import pollux
from tests.tuning.trees import ARM, MACHINES, MANAGED_IRQ, SMT, KernelTree, Power, plant, snapshot
from tuning import apply as A
from tuning.command_output import restore, tune
from tuning.doctor.report import examine
from tuning.host import Host
from tuning.plan import plan_host
from tuning.settings import IRQ, Setting, settings

SETTING_ITEMS = (
    "IRQ affinity", "governor", "idle states", "transparent huge pages", "busy poll", "TCP",
    "background work",
)  # fmt: skip


def applied(host: Host, engines: int = 1) -> list[A.Change]:
    """Make every change of a layout; those refused."""
    wanted, unknown = A.changes(host, plan_host(host, engines))
    assert unknown == []
    return A.apply(host, wanted)


@pytest.mark.parametrize("name", MACHINES)
def test_restore_leaves_every_file_as_it_was(tmp_path: Path, name: str) -> None:
    host = plant(tmp_path, MACHINES[name])
    before = snapshot(tmp_path)
    assert applied(host) == []
    assert all(each.holds(host) for each in settings(host, plan_host(host)))
    assert snapshot(tmp_path) != before
    done, left = A.restore(host)
    assert left == [] and done
    assert snapshot(tmp_path) == before
    assert A.restore(host) == ([], [])


def test_what_was_applied_the_doctor_finds_right(tmp_path: Path) -> None:
    host = plant(tmp_path, SMT)
    before = examine(host)
    assert all(before[item].state == "advice" for item in SETTING_ITEMS), before
    applied(host)
    assert host.text("/sys/devices/virtual/workqueue/cpumask") == "dfdf", "not on 5 and 13"
    assert host.text("/proc/irq/default_smp_affinity") == "c0c0", "6, 7, 14, 15"
    after = examine(host)
    assert all(after[item].state == "ok" for item in SETTING_ITEMS), after


def test_the_cpus_that_the_kernel_has_isolated_are_the_engines(tmp_path: Path) -> None:
    host = plant(tmp_path, replace(SMT, isolated=(2, 3, 10, 11)))
    assert examine(host)["SMT"].state == "ok"
    assert tune(host, None, False, False, lambda _line: None) == 0
    assert host.text("/sys/devices/virtual/workqueue/cpumask") == "f3f3", "not on 2, 3, 10, 11"
    for cpu in range(16):
        # Not on them, nor on those that take interrupts: 6, 7 and their siblings.
        awake = host.text(f"/sys/devices/system/cpu/cpu{cpu}/power/pm_qos_resume_latency_us")
        assert (awake == "n/a") == (cpu % 8 in (2, 3, 6, 7)), cpu
    after = examine(host)
    assert after["idle states"].state == after["IRQ affinity"].state == "ok"
    assert after["CPUs"].value.endswith("engine on CPU 2-3")


def test_a_crash_at_any_write_is_restored(tmp_path: Path) -> None:
    host = plant(tmp_path, ARM)
    before = snapshot(tmp_path)
    wanted, _ = A.changes(host, plan_host(host))
    assert len(wanted) > 15
    for count in range(len(wanted)):
        failing = replace(host, writes_left=[count])
        with pytest.raises(Power):
            A.apply(failing, wanted)
        changed = [name for name, raw in snapshot(tmp_path).items() if raw != before.get(name)]
        assert len(changed) == count + 1, "so many files, and the record"
        half = replace(host, writes_left=[count // 2])
        if count > 1:
            with pytest.raises(Power):
                A.restore(half)
        assert A.restore(host)[1] == []
        assert snapshot(tmp_path) == before


def test_no_file_is_touched_before_the_record_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = plant(tmp_path, SMT)
    before = snapshot(tmp_path)

    def fail(_descriptor: int) -> None:
        raise Power

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(Power):
            applied(host)
    left = snapshot(tmp_path)
    left.pop(f"{A.RECORD}.new".lstrip("/"))
    assert left == before
    assert A.restore(host) == ([], [])
    assert snapshot(tmp_path) == before


def test_applying_twice_keeps_what_stood_there_first(tmp_path: Path) -> None:
    host = plant(tmp_path, SMT)
    before = snapshot(tmp_path)
    applied(host, engines=1)
    once = snapshot(tmp_path)
    assert applied(host, engines=1) == []
    assert snapshot(tmp_path) == once
    applied(host, engines=4)
    files = [kept.file for kept in A.read_record(host)]
    assert len(files) == len(set(files))
    assert A.restore(host)[1] == []
    assert snapshot(tmp_path) == before


def test_what_the_kernel_refuses_is_said_and_the_rest_is_done(tmp_path: Path) -> None:
    managed = f"{IRQ}/{MANAGED_IRQ}/smp_affinity_list"
    host = replace(plant(tmp_path, SMT), refusing=(managed,))
    before = snapshot(tmp_path)
    lines: list[str] = []
    assert tune(host, 1, False, False, lines.append) == 1
    assert f"{managed}: not changed, input/output error" in lines
    irqs = next(line for line in lines if line.startswith(f"{IRQ}/24-29/"))
    assert irqs.endswith("smp_affinity_list: 0-15 -> 6-7,14-15")
    assert host.text(f"{IRQ}/25/smp_affinity_list") == "6-7,14-15"
    assert host.raw(managed) == before[managed.lstrip("/")]
    assert restore(host, False, lines.append) == 0
    assert snapshot(tmp_path) == before


def test_what_cannot_be_restored_is_kept_for_another_try(tmp_path: Path) -> None:
    host = plant(tmp_path, SMT)
    before = snapshot(tmp_path)
    applied(host)
    gone = f"{IRQ}/27/smp_affinity_list"
    host.path(gone).unlink()
    stuck = f"{IRQ}/25/smp_affinity_list"
    lines: list[str] = []
    assert restore(replace(host, refusing=(stuck,)), False, lines.append) == 1
    assert f"not restored: {stuck}: input/output error" in lines
    assert f"{gone} is no longer there" in lines
    assert [kept.file for kept in A.read_record(host)] == [stuck]
    assert restore(host, False, lines.append) == 0
    del before[gone.lstrip("/")]
    assert snapshot(tmp_path) == before


def test_a_dry_run_shows_the_changes_and_makes_none(tmp_path: Path) -> None:
    host = plant(tmp_path, SMT)
    before = snapshot(tmp_path)
    lines: list[str] = []
    assert tune(host, 1, True, False, lines.append) == 0
    assert snapshot(tmp_path) == before
    text = "\n".join(lines)
    assert (
        "/sys/devices/system/cpu/cpu0-15/cpufreq/scaling_governor: powersave -> performance" in text
    )
    assert "/transparent_hugepage/enabled: always -> madvise" in text
    assert "not changed: irqbalance runs" in text
    assert "takes the kernel's command line" in text


def test_the_commands_apply_and_restore(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plant(tmp_path, SMT)
    for name in ("enabled", "defrag"):  # plain files are no choices
        (tmp_path / f"sys/kernel/mm/transparent_hugepage/{name}").unlink()
    before = snapshot(tmp_path)

    def run(*arguments: str) -> tuple[int, dict[str, Any]]:
        with pytest.raises(SystemExit) as ended:
            pollux.main(["tune", *arguments, "--json", "--root", str(tmp_path)])
        assert isinstance(ended.value.code, int)
        return ended.value.code, json.loads(capsys.readouterr().out)

    status, dry = run("apply", "--dry-run")
    assert status == 0 and dry["dry_run"] and snapshot(tmp_path) == before
    status, report = run("apply", "--engines", "1")
    assert status == 0 and report["changes"] == dry["changes"] and report["refused"] == {}
    for change in report["changes"]:
        assert (tmp_path / change["file"].lstrip("/")).read_text() == f"{change['after']}\n"
    status, restored = run("restore")
    assert status == 0 and restored["left"] == []
    assert len(restored["done"]) == len(report["changes"]) and snapshot(tmp_path) == before


def test_a_damaged_record_stops_both_before_anything_is_changed(tmp_path: Path) -> None:
    host = plant(tmp_path, SMT)
    host.path(A.RECORD).write_text('[{"file": 1')
    before = snapshot(tmp_path)
    for attempt in (lambda: applied(host), lambda: A.restore(host)):
        with pytest.raises(A.TuneError, match="damaged"):
            attempt()
    assert snapshot(tmp_path) == before


def test_without_a_place_for_the_record_nothing_is_changed(tmp_path: Path) -> None:
    host = plant(tmp_path, SMT)
    host.path("/run").rmdir()
    before = snapshot(tmp_path)
    with pytest.raises(A.TuneError, match="needs root"):
        applied(host)
    assert snapshot(tmp_path) == before


def test_on_this_very_host_a_setting_comes_back() -> None:
    """The interval of memory statistics: harmless for the moment that it is another one."""
    host = Host()
    setting = Setting("background work", "/proc/sys/vm/stat_interval", "2", "a test")
    if host.exists(A.RECORD) or not os.access(host.path(setting.file), os.W_OK) or os.geteuid():
        pytest.skip("not permitted here")
    before = host.raw(setting.file)
    try:
        refused = A.apply(host, [A.Change(setting, setting.present(host))])
        if refused:
            pytest.skip(refused[0].refused)
        assert host.raw(setting.file) == b"2\n"
        assert A.restore(host)[1] == []
        assert host.raw(setting.file) == before
        assert not host.exists(A.RECORD)
    finally:
        if host.exists(A.RECORD):
            A.restore(host)


def test_the_tree_behaves_as_the_kernel_does(tmp_path: Path) -> None:
    host: KernelTree = plant(tmp_path, SMT)
    name = "/sys/kernel/mm/transparent_hugepage/enabled"
    with pytest.raises(OSError):
        host.write(name, b"nonsense\n")
    host.write(name, b"never\n")
    assert host.raw(name) == b"always madvise [never]\n"
