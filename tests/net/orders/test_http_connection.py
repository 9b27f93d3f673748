"""Signed requests over HTTP: real sockets, a server that does as each test says, two threads."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
import trustme

from net.orders import http_connection as http
from net.orders.http_connection import HttpLine
from net.orders.http_requests import HttpAnswer, HttpRequest
from tuning.clock import steady_ns

pytestmark = pytest.mark.timeout(30, func_only=True)

Serve = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-A: b\r\n"


def request(path: str = "/a/", body: bytes = b"x=1") -> HttpRequest:
    headers = (("X-Auth", "BITSTAMP k"), ("X-Auth-Nonce", "n"))
    return HttpRequest(path, headers, body, "n", 1)


def whole(body: bytes, head: bytes = PLAIN) -> bytes:
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


class Owner:
    """Keeps what it is told, by key."""

    def __init__(self) -> None:
        self.answers: dict[int, HttpAnswer] = {}
        self.failures: dict[int, tuple[str, bool]] = {}
        self.threads: set[int] = set()

    def on_http(self, key: int, answer: HttpAnswer, now_ns: int) -> None:
        assert key not in self.answers and abs(now_ns - steady_ns()) < 10**9
        self.threads.add(threading.get_ident())
        self.answers[key] = answer

    def on_http_failed(self, key: int, reason: str, was_sent: bool, now_ns: int) -> None:
        assert key not in self.failures and "\n" not in reason
        self.threads.add(threading.get_ident())
        self.failures[key] = reason, was_sent

    async def told(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.answers) + len(self.failures) < count:
                await asyncio.sleep(0.001)


class Here:
    def __init__(self, line: HttpLine, owner: Owner, heads: list[bytes], run: Any) -> None:
        self.line, self.owner, self.heads, self.run = line, owner, heads, run


@contextlib.asynccontextmanager
async def served(
    serve: Serve, server: ssl.SSLContext | None = None, client: ssl.SSLContext | None = None
) -> AsyncIterator[Here]:
    heads: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                heads.append(head)
                length = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
                heads[-1] += await reader.readexactly(length)
                await serve(head, writer)
        writer.close()

    listening = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=server)
    port = listening.sockets[0].getsockname()[1]
    loop = asyncio.get_running_loop()
    line = HttpLine(
        f"{'http' if client is None else 'https'}://localhost:{port}/",
        loop=loop,
        owner_loop=loop,
        ssl_context=lambda: client,  # type: ignore[arg-type, return-value]
    )
    owner = Owner()
    run = asyncio.ensure_future(line.run(owner))
    yield Here(line, owner, heads, run)
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    listening.close()


async def give(writer: asyncio.StreamWriter, raw: bytes) -> None:
    writer.write(raw)
    await writer.drain()


def says(raw: bytes) -> Serve:
    return lambda head, writer: give(writer, raw)


async def one(serve: Serve, **tls: Any) -> tuple[Owner, list[bytes]]:
    async with served(serve, **tls) as here:
        here.line.post(request(), 7)
        await here.owner.told(1)
        return here.owner, here.heads


def test_a_request_arrives_as_it_was_signed() -> None:
    async def main() -> None:
        async with served(says(whole(b"{}"))) as here:
            here.line.post(request(), 7)
            here.line.post(request("/b/", b""), 8)
            await here.owner.told(2)
        answer = here.owner.answers[7]
        assert (answer.status, answer.body, answer.headers["x-a"]) == (200, b"{}", "b")
        first, second = here.heads
        assert first.startswith(b"POST /a/ HTTP/1.1\r\nHost: localhost:")
        assert first.endswith(b"\r\n\r\nx=1") and b"X-Auth: BITSTAMP k\r\n" in first
        assert b"Accept-Encoding: identity\r\n" in first
        assert b"Content-Type" not in first + second, "it would have to be signed"
        assert second.endswith(b"Content-Length: 0\r\n\r\n")

    asyncio.run(main())


def test_requests_are_written_in_order_without_waiting_for_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Slow(aiohttp.TCPConnector):
        """Its first connection takes a while."""

        async def _create_connection(self, *args: Any, **named: Any) -> Any:
            is_first, self.is_late = not hasattr(self, "is_late"), True
            await asyncio.sleep(0.2 if is_first else 0)
            return await super()._create_connection(*args, **named)

    monkeypatch.setattr(aiohttp, "TCPConnector", Slow)
    go = asyncio.Event()

    async def answer_late(head: bytes, writer: asyncio.StreamWriter) -> None:
        await go.wait()
        await give(writer, whole(b"{}"))

    async def main() -> None:
        async with served(answer_late) as here:
            for number in range(10):
                here.line.post(request(f"/{number}/"), number)
            while len(here.heads) < 10:
                await asyncio.sleep(0.001)
            assert [head.split(b"/")[1] for head in here.heads] == [b"%d" % n for n in range(10)]
            assert not here.owner.answers
            go.set()
            await here.owner.told(10)
            assert sorted(here.owner.answers) == list(range(10))

    asyncio.run(main())


def test_what_never_left_is_told_from_what_may_have_arrived() -> None:
    async def hang_up(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def main() -> None:
        owner, heads = await one(hang_up)
        ((_, was_sent),) = owner.failures.values()
        assert was_sent and len(heads) == 1, "it is not sent again"
        with socket.create_server(("127.0.0.1", 0)) as nobody:
            port = nobody.getsockname()[1]
        loop = asyncio.get_running_loop()
        for url in (f"http://127.0.0.1:{port}", f"https://127.0.0.1:{port}"):
            line = HttpLine(url, loop=loop, owner_loop=loop, ssl_context=ssl.create_default_context)
            line.post(request(), 7)
            owner = Owner()
            run = asyncio.ensure_future(line.run(owner))
            await owner.told(1)
            assert owner.failures == {7: ("Connection refused", False)}
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)

    asyncio.run(main())


@pytest.mark.parametrize(
    "raw",
    [
        b"nonsense\r\n\r\n",
        PLAIN + b"Content-Length: 5\r\n\r\n{}",
        PLAIN + b"Content-Length: 9999999999\r\n\r\n",
        PLAIN + b"Transfer-Encoding: chunked\r\n\r\n" + b"400000\r\n" + b"x" * (4 << 20) + b"\r\n"
        b"1\r\nx\r\n0\r\n\r\n",
    ],
    ids=["no HTTP", "a short body", "a huge body", "too many chunks"],
)
def test_an_answer_that_cannot_be_taken_fails(raw: bytes) -> None:
    async def short(head: bytes, writer: asyncio.StreamWriter) -> None:
        await give(writer, raw)
        writer.close()

    async def main() -> None:
        owner, _ = await one(short)
        ((_, was_sent),) = owner.failures.values()
        assert was_sent and not owner.answers

    asyncio.run(main())


def test_a_redirection_and_a_refusal_are_answers() -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nSet-Cookie: a=b\r\n"

    async def main() -> None:
        async with served(says(whole(b"", moved))) as here:
            for key in (7, 8):
                here.line.post(request(), key)
                await here.owner.told(key - 6)
            assert [each.status for each in here.owner.answers.values()] == [302, 302]
            assert all(b"Cookie" not in head for head in here.heads)

    asyncio.run(main())


def test_an_answer_that_never_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "REQUEST_LIMIT_S", 0.2)

    async def main() -> None:
        owner, _ = await one(lambda head, writer: asyncio.sleep(1))
        assert owner.failures == {7: ("timed out", True)}

    asyncio.run(main())


def test_a_certificate_that_is_not_trusted() -> None:
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority, trusting = trustme.CA(), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(trusting)

    async def main() -> None:
        owner, _ = await one(says(whole(b"{}")), server=server, client=trusting)
        assert owner.answers[7].body == b"{}"
        strange = ssl.create_default_context()
        owner, heads = await one(says(whole(b"{}")), server=server, client=strange)
        ((reason, was_sent),) = owner.failures.values()
        assert reason.startswith("certificate not accepted") and not was_sent and not heads

    asyncio.run(main())


def test_the_end_fails_what_is_under_way_and_what_comes_after() -> None:
    async def main() -> None:
        async with served(lambda head, writer: asyncio.sleep(5)) as here:
            here.line.post(request(), 7)
            while not here.heads:
                await asyncio.sleep(0.001)
            here.run.cancel()
            await asyncio.gather(here.run, return_exceptions=True)
            here.line.post(request(), 8)
            await here.owner.told(2)
            assert here.owner.failures == {
                7: ("the program ends", True),
                8: ("the program ends", False),
            }

    asyncio.run(main())


def test_who_holds_the_line_holds_what_runs_it() -> None:
    """Seen: the watchdog's orders to Bitstamp ended with the first garbage collection."""

    async def main() -> None:
        async with served(says(whole(b"{}"))) as here:
            loop, owner = asyncio.get_running_loop(), Owner()
            address = here.line._base_url
            line = HttpLine(
                address, loop=loop, owner_loop=loop, ssl_context=ssl.create_default_context
            )
            ended = asyncio.run_coroutine_threadsafe(line.run(owner), loop)
            del ended
            await asyncio.sleep(0.05)
            gc.collect()
            await asyncio.sleep(0)
            line.post(request(), 1)
            await owner.told(1)
            assert not owner.failures
            assert line._running is not None
            line._running.cancel()
            await asyncio.sleep(0.05)

    asyncio.run(main())


def test_the_owner_is_told_on_its_own_thread() -> None:
    """As in the daemon: the owner's loop on one thread, the HTTP client on another."""
    engine_loop = asyncio.new_event_loop()
    engine = threading.Thread(target=engine_loop.run_forever)
    engine.start()

    async def main() -> None:
        async with served(says(whole(b"{}"))) as here:
            here.run.cancel()
            await asyncio.gather(here.run, return_exceptions=True)
            url = here.line._base_url
            loop = asyncio.get_running_loop()
            line = HttpLine(url, loop=loop, owner_loop=engine_loop, ssl_context=lambda: None)  # type: ignore[arg-type, return-value]
            owner = Owner()
            run = asyncio.ensure_future(line.run(owner))
            engine_loop.call_soon_threadsafe(line.post, request(), 1)
            engine_loop.call_soon_threadsafe(line.post, request(), 2)
            await owner.told(2)
            assert sorted(owner.answers) == [1, 2] and owner.threads == {engine.ident}
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)

    try:
        asyncio.run(main())
    finally:
        engine_loop.call_soon_threadsafe(engine_loop.stop)
        engine.join()
        engine_loop.close()
