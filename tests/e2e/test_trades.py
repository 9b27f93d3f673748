"""Trades over real sockets and separate processes: venues, daemon, gateway, gRPC subscribers.

What is right is judged by a client of the venue's own, which has its texts.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import tomllib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest

from proto.pollux.v1 import market_data_pb2 as pb
from tests.e2e.rig import Daemon, Venues, daemon, free_port, settings, simulated_venues, until

pytestmark = pytest.mark.timeout(180)

TRADES_WANTED = 12
VENUES = ("binance", "bitstamp", "kraken", "coinbase", "okx", "bybit")
ALL_LIVE = dict.fromkeys(VENUES, "LIVE")
REQUESTS: dict[str, dict[str, Any]] = {
    "binance": {"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": 1},
    "bitstamp": {"event": "bts:subscribe", "data": {"channel": "live_trades_btcusd"}},
    "kraken": {"method": "subscribe", "params": {"channel": "trade", "symbol": ["BTC/USD"]}},
    "coinbase": {"type": "subscribe", "product_ids": ["BTC-USD"], "channel": "market_trades"},
    "okx": {"op": "subscribe", "args": [{"channel": "trades", "instId": "BTC-USDT"}]},
    "bybit": {"req_id": "1", "op": "subscribe", "args": ["publicTrade.BTCUSDT"]},
}
"""What a client of the venue's own asks for to have its trades."""

Told = tuple[Decimal, Decimal, int]
"""Price, amount, aggressor's side."""
LIMIT_S = 90
"""The crowd trades some times a second."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trades")


@pytest.fixture(scope="module")
def venues(folder: Path) -> Iterator[Venues]:
    with simulated_venues(folder, *(f"--venue={name}" for name in VENUES)) as running:
        yield running


@pytest.fixture(scope="module")
def live(folder: Path, venues: Venues) -> Iterator[Daemon]:
    port = free_port()
    toml = venues.toml + settings(f"trades-{port}", port, engine="trades = true")
    with daemon(folder, toml, port) as running:
        until(lambda: running.states() == ALL_LIVE, what="every venue LIVE")
        yield running


def told_by(venue: str, message: dict[str, Any]) -> list[tuple[str, str, str, bool]]:
    """Id, price, amount and whether a buyer took, of each trade in a venue's message; plain code
    of the test's own, by the venues' documents."""
    match venue:
        case "binance":
            found = [message] if message.get("e") == "trade" else []
            return [(e["t"], e["p"], e["q"], not e["m"]) for e in found]
        case "bitstamp":
            data = [message["data"]] if message["event"] == "trade" else []
            return [(e["id"], e["price_str"], e["amount_str"], e["type"] == "0") for e in data]
        case "kraken":
            data = message["data"] if message.get("channel") == "trade" else []
            return [(e["trade_id"], e["price"], e["qty"], e["side"] == "buy") for e in data]
        case "coinbase":
            events = message["events"] if message["channel"] == "market_trades" else []
            data = [trade for event in events for trade in reversed(event["trades"])]
            return [(e["trade_id"], e["price"], e["size"], e["side"] == "SELL") for e in data]
        case "okx":
            data = message.get("data", [])
            return [(e["tradeId"], e["px"], e["sz"], e["side"] == "buy") for e in data]
        case _:
            data = message.get("data", [])
            return [(e["i"], e["p"], e["v"], e["S"] == "Buy") for e in data]


@contextlib.contextmanager
def venues_own(venue: str, url: str) -> Iterator[dict[str, Told]]:
    """What the venue tells a client of its own, by the trade's id, while the block runs."""
    told: dict[str, Told] = {}
    ended, ready = threading.Event(), threading.Event()

    async def listen() -> None:
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
            await socket.send_str(json.dumps(REQUESTS[venue]))
            ready.set()
            while not ended.is_set():
                with contextlib.suppress(asyncio.TimeoutError):
                    text = await socket.receive_str(timeout=0.5)
                    for name, price, amount, is_buy in told_by(
                        venue, json.loads(text, parse_float=str, parse_int=str)
                    ):
                        side = pb.AGGRESSOR_SIDE_BUY if is_buy else pb.AGGRESSOR_SIDE_SELL
                        told[name] = Decimal(price), Decimal(amount), side

    thread = threading.Thread(target=lambda: asyncio.run(listen()), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield told
    finally:
        ended.set()
        thread.join(10)


def price_of(trade: pb.Trade) -> Decimal:
    return Decimal(trade.price_units).scaleb(-trade.price_decimals)


def amount_of(trade: pb.Trade) -> Decimal:
    return Decimal(trade.amount_units).scaleb(-trade.amount_decimals)


@pytest.mark.parametrize("venue", VENUES)
def test_a_venues_trades_come_to_a_subscriber_as_the_venue_tells_them(
    live: Daemon, venues: Venues, venue: str
) -> None:
    url = tomllib.loads(venues.toml)["venue"][venue]["ws_url"]
    with venues_own(venue, f"{url}/ws" if venue == "binance" else url) as told:
        stream = live.stub.StreamTrades(pb.StreamTradesRequest(venues=[venue]), timeout=LIMIT_S)
        trades = [trade for trade, _ in zip(stream, range(TRADES_WANTED), strict=False)]
        stream.cancel()  # type: ignore[no-untyped-call]
        newest = trades[-1].venue_trade_id
        until(lambda: newest in told, 10, "the venue's own client has the last trade")
    assert len(trades) == TRADES_WANTED
    begun = next(number for number, trade in enumerate(trades) if trade.venue_trade_id in told)
    assert begun < TRADES_WANTED // 2, "the venue's own client listened from the beginning"
    for trade in trades[begun:]:
        wanted = (price_of(trade), amount_of(trade), trade.aggressor_side)
        assert told[trade.venue_trade_id] == wanted
    ids = [trade.venue_trade_id for trade in trades[begun:]]
    assert ids == [each for each in told if int(ids[0]) <= int(each) <= int(ids[-1])], "each once"
    book = live.get()
    assert book is not None
    for before, trade in zip([None, *trades[:-1]], trades, strict=True):
        assert (trade.symbol, trade.venue, trade.lost) == ("BTC-USD", venue, 0)
        assert trade.aggressor_side in (pb.AGGRESSOR_SIDE_BUY, pb.AGGRESSOR_SIDE_SELL)
        assert trade.price == float(price_of(trade)) and trade.amount == float(amount_of(trade))
        assert 0.9 < trade.price / book.bids[0].price < 1.1 and amount_of(trade) > 0
        assert 0 <= trade.receive_time_ns - trade.venue_time_ns < 5_000_000_000
        assert 0 <= trade.book_sequence <= book.sequence
        if before is not None:
            assert trade.sequence > before.sequence
            assert int(trade.venue_trade_id) > int(before.venue_trade_id)
            assert trade.book_sequence >= before.book_sequence
    assert trades[-1].book_sequence > 0


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (pb.StreamTradesRequest(symbols=["XYZ"]), grpc.StatusCode.NOT_FOUND),
        (pb.StreamTradesRequest(venues=["gate"]), grpc.StatusCode.NOT_FOUND),
        (pb.StreamTradesRequest(last=1001), grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong(
    live: Daemon, request_: pb.StreamTradesRequest, code: grpc.StatusCode
) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        list(live.stub.StreamTrades(request_, timeout=10))
    assert refused.value.code() == code and refused.value.details()


def test_a_daemon_that_takes_no_trades_says_so(folder: Path, venues: Venues) -> None:
    port = free_port()
    with daemon(folder, venues.toml + settings(f"trades-{port}", port), port) as running:
        until(lambda: running.states() == ALL_LIVE, what="every venue LIVE")
        with pytest.raises(grpc.RpcError) as refused:
            list(running.stub.StreamTrades(pb.StreamTradesRequest(), timeout=10))
        assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED
        assert "trades = true" in (refused.value.details() or "")
