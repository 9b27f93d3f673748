"""Parts that are killed, stopped or started twice: who notices, who comes back, what is left.

The engine publishes whatever becomes of the gateway; a gateway never outlives its engine's word.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest

from engine.sharing.segment import segment_path
from net.gateway.options import GatewayOptions
from net.observe.stat.read import Stat, read_stat
from net.process.name_lock import NameTakenError, lock_name
from proto.pollux.v1 import market_data_pb2 as pb
from proto.pollux.v1.market_data_pb2_grpc import MarketDataServiceStub
from tests.e2e.rig import (
    FIXED_TICKS,
    ROOT,
    Process,
    Venues,
    command,
    free_port,
    running,
    settings,
    until,
)
from tests.net.gateway.rig import Engine, ladder
from tests.operate import rig
from tests.operate.rig import (
    STALE_AFTER_MS,
    Operated,
    gateways_of,
    operated_live,
    plain_channel,
    status_of_end,
)
from tuning.clock import now, wall_ns

pytestmark = pytest.mark.timeout(90)

AGAIN_LIMIT_S = 3.0
"""A gateway that was killed serves again within this."""


def publishing(live: Operated, seconds: float) -> tuple[float, float]:
    """Books a second of the engine, and the longest time between two, in s."""
    reader = live.reader()
    started_s = last_s = time.monotonic()
    first = seen = reader.published
    longest_s = 0.0
    while (now_s := time.monotonic()) - started_s < seconds:
        if reader.published != seen:
            seen, longest_s, last_s = reader.published, max(longest_s, now_s - last_s), now_s
        time.sleep(0.002)
    return (seen - first) / seconds, longest_s


def gateway_trouble(name: str) -> str | None:
    """What `pollux stat` says of a daemon's gateway."""
    gateway = read_stat(name, now()).gateway
    return gateway.trouble if gateway is not None else "none"


def frames_of(stat: Stat) -> int:
    """The book frames that an engine has counted."""
    assert stat.meters is not None
    values = [look.value for look in stat.meters.samples if look.series.name == "frames"]
    return sum(value for value in values if isinstance(value, int))


def looks_of(watching: Process) -> list[dict[str, Any]]:
    """What `pollux stat --watch --json` has said so far, the whole lines."""
    lines = [line for line in watching.text.splitlines(keepends=True) if line.endswith("\n")]
    return [json.loads(line) for line in lines]


def is_dead(look: dict[str, Any]) -> bool:
    return "dead: its process has ended" in (look["trouble"] or "")


def test_a_killed_gateway_serves_again_and_the_engine_never_noticed(live: Operated) -> None:
    usual_hz, usual_gap_s = publishing(live, 3.0)
    took_s, rates_hz, gaps_s = [], [], []
    for _ in range(3):
        before = live.gateway_pid
        os.kill(before, rig.KILL)
        started_s = time.monotonic()
        # The death, and most of the next one's start, which is what takes the CPU.
        hz, gap_s = publishing(live, 1.0)
        rig.serving_again_s(live.target, AGAIN_LIMIT_S)
        took_s.append(time.monotonic() - started_s)
        assert live.gateway_pid != before
        rates_hz.append(hz)
        gaps_s.append(gap_s)
    mean_hz = sum(rates_hz) / 3
    print(f"{mean_hz:.1f} books a second, usually {usual_hz:.1f}; longest gap {max(gaps_s):.2f} s")
    assert mean_hz > 0.6 * usual_hz
    assert max(gaps_s) < usual_gap_s + 0.3
    print(f"serving again after {', '.join(f'{s:.2f}' for s in took_s)} s at most")
    assert max(took_s) < AGAIN_LIMIT_S
    assert live.log.count("gateway serves again") == 3


def test_a_hung_gateway_is_replaced(live: Operated) -> None:
    before = live.gateway_pid
    os.kill(before, rig.HALT)
    until(lambda: (gateway_trouble(live.name) or "").startswith("hung"), 4, "stat to say so")
    assert read_stat(live.name, now()).trouble is None, "the engine is another matter"
    until(lambda: not psutil.pid_exists(before), 9, "the end of the hung gateway")
    rig.serving_again_s(live.target, AGAIN_LIMIT_S)
    assert "no sign of life for" in live.log
    until(lambda: gateway_trouble(live.name) is None, 2, "stat to see the next one")


def test_a_hung_engine_is_seen_and_its_name_stays_taken(
    folder: Path, venues: Venues, live: Operated
) -> None:
    twin = folder / "twin.toml"
    twin.write_text(venues.toml + settings(live.name, free_port()))
    with plain_channel(live.target) as channel:
        stream = MarketDataServiceStub(channel).StreamBook(pb.StreamBookRequest(), timeout=20)
        assert next(iter(stream)).bids
        halted_s = time.monotonic()
        live.signal(rig.HALT)
        try:
            code, text, books = status_of_end(stream)
            seen_s = time.monotonic() - halted_s
            assert code is grpc.StatusCode.UNAVAILABLE and "no sign of life" in text, text
            assert seen_s < STALE_AFTER_MS / 1000 + 1.0
            assert not [book for book in books[-1:] if book.publish_time_ns == 0]
            assert live.health() == rig.NOT_SERVING
            with pytest.raises(grpc.RpcError) as caught:
                MarketDataServiceStub(channel).GetBook(pb.GetBookRequest(), timeout=2)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            # Its heart has not beaten for longer than a dead daemon's would have.
            time.sleep(max(0.0, 5.2 - (time.monotonic() - halted_s)))
            stat = read_stat(live.name, now())
            assert (stat.trouble or "").startswith("hung: no sign of life for")
            assert stat.status == 1
            assert stat.meters is not None and frames_of(stat) > 0, "what it counted stays"
            with running(folder, "twin", "serve", "--config", str(twin)) as second:
                assert second.popen.wait(20) == 1
                assert "running already" in second.text and second.text.count("pollux: ") == 1
        finally:
            live.signal(rig.GO_ON)
    until(lambda: live.health() == rig.SERVING, 10, "SERVING after the pause")
    live.daemon.wait_for(binance="LIVE", bitstamp="LIVE")


def test_of_two_that_start_at_once_one_is_refused(folder: Path, venues: Venues) -> None:
    name = f"operate-race-{os.getpid()}"
    configs = []
    for number in range(2):
        config = folder / f"race-{number}.toml"
        config.write_text(venues.toml + settings(name, free_port()))
        configs.append(str(config))
    with contextlib.ExitStack() as stack:
        started = [
            stack.enter_context(running(folder, "race", "serve", "--config", each))
            for each in configs
        ]
        until(lambda: any(each.popen.poll() is not None for each in started), 20, "a refusal")
        refused, other = sorted(started, key=lambda each: each.popen.poll() is None)
        assert refused.popen.poll() == 1
        lines = [line for line in refused.text.splitlines() if line.startswith("pollux: ")]
        assert len(lines) == 1 and f"a daemon named '{name}' is running already" in lines[0]
        until(lambda: '"serving"' in other.text, 20, "the other one")
        assert other.end(rig.TERM) == 0
    assert not rig.has_segment(name)


def test_a_name_is_free_again_when_its_owner_is_gone() -> None:
    name = f"operate-claim-{os.getpid()}"
    holder = subprocess.Popen(
        [sys.executable, "-c", "from net.process.name_lock import lock_name as c; "
         f"k = c({name!r}); print('held', flush=True); input()"],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
    with pytest.raises(NameTakenError, match="just starting"):
        lock_name(name)
    holder.kill()
    holder.communicate()
    claim = lock_name(name)
    assert claim is not None
    claim.close()


def test_a_killed_daemon_leaves_no_process_and_nothing_stale(folder: Path, venues: Venues) -> None:
    name = f"operate-killed-{os.getpid()}"
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(operated_live(folder, venues, name=name))
        watching = stack.enter_context(
            running(
                folder, "stat", "stat", "--name", name, "--watch", "--json", "--interval", "0.3"
            )
        )
        until(lambda: looks_of(watching)[1:], 20, "two looks of pollux stat")
        with plain_channel(first.target) as channel:
            stream = MarketDataServiceStub(channel).StreamBook(pb.StreamBookRequest(), timeout=20)
            next(iter(stream))
            killed_ns = wall_ns()
            first.signal(rig.KILL)
            code, text, books = status_of_end(stream)
        assert code is grpc.StatusCode.UNAVAILABLE
        said = ("the engine's process has ended", "Socket closed", "GOAWAY")
        assert any(each in text for each in said), text
        assert all(book.publish_time_ns < killed_ns + 100_000_000 for book in books)
        until(lambda: not gateways_of(name), 4, "the end of the gateway")
        assert wall_ns() - killed_ns < 4e9
        assert rig.has_segment(name), "nobody was left to remove it: the next start must cope"
        dead = first.reader()
        until(lambda: is_dead(looks_of(watching)[-1]), 4, "stat to say that it is dead")
        second = stack.enter_context(operated_live(folder, venues, name=name))
        until(lambda: looks_of(watching)[-1]["pid"] == second.pid, 4, "stat to see the next one")
        until(lambda: looks_of(watching)[-1]["engine"]["interval_s"], 4, "and to watch it")
        assert second.reader().writer_pid == second.pid != dead.writer_pid
        assert dead.writer_pid == first.pid, "a reader of the old segment keeps the old one"
        assert second.daemon.process.end(rig.TERM) == 0
        until(lambda: looks_of(watching)[-1]["pid"] is None, 4, "stat to see that it is gone")
        assert looks_of(watching)[-1]["trouble"] == "stopped"
        assert watching.end(rig.TERM) == 0 and watching.text.count("\n") == len(looks_of(watching))
    assert not rig.has_segment(name) and not gateways_of(name)
    assert not list(segment_path(name).parent.glob(f"{name}*"))


def test_a_gateway_whose_parent_died_at_once_is_no_orphan() -> None:
    engine = Engine()
    engine.publish(*ladder(500))
    parent = """
        import json, os, subprocess, sys
        options = json.loads(sys.argv[1]) | {"parent_pid": os.getpid()}
        child = subprocess.Popen([sys.executable, "-m", "net.gateway", json.dumps(options)],
                                 stderr=subprocess.DEVNULL, start_new_session=True)
        os._exit(0)
    """
    try:
        options = GatewayOptions(engine.name, "127.0.0.1:0").to_json()
        script = textwrap.dedent(parent)
        subprocess.run([sys.executable, "-c", script, options], cwd=ROOT, check=True)
        until(lambda: not gateways_of(engine.name), 2.0, "the end of the orphan")
    finally:
        engine.close()
        for pid in gateways_of(engine.name):
            os.kill(pid, rig.KILL)


def test_an_engine_cpu_that_is_not_there_is_one_line(folder: Path) -> None:
    config = folder / "cpu.toml"
    toml = FIXED_TICKS.format(ws_url="ws://127.0.0.1:1")
    config.write_text(toml + settings("operate-cpu", free_port(), engine="cpu = 4000"))
    done = subprocess.run(
        command("serve", "--config", str(config)), cwd=folder, capture_output=True, text=True,
        timeout=20, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if line.startswith("pollux: ")]
    assert lines == [f"pollux: {config}: [engine] cpu 4000 cannot be used"]
    assert not rig.has_segment("operate-cpu")
