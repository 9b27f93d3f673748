"""A feed's connection on the spinning loop: what is taken there, and when Python is asked."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import trustme
from aiofastnet.openssl_compat import OPENSSL_DYN_LIBS
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_create_server

from engine.compiling.atomics import Words, int64, view_words
from engine.compiling.jit import JIT_OFF, kernel, kernel_address
from engine.layout import layout as L
from net.feed.connection import _Listener
from net.sockets import frames as RF
from net.sockets import polling, tls_objects
from net.sockets.event_loop import new_event_loop
from net.sockets.tls_objects import tls_words
from net.sockets.websocket import open_websocket
from tests.net.rig import Desk, binance_diff
from tests.net.sockets.test_event_loop import loop_meters, loop_words, until
from tests.net.sockets.test_frame_receiver import Stream

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(60, func_only=True)]

KEY_UPDATE_REQUESTED = 1
"""SSL_KEY_UPDATE_REQUESTED, from openssl/ssl.h: the other side has to answer with its own."""


class Feed(_Listener):
    """Counts what comes through picows."""

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream)
        self.frames = 0

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        self.frames += 1
        super().on_ws_frame(transport, frame)

    @property
    def taken(self) -> int:
        return int(self._receiver.words[RF.TAKEN]) if self._receiver is not None else 0


class Venue(WSListener):  # type: ignore[misc]
    """The server's end."""

    def __init__(self) -> None:
        self.pings = 0
        self.pongs = 0
        self.transport: WSTransport | None = None
        self.next_id = 100

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        self.pongs += frame.msg_type is WSMsgType.PONG
        if frame.msg_type is WSMsgType.PING:
            self.pings += 1
            transport.send_pong(frame.get_payload_as_bytes())

    def say(self, count: int = 1) -> None:
        """So many diffs, each in a write of its own."""
        assert self.transport is not None
        for _ in range(count):
            self.transport.send(WSMsgType.TEXT, binance_diff(self.next_id, self.next_id))
            self.next_id += 1


class World:
    """A desk that is LIVE over a real connection."""

    def __init__(self, desk: Desk, feed: Feed, venue: Venue, link: WSTransport) -> None:
        self.desk, self.feed, self.venue, self.link = desk, feed, venue, link

    def is_at(self) -> bool:
        """Whether the book has all that was said."""
        return self.desk.engine.last_frame_id(0) == self.venue.next_id - 1


def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    authority = trustme.CA()
    ours = ssl.create_default_context()
    authority.configure_trust(ours)
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(theirs)
    return ours, theirs


@contextlib.asynccontextmanager
async def connected(
    scheme: str, idle_ping_s: float = 10.0, *, uses_ssl_module: bool = False
) -> AsyncIterator[World]:
    ours, theirs = contexts()
    if uses_ssl_module:  # as aiofastnet does where Python has OpenSSL built in
        ours._aiofastnet_force_fallback_ssl = True  # type: ignore[attr-defined]
    venue = Venue()
    server = await ws_create_server(
        lambda _request: venue, "127.0.0.1", 0, ssl=theirs if scheme == "wss" else None,
        enable_auto_pong=False,
    )  # fmt: skip
    desk = Desk()
    desk.connect("binance")
    feed = Feed(Stream(desk, is_recording=False))
    port = server.sockets[0].getsockname()[1]
    link = await open_websocket(
        lambda: feed, f"{scheme}://127.0.0.1:{port}/", lambda: ours, idle_ping_s
    )
    world = World(desk, feed, venue, link)
    venue.say()
    await until(world.is_at)
    desk.answer("binance", 100)
    assert desk.state("binance") == "LIVE"
    try:
        yield world
    finally:
        link.disconnect(False)
        server.close()


def spinning(
    body: Callable[[], Awaitable[None]],
    on_standstill: Callable[[], None] = lambda: None,
    idle: str = "spin",
    turn: polling.Turn | None = None,
) -> None:
    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
        await body()

    words = loop_words(loop_meters())
    loop = partial(new_event_loop, idle, words, on_standstill, turn=turn)
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


both = pytest.mark.parametrize("scheme", ["ws", "wss"])


@both
def test_texts_are_taken_and_all_else_reaches_picows(scheme: str) -> None:
    async def body() -> None:
        async with connected(scheme) as world:
            venue, feed = world.venue, world.feed
            assert venue.transport is not None
            venue.say(200)
            await until(world.is_at)
            seen, taken = feed.frames, feed.taken
            assert taken >= 190, "the first few may have gone through picows"
            venue.transport.send_ping(b"hello")
            await until(lambda: venue.pongs == 1)
            venue.say(3)
            venue.transport.send(WSMsgType.PONG, b"")
            await until(world.is_at)
            assert (feed.frames, feed.taken) == (seen + 1, taken + 3)
            assert world.desk.state("binance") == "LIVE"

    spinning(body)


@both
@pytest.mark.parametrize("idle", ["backoff", "block"])
def test_a_loop_that_sleeps_takes_them_too(scheme: str, idle: str) -> None:
    async def body() -> None:
        async with connected(scheme) as world:
            for _ in range(20):
                world.venue.say(5)
                await until(world.is_at)
                await asyncio.sleep(0.002)
            assert world.feed.taken >= 90

    spinning(body, idle=idle)


@both
def test_a_frame_longer_than_the_buffer_comes_whole(scheme: str) -> None:
    async def body() -> None:
        async with connected(scheme) as world:
            assert world.venue.transport is not None
            long = binance_diff(101, 101) + b" " * 300_000
            world.venue.transport.send(WSMsgType.TEXT, long)
            world.venue.next_id += 1
            world.venue.say(5)
            await until(world.is_at)
            assert world.desk.state("binance") == "LIVE"

    spinning(body)


@both
def test_picows_pings_a_silent_connection_and_no_other(scheme: str) -> None:
    async def body() -> None:
        async with connected(scheme, idle_ping_s=0.5) as world:
            for _ in range(50):
                world.venue.say()
                await asyncio.sleep(0.02)
            assert world.venue.pings == 0
            await until(lambda: world.venue.pings == 1)
            await asyncio.sleep(0.6)
            assert not world.link.is_disconnected, "its answer has been seen"

    spinning(body)


@both
@pytest.mark.parametrize("end", ["close", "cut", "reset"])
def test_a_connection_that_ends_is_lost(scheme: str, end: str) -> None:
    async def body() -> None:
        async with connected(scheme) as world:
            theirs = world.venue.transport
            assert theirs is not None
            world.venue.say(3)
            await until(world.is_at)
            if end == "close":
                theirs.send_close()
            elif end == "cut":
                theirs.disconnect()
            else:
                link = theirs.underlying_transport.get_extra_info("socket")
                linger = struct.pack("ii", 1, 0)
                link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                theirs.disconnect(False)
            with contextlib.suppress(ConnectionError):
                await asyncio.wait_for(world.link.wait_disconnected(), 5)
            assert world.link.is_disconnected

    spinning(body)


def test_keys_that_are_exchanged_anew_are_answered() -> None:
    """TLS 1.3: SSL_read leaves an answer for the transport to send; its peer may wait for it."""

    async def body() -> None:
        async with connected("wss") as world:
            theirs = world.venue.transport
            assert theirs is not None and OPENSSL_DYN_LIBS is not None
            found = tls_words(theirs.underlying_transport)
            assert found is not None
            update = ctypes.CDLL(OPENSSL_DYN_LIBS.libssl).SSL_key_update
            update.argtypes = (ctypes.c_void_p, ctypes.c_int)
            for _ in range(3):
                assert update(found[0], KEY_UPDATE_REQUESTED) == 1
                world.venue.say(5)
                await until(world.is_at)
                theirs.send_ping(b"under the new keys")
            await until(lambda: world.venue.pongs == 3)

    spinning(body)


@pytest.mark.parametrize("unknown", ["library", "layout", "engine"])
def test_tls_that_is_not_known_is_its_transports(
    unknown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The texts go past picows all the same."""
    if unknown == "library":
        monkeypatch.setattr(tls_objects, "_functions", lambda: None)
    elif unknown == "layout":
        monkeypatch.setattr(tls_objects, "_BEHIND_CONTEXT", ("incoming", "outgoing", "ssl"))

    async def body() -> None:
        async with connected("wss", uses_ssl_module=unknown == "engine") as world:
            receiver = world.feed._receiver
            assert receiver is not None and not receiver.can_spin
            world.venue.say(100)
            await until(world.is_at)
            assert world.feed.taken >= 90
            assert world.venue.transport is not None
            world.venue.transport.disconnect()
            await asyncio.wait_for(world.link.wait_disconnected(), 5)

    spinning(body)


@both
def test_nothing_is_taken_once_we_have_closed(scheme: str) -> None:
    async def body() -> None:
        async with connected(scheme) as world:
            world.venue.say(3)
            await until(world.is_at)
            world.link.disconnect()
            before = world.desk.engine.last_frame_id(0)
            world.venue.say(5)
            await asyncio.sleep(0.1)
            assert world.desk.engine.last_frame_id(0) == before

    spinning(body)


def test_what_has_waited_through_a_standstill_is_told_of_first() -> None:
    told: list[int] = []
    worlds: list[World] = []

    async def body() -> None:
        async with connected("ws") as world:
            worlds.append(world)
            world.venue.say(3)
            await until(world.is_at)
            await asyncio.sleep(0.05)
            before = world.desk.engine.last_frame_id(0)
            world.venue.say(1)
            time.sleep(polling.STANDSTILL_NS / 1e9 + 0.1)  # the process does not run
            await until(world.is_at)
            assert told == [before]

    spinning(body, lambda: told.append(worlds[0].desk.engine.last_frame_id(0)))


@kernel("int64(int64, int64, int64, int64, int64, int64)")
def count_turn(address: int, _1: int, _2: int, _3: int, _4: int, _5: int) -> int:
    """One more."""
    words = view_words(address, 1)
    words[0] += 1
    return int64(words[0])


class CountedTurn:
    """A market maker's bit of the desk's instrument, and what the spin did about it."""

    def __init__(self) -> None:
        self.done = np.zeros(1, np.int64)
        self.address = int(self.done.ctypes.data)
        self.function = kernel_address(count_turn)
        self.arena: Words | None = None
        self.prepared = 0
        self.settled: list[int] = []

    def prepare(self) -> None:
        assert not self.done[0], "it was settled before the next spin"
        self.prepared += 1

    def settle(self) -> None:
        if self.done[0]:
            assert self.arena is not None and self.arena[L.ENGINE_MAKERS_DUE] == 1
            self.settled.append(int(self.done[0]))
            self.done[0] = self.arena[L.ENGINE_MAKERS_DUE] = 0


@pytest.mark.skipif(JIT_OFF, reason="without the JIT no kernel has an address")
@pytest.mark.parametrize("idle", ["spin", "backoff"])
@both
def test_the_turn_is_done_in_the_spin_and_settled_before_anything_else(
    scheme: str, idle: str
) -> None:
    turn = CountedTurn()

    async def body() -> None:
        async with connected(scheme) as world:
            world.venue.say(3)
            await until(world.is_at)
            engine = world.desk.engine
            assert not turn.settled, "nobody waits for these"
            turn.arena = engine.arena
            engine.arena[engine.instrument_at(0) + L.INSTRUMENT_MAKER_BIT] = 1
            for _ in range(20):
                world.venue.say(1)
                await until(world.is_at)
                await asyncio.sleep(0.002)
            engine.arena[engine.instrument_at(0) + L.INSTRUMENT_MAKER_BIT] = 0

    spinning(body, idle=idle, turn=turn)
    assert 15 <= len(turn.settled) <= 20, "one that a sleeping loop has found is Python's"
    assert set(turn.settled) == {1}, "once for what a spin has taken"
    assert turn.prepared > len(turn.settled)


@pytest.mark.skipif(JIT_OFF, reason="only compiled code runs without the interpreter's lock")
def test_no_frame_waits_for_the_interpreter() -> None:
    """A thread that keeps the lock to itself sees the book of a frame that it sends meanwhile."""
    ready, done = threading.Event(), threading.Event()
    worlds: list[tuple[Any, int]] = []

    async def body() -> None:
        async with connected("ws") as world:
            world.venue.say(3)
            await until(world.is_at)
            assert world.venue.transport is not None
            underlying = world.venue.transport.underlying_transport
            worlds.append((world, underlying.get_extra_info("socket").fileno()))
            ready.set()
            while not done.is_set():
                await asyncio.sleep(0.5)

    thread = threading.Thread(target=spinning, args=(body,))
    thread.start()
    assert ready.wait(30)
    ((world, descriptor),) = worlds
    raw = binance_diff(world.venue.next_id, world.venue.next_id, [("50.00", "7")])
    said = bytes([0x81, 126]) + len(raw).to_bytes(2, "big") + raw
    engine, send = world.desk.engine, ctypes.PyDLL(None).send  # keeps the lock, as PyDLL does
    interval_s = sys.getswitchinterval()
    try:
        time.sleep(0.1)
        sys.setswitchinterval(100)
        assert send(descriptor, said, len(said), 0) == len(said)
        end_s = time.monotonic() + 0.3
        while engine.last_frame_id(0) < world.venue.next_id and time.monotonic() < end_s:
            pass
        seen = engine.last_frame_id(0)
    finally:
        sys.setswitchinterval(interval_s)
        done.set()
        thread.join()
    assert seen == world.venue.next_id
