"""What subscribers of trades are sent by a living gateway: each once, or how many they lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import grpc
import pytest

from engine.sharing import trades_layout as TL
from engine.sharing.trades_ring import Trade, TradesWriter
from proto.pollux.v1 import market_data_pb2 as pb
from proto.pollux.v1.market_data_pb2_grpc import MarketDataServiceStub
from tests.net.gateway.rig import (
    FIXED_WINDOW,
    PATIENCE_S,
    Beating,
    eventually,
    gateway_thread,
    status_of,
    take,
)

TRADE = Trade(
    venue=0, side=TL.SELL, price=(6_400_012_345, 5), amount=(12, 8), venue_ns=17, receive_ns=19,
    book_sequence=7, venue_id="t1",
)  # fmt: skip


@pytest.fixture
def engine() -> Iterator[Beating]:
    beating = Beating()
    yield beating
    beating.close()


@pytest.fixture
def writer(engine: Beating) -> Iterator[TradesWriter]:
    trades = TradesWriter(engine.name, len(engine.instruments))
    yield trades
    trades.close()


def test_a_trade_is_sent_with_all_that_is_known_of_it(
    engine: Beating, writer: TradesWriter
) -> None:
    writer.put(0, TRADE)
    with gateway_thread(engine) as gateway, gateway.stubs() as (_, stub):
        stream = stub.StreamTrades(pb.StreamTradesRequest(last=1), timeout=PATIENCE_S)
        assert take(stream) == pb.Trade(
            symbol="BTC-USD", venue="binance", aggressor_side=pb.AGGRESSOR_SIDE_SELL,
            price=64000.12345, amount=1.2e-7, price_units=6_400_012_345, price_decimals=5,
            amount_units=12, amount_decimals=8, venue_time_ns=17, receive_time_ns=19,
            venue_trade_id="t1", book_sequence=7, sequence=1,
        )  # fmt: skip


def test_who_subscribes_has_what_comes_from_then_on_of_what_it_wants(
    engine: Beating, writer: TradesWriter
) -> None:
    writer.put(0, TRADE)
    with gateway_thread(engine) as gateway, gateway.stubs() as (_, stub):
        requests = {
            "all": pb.StreamTradesRequest(),
            "eth": pb.StreamTradesRequest(symbols=["ETH-USD"]),
            "binance": pb.StreamTradesRequest(venues=["binance"]),
        }
        streams = {name: stub.StreamTrades(each, timeout=20) for name, each in requests.items()}
        for stream in streams.values():
            stream.initial_metadata()
        writer.put(0, replace(TRADE, venue=1, venue_id="of bitstamp"))
        writer.put(1, replace(TRADE, venue=0, venue_id="of bitstamp's eth"))
        writer.put(0, replace(TRADE, venue=0, venue_id="of binance"))
        wanted = {
            "all": {"of bitstamp", "of bitstamp's eth", "of binance"},
            "eth": {"of bitstamp's eth"},
            "binance": {"of binance"},
        }
        for name, ids in wanted.items():
            assert {take(streams[name]).venue_trade_id for _ in ids} == ids
        assert gateway.counters.trades_lost == 0


def test_a_slow_reader_loses_the_oldest_and_is_told_how_many(
    engine: Beating, writer: TradesWriter
) -> None:
    count = 6 * TL.TRADES_MAX
    with gateway_thread(engine) as gateway, gateway.channel(FIXED_WINDOW) as channel:
        stub = MarketDataServiceStub(channel)
        stream = stub.StreamTrades(pb.StreamTradesRequest(), timeout=30)
        stream.initial_metadata()
        sent_at_last = -1
        for number in range(1, count + 1):
            writer.put(0, replace(TRADE, venue_id=f"t{number}" + "x" * 30))
            if number % 500 == 0:  # what it takes into its window, and then no more
                threading.Event().wait(0.1)
        assert eventually(lambda: gateway.counters.sent > 0)
        assert sent_at_last < gateway.counters.sent < count
        seen = before = lost = 0
        while before < count:
            trade = take(stream)
            assert trade.sequence == before + 1 + trade.lost, "each is sent, or said to be lost"
            assert trade.venue_trade_id.startswith(f"t{trade.sequence}x")
            seen, before, lost = seen + 1, trade.sequence, lost + trade.lost
        assert lost > 0 and seen + lost == count
        assert gateway.counters.trades_lost == lost


def test_a_stream_of_trades_ends_with_the_engine(engine: Beating, writer: TradesWriter) -> None:
    with gateway_thread(engine) as gateway, gateway.stubs() as (_, stub):
        stream = stub.StreamTrades(pb.StreamTradesRequest(), timeout=PATIENCE_S)
        stream.initial_metadata()
        engine.writer.set_engine_state(2)
        code, text = status_of(lambda: list(stream))
        assert (code, text) == (grpc.StatusCode.UNAVAILABLE, "the engine has stopped")
