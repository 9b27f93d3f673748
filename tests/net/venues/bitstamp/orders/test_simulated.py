"""Bitstamp's order entry over its real wires, against the simulated venue on real sockets.

The market stands still; what trades with our orders is told to trade by the test.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import uuid
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from engine.maker.client_ids import format_client_id
from engine.maker.order_layout import BUY
from net.orders.errors import ErrorClass
from net.orders.http_connection import HttpLine
from net.orders.interface import EntryState
from net.orders.messages import Kind, Market, OrderEvent, Request, State
from net.simulator.market import ASK, BID
from net.simulator.options import SimulatorOptions, TradingOptions
from net.simulator.orders.desk import Wanted
from net.sockets.backoff import Backoff
from net.sockets.private_connection import Line
from net.venues.bitstamp.orders.credentials import BITSTAMP_API_KEY, BITSTAMP_SECRET, bitstamp_keys
from net.venues.bitstamp.orders.entry import BitstampEntry
from net.venues.bitstamp.orders.markets import bitstamp_market
from tests.net.simulator.reference import Lab, lab
from tests.net.venues.bitstamp.orders.rig import Host
from tuning.clock import steady_ns, wall_ns

MARKET = Market("btcusd", "BTC", "USD", "0.01", "0.00000001")
ACCOUNT = TradingOptions()
LOTS = 1_000_000
TICK_S = 0.01
WORST_NS = 10**9
"""What is waited for where a real program waits 5 s."""


def no_tls() -> ssl.SSLContext:
    raise AssertionError("nothing here is encrypted")


class Desk:
    """The venue, the entry on its wires, and what the host was told."""

    def __init__(self, here: Lab, secret: str, market: Market = MARKET, first: int = 0) -> None:
        self.here = here
        self.market = market
        self.host = Host()
        self.host.wall_ns = wall_ns
        loop, url = asyncio.get_running_loop(), here.bitstamp
        quick = Backoff(random.Random(1), floor_ms=1, first_ms=1, limit_ms=20)
        keys = {BITSTAMP_API_KEY: ACCOUNT.api_key, BITSTAMP_SECRET: secret}
        self.line = Line(url.replace("http", "ws", 1), ssl_context=no_tls, backoff=quick)
        self.http = HttpLine(url, loop=loop, owner_loop=loop, ssl_context=no_tls)
        self.entry = BitstampEntry(
            3,
            market,
            bitstamp_keys(keys),
            self.host,
            self.line,
            self.http,
            new_nonce=lambda: str(uuid.uuid4()),
            http_host=urlsplit(url).netloc,
            open_orders_age_ns=0,
        )
        self._orders = first

    def start(self) -> list[asyncio.Future[None]]:
        runs = (self.http.run(self.entry), self.line.run(self.entry), self.tick())
        return [asyncio.ensure_future(each) for each in runs]

    async def tick(self) -> None:
        while True:
            self.entry.on_timer(steady_ns())
            await asyncio.sleep(TICK_S)

    async def control(self, verb: str) -> None:
        await self.here.control(self.here.bitstamp, verb)

    async def arm(self, fault: str) -> None:
        await self.control(f"fault?order={fault}:bitstamp")

    async def told(self, *what: object, seconds: float = 5.0) -> tuple[Any, ...]:
        """Wait until the host is told something that begins so, and forget it and all before."""
        async with asyncio.timeout(seconds):
            while True:
                for index, each in enumerate(self.host.said):
                    if each[: len(what)] == what:
                        del self.host.said[: index + 1]
                        return each
                await asyncio.sleep(0.001)

    async def pushed(self, *kinds: Kind) -> list[OrderEvent]:
        """The next pushed events of these kinds about our orders: the other side has no names."""
        found: list[OrderEvent] = []
        while len(found) < len(kinds):
            _, events = await self.told("push")
            found += [each for each in events if each.kind in kinds and each.client_order_id]
        assert [each.kind for each in found] == list(kinds)
        return found

    def place(self, away_ticks: int = 1000) -> int:
        """A bid so far below the best ask."""
        self._orders += 1
        order_id = 7 << 32 | self._orders
        price_ticks = self.best_ask() - away_ticks
        self.entry.place(order_id, BUY, price_ticks, LOTS, steady_ns())
        return order_id

    async def resting(self, away_ticks: int = 1000) -> int:
        """A bid that the venue has acknowledged."""
        order_id = self.place(away_ticks)
        (*_, (event,)) = await self.told("answer", Request.PLACE, order_id)
        assert (event.kind, event.client_order_id) == (Kind.ACCEPTED, format_client_id(order_id))
        return order_id

    async def ask(self, order_id: int) -> tuple[OrderEvent, ...]:
        self.entry.ask(order_id, steady_ns())
        events: tuple[OrderEvent, ...] = (await self.told("answer", Request.STATUS, order_id))[-1]
        return events

    # --- the rest of the market ---

    def _orders_of(self) -> Any:
        return self.here.venues.server("bitstamp").orders  # type: ignore[attr-defined]

    def best_ask(self) -> int:
        market = self._orders_of().desk.market(self.market.symbol)
        return int(market.preview(BID, 1)[0][0])

    def trade(self, away_ticks: int = 1) -> None:
        """Somebody sells to our bid so far below the best ask, and to all before it."""
        orders, price_ticks = self._orders_of(), self.best_ask() - away_ticks
        crowd = orders.desk.market(self.market.symbol).preview(ASK, 10**12, price_ticks)
        lots = sum(each for _, each in crowd) + LOTS
        instrument = orders._instrument(self.market.symbol)
        taker = Wanted(instrument, "", ASK, "LIMIT", "IOC", price_ticks, lots)
        orders._placed(taker, wall_ns())


async def end(tasks: list[asyncio.Future[None]]) -> None:
    for task in tasks:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(each, asyncio.CancelledError) for each in ended), ended


def run(test: Callable[[Desk], Awaitable[None]], secret: str = ACCOUNT.api_secret) -> None:
    async def main() -> None:
        rich = TradingOptions(balances=(("BTC", "1000000"), ("USD", "1000000")))
        options = SimulatorOptions(far_levels_share=0.0, trading=rich)
        async with lab(options) as here:
            it = Desk(here, secret)
            await it.control("pause")
            tasks = it.start()
            try:
                await test(it)
            finally:
                await end(tasks)

    asyncio.run(main())


def test_an_order_from_birth_to_cancel() -> None:
    async def test(it: Desk) -> None:
        _, opening = await it.told("ready")
        assert {each.asset for each in opening.balances} == {"BTC", "USD"}
        listed = await it.here.get(f"{it.here.bitstamp}/api/v2/markets/")
        market = bitstamp_market(listed, "btcusd").market
        assert (market.tick, market.step_lots) == (MARKET.tick, MARKET.step_lots)
        order_id = await it.resting()
        state, *fills = await it.ask(order_id)
        assert (state.state, fills) == (State.OPEN, [])
        it.entry.cancel(order_id, steady_ns())
        (*_, (gone,)) = await it.told("answer", Request.CANCEL, order_id)
        assert gone.kind is Kind.CANCELED
        it.entry.cancel(order_id, steady_ns())
        (*_, (refused,)) = await it.told("answer", Request.CANCEL, order_id)
        assert (refused.kind, refused.error) == (Kind.FAILED, ErrorClass.UNKNOWN_ORDER)
        (state,) = await it.ask(order_id)
        assert state.state is State.CANCELED
        (unknown,) = await it.ask(7 << 32 | 99)
        assert (unknown.kind, unknown.error) == (Kind.FAILED, ErrorClass.UNKNOWN_ORDER)

    run(test)


def test_a_fill_is_told_with_our_name_and_once_more_to_who_asks() -> None:
    async def test(it: Desk) -> None:
        await it.told("ready")
        order_id = await it.resting(away_ticks=1)
        it.trade()
        filled, fill = await it.pushed(Kind.STATE, Kind.FILL)
        assert (filled.state, filled.filled_lots) == (State.FILLED, LOTS)
        assert (fill.client_order_id, fill.last_lots) == (format_client_id(order_id), LOTS)
        state, asked = await it.ask(order_id)
        assert (state.state, state.filled_lots) == (State.FILLED, LOTS)
        assert asked.execution_id == fill.execution_id
        assert asked.last_price_ticks == fill.last_price_ticks == it.best_ask() - 1
        taking = it.place(away_ticks=0)
        (*_, (refused,)) = await it.told("answer", Request.PLACE, taking)
        assert refused.kind is Kind.REJECTED, "a post-only order never takes"

    run(test)


def test_what_happens_while_disconnected_is_read_on_the_next_connection() -> None:
    async def test(it: Desk) -> None:
        await it.told("ready")
        stays, fills = await it.resting(), await it.resting(away_ticks=1)
        gone = await it.resting()
        await it.control("refuse?seconds=0.3")
        await it.control("drop")
        await it.told("lost")
        assert it.entry.state is EntryState.DISCONNECTED
        it.trade()
        orders = it._orders_of()
        orders.desk.cancel(orders.desk.find(None, format_client_id(gone)), wall_ns())
        _, opening = await it.told("ready")
        (order,) = opening.open_orders
        assert (order.kind, order.client_order_id) == (Kind.STATE, format_client_id(stays))
        assert order.quantity_lots == LOTS and order.filled_lots == 0
        (fill,) = [each for each in opening.trades if each.client_order_id]
        assert (fill.client_order_id, fill.last_lots) == (format_client_id(fills), LOTS)
        it.entry.cancel(stays, steady_ns())
        (canceled,) = await it.pushed(Kind.CANCELED)
        assert canceled.client_order_id == format_client_id(stays)

    run(test)


def test_a_lost_answer_is_asked_after(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("net.orders.http_entry.ANSWER_LIMIT_NS", WORST_NS)

    async def test(it: Desk) -> None:
        await it.told("ready")
        await it.arm("ack-lost")
        order_id = it.place()
        await it.told("unanswered", Request.PLACE, order_id)
        (state,) = await it.ask(order_id)
        assert state.state is State.OPEN
        await it.arm("order-disconnect")
        order_id = it.place(away_ticks=1)
        await it.told("unanswered", Request.PLACE, order_id, seconds=0.9)
        assert it.entry.state is EntryState.READY, "HTTP is another connection"
        it.trade()
        (fill,) = await it.pushed(Kind.FILL)
        assert fill.client_order_id == format_client_id(order_id), "my_orders has told the name"

    run(test)


def test_limits_late_fills_and_notices() -> None:
    async def test(it: Desk) -> None:
        await it.told("ready")
        await it.arm("order-limit")
        order_id = it.place()
        assert await it.told("trouble") == ("trouble", ErrorClass.RATE_LIMITED)
        (*_, (event,)) = await it.told("answer", Request.PLACE, order_id)
        assert (event.kind, event.error) == (Kind.REJECTED, ErrorClass.RATE_LIMITED)
        order_id = await it.resting()
        await it.arm("late-fill=50")
        await it.arm("duplicate-fill")
        it.entry.cancel(order_id, steady_ns())
        (*_, (gone,)) = await it.told("answer", Request.CANCEL, order_id)
        assert gone.kind is Kind.CANCELED
        one, two = await it.pushed(Kind.FILL, Kind.FILL)
        assert one == two and one.client_order_id == format_client_id(order_id)
        await it.arm("clock-skew")
        it.entry.ask(order_id, steady_ns())
        await it.told("trouble", ErrorClass.CLOCK_SKEW)
        (*_, (event,)) = await it.told("answer", Request.STATUS, order_id)
        assert event.error is ErrorClass.CLOCK_SKEW
        await it.control("notice")
        await it.told("lost")
        await it.told("ready")
        assert it.line.connections == 2

    run(test)


def test_a_wrong_secret_is_barred() -> None:
    async def test(it: Desk) -> None:
        await it.told("trouble", ErrorClass.BAD_KEYS)
        assert it.entry.state is EntryState.BARRED
        await asyncio.sleep(0.2)
        assert it.line.connections == 1

    run(test, secret="x" * 64)
