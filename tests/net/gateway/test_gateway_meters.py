"""What the gateway counts, and who listens to it, as another process reads it."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from engine.sharing.directory import HandoffError
from engine.sharing.meters import Histogram, Kind, MeterReader, observe_value
from engine.sharing.segment import segment_path
from net.gateway.counters import (
    GATEWAY_TO_WRITTEN,
    KIND,
    METERS,
    PUBLISH_TO_GATEWAY,
    SILENT_AFTER_NS,
    GatewayCounters,
    open_counters,
)
from net.gateway.options import GatewayOptions
from net.gateway.subscribers import (
    PEER_BYTES_MAX,
    SEGMENT_KIND,
    SENT,
    WHAT_BYTES_MAX,
    SubscriberReader,
    SubscriberTable,
)
from proto.orderbook_pb2 import Empty
from proto.pollux.v1 import market_data_pb2 as pb
from tests.net.gateway.rig import Engine, eventually, gateway_thread, ladder, take
from tuning.clock import steady_ns

NOW_NS = 1_700_000_000 * 10**9
NAME = f"test-meters-{os.getpid()}"


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    for kind in (f"{KIND}-meters", SEGMENT_KIND):
        assert not segment_path(NAME, kind).exists()


def read(name: str) -> dict[str, int | Histogram]:
    """Every series of a gateway."""
    reader = MeterReader.attach(name, KIND)
    return {
        s.name: reader.histogram(s) if s.kind is Kind.HISTOGRAM else reader.value(s)
        for s in reader.series
    }


# --- a gateway at work ---------------------------------------------------------------------------


def test_a_gateway_shows_what_it_does_and_for_whom(engine: Engine) -> None:
    engine.publish(*ladder(500))
    with gateway_thread(engine) as gateway, gateway.stubs() as (orderbook, market_data):
        time.sleep(0.3)
        summaries = orderbook.BookSummary(Empty())
        take(summaries)
        request = pb.StreamBookRequest(symbols=["BTC-USD"], depth=3, min_interval_ms=20)
        books = market_data.StreamBook(request)
        take(books)
        engine.publish(*ladder(501))
        take(summaries), take(books)
        engine.publish(*ladder(502), skip=4)
        take(summaries), take(books)
        table = SubscriberReader(engine.name)
        assert table.writer_pid == os.getpid()
        assert eventually(lambda: [row.sent for row in table.read()] == [3, 3])
        first, second = table.read()
        assert (first.what, second.what) == ("BTC-USD, summary", "BTC-USD, depth 3, every 20 ms")
        assert first.peer.startswith("127.0.0.1:")
        assert [row.conflated for row in (first, second)] == [4, 4]
        assert abs(first.since_ns - steady_ns()) < 5e9

        def written() -> int:
            found = read(engine.name)["gateway_to_written"]
            assert isinstance(found, Histogram)
            return found.count

        assert eventually(lambda: written() == 6)
        found = read(engine.name)
        counters = gateway.counters
        assert [found[name] for name in ("gateway_subscribers", "gateway_subscriptions")] == [2, 2]
        assert (found["gateway_sent"], counters.sent, counters.conflated) == (6, 6, 8)
        assert found["gateway_books"] == counters.books == 3
        seen, taken = found["publish_to_gateway"], found["gateway_to_written"]
        assert isinstance(seen, Histogram) and isinstance(taken, Histogram)
        assert (seen.count, seen.negative) == (2, 0), "of books that somebody waited for"
        # A book that was there long before its subscriber is not late, nor is one that an interval
        # held back.
        assert taken.max < 0.2e9 and taken.negative == 0
        reader = MeterReader.attach(engine.name, KIND)
        begun_ns = reader.heartbeat_ns
        assert eventually(lambda: reader.heartbeat_ns > begun_ns)
        summaries.cancel()  # type: ignore[no-untyped-call]
        assert eventually(lambda: [row.what for row in table.read()] == [second.what])
    with pytest.raises(HandoffError, match="counts nothing"):
        MeterReader.attach(engine.name, KIND)


# --- whose name it is ----------------------------------------------------------------------------


def test_a_second_gateway_counts_for_itself_until_the_first_is_gone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    options = GatewayOptions(NAME)
    first = open_counters(options, NOW_NS)
    first.books += 1
    second = open_counters(options, NOW_NS + SILENT_AFTER_NS)
    second.books += 5
    assert read(NAME)["gateway_books"] == 1
    assert f"pid {os.getpid()} is counting under that name" in caplog.text
    second.close()
    assert read(NAME)["gateway_books"] == 1, "what is not its own it does not take away"
    third = open_counters(options, NOW_NS + SILENT_AFTER_NS + 1)
    assert read(NAME)["gateway_books"] == 0, "a gateway that hangs does not keep the name"
    first.close()
    assert read(NAME)["gateway_books"] == 0
    third.close()


@pytest.mark.parametrize("kind", [f"{KIND}-meters", SEGMENT_KIND])
def test_a_name_that_cannot_be_written_stops_no_gateway(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = segment_path(NAME, kind)
    path.mkdir()
    try:
        counters = open_counters(GatewayOptions(NAME), NOW_NS)
        counters.sent += 2
        assert counters.sent == 2 and "nobody else can read" in caplog.text
        counters.close()
        assert path.is_dir()
    finally:
        path.rmdir()


def test_every_meter_has_an_attribute_or_a_histogram() -> None:
    counters = GatewayCounters()
    names = ("subscribers", "subscribers_total", "refused", "books", "encoded", "sent")
    for number, name in enumerate((*names, "conflated", "unchanged", "trades_lost"), start=1):
        setattr(counters, name, number)
    observe_value(counters.words, counters.at + PUBLISH_TO_GATEWAY, 1000)
    observe_value(counters.words, counters.at + GATEWAY_TO_WRITTEN, 2000)
    reader = counters.reader()
    values = [reader.value(s) for s in reader.series if s.kind is not Kind.HISTOGRAM]
    assert values == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    seen = {s.name: reader.histogram(s).sum for s in reader.series if s.kind is Kind.HISTOGRAM}
    assert seen == {"publish_to_gateway": 1000, "gateway_to_written": 2000}
    assert len(reader.series) == len(METERS.meters)


# --- who listens ---------------------------------------------------------------------------------


def test_rows_are_bounded_and_used_again() -> None:
    table = SubscriberTable(NAME, 2)
    reader = SubscriberReader(NAME)
    assert reader.read() == []
    first, second, third = (table.enter(f"peer {n}", "x", NOW_NS + n) for n in (2, 1, 3))
    table.counts[third + SENT] += 1
    assert [row.peer for row in reader.read()] == ["peer 1", "peer 2"], "the oldest first"
    table.leave(third)
    table.leave(first)
    table.enter("p" * 100, "é" * 100, NOW_NS)
    row, _ = reader.read()
    assert row.peer == "p" * (PEER_BYTES_MAX - 2) + ".." and row.sent == 0
    assert row.what == "é" * ((WHAT_BYTES_MAX - 2) // 2) + ".."
    table.leave(second)
    assert [row.what[:1] for row in reader.read()] == ["é"]
    table.close()
    with pytest.raises(HandoffError, match="shows who listens"):
        SubscriberReader(NAME)


def test_a_row_is_never_read_torn() -> None:
    """One row changes hands as fast as it can; what is read of it is always of one stream."""
    table = SubscriberTable(NAME, 1)
    reader = SubscriberReader(NAME)
    is_over = threading.Event()

    def rewrite() -> None:
        number = 0
        while not is_over.is_set():
            number += 1
            at = table.enter(f"{number:0{PEER_BYTES_MAX}}", f"{number:0{WHAT_BYTES_MAX}}", number)
            table.counts[at + SENT] = number
            table.leave(at)

    switch_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        seen, end_s = 0, time.monotonic() + 0.5
        while time.monotonic() < end_s or not seen:
            for row in reader.read():
                seen += 1
                numbers = {int(row.peer), int(row.what), row.since_ns}
                assert len(numbers) == 1 and row.sent in (0, row.since_ns)
                assert time.monotonic() < end_s + 5
    finally:
        is_over.set()
        writer.join()
        sys.setswitchinterval(switch_s)
        table.close()
