"""What a fault makes of one REST answer.

Each takes what the injector has kept, the request, the answer as it would have been, and the
fault's value, and returns what goes out instead.
Thread: the simulator's event loop. Called through the table in faults.py.
"""

from __future__ import annotations

import asyncio
import contextlib
from decimal import Decimal
from typing import Any

import orjson
from aiohttp import web

from net.simulator.feed import Feed
from net.simulator.options import InstrumentText

FEED = web.AppKey("feed", Feed)
VENUE = web.AppKey("venue", str)
SNAPSHOT_PATHS = ("/api/v3/depth", "/api/v2/order_book/")
DRIPS = 100  # pieces of a slow body
OTHER_PRICE_RATIO = 20  # BTC to ETH, about
ERROR_PAGE = (
    "<!DOCTYPE html>\n<html><head><title>Attention required</title></head>\n"
    "<body><h1>Please complete the security check</h1></body></html>\n"
)


class Kept:
    """What earlier answers and frames leave for later faults; one body a symbol, one frame."""

    def __init__(self) -> None:
        self._first: dict[str, bytes] = {}
        self._last_frame = ""

    def keep_frame(self, venue: str, text: str) -> None:
        """A book frame that is about to be sent."""
        if venue == "binance":
            self._last_frame = text

    def keep_snapshot(self, request: web.Request, response: web.Response) -> bool:
        """Whether an answer is a snapshot; the first of its symbol is kept."""
        is_snapshot = request.path.startswith(SNAPSHOT_PATHS)
        if is_snapshot:
            self._first.setdefault(self._symbol(request), body_of(response))
        return is_snapshot

    def first(self, request: web.Request) -> bytes:
        """The first snapshot ever answered to this question."""
        return self._first[self._symbol(request)]

    @staticmethod
    def _symbol(request: web.Request) -> str:
        return f"{request.path}?{request.query.get('symbol', '')}"

    @property
    def last_ids(self) -> tuple[int, int]:
        """First and last id of the last Binance frame, (0, 0) before it."""
        if not self._last_frame:
            return 0, 0
        message = orjson.loads(self._last_frame)
        body = message.get("data", message)
        return body["U"], body["u"]


def body_of(response: web.Response) -> bytes:
    """The bytes of an answer that was made whole."""
    assert isinstance(response.body, bytes | bytearray)
    return bytes(response.body)


def _like(response: web.Response, body: bytes) -> web.Response:
    """The same answer with another body."""
    headers = {k: v for k, v in response.headers.items() if k.startswith("X-MBX-")}
    return web.Response(body=body, headers=headers, content_type="application/json")


# --- refusals ------------------------------------------------------------------------------------


def _refusal(status: int, text: str, value: float) -> web.Response:
    return web.Response(
        status=status,
        body=orjson.dumps({"code": -1003, "msg": text}),
        headers={"Retry-After": str(int(value))},
        content_type="application/json",
    )


async def too_many(
    kept: Kept, request: web.Request, response: web.Response, value: float
) -> web.StreamResponse:
    return _refusal(429, "Too many requests.", value)


async def banned(
    kept: Kept, request: web.Request, response: web.Response, value: float
) -> web.StreamResponse:
    return _refusal(418, "Way too many requests; IP banned.", value)


async def failed(
    kept: Kept, request: web.Request, response: web.Response, value: float
) -> web.StreamResponse:
    return web.Response(status=500, text="Internal Server Error")


# --- bodies that do not arrive as they should ----------------------------------------------------


async def late(
    kept: Kept, request: web.Request, response: web.Response, value: float
) -> web.StreamResponse:
    await asyncio.sleep(value)
    return response


async def _begun(request: web.Request, response: web.Response) -> tuple[bytes, web.StreamResponse]:
    """The body of an answer, and a stream whose headers have promised all of it."""
    body = body_of(response)
    stream = web.StreamResponse(headers={"Content-Type": "application/json"})
    stream.content_length = len(body)
    await stream.prepare(request)
    return body, stream


async def slow(
    kept: Kept, request: web.Request, response: web.Response, value: float
) -> web.StreamResponse:
    body, stream = await _begun(request, response)
    step = max(1, len(body) // DRIPS)
    with contextlib.suppress(ConnectionError):
        for start in range(0, len(body), step):
            await stream.write(body[start : start + step])
            await asyncio.sleep(value / DRIPS)
        await stream.write_eof()
    return stream


async def truncated(
    kept: Kept, request: web.Request, response: web.Response, value: float
) -> web.StreamResponse:
    body, stream = await _begun(request, response)
    with contextlib.suppress(ConnectionError):
        await stream.write(body[: len(body) // 2])
        if request.transport is not None:
            request.transport.close()
    return stream


async def html(
    kept: Kept, request: web.Request, response: web.Response, value: float
) -> web.StreamResponse:
    return web.Response(text=ERROR_PAGE, content_type="text/html")


# --- snapshots that are whole and wrong ----------------------------------------------------------


async def first_again(
    kept: Kept, request: web.Request, response: web.Response, value: float
) -> web.StreamResponse:
    return _like(response, kept.first(request))


async def ahead(
    kept: Kept, request: web.Request, response: web.Response, value: float
) -> web.StreamResponse:
    book = orjson.loads(body_of(response))
    if "lastUpdateId" in book:
        book["lastUpdateId"] += int(value)
    else:
        book["microtimestamp"] = str(int(book["microtimestamp"]) + int(value))
    return _like(response, orjson.dumps(book))


async def straddled(
    kept: Kept, request: web.Request, response: web.Response, value: float
) -> web.StreamResponse:
    """The book as it was in the middle of the last frame sent."""
    symbol = request.query["symbol"]
    feed = request.app[FEED]
    book, text = feed.book(symbol), InstrumentText(feed.instruments[symbol])
    first_id, last_id = kept.last_ids
    if book is None or not first_id:
        return response
    past = book.as_of((first_id + last_id) // 2)
    limit = int(request.query.get("limit", "100"))
    body = (
        f'{{"lastUpdateId":{past.version},"bids":{text.levels(past.sorted_bids(limit))},'
        f'"asks":{text.levels(past.sorted_asks(limit))}}}'
    )
    return _like(response, body.encode())


async def other_symbol(
    kept: Kept, request: web.Request, response: web.Response, value: float
) -> web.StreamResponse:
    """Prices of another market under the very ids that were asked for: nothing else tells."""
    book = orjson.loads(body_of(response))
    for side in ("bids", "asks"):
        book[side] = [_elsewhere(level) for level in book[side]]
    return _like(response, orjson.dumps(book))


def _elsewhere(level: list[Any]) -> list[str]:
    price, qty = level
    return [f"{Decimal(price) / OTHER_PRICE_RATIO:.2f}", qty]


async def empty(
    kept: Kept, request: web.Request, response: web.Response, value: float
) -> web.StreamResponse:
    book = orjson.loads(body_of(response))
    return _like(response, orjson.dumps({**book, "bids": [], "asks": []}))
