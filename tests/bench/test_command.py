"""`pollux bench` as a user runs it: what it prints and writes, and that nothing outlives it."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import psutil
import pytest

import pollux
from tests.bench.leftovers import segments_of
from tests.e2e.rig import command
from tests.markup import Report

pytestmark = pytest.mark.timeout(120)

ROOT = Path(__file__).parents[2]
START_LIMIT_S = 60.0
END_LIMIT_S = 20.0
TABLE_COLUMNS_MAX = 80


def test_it_prints_tables_and_json_and_writes_both(tmp_path: Path) -> None:
    out = tmp_path / "figures"
    done = subprocess.run(
        command("bench", "seqlock", "ladder", "--tiny", "--json", "--out", str(out)),
        capture_output=True, text=True, timeout=100, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = orjson.loads(done.stdout)
    assert [each["name"] for each in report["results"]] == ["seqlock", "ladder"]
    assert report["host"]["cores"] >= 1 and report["host"]["date"] and report["jitter"]["rows"]
    bars = report["results"][1]["bars"]
    assert bars and all(len(bar["values"]) == 1 and bar["verdict"] for bar in bars)
    assert orjson.loads((out / "bench.json").read_bytes()) == report
    page = Report((out / "report.html").read_text(encoding="utf-8"))
    assert f"written: {out / 'report.html'}\n" in done.stderr
    assert page.loaded == []
    assert page.row(f"ladder: {bars[0]['what']}")[-1] == bars[0]["verdict"]
    assert f"{len(bars)} bars are reached" in (out / "report.html").read_text(encoding="utf-8")
    lines = [line for line in done.stderr.splitlines() if "written:" not in line]
    assert any("set anywhere" in line for line in lines)
    assert max(map(len, lines)) <= TABLE_COLUMNS_MAX


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nonsense",), "no bench 'nonsense'"),
        (("tick", "--bars"), "either --bars or names"),
        (("tick", "--out", "/proc/none"), "--out: /proc/none: No such file"),
        (("tick", "--external", "127.0.0.1:1"), "go together"),
        (("tick", "--external", "127.0.0.1:1", "--feed-port", "9"), "for the bench wire"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_status_2(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        pollux.main(["bench", *arguments])
    printed = capsys.readouterr().err
    assert ended.value.code == 2 and said in printed and printed.count("\n") == 1


def family(pid: int) -> list[psutil.Process]:
    """A process and everything it has started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    return []


def wait_for_gateway(popen: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Until its gateway runs and a segment is there; all of its processes."""
    end_s = time.monotonic() + START_LIMIT_S
    while time.monotonic() < end_s:
        assert popen.poll() is None, "the bench ended too early"
        known = family(popen.pid)
        with contextlib.suppress(psutil.Error):
            if any("net.gateway" in each.cmdline() for each in known) and segments_of(popen.pid):
                return known
        time.sleep(0.05)
    raise AssertionError("the bench started no gateway")


@contextlib.contextmanager
def interrupted(name: str, number: signal.Signals) -> Iterator[None]:
    """A bench that will get a signal; all of it is gone after the block."""
    popen = subprocess.Popen(
        command("bench", name, "--tiny", "--seconds", "60"),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT,
    )  # fmt: skip
    known: list[psutil.Process] = []
    try:
        yield
        known = wait_for_gateway(popen)
        popen.send_signal(number)
        status = popen.wait(END_LIMIT_S)
        assert status == (0 if number is signal.SIGINT else -number)
        _, alive = psutil.wait_procs(known, timeout=END_LIMIT_S)
        assert alive == []
        assert segments_of(popen.pid) == []
    finally:
        for each in known:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        popen.kill()
        popen.wait()


def test_nothing_is_left_of_a_run_that_is_interrupted_or_killed() -> None:
    """Both at once, side by side: neither may take the other's things away."""
    with interrupted("fanout", signal.SIGINT), interrupted("subscribers", signal.SIGKILL):
        pass
