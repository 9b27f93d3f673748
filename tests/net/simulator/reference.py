"""What the tests measure the simulator with: plain dictionary books kept by the documented rules.

Independent of net/simulator on purpose.
Runs on: the test's own event loop.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from net.simulator.connection import Interceptor
from net.simulator.options import SimulatorOptions
from net.simulator.venues import SimulatedVenues

DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"
Side = dict[Decimal, Decimal]


def recorded(name: str) -> Path:
    """A recorded tape, or skip."""
    path = DATA / f"{name}.jsonl.gz"
    if not path.exists():
        pytest.skip(f"recorded data is not present: ../shared/data/{path.name}")
    return path


def side(pairs: list[list[str]]) -> Side:
    """Levels as numbers."""
    return {Decimal(price): Decimal(qty) for price, qty in pairs}


def update(book: Side, pairs: list[list[str]]) -> None:
    """Absolute quantities; zero deletes; deleting the unknown is fine."""
    for price, qty in pairs:
        if Decimal(qty):
            book[Decimal(price)] = Decimal(qty)
        else:
            book.pop(Decimal(price), None)


class Book:
    """Bids, asks, and the id they belong to."""

    def __init__(self) -> None:
        self.bids: Side = {}
        self.asks: Side = {}
        self.last = -1
        self.joined = False
        self.buffered: list[dict[str, Any]] = []
        self.checks = 0

    def check(self) -> None:
        """Not crossed, nothing empty; every eighth call looks (it reads the whole book)."""
        self.checks += 1
        if self.checks % 8:
            return
        if self.bids and self.asks:
            assert max(self.bids) < min(self.asks)
        assert all(self.bids.values()) and all(self.asks.values())


class BinanceBook(Book):
    """The documented procedure for a local book."""

    def on_event(self, event: dict[str, Any]) -> None:
        """A depthUpdate; asserts that nothing is missing."""
        if not self.joined:
            if self.buffered:
                assert event["U"] == self.buffered[-1]["u"] + 1
            self.buffered.append(event)
            return
        if event["u"] <= self.last:
            return
        assert event["U"] <= self.last + 1, "a gap"
        update(self.bids, event["b"])
        update(self.asks, event["a"])
        self.last = event["u"]

    def on_snapshot(self, body: dict[str, Any]) -> bool:
        """False: older than the first buffered event, fetch again."""
        if not self.buffered or body["lastUpdateId"] + 1 < self.buffered[0]["U"]:
            return False
        self.bids, self.asks = side(body["bids"]), side(body["asks"])
        self.last, self.joined = body["lastUpdateId"], True
        for event in self.buffered:
            self.on_event(event)
        return True


class BitstampBook(Book):
    """Join by microtimestamp."""

    def on_event(self, event: dict[str, Any]) -> None:
        """The data of a diff frame; asserts that stamps rise."""
        stamp = int(event["microtimestamp"])
        if not self.joined:
            if self.buffered:
                assert stamp > int(self.buffered[-1]["microtimestamp"])
            self.buffered.append(event)
            return
        if stamp <= self.last:
            return
        update(self.bids, event["bids"])
        update(self.asks, event["asks"])
        self.last = stamp

    def on_snapshot(self, body: dict[str, Any]) -> bool:
        """False: older than the first buffered event, fetch again."""
        stamp = int(body["microtimestamp"])
        if not self.buffered or stamp < int(self.buffered[0]["microtimestamp"]):
            return False
        self.bids, self.asks = side(body["bids"]), side(body["asks"])
        self.last, self.joined = stamp, True
        for event in self.buffered:
            self.on_event(event)
        return True


class Lab:
    """Simulated venues with a client session."""

    def __init__(self, venues: SimulatedVenues, session: aiohttp.ClientSession) -> None:
        self.venues = venues
        self.session = session

    @property
    def binance(self) -> str:
        return self.venues.url("binance")

    @property
    def bitstamp(self) -> str:
        return self.venues.url("bitstamp")

    async def get(self, url: str) -> Any:
        """JSON of a successful GET."""
        async with self.session.get(url) as response:
            assert response.status == 200, await response.text()
            return await response.json(content_type=None)

    async def control(self, base: str, verb: str) -> Any:
        """POST to a control endpoint."""
        async with self.session.post(f"{base}/simulator/{verb}") as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def stats(self, base: str) -> Any:
        return await self.get(f"{base}/simulator/stats")


@asynccontextmanager
async def lab(
    options: SimulatorOptions | None = None,
    *,
    interceptor: Interceptor | None = None,
    **client: Any,
) -> AsyncIterator[Lab]:
    """Both venues on free ports."""
    chosen = options or SimulatorOptions(far_levels_share=0.0, speed=2.0)
    async with (
        SimulatedVenues(chosen, interceptor) as venues,
        aiohttp.ClientSession(**client) as session,
    ):
        yield Lab(venues, session)


async def text(socket: aiohttp.ClientWebSocketResponse, seconds: float = 5.0) -> str:
    """The next text frame."""
    message = await asyncio.wait_for(socket.receive(), seconds)
    assert message.type == aiohttp.WSMsgType.TEXT, message
    assert isinstance(message.data, str)
    return message.data


async def closing(socket: aiohttp.ClientWebSocketResponse, seconds: float = 5.0) -> int | None:
    """Read until the connection ends; its close code."""
    async with asyncio.timeout(seconds):
        while True:
            message = await socket.receive()
            if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.PING):
                return socket.close_code


async def pending(socket: aiohttp.ClientWebSocketResponse, seconds: float = 0.15) -> list[str]:
    """Everything that still comes until it is quiet."""
    out: list[str] = []
    while True:
        try:
            message = await asyncio.wait_for(socket.receive(), seconds)
        except TimeoutError:
            return out
        if message.type != aiohttp.WSMsgType.TEXT:
            return out
        out.append(message.data)


def shape(frame: str) -> Any:
    """Keys in order and types, without values: two frames of one form have one shape."""

    def form(value: Any) -> Any:
        if isinstance(value, list) and value and isinstance(value[0], tuple):
            return tuple((key, form(each)) for key, each in value)
        if isinstance(value, list):
            return [form(value[0])] if value else []
        return type(value).__name__

    return form(json.loads(frame, object_pairs_hook=list))
