"""A gateway under supervision: real processes, real ends, and one thread."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterator

import pytest

from net.daemon import gateway_supervisor
from net.daemon.gateway_supervisor import Gateway, GatewayProcess, GatewayThread
from net.gateway.options import GatewayError, GatewayOptions
from net.process import child
from tests.net.daemon.rig import Told
from tests.net.gateway.conftest import compiled_kernels
from tests.net.gateway.rig import Beating

__all__ = ["compiled_kernels"]

LIMIT_S = 30.0
SERVES = "import sys, time\nprint('ready 1', flush=True)\n"


@pytest.fixture
def engine() -> Iterator[Beating]:
    engine = Beating()
    yield engine
    engine.close()


def options_of(name: str, **changes: object) -> GatewayOptions:
    chosen = {"listen": "127.0.0.1:0", "parent_pid": os.getpid(), **changes}
    return GatewayOptions(name, **chosen)  # type: ignore[arg-type]


def supervise(gateway: Gateway, watch: Callable[[], Awaitable[None]]) -> None:
    """Run it until `watch` is over, then retire it; what it raised is raised."""

    async def main() -> None:
        async with asyncio.timeout(LIMIT_S):
            running = asyncio.create_task(gateway.run())
            watching = asyncio.ensure_future(watch())
            await asyncio.wait((running, watching), return_when=asyncio.FIRST_COMPLETED)
            watching.cancel()
            gateway.retire()
            await running
            assert not gateway.is_serving

    asyncio.run(main())


async def for_ever() -> None:
    await asyncio.Event().wait()


async def until(check: Callable[[], bool]) -> None:
    while not check():
        await asyncio.sleep(0.01)


def stands_in(monkeypatch: pytest.MonkeyPatch, *programs: str) -> None:
    """These are run instead of the gateway, one after the other, the last again and again."""
    left = list(programs)

    def command(module: str, *arguments: str) -> list[str]:
        return [sys.executable, "-c", left.pop(0) if len(left) > 1 else left[0]]

    monkeypatch.setattr(gateway_supervisor, "child_command", command)


def test_a_process_that_is_killed_serves_again(engine: Beating) -> None:
    told = Told()
    gateway = GatewayProcess(options_of(engine.name), told.log)

    async def watch() -> None:
        await gateway.is_ready.wait()
        assert gateway.is_serving and gateway._process is not None
        killed = gateway._process.pid
        os.kill(killed, signal.SIGKILL)
        await until(lambda: not gateway.is_serving)
        await until(lambda: gateway.is_serving)
        assert gateway._process.pid != killed

    supervise(gateway, watch)
    assert [event for event, _ in told.events] == ["gateway ended", "gateway serves again"]
    assert told.events[0][1]["reason"] == "status -9"


def test_what_a_process_says_is_logged_and_its_last_word_is_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = Told()
    stands_in(
        monkeypatch,
        "import sys\nsys.stderr.write('x' * 200_000 + '\\n\\nodd\\npollux gateway: no book\\n')",
    )
    with pytest.raises(GatewayError, match=r"^no book$"):
        supervise(GatewayProcess(options_of("none"), told.log), for_ever)
    assert told.events == [("gateway says", {"text": "odd"})]


def test_a_process_without_a_sign_of_life_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "SILENCE_LIMIT_S", 0.2)
    monkeypatch.setattr(child, "SILENCE_AGAIN_S", 0.1)
    beats = "while True:\n    time.sleep(0.05)\n    print('beat', flush=True)\n"
    stands_in(monkeypatch, f"{SERVES}time.sleep(60)", SERVES + beats)
    told = Told()
    gateway = GatewayProcess(options_of("none"), told.log)

    async def watch() -> None:
        await until(lambda: len(told.events) == 2)
        await asyncio.sleep(0.5)
        assert gateway.is_serving

    supervise(gateway, watch)
    assert told.events[0][1]["reason"] == "no sign of life for 0.2 s"
    assert [event for event, _ in told.events] == ["gateway ended", "gateway serves again"]


def test_the_thread_serves_until_it_is_retired(engine: Beating) -> None:
    gateway = GatewayThread(options_of(engine.name, parent_pid=0))

    async def watch() -> None:
        await gateway.is_ready.wait()
        assert gateway.is_serving

    supervise(gateway, watch)


def test_a_thread_that_cannot_serve_says_why(engine: Beating) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        gateway = GatewayThread(options_of(engine.name, parent_pid=0, listen=listen))
        with pytest.raises(GatewayError, match="address already in use"):
            supervise(gateway, for_ever)


def test_one_that_is_retired_before_its_engine_has_come_ends_at_once() -> None:
    gateway = GatewayThread(options_of("not-there", parent_pid=0))
    started_s = time.monotonic()
    with contextlib.suppress(TimeoutError):
        supervise(gateway, lambda: asyncio.sleep(0.1))
    assert time.monotonic() - started_s < 5
