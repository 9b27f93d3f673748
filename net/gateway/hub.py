"""Whether the engine lives, and who follows what: one hub per gateway, on its event loop.

Books come to subscribers by the data path, without a step of Python. What is here is their
beginning and their end: a stream is told to the data path with the forms that it wants, and ends
when its client leaves or when no book can be trusted any more.

A book is with its client when it is in the flow-control window, so what comes first to a client
that begins to read again is what lies in its own window: 64 KiB (about a hundred books) for one
with `grpc.http2.bdp_probe` off, some megabytes for gRPC's default. No server can shorten that.
Runs on: the gateway's event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator, Sequence

from engine.layout import layout as L
from engine.sharing.handoff import HandoffReader, InstrumentInfo
from net.gateway.call import Call
from net.gateway.counters import GatewayCounters
from net.gateway.data_path import layout as D
from net.gateway.data_path.data_path import DataPath
from net.gateway.options import GatewayOptions
from net.gateway.status import RefusedError, Status
from tuning.clock import steady_ns


class Instrument:
    """One instrument as its engine described it."""

    def __init__(self, index: int, info: InstrumentInfo, path: DataPath) -> None:
        self.index = index
        self.info = info
        self._path = path

    @property
    def newest_info(self) -> InstrumentInfo:
        """With the scales of the newest book."""
        slot = self._path.slot(self.index)
        return self.info if slot is None else self.info.counted_as(slot)

    def has_book(self) -> bool:
        return self._path.slot(self.index) is not None

    def book_kind(self, depth: int) -> int:
        """The data path's form of a v1 book with that many levels a side; 0 means all."""
        assert 0 <= depth <= self.info.depth
        return D.BOOK + (depth or self.info.depth) - 1

    def message(self, kind: int) -> bytes | None:
        """The newest book in a form of the data path; None before the first."""
        return self._path.message(self.index, kind)


class Hub:
    """Knows whether the engine lives, begins and ends the subscribers' streams."""

    def __init__(
        self,
        reader: HandoffReader,
        options: GatewayOptions,
        counters: GatewayCounters,
        path: DataPath,
        *,
        steady_ns: Callable[[], int] = steady_ns,
    ) -> None:
        self._reader = reader
        self._options = options
        self._path = path
        self._steady_ns = steady_ns
        self._closed_reason: str | None = None
        self._last_trouble = ""
        self._in_trouble = asyncio.Event()
        self.counters = counters
        self.instruments = tuple(
            Instrument(index, info, path) for index, info in enumerate(reader.instruments)
        )
        self.by_symbol = {instrument.info.symbol: instrument for instrument in self.instruments}
        self.trouble: str | None = None
        """Why no book can be trusted now; None while all is well."""
        self.check_engine()

    # --- whether the engine lives ----------------------------------------------------------------

    def check_engine(self) -> None:
        """Look at the engine's state and heartbeat; end every stream when trouble begins.

        From then on the data path sends the engine's last word alone: its venues withdrawn. A book
        that still shows levels would be a frozen one.
        """
        self.trouble = self._engine_trouble() or self._closed_reason
        if self.trouble is None:
            self._in_trouble.clear()
            self._path.set_mode(D.SERVING)
        else:
            self._last_trouble = self.trouble
            self._in_trouble.set()
            self._path.set_mode(D.LAST_WORD)

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

    # --- subscribers -----------------------------------------------------------------------------

    def require_engine(self) -> None:
        """RefusedError when no book can be trusted at this moment."""
        self.check_engine()
        if self.trouble is not None:
            raise RefusedError(Status.UNAVAILABLE, self.trouble)

    @contextlib.contextmanager
    def subscribed(self, call: Call, what: str) -> Iterator[int]:
        """One more stream, as long as it lasts: its row; RefusedError when there are too many.

        `what` it wants, in words for whoever looks at the subscribers.
        """
        limit = self._options.subscribers_max
        if self.counters.subscribers >= limit:
            self.counters.refused += 1
            text = f"this gateway has {limit} subscribers ([gateway] subscribers_max)"
            raise RefusedError(Status.RESOURCE_EXHAUSTED, text)
        row_at = self.counters.table.enter(call.peer, what, self._steady_ns())
        self.counters.subscribers += 1
        self.counters.subscribers_total += 1
        try:
            yield row_at
        finally:
            self.counters.subscribers -= 1
            self.counters.table.leave(row_at)

    async def stream(
        self,
        call: Call,
        wanted: Sequence[tuple[Instrument, int]],
        what: str,
        *,
        interval_s: float = 0.0,
        unknown: Sequence[tuple[Instrument, bytes]] = (),
    ) -> None:
        """Send each instrument's books in a form until the client leaves; `unknown` are messages
        for instruments without one. RefusedError: no engine.
        """
        self.require_engine()
        with self.subscribed(call, what) as row_at:
            followed = [(instrument.index, kind) for instrument, kind in wanted]
            interval_ns = round(interval_s * 1e9)
            if not self._path.subscribe(call.open_stream(), followed, row_at, interval_ns):
                self.counters.refused += 1
                text = f"this gateway follows no {len(followed)} books more"
                raise RefusedError(Status.RESOURCE_EXHAUSTED, text)
            for instrument, message in unknown:
                await asyncio.sleep(0)  # what there is goes out first
                await call.until_sent()
                if not instrument.has_book():
                    self.counters.sends(row_at)
                    await call.write(message)
            await self._in_trouble.wait()
            # One turn of the data path more: the last word goes out before the end.
            await asyncio.sleep(0)
            raise RefusedError(Status.UNAVAILABLE, self._last_trouble)


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
