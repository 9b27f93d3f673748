"""Issue 13, point 12: a signal ends every command that runs, at any moment of its life.

From its first moment, while it compiles, while its main thread hangs, and when its terminal is
closed: within five seconds, with status 0, without a traceback, and with nothing left behind.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from net.process.name_lock import has_ended
from net.process.signals import ECHO_S
from tests.e2e.rig import FIXED_TICKS, ROOT, command, free_port, settings, until
from tests.operate.rig import STOP_LIMIT_S, gateways_of, has_segment

pytestmark = pytest.mark.timeout(180)

WATCHED = "127.0.0.1:1"


def is_probe(path: Path) -> bool:
    """Python's tempfile writes such a file, and removes it, to see whether a folder can be used: a
    signal may come in between, before any line of ours is concerned."""
    return path.is_file() and path.read_bytes() in (b"", b"blat")


@dataclass
class Started:
    """A command in a folder of its own, where also all temporary files are."""

    popen: subprocess.Popen[bytes]
    folder: Path
    terminal: int = -1
    """Our end of its controlling terminal."""

    @property
    def text(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def wait_until_it_hears(self) -> None:
        """Python itself has started, whom a signal ends in its own way, and our first line runs."""
        status = Path(f"/proc/{self.popen.pid}/status")

        def hears() -> bool:
            caught = int(status.read_text().split("SigCgt:")[1].split()[0], 16)
            return bool(caught >> (signal.SIGHUP - 1) & 1)

        until(hears, 10, "its handlers")

    def family(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self.popen.pid).children(recursive=True)
        return []

    def check_end(self, *numbers: int, status: int = 0, between_s: float = 2 * ECHO_S) -> None:
        """It gets these signals, or loses its terminal."""
        family, started_s = self.family(), time.monotonic()
        for number in numbers:
            self.popen.send_signal(number)
            if len(numbers) > 1:
                time.sleep(between_s)
        if not numbers:
            os.close(self.terminal)
            self.terminal = -1
        assert self.popen.wait(20) == status, self.text
        took_s = time.monotonic() - started_s
        assert took_s < STOP_LIMIT_S, f"{took_s:.1f} s"
        assert "Traceback" not in self.text and "Exception ignored" not in self.text, self.text
        until(lambda: all(has_ended(each.pid) for each in family), 3, "the end of its children")
        left = [each.name for each in (self.folder / "temporary").iterdir() if not is_probe(each)]
        assert left == []


@contextlib.contextmanager
def started(
    folder: Path, *arguments: str, has_terminal: bool = False, **variables: str
) -> Iterator[Started]:
    (folder / "temporary").mkdir(exist_ok=True)
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder / "temporary"), **variables,
    }  # fmt: skip
    ours, theirs = pty.openpty() if has_terminal else (-1, -1)

    def take_terminal() -> None:
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    with (folder / "log").open("wb") as log:
        popen = subprocess.Popen(
            command(*arguments), cwd=folder, env=environment,
            stdin=theirs if has_terminal else subprocess.DEVNULL,
            stdout=theirs if has_terminal else log,
            stderr=log, start_new_session=True,
            preexec_fn=take_terminal if has_terminal else None,  # noqa: PLW1509 (sets no lock)
        )  # fmt: skip
    process = Started(popen, folder, ours)
    if has_terminal:
        os.close(theirs)
    try:
        yield process
    finally:
        for each in process.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        popen.kill()
        popen.wait()
        if process.terminal >= 0:
            os.close(process.terminal)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    port = free_port()
    path = tmp_path / "pollux.toml"
    path.write_text(FIXED_TICKS.format(ws_url="ws://127.0.0.1:1") + settings(f"ends-{port}", port))
    return path


def arguments_of(name: str, config: Path) -> list[str]:
    """A command line that runs until it is told to end."""
    return {
        "serve": ["serve", "--config", str(config)],
        "record": ["record", "--config", str(config), "--out", str(config.parent / "tape.gz")],
        "demo": ["demo"],
        "simulate": ["simulate", "--write-config", str(config.parent / "venues.toml")],
        "watch": ["watch", "--target", WATCHED],
        "soak": ["soak", "--seconds", "60"],
        "bench": ["bench", "fanout", "--tiny", "--seconds", "60"],
        "replay": ["replay", str(config.parent / "tape.fifo"), "--config", str(config)],
        "jitter": ["jitter", "--seconds", "60"],
        "journal": ["journal", str(config.parent / "no-journal"), "--follow"],
        "stat": ["stat", "--name", "none", "--watch"],
    }[name]


SERVING = ("serve", "record", "demo", "simulate")
ALL = (*SERVING, "watch", "soak", "bench", "replay", "jitter")


@pytest.mark.parametrize("name", ALL)
def test_from_its_first_moment(tmp_path: Path, config: Path, name: str) -> None:
    """While it imports, and some time later."""
    os.mkfifo(tmp_path / "tape.fifo")
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    waits_s: tuple[float, ...] = (0, 0, 0, 0.1, 0.3, 0.6, 1.0, 2.0)
    if name == "replay":  # once it has imported, it refuses a pipe and has ended by itself
        waits_s = waits_s[:5]
    for step, wait_s in enumerate(waits_s):
        with started(tmp_path, *arguments_of(name, config)) as it:
            it.wait_until_it_hears()
            time.sleep(wait_s)
            it.check_end(numbers[step % 3])
        (tmp_path / "tape.gz").unlink(missing_ok=True)


@pytest.mark.parametrize("name", ["serve", "record", "demo", "bench", "soak"])
def test_during_the_first_compilation(tmp_path: Path, config: Path, name: str) -> None:
    """LLVM works for tens of seconds on a large kernel and lets no Python run on its thread."""
    cache = tmp_path / "kernels"
    with started(
        tmp_path, *arguments_of(name, config), POLLUX_CACHE_DIR=str(cache), NUMBA_DISABLE_JIT="0"
    ) as it:
        until(lambda: "compiling kernels" in it.text, 60, "the compiler")
        time.sleep(2.0)
        it.check_end(signal.SIGTERM)


@pytest.mark.parametrize("name", ["serve", "record", "demo", "simulate", "watch"])
@pytest.mark.parametrize("wait_s", [0.5, 4.0])
def test_a_terminal_that_is_closed(tmp_path: Path, config: Path, name: str, wait_s: float) -> None:
    with started(tmp_path, *arguments_of(name, config), has_terminal=True) as it:
        time.sleep(wait_s)
        it.check_end()


def test_what_was_started_with_nohup_outlives_its_terminal(tmp_path: Path, config: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with started(tmp_path, *arguments_of("simulate", config), has_terminal=True) as it:
            signal.signal(signal.SIGHUP, before)
            until((tmp_path / "venues.toml").exists, 30, "the simulator")
            it.popen.send_signal(signal.SIGHUP)
            time.sleep(0.5)
            assert it.popen.poll() is None
            it.check_end(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_main_thread_that_hangs_is_left(tmp_path: Path) -> None:
    """Its configuration is a FIFO that nobody writes to."""
    os.mkfifo(tmp_path / "pollux.toml")
    with started(tmp_path, "serve", "--config", str(tmp_path / "pollux.toml")) as it:
        time.sleep(2.0)
        it.check_end(signal.SIGTERM)


def test_a_second_signal_forces_and_a_second_hangup_does_not(tmp_path: Path, config: Path) -> None:
    name = config.read_text().split('name = "ends')[1].split('"')[0]
    with started(tmp_path, *arguments_of("serve", config)) as it:
        until(lambda: '"serving"' in it.text, 60, "the daemon")
        it.check_end(signal.SIGHUP, signal.SIGHUP)
    assert not has_segment(f"ends{name}") and not gateways_of(f"ends{name}")
    with started(tmp_path, *arguments_of("demo", config)) as it:
        until(lambda: "BTC-USD #" in it.text, 60, "a book")
        it.check_end(signal.SIGTERM, signal.SIGINT, status=130)


def test_13_the_echo_of_a_signal_forces_nothing(tmp_path: Path, config: Path) -> None:
    """`timeout` sends one to the process, and one to its group."""
    with started(tmp_path, *arguments_of("serve", config)) as it:
        until(lambda: '"serving"' in it.text, 60, "the daemon")
        it.check_end(signal.SIGTERM, signal.SIGTERM, between_s=0.01)
        assert '"stopped"' in it.text


def test_a_question_that_is_not_answered_is_no_success(tmp_path: Path, config: Path) -> None:
    with started(tmp_path, "check", "--config", str(config)) as it:
        it.wait_until_it_hears()
        it.check_end(signal.SIGTERM, status=130)


def test_nothing_heavy_comes_before_signals_are_heard() -> None:
    code = "import sys; import pollux; print(*(m for m in ('click', 'numba') if m in sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert said == b"\n"
