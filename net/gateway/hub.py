"""Where books come in and subscribers are told: one hub per gateway, all on its event loop.

    waiter thread  --call_soon_threadsafe-->  hub.refresh  --Event.set-->  subscriber tasks

The waiter thread sits in the compiled wait, without the GIL, and has at most one wake-up posted
that the loop has not served yet. `refresh` reads each changed instrument once. A subscriber is a
task with one event and, per instrument, the last sequence and content it has seen: nothing is
queued for it, so it costs the same memory however slow it is, and slows nobody. When its write is
done it takes the newest book.

A write is done when gRPC has put it into the client's flow-control window, so what comes first to a
client that begins to read again is what lies in its own window: 64 KiB (about a hundred books) for
one with `grpc.http2.bdp_probe` off, some megabytes for gRPC's default. No server can shorten that.
Runs on: the gateway's event loop, but for `wait_for_books`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Sequence

import grpc
import grpc.aio

from engine.layout import layout as L
from engine.sharing.handoff import READ_BUSY, HandoffReader, InstrumentInfo
from net.gateway.book_messages import (
    Form,
    Snapshot,
    book_form,
    read_snapshot,
    summary_form,
    venue_status_form,
)
from net.gateway.counters import GatewayCounters
from net.gateway.options import GatewayOptions
from tuning.clock import steady_ns, wall_ns

Context = grpc.aio.ServicerContext[object, object]

READ_AGAIN_S = 0.001
"""After a busy slot: the writer has wrapped the whole ring while one book was copied."""

SERVED_LIMIT_S = 0.1
"""How long the waiter thread waits for a busy loop before it sees whether it should end."""

WAIT_POLLS_MAX = 1000
"""Looks at the published count before the waiter thread sees whether it should end: about 0.1 s."""


class RefusedError(Exception):
    """A call that cannot be served: the status code and the text that the caller is given."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class Instrument:
    """One instrument: its newest book, and the forms in which somebody asked for it."""

    def __init__(self, index: int, info: InstrumentInfo, counters: GatewayCounters) -> None:
        self.index = index
        self.info = info
        self.book: Snapshot | None = None
        self.noticed_s = 0.0
        """When it was read, as asyncio's loops count time: time.monotonic."""
        self.summary = summary_form(info, counters)
        self.status = venue_status_form(info, counters)
        self._counters = counters
        self._depths: dict[int, Form] = {}
        self.events: set[asyncio.Event] = set()

    def at_depth(self, depth: int) -> Form:
        """The v1 book with that many levels a side; 0 means all. At most `info.depth` forms."""
        assert 0 <= depth <= self.info.depth
        depth = depth or self.info.depth
        if depth not in self._depths:
            self._depths[depth] = book_form(self.info, depth, self._counters)
        return self._depths[depth]

    def wake(self) -> None:
        for event in self.events:
            event.set()


class Subscriber:
    """One stream: what wakes it, and its row of the table of those who listen."""

    def __init__(self, counters: GatewayCounters, row_at: int) -> None:
        self.event = asyncio.Event()
        self.counters = counters
        self.row_at = row_at


class Cursor:
    """What one subscriber has seen of one instrument in one form."""

    def __init__(
        self, instrument: Instrument, form: Form, before_first: bytes | None = None
    ) -> None:
        self.instrument = instrument
        self._form = form
        self._before_first = before_first
        self._seen_sequence = 0
        self._seen_content: bytes | None = None
        self.earliest_s = 0.0
        """Loop time before which nothing more may be sent."""

    def take(self, subscriber: Subscriber) -> bytes | None:
        """The newest message if it differs from the last one taken; b"" is a message too."""
        book = self.instrument.book
        if book is None:
            message, self._before_first = self._before_first, None
            return message
        if book.sequence == self._seen_sequence:
            return None
        newest = self._form.message(book)
        if self._seen_content is not None:
            skipped = book.sequence - self._seen_sequence - 1
            if skipped:
                subscriber.counters.skipped(subscriber.row_at, skipped)
        self._seen_sequence = book.sequence
        if newest.content == self._seen_content:
            subscriber.counters.unchanged += 1
            return None
        self._seen_content = newest.content
        return newest.wire

    @property
    def is_withdrawn(self) -> bool:
        """Whether the newest book says that no venue can be trusted."""
        book = self.instrument.book
        return book is not None and all(venue.state != L.LIVE for venue in book.venues)

    @property
    def is_behind(self) -> bool:
        """Whether there is a book that this cursor has not seen."""
        book = self.instrument.book
        return book is not None and book.sequence != self._seen_sequence


class Hub:
    """Reads the handoff, knows whether the engine lives, wakes the subscribers."""

    def __init__(
        self,
        reader: HandoffReader,
        options: GatewayOptions,
        counters: GatewayCounters,
        *,
        wall_ns: Callable[[], int] = wall_ns,
        steady_ns: Callable[[], int] = steady_ns,
    ) -> None:
        self._reader = reader
        self._options = options
        self._wall_ns, self._steady_ns = wall_ns, steady_ns
        self._closed_reason: str | None = None
        self._served = threading.Event()
        self.counters = counters
        self.instruments = tuple(
            Instrument(index, info, counters) for index, info in enumerate(reader.instruments)
        )
        self.by_symbol = {instrument.info.symbol: instrument for instrument in self.instruments}
        self.trouble: str | None = None
        """Why no book can be trusted now; None while all is well."""
        self.check_engine()
        self.refresh()

    # --- books coming in -------------------------------------------------------------------------

    def refresh(self) -> None:
        """Read every instrument that has a new book and wake who wants it."""
        self._served.set()
        for instrument in self.instruments:
            known = instrument.book.sequence if instrument.book else 0
            if self._reader.sequence(instrument.index) == known:
                continue
            sequence = self._reader.read(instrument.index)
            if sequence == READ_BUSY:
                asyncio.get_running_loop().call_later(READ_AGAIN_S, self.refresh)
                continue
            book = instrument.book = read_snapshot(self._reader.book, instrument.info)
            assert book.sequence == sequence, "a slot with another book's number"
            instrument.noticed_s = time.monotonic()
            self.counters.saw_book(self._wall_ns() - book.publish_ns)
            instrument.wake()

    def post_refresh(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have `refresh` run on the loop, and wait for it: from the waiter thread.

        A loop that is busy writing is not disturbed for books it cannot look at yet.
        """
        self._served.clear()
        loop.call_soon_threadsafe(self.refresh)
        self._served.wait(SERVED_LIMIT_S)

    # --- whether the engine lives ----------------------------------------------------------------

    def check_engine(self) -> None:
        """Look at the engine's state and heartbeat; wake everybody when trouble begins or ends."""
        trouble = self._engine_trouble() or self._closed_reason
        is_new = (trouble is None) != (self.trouble is None)
        self.trouble = trouble
        if is_new:
            for instrument in self.instruments:
                instrument.wake()

    def _engine_trouble(self) -> str | None:
        parent_pid = self._options.parent_pid
        if parent_pid and os.getppid() != parent_pid:
            return "the engine's process has ended"
        stale_after_ms = self._options.heartbeat_stale_after_ms
        return engine_trouble(self._reader, self._steady_ns(), stale_after_ms)

    @property
    def stale_after_ms(self) -> int:
        return self._options.heartbeat_stale_after_ms

    def age_ms(self, time_ns: int) -> int:
        """How far a steady time is from now."""
        return abs(self._steady_ns() - time_ns) // 1_000_000

    def beat(self) -> None:
        """Tell whoever reads the counters that the event loop turns."""
        self.counters.beat(self._steady_ns())

    def close(self, reason: str) -> None:
        """From now on there are no books; every stream ends, with this reason if with no other."""
        self._closed_reason = reason
        self.check_engine()
        self.refresh()

    # --- subscribers -----------------------------------------------------------------------------

    def require_engine(self) -> None:
        """RefusedError when no book can be trusted at this moment."""
        self.check_engine()
        if self.trouble is not None:
            raise RefusedError(grpc.StatusCode.UNAVAILABLE, self.trouble)

    @contextlib.contextmanager
    def subscribed(
        self, context: Context, what: str, instruments: Sequence[Instrument] = ()
    ) -> Iterator[Subscriber]:
        """One more stream, as long as it lasts; RefusedError when there are too many.

        `what` it wants, in words for whoever looks at the subscribers.
        """
        limit = self._options.subscribers_max
        if self.counters.subscribers >= limit:
            self.counters.refused += 1
            text = f"this gateway has {limit} subscribers ([gateway] subscribers_max)"
            raise RefusedError(grpc.StatusCode.RESOURCE_EXHAUSTED, text)
        row_at = self.counters.table.enter(_peer_text(context), what, self._steady_ns())
        subscriber = Subscriber(self.counters, row_at)
        for instrument in instruments:
            instrument.events.add(subscriber.event)
        self.counters.subscribers += 1
        self.counters.subscribers_total += 1
        try:
            yield subscriber
        finally:
            self.counters.subscribers -= 1
            self.counters.table.leave(row_at)
            for instrument in instruments:
                instrument.events.discard(subscriber.event)

    async def stream(
        self, context: Context, cursors: Sequence[Cursor], what: str, interval_s: float = 0.0
    ) -> None:
        """Write what each cursor takes until the client leaves. RefusedError: no engine."""
        self.require_engine()
        wanted = [cursor.instrument for cursor in cursors]
        with self.subscribed(context, what, wanted) as subscriber:
            event, counters, row_at = subscriber.event, self.counters, subscriber.row_at
            start_s = _loop_s()
            self.refresh()
            while True:
                event.clear()
                for cursor in cursors:
                    if self.trouble is not None:
                        # The last word of an engine that stopped: its venues withdrawn. A book
                        # that still shows levels would be a frozen one.
                        if not cursor.is_withdrawn:
                            continue
                    elif interval_s and _loop_s() < cursor.earliest_s:
                        continue
                    message = cursor.take(subscriber)
                    if message is not None:
                        due_s = max(cursor.instrument.noticed_s, cursor.earliest_s, start_s)
                        if interval_s:
                            cursor.earliest_s = _loop_s() + interval_s
                        counters.sends(row_at)
                        await context.write(message)
                        counters.wrote(int((time.monotonic() - due_s) * 1e9))
                if self.trouble is not None:
                    raise RefusedError(grpc.StatusCode.UNAVAILABLE, self.trouble)
                if interval_s:
                    await _wait_until_due(event, cursors)
                else:
                    # A book that came during a write has set it again.
                    await event.wait()


def _loop_s() -> float:
    return asyncio.get_running_loop().time()


def _peer_text(context: Context) -> str:
    """Who called, without gRPC's decoration: an address with its port, or a socket's path."""
    return urllib.parse.unquote(context.peer()).removeprefix("ipv4:").removeprefix("ipv6:")


async def _wait_until_due(event: asyncio.Event, cursors: Sequence[Cursor]) -> None:
    """Return when a cursor may have something to send, or the event is set before."""
    due_s = min((cursor.earliest_s for cursor in cursors if cursor.is_behind), default=None)
    if due_s is None or due_s > _loop_s():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(due_s):
                await event.wait()


def engine_trouble(reader: HandoffReader, now_ns: int, stale_after_ms: int) -> str | None:
    """Why the engine's books cannot be trusted; None when they can.

    `now_ns`: steady time. The writer sets the heartbeat to its start when it creates the segment,
    so a daemon that has not beaten yet counts from there. A beat in the future is no sign of life:
    it is from before the host was last started.
    """
    if reader.engine_state == L.ENGINE_IS_STOPPED:
        return "the engine has stopped"
    age_ms = abs(now_ns - reader.heartbeat_ns) // 1_000_000
    if age_ms > stale_after_ms:
        return f"the engine has shown no sign of life for {age_ms / 1000:.1f} s"
    return None


def wait_for_books(
    reader: HandoffReader,
    hub: Hub,
    loop: asyncio.AbstractEventLoop,
    stop: threading.Event,
    poll_us: int,
) -> None:
    """The waiter thread: its own reader, no GIL while nothing is published."""
    seen = reader.published
    hub.post_refresh(loop)
    while not stop.is_set():
        published = reader.wait(seen, poll_us, WAIT_POLLS_MAX)
        if published != seen:
            seen = published
            hub.post_refresh(loop)
