"""The spinning selector: sockets it receives from itself, and everything it leaves to asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import pytest
import trustme
from picows import (
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    ws_connect,
    ws_create_server,
)

from engine.compiling.atomics import Words
from engine.sharing import meter_layout as M
from engine.sharing.meters import Block, MeterWriter
from net.sockets import polling
from net.sockets.event_loop import SpinSelector, new_event_loop
from net.sockets.polling import INTAKES_MAX

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(30, func_only=True)]


class Reader(asyncio.BufferedProtocol):
    """Offers another buffer each time, as small as told, and keeps what came."""

    def __init__(self, size: int = 4096) -> None:
        self.size = size
        self.got = bytearray()
        self.offered = bytearray(size)
        self.lost: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
        self.has_ended = False
        self.fails = False
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def get_buffer(self, sizehint: int) -> bytearray:
        self.offered = bytearray(self.size)
        return self.offered

    def buffer_updated(self, nbytes: int) -> None:
        if self.fails:
            raise ValueError("no")
        self.got += self.offered[:nbytes]

    def eof_received(self) -> None:
        self.has_ended = True

    def connection_lost(self, exc: BaseException | None) -> None:
        self.lost.set_result(exc)


@contextlib.asynccontextmanager
async def connected(reader: Reader) -> AsyncIterator[socket.socket]:
    """The far end of a connection that `reader` reads from."""
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair(socket.AF_UNIX)
    near.setblocking(False)
    await loop.create_unix_connection(lambda: reader, sock=near)
    with far:
        yield far
    assert reader.transport is not None
    reader.transport.abort()


def loop_meters() -> MeterWriter:
    """Meters of a loop alone."""
    return MeterWriter("", "engine", [Block(M.LOOP)], 0)


def loop_words(meters: MeterWriter) -> Words:
    return meters.words[meters.block_at[0] : meters.block_at[0] + M.LOOP_WORDS]


async def until(condition: Callable[[], bool], limit_s: float = 5.0) -> None:
    end_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end_s, "in vain"
        await asyncio.sleep(0)


def intakes() -> int:
    """How many sockets the running loop's selector receives from."""
    selector = asyncio.get_running_loop()._selector  # type: ignore[attr-defined]
    assert isinstance(selector, SpinSelector)
    return sum(each is not None for each in selector._transports)


def spinning(
    body: Callable[[], Awaitable[None]],
    idle: str = "spin",
    meters: MeterWriter | None = None,
    on_standstill: Callable[[], None] = lambda: None,
) -> None:
    async def main() -> None:
        await body()

    words = loop_words(meters or loop_meters())
    new_loop = partial(new_event_loop, idle, words, on_standstill)
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())


@pytest.mark.parametrize("idle", ["spin", "backoff"])
@pytest.mark.parametrize("size", [1, 7, 4096])
def test_every_byte_arrives_in_buffers_that_move(idle: str, size: int) -> None:
    async def body() -> None:
        reader = Reader(size)
        async with connected(reader) as far:
            await until(lambda: intakes() == 1)
            sent = b"".join(b"%d " % number for number in range(500))
            for at in range(0, len(sent), 100):
                far.send(sent[at : at + 100])
                await asyncio.sleep(0.001 if at % 400 == 0 else 0)
            await until(lambda: len(reader.got) == len(sent))
            assert bytes(reader.got) == sent
            far.shutdown(socket.SHUT_WR)
            assert await reader.lost is None and reader.has_ended
            assert intakes() == 0

    spinning(body, idle)


def test_a_reset_is_told_with_its_error() -> None:
    """recv takes the error from the socket: whoever receives has to pass it on."""

    async def body() -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as server:
            reader = Reader()
            await loop.create_connection(lambda: reader, *server.getsockname())
            far, _ = server.accept()
        await until(lambda: intakes() == 1)
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        far.close()
        error = await reader.lost
        assert isinstance(error, ConnectionResetError), error

    spinning(body)


def test_tls_is_decrypted_before_anybody_sees_it() -> None:
    """A decrypting transport's protocol is no place for what its socket brings."""
    authority = trustme.CA()
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(server_context)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    got: list[bytes] = []

    class Keep(WSListener):  # type: ignore[misc]
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            got.append(frame.get_payload_as_bytes())

    class Echo(WSListener):  # type: ignore[misc]
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            transport.send(frame.msg_type, frame.get_payload_as_bytes())

    async def body() -> None:
        server = await ws_create_server(lambda _request: Echo(), "127.0.0.1", 0, ssl=server_context)
        port = server.sockets[0].getsockname()[1]
        url = f"wss://127.0.0.1:{port}"
        transport, _ = await ws_connect(Keep, url, ssl_context=context)
        for number in range(20):
            transport.send(WSMsgType.TEXT, b"%d" % number * 1000)
        await until(lambda: len(got) == 20)
        assert got[7] == b"7" * 1000
        transport.disconnect()
        server.close()

    spinning(body)


def test_a_protocol_that_fails_loses_its_connection_and_no_other() -> None:
    async def body() -> None:
        said: list[str] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _loop, context: said.append(repr(context["exception"]))
        )
        good, bad = Reader(), Reader()
        bad.fails = True
        async with connected(good) as far, connected(bad) as other:
            other.send(b"x")
            assert await bad.lost is None
            assert said == ["ValueError('no')"]
            far.send(b"y")
            await until(lambda: good.got == b"y")

    spinning(body)


def test_a_reader_that_pauses_gets_nothing_until_it_resumes() -> None:
    async def body() -> None:
        reader = Reader()
        async with connected(reader) as far:
            await until(lambda: intakes() == 1)
            assert reader.transport is not None
            reader.transport.pause_reading()
            far.send(b"later")
            await asyncio.sleep(0.05)
            assert reader.got == b"" and intakes() == 0
            reader.transport.resume_reading()
            await until(lambda: reader.got == b"later")

    spinning(body)


def test_two_floods_starve_nobody() -> None:
    """Neither each other, nor timers, other threads' calls, and sockets that are asyncio's."""

    async def body() -> None:
        loop = asyncio.get_running_loop()
        one, two, stop = Reader(64), Reader(64), threading.Event()
        near, far = socket.socketpair()
        near.setblocking(False)

        def flood(target: socket.socket) -> None:
            target.settimeout(0.1)
            while not stop.is_set():
                with contextlib.suppress(TimeoutError, OSError):
                    target.send(b"z" * 4096)

        called: list[str] = []
        async with connected(one) as first, connected(two) as second:
            threads = [threading.Thread(target=flood, args=(each,)) for each in (first, second)]
            for thread in threads:
                thread.start()
            try:
                loop.call_later(0.02, called.append, "timer")
                call = (loop.call_soon_threadsafe, called.append, "thread")
                threading.Timer(0.02, call[0], call[1:]).start()
                loop.call_later(0.02, far.send, b"other")
                assert await asyncio.wait_for(loop.sock_recv(near, 16), 5) == b"other"
                await until(lambda: set(called) == {"timer", "thread"})
                await until(lambda: min(len(one.got), len(two.got)) > 100_000)
            finally:
                stop.set()
                for thread in threads:
                    thread.join()
                near.close()
                far.close()
        shares = sorted((len(one.got), len(two.got)))
        assert shares[0] > shares[1] / 20, shares

    spinning(body)


def test_more_sockets_than_it_receives_from_are_served_all_the_same() -> None:
    async def body() -> None:
        readers = [Reader() for _ in range(INTAKES_MAX + 3)]
        async with contextlib.AsyncExitStack() as stack:
            ends = [await stack.enter_async_context(connected(reader)) for reader in readers]
            await until(lambda: intakes() == INTAKES_MAX)
            for number, far in enumerate(ends):
                far.send(b"%d" % number)
            await until(lambda: all(reader.got for reader in readers))
            assert [int(reader.got) for reader in readers] == list(range(len(readers)))

    spinning(body)


def test_a_timer_ends_the_spin_in_time() -> None:
    async def body() -> None:
        started_s = time.monotonic()
        await asyncio.sleep(0.02)
        assert 0.02 <= time.monotonic() - started_s < 0.5

    spinning(body)


@pytest.mark.parametrize("idle", ["spin", "backoff", "block"])
def test_work_is_told_as_turns_and_waiting_as_idle(idle: str) -> None:
    """All of the time is one or the other, whoever waited: the spin, or the kernel."""
    busy_s, idle_s, rounds = 0.02, 0.05, 3

    async def body() -> None:
        for _ in range(rounds):
            time.sleep(busy_s)
            await asyncio.sleep(idle_s)

    meters = loop_meters()
    started_ns = time.monotonic_ns()
    spinning(body, idle, meters)
    elapsed_ns = time.monotonic_ns() - started_ns
    reader = meters.reader()
    series = {each.name: each for each in reader.series}
    turns, idle_ns = reader.histogram(series["loop_turn"]), reader.value(series["loop_idle"])
    assert turns.negative == 0 and turns.count > 2 * rounds
    assert busy_s * 1e9 <= turns.max < elapsed_ns
    assert turns.sum >= rounds * busy_s * 1e9
    assert idle_ns >= 0.98 * rounds * idle_s * 1e9
    assert 0.8 * elapsed_ns < turns.sum + idle_ns <= elapsed_ns


@pytest.mark.parametrize("idle", ["spin", "backoff", "block"])
def test_a_standstill_is_told_before_what_has_waited_is_read(idle: str) -> None:
    """Issue 13.1: after SIGSTOP and SIGCONT, or a sleep of the host, a backlog is no news."""
    told: list[bytes] = []
    readers: list[Reader] = []

    async def body() -> None:
        reader = Reader()
        readers.append(reader)
        async with connected(reader) as far:
            far.send(b"fresh")
            await until(lambda: reader.got == b"fresh")
            for _ in range(3):
                await asyncio.sleep(0.05)
            assert told == []
            far.send(b", old")
            time.sleep(polling.STANDSTILL_NS / 1e9 + 0.1)  # the process does not run
            await until(lambda: reader.got == b"fresh, old")
            await asyncio.sleep(0.05)

    spinning(body, idle, on_standstill=lambda: told.append(bytes(readers[0].got)))
    assert told == [b"fresh"]


def test_block_is_the_plain_loop() -> None:
    loop = new_event_loop("block", loop_words(loop_meters()), lambda: None)
    try:
        assert not isinstance(loop._selector, SpinSelector)  # type: ignore[attr-defined]
    finally:
        loop.close()
    assert polling.PLACE_MASK == INTAKES_MAX - 1 and INTAKES_MAX & polling.PLACE_MASK == 0
