"""A book kept by the documented procedure equals the venue's REST book, on both venues."""

from __future__ import annotations

import asyncio
import json

import pytest

from net.simulator.options import SimulatorOptions
from tests.net.simulator.reference import BinanceBook, BitstampBook, Lab, lab, pending, side, text


async def run_binance(here: Lab, stream: str, frames: int, limit: int) -> BinanceBook:
    book = BinanceBook()
    socket = await here.session.ws_connect(f"{here.binance}/stream?streams={stream}")
    url = f"{here.binance}/api/v3/depth?symbol=BTCUSDT&limit={limit}"
    book.on_event(json.loads(await text(socket))["data"])
    body = await here.get(url)
    while not book.on_snapshot(body):
        book.on_event(json.loads(await text(socket))["data"])
        body = await here.get(url)
    for _ in range(frames):
        book.on_event(json.loads(await text(socket))["data"])
        book.check()
    await here.control(here.binance, "pause")
    for frame in await pending(socket):
        book.on_event(json.loads(frame)["data"])
    book.check()
    return book


@pytest.mark.parametrize(
    ("stream", "speed", "frames"),
    [
        ("btcusdt@depth@100ms", 3.0, 8),
        ("btcusdt@depth@100ms", 60.0, 200),
        ("btcusdt@depth", 40.0, 20),
    ],
)
def test_binance(stream: str, speed: float, frames: int) -> None:
    async def main() -> None:
        async with lab(SimulatorOptions(speed=speed, far_levels_share=0.3)) as here:
            book = await run_binance(here, stream, frames, 5000)
            truth = await here.get(f"{here.binance}/api/v3/depth?symbol=BTCUSDT&limit=5000")
            assert truth["lastUpdateId"] == book.last
            # Beyond the first snapshot's reach a client only knows what changed since.
            bids, asks = side(truth["bids"]), side(truth["asks"])
            near = 1000
            for mine, real, best in ((book.bids, bids, max), (book.asks, asks, min)):
                order = sorted(real, reverse=best is max)[:near]
                assert sorted(mine, reverse=best is max)[:near] == order
                assert all(mine[price] == real[price] for price in order)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("speed", "frames", "lag"), [(3.0, 3, 0.5), (40.0, 40, 0.5), (40.0, 30, 5.0)]
)
def test_bitstamp(speed: float, frames: int, lag: float) -> None:
    async def main() -> None:
        options = SimulatorOptions(speed=speed, rest_lag_max_s=lag, seed=9)
        async with lab(options) as here:
            await asyncio.sleep(0.1)
            book = BitstampBook()
            socket = await here.session.ws_connect(here.bitstamp)
            await socket.send_json(
                {"event": "bts:subscribe", "data": {"channel": "diff_order_book_btcusd"}}
            )
            await text(socket)
            nonce = 0
            while not book.joined:
                book.on_event(json.loads(await text(socket))["data"])
                nonce += 1
                book.on_snapshot(
                    await here.get(f"{here.bitstamp}/api/v2/order_book/btcusd/?group=1&_={nonce}")
                )
            for _ in range(frames):
                book.on_event(json.loads(await text(socket))["data"])
                book.check()
            await here.control(here.bitstamp, "pause")
            for frame in await pending(socket):
                book.on_event(json.loads(frame)["data"])
            truth = await here.get(f"{here.bitstamp}/api/v2/order_book/btcusd/?group=1")
            assert int(truth["microtimestamp"]) == book.last
            assert (book.bids, book.asks) == (side(truth["bids"]), side(truth["asks"]))
            assert len(book.bids) > 2000 and len(book.asks) > 2000

    asyncio.run(main())


def test_two_symbols_on_one_connection() -> None:
    async def main() -> None:
        async with lab(
            SimulatorOptions(symbols=("BTC-USD", "ETH-USD"), speed=5, far_levels_share=0.0)
        ) as here:
            names = ("btcusdt@depth@100ms", "ethusdt@depth@100ms")
            socket = await here.session.ws_connect(
                f"{here.binance}/stream?streams={'/'.join(names)}"
            )
            last: dict[str, int] = {}
            for _ in range(30):
                frame = json.loads(await text(socket))
                data = frame["data"]
                assert frame["stream"].startswith(data["s"].lower())
                assert data["U"] == last.get(data["s"], data["U"] - 1) + 1
                last[data["s"]] = data["u"]
            assert len(last) == 2

    asyncio.run(main())
