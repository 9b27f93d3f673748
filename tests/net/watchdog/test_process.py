"""The watchdog's process without a process: how it starts, what it says, and how it ends."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from engine.maker.state_board import BOARD_KIND, StateBoardInfo
from engine.maker.state_board_writer import StateBoardWriter
from engine.sharing.segment import segment_path
from net.config.schema import parse_config
from net.orders.messages import Market
from net.watchdog import process
from net.watchdog.options import WatchdogError, WatchdogOptions
from net.watchdog.process import run_watchdog
from net.watchdog.watchdog import Phase, Watchdog
from tests.net.watchdog.test_watchdog import CONFIG, EPOCH
from tuning.clock import steady_ns

pytestmark = pytest.mark.timeout(30, func_only=True)

MARKET = Market("btcusd", "BTC", "USD", "0.01", "0.00000001")
INFO = StateBoardInfo("BTC-USD", ("bitstamp",), True, 1, 2)


@pytest.fixture
def name() -> Iterator[str]:
    chosen = f"watchdog-process-{os.getpid()}"
    yield chosen
    segment_path(chosen, BOARD_KIND).unlink(missing_ok=True)


def options(name: str, parent_pid: int, config: str = CONFIG) -> WatchdogOptions:
    named = config.replace("cpu = 1", f'cpu = 1\nname = "{name}"')
    parsed = parse_config(named, "test")
    symbols = [parsed.quoted_instrument(maker).symbol for maker in parsed.maker]
    markets = {symbol: {"bitstamp": MARKET} for symbol in symbols}
    return WatchdogOptions.of(parent_pid, EPOCH, parsed, markets)


# --- the start -----------------------------------------------------------------------------------


def test_without_a_market_maker_there_is_nothing_to_watch(name: str) -> None:
    plain = CONFIG.partition("[maker]")[0]
    with pytest.raises(WatchdogError, match="no market maker"):
        run_watchdog(options(name, os.getpid(), plain), [])


def test_what_it_cannot_start_with_is_one_line_and_status_1(
    name: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def said() -> list[str]:
        return [line for line in capfd.readouterr().err.splitlines() if "watchdog" in line]

    assert run_watchdog(options(name, os.getpid()), []) == 1
    (line,) = said()
    assert "the watchdog cannot go on" in line and name in line, "there is no board"
    board = StateBoardWriter(name, INFO, steady_ns())
    try:
        assert run_watchdog(options(name, os.getpid() + 1), []) == 1
        (line,) = said()
        assert f"of another process, {os.getpid()}" in line
        for variable in list(os.environ):
            if "BITSTAMP" in variable:
                monkeypatch.delenv(variable)
        assert run_watchdog(options(name, os.getpid()), []) == 1
        (line,) = said()
        assert "POLLUX_BITSTAMP_API_KEY is not set" in line

        def fail(*_: object) -> None:
            raise RuntimeError("a mistake of ours")

        monkeypatch.setattr(process, "read_keys", fail)
        assert run_watchdog(options(name, os.getpid()), []) == 1
        (line,) = said()
        assert "the watchdog has failed" in line and "a mistake of ours" in line
    finally:
        board.close()


def test_keys_are_read_of_the_quoted_venues_alone(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[frozenset[str]] = []

    def note(venues: frozenset[str], _: object) -> None:
        asked.append(venues)
        raise WatchdogError("enough")

    monkeypatch.setattr(process, "read_keys", note)
    second = '[[instrument.venue]]\nname = "binance"\nsymbol = "BTCUSDT"\n[engine]'
    both = CONFIG.replace("[engine]", second)
    board = StateBoardWriter(name, INFO, steady_ns())
    try:
        for config in (both, f"{both}[maker.venue.binance]\nquote = false\n"):
            assert run_watchdog(options(name, os.getpid(), config), []) == 1
    finally:
        board.close()
    assert asked == [frozenset({"binance", "bitstamp"}), frozenset({"bitstamp"})]


# --- twenty looks a second -----------------------------------------------------------------------


class Guard:
    """A watchdog that says what the test wants, and ends after so many looks."""

    def __init__(self, looks: int, status: int = 0) -> None:
        self.phase = Phase.WATCHING
        self.has_been_ready = False
        self.ready_at = 0
        self.terminated: list[bool] = []
        self._looks = looks
        self._status = status

    def on_timer(self, now_ns: int, *, is_terminated: bool) -> int | None:
        assert 0 <= steady_ns() - now_ns < 10**9
        self.terminated.append(is_terminated)
        self.has_been_ready = len(self.terminated) > self.ready_at
        return self._status if len(self.terminated) > self._looks else None


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Stdout's other end, which never waits."""
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    monkeypatch.setattr(process, "LOOK_S", 0.001)
    with open(read_end, "rb", 0) as reader, open(write_end, "wb", 0) as writer:
        # pytest puts its own stdout into the real module before each test.
        monkeypatch.setattr(process, "sys", SimpleNamespace(stdout=writer))
        yield reader


def look(*guards: Guard, run: Any = None, terminated: list[int] | None = None) -> int:
    """The exit status of a watch; `run`: what keeps up its only connection."""

    async def watch() -> int:
        task = asyncio.ensure_future(run if run is not None else asyncio.sleep(60))
        await asyncio.sleep(0)
        try:
            return await process._look(cast(list[Watchdog], guards), [task], terminated or [])
        finally:
            task.cancel()

    return asyncio.run(watch())


async def ended() -> None:
    """A connection that is kept up no longer."""


async def failed() -> None:
    raise RuntimeError("a mistake of ours")


def test_it_says_ready_once_and_lives(pipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    guard = Guard(looks=20, status=143)
    guard.ready_at = 5
    monkeypatch.setattr(process, "BEAT_S", 0.0)
    assert look(guard) == 143
    lines = pipe.read().decode().splitlines()
    assert lines.count("ready") == 1 and lines.index("ready") == 5
    assert lines.count("beat") == 20


def test_of_several_all_must_be_ready_and_over(pipe: Any) -> None:
    """The status says where one of them left something open."""
    quick, slow = Guard(looks=2, status=1), Guard(looks=30)
    slow.ready_at = 10
    assert look(quick, slow) == 1
    assert (len(quick.terminated), len(slow.terminated)) == (3, 31)
    assert b"ready" in pipe.read()


def test_beats_are_a_second_apart(pipe: Any) -> None:
    look(Guard(looks=20))
    assert pipe.read() == b"ready\nbeat\n"


def test_sigterm_is_handed_on(pipe: Any) -> None:
    guard = Guard(looks=1)
    look(guard, terminated=[15])
    assert guard.terminated == [True, True]


def test_a_daemon_that_does_not_read_or_is_gone_stops_nothing(
    pipe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "BEAT_S", 0.0)
    monkeypatch.setattr(process, "LOOK_S", 0.0)
    full = Guard(looks=30_000)
    assert look(full) == 0, "a pipe holds 64 KiB"
    pipe.close()
    assert look(Guard(looks=3)) == 0


def test_a_connection_that_ends_while_watching_is_a_failure(pipe: Any) -> None:
    with pytest.raises(WatchdogError, match="kept up no longer"):
        look(Guard(looks=3), run=ended())
    with pytest.raises(RuntimeError, match="a mistake of ours"):
        look(Guard(looks=3), run=failed())


def test_while_orders_are_cancelled_the_other_connections_go_on(pipe: Any) -> None:
    guard = Guard(looks=3)
    guard.phase = Phase.CLEARING
    assert look(guard, run=ended()) == 0


def test_a_cpu_that_is_not_there_is_no_reason_to_end() -> None:
    before = os.sched_getaffinity(0)
    try:
        process._keep_on_cpu(None)
        process._keep_on_cpu(4_095)
        assert os.sched_getaffinity(0) == before
        process._keep_on_cpu(min(before))
        assert os.sched_getaffinity(0) == {min(before)}
    finally:
        os.sched_setaffinity(0, before)
