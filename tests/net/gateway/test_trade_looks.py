"""What subscribers of trades cost a gateway that has nothing to tell them, and who wakes them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import grpc
import pytest

from engine.layout import layout as L
from engine.sharing import trades_layout as TL
from engine.sharing.segment import read_word
from engine.sharing.trades_ring import Trade, TradesReader, TradesWriter
from net.gateway.trades import TRADES_LOOK_S
from proto.pollux.v1 import market_data_pb2 as pb
from proto.pollux.v1.market_data_pb2_grpc import MarketDataServiceStub
from tests.net.gateway.rig import PATIENCE_S, Beating, gateway_thread, status_of, take

TRADE = Trade(
    venue=0, side=TL.BUY, price=(105, 2), amount=(1, 8), venue_ns=17, receive_ns=19,
    book_sequence=7, venue_id="t",
)  # fmt: skip
SUBSCRIBERS = 15
"""Of one client: it may have 16 calls at once where 64 are served."""
LOOK_FOR_S = 1.0


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


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When a gateway in this process has looked how many trades there are."""
    times: list[float] = []

    def written(reader: TradesReader) -> int:
        times.append(time.monotonic())
        return read_word(reader.words, TL.WRITTEN)

    monkeypatch.setattr(TradesReader, "written", property(written))
    return times


@contextlib.contextmanager
def subscribers(engine: Beating, count: int) -> Iterator[list[Any]]:
    """So many streams of a gateway, all open."""
    with gateway_thread(engine) as gateway, gateway.channel() as channel:
        stub = MarketDataServiceStub(channel)
        streams = [stub.StreamTrades(pb.StreamTradesRequest(), timeout=60) for _ in range(count)]
        for stream in streams:
            stream.initial_metadata()
        yield streams


def test_many_who_wait_cost_no_more_looks_than_one(
    engine: Beating, writer: TradesWriter, looks: list[float]
) -> None:
    with subscribers(engine, SUBSCRIBERS):
        looks.clear()
        begun_s = time.monotonic()
        threading.Event().wait(LOOK_FOR_S)
        count, took_s = len(looks), time.monotonic() - begun_s
    assert 0 < count < 2 * took_s / TRADES_LOOK_S


def test_nobody_looks_when_the_last_one_has_left(
    engine: Beating, writer: TradesWriter, looks: list[float]
) -> None:
    with subscribers(engine, 2) as streams:
        for stream in streams:
            stream.cancel()
        threading.Event().wait(LOOK_FOR_S)
        looks.clear()
        threading.Event().wait(LOOK_FOR_S / 2)
        assert looks == []


def test_each_who_waits_has_each_trade_again_and_again(
    engine: Beating, writer: TradesWriter
) -> None:
    with subscribers(engine, SUBSCRIBERS) as streams:
        for number in range(1, 31):
            writer.put(number % 2, replace(TRADE, venue_id=f"t{number}"))
            if number % 3 == 0:  # some come together, and some after all wait again
                threading.Event().wait(2 * TRADES_LOOK_S)
        for stream in streams:
            told: list[pb.Trade] = [take(stream) for _ in range(30)]
            assert {trade.venue_trade_id for trade in told} == {f"t{n}" for n in range(1, 31)}
            for symbol in ("BTC-USD", "ETH-USD"):
                of_one = [trade for trade in told if trade.symbol == symbol]
                assert [trade.sequence for trade in of_one] == list(range(1, 16))
                assert not any(trade.lost for trade in of_one)


def test_all_who_wait_are_told_that_the_engine_has_stopped(
    engine: Beating, writer: TradesWriter
) -> None:
    with subscribers(engine, SUBSCRIBERS) as streams:
        engine.writer.set_engine_state(L.ENGINE_IS_STOPPED)
        begun_s = time.monotonic()
        for stream in streams:
            code, text = status_of(partial(list, stream))
            assert (code, text) == (grpc.StatusCode.UNAVAILABLE, "the engine has stopped")
        assert time.monotonic() - begun_s < PATIENCE_S
