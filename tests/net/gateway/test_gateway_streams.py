"""What subscribers of a living gateway are sent: snapshot, changes, latest value, numbers."""

from __future__ import annotations

import time
from decimal import Decimal
from functools import partial

import grpc
import pytest

from engine.compiling.jit import JIT_OFF
from engine.layout import layout as L
from engine.sharing.handoff import InstrumentInfo
from proto import orderbook_pb2
from proto.pollux.v1 import market_data_pb2 as pb
from proto.pollux.v1.market_data_pb2_grpc import MarketDataServiceStub
from tests.net.gateway.rig import (
    BTC,
    CHECKED_BY,
    ETH,
    FIXED_WINDOW,
    PATIENCE_S,
    Engine,
    Gateway,
    eventually,
    gateway_thread,
    ladder,
    status_of,
    take,
)


def test_snapshot_first_then_every_change(engine: Engine) -> None:
    engine.publish(*ladder(6_000_000))
    with gateway_thread(engine) as gateway, gateway.stubs() as (plain, exact):
        summaries = plain.BookSummary(orderbook_pb2.Empty(), timeout=PATIENCE_S)
        books = exact.StreamBook(pb.StreamBookRequest(symbols=["BTC-USD"]), timeout=PATIENCE_S)
        assert take(summaries).bids[0].price == 60_000.00
        assert take(books).sequence == 1
        for step in range(1, 20):
            sequence = engine.publish(*ladder(6_000_000 + step))
            assert take(summaries).bids[0].price == (6_000_000 + step) / 100
            assert take(books).sequence == sequence
        assert eventually(lambda: gateway.counters.sent == 40)
        assert gateway.counters.conflated == 0


def test_waits_for_the_first_book(engine: Engine) -> None:
    with gateway_thread(engine) as gateway, gateway.stubs() as (plain, exact):
        summaries = plain.BookSummary(orderbook_pb2.Empty(), timeout=PATIENCE_S)
        assert eventually(lambda: gateway.counters.subscribers == 1)
        code, text = status_of(lambda: exact.GetBook(pb.GetBookRequest(), timeout=PATIENCE_S))
        assert code is grpc.StatusCode.UNAVAILABLE
        assert "BTC-USD has no book yet" in text
        engine.publish(*ladder(500))
        assert take(summaries).bids[0].price == 5.0


def test_a_book_without_levels_is_sent_as_an_empty_summary(engine: Engine) -> None:
    engine.publish(*ladder(500))
    with gateway_thread(engine) as gateway, gateway.stubs() as (plain, exact):
        summaries = plain.BookSummary(orderbook_pb2.Empty(), timeout=PATIENCE_S)
        books = exact.StreamBook(pb.StreamBookRequest(symbols=["BTC-USD"]), timeout=PATIENCE_S)
        assert len(take(summaries).bids) == 10 and len(take(books).bids) == 10
        engine.publish(states=[L.DISCONNECTED, L.STALE])
        assert take(summaries) == orderbook_pb2.Summary()
        book = take(books)
        assert not book.bids and not book.asks and not book.HasField("spread_ticks")
        assert [venue.state for venue in book.venues] == [
            pb.VENUE_STATE_DISCONNECTED,
            pb.VENUE_STATE_STALE,
        ]


@pytest.mark.parametrize(
    ("bids", "asks", "spread"),
    [
        ([(101, 5, 0)], [], 0.0),
        ([], [(101, 5, 0)], 0.0),
        ([(101, 5, 0)], [(98, 5, 1)], -0.03),
        ([(101, 5, 0)], [(101, 5, 1)], 0.0),
        # 0.3 - 0.1 in doubles is 0.19999999999999998
        ([(10, 5, 0)], [(30, 5, 1)], 0.2),
        # beyond 2**53 ticks a double could not even tell the two prices apart
        ([(2**53, 5, 0)], [(2**53 + 1, 5, 1)], 0.01),
    ],
)
def test_spread(
    engine: Engine,
    bids: list[tuple[int, int, int]],
    asks: list[tuple[int, int, int]],
    spread: float,
) -> None:
    engine.publish(bids, asks)
    with gateway_thread(engine) as gateway, gateway.stubs() as (plain, exact):
        summary = take(plain.BookSummary(orderbook_pb2.Empty(), timeout=PATIENCE_S))
        assert summary.spread == spread
        book = exact.GetBook(pb.GetBookRequest(), timeout=PATIENCE_S)
        both = bool(bids and asks)
        assert book.HasField("spread") == book.HasField("spread_ticks") == both
        assert book.spread == spread
        assert book.crossed == (both and bids[0][0] >= asks[0][0])


def test_doubles_are_the_nearest_to_the_exact_decimals() -> None:
    engine = Engine(InstrumentInfo("X-Y", ("a",), 10, 25, 5))
    levels = [(6_183_763_007 - i, 378_826_001 + 7 * i, 0) for i in range(10)]
    try:
        engine.publish(levels, [])
        with gateway_thread(engine) as gateway, gateway.stubs() as (plain, exact):
            summary = take(plain.BookSummary(orderbook_pb2.Empty(), timeout=PATIENCE_S))
            book = exact.GetBook(pb.GetBookRequest(), timeout=PATIENCE_S)
    finally:
        engine.close()
    for (ticks, lots, _), level, exact_level in zip(levels, summary.bids, book.bids, strict=True):
        assert level.price == exact_level.price == float(Decimal(ticks * 25).scaleb(-5))
        assert level.amount == exact_level.amount == float(Decimal(lots).scaleb(-8))
        assert (exact_level.price_ticks, exact_level.amount_lots) == (ticks, lots)
    assert (book.tick_mantissa, book.tick_decimals, book.lot_decimals) == (25, 5, 8)


def test_levels_are_passed_on_in_order_and_as_many_as_there_are(engine: Engine) -> None:
    bids = [(200, 7, 1), (200, 5, 0), (199, 2**63 - 1, 0)]
    asks = [(201, 1, 1)]
    engine.publish(bids, asks)
    with gateway_thread(engine) as gateway, gateway.stubs() as (plain, exact):
        summary = take(plain.BookSummary(orderbook_pb2.Empty(), timeout=PATIENCE_S))
        assert [(each.exchange, each.price) for each in summary.bids] == [
            ("bitstamp", 2.0),
            ("binance", 2.0),
            ("binance", 1.99),
        ]
        assert len(summary.asks) == 1
        book = exact.GetBook(pb.GetBookRequest(symbol="BTC-USD", depth=2), timeout=PATIENCE_S)
        assert [(b.venue, b.price_ticks, b.amount_lots) for b in book.bids] == [
            ("bitstamp", 200, 7),
            ("binance", 200, 5),
        ]
        assert book.spread_ticks == 1 and book.trigger_venue == "binance"
        whole = exact.GetBook(pb.GetBookRequest(), timeout=PATIENCE_S)
        assert whole.bids[2].amount_lots == 2**63 - 1


def test_equal_books_are_not_sent_twice(engine: Engine) -> None:
    engine.publish(*ladder(500))
    with gateway_thread(engine) as gateway, gateway.stubs() as (plain, exact):
        summaries = plain.BookSummary(orderbook_pb2.Empty(), timeout=PATIENCE_S)
        books = exact.StreamBook(pb.StreamBookRequest(symbols=["BTC-USD"]), timeout=PATIENCE_S)
        take(summaries)
        take(books)
        for _ in range(3):
            engine.publish(*ladder(500))
            time.sleep(0.02)
        changed_state = engine.publish(*ladder(500), states=[L.LIVE, L.SYNCING])
        assert take(books).sequence == changed_state
        changed_flag = engine.publish(*ladder(500), states=[L.LIVE, L.SYNCING], flags=[1, 0])
        book = take(books)
        assert book.sequence == changed_flag
        assert [venue.incomplete for venue in book.venues] == [True, False]
        engine.publish(*ladder(600))
        assert take(summaries).bids[0].price == 6.0
        assert take(books).bids[0].price == 6.0
        assert eventually(lambda: gateway.counters.sent == 6)


def test_one_subscription_to_several_symbols(engine: Engine) -> None:
    with gateway_thread(engine) as gateway, gateway.stubs() as (_, exact):
        books = exact.StreamBook(pb.StreamBookRequest(), timeout=PATIENCE_S)
        assert eventually(lambda: gateway.counters.subscribers == 1)
        engine.publish([(7, 8, 0)], [], instrument=1)
        assert (book := take(books)).symbol == "ETH-USD" and book.bids[0].price == 0.035
        engine.publish(*ladder(500))
        assert take(books).symbol == "BTC-USD"
        engine.publish([(9, 8, 0)], [], instrument=1)
        assert take(books).bids[0].price_ticks == 9


def test_min_interval_conflates_to_the_latest(engine: Engine) -> None:
    engine.publish(*ladder(1000))
    with gateway_thread(engine) as gateway, gateway.stubs() as (_, exact):
        # Long against what a loaded machine takes for ten books.
        request = pb.StreamBookRequest(symbols=["BTC-USD"], min_interval_ms=1500)
        asked_s = time.monotonic()
        books = exact.StreamBook(request, timeout=PATIENCE_S)
        take(books)
        for step in range(1, 11):
            last = engine.publish(*ladder(1000 + step))
            time.sleep(0.005)
        assert take(books).sequence == last
        assert time.monotonic() - asked_s > 1.5
        assert eventually(lambda: gateway.counters.conflated == 9)


def test_a_slow_reader_skips_to_the_latest_and_delays_nobody(engine: Engine) -> None:
    """The slow one reads nothing for thousands of books; a fast one sees each new book."""
    steps = 1500 if JIT_OFF else 6000
    engine.publish(*ladder(1_000_000))
    patient = {"heartbeat_stale_after_ms": 60_000}
    with (
        gateway_thread(engine, **patient) as gateway,
        gateway.channel(FIXED_WINDOW) as slow_channel,
    ):
        request = pb.StreamBookRequest(symbols=["BTC-USD"])
        slow = MarketDataServiceStub(slow_channel).StreamBook(request, timeout=30)
        assert take(slow).sequence == 1
        with gateway.stubs() as (_, exact):
            fast = exact.StreamBook(request, timeout=30)
            take(fast)
            seen = 1
            for step in range(1, steps + 1):
                last = engine.publish(*ladder(1_000_000 + step))
                while seen < last - 4:
                    seen = take(fast).sequence
            while seen < last:
                seen = take(fast).sequence
        received = [1]
        while received[-1] < last:
            received.append(take(slow).sequence)
        assert received == sorted(set(received))
        # What lay in the client's window comes first, about a hundred books, then the newest.
        assert len(received) < 200, len(received)
        assert received[-1] - received[-2] > steps / 2
        wanted = steps - len(received) - 1
        assert eventually(lambda: gateway.counters.conflated >= wanted)


def test_venue_status_now_and_on_change(engine: Engine) -> None:
    with gateway_thread(engine) as gateway, gateway.stubs() as (_, exact):
        request = pb.StreamVenueStatusRequest(symbols=["BTC-USD"])
        updates = exact.StreamVenueStatus(request, timeout=PATIENCE_S)
        first = take(updates)
        assert first.sequence == 0
        assert [(v.venue, v.state) for v in first.venues] == [
            ("binance", pb.VENUE_STATE_UNSPECIFIED),
            ("bitstamp", pb.VENUE_STATE_UNSPECIFIED),
        ]
        engine.publish(*ladder(500), states=[L.LIVE, L.CONNECTING])
        assert [v.state for v in take(updates).venues] == [
            pb.VENUE_STATE_LIVE,
            pb.VENUE_STATE_CONNECTING,
        ]
        engine.publish(*ladder(501), states=[L.LIVE, L.CONNECTING])
        time.sleep(0.02)
        sequence = engine.publish(*ladder(501), states=[L.LIVE, L.LIVE])
        update = take(updates)
        assert update.sequence == sequence
        assert update.venues[1].state == pb.VENUE_STATE_LIVE
        assert update.venues[1].update_id == 1000 + sequence
        again = take(exact.StreamVenueStatus(pb.StreamVenueStatusRequest(), timeout=PATIENCE_S))
        assert [v.state for v in again.venues] == [pb.VENUE_STATE_LIVE] * 2


def test_every_state_has_its_public_name(engine: Engine) -> None:
    with gateway_thread(engine) as gateway, gateway.stubs() as (_, exact):
        for state, name in enumerate(L.STATE_NAMES):
            engine.publish(states=[state, L.LIVE])
            book = exact.GetBook(pb.GetBookRequest(), timeout=PATIENCE_S)
            assert pb.VenueState.Name(book.venues[0].state) == f"VENUE_STATE_{name}"


def test_one_encoding_for_all_subscribers(engine: Engine) -> None:
    with gateway_thread(engine) as gateway, gateway.stubs() as (plain, _):
        streams = [plain.BookSummary(orderbook_pb2.Empty(), timeout=PATIENCE_S) for _ in range(8)]
        assert eventually(lambda: gateway.counters.subscribers == 8)
        for step in range(5):
            engine.publish(*ladder(500 + step))
            for stream in streams:
                take(stream)
        assert eventually(lambda: gateway.counters.encoded == 5)
        assert eventually(lambda: gateway.counters.sent == 40)


def test_list_instruments(engine: Engine) -> None:
    with gateway_thread(engine) as gateway, gateway.stubs() as (_, exact):
        known = exact.ListInstruments(pb.ListInstrumentsRequest(), timeout=PATIENCE_S).instruments
        assert [each.symbol for each in known] == [BTC.symbol, ETH.symbol]
        assert list(known[0].venues) == list(BTC.venues)
        assert list(known[0].checked_by) == list(CHECKED_BY), "in the order of the venues"
        assert list(known[1].checked_by) == [], "nobody has said it"
        assert (known[1].depth, known[1].tick_mantissa, known[1].tick_decimals) == (5, 5, 3)
        assert known[1].lot_decimals == 8


def _first_book(exact: MarketDataServiceStub, request: pb.StreamBookRequest) -> pb.Book:
    return take(exact.StreamBook(request, timeout=PATIENCE_S))


def _exact_calls(gateway: Gateway) -> dict[str, tuple[grpc.StatusCode, str]]:
    with gateway.stubs() as (_, exact):
        wrong = {
            "depth": pb.StreamBookRequest(symbols=["ETH-USD"], depth=6),
            "negative depth": pb.StreamBookRequest(depth=-1),
            "interval": pb.StreamBookRequest(min_interval_ms=-1),
            "long interval": pb.StreamBookRequest(min_interval_ms=2**31 - 1),
            "symbol": pb.StreamBookRequest(symbols=["BTC-USD", "DOGE-USD"]),
            "long symbol": pb.StreamBookRequest(symbols=["X" * 1000]),
            "huge": pb.StreamBookRequest(symbols=["X" * 10_000] * 3),
        }
        results = {
            name: status_of(partial(_first_book, exact, request)) for name, request in wrong.items()
        }
        status = pb.StreamVenueStatusRequest(symbols=["?"])
        results["status symbol"] = status_of(
            lambda: take(exact.StreamVenueStatus(status, timeout=PATIENCE_S))
        )
        get = pb.GetBookRequest(symbol="btc-usd")
        results["get symbol"] = status_of(lambda: exact.GetBook(get, timeout=PATIENCE_S))
        get_depth = pb.GetBookRequest(depth=11)
        results["get depth"] = status_of(lambda: exact.GetBook(get_depth, timeout=PATIENCE_S))
    return results


def test_bad_requests_say_what_is_known_and_allowed(engine: Engine) -> None:
    engine.publish(*ladder(500))
    with gateway_thread(engine) as gateway:
        results = _exact_calls(gateway)
        assert gateway.counters.subscribers == 0
    invalid, not_found = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
    known = "known: BTC-USD, ETH-USD"
    assert results["depth"] == (invalid, "depth 6: must be 0 to 5, the depth of ETH-USD")
    assert results["negative depth"] == (
        invalid,
        "depth -1: must be 0 to 10, the depth of BTC-USD",
    )
    assert results["interval"] == (invalid, "min_interval_ms -1: must be 0 to 3600000")
    assert results["long interval"][0] is invalid
    assert results["symbol"] == (not_found, f"unknown symbol 'DOGE-USD'; {known}")
    assert results["long symbol"] == (not_found, f"unknown symbol {'X' * 64!r}; {known}")
    assert results["huge"][0] is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert results["status symbol"] == (not_found, f"unknown symbol '?'; {known}")
    assert results["get symbol"] == (not_found, f"unknown symbol 'btc-usd'; {known}")
    assert results["get depth"] == (invalid, "depth 11: must be 0 to 10, the depth of BTC-USD")
