"""The measures for the engine thread: done where they may be, and never said to be if not."""

from __future__ import annotations

import ctypes
import os
import resource
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from engine.engine import Engine
from engine.specs import FeedSpec, InstrumentSpec
from net.config.schema import parse_config
from net.feed.engine_thread import EngineCpuError, EngineThread
from net.feed.events import FeedEvent
from net.feed.snapshot_request import SnapshotRequest
from net.venues.binance.market_data import BINANCE
from tests.e2e.rig import FIXED_TICKS
from tests.tuning.trees import SMT, TUNED, Machine, plant
from tuning import measures
from tuning.host import Host

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_setscheduler"), reason="Linux only")

PR_GET_TIMERSLACK = 30


def in_a_thread(function: Callable[[], None]) -> None:
    """Run it where it changes nobody else; its failure is the test's."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            function()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    if failures:
        raise failures[0]


def test_the_thread_is_pinned_and_its_timers_are_sharp(tmp_path: Path) -> None:
    host = plant(tmp_path, SMT)
    cpu = max(os.sched_getaffinity(0))

    def run() -> None:
        with measures.tuned(host, cpu=cpu) as taken:
            assert os.sched_getaffinity(0) == {cpu}
            assert ctypes.CDLL(None).prctl(PR_GET_TIMERSLACK) == measures.TIMER_SLACK_NS
        assert [each.name for each in taken] == ["affinity", "timer slack"]
        assert str(taken[0]) == f"applied: CPU {cpu}"
        with pytest.raises(measures.CpuError, match="8000"), measures.tuned(host, cpu=8000):
            pass

    before = os.sched_getaffinity(0)
    in_a_thread(run)
    assert os.sched_getaffinity(0) == before


def test_realtime_is_for_isolated_cpus_and_low_priorities_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = plant(tmp_path, TUNED)
    asked: list[tuple[int, int]] = []

    def schedule(thread: int, policy: int, param: os.sched_param) -> None:
        assert thread == 0, "the calling thread alone"
        asked.append((policy, param.sched_priority))

    monkeypatch.setattr(os, "sched_setscheduler", schedule)
    for priority, cpu, why in ((10, 4, "CPU 4 is not isolated"), (10, None, "not pinned"),
                               (50, 5, "1 to 49"), (0, 5, "1 to 49")):  # fmt: skip
        measure = measures.realtime(host, priority, cpu)
        assert measure.state == "refused" and why in measure.reason
    assert asked == []
    assert measures.realtime(host, 49, 5) == measures.Measure(
        "realtime", "applied", "SCHED_FIFO 49"
    )
    assert asked == [(os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, 49)]
    assert measures.realtime(Host(tmp_path / "none"), 10, 5).state == "refused"

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    refused = measures.realtime(host, 10, 5)
    assert refused.state == "refused" and "LimitRTPRIO=10" in refused.reason


def test_realtime_is_what_the_kernel_then_says(tmp_path: Path) -> None:
    host = plant(tmp_path, Machine(cores=8, isolated=(5,)))

    def run() -> None:
        measure = measures.realtime(host, 1, 5)
        is_fifo = os.sched_getscheduler(0) == os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
        assert is_fifo == (measure.state == "applied"), measure

    in_a_thread(run)


def test_memory_is_locked_only_without_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[int] = []

    def lock(_name: str, flags: int) -> str:
        called.append(flags)
        return ""

    monkeypatch.setattr(measures, "_call", lock)
    limit = [8 << 20, resource.RLIM_INFINITY]
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (limit[0], limit[0]))
    plain = plant(tmp_path / "plain", SMT)
    refused = measures.locked_memory(plain)
    assert refused.state == "refused" and "LimitMEMLOCK" in refused.reason and called == []
    assert measures.locked_memory(plant(tmp_path / "able", TUNED)).state == "applied"
    limit[0] = resource.RLIM_INFINITY
    assert measures.locked_memory(plain).state == "applied"
    assert called == [measures.MCL_CURRENT | measures.MCL_FUTURE | measures.MCL_ONFAULT] * 2
    monkeypatch.setattr(measures, "_call", lambda name, flags: "cannot allocate memory")
    assert measures.locked_memory(plain) == measures.Measure(
        "locked memory", "refused", "cannot allocate memory"
    )


def test_locked_memory_is_what_the_kernel_then_says() -> None:
    child = os.fork()
    if child == 0:  # its memory is locked, not the tests'
        measure = measures.locked_memory(Host())
        text = Path("/proc/self/status").read_text()
        locked_kb = int(text.partition("VmLck:")[2].split()[0])
        os._exit(0 if (locked_kb > 0) == (measure.state == "applied") else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_the_latency_device_is_held_as_long_as_the_thread_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = plant(tmp_path, SMT)
    with measures.awake(host) as measure:
        assert measure.state == "refused" and "no such file" in measure.reason
    device = host.path("/dev/cpu_dma_latency")
    device.parent.mkdir()
    device.write_bytes(b"")
    open_files = len(os.listdir("/proc/self/fd"))
    with measures.awake(host) as measure:
        assert measure.state == "applied" and device.read_bytes() == bytes(4)
        assert len(os.listdir("/proc/self/fd")) == open_files + 1
    assert len(os.listdir("/proc/self/fd")) == open_files


# --- in the engine thread ------------------------------------------------------------------------


@dataclass
class Housekeeping:
    """Keeps what was logged, and where a helper thread of the loop ran."""

    lines: list[tuple[str, str, dict[str, object]]] = field(default_factory=list)

    def request_snapshot(self, request: SnapshotRequest) -> None:
        raise AssertionError("no stream, no snapshot")

    def ask_tick_size(self, feed: int) -> None:
        """It stays as it is."""

    def cancel_snapshot(self, feed: int) -> None:
        raise AssertionError("none was asked for")

    def log(self, level: str, event: str, **facts: object) -> None:
        self.lines.append((level, event, facts))

    def note(self, event: FeedEvent, level: str, /, **facts: object) -> None:
        self.log(level, event.text, **facts)


def live_of(host: Housekeeping, engine_lines: str) -> EngineThread:
    feed = FeedSpec("binance", BINANCE.rules, 0, "BTCUSDT", "0.01")
    engine = Engine((InstrumentSpec("BTC-USD", (feed,)),), window_slots=1 << 12, far_levels_max=64)
    toml = FIXED_TICKS.format(ws_url="ws://127.0.0.1:1")
    text = f'{toml}[engine]\nidle = "backoff"\n{engine_lines}'
    return EngineThread(parse_config(text, "test"), engine, host, seed=1)


@pytest.mark.usefixtures("compiled_kernels")
def test_the_engine_thread_tells_its_measures_and_helpers_run_elsewhere() -> None:
    every = os.sched_getaffinity(0)
    cpu = max(every)
    host = Housekeeping()
    # Not isolated, as no test machine is: refused, and so a warning.
    live = live_of(host, f"cpu = {cpu}\nrealtime_priority = 1\n")
    thread = threading.Thread(target=live.run)
    thread.start()
    end_s = time.monotonic() + 20
    while not any(event == "tuned" for _, event, _ in host.lines) and time.monotonic() < end_s:
        time.sleep(0.01)
    where: list[set[int]] = []
    assert live._loop is not None
    ran = threading.Event()

    def help_out() -> None:
        where.append(os.sched_getaffinity(0))
        ran.set()

    live._loop.call_soon_threadsafe(live._loop.run_in_executor, None, help_out)
    assert ran.wait(10)
    live.stop()
    thread.join(20)
    assert not thread.is_alive()
    assert where == [every]
    told = [(level, facts) for level, event, facts in host.lines if event == "tuned"]
    ((level, facts),) = told
    names = ["affinity", "timer_slack", "realtime", "garbage_collector"]
    assert list(facts) == names and level == "warning"
    assert facts["affinity"] == f"applied: CPU {cpu}"
    assert str(facts["realtime"]).startswith("refused: ")
    assert [str(each) for each in live.measures] == list(facts.values())


@pytest.mark.usefixtures("compiled_kernels")
def test_a_cpu_that_cannot_be_used_ends_the_thread_with_the_reason() -> None:
    live = live_of(Housekeeping(), "cpu = 8000\n")
    with pytest.raises(EngineCpuError, match=r"\[engine\] cpu 8000 cannot be used"):
        in_a_thread(live.run)
