"""The private connection, over real sockets against a venue that does as each test says."""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import trustme
from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport, ws_create_server

from net.log.note import Note
from net.sockets.backoff import Backoff
from net.sockets.private_connection import Line, LineNote
from tuning.clock import steady_ns

pytestmark = pytest.mark.timeout(30, func_only=True)


class Venue(WSListener):  # type: ignore[misc]
    """One connection at the venue's end. It says what it is told to, and keeps what it hears."""

    def __init__(self, all_of_them: list[Venue]) -> None:
        self.all_of_them, self.heard, self.closing = all_of_them, list[bytes](), 0

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        self.all_of_them.append(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.CLOSE:
            self.closing = int(frame.get_close_code())
            self.say(b"the last word")
            transport.send_close(WSCloseCode.OK)
            transport.disconnect()
        else:
            self.heard.append(frame.get_payload_as_bytes())

    def say(self, *parts: bytes, kind: WSMsgType = WSMsgType.TEXT) -> None:
        for index, part in enumerate(parts):
            is_last = index == len(parts) - 1
            self.transport.send(WSMsgType.CONTINUATION if index else kind, part, is_last)


class Owner:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []
        self.notes: list[LineNote] = []
        self.waits_ms: list[Any] = []
        self.on_message: Callable[[bytes], None] = lambda raw: None

    def on_open(self, now_ns: int) -> None:
        self.told.append(("open", None))

    def on_text(self, raw: bytes, now_ns: int) -> None:
        assert abs(now_ns - steady_ns()) < 10**9
        self.told.append(("text", raw))
        self.on_message(raw)

    def on_lost(self, reason: str, now_ns: int) -> None:
        self.told.append(("lost", reason))

    def note_line(self, note: Note, **facts: object) -> None:
        assert isinstance(note, LineNote)
        self.notes.append(note)
        self.waits_ms += [facts["again_in_ms"]] if note is LineNote.DISCONNECTED else []

    def texts(self) -> list[bytes]:
        return [said for what, said in self.told if what == "text"]


class Here:
    def __init__(self, line: Line, owner: Owner, venues: list[Venue], run: asyncio.Task[None]):
        self.line, self.owner, self.venues, self.run = line, owner, venues, run
        self.on_request: Callable[[], object] = lambda: None

    async def until(self, condition: Callable[[], bool]) -> None:
        end_s = time.monotonic() + 5
        while not condition():
            assert time.monotonic() < end_s, self.owner.told[-5:]
            await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def connected(
    server: ssl.SSLContext | None = None, client: ssl.SSLContext | None = None
) -> AsyncIterator[Here]:
    venues: list[Venue] = []
    here: Here | None = None

    def welcome(request: object) -> Venue:
        if here is not None:
            here.on_request()
        return Venue(venues)

    venue = await ws_create_server(welcome, "127.0.0.1", 0, ssl=server)
    port = venue.sockets[0].getsockname()[1]
    quick = Backoff(random.Random(1), floor_ms=1, first_ms=1, limit_ms=10)
    line = Line(
        f"{'ws' if client is None else 'wss'}://127.0.0.1:{port}/",
        ssl_context=lambda: client,  # type: ignore[arg-type, return-value]
        backoff=quick,
    )
    owner = Owner()
    here = Here(line, owner, venues, asyncio.ensure_future(line.run(owner)))
    await here.until(lambda: owner.told == [("open", None)])
    yield here
    here.run.cancel()
    await asyncio.gather(here.run, return_exceptions=True)
    venue.close()


def test_what_is_said_arrives_whole_and_in_order() -> None:
    async def main() -> None:
        async with connected() as here:
            here.line.send(b"one")
            here.line.send(bytearray(b"two"))
            await here.until(lambda: here.venues[0].heard == [b"one", b"two"])
            here.venues[0].say(b"a")
            here.venues[0].say(b"b", b"c", b"", b"d")
            here.venues[0].say(b"e")
            await here.until(lambda: here.owner.texts() == [b"a", b"bcd", b"e"])

    asyncio.run(main())


@pytest.mark.parametrize("is_secure", [False, True])
def test_a_reused_buffer_is_copied_even_when_the_socket_is_full(is_secure: bool) -> None:
    authority = trustme.CA()
    contexts: list[ssl.SSLContext | None] = [None, None]
    if is_secure:
        server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        client = ssl.create_default_context()
        authority.issue_cert("127.0.0.1").configure_cert(server)
        authority.configure_trust(client)
        contexts = [server, client]

    async def main() -> None:
        async with connected(*contexts) as here:
            below = here.venues[0].transport.underlying_transport
            below.pause_reading()
            transport = here.line._transport
            assert transport is not None
            waiting = transport.underlying_transport.get_write_buffer_size
            buffer, sent, late = bytearray(10_000), 0, 0
            while late < 4:
                buffer[:] = b"%010d" % sent * 1000
                here.line.send(buffer)
                sent, late = sent + 1, late + bool(waiting())
            buffer[:] = b"x" * len(buffer)
            below.resume_reading()
            await here.until(lambda: len(here.venues[0].heard) == sent)
            assert here.venues[0].heard == [b"%010d" % n * 1000 for n in range(sent)]

    asyncio.run(main())


def test_a_venue_that_does_not_read_is_left() -> None:
    """What is sent into a full socket would arrive late and count."""

    async def main() -> None:
        async with connected() as here:
            here.venues[0].transport.underlying_transport.pause_reading()
            message = bytes(100_000)
            while not here.line.is_dropped:
                here.line.send(message)
            here.line.send(message)
            await here.until(lambda: here.line.connections == 2)
            assert [what for what, _ in here.owner.told] == ["open", "lost", "open"]

    asyncio.run(main())


def test_a_lost_connection_is_told_and_followed_by_the_next() -> None:
    async def main() -> None:
        async with connected() as here:
            here.venues[0].transport.disconnect(False)
            await here.until(lambda: here.owner.told[-1:] == [("open", None)] != here.owner.told)
            here.venues[1].transport.send_close(WSCloseCode.GOING_AWAY, "for today")
            await here.until(lambda: here.line.connections == 3)
            lost = [why for what, why in here.owner.told if what == "lost"]
            assert lost == ["the connection broke", "closed by the venue (1001 for today)"]
            assert here.line.connections == 3
            here.line.send(b"still here")
            await here.until(lambda: here.venues[2].heard == [b"still here"])

    asyncio.run(main())


@pytest.mark.parametrize(
    ("kind", "parts"),
    [(WSMsgType.BINARY, [b"x"]), (WSMsgType.CONTINUATION, [b"x"]), (WSMsgType.TEXT, [b""] * 2000)],
)
def test_what_makes_no_sense_ends_the_connection(kind: WSMsgType, parts: list[bytes]) -> None:
    async def main() -> None:
        async with connected() as here:
            here.venues[0].say(*parts, kind=kind)
            here.venues[0].say(b"after it")
            await here.until(lambda: here.line.connections == 2)
            assert [what for what, _ in here.owner.told] == ["open", "lost", "open"]

    asyncio.run(main())


def test_a_drop_is_at_once_and_the_wait_is_kept() -> None:
    async def main() -> None:
        async with connected() as here:
            here.owner.on_message = lambda raw: here.line.drop("enough", 300_000_000)
            began_s = time.monotonic()
            here.venues[0].say(b"a")
            here.venues[0].say(b"b")  # read in one go with the first
            await here.until(lambda: here.line.connections == 2)
            assert time.monotonic() - began_s >= 0.3
            assert here.owner.texts() == [b"a"]
            here.owner.on_message = lambda raw: None
            here.line.drop("again")
            await here.until(lambda: here.line.connections == 3)
            assert here.owner.waits_ms[0] == 300 and here.owner.waits_ms[1] <= 11

    asyncio.run(main())


def test_a_renewal_lets_the_venue_finish() -> None:
    async def main() -> None:
        async with connected() as here:
            here.line.renew("old")
            here.line.renew("old")
            here.line.send(b"too late")
            await here.until(lambda: here.line.connections == 2)
            assert here.venues[0].closing == WSCloseCode.GOING_AWAY
            assert here.venues[0].heard == []
            whats = [what for what, _ in here.owner.told]
            assert whats == ["open", "text", "lost", "open"]
            assert here.owner.notes.count(LineNote.RENEWING) == 1

    asyncio.run(main())


def test_a_stop_closes_properly_and_ends_it() -> None:
    async def main() -> None:
        async with connected() as here:
            await here.line.stop()
            await asyncio.wait_for(here.run, 5)
            assert here.venues[0].closing == WSCloseCode.GOING_AWAY
            assert here.owner.told[-1][0] == "lost" and here.owner.notes == [LineNote.CLOSED]
            assert here.line.connections == 1

    asyncio.run(main())


def test_a_stop_ends_a_long_wait() -> None:
    async def main() -> None:
        async with connected() as here:
            here.line.drop("for long", 600 * 10**9)
            await here.until(lambda: here.owner.notes[-1] is LineNote.DISCONNECTED)
            await here.line.stop()
            await asyncio.wait_for(here.run, 3)

    asyncio.run(main())


def test_a_stop_during_the_handshake_opens_nothing() -> None:
    async def main() -> None:
        async with connected() as here:
            stops = []
            here.on_request = lambda: stops.append(asyncio.ensure_future(here.line.stop()))
            here.line.drop("for the test")
            await asyncio.wait_for(here.run, 3)
            assert len(stops) == 1 and [what for what, _ in here.owner.told] == ["open", "lost"]

    asyncio.run(main())


def test_a_mistake_of_the_owner_ends_everything() -> None:
    async def main() -> None:
        async with connected() as here:

            def fail(raw: bytes) -> None:
                raise AssertionError("ours")

            here.owner.on_message = fail
            here.venues[0].say(b"a")
            here.venues[0].say(b"b")
            with pytest.raises(AssertionError, match="ours"):
                await asyncio.wait_for(here.run, 5)
            assert here.owner.texts() == [b"a"]

    asyncio.run(main())
