"""What the gateway counts: meters of kind "gateway" under the handoff's name, and who listens.

Runs on: the gateway's event loop writes; anybody reads, from this process or another.
"""

from __future__ import annotations

import logging

from engine.sharing.directory import HandoffError
from engine.sharing.meters import (
    Block,
    Count,
    Counted,
    MeterReader,
    MeterTable,
    MeterWriter,
)
from net.gateway.options import GatewayOptions
from net.gateway.subscribers import ROWS_MAX, SENT, SubscriberTable
from net.process.name_lock import has_ended

KIND = "gateway"

SILENT_AFTER_NS = 2_000_000_000
"""The gateway's heart beats ten times a second: one that is silent for so long hangs."""

METERS = MeterTable()


STREAMS_OPEN = METERS.gauge("gateway_subscribers", "streams open now")
STREAMS_OPENED = METERS.counter("gateway_subscriptions", "streams opened")
CALLS_REFUSED = METERS.counter("gateway_refused", "streams refused because there were too many")
BOOKS_READ = METERS.counter("gateway_books", "books read from the handoff")
BOOKS_ENCODED = METERS.counter("gateway_encoded", "messages encoded: one per book and wanted form")
MESSAGES_SENT = METERS.counter(
    "gateway_sent", "messages handed to the kernel, all subscribers together"
)
BOOKS_CONFLATED = METERS.counter(
    "gateway_conflated", "books that a subscriber skipped: something was slow"
)
BOOKS_UNCHANGED = METERS.counter(
    "gateway_unchanged", "books not sent: they said what was said before"
)
TRADES_LOST = METERS.counter(
    "gateway_trades_lost", "trades that a subscriber was too slow for, all together"
)
PUBLISH_TO_GATEWAY = METERS.histogram(
    "publish_to_gateway", "from a book's publication to its reading", "ns"
)
GATEWAY_TO_WRITTEN = METERS.histogram(
    "gateway_to_written", "from there, or when due, to the kernel's taking", "ns"
)


class GatewayCounters(Counted):
    """What a gateway has done so far. `name=""` keeps it private; `now_ns`: steady time.

    The data path's kernels count most of it. HandoffError: shared memory of that name cannot be
    had.
    """

    subscribers = Count(STREAMS_OPEN)
    subscribers_total = Count(STREAMS_OPENED)
    refused = Count(CALLS_REFUSED)
    books = Count(BOOKS_READ)
    encoded = Count(BOOKS_ENCODED)
    sent = Count(MESSAGES_SENT)
    conflated = Count(BOOKS_CONFLATED)
    unchanged = Count(BOOKS_UNCHANGED)
    trades_lost = Count(TRADES_LOST)

    def __init__(self, name: str = "", rows: int = ROWS_MAX, now_ns: int = 0) -> None:
        self.table = SubscriberTable(name, rows)
        try:
            self._meters = MeterWriter(name, KIND, [Block(METERS)], now_ns)
        except HandoffError:
            self.table.close()
            raise
        super().__init__(self._meters.words, self._meters.block_at[0])

    def sends(self, row_at: int) -> None:
        """The stream in this row is given a message that is no book."""
        self.sent += 1
        self.table.counts[row_at + SENT] += 1

    def beat(self, now_ns: int) -> None:
        """Tell readers that the event loop turns."""
        self._meters.beat(now_ns)

    def reader(self) -> MeterReader:
        """A reader in this process."""
        return self._meters.reader()

    def close(self) -> None:
        """Take the names away, if they are still ours."""
        self._meters.close()
        self.table.close()


def open_counters(options: GatewayOptions, now_ns: int) -> GatewayCounters:
    """Counters that others can read; private ones where that cannot be: it stops no service.
    `now_ns`: steady time.

    A gateway that lives keeps the name: a second one of the same engine counts for itself.
    """
    try:
        pid = _living_gateway(options.handoff_name, now_ns)
        if pid is None:
            return GatewayCounters(options.handoff_name, options.subscribers_max, now_ns)
        reason = f"the gateway with pid {pid} is counting under that name"
    except HandoffError as error:
        reason = str(error)
    logging.getLogger(__name__).warning("nobody else can read what this gateway counts: %s", reason)
    return GatewayCounters("", options.subscribers_max, now_ns)


def attach_meters(name: str, engine_start_ns: int) -> MeterReader | None:
    """The meters of the gateway that serves this engine, or did last; None where none has.

    What a gateway of a daemon before this one has left is not its own.
    """
    try:
        reader = MeterReader.attach(name, KIND)
    except HandoffError:
        return None
    return reader if reader.heartbeat_ns >= engine_start_ns else None


def _living_gateway(name: str, now_ns: int) -> int | None:
    """The process whose gateway counts under this name; None where it has ended or hangs."""
    try:
        reader = MeterReader.attach(name, KIND)
    except HandoffError:
        return None
    is_silent = abs(now_ns - reader.heartbeat_ns) > SILENT_AFTER_NS
    pid = reader.writer_pid
    return None if is_silent or has_ended(pid) else pid
