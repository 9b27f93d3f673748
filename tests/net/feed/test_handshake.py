"""What a host may answer instead of a WebSocket: one clear reason, another try, nothing else."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from engine.engine import Engine
from engine.layout import layout as L
from engine.specs import FeedSpec, InstrumentSpec
from net.config.schema import parse_config
from net.feed.engine_thread import EngineThread
from net.feed.events import FeedEvent
from net.feed.snapshot_request import SnapshotRequest
from net.sockets.websocket import Listener, open_websocket
from net.venues.binance.market_data import BINANCE
from tests.e2e.rig import FIXED_TICKS

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(40, func_only=True)]


@dataclass
class Host:
    """The housekeeping side: keeps what was logged."""

    lines: list[tuple[str, dict[str, object]]] = field(default_factory=list)

    def request_snapshot(self, request: SnapshotRequest) -> None:
        raise AssertionError("no stream, no snapshot")

    def ask_tick_size(self, feed: int) -> None:
        """It stays as it is."""

    def cancel_snapshot(self, feed: int) -> None:
        raise AssertionError("none was asked for")

    def log(self, level: str, event: str, **facts: object) -> None:
        self.lines.append((event, facts))

    def note(self, event: FeedEvent, level: str, /, **facts: object) -> None:
        self.log(level, event.text, **facts)

    def reasons(self) -> list[str]:
        return [str(facts["reason"]) for event, facts in self.lines if event == "disconnected"]


@contextlib.contextmanager
def answering(answer: Callable[[socket.socket, bytes], None]) -> Iterator[int]:
    """A server that does this with each connection's request, then hangs up; its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        stop = threading.Event()

        def serve() -> None:
            while not stop.is_set():
                with contextlib.suppress(TimeoutError, OSError):
                    link, _ = server.accept()
                    with link:
                        link.settimeout(2)
                        request = b""
                        while b"\r\n\r\n" not in request:
                            request += link.recv(4096)
                        answer(link, request)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield int(server.getsockname()[1])
        finally:
            stop.set()
            thread.join()


@contextlib.contextmanager
def living(port: int) -> Iterator[Host]:
    """An engine thread whose one venue is at that port."""
    feed = FeedSpec("binance", BINANCE.rules, 0, "BTCUSDT", "0.01")
    spec = InstrumentSpec("BTC-USD", (feed,))
    engine = Engine((spec,), window_slots=1 << 12, far_levels_max=64)
    host, failures = Host(), []
    toml = FIXED_TICKS.format(ws_url=f"ws://127.0.0.1:{port}") + '[engine]\nidle = "backoff"\n'
    live = EngineThread(parse_config(toml, "test"), engine, host, seed=1)

    def run() -> None:
        try:
            live.run()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield host
    finally:
        live.stop()
        thread.join(10)
        assert not thread.is_alive()
    assert failures == []
    assert engine.counters(0).frames == 0 and engine.state(0) == L.DISCONNECTED


def accept_of(request: bytes) -> bytes:
    """RFC 6455, 4.2.2: what the server proves with."""
    found = re.search(rb"(?i)sec-websocket-key: *(\S+)", request)
    assert found is not None
    digest = hashlib.sha1(found[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    return base64.b64encode(digest)


def upgrade(request: bytes, *, accept: bytes = b"", upgrade: bytes = b"websocket") -> bytes:
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: %b\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n\r\n" % (upgrade, accept or accept_of(request))
    )


HTML = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\n<html></html>"
REDIRECT = b"HTTP/1.1 301 Moved\r\nLocation: ws://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n"
ANSWERS: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda _request: b"",
    "garbage": lambda _request: bytes(range(256)) * 4,
    "half a line": lambda _request: b"HTTP/1.1 101 Swit",
    "html": lambda _request: HTML,
    "forbidden": lambda _request: b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
    "unavailable": lambda _request: b"HTTP/1.1 503 Busy\r\nRetry-After: 5\r\n\r\n",
    "redirect": lambda _request: REDIRECT,
    "no status": lambda _request: b"HTTP/1.1 abc\r\n\r\n",
    "wrong accept": lambda request: upgrade(request, accept=b"AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
    "another protocol": lambda request: upgrade(request, upgrade=b"h2c"),
    "endless header": lambda _request: b"HTTP/1.1 101 X\r\nX: " + b"x" * 1_000_000,
    "not text": lambda _request: b"HTTP/1.1 \xff\xfe\r\n\xff: \xff\r\n\r\n",
    "a frame that masks": lambda request: upgrade(request) + b"\x81\x85abcd" + b"xxxxx",
    "a frame too long": lambda request: upgrade(request) + b"\x81\x7f" + b"\xff" * 8,
    "an opcode of no meaning": lambda request: upgrade(request) + b"\x83\x01x",
    "a long ping": lambda request: upgrade(request) + b"\x89\x7e\x00\xff" + b"p" * 255,
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_that_is_no_websocket_is_a_reason_and_another_try(name: str) -> None:
    tries: list[float] = []

    def answer(link: socket.socket, request: bytes) -> None:
        tries.append(time.monotonic())
        with contextlib.suppress(OSError):
            link.sendall(ANSWERS[name](request))

    with answering(answer) as port, living(port) as host:
        end_s = time.monotonic() + 20
        while len(host.reasons()) < 2:
            assert time.monotonic() < end_s, host.lines
            time.sleep(0.01)
        reasons = host.reasons()
    assert len(tries) >= 2 and len(tries) < 30, "neither given up nor a storm"
    for reason in reasons:
        assert 0 < len(reason) < 300 and reason.isprintable(), reason
        assert "Traceback" not in reason and "object at 0x" not in reason, reason


def test_a_connection_that_nobody_waits_for_any_more_is_cut() -> None:
    """Its opening is cancelled in the middle of the handshake, and the answer comes after that."""
    may_answer, cut = threading.Event(), threading.Event()

    def late(link: socket.socket, request: bytes) -> None:
        assert may_answer.wait(5)
        link.sendall(upgrade(request))
        with contextlib.suppress(ConnectionResetError):
            assert link.recv(1) == b""
        cut.set()

    async def give_up(port: int) -> set[asyncio.Task[object]]:
        opening = asyncio.ensure_future(
            open_websocket(Listener, f"ws://127.0.0.1:{port}/", ssl.create_default_context, 1.0)
        )
        await asyncio.sleep(0.2)
        opening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await opening
        may_answer.set()
        await asyncio.to_thread(cut.wait, 2)
        return asyncio.all_tasks() - {asyncio.current_task()}

    with answering(late) as port:
        assert asyncio.run(give_up(port)) == set()
    assert cut.is_set()
