"""Binance's protocol over real sockets."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from net.simulator.options import SimulatorOptions
from tests.net.simulator.reference import closing, lab, pending, recorded, shape, text
from tests.net.simulator.tapes import raw_frames

UPDATE = (
    '{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":1,'
    '"u":2,"b":[["1.00000000","0.00000000"]],"a":[["1.00000000","0.00000000"]]}}'
)


def test_combined_and_raw_streams() -> None:
    async def main() -> None:
        async with lab() as here:
            names = "btcusdt@depth@100ms/btcusdt@bookTicker/nosuch@depth"
            combined = await here.session.ws_connect(f"{here.binance}/stream?streams={names}")
            raw = await here.session.ws_connect(f"{here.binance}/ws/btcusdt@depth@100ms")
            seen: dict[str, str] = {}
            while len(seen) < 2:
                frame = await text(combined)
                seen[json.loads(frame)["stream"]] = frame
            assert set(seen) == {"btcusdt@depth@100ms", "btcusdt@bookTicker"}
            ticker = json.loads(seen["btcusdt@bookTicker"])["data"]
            assert list(ticker) == ["u", "s", "b", "B", "a", "A"]
            frames = [await text(raw) for _ in range(3)]
            update = json.loads(frames[0])
            assert list(update) == ["e", "E", "s", "U", "u", "b", "a"]
            for price, qty in update["b"] + update["a"]:
                assert len(price.split(".")[1]) == 8 and len(qty.split(".")[1]) == 8

    asyncio.run(main())


def test_frames_have_the_recorded_shape() -> None:
    real = raw_frames(recorded("binance-btcusdt-20240808"), "binance")

    async def main() -> None:
        async with lab() as here:
            names = "btcusdt@depth@100ms/btcusdt@bookTicker/btcusdt@trade"
            socket = await here.session.ws_connect(f"{here.binance}/stream?streams={names}")
            compared: set[str] = set()
            while len(compared) < 3:
                frame = await text(socket)
                stream = json.loads(frame)["stream"]
                same = [each for each in real if f'"{stream}"' in each[:60]][:400]
                if any(shape(each) == shape(frame) for each in same):
                    compared.add(stream)
                else:
                    assert '"b":[],' in frame or '"a":[]' in frame

    asyncio.run(main())


WRONG_MESSAGES: list[tuple[Any, int, str]] = [
    (
        {"method": "SET_PROPERTY", "params": ["combined", 1], "id": 6},
        1,
        "Invalid value type: expected Boolean",
    ),
    ({"method": "GET_PROPERTY", "params": ["x"], "id": 6}, 0, "Unknown property"),
    (
        {"method": "GET_PROPERTY", "params": [7], "id": 6},
        2,
        "Invalid request: property name must be a string",
    ),
    (
        {"method": "GET_PROPERTY", "params": ["combined", 2], "id": 6},
        2,
        "Invalid request: too many parameters",
    ),
    (
        {"method": "SUBSCRIBE", "params": [], "id": 1.5},
        2,
        "Invalid request: request ID must be an unsigned integer",
    ),
    (
        {"method": "SUBSCRIBE", "params": [], "id": "x" * 37},
        2,
        "Invalid request: request ID must be an unsigned integer",
    ),
    ({"method": "NONE", "id": 6}, 2, "Invalid request: unknown variant `NONE`"),
    ({"id": 6}, 2, "Invalid request: missing field `method`"),
    ("{nonsense", 3, "Invalid JSON: expected value at line 1 column "),
]
"""A wrong control message, and how the answer's code and text must start."""


def test_control_messages() -> None:
    async def main() -> None:
        async with lab() as here:
            socket = await here.session.ws_connect(f"{here.binance}/ws")
            await here.control(here.binance, "pause")

            async def ask(request: Any) -> Any:
                await socket.send_json(request)
                await asyncio.sleep(0.21)  # below five messages a second
                return json.loads(await text(socket))

            subscribe = {
                "method": "SUBSCRIBE",
                "id": 1,
                "params": ["btcusdt@depth", "nosuch@depth@100ms"],
            }
            assert await ask(subscribe) == {"result": None, "id": 1}
            assert await ask({"method": "LIST_SUBSCRIPTIONS", "id": "abc"}) == {
                "result": ["btcusdt@depth", "nosuch@depth@100ms"],
                "id": "abc",
            }
            assert await ask(
                {"method": "UNSUBSCRIBE", "params": ["nosuch@depth@100ms"], "id": None}
            ) == {"result": None, "id": None}
            assert (await ask({"method": "LIST_SUBSCRIPTIONS", "id": 3}))["result"] == [
                "btcusdt@depth"
            ]
            get = {"method": "GET_PROPERTY", "params": ["combined"], "id": 4}
            assert await ask(get) == {"result": False, "id": 4}
            assert await ask(
                {"method": "SET_PROPERTY", "params": ["combined", True], "id": -5}
            ) == {"result": None, "id": -5}
            assert (await ask(get))["result"] is True
            for index, (request, code, start) in enumerate(WRONG_MESSAGES):
                if index % 4 == 0:  # a new connection instead of waiting
                    socket = await here.session.ws_connect(f"{here.binance}/ws")
                await socket.send_str(request if isinstance(request, str) else json.dumps(request))
                reply = json.loads(await text(socket))
                assert reply["code"] == code and reply["msg"].startswith(start), reply
                assert "result" not in reply

    asyncio.run(main())


def test_unknown_symbols_are_acknowledged_then_silent_and_unsubscribing_silences() -> None:
    async def main() -> None:
        async with lab() as here:
            socket = await here.session.ws_connect(f"{here.binance}/ws")
            await socket.send_json(
                {"method": "SUBSCRIBE", "params": ["nosuch@bookTicker"], "id": 1}
            )
            assert json.loads(await text(socket)) == {"result": None, "id": 1}
            assert await pending(socket, 0.3) == []
            await socket.send_json(
                {"method": "SUBSCRIBE", "params": ["btcusdt@depth@100ms"], "id": 2}
            )
            while "depthUpdate" not in await text(socket):
                pass
            await socket.send_json(
                {"method": "UNSUBSCRIBE", "params": ["btcusdt@depth@100ms"], "id": 3}
            )
            while "result" not in await text(socket):
                pass
            assert await pending(socket, 0.3) == []

    asyncio.run(main())


def test_microseconds_where_asked_for() -> None:
    async def main() -> None:
        async with lab() as here:
            for query, digits in (("", 13), ("&timeUnit=MICROSECOND", 16)):
                url = f"{here.binance}/stream?streams=btcusdt@depth@100ms{query}"
                socket = await here.session.ws_connect(url)
                event = json.loads(await text(socket))["data"]
                assert len(str(event["E"])) == digits
                await socket.close()

    asyncio.run(main())


def test_partial_books() -> None:
    async def main() -> None:
        async with lab() as here:
            names = "/".join(f"btcusdt@depth{n}@100ms" for n in (5, 10, 20)) + "/btcusdt@depth5"
            socket = await here.session.ws_connect(f"{here.binance}/stream?streams={names}")
            seen: dict[str, Any] = {}
            while len(seen) < 4:
                frame = json.loads(await text(socket))
                seen[frame["stream"]] = frame["data"]
            for stream, data in seen.items():
                count = int(stream.split("@")[1].removeprefix("depth"))
                assert list(data) == ["lastUpdateId", "bids", "asks"]
                assert len(data["bids"]) == len(data["asks"]) == count
                bids = [float(price) for price, _ in data["bids"]]
                asks = [float(price) for price, _ in data["asks"]]
                assert bids == sorted(bids, reverse=True) and asks == sorted(asks)
                assert bids[0] < asks[0]

    asyncio.run(main())


def test_five_messages_a_second_and_no_more() -> None:
    async def main() -> None:
        async with lab() as here:
            socket = await here.session.ws_connect(f"{here.binance}/ws", autoping=False)
            for number in range(4):
                await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": number})
            assert [json.loads(await text(socket))["id"] for _ in range(4)] == [0, 1, 2, 3]
            await socket.ping(b"counts")
            assert (await socket.receive()).type == aiohttp.WSMsgType.PONG
            await socket.pong(b"")  # the sixth
            assert await closing(socket) == 1008

    asyncio.run(main())


@pytest.mark.parametrize("answer", ["echo", "wrong", "none"])
def test_pings_must_be_answered_with_their_payload(answer: str) -> None:
    options = SimulatorOptions(far_levels_share=0.0, ping_interval_s=0.15, pong_timeout_s=0.25)

    async def main() -> None:
        async with lab(options) as here:
            socket = await here.session.ws_connect(f"{here.binance}/ws", autoping=False)
            pings = 0
            async with asyncio.timeout(5):
                while pings < 4:
                    message = await socket.receive()
                    if message.type != aiohttp.WSMsgType.PING:
                        break
                    pings += 1
                    assert message.data
                    if answer != "none":
                        await socket.pong(message.data if answer == "echo" else b"")
            assert (pings == 4) == (answer == "echo")
            if answer != "echo":
                assert socket.close_code == 1008

    asyncio.run(main())


def test_lifetime() -> None:
    async def main() -> None:
        async with lab(SimulatorOptions(far_levels_share=0.0, connection_lifetime_s=0.3)) as here:
            socket = await here.session.ws_connect(f"{here.binance}/ws")
            assert await closing(socket) == 1001

    asyncio.run(main())


def test_depth_limits_weights_and_errors() -> None:
    async def main() -> None:
        async with lab(SimulatorOptions()) as here:
            used = 0
            for limit, levels, weight in (
                ("", 100, 5),
                ("&limit=5", 5, 5),
                ("&limit=101", 101, 25),
                ("&limit=1000", 1000, 50),
                ("&limit=9999", 5000, 250),
            ):
                url = f"{here.binance}/api/v3/depth?symbol=BTCUSDT{limit}"
                async with here.session.get(url) as response:
                    body = json.loads(await response.text())
                    used += weight
                    assert response.headers["X-MBX-USED-WEIGHT-1M"] == str(used)
                assert list(body) == ["lastUpdateId", "bids", "asks"]
                assert len(body["bids"]) == len(body["asks"]) == levels
            for query, code, message in (
                ("symbol=NOSUCH", -1121, "Invalid symbol."),
                ("", -1102, "Mandatory parameter 'symbol' was not sent"),
                ("symbol=btcusdt", -1100, "Illegal characters found in parameter 'symbol'"),
                ("symbol=BTCUSDT&limit=x", -1100, "Illegal characters found in parameter"),
                ("symbol=BTCUSDT&limit=0", -1130, "Data sent for parameter 'limit'"),
            ):
                async with here.session.get(f"{here.binance}/api/v3/depth?{query}") as response:
                    body = json.loads(await response.text())
                    assert response.status == 400 and list(body) == ["code", "msg"]
                    assert body["code"] == code and body["msg"].startswith(message)

    asyncio.run(main())


def test_too_much_weight_is_429_with_retry_after() -> None:
    async def main() -> None:
        async with lab(SimulatorOptions(far_levels_share=0.0, weight_limit=12)) as here:
            url = f"{here.binance}/api/v3/depth?symbol=BTCUSDT"
            statuses = []
            for _ in range(4):
                async with here.session.get(url) as response:
                    statuses.append(response.status)
                    if response.status == 429:
                        assert 1 <= int(response.headers["Retry-After"]) <= 60
                        assert json.loads(await response.text())["code"] == -1003
            assert 429 in statuses and statuses[:2] != [429, 429]
            assert (await here.stats(here.binance))["weight_used"] >= 12

    asyncio.run(main())


def test_exchange_info_time_and_ping() -> None:
    async def main() -> None:
        async with lab(SimulatorOptions(symbols=("BTC-USD", "ETH-USD"))) as here:
            info = await here.get(f"{here.binance}/api/v3/exchangeInfo?symbol=ETHUSDT")
            (symbol,) = info["symbols"]
            assert (symbol["symbol"], symbol["baseAsset"], symbol["quoteAsset"]) == (
                "ETHUSDT",
                "ETH",
                "USDT",
            )
            filters = {each["filterType"]: each for each in symbol["filters"]}
            assert filters["PRICE_FILTER"]["tickSize"] == "0.01000000"
            assert filters["LOT_SIZE"]["stepSize"] == "0.00010000"
            assert "minNotional" in filters["NOTIONAL"]
            weights = [
                each for each in info["rateLimits"] if each["rateLimitType"] == "REQUEST_WEIGHT"
            ]
            assert weights[0]["limit"] == 6000
            both = await here.get(f"{here.binance}/api/v3/exchangeInfo")
            assert [each["symbol"] for each in both["symbols"]] == ["BTCUSDT", "ETHUSDT"]
            assert len(str((await here.get(f"{here.binance}/api/v3/time"))["serverTime"])) == 13
            assert await here.get(f"{here.binance}/api/v3/ping") == {}
            bad = f"{here.binance}/api/v3/exchangeInfo?symbol=NOSUCH"
            async with here.session.get(bad) as response:
                assert response.status == 400
                assert json.loads(await response.text())["code"] == -1121

    asyncio.run(main())


def test_notice_is_wrapped_like_the_rest() -> None:
    async def main() -> None:
        async with lab() as here:
            combined = await here.session.ws_connect(f"{here.binance}/stream?streams=x@trade")
            raw = await here.session.ws_connect(f"{here.binance}/ws")
            await here.control(here.binance, "notice")
            notice = json.loads(await text(combined))
            assert notice["stream"] == "!serverShutdown"
            assert notice["data"]["e"] == "serverShutdown"
            assert list(json.loads(await text(raw))) == ["e", "E"]

    asyncio.run(main())


def test_the_shape_helper_sees_a_change_of_order() -> None:
    assert shape(UPDATE) != shape(UPDATE.replace('"E":1,"s":"BTCUSDT"', '"s":"BTCUSDT","E":1'))
