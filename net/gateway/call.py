"""One call: its request coming in, its task, its messages and its status going out.

    headers -> (request whole) -> task runs -> messages -> status
                                    `-> refused, cancelled, late, evicted -> status or nothing

A call has a place of the data path, as a stream, from its first message on. Books go to it from
there without this class; any other message is given to the stream part by part, the next one when
the last is gone. A call whose client does not take what was begun ends all the same: its status
waits for a while.
Runs on: the gateway's event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from net.gateway.data_path import layout as D
from net.gateway.status import RefusedError, Status

if TYPE_CHECKING:
    from net.gateway.methods import Method

REQUESTS_AHEAD_MAX = 32
"""Requests of a stream that wait to be served."""
REQUEST_WHOLE_LIMIT_S = 20.0
"""A call whose request is not whole by then holds a place for nothing."""
LINGER_S = 10.0
"""What a client has to take the end of a message, and the status behind it."""

Metadata = tuple[tuple[str, bytes], ...]

_log = logging.getLogger("pollux.gateway")


class Wire(Protocol):
    """A call's connection, as the call needs it."""

    peer: str
    client: str

    def add_stream(self, stream_id: int) -> int | None:
        """Answer the call's headers; its place in the data path, None where there is none."""

    def give(self, stream: int, part: bytes) -> None: ...

    def has_rest(self, stream: int) -> bool: ...

    def notify(self, stream: int) -> None: ...

    def unsubscribe(self, stream: int) -> None: ...

    def end_call(self, call: Call, status: Status, text: str) -> None:
        """Send the status, and forget the call."""

    def reset_call(self, call: Call) -> None:
        """Reset the stream, and forget the call."""


class Call:
    """What a method sees of it (`metadata`, `peer`, `write`), and what its connection does."""

    def __init__(
        self, wire: Wire, stream_id: int, method: Method, metadata: Metadata, bytes_max: int
    ) -> None:
        self.id = stream_id
        self.metadata = metadata
        self.stream: int | None = None
        """Its place in the data path."""
        self.is_answered = False
        """Whether the response's headers have been sent."""
        self.on_left: Callable[[], None] = lambda: None
        """Called once, when it holds its client's place no longer."""
        self._wire = wire
        self._method = method
        self._bytes_max = bytes_max
        self._received = bytearray()
        self._requests: deque[bytes] = deque()
        self._has_request = asyncio.Event()
        self._is_request_over = False
        self._task: asyncio.Task[None] | None = None
        self._sent: asyncio.Future[None] | None = None
        self._status: tuple[Status, str] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._set_timer(REQUEST_WHOLE_LIMIT_S, Status.DEADLINE_EXCEEDED, "the request did not come")
        self._deadline: asyncio.TimerHandle | None = None

    @property
    def peer(self) -> str:
        """Who calls: an address with its port."""
        return self._wire.peer

    @property
    def client(self) -> str:
        """Who counts for it: a certificate's names, or an address."""
        return self._wire.client

    @property
    def connection(self) -> object:
        """Calls of one connection have one."""
        return self._wire

    # --- what a method does ----------------------------------------------------------------------

    async def write(self, message: bytes) -> None:
        """Send a message; done when all of it is in the client's window and with the kernel."""
        stream = self.open_stream()
        left = len(message).to_bytes(D.PREFIX_BYTES, "big") + message
        while left:
            part, left = left[: D.REST_BYTES], left[D.REST_BYTES :]
            await self.until_sent()
            self._wire.give(stream, part)
            await self.until_sent()

    def open_stream(self) -> int:
        """Its place in the data path, behind the response's headers. RefusedError: none is left."""
        if self.stream is None:
            self.stream = self._wire.add_stream(self.id)
            if self.stream is None:
                raise RefusedError(Status.RESOURCE_EXHAUSTED, "this gateway has no stream left")
            self.is_answered = True
        return self.stream

    async def until_sent(self) -> None:
        """Done when nothing that was begun waits for the client's window."""
        assert self.stream is not None
        if self._wire.has_rest(self.stream):
            self._sent = asyncio.get_running_loop().create_future()
            self._wire.notify(self.stream)
            await self._sent

    async def next_request(self) -> bytes | None:
        """The next one of a stream of requests; None when the client has ended it."""
        while not self._requests:
            if self._is_request_over:
                return None
            self._has_request.clear()
            await self._has_request.wait()
        return self._requests.popleft()

    # --- what comes in ---------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """A part of the request; the method begins when the first message is whole."""
        if self._status is not None:
            return
        self._received += data
        while len(self._received) >= D.PREFIX_BYTES:
            size = int.from_bytes(self._received[1 : D.PREFIX_BYTES], "big")
            if self._received[0]:
                text = "the request is compressed: only `identity` is known"
                return self.end(Status.UNIMPLEMENTED, text)
            if size > self._bytes_max:
                text = f"Received message larger than max ({size} vs. {self._bytes_max})"
                return self.end(Status.RESOURCE_EXHAUSTED, text)
            if len(self._received) < D.PREFIX_BYTES + size:
                return
            self._on_request(bytes(self._received[D.PREFIX_BYTES : D.PREFIX_BYTES + size]))
            del self._received[: D.PREFIX_BYTES + size]
            if self._status is not None:
                return

    def _on_request(self, raw: bytes) -> None:
        if self._task is not None and self._method.parse is not None:
            return self.end(Status.UNIMPLEMENTED, "this method takes one request")
        if len(self._requests) == REQUESTS_AHEAD_MAX:
            text = f"{REQUESTS_AHEAD_MAX} requests wait to be served: no more are taken ahead"
            return self.end(Status.RESOURCE_EXHAUSTED, text)
        self._requests.append(raw)
        self._has_request.set()
        self._begin()

    def receive_end(self) -> None:
        """The client has sent all it has."""
        self._is_request_over = True
        self._has_request.set()
        if self._status is None and self._task is None:
            if self._received:
                self.end(Status.INVALID_ARGUMENT, "the request ends within a message")
            elif self._method.parse is None:
                self._begin()
            else:
                self.end(Status.UNIMPLEMENTED, "this method takes one request")

    @property
    def is_request_over(self) -> bool:
        return self._is_request_over

    def _begin(self) -> None:
        if self._task is None:
            self._stop_timer()
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        raw = b"" if self._method.parse is None else self._requests.popleft()
        try:
            answer = await self._method.run(self, raw)
            if answer is not None:
                await self.write(answer)
            self.end(Status.OK, "")
        except RefusedError as refused:
            self.end(refused.code, refused.text)
        except Exception:
            _log.exception("a call of %s failed", self.peer)
            self.end(Status.INTERNAL, "the gateway failed")

    # --- its end ---------------------------------------------------------------------------------

    def expire_in(self, seconds: float) -> None:
        """It has a deadline."""
        loop = asyncio.get_running_loop()
        text = "the call's deadline is over"
        self._deadline = loop.call_later(seconds, self.end, Status.DEADLINE_EXCEEDED, text)

    def end(self, status: Status, text: str) -> None:
        """Give the call this status, as soon as what was begun is gone; a second one is ignored."""
        if self._status is not None:
            return
        self._status = (status, text)
        self._leave()
        if self.stream is None:
            self._close()
            return
        self._wire.unsubscribe(self.stream)
        if self._wire.has_rest(self.stream):
            self._wire.notify(self.stream)
            self._timer = asyncio.get_running_loop().call_later(LINGER_S, self._give_up)
        else:
            self._close()

    def on_sent(self) -> None:
        """What was given is gone."""
        if self._sent is not None and not self._sent.done():
            self._sent.set_result(None)
        self._sent = None
        if self._status is not None:
            self._close()

    def cancel(self) -> None:
        """The client has left: nothing more is to be said."""
        is_new = self._status is None
        self._status = (Status.CANCELLED, "")
        self._stop_timer()
        if is_new:
            self._leave()

    def _close(self) -> None:
        assert self._status is not None
        self._stop_timer()
        self._wire.end_call(self, *self._status)

    def _give_up(self) -> None:
        self._timer = None
        self._wire.reset_call(self)

    def _leave(self) -> None:
        """Its task ends, and its client has a place more."""
        self._stop_timer()
        if self._deadline is not None:
            self._deadline.cancel()
        task = self._task
        if task is not None and task is not asyncio.current_task():
            task.cancel()
        self.on_left()

    def _set_timer(self, seconds: float, status: Status, text: str) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self.end, status, text)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
