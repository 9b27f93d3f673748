"""Bitstamp's protocol over real sockets."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from net.simulator.options import SimulatorOptions
from tests.net.simulator.reference import Lab, closing, lab, pending, recorded, shape, text
from tests.net.simulator.tapes import raw_frames


def subscribe(channel: str, verb: str = "subscribe") -> dict[str, Any]:
    return {"event": f"bts:{verb}", "data": {"channel": channel}}


async def book(here: Lab, query: str) -> tuple[int, str, str]:
    """microtimestamp, ETag, text."""
    url = f"{here.bitstamp}/api/v2/order_book/btcusd/{query}"
    async with here.session.get(url) as response:
        assert response.status == 200
        body = await response.text()
        return int(json.loads(body)["microtimestamp"]), response.headers["ETag"], body


def test_subscribe_unsubscribe_heartbeat_word_for_word() -> None:
    async def main() -> None:
        async with lab() as here:
            socket = await here.session.ws_connect(here.bitstamp)
            for channel in ("diff_order_book_btcusd", "diff_order_book_nosuch"):
                await socket.send_json(subscribe(channel))
                assert await text(socket) == (
                    f'{{"event":"bts:subscription_succeeded","channel":"{channel}","data":{{}}}}'
                )
            await socket.send_json({"event": "bts:heartbeat"})
            assert await text(socket) == (
                '{"event":"bts:heartbeat","channel":"","data":{"status":"success"}}'
            )
            frame = await text(socket)
            assert list(json.loads(frame)) == ["data", "channel", "event"]
            assert frame.startswith('{"data":{"timestamp":"')
            await socket.send_json(subscribe("diff_order_book_btcusd", "unsubscribe"))
            while "unsubscription" not in (last := await text(socket)):
                pass
            assert last == (
                '{"event":"bts:unsubscription_succeeded",'
                '"channel":"diff_order_book_btcusd","data":{}}'
            )
            assert await pending(socket, 0.7) == []

    asyncio.run(main())


def test_errors_word_for_word() -> None:
    async def main() -> None:
        async with lab() as here:
            socket = await here.session.ws_connect(here.bitstamp)
            for sent, message, code in (
                ('{"event":"x"}', "Bad subscription string.", "null"),
                ('{"event":"bts:subscribe","data":{}}', "Bad subscription string.", "null"),
                ("[1]", "Bad subscription string.", "null"),
                ("nonsense", "Incorrect JSON format.", "null"),
                (json.dumps(subscribe("nosuch_btcusd")), "Invalid channel provided.", "null"),
                (
                    json.dumps(subscribe("private-my_orders_btcusd-1")),
                    "Connection is unauthorized.",
                    "4009",
                ),
            ):
                await socket.send_str(sent)
                assert await text(socket) == (
                    f'{{"event":"bts:error","channel":"","data":{{"code":{code},'
                    f'"message":"{message}"}}}}'
                )

    asyncio.run(main())


def test_frames_have_the_recorded_shape() -> None:
    path = recorded("three-venues-btcusd-20260809")
    real = {str(shape(each)) for each in raw_frames(path, "bitstamp", "diff_order_book")}
    ack = next(each for each in raw_frames(path, "bitstamp") if "diff" in each)
    assert ack.startswith('{"data":')

    async def main() -> None:
        async with lab() as here:
            socket = await here.session.ws_connect(here.bitstamp)
            await socket.send_json(subscribe("diff_order_book_btcusd"))
            await text(socket)
            for _ in range(4):
                assert str(shape(await text(socket))) in real

    asyncio.run(main())


def test_top_hundred_and_trades() -> None:
    async def main() -> None:
        async with lab(SimulatorOptions(far_levels_share=0.0, speed=20)) as here:
            socket = await here.session.ws_connect(here.bitstamp)
            for channel in ("order_book_btcusd", "live_trades_btcusd"):
                await socket.send_json(subscribe(channel))
            top = trade = None
            async with asyncio.timeout(10):
                while top is None or trade is None:
                    frame = json.loads(await text(socket))
                    if frame["event"] == "data":
                        top = frame["data"]
                    elif frame["event"] == "trade":
                        trade = frame["data"]
            assert len(top["bids"]) == len(top["asks"]) == 100
            assert float(top["bids"][0][0]) < float(top["asks"][0][0])
            assert list(trade) == [
                "id",
                "timestamp",
                "amount",
                "amount_str",
                "price",
                "price_str",
                "type",
                "microtimestamp",
                "buy_order_id",
                "sell_order_id",
            ]
            assert trade["amount"] == float(trade["amount_str"])
            assert trade["price"] == float(trade["price_str"])

    asyncio.run(main())


def test_a_client_frame_over_512_bytes_ends_the_connection() -> None:
    async def main() -> None:
        async with lab() as here:
            socket = await here.session.ws_connect(here.bitstamp)
            await socket.send_str("x" * 512)
            assert "Incorrect JSON" in await text(socket)
            await socket.send_str("x" * 513)
            assert await closing(socket) == 1009

    asyncio.run(main())


def test_request_reconnect() -> None:
    async def main() -> None:
        async with lab() as here:
            socket = await here.session.ws_connect(here.bitstamp)
            await here.control(here.bitstamp, "notice")
            assert await text(socket) == '{"event":"bts:request_reconnect","channel":"","data":""}'

    asyncio.run(main())


def test_the_edge_cache_repeats_an_answer_unless_the_nonce_differs() -> None:
    options = SimulatorOptions(far_levels_share=0.0, speed=5, rest_lag_max_s=0.0, rest_cache_s=0.5)

    async def main() -> None:
        async with lab(options) as here:
            first = await book(here, "?group=1")
            await asyncio.sleep(0.25)  # more than a second of market
            assert await book(here, "?group=1") == first
            fresh = await book(here, "?group=1&_=1")
            assert fresh[0] > first[0] and fresh[1] != first[1]
            await asyncio.sleep(0.3)
            assert (await book(here, "?group=1"))[0] > first[0]

    asyncio.run(main())


def test_a_lagging_answer_is_an_exact_earlier_book() -> None:
    """Joined to the diffs, a late snapshot still gives the true book."""

    async def main() -> None:
        async with lab(SimulatorOptions(far_levels_share=0.0, rest_lag_max_s=2.0, seed=4)) as here:
            await asyncio.sleep(1.2)
            now_us = [(await here.stats(here.bitstamp))["books"]["btcusd"]["version"]]
            lags = []
            for nonce in range(4):
                stamp, _, _ = await book(here, f"?_={nonce}")
                now_us.append((await here.stats(here.bitstamp))["books"]["btcusd"]["version"])
                lags.append((now_us[-1] - stamp) / 1e6)
            assert max(lags) > 0.2 and all(0 <= lag <= 2.5 for lag in lags)
            await here.control(here.bitstamp, "pause")
            stamp, _, _ = await book(here, "?_=paused")  # paused: no lag, no cache
            stats = await here.stats(here.bitstamp)
            assert stamp == stats["books"]["btcusd"]["version"]

    asyncio.run(main())


def test_markets_and_unknown_pairs() -> None:
    async def main() -> None:
        async with lab(SimulatorOptions(symbols=("BTC-USD", "ETH-EUR"))) as here:
            markets = await here.get(f"{here.bitstamp}/api/v2/markets/")
            assert [each["market_symbol"] for each in markets] == ["btcusd", "etheur"]
            for key, value in (
                ("base_decimals", 8),
                ("counter_decimals", 2),
                ("tick_size", "0.01"),
                ("trading", "Enabled"),
            ):
                assert markets[0][key] == value
            url = f"{here.bitstamp}/api/v2/order_book/nosuch/"
            async with here.session.get(url) as response:
                assert response.status == 404
                assert response.content_type == "text/html"
                assert "<html" in await response.text()
            _, _, body = await book(here, "?group=1")
            assert list(json.loads(body)) == ["timestamp", "microtimestamp", "bids", "asks"]

    asyncio.run(main())
