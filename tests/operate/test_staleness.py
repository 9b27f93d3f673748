"""Silence: what was published last is withdrawn in time, with no frame arriving to cause it.

By data (the connection lives, the market says nothing) and by connection (half-open: not even the
ping is answered). The defect of published aggregators is eviction that runs when a book arrives.
"""

from __future__ import annotations

import time

import pytest

from proto.pollux.v1 import market_data_pb2 as pb
from tests.e2e.rig import Venues
from tests.operate.rig import STALE_AFTER_MS, Operated, states_of
from tuning.clock import wall_ns

pytestmark = pytest.mark.timeout(90)

CHECK_MS = 50
"""The engine looks at its feeds so often (net.feed.engine_thread)."""
MARGIN_MS = 400
"""Two loaded cores."""


def first_book(live: Operated, limit_s: float, **wanted: str) -> pb.Book:
    """The first book of a stream in which the venues are in these states."""
    stream = live.daemon.stub.StreamBook(pb.StreamBookRequest(), timeout=limit_s)
    for book in stream:
        states = states_of(book)
        if all(states[venue] == state for venue, state in wanted.items()):
            stream.cancel()  # type: ignore[no-untyped-call]
            return book
    raise AssertionError(f"the stream ended before {wanted}")


def silent_ms(book: pb.Book, venue: str) -> float:
    """From a venue's last frame to the publication of this book."""
    status = next(each for each in book.venues if each.venue == venue)
    return (book.publish_time_ns - status.receive_time_ns) / 1e6


def assert_in_time(book: pb.Book, *venues: str) -> None:
    arrived_ms = (wall_ns() - book.publish_time_ns) / 1e6
    for venue in venues:
        waited_ms = silent_ms(book, venue)
        print(f"{venue} STALE {waited_ms:.0f} ms after its last frame, here {arrived_ms:.0f} later")
        assert STALE_AFTER_MS <= waited_ms < STALE_AFTER_MS + CHECK_MS + MARGIN_MS
    assert arrived_ms < MARGIN_MS


def test_both_connections_half_open(venues: Venues, live: Operated) -> None:
    """Everything has stopped: no frame, no close, no answer to a ping."""
    live.daemon.wait_for(binance="LIVE", bitstamp="LIVE")
    for venue in venues.urls:
        venues.post(venue, f"fault?order=silence:{venue}")
    both = first_book(live, 10, binance="STALE", bitstamp="STALE")
    assert not both.bids and not both.asks
    last = max(("binance", "bitstamp"), key=lambda venue: -silent_ms(both, venue))
    assert_in_time(both, last)
    # The connections are given up and made anew without anybody's help.
    live.daemon.wait_for(20, binance="LIVE", bitstamp="LIVE")


def test_one_connection_half_open(venues: Venues, live: Operated) -> None:
    live.daemon.wait_for(binance="LIVE", bitstamp="LIVE")
    venues.post("bitstamp", "fault?order=silence:bitstamp")
    book = first_book(live, 10, bitstamp="STALE")
    assert states_of(book)["binance"] == "LIVE"
    assert {level.venue for level in (*book.bids, *book.asks)} == {"binance"}
    assert_in_time(book, "bitstamp")
    live.daemon.wait_for(20, binance="LIVE", bitstamp="LIVE")


def test_markets_that_pause_on_living_connections(venues: Venues, live: Operated) -> None:
    """By data alone: pings are answered, and the same connections bring the books back."""
    live.daemon.wait_for(binance="LIVE", bitstamp="LIVE")
    known = [venues.get(venue, "/simulator/stats")["connections_total"] for venue in venues.urls]
    for venue in venues.urls:
        venues.post(venue, "pause")
    try:
        both = first_book(live, 10, binance="STALE", bitstamp="STALE")
        assert not both.bids and not both.asks
        time.sleep(0.5)
    finally:
        for venue in venues.urls:
            venues.post(venue, "resume")
    live.daemon.wait_for(20, binance="LIVE", bitstamp="LIVE")
    after = [venues.get(venue, "/simulator/stats")["connections_total"] for venue in venues.urls]
    assert after == known
