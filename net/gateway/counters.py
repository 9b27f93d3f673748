"""What the gateway counts: meters of kind "gateway" under the handoff's name, and who listens.

Runs on: the gateway's event loop writes; anybody reads, from this process or another.
Called by: net.gateway.server (`open_counters`), net.gateway.hub and the services; net.stat,
net.metrics and net.page (`attach_meters`).
"""

from __future__ import annotations

import logging

from engine.meters import (
    Block,
    Count,
    Counted,
    Kind,
    Meter,
    MeterReader,
    MeterWriter,
    observe_value,
    places,
)
from engine.segment import HandoffError
from net.claim import has_ended
from net.gateway.options import GatewayOptions
from net.gateway.subscribers import CONFLATED, ROWS_MAX, SENT, SubscriberTable

KIND = "gateway"

SILENT_AFTER_NS = 2_000_000_000
"""The gateway's heart beats ten times a second: one that is silent for so long hangs."""

METERS = (
    Meter("gateway_subscribers", Kind.GAUGE, "streams open now"),
    Meter("gateway_subscriptions", Kind.COUNTER, "streams opened"),
    Meter("gateway_refused", Kind.COUNTER, "streams refused because there were too many"),
    Meter("gateway_books", Kind.COUNTER, "books read from the handoff"),
    Meter("gateway_encoded", Kind.COUNTER, "messages encoded: one per book and wanted form"),
    Meter("gateway_sent", Kind.COUNTER, "messages handed to gRPC, all subscribers together"),
    Meter("gateway_conflated", Kind.COUNTER, "books that a subscriber skipped: something was slow"),
    Meter("gateway_unchanged", Kind.COUNTER, "books not sent: they said what was said before"),
    Meter("publish_to_gateway", Kind.HISTOGRAM, "from a book's publication to its reading", "ns"),
    Meter("gateway_to_written", Kind.HISTOGRAM, "from there, or when due, to gRPC's taking", "ns"),
)
(
    _SUBSCRIBERS,
    _SUBSCRIPTIONS,
    _REFUSED,
    _BOOKS,
    _ENCODED,
    _SENT,
    _CONFLATED,
    _UNCHANGED,
    _PUBLISH_TO_GATEWAY,
    _GATEWAY_TO_WRITTEN,
    _END,
) = places(METERS)


class GatewayCounters(Counted):
    """What a gateway has done so far. `name=""` keeps it private.

    HandoffError, OSError: shared memory of that name cannot be had.
    """

    subscribers = Count(_SUBSCRIBERS)
    subscribers_total = Count(_SUBSCRIPTIONS)
    refused = Count(_REFUSED)
    books = Count(_BOOKS)
    encoded = Count(_ENCODED)
    sent = Count(_SENT)
    conflated = Count(_CONFLATED)
    unchanged = Count(_UNCHANGED)

    def __init__(self, name: str = "", rows: int = ROWS_MAX, now_ns: int = 0) -> None:
        self.table = SubscriberTable(name, rows)
        try:
            self._meters = MeterWriter(name, KIND, [Block(METERS)], now_ns)
        except (HandoffError, OSError):
            self.table.close()
            raise
        super().__init__(self._meters.words, self._meters.block_at[0])
        self._written_at = self.at + _GATEWAY_TO_WRITTEN
        # One word is changed faster so; this is for what every message changes.
        self._view = memoryview(self.words)  # type: ignore[arg-type]
        self._sent_at = self.at + _SENT

    def saw_book(self, latency_ns: int) -> None:
        """A book was read, so long after its publication."""
        self.books += 1
        observe_value(self.words, self.at + _PUBLISH_TO_GATEWAY, latency_ns)

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

    A gateway that lives keeps the name: a second one of the same engine counts for itself.
    """
    try:
        pid = _living_gateway(options.handoff_name, now_ns)
        if not pid:
            return GatewayCounters(options.handoff_name, options.subscribers_max, now_ns)
        reason = f"the gateway with pid {pid} is counting under that name"
    except (HandoffError, OSError) as error:
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


def _living_gateway(name: str, now_ns: int) -> int:
    """The process whose gateway counts under this name; 0 where it has ended or hangs."""
    try:
        reader = MeterReader.attach(name, KIND)
    except HandoffError:
        return 0
    is_silent = abs(now_ns - reader.heartbeat_ns) > SILENT_AFTER_NS
    pid = reader.writer_pid
    return 0 if is_silent or has_ended(pid) else pid
