"""Faults of order entry at Binance, over real sockets."""

from __future__ import annotations

from typing import Any

import pytest

from tests.net.simulator.binance.client import REST, Client, client, events_of, run, touch
from tests.net.simulator.reference import Lab


async def order_of(here: Lab, it: Client) -> dict[str, Any]:
    bid, *_ = await touch(here)
    return REST | {"price": f"{bid - 5:.2f}", "quantity": "0.01", "newClientOrderId": "f-1"}


async def arm(here: Lab, order: str) -> None:
    await here.control(here.binance, f"fault?order={order}")


def test_a_lost_acknowledgement_leaves_an_order_that_a_query_finds() -> None:
    async def test(here: Lab, it: Client) -> None:
        order = await order_of(here, it)
        await arm(here, "ack-lost:binance")
        number = await it.send("order.place", await it.params(**order))
        found = await it.result("order.status", symbol="BTCUSDT", origClientOrderId="f-1")
        assert found["status"] == "NEW"
        assert all(answer.get("id") != number for answer in it.everything)
        assert (await here.stats(here.binance))["faults"] == {"ack-lost": 1}

    run(test)


def test_a_disconnect_leaves_the_orders_open() -> None:
    async def test(here: Lab, it: Client) -> None:
        order = await order_of(here, it)
        await arm(here, "order-disconnect:binance")
        await it.send("order.place", await it.params(**order))
        with pytest.raises((AssertionError, ConnectionError)):
            await it.read()
        async with client(here) as other:
            (left,) = await other.result("openOrders.status")
            assert left["clientOrderId"] == "f-1"

    run(test)


def test_a_late_fill_follows_the_confirmed_cancel() -> None:
    async def test(here: Lab, it: Client) -> None:
        await it.follow()
        order = await order_of(here, it)
        await it.result("order.place", **order)
        await arm(here, "late-fill=150:binance")
        gone = await it.result("order.cancel", symbol="BTCUSDT", origClientOrderId="f-1")
        assert gone["status"] == "CANCELED"
        await it.quiet(0.4)
        assert events_of(it) == [
            ("NEW", "NEW", "0.00000000"),
            ("CANCELED", "CANCELED", "0.00000000"),
            ("TRADE", "FILLED", "0.01000000"),
        ]
        found = await it.result("order.status", symbol="BTCUSDT", origClientOrderId="f-1")
        assert (found["status"], found["executedQty"]) == ("FILLED", "0.01000000")

    run(test)


def test_a_duplicate_fill_has_the_same_ids_and_moves_money_once() -> None:
    async def test(here: Lab, it: Client) -> None:
        await it.follow()
        await arm(here, "duplicate-fill:binance")
        await it.result(
            "order.place", symbol="BTCUSDT", side="SELL", type="MARKET", quantity="0.01"
        )
        await it.quiet()
        _, one, two = it.reports()
        assert one == two and one["x"] == "TRADE"
        assert len(await it.result("myTrades", symbol="BTCUSDT")) == 1
        account = await it.result("account.status")
        assert account["balances"][0] == {
            "asset": "BTC",
            "free": "9.99000000",
            "locked": "0.00000000",
        }

    run(test)


def test_a_rejected_cancel_leaves_the_order() -> None:
    async def test(here: Lab, it: Client) -> None:
        order = await order_of(here, it)
        await it.result("order.place", **order)
        await arm(here, "cancel-rejected:binance")
        cancel = {"symbol": "BTCUSDT", "origClientOrderId": "f-1"}
        assert (await it.refused("order.cancel", **cancel))[:2] == (400, -2011)
        assert len(await it.result("openOrders.status")) == 1
        assert (await it.result("order.cancel", **cancel))["status"] == "CANCELED"

    run(test)


def test_a_limit_and_a_skewed_clock_strike_when_ordered() -> None:
    async def test(here: Lab, it: Client) -> None:
        order = await order_of(here, it)
        await arm(here, "order-limit:binance")
        assert (await it.refused("order.place", **order))[:2] == (429, -1015)
        await arm(here, "clock-skew=6000:binance")
        assert (await it.refused("order.place", **order))[:2] == (400, -1021)
        assert (await it.result("order.place", **order))["status"] == "NEW"

    run(test)
