"""Binance's WebSocket API over real sockets: orders, refusals, events, faults."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from itertools import groupby
from typing import Any

from net.simulator.binance.orders.requests import OrderCount, Params
from net.simulator.options import SimulatorOptions
from net.simulator.orders.accounts import ApiKey
from tests.net.simulator.binance.client import (
    ED25519_KEY,
    KEY,
    MAKER,
    REST,
    SECRET,
    Client,
    ed25519_signature,
    events_of,
    hmac_signature,
    options,
    run,
    touch,
)
from tests.net.simulator.reference import Lab

# --- signatures, sessions, the clock -------------------------------------------------------------


def test_the_published_signing_example_is_accepted() -> None:
    example = {
        "symbol": "BTCUSDT",
        "side": "SELL",
        "type": "LIMIT",
        "timeInForce": "GTC",
        "quantity": "0.01000000",
        "price": "52000.00",
        "recvWindow": "100",
        "timestamp": "1645423376532",
        "apiKey": KEY,
    }
    signature = "aa1b5712c094bc4e57c05a1a5c1fd8d88dcd628338ea863fec7b88e59fe2db24"
    key = ApiKey(KEY, SECRET)
    payload = Params({**example, "signature": signature}).payload()
    assert key.signs(payload, signature) and key.signs(payload, signature.upper())
    assert not key.signs(payload.replace(b"52000", b"52001"), signature)


def test_ping_time_and_what_is_no_request() -> None:
    async def test(here: Lab, it: Client) -> None:
        assert (await it.call("ping"))["result"] == {}
        answer = await it.call("v3/time")
        assert answer["status"] == 200 and answer["rateLimits"][0]["limit"] == 6000
        served = await here.get(f"{here.binance}/api/v3/time")
        assert 0 <= served["serverTime"] - answer["result"]["serverTime"] < 2_000
        assert (await it.call("no.such"))["error"]["code"] == -1020
        bare = await it.call("ping", {"returnRateLimits": False})
        assert "rateLimits" not in bare
        for text in ("{", "[]", '"x"', '{"id":5,"method":"ping","params":[]}'):
            await it.socket.send_str(text)
            assert (await it.read())["status"] == 400
        await it.socket.send_str('{"id":"a-7","method":"ping"}')
        assert (await it.read())["id"] == "a-7"

    run(test)


def test_a_bad_signature_key_or_time_is_refused() -> None:
    async def test(here: Lab, it: Client) -> None:
        async def code(change: dict[str, Any], resign: bool = False) -> tuple[int, int]:
            params = await it.params() | change
            if resign:
                del params["signature"]
                params["signature"] = hmac_signature(params)
            answer = await it.call("account.status", params)
            return answer["status"], answer["error"]["code"]

        assert await code({"signature": "00"}) == (400, -1022)
        assert await code({"recvWindow": 4999}) == (400, -1022)  # not what was signed
        assert await code({"apiKey": "x" * 64}) == (401, -2015)
        assert await code({"apiKey": "no key!"}) == (401, -2014)
        now = await it.now_ms()
        assert await code({"timestamp": now - 6_000}, True) == (400, -1021)
        assert await code({"timestamp": now - 500, "recvWindow": 100}, True) == (400, -1021)
        assert await code({"timestamp": now + 3_000}, True) == (400, -1021)
        assert await code({"recvWindow": 60_001}, True) == (400, -1131)
        assert await code({"timestamp": "yesterday"}, True) == (400, -1100)
        answer = await it.call("account.status", {"timestamp": now})
        assert answer["error"]["code"] == -1102
        microseconds = await it.signed("account.status", timestamp=(await it.now_ms()) * 1000)
        assert microseconds["status"] == 200

    run(test)


def test_a_session_signs_once_and_still_needs_the_time() -> None:
    async def test(here: Lab, it: Client) -> None:
        answer = await it.call("userDataStream.subscribe")
        assert answer["status"] == 401
        params: dict[str, Any] = {"apiKey": ED25519_KEY, "timestamp": await it.now_ms()}
        wrong = await it.call("session.logon", {**params, "signature": "AAAA"})
        assert wrong["error"]["code"] == -1022
        by_hmac = await it.signed("session.logon")
        assert by_hmac["status"] == 400
        params["signature"] = ed25519_signature(params)
        answer = await it.call("session.logon", params)
        assert answer["result"]["apiKey"] == ED25519_KEY
        assert not answer["result"]["userDataStream"]
        answer = await it.call("account.status", {"timestamp": await it.now_ms()})
        assert answer["status"] == 200
        assert (await it.call("account.status"))["error"]["code"] == -1102
        assert (await it.call("userDataStream.subscribe"))["result"] == {"subscriptionId": 0}
        again = await it.call("userDataStream.subscribe")
        assert again["error"]["code"] == -2035
        listed = await it.call("session.subscriptions")
        assert listed["result"] == [{"subscriptionId": 0}]
        assert (await it.call("session.status"))["result"]["userDataStream"]
        await it.call("session.logout")
        assert (await it.call("session.subscriptions"))["result"] == []
        answer = await it.call("account.status", {"timestamp": await it.now_ms()})
        assert answer["error"]["code"] == -1102
        answer = await it.call("userDataStream.unsubscribe")
        assert answer["error"]["code"] == -2036

    run(test)


# --- orders --------------------------------------------------------------------------------------


def test_a_resting_order_locks_money_and_a_cancel_frees_it() -> None:
    async def test(here: Lab, it: Client) -> None:
        await it.follow()
        bid, *_ = await touch(here)
        price = f"{bid - 10:.2f}"
        placed = await it.result(
            "order.place", **REST, price=price, quantity="0.01000000", newClientOrderId="mm-1"
        )
        assert placed["status"] == "NEW" and placed["fills"] == []
        assert placed["price"] == f"{bid - 10:.8f}" and placed["executedQty"] == "0.00000000"
        held = Decimal(price) * Decimal("0.01")
        account = await it.result("account.status", omitZeroBalances=True)
        usdt = next(each for each in account["balances"] if each["asset"] == "USDT")
        assert Decimal(usdt["locked"]) == held
        assert Decimal(usdt["free"]) == 1_000_000 - held
        assert account["commissionRates"]["maker"] == "0.00100000"
        told = await it.result("account.commission", symbol="BTCUSDT")
        assert told["symbol"] == "BTCUSDT" and told["standardCommission"]["maker"] == "0.00100000"
        found = await it.result("order.status", symbol="BTCUSDT", origClientOrderId="mm-1")
        assert found["orderId"] == placed["orderId"] and found["isWorking"]
        listed = await it.result("openOrders.status", symbol="BTCUSDT")
        assert listed == [found]
        gone = await it.result(
            "order.cancel", symbol="BTCUSDT", orderId=placed["orderId"], newClientOrderId="c-1"
        )
        assert (gone["origClientOrderId"], gone["clientOrderId"]) == ("mm-1", "c-1")
        assert gone["status"] == "CANCELED"
        await it.quiet()
        assert events_of(it) == [
            ("NEW", "NEW", "0.00000000"),
            ("CANCELED", "CANCELED", "0.00000000"),
        ]
        new, canceled = it.reports()
        assert (new["c"], new["C"], new["w"]) == ("mm-1", "", True)
        assert (canceled["c"], canceled["C"], canceled["w"]) == ("c-1", "mm-1", False)
        assert [event["e"] for event in it.events] == [
            "executionReport",
            "outboundAccountPosition",
        ] * 2
        free = {each["a"]: each["f"] for each in it.events[-1]["B"]}
        assert free == {"BTC": "10.00000000", "USDT": "1000000.00000000"}

    run(test)


def test_a_taking_order_fills_pays_and_leaves_the_public_book() -> None:
    async def test(here: Lab, it: Client) -> None:
        await it.follow()
        stream = await here.session.ws_connect(
            f"{here.binance}/stream?streams=btcusdt@trade/btcusdt@depth@100ms"
        )
        await it.call("ping")  # by now the streams are subscribed
        _, _, ask, asks = await touch(here)
        quantity = f"{asks:.8f}"
        placed = await it.result(
            "order.place", **REST | {"timeInForce": "IOC"}, price=f"{ask:.2f}", quantity=quantity
        )
        assert placed["status"] == "FILLED"
        (fill,) = placed["fills"]
        assert (Decimal(fill["price"]), Decimal(fill["qty"])) == (ask, asks)
        assert fill["commissionAsset"] == "BTC"
        assert Decimal(fill["commission"]) == (asks / 1000).quantize(Decimal("1e-8"), "ROUND_DOWN")
        assert Decimal(placed["cummulativeQuoteQty"]) == ask * asks
        (trade,) = await it.result("myTrades", symbol="BTCUSDT", orderId=placed["orderId"])
        assert trade["id"] == fill["tradeId"] and trade["isBuyer"] and not trade["isMaker"]
        assert (await touch(here))[2] > ask
        streams: set[str] = set()
        while len(streams) < 2:
            message = await asyncio.wait_for(stream.receive_json(), 5)
            streams.add(message["stream"])
        await it.quiet()
        assert [x for x, _, _ in events_of(it)] == ["NEW", "TRADE"]
        report = it.reports()[-1]
        assert (report["t"], report["m"], report["n"]) == (trade["id"], False, fill["commission"])
        account = await it.result("account.status")
        balances = {each["asset"]: Decimal(each["free"]) for each in account["balances"]}
        assert balances["BTC"] == 10 + asks - Decimal(fill["commission"])
        assert balances["USDT"] == 1_000_000 - ask * asks

    run(test)


def test_ioc_fok_and_market_orders_end_as_they_should() -> None:
    async def test(here: Lab, it: Client) -> None:
        await it.follow()
        _, _, ask, asks = await touch(here)
        more = f"{asks + 1:.5f}"
        base = REST | {"price": f"{ask:.2f}", "quantity": more}
        fok = await it.result("order.place", **base | {"timeInForce": "FOK"})
        assert (fok["status"], fok["executedQty"]) == ("EXPIRED", "0.00000000")
        ioc = await it.result("order.place", **base | {"timeInForce": "IOC"})
        assert ioc["status"] == "EXPIRED" and Decimal(ioc["executedQty"]) == asks
        bought = await it.result(
            "order.place", symbol="BTCUSDT", side="BUY", type="MARKET", quoteOrderQty="500"
        )
        assert bought["status"] == "FILLED"
        assert 490 < Decimal(bought["cummulativeQuoteQty"]) <= 500
        sold = await it.result(
            "order.place",
            symbol="BTCUSDT",
            side="SELL",
            type="MARKET",
            quantity="0.01",
            newOrderRespType="ACK",
        )
        assert list(sold)[-1] == "transactTime"
        await it.quiet()
        happened = [what for what, _ in groupby(x for x, _, _ in events_of(it))]
        assert happened == [
            "NEW", "EXPIRED", "NEW", "TRADE", "EXPIRED", "NEW", "TRADE", "NEW", "TRADE",
        ]  # fmt: skip
        assert [e["eR"] for e in it.reports() if e["x"] == "EXPIRED"] == [
            "UNFILLED_FOK_ORDER_EXPIRED",
            "UNFILLED_IOC_QUANTITY_EXPIRED",
        ]

    run(test)


def test_every_refusal_has_its_code() -> None:
    async def test(here: Lab, it: Client) -> None:
        bid, _, ask, _ = await touch(here)
        good = REST | {"price": f"{bid - 5:.2f}", "quantity": "0.01", "newClientOrderId": "a"}
        await it.result("order.place", **good)

        async def code(**change: Any) -> tuple[int, str]:
            params = {k: v for k, v in {**good, **change}.items() if v is not None}
            status, found, text = await it.refused("order.place", **params)
            assert status == 400
            return found, text

        assert await code() == (-2010, "Duplicate order sent.")
        assert await code(
            type="LIMIT_MAKER", timeInForce=None, price=f"{ask:.2f}", newClientOrderId="b"
        ) == (-2010, "Order would immediately match and take.")
        poor = "Account has insufficient balance for requested action."
        assert await code(quantity="900", newClientOrderId="b") == (-2010, poor)
        assert await code(price=f"{bid}1"[:-8] + "001") == (-1013, "Filter failure: PRICE_FILTER")
        assert await code(quantity="0.000001") == (-1013, "Filter failure: LOT_SIZE")
        assert await code(quantity="0.00001") == (-1013, "Filter failure: NOTIONAL")
        assert await code(price="1.00") == (-1013, "Filter failure: PERCENT_PRICE_BY_SIDE")
        assert (await code(price="60000.123456789"))[0] == -1111
        assert (await code(price=None))[0] == -1102
        assert (await code(quantity="-1"))[0] == -1102
        assert (await code(symbol="NOSUCH"))[0] == -1121
        assert (await code(side="HOLD"))[0] == -1117
        assert (await code(type="STOP_LOSS"))[0] == -1116
        assert (await code(timeInForce="GTX"))[0] == -1115
        assert (await code(type="LIMIT_MAKER"))[0] == -1106
        assert (await code(icebergQty="1"))[0] == -1104
        assert (await code(newClientOrderId="no spaces"))[0] == -1100
        assert (await code(selfTradePreventionMode="TRANSFER"))[0] == -1013
        unknown = {"symbol": "BTCUSDT", "orderId": 1}
        assert await it.refused("order.cancel", **unknown) == (400, -2011, "Unknown order sent.")
        assert await it.refused("order.status", **unknown) == (
            400,
            -2013,
            "Order does not exist.",
        )
        listed = await it.result("openOrders.status")
        assert len(listed) == 1
        number = listed[0]["orderId"]
        mixed = {"symbol": "BTCUSDT", "orderId": number, "origClientOrderId": "z"}
        assert (await it.refused("order.cancel", **mixed))[1] == -2039
        restricted = {
            "symbol": "BTCUSDT",
            "orderId": number,
            "cancelRestrictions": "ONLY_PARTIALLY_FILLED",
        }
        assert (await it.refused("order.cancel", **restricted))[1] == -2011
        amend = {"symbol": "BTCUSDT", "orderId": number, "newQty": "0.02"}
        assert (await it.refused("order.amend.keepPriority", **amend))[1] == -2038
        assert (await it.result("order.test", **good | {"newClientOrderId": "t"})) == {}
        assert len(await it.result("openOrders.status")) == 1
        gone = await it.result("openOrders.cancelAll", symbol="BTCUSDT")
        assert [each["orderId"] for each in gone] == [number]
        assert (await it.refused("openOrders.cancelAll", symbol="BTCUSDT"))[1] == -2011
        await it.result("order.place", **good)  # the name is free again

    run(test)


def test_amending_keeps_the_place_and_frees_the_difference() -> None:
    async def test(here: Lab, it: Client) -> None:
        await it.follow()
        bid, *_ = await touch(here)
        desk = here.venues.server("binance").orders.desk  # type: ignore[attr-defined]
        order = REST | {"price": f"{bid:.2f}", "quantity": "0.02"}
        number = (await it.result("order.place", **order))["orderId"]
        ahead = desk.market("BTCUSDT").orders[number].ahead_lots
        assert ahead > 0
        answer = await it.result(
            "order.amend.keepPriority", symbol="BTCUSDT", orderId=number, newQty="0.01"
        )
        assert answer["amendedOrder"]["qty"] == "0.01000000"
        assert desk.market("BTCUSDT").orders[number].ahead_lots == ahead
        await it.quiet()
        assert events_of(it)[-1][:2] == ("REPLACED", "NEW")
        assert it.reports()[-1]["I"] == answer["executionId"]
        locked = {each["a"]: each["l"] for each in it.events[-1]["B"]}
        assert Decimal(locked["USDT"]) == bid * Decimal("0.01")

    run(test)


# --- cancel-replace ------------------------------------------------------------------------------


def test_cancel_replace_in_all_its_outcomes() -> None:
    async def test(here: Lab, it: Client) -> None:
        bid, *_ = await touch(here)
        order = REST | {"price": f"{bid - 5:.2f}", "quantity": "0.01"}
        first = (await it.result("order.place", **order))["orderId"]
        both = await it.result(
            "order.cancelReplace",
            **order,
            cancelReplaceMode="STOP_ON_FAILURE",
            cancelOrderId=first,
            newClientOrderId="second",
        )
        assert both["cancelResult"] == both["newOrderResult"] == "SUCCESS"
        assert both["cancelResponse"]["orderId"] == first
        assert both["newOrderResponse"]["clientOrderId"] == "second"

        async def failed(**change: Any) -> tuple[int, int, str, str]:
            answer = await it.signed("order.cancelReplace", **order | change)
            data = answer["error"]["data"]
            return (
                answer["status"],
                answer["error"]["code"],
                data["cancelResult"],
                data["newOrderResult"],
            )

        stop = {"cancelReplaceMode": "STOP_ON_FAILURE", "cancelOrderId": first}
        assert await failed(**stop) == (400, -2022, "FAILURE", "NOT_ATTEMPTED")
        allow = {"cancelReplaceMode": "ALLOW_FAILURE", "cancelOrderId": first}
        assert await failed(**allow) == (409, -2021, "FAILURE", "SUCCESS")
        assert await failed(**allow, quantity="900") == (400, -2022, "FAILURE", "FAILURE")
        half = {"cancelReplaceMode": "ALLOW_FAILURE", "cancelOrigClientOrderId": "second"}
        # The cancel stands although the new order fails: not atomic.
        assert await failed(**half, quantity="900") == (409, -2021, "SUCCESS", "FAILURE")
        left = await it.result("openOrders.status")
        assert len(left) == 1 and left[0]["clientOrderId"] != "second"
        # Filters are looked at before anything is cancelled.
        status, code, _ = await it.refused(
            "order.cancelReplace",
            **order | {"quantity": "0.00001"},
            cancelReplaceMode="ALLOW_FAILURE",
            cancelOrderId=left[0]["orderId"],
        )
        assert (status, code) == (400, -1013)
        assert await it.result("openOrders.status") == left

    run(test)


# --- limits --------------------------------------------------------------------------------------


def test_the_order_count_fills_up_and_says_until_when() -> None:
    async def test(here: Lab, it: Client) -> None:
        bid, *_ = await touch(here)
        order = REST | {"price": f"{bid - 5:.2f}", "quantity": "0.01"}
        while (await it.now_ms()) % 10_000 > 5_000:
            await asyncio.sleep(0.1)
        numbers = [(await it.result("order.place", **order))["orderId"] for _ in range(3)]
        await it.result("order.cancel", symbol="BTCUSDT", orderId=numbers[0])  # gives nothing back
        answer = await it.signed("order.place", **order)
        assert (answer["status"], answer["error"]["code"]) == (429, -1015)
        assert answer["error"]["data"]["retryAfter"] % 10_000 == 0
        counts = {each["interval"]: each["count"] for each in answer["rateLimits"]}
        assert (counts["SECOND"], counts["DAY"]) == (3, 3)
        replace = {"cancelReplaceMode": "STOP_ON_FAILURE", "cancelOrderId": numbers[1]}
        assert (await it.refused("order.cancelReplace", **order, **replace))[:2] == (429, -1015)
        only = {"orderRateLimitExceededMode": "CANCEL_ONLY"}
        answer = await it.signed("order.cancelReplace", **order, **replace, **only)
        assert answer["status"] == 429
        assert answer["error"]["data"]["cancelResult"] == "SUCCESS"
        rows = await it.result("account.rateLimits.orders")
        assert [each["limit"] for each in rows] == [3, 200_000]
        assert len(await it.result("openOrders.status")) == 1
        info = await here.get(f"{here.binance}/api/v3/exchangeInfo")
        assert info["rateLimits"][1]["limit"] == 3

    run(test, options(orders_10s_max=3))


def test_a_fill_gives_the_count_back_and_a_window_ends() -> None:
    count = OrderCount(2, 100)
    count.add(0)
    count.add(0, -5)
    assert [row["count"] for row in count.rows(0)] == [0, 0]
    count.add(0, 2)
    assert [row["count"] for row in count.rows(9_999_999_999)] == [2, 2]
    assert [row["count"] for row in count.rows(10_000_000_000)] == [0, 2]


def test_done_orders_weigh_nothing_and_failed_ones_do() -> None:
    async def test(here: Lab, it: Client) -> None:
        async def weight() -> int:
            answer = await it.call("ping")
            found: int = answer["rateLimits"][0]["count"]
            return found

        bid, *_ = await touch(here)
        before = await weight()
        params = await it.params(**REST, price=f"{bid - 5:.2f}", quantity="0.01")
        await it.call("order.place", params)
        assert await weight() == before + 2  # time and ping
        await it.call("order.cancel", await it.params(symbol="BTCUSDT", orderId=1))
        assert await weight() == before + 2 + 3

    run(test)


# --- a market that moves -------------------------------------------------------------------------


def test_quotes_in_a_running_market_fill_as_maker_and_add_up() -> None:
    async def test(here: Lab, it: Client) -> None:
        await it.follow()
        for _ in range(60):
            bid, _, ask, _ = await touch(here)
            for side, price in (("BUY", bid), ("SELL", ask)):
                await it.signed(
                    "order.place", **MAKER, side=side, price=f"{price:.2f}", quantity="0.01"
                )
            await asyncio.sleep(0.05)
            if sum(e["x"] == "TRADE" and e["m"] for e in it.reports()) >= 3:
                break
        await it.signed("openOrders.cancelAll", symbol="BTCUSDT")
        await it.quiet()
        trades = [event for event in it.reports() if event["x"] == "TRADE"]
        assert len(trades) >= 3 and all(event["m"] for event in trades)
        listed = await it.result("myTrades", symbol="BTCUSDT")
        assert [each["id"] for each in listed] == [event["t"] for event in trades]
        later = await it.result("myTrades", symbol="BTCUSDT", fromId=trades[1]["t"], limit=1)
        assert [each["id"] for each in later] == [trades[1]["t"]]
        numbers = [event["I"] for event in it.reports()]
        assert numbers == sorted(set(numbers))
        base, quote = Decimal(10), Decimal(1_000_000)
        for event in trades:
            sign = 1 if event["S"] == "BUY" else -1
            base += sign * Decimal(event["l"])
            quote -= sign * Decimal(event["Y"])
            assert event["N"] == ("BTC" if sign > 0 else "USDT")
            if sign > 0:
                base -= Decimal(event["n"])
            else:
                quote -= Decimal(event["n"])
        account = await it.result("account.status")
        balances = {each["asset"]: each for each in account["balances"]}
        assert Decimal(balances["BTC"]["free"]) == base
        assert Decimal(balances["USDT"]["free"]) == quote
        assert Decimal(balances["USDT"]["locked"]) == 0

    run(test, SimulatorOptions(far_levels_share=0.0, speed=4.0), paused=False)
