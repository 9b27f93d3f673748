"""What a fault makes of one REST answer.

Each takes what the injector has kept, the request, the answer as it would have been, and the
fault's value, and returns what goes out instead.
Called through the table in faults.py.
Runs on: the simulator's event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import orjson
from aiohttp import web

from net.simulator.mutations import low_price
from net.simulator.plain_book import PlainBook
from net.simulator.source import Feed
from net.simulator.venue import SimulatedVenue

FEED = web.AppKey("feed", Feed)
VENUE = web.AppKey("venue", SimulatedVenue)
SNAPSHOT_TEXT: web.AppKey[Callable[[str, PlainBook, web.Request], str]] = web.AppKey("snapshot")
DRIPS = 100  # pieces of a slow body
OTHER_PRICE_RATIO = 20  # BTC to ETH, about
ERROR_PAGE = (
    "<!DOCTYPE html>\n<html><head><title>Attention required</title></head>\n"
    "<body><h1>Please complete the security check</h1></body></html>\n"
)


class Kept:
    """What earlier answers and frames leave for later faults: a body a symbol, a frame a venue."""

    def __init__(self) -> None:
        self._first: dict[tuple[str, str], bytes] = {}
        self._last_frame: dict[str, str] = {}

    def keep_frame(self, venue: str, text: str) -> None:
        """A book frame that is about to be sent."""
        self._last_frame[venue] = text

    def keep_snapshot(self, request: web.Request, response: web.Response) -> bool:
        """Whether an answer is a snapshot; the first of its symbol is kept."""
        symbol = symbol_of(request)
        if symbol is not None:
            self._first.setdefault((request.app[VENUE].name, symbol), body_of(response))
        return symbol is not None

    def first(self, request: web.Request) -> bytes:
        """The first snapshot ever answered to this question."""
        return self._first[request.app[VENUE].name, symbol_of(request) or ""]

    def last_ids(self, venue: SimulatedVenue) -> tuple[int, int]:
        """First and last id of a venue's last frame, (0, 0) before it."""
        if venue.name not in self._last_frame:
            return 0, 0
        message = orjson.loads(self._last_frame[venue.name])
        body = message.get("data", message)
        return body[venue.form.first_id], body[venue.form.last_id]


def symbol_of(request: web.Request) -> str | None:
    """Whose whole book a request asks for; None where it asks for something else."""
    found = request.app[VENUE].form.snapshot_path.fullmatch(request.path_qs)
    return found[1] if found is not None else None


def body_of(response: web.Response) -> bytes:
    """The bytes of an answer that was made whole."""
    assert isinstance(response.body, bytes | bytearray)
    return bytes(response.body)


def _like(response: web.Response, body: bytes) -> web.Response:
    """The same answer with another body."""
    headers = {k: v for k, v in response.headers.items() if k.startswith("X-")}
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


async def not_found(
    kept: Kept, request: web.Request, response: web.Response, value: float
) -> web.StreamResponse:
    return web.Response(status=404, text=ERROR_PAGE, content_type="text/html")


async def redirected(
    kept: Kept, request: web.Request, response: web.Response, value: float
) -> web.StreamResponse:
    """To another name of this host, which would answer."""
    there = f"http://localhost:{request.url.port}{request.path_qs}"
    return web.Response(status=302, headers={"Location": there})


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
    key = request.app[VENUE].form.snapshot_id
    book[key] = type(book[key])(int(book[key]) + int(value))  # text stays text
    return _like(response, orjson.dumps(book))


async def straddled(
    kept: Kept, request: web.Request, response: web.Response, value: float
) -> web.StreamResponse:
    """The book as it was in the middle of the last frame sent."""
    symbol = symbol_of(request) or ""
    book = request.app[FEED].book(symbol)
    first_id, last_id = kept.last_ids(request.app[VENUE])
    if book is None or not first_id:
        return response
    past = book.as_of((first_id + last_id) // 2)
    return _like(response, request.app[SNAPSHOT_TEXT](symbol, past, request).encode())


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


async def old_grid(
    kept: Kept, request: web.Request, response: web.Response, value: float
) -> web.StreamResponse:
    """An order still rests there that was placed when the tick had so many decimals."""
    return _with_bid(response, low_price(int(value)))


async def priceless(
    kept: Kept, request: web.Request, response: web.Response, value: float
) -> web.StreamResponse:
    return _with_bid(response, "0.00000000")


def _with_bid(response: web.Response, price: str) -> web.Response:
    book = orjson.loads(body_of(response))
    book["bids"].append([price, "1.00000000"])
    return _like(response, orjson.dumps(book))


async def one_sided(
    kept: Kept, request: web.Request, response: web.Response, value: float
) -> web.StreamResponse:
    book = orjson.loads(body_of(response))
    return _like(response, orjson.dumps({**book, "asks": []}))


async def empty(
    kept: Kept, request: web.Request, response: web.Response, value: float
) -> web.StreamResponse:
    book = orjson.loads(body_of(response))
    return _like(response, orjson.dumps({**book, "bids": [], "asks": []}))
