"""Bitstamp's orders over real sockets: REST, refusals, private channels, faults."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import uuid
from collections.abc import Awaitable, Callable
from decimal import Decimal
from itertools import groupby, pairwise
from typing import Any, cast
from urllib.parse import urlencode, urlsplit

import aiohttp
import pytest
from aiohttp import web

from net.simulator.bitstamp.orders.private_channels import PrivateChannels
from net.simulator.bitstamp.orders.requests import Gate, RefusalError, server_signature
from net.simulator.connection import Interceptor
from net.simulator.options import SimulatorOptions, TradingOptions
from net.simulator.orders.accounts import ApiKey
from tests.net.simulator.binance.client import KEY, SECRET
from tests.net.simulator.reference import Lab, lab, recorded, text

USER = 4_416_057
LOT = Decimal("1e-8")
NOTHING = Decimal(0)
FORM = "application/x-www-form-urlencoded"


class Client:
    """Signs as the documents say."""

    def __init__(self, here: Lab) -> None:
        self.here = here

    async def raw(
        self, path: str, body: str = "", **headers: str
    ) -> tuple[int, Any, dict[str, str]]:
        """Status, JSON and the headers that were sent; `headers` overrides."""
        host = urlsplit(self.here.bitstamp).netloc
        content_type = FORM if body else ""
        nonce, stamp = str(uuid.uuid4()), str(self.now_ms())
        nonce = headers.get("X-Auth-Nonce", nonce)
        stamp = headers.get("X-Auth-Timestamp", stamp)
        signed = f"BITSTAMP {KEY}POST{host}/api/v2/{path}{content_type}{nonce}{stamp}v2{body}"
        sent = {
            "X-Auth": f"BITSTAMP {KEY}",
            "X-Auth-Signature": hmac.new(SECRET, signed.encode(), hashlib.sha256).hexdigest(),
            "X-Auth-Nonce": nonce,
            "X-Auth-Timestamp": stamp,
            "X-Auth-Version": "v2",
        }
        if body:
            sent["Content-Type"] = content_type
        async with self.here.session.post(
            f"{self.here.bitstamp}/api/v2/{path}",
            data=body or None,
            headers=sent | headers,
            skip_auto_headers=["Content-Type"],
        ) as response:
            raw = await response.read()
            if "X-Server-Auth-Signature" in response.headers:
                answered = nonce + stamp + response.headers["Content-Type"]
                made = hmac.new(SECRET, answered.encode() + raw, hashlib.sha256).hexdigest()
                assert response.headers["X-Server-Auth-Signature"] == made
            return response.status, json.loads(raw), sent

    def now_ms(self) -> int:
        server = self.here.venues.server("bitstamp")
        return server._clock.now_ns() // 1_000_000

    async def call(self, path: str, **form: Any) -> Any:
        status, found, _ = await self.raw(path, urlencode(form))
        assert status == 200, found
        return found

    async def refused(self, path: str, **form: Any) -> tuple[int, str]:
        status, found, _ = await self.raw(path, urlencode(form))
        assert found["status"] == "error"
        return status, found["response_code"]

    async def touch(self) -> tuple[Decimal, Decimal, Decimal]:
        """Best bid, best ask and the quantity at it."""
        book = await self.here.get(
            f"{self.here.bitstamp}/api/v2/order_book/btcusd/?_={uuid.uuid4()}"
        )
        (bid, _), (ask, asks) = book["bids"][0], book["asks"][0]
        return Decimal(bid), Decimal(ask), Decimal(asks)

    async def balances(self) -> dict[str, tuple[Decimal, Decimal]]:
        """Available and reserved."""
        return {
            row["currency"]: (Decimal(row["available"]), Decimal(row["reserved"]))
            for row in await self.call("account_balances/")
        }

    async def follow(self) -> aiohttp.ClientWebSocketResponse:
        """Subscribe to both private channels."""
        socket = await self.here.session.ws_connect(self.here.bitstamp)
        answer = await self.call("websockets_token/")
        assert answer["user_id"] == USER and answer["valid_sec"] == 60
        for kind in ("orders", "trades"):
            channel = f"private-my_{kind}_btcusd-{USER}"
            data = {"channel": channel, "auth": answer["token"]}
            await socket.send_json({"event": "bts:subscribe", "data": data})
            assert json.loads(await text(socket))["event"] == "bts:subscription_succeeded"
        return socket


def run(
    test: Callable[[Client], Awaitable[None]],
    options: SimulatorOptions | None = None,
    *,
    paused: bool = True,
) -> None:
    async def main() -> None:
        chosen = options or SimulatorOptions(far_levels_share=0.0)
        async with lab(chosen) as here:
            if paused:
                await here.control(here.bitstamp, "pause")
            await test(Client(here))
            here.venues.server("bitstamp").orders.desk.check()  # type: ignore[attr-defined]

    asyncio.run(main())


async def gather(socket: aiohttp.ClientWebSocketResponse, seconds: float = 0.2) -> list[Any]:
    out = []
    while True:
        try:
            out.append(json.loads(await text(socket, seconds)))
        except TimeoutError:
            return out


# --- authentication ------------------------------------------------------------------------------


class _Request:
    """As much of a request as the gate looks at."""

    method, query_string, host = "POST", "", "127.0.0.1:80"

    def __init__(self, path: str, headers: dict[str, str]) -> None:
        self.path, self.headers = path, headers


@pytest.mark.parametrize(
    ("path", "body", "signature"),
    [
        (
            "/api/v2/user_transactions/",
            "offset=1",
            "1881037cace3ec02948985c1780b6615867e90bb840b96a75f7af3473e8b1ec3",
        ),
        (
            "/api/v2/account_balances/",
            "",
            "4f717b759bc6e18704b7a6d0768e83baecb9956721cf78b2dd993c845b5187d0",
        ),
    ],
)
def test_the_known_signatures_are_accepted_once(path: str, body: str, signature: str) -> None:
    gate = Gate({"api_key": ApiKey("api_key", b"api_key_secret")})
    headers = {
        "X-Auth": "BITSTAMP api_key",
        "X-Auth-Signature": signature.upper(),
        "X-Auth-Nonce": "f93c979d-b00d-43a9-9b9c-fd4cd9547fa6",
        "X-Auth-Timestamp": "1700000000000",
        "X-Auth-Version": "v2",
    }
    if body:
        headers["Content-Type"] = FORM
    request = cast(web.Request, _Request(path, headers))
    elsewhere = cast(web.Request, _Request(path + "x/", headers))
    with pytest.raises(RefusalError, match="API0005"):
        gate.authenticate(elsewhere, body, 1_700_000_000_000)
    key = gate.authenticate(request, body, 1_700_000_000_000)
    assert len(server_signature(key, request, "application/json", b"{}")) == 64
    with pytest.raises(RefusalError, match="API0004"):
        gate.authenticate(request, body, 1_700_000_000_001)


def test_every_failure_to_authenticate_has_its_code() -> None:
    async def test(it: Client) -> None:
        async def code(body: str = "", **headers: str) -> tuple[int, str]:
            named = {"X-Auth-" + name.title(): value for name, value in headers.items()}
            status, found, _ = await it.raw("account_balances/", body, **named)
            return status, found["code"]

        status, found, _ = await it.raw("account_balances/", "", **{"X-Auth": "BITSTAMP other"})
        assert (status, found["code"]) == (403, "API0001")
        assert await code(signature="00") == (403, "API0005")
        assert await code(version="v1") == (403, "API0005")
        assert await code(nonce="short") == (403, "API0004")
        assert await code(timestamp=str(it.now_ms() - 151_000)) == (403, "API0017")
        assert await code(timestamp="now") == (403, "API0017")
        status, found, _ = await it.raw("account_balances/", "", **{"Content-Type": FORM})
        assert found["code"] == "API0020"
        status, _, sent = await it.raw("account_balances/")
        assert status == 200
        assert await code(nonce=sent["X-Auth-Nonce"]) == (403, "API0004")

    run(test)


# --- orders --------------------------------------------------------------------------------------


def test_a_resting_order_from_birth_to_cancel() -> None:
    async def test(it: Client) -> None:
        socket = await it.follow()
        bid, *_ = await it.touch()
        price = f"{bid - 10:.2f}"
        order = await it.call(
            "buy/btcusd/", amount="0.01", price=price, moc_order="True", client_order_id="mm-1"
        )
        assert (order["market"], order["type"], order["client_order_id"]) == (
            "BTC/USD",
            "0",
            "mm-1",
        )
        cost = Decimal(price) * Decimal("0.01")
        available, reserved = (await it.balances())["usd"]
        assert reserved == cost * Decimal("1.001") and available == 1_000_000 - reserved
        status = await it.call("order_status/", client_order_id="mm-1")
        assert (status["status"], status["amount_remaining"]) == ("Open", "0.01000000")
        (listed,) = await it.call("open_orders/btcusd/")
        assert listed["id"] == order["id"] and listed["amount_at_create"] == "0.01000000"
        gone = await it.call("cancel_order/", id=order["id"])
        assert (gone["status"], gone["amount"]) == ("Canceled", "0.01000000")
        assert (await it.balances())["usd"] == (Decimal(1_000_000), NOTHING)
        assert await it.refused("cancel_order/", id=order["id"]) == (404, "404.002")
        assert (await it.call("order_status/", id=order["id"]))["status"] == "Canceled"
        created, deleted = await gather(socket)
        assert (created["event"], deleted["event"]) == ("order_created", "order_deleted")
        assert created["data"]["client_order_id"] == "mm-1"
        assert deleted["data"]["amount_str"] == "0.01000000"  # something left: cancelled
        assert deleted["pre_event_id"] == created["event_id"]

    run(test)


def test_a_taking_order_pays_its_fee_in_quote() -> None:
    async def test(it: Client) -> None:
        socket = await it.follow()
        _, ask, asks = await it.touch()
        order = await it.call("buy/btcusd/", amount=f"{asks:.8f}", price=f"{ask:.2f}")
        status = await it.call("order_status/", id=order["id"])
        assert status["status"] == "Finished"
        (made,) = status["transactions"]
        cost = (ask * asks).quantize(Decimal("1e-8"), "ROUND_DOWN")
        fee = (cost / 1000).quantize(Decimal("1e-8"), "ROUND_DOWN")
        assert (Decimal(made["usd"]), Decimal(made["fee"])) == (cost, fee)
        balances = await it.balances()
        assert balances["btc"] == (10 + asks, NOTHING)
        assert balances["usd"] == (1_000_000 - cost - fee, NOTHING)
        (row,) = await it.call("user_transactions/btcusd/", limit=10)
        assert row["id"] == made["tid"] and Decimal(row["usd"]) == -cost
        assert not row["self_trade"] and str(row["order_id"]) == order["id"]
        created, deleted, trade = await gather(socket)
        assert [created["event"], deleted["event"], trade["event"]] == [
            "order_created",
            "order_deleted",
            "trade",
        ]
        assert Decimal(deleted["data"]["amount_str"]) == 0  # nothing left: filled
        assert (trade["data"]["order_id"], trade["data"]["side"]) == (order["id"], "buy")
        sold = await it.call("sell/market/btcusd/", amount="0.5")
        assert (await it.call("order_status/", id=sold["id"]))["status"] == "Finished"
        bought = await it.call("buy/instant/btcusd/", amount="100")
        spent = (await it.call("order_status/", id=bought["id"]))["transactions"]
        assert 99 < sum(Decimal(each["usd"]) for each in spent) <= 100

    run(test)


def test_every_refusal_has_its_code() -> None:
    async def test(it: Client) -> None:
        bid, ask, asks = await it.touch()
        good = {"amount": "0.01", "price": f"{bid - 5:.2f}"}

        async def code(**change: Any) -> tuple[int, str]:
            return await it.refused("buy/btcusd/", **{**good, **change})

        assert await code(amount="900") == (400, "400.009")
        assert await code(amount="0.00001") == (400, "400.020")
        assert await code(price=f"{bid * 7 / 10:.2f}") == (400, "400.021")
        assert await code(ioc_order="True", fok_order="True") == (400, "400.024")
        assert await code(price="60000.001") == (400, "400.001")
        assert await code(amount="-1") == (400, "400.001")
        assert await code(price=f"{ask:.2f}", moc_order="True") == (500, "500.017")
        assert await it.refused("buy/nosuch/", **good) == (404, "404.001")
        for path in ("cancel_order/", "order_status/", "replace_order/"):
            assert await it.refused(path, id="1") == (404, "404.002")
            assert await it.refused(path, id="x") == (404, "404.002")
            assert await it.refused(path, amount="1") == (404, "404.002")
        assert await it.call("open_orders/") == []
        fok = await it.call(
            "buy/btcusd/", amount=f"{asks + 1:.8f}", price=f"{ask:.2f}", fok_order="True"
        )
        status = await it.call("order_status/", id=fok["id"])
        assert (status["status"], status["transactions"]) == ("Canceled", [])
        ioc = await it.call(
            "buy/btcusd/", amount=f"{asks + 1:.8f}", price=f"{ask:.2f}", ioc_order="True"
        )
        status = await it.call("order_status/", id=ioc["id"])
        assert (status["status"], status["amount_remaining"]) == ("Canceled", "1.00000000")
        # One client id may be used twice: it is not checked.
        for _ in range(2):
            await it.call("buy/btcusd/", **good, client_order_id="twice")
        both = await it.call("cancel_all_orders/btcusd/")
        assert both["success"] and len(both["canceled"]) == 2

    run(test)


def test_a_replacement_is_whole_or_not_at_all() -> None:
    async def test(it: Client) -> None:
        socket = await it.follow()
        bid, ask, _ = await it.touch()
        price = f"{bid - 10:.2f}"
        old = await it.call("buy/btcusd/", amount="0.01", price=price, moc_order="True")
        new = await it.call(
            "replace_order/", id=old["id"], amount="0.02", price=price, client_order_id="n"
        )
        assert new["orig_order_id"] == old["id"] and new["status"] == "Open"
        assert (await it.call("order_status/", id=old["id"]))["status"] == "Canceled"
        created, replaced = await gather(socket)
        assert (created["event"], replaced["event"]) == ("order_created", "order_replaced")
        assert replaced["data"]["orig_order_id"] == old["id"]
        assert replaced["data"]["id"] == new["order_id"]
        for change, code in (
            ({"amount": "900", "price": price}, "400.009"),
            ({"amount": "0.02", "price": f"{ask:.2f}"}, "500.017"),
            ({"amount": "0.00001", "price": price}, "400.020"),
        ):
            assert (await it.refused("replace_order/", orig_client_order_id="n", **change))[
                1
            ] == code
        (left,) = await it.call("open_orders/")
        assert left["id"] == new["order_id"]
        assert await gather(socket) == []

    run(test)


def test_a_private_channel_needs_a_token_of_its_own_user() -> None:
    async def test(it: Client) -> None:
        socket = await it.here.session.ws_connect(it.here.bitstamp)
        token = (await it.call("websockets_token/"))["token"]
        for channel, auth in (
            (f"private-my_orders_btcusd-{USER}", None),
            (f"private-my_orders_btcusd-{USER}", "guess"),
            (f"private-my_orders_btcusd-{USER + 1}", token),
            (f"private-my_secrets_btcusd-{USER}", token),
        ):
            data = {"channel": channel, "auth": auth}
            await socket.send_json({"event": "bts:subscribe", "data": data})
            answer = json.loads(await text(socket))
            assert (answer["event"], answer["data"]["code"]) == ("bts:error", 4009)

    run(test)


def test_a_token_lives_for_a_minute() -> None:
    private = PrivateChannels(7, lambda messages: None, Interceptor())
    token = private.new_token(100.0)
    assert token != private.new_token(100.0)
    for now_s, is_good in ((100.0, True), (160.0, True), (160.1, False)):
        assert private.allows("private-my_trades_btcusd-7", token, now_s) is is_good


def test_nonces_are_forgotten_when_they_are_too_old_to_be_used() -> None:
    gate = Gate({})
    for now_ms in range(0, 900_000, 100_000):
        gate._keep(str(now_ms), now_ms)
    assert list(gate._nonces) == ["500000", "600000", "700000", "800000"]


@pytest.mark.parametrize("chains_by_market", [False, True])
def test_an_order_event_names_the_one_before_in_its_market_or_in_the_account(
    chains_by_market: bool,
) -> None:
    async def test(it: Client) -> None:
        socket = await it.follow()
        orders = it.here.venues.server("bitstamp").orders  # type: ignore[attr-defined]
        bid, *_ = await it.touch()
        form = {"amount": "0.01", "price": f"{bid - 100:.2f}", "moc_order": "True"}
        for _ in range(3):
            await it.raw("buy/btcusd/", urlencode(form))
            orders.private.elsewhere()
        seen = await gather(socket)
        assert len(seen) == 3
        chained = [b["pre_event_id"] == a["event_id"] for a, b in pairwise(seen)]
        assert chained == [chains_by_market] * 2
        ids = [each["event_id"] for each in seen]
        assert ids == sorted(set(ids))

    trading = TradingOptions(chains_by_market=chains_by_market)
    run(test, SimulatorOptions(far_levels_share=0.0, trading=trading))


def test_quotes_in_a_running_market_fill_and_add_up() -> None:
    async def test(it: Client) -> None:
        socket = await it.follow()
        seen: list[Any] = []
        for _ in range(100):
            bid, ask, _ = await it.touch()
            for side, price in (("buy", bid), ("sell", ask)):
                form = {"amount": "0.01", "price": f"{price:.2f}", "moc_order": "True"}
                await it.raw(f"{side}/btcusd/", urlencode(form))
            seen += await gather(socket, 0.05)
            if sum(each["event"] == "trade" for each in seen) >= 3:
                break
        await it.call("cancel_all_orders/")
        seen += await gather(socket)
        trades = [each["data"] for each in seen if each["event"] == "trade"]
        assert len(trades) >= 3
        btc, usd = Decimal(10), Decimal(1_000_000)
        for trade in trades:
            sign = 1 if trade["side"] == "buy" else -1
            btc += sign * Decimal(trade["amount"])
            cost = Decimal(trade["amount"]) * Decimal(trade["price"])
            usd -= sign * cost.quantize(LOT, "ROUND_DOWN") + Decimal(trade["fee"])
        balances = await it.balances()
        assert balances["btc"] == (btc, NOTHING) and balances["usd"] == (usd, NOTHING)
        chain = [each for each in seen if "event_id" in each]
        assert all(b["pre_event_id"] == a["event_id"] for a, b in pairwise(chain))
        asked = {"order_source": "orderbook", "market": "BTC/USD"}
        since = await it.call("account_order_data/", **asked, since_id=chain[-3]["event_id"])
        assert [(row["event"], row["event_id"], row["data"]) for row in since] == [
            (each["event"], each["event_id"], each["data"]) for each in chain[-3:]
        ]
        assert (await it.refused("account_order_data/", **asked | {"market": "X/Y"}))[0] == 404

    run(test, SimulatorOptions(far_levels_share=0.0, speed=4.0, rest_lag_max_s=0), paused=False)


def test_a_tape_takes_no_orders() -> None:
    async def main() -> None:
        tape = recorded("binance-btcusdt-20240808")
        async with lab(SimulatorOptions(tape=tape)) as here:
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await here.session.ws_connect(f"{here.binance}/ws-api/v3")
            async with here.session.post(f"{here.bitstamp}/api/v2/buy/btcusd/") as response:
                assert response.status == 405

    asyncio.run(main())


# --- faults --------------------------------------------------------------------------------------


def test_each_fault_of_order_entry() -> None:
    async def test(it: Client) -> None:
        async def arm(order: str) -> None:
            await it.here.control(it.here.bitstamp, f"fault?order={order}:bitstamp")

        socket = await it.follow()
        bid, *_ = await it.touch()
        good = {"amount": "0.01", "price": f"{bid - 5:.2f}"}
        await arm("ack-lost")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(it.call("buy/btcusd/", **good, client_order_id="lost"), 0.3)
        assert (await it.call("order_status/", client_order_id="lost"))["status"] == "Open"
        await arm("order-disconnect")
        with pytest.raises(aiohttp.ClientConnectionError):
            await it.call("buy/btcusd/", **good, client_order_id="cut")
        assert (await it.call("order_status/", client_order_id="cut"))["status"] == "Open"
        await arm("order-limit")
        assert await it.refused("buy/btcusd/", **good) == (400, "400.002")
        await arm("clock-skew")
        status, found, _ = await it.raw("account_balances/")
        assert (status, found["code"]) == (403, "API0017")
        await arm("cancel-rejected")
        assert await it.refused("cancel_order/", client_order_id="cut") == (404, "404.002")
        assert len(await it.call("open_orders/")) == 2
        await gather(socket)
        await arm("late-fill=100")
        await arm("duplicate-fill")
        gone = await it.call("cancel_order/", client_order_id="cut")
        assert gone["status"] == "Canceled"
        happened = [each["event"] for each in await gather(socket, 0.4)]
        assert happened == ["order_deleted", "order_deleted", "trade", "trade"]
        assert [name for name, _ in groupby(happened)] == ["order_deleted", "trade"]
        status = await it.call("order_status/", client_order_id="cut")
        assert (status["status"], len(status["transactions"])) == ("Finished", 1)
        assert (await it.balances())["btc"] == (Decimal("10.01"), NOTHING)

    run(test)
