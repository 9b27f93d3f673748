"""What most people would write, done well: websockets + orjson + sorted dictionaries.

The same rules as ours: the ids must join, a level with quantity zero goes, the top ten of both
sides are published to shared memory when they have changed, under a version that is odd while they
are written. Prices are floats, there is one venue and no validation; the garbage collector is off.
Runs on: the measured thread of a bench's target process.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import mmap
import struct
from itertools import islice
from typing import Any

import orjson
from sortedcontainers import SortedDict
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from bench.load.frames import FIRST_ID
from bench.rig.stamps import Stamps
from tuning.clock import wall_ns

DEPTH = 10
_VERSION = struct.Struct("<q")
_BOOK = struct.Struct(f"<q{4 * DEPTH}d")

Top = list[tuple[float, float]]


class NaiveBook:
    """Two sorted dictionaries from price to quantity; bids are kept under the negative price."""

    def __init__(self, snapshot: bytes) -> None:
        body = orjson.loads(snapshot)
        self.last_id: int = body["lastUpdateId"]
        self.bids = SortedDict({-float(price): float(size) for price, size in body["bids"]})
        self.asks = SortedDict({float(price): float(size) for price, size in body["asks"]})

    def apply(self, data: dict[str, Any]) -> bool:
        """Set a frame's levels; False for an old frame. ValueError: a gap."""
        if data["u"] <= self.last_id:
            return False
        if data["U"] > self.last_id + 1:
            raise ValueError("gap")
        self.last_id = data["u"]
        bids, asks = self.bids, self.asks
        for price, size in data["b"]:
            lots = float(size)
            if lots:
                bids[-float(price)] = lots
            else:
                bids.pop(-float(price), None)
        for price, size in data["a"]:
            lots = float(size)
            if lots:
                asks[float(price)] = lots
            else:
                asks.pop(float(price), None)
        return True

    def top(self) -> Top:
        """The best ten bids, then the best ten asks."""
        bids = [(-price, size) for price, size in islice(self.bids.items(), DEPTH)]
        return bids + list(islice(self.asks.items(), DEPTH))


class SharedTop:
    """The published top ten in anonymous shared memory, under a version."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, mmap.PAGESIZE)
        self._version = 0

    def publish(self, update_id: int, top: Top) -> None:
        flat = [number for level in top for number in level]
        flat += [0.0] * (4 * DEPTH - len(flat))
        _VERSION.pack_into(self._memory, 0, self._version + 1)
        _BOOK.pack_into(self._memory, 8, update_id, *flat)
        self._version += 2
        _VERSION.pack_into(self._memory, 0, self._version)


async def receive(port: int, snapshot: bytes, stamps: Stamps) -> None:
    """Keep the book until the connection ends."""
    book, shared = NaiveBook(snapshot), SharedTop()
    published: Top = []
    async with connect(f"ws://127.0.0.1:{port}/", compression=None, max_size=None) as link:
        while True:
            # Bytes: orjson reads UTF-8 by itself, a str would be decoded for nothing.
            message = await link.recv(decode=False)
            if not book.apply(orjson.loads(message)["data"]):
                continue
            top = book.top()
            if top != published:
                shared.publish(book.last_id, top)
                published = top
                stamps.note(book.last_id - FIRST_ID - 1, book.last_id, wall_ns())


def run_naive(port: int, snapshot: bytes, stamps: Stamps) -> None:
    """Run in this thread until the sender closes the connection."""
    gc.disable()
    with contextlib.suppress(ConnectionClosed):
        asyncio.run(receive(port, snapshot, stamps))
