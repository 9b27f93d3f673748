"""One venue's signed requests over HTTP, for an owner on another thread, or on the same.

The owner's thread hands a request over; the HTTP client lives on the loop that calls `run`; what
comes back is told on the owner's loop. So no handshake, parsing or waiting is ever done on the
engine's thread. Requests are written in the order they are handed over, each without waiting for
the answer to the one before; on their way, over connections of their own, they may still overtake
each other. No POST is sent twice: aiohttp repeats only idempotent methods.
Runs on: `post` on the owner's thread; all else on the main thread (housekeeping).
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import Callable
from types import SimpleNamespace

import aiohttp

from net.orders.http_requests import ANSWER_LIMIT_NS, HttpAnswer, HttpOwner, HttpRequest
from net.orders.json_fields import MESSAGE_BYTES_MAX
from net.sockets.http_body import RestError, read_body
from net.sockets.proxy import by_proxy
from net.sockets.websocket import describe
from tuning.clock import steady_ns

REQUEST_LIMIT_S = 20.0
"""Longer than a request is waited for: the events in a late answer still count."""
CONNECT_LIMIT_S = 3.0
"""How long a new connection may hold up the requests behind its own."""
CONNECTIONS_MAX = 32
"""At once: a market maker's burst of cancels, each answered within some 150 ms."""
UNDER_WAY_MAX = 1_024
"""Requests handed over and not ended; what is beyond fails at once."""

assert CONNECT_LIMIT_S * 1e9 < ANSWER_LIMIT_NS < REQUEST_LIMIT_S * 1e9


class HttpLine:
    """One venue's address for orders."""

    def __init__(
        self,
        base_url: str,
        *,
        loop: asyncio.AbstractEventLoop,
        owner_loop: asyncio.AbstractEventLoop,
        ssl_context: Callable[[], ssl.SSLContext],
        proxy: str = "",
    ) -> None:
        """`loop`: where `run` runs. `owner_loop`: where the owner is told, on its thread."""
        self._base_url = base_url.rstrip("/")
        self._loop = loop
        self._owner_loop = owner_loop
        self._ssl_context = ssl_context
        self._proxy = proxy
        self._owner: HttpOwner | None = None
        self._session: aiohttp.ClientSession | None = None
        self._waiting: deque[tuple[HttpRequest, int]] = deque(maxlen=UNDER_WAY_MAX)
        self._tasks: set[asyncio.Task[None]] = set()
        self._lock = asyncio.Lock()
        self._running: asyncio.Task[None] | None = None
        """Held here: asyncio holds no task, and one that only waits is garbage without a holder."""

    def post(self, request: HttpRequest, key: int) -> None:
        """Send, in the order of the calls; the owner is told of the answer by `key`."""
        try:
            self._loop.call_soon_threadsafe(self._begin, request, key)
        except RuntimeError:  # the loop is closed: the program ends
            self._fail(key, "the program ends", False)

    async def run(self, owner: HttpOwner) -> None:
        """Be there for an owner until cancelled; requests that are under way then fail."""
        self._running = asyncio.current_task()
        secure = self._ssl_context() if self._base_url.startswith("https:") else True
        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(_on_headers_sent)
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX, ssl=secure),
            timeout=aiohttp.ClientTimeout(total=REQUEST_LIMIT_S, connect=CONNECT_LIMIT_S),
            # An answer's signature is over its body as it was sent: let that be the plain text.
            headers={"User-Agent": "pollux", "Accept-Encoding": "identity"},
            skip_auto_headers=("Content-Type",),
            cookie_jar=aiohttp.DummyCookieJar(),
            trace_configs=[trace],
        ) as session:
            self._owner, self._session = owner, session
            while self._waiting:
                self._begin(*self._waiting.popleft())
            try:
                await asyncio.Event().wait()
            finally:
                self._session, tasks = None, list(self._tasks)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, request: HttpRequest, key: int) -> None:
        if self._owner is None:
            self._waiting.append((request, key))  # a moment before `run`
        elif self._session is None:
            self._fail(key, "the program ends", False)
        elif len(self._tasks) >= UNDER_WAY_MAX:
            self._fail(key, "too many requests under way", False)
        else:
            task = self._loop.create_task(self._exchange(self._session, request, key))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _exchange(
        self, session: aiohttp.ClientSession, request: HttpRequest, key: int
    ) -> None:
        turn = _Turn(self._lock)
        try:
            await turn.begin()
            async with session.request(
                request.method,
                self._base_url + request.path,
                data=request.body or None,
                headers=request.headers,
                allow_redirects=False,  # a signature is for one address
                proxy=self._proxy or None,
                trace_request_ctx=turn,
            ) as answer:
                body = await read_body(answer, MESSAGE_BYTES_MAX)
            whole = HttpAnswer(answer.status, answer.headers, body)
            self._tell(lambda owner, now_ns: owner.on_http(key, whole, now_ns))
        except (aiohttp.ClientError, OSError, TimeoutError, RestError) as error:
            self._fail(key, by_proxy(describe(error), self._proxy), turn.was_sent)
        except asyncio.CancelledError:
            self._fail(key, "the program ends", turn.was_sent)
            raise
        finally:
            turn.end()

    def _fail(self, key: int, reason: str, was_sent: bool) -> None:
        self._tell(lambda owner, now_ns: owner.on_http_failed(key, reason, was_sent, now_ns))

    def _tell(self, what: Callable[[HttpOwner, int], None]) -> None:
        def told() -> None:
            if self._owner is not None:
                what(self._owner, steady_ns())

        with contextlib.suppress(RuntimeError):  # the owner's loop is closed: nobody listens
            self._owner_loop.call_soon_threadsafe(told)


class _Turn:
    """One request's turn to be written: from here until its head goes out, or it has failed."""

    def __init__(self, lock: asyncio.Lock) -> None:
        self.was_sent = False
        self._lock = lock
        self._is_mine = False

    async def begin(self) -> None:
        await self._lock.acquire()  # first come, first served
        self._is_mine = True

    def end(self) -> None:
        if self._is_mine:
            self._is_mine = False
            self._lock.release()


async def _on_headers_sent(
    session: aiohttp.ClientSession,
    context: SimpleNamespace,
    params: aiohttp.TraceRequestHeadersSentParams,
) -> None:
    turn: _Turn = context.trace_request_ctx
    turn.was_sent = True
    turn.end()
