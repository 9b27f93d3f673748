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
    observe_value,
)
from net.gateway.options import GatewayOptions
from net.gateway.subscribers import CONFLATED, ROWS_MAX, SENT, SubscriberTable
from net.process.name_lock import has_ended

KIND = "gateway"

SILENT_AFTER_NS = 2_000_000_000
"""The gateway's heart beats ten times a second: one that is silent for so long hangs."""

METERS = MeterTable()


class GatewayCounters(Counted):
    """What a gateway has done so far. `name=""` keeps it private; `now_ns`: steady time.

    HandoffError: shared memory of that name cannot be had.
    """

    STREAMS_OPEN = METERS.gauge("gateway_subscribers", "streams open now")
    subscribers = Count(STREAMS_OPEN)
    subscribers_total = Count(METERS.counter("gateway_subscriptions", "streams opened"))
    refused = Count(
        METERS.counter("gateway_refused", "streams refused because there were too many")
    )
    books = Count(METERS.counter("gateway_books", "books read from the handoff"))
    encoded = Count(
        METERS.counter("gateway_encoded", "messages encoded: one per book and wanted form")
    )
    MESSAGES_SENT = METERS.counter(
        "gateway_sent", "messages handed to gRPC, all subscribers together"
    )
    sent = Count(MESSAGES_SENT)
    conflated = Count(
        METERS.counter("gateway_conflated", "books that a subscriber skipped: something was slow")
    )
    unchanged = Count(
        METERS.counter("gateway_unchanged", "books not sent: they said what was said before")
    )
    PUBLISH_TO_GATEWAY = METERS.histogram(
        "publish_to_gateway", "from a book's publication to its reading", "ns"
    )
    GATEWAY_TO_WRITTEN = METERS.histogram(
        "gateway_to_written", "from there, or when due, to gRPC's taking", "ns"
    )

    def __init__(self, name: str = "", rows: int = ROWS_MAX, now_ns: int = 0) -> None:
        self.table = SubscriberTable(name, rows)
        try:
            self._meters = MeterWriter(name, KIND, [Block(METERS)], now_ns)
        except HandoffError:
            self.table.close()
            raise
        super().__init__(self._meters.words, self._meters.block_at[0])
        self._written_at = self.at + self.GATEWAY_TO_WRITTEN
        # One word is changed faster so; this is for what every message changes.
        self._view = memoryview(self.words)  # type: ignore[arg-type]
        self._sent_at = self.at + self.MESSAGES_SENT

    def saw_book(self, latency_ns: int) -> None:
        """A book was read, so long after its publication."""
        self.books += 1
        observe_value(self.words, self.at + self.PUBLISH_TO_GATEWAY, latency_ns)

    def sends(self, row_at: int) -> None:
        """gRPC is given a message of the stream in this row."""
        self._view[self._sent_at] += 1
        self.table.counts[row_at + SENT] += 1

    def wrote(self, latency_ns: int) -> None:
        """gRPC has taken it, so long after it could be sent."""
        observe_value(self.words, self._written_at, latency_ns)

    def skipped(self, row_at: int, books: int) -> None:
        """The stream in this row left out so many books."""
        self.conflated += books
        self.table.counts[row_at + CONFLATED] += books

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
