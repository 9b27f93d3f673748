"""The daemon's end: in order, complete, and within five seconds whatever hangs.

Order: nothing new is accepted, the feeds are closed with their handshakes, the last state goes out,
subscribers are let go, log and tape are on disk.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from net.tape.tape import read_tape
from proto.pollux.v1 import market_data_pb2 as pb
from proto.pollux.v1.market_data_pb2_grpc import MarketDataServiceStub
from tests.e2e.rig import FIXED_TICKS, ROOT, Venues, command, free_port, running, settings, until
from tests.net.gateway.rig import FIXED_WINDOW
from tests.operate import rig
from tests.operate.rig import (
    STOP_LIMIT_S,
    gateways_of,
    operated_live,
    plain_channel,
    states_of,
    status_of_end,
)

pytestmark = pytest.mark.timeout(90)


def closes(venues: Venues) -> list[int]:
    """Closing handshakes that clients began, at each venue."""
    return [int(venues.get(venue, "/simulator/stats")["closed_by_client"]) for venue in venues.urls]


@contextlib.contextmanager
def halted(venues: Venues) -> Iterator[None]:
    """Venues that keep their connections and say nothing, not even to a closing frame."""
    venues.process.popen.send_signal(rig.HALT)
    try:
        yield
    finally:
        venues.process.popen.send_signal(rig.GO_ON)


@pytest.mark.parametrize("placement", ["process", "thread"])
def test_subscribers_get_the_last_state_and_venues_a_closing_handshake(
    folder: Path, venues: Venues, placement: str
) -> None:
    before = closes(venues)
    given = f'placement = "{placement}"'
    with operated_live(folder, venues, extra=given) as live, plain_channel(live.target) as channel:
        stub = MarketDataServiceStub(channel)
        stream = stub.StreamBook(pb.StreamBookRequest(), timeout=20)
        slow = stub.StreamBook(pb.StreamBookRequest(min_interval_ms=60_000), timeout=20)
        for each in (stream, slow):
            assert states_of(next(iter(each))) == rig.LIVE
        started_s = time.monotonic()
        assert live.daemon.process.end(signal.SIGTERM) == 0
        took_s = time.monotonic() - started_s
        print(f"shutdown of the {placement} form: {took_s:.2f} s")
        assert took_s < STOP_LIMIT_S
        for each in (stream, slow):
            code, text, books = status_of_end(each)
            assert (code, text) == (grpc.StatusCode.UNAVAILABLE, "the engine has stopped")
            assert states_of(books[-1]) == dict.fromkeys(rig.LIVE, "DISCONNECTED")
            assert not books[-1].bids and not books[-1].asks
        events = [line for line in live.log.splitlines() if '"level"' in line]
        assert sum('"closed"' in line and '"was_answered":true' in line.replace(": ", ":")
                   for line in events) == 2, live.log[-2000:]  # fmt: skip
        assert '"stopped"' in events[-1]
        assert not rig.has_segment(live.name) and not gateways_of(live.name)
    assert closes(venues) == [count + 1 for count in before]


def test_nothing_that_does_not_answer_holds_up_the_end(folder: Path, venues: Venues) -> None:
    """Venues that are half-open, and a subscriber that does not read."""
    with operated_live(folder, venues, engine="stale_after_ms = 60000") as live:
        options = [FIXED_WINDOW, ("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(live.target, options=options) as channel:
            stream = MarketDataServiceStub(channel).StreamBook(pb.StreamBookRequest(), timeout=20)
            next(iter(stream))
            with halted(venues):
                started_s = time.monotonic()
                assert live.daemon.process.end(signal.SIGINT) == 0
                took_s = time.monotonic() - started_s
        print(f"shutdown with half-open venues: {took_s:.2f} s")
        assert took_s < STOP_LIMIT_S
        assert '"was_answered": false' in live.log
        assert not rig.has_segment(live.name)


def test_a_second_signal_forces(folder: Path, venues: Venues) -> None:
    with operated_live(folder, venues, engine="stale_after_ms = 60000") as live:
        with halted(venues):
            live.signal(signal.SIGTERM)
            time.sleep(0.2)
            assert live.daemon.process.popen.poll() is None, "closing takes a second here"
            assert live.daemon.process.end(signal.SIGTERM) == 130
        until(lambda: not gateways_of(live.name), 2, "the end of the gateway")
        assert not rig.has_segment(live.name)


def test_a_signal_while_it_starts(folder: Path, venues: Venues) -> None:
    name = f"operate-start-{os.getpid()}"
    config = folder / "start.toml"
    config.write_text(venues.toml + settings(name, free_port()))
    ends: list[float] = []
    for step in range(5):
        with running(folder, "start", "serve", "--config", str(config)) as process:
            time.sleep(0.7 + 0.45 * step)
            started_s = time.monotonic()
            number = (signal.SIGTERM, signal.SIGINT)[step % 2]
            assert process.end(number) == 0, (step, process.text)
            ends.append(time.monotonic() - started_s)
            assert "Traceback" not in process.text
        assert not rig.has_segment(name) and not gateways_of(name), step
    print(f"ends of starts: {', '.join(f'{s:.2f}' for s in ends)} s")
    assert max(ends) < STOP_LIMIT_S


def check_end(
    process: subprocess.Popen[bytes], name: str, beside: str, said: Callable[[], str] = str
) -> None:
    """Ended by SIGTERM, in time, with status 0, nothing left; whatever else holds it up."""
    started_s = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0, said()
    took_s = time.monotonic() - started_s
    print(f"shutdown with {beside}: {took_s:.2f} s")
    assert took_s < STOP_LIMIT_S
    assert not rig.has_segment(name)


def test_a_name_server_that_hangs_does_not_hold_up_the_end(folder: Path) -> None:
    port = free_port()
    config = folder / "names.toml"
    toml = FIXED_TICKS.format(ws_url="ws://binance.test:1")
    config.write_text(toml + settings(f"operate-{port}", port))
    log = folder / "names.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.operate.slow_names", str(config)],
            cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    try:
        until(lambda: '"serving"' in log.read_text(), 30, "the daemon")
        check_end(process, f"operate-{port}", "a name server that hangs", log.read_text)
    finally:
        process.kill()
        process.wait()


FILLED_BYTES = 3600


def unread_bytes(pipe: int) -> int:
    """What lies in a pipe."""
    count = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0]


def test_a_log_that_nobody_reads_does_not_hold_up_the_end(folder: Path) -> None:
    port = free_port()
    config = folder / "unread.toml"
    toml = FIXED_TICKS.format(ws_url="ws://127.0.0.1:1")
    config.write_text(toml + settings(f"operate-{port}", port))
    reader, writer = os.pipe()
    # One page, and little of it left: the first attempt to connect is more lines than fit.
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.write(writer, b"\n" * FILLED_BYTES)
    process = subprocess.Popen(
        command("serve", "--config", str(config)), cwd=folder, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=writer,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    os.close(writer)
    try:
        until(lambda: rig.has_segment(f"operate-{port}"), 30, "the daemon")
        until(lambda: gateways_of(f"operate-{port}"), 10, "its gateway")
        until(lambda: unread_bytes(reader) > FILLED_BYTES, 20, "its first line")
        time.sleep(1.0)
        check_end(process, f"operate-{port}", "a log that nobody reads")
    finally:
        process.kill()
        process.wait()
        os.close(reader)


def test_a_recording_that_is_ended_is_whole(folder: Path, venues: Venues, tmp_path: Path) -> None:
    config, tape = tmp_path / "record.toml", tmp_path / "tape.jsonl.gz"
    config.write_text(venues.toml + settings(f"operate-{os.getpid()}", free_port()))
    with running(tmp_path, "rec", "record", "--config", str(config), "--out", str(tape)) as process:
        until(lambda: process.text.count('"live"') == 2, 30, "both venues")
        time.sleep(1.0)
        assert process.end(signal.SIGTERM) == 0
        said = process.text.splitlines()[-1]
    lines = list(read_tape(tape))
    assert said.startswith(f"{len(lines)} lines in ") and said.endswith(" 0 dropped")
    assert {line.kind for line in lines} == {"ws", "rest", "sent", "open"}
