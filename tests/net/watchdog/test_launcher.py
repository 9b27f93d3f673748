"""The daemon's side of the watchdog, with processes that are none: what their ends mean."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path

import pytest

from engine.maker import journal_codes as J
from net.config.schema import parse_config
from net.process import child
from net.watchdog import launcher
from net.watchdog.launcher import WatchdogLauncher
from net.watchdog.options import WatchdogOptions
from tests.net.watchdog.test_watchdog import CONFIG, EPOCH

GOES_WELL = "import sys; sys.stdin.read()"
TELLS = "print('ready', flush=True)"
LIMIT_S = 20.0


class Guarded:
    """Writes down what becomes of the quoting."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.logged: list[str] = []

    def guard_makers(self, is_guarded: bool) -> None:
        self.told.append(is_guarded)

    def kill_makers(self, reason: int) -> None:
        self.told.append(J.REASON_NAMES[reason])

    def log(self, level: str, event: str, **facts: object) -> None:
        self.logged.append(event)


def kept(program: str, folder: Path, monkeypatch: pytest.MonkeyPatch, ends: int) -> Guarded:
    """Keep this program until it has ended so often, or is not started again."""
    (folder / "stands_in.py").write_text(program)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setattr(launcher, "MODULE", "stands_in")
    guarded = Guarded()
    options = WatchdogOptions.of(1, EPOCH, parse_config(CONFIG, "test"), {})

    async def keep() -> None:
        running = asyncio.create_task(WatchdogLauncher(options, guarded, guarded.log).run())
        async with asyncio.timeout(LIMIT_S):
            while not running.done() and guarded.logged.count("watchdog ended") < ends:
                await asyncio.sleep(0.01)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    asyncio.run(keep())
    return guarded


def test_one_that_dies_has_quoting_killed_and_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = f"{GOES_WELL}; {TELLS}; sys.exit(143)"
    guarded = kept(program, tmp_path, monkeypatch, 2)
    assert guarded.told == 2 * [True, False, "watchdog"]


def test_one_that_was_never_ready_has_nothing_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kept("raise SystemExit(1)", tmp_path, monkeypatch, 1).told == [False]


def test_one_whose_watch_is_over_is_not_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guarded = kept(f"{GOES_WELL}; {TELLS}", tmp_path, monkeypatch, 1)
    assert guarded.told == [True] and guarded.logged == ["the watchdog is ready"]


def test_one_that_says_nothing_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "SILENCE_LIMIT_S", 0.1)
    program = f"{GOES_WELL}; {TELLS}; import time; time.sleep(60)"
    guarded = kept(program, tmp_path, monkeypatch, 1)
    assert guarded.told == [True, False, "watchdog"]


def test_one_that_cannot_be_started_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    assert kept("", tmp_path, monkeypatch, 1).logged == ["watchdog ended"]
