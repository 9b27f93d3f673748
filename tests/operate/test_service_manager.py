"""Issue 13, point 12: what systemd is told, by a socket that plays systemd; sd_notify(3)."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.rig import FIXED_TICKS, ROOT, Venues, command, free_port, settings, until
from tests.operate.rig import GO_ON, HALT, STOP_LIMIT_S, gateways_of

pytestmark = pytest.mark.timeout(120)

WATCHDOG_S = 2.0


class Manager:
    """systemd's end of the socket; `messages` are assignments with the time of their arrival."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address.replace("@", "\0", 1) if address.startswith("@") else address)
        self._socket.setblocking(False)
        self.messages: list[tuple[float, str]] = []

    def read(self) -> list[str]:
        """All that has been said so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                for line in self._socket.recv(4096).decode().split("\n"):
                    self.messages.append((time.monotonic(), line))
        return [text for _, text in self.messages]

    def latest(self, name: str) -> str:
        found = [text for text in self.read() if text.startswith(f"{name}=")]
        return found[-1].partition("=")[2] if found else ""

    def pings_in(self, seconds: float) -> int:
        before = self.read().count("WATCHDOG=1")
        time.sleep(seconds)
        return self.read().count("WATCHDOG=1") - before

    def close(self) -> None:
        self._socket.close()


@contextlib.contextmanager
def managed(
    folder: Path, line: list[str], address: str
) -> Iterator[tuple[Manager, subprocess.Popen[bytes], Path]]:
    manager, log = Manager(address), folder / "managed.log"
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "NOTIFY_SOCKET": address,
        "WATCHDOG_USEC": str(int(WATCHDOG_S * 1e6)),
    }  # fmt: skip
    with log.open("wb") as output:
        popen = subprocess.Popen(
            line, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output,
            stderr=output,
        )  # fmt: skip
    try:
        yield manager, popen, log
    finally:
        popen.kill()
        popen.wait()
        manager.close()


def fixed(folder: Path, name: str) -> Path:
    """A configuration whose venue is not there; its tick size is known."""
    path = folder / "pollux.toml"
    path.write_text(FIXED_TICKS.format(ws_url="ws://127.0.0.1:1") + settings(name, free_port()))
    return path


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_the_life_of_a_service(tmp_path: Path, venues: Venues, kind: str) -> None:
    name, config = f"managed-{free_port()}", tmp_path / "pollux.toml"
    config.write_text(venues.toml + settings(name, free_port()))
    address = str(tmp_path / "notify") if kind == "path" else f"@pollux-test-{os.getpid()}"
    line = command("serve", "--config", str(config))
    with managed(tmp_path, line, address) as (manager, popen, log):
        until(lambda: "READY=1" in manager.read(), 60, "READY")
        assert '"serving"' in log.read_text(), "not before the gateway serves"
        assert gateways_of(name)
        until(lambda: manager.latest("STATUS") == "ready", 30, "STATUS")
        assert manager.pings_in(WATCHDOG_S) >= 2
        popen.send_signal(signal.SIGHUP)  # systemctl reload, kill -s HUP: no end under a manager
        popen.send_signal(HALT)
        time.sleep(0.2)
        manager.read()
        assert manager.pings_in(WATCHDOG_S) == 0, "a process that stands still"
        popen.send_signal(GO_ON)
        assert manager.pings_in(WATCHDOG_S) >= 1
        started_s = time.monotonic()
        popen.send_signal(signal.SIGTERM)
        assert popen.wait(10) == 0, log.read_text()
        assert time.monotonic() - started_s < STOP_LIMIT_S
        said = manager.read()
        assert "STOPPING=1" in said and said.count("READY=1") == 1
        assert said.index("STOPPING=1") > max(i for i, s in enumerate(said) if s == "WATCHDOG=1")


def test_a_hung_engine_pings_no_more_and_ends_by_the_signal_of_the_watchdog(tmp_path: Path) -> None:
    name, hang = f"managed-{free_port()}", tmp_path / "hang"
    arguments = (str(fixed(tmp_path, name)), str(hang))
    line = [sys.executable, "-m", "tests.operate.hung_engine", *arguments]
    with managed(tmp_path, line, str(tmp_path / "notify")) as (manager, popen, log):
        until(lambda: "READY=1" in manager.read(), 60, "READY")
        assert manager.pings_in(WATCHDOG_S) >= 2
        hang.touch()
        until(lambda: "hung" in manager.latest("STATUS"), 15, "STATUS")
        assert manager.pings_in(2 * WATCHDOG_S) == 0
        popen.send_signal(signal.SIGABRT)  # what WatchdogSec= does
        assert popen.wait(5) == -signal.SIGABRT
        assert "Traceback" not in log.read_text()
        until(lambda: not gateways_of(name), 3, "the end of its gateway")
        hang.unlink()
    (tmp_path / "notify").unlink()
    with managed(tmp_path, line, str(tmp_path / "notify")) as (manager, popen, _):
        until(lambda: "READY=1" in manager.read(), 60, "the next one of the name")
        hang.touch()
        time.sleep(0.5)
        popen.send_signal(signal.SIGTERM)
        assert popen.wait(6) == 0, "a hung engine does not hold up the end"


def test_a_start_that_waits_for_a_venue_asks_for_more_time(tmp_path: Path) -> None:
    config = fixed(tmp_path, f"managed-{free_port()}")
    config.write_text(config.read_text().replace('tick_size = "0.01"', ""))
    line = command("serve", "--config", str(config))
    with managed(tmp_path, line, str(tmp_path / "notify")) as (manager, popen, _):
        until(lambda: len([t for t in manager.read() if "EXTEND_TIMEOUT_USEC" in t]) > 3, 60, "it")
        assert "is not started" in manager.latest("STATUS") and "READY=1" not in manager.read()
        assert "WATCHDOG=1" in manager.read()
        popen.send_signal(signal.SIGTERM)
        assert popen.wait(6) == 0


def test_a_manager_that_is_gone_or_does_not_read_is_not_waited_for(tmp_path: Path) -> None:
    config = fixed(tmp_path, f"managed-{free_port()}")
    line = command("serve", "--config", str(config))
    with managed(tmp_path, line, str(tmp_path / "notify")) as (manager, popen, log):
        until(lambda: '"serving"' in log.read_text(), 60, "the daemon")
        manager.close()
        (tmp_path / "notify").unlink()
        time.sleep(1.5)
        popen.send_signal(signal.SIGTERM)
        assert popen.wait(6) == 0
        assert "Traceback" not in log.read_text()
