"""The venues' REST side: snapshots and tick sizes, within the venues' limits.

One client a venue. Weight is counted here and corrected by what the venue's header says;
Retry-After is honoured for everything that goes to that venue. Bodies are decoded on this thread,
by a kernel that does not hold the GIL; the engine thread only applies.
Runs on: the main thread's loop (housekeeping). Called by: net.daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from engine.scale import ScaleError, decimal_unit
from net.entry.markets import MarketRules, binance_market, bitstamp_market
from net.entry.order import EntryError
from net.said import said
from net.venues import MetadataError, VenueProtocol
from net.websocket import describe

REQUEST_LIMIT_S = 10.0
BODY_BYTES_MAX = 64 << 20
"""The largest recorded book is 171 kB; nothing sane is above this."""
REASON_BYTES_MAX = 4096
"""How much of a refusal is read for its reason."""
WEIGHT_SHARE = 0.5
"""The part of a venue's limit that we use: other programs may share the address."""
HEADER_DIGITS_MAX = 12
"""A number in a header that is longer is nonsense, and Python refuses to read much longer ones."""
RETRY_AFTER_MAX_S = 3 * 24 * 3600
"""Binance bans for up to three days."""
TOO_MANY_REQUESTS, BANNED = 429, 418
MARKETS = {"binance": binance_market, "bitstamp": bitstamp_market}


class RestError(Exception):
    """A request that failed: one line, and how long the venue wants to be left alone."""

    def __init__(self, reason: str, retry_after_s: float = 0.0, status: int = 0) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s
        self.status = status


@dataclass
class RestCounters:
    """Requests to one venue since the start."""

    requests: int = 0
    failures: int = 0
    limited: int = 0


class RestClient:
    """One venue's REST address."""

    def __init__(
        self,
        protocol: VenueProtocol,
        rest_url: str,
        session: aiohttp.ClientSession,
        ssl_context: ssl.SSLContext | bool,
    ) -> None:
        self.counters = RestCounters()
        self._protocol = protocol
        self._base = rest_url
        self._session = session
        self._ssl = ssl_context
        self._window_start_s = 0.0
        self._used_weight = 0
        self._not_before_s = 0.0

    async def get(self, path: str, weight: int) -> bytes:
        """The body of a 200 answer; RestError otherwise. Waits where the limit asks for it."""
        await self._wait_for_room(weight)
        self.counters.requests += 1
        try:
            limit = aiohttp.ClientTimeout(total=REQUEST_LIMIT_S)
            async with self._session.get(self._base + path, ssl=self._ssl, timeout=limit) as answer:
                self._learn(answer.headers)
                if answer.status != 200:
                    raise self._refusal(answer, await answer.content.read(REASON_BYTES_MAX))
                return await read_body(answer, BODY_BYTES_MAX)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self.counters.failures += 1
            raise RestError(describe(error)) from None
        except RestError:
            self.counters.failures += 1
            raise

    async def tick_size(self, symbol: str) -> tuple[str, str, bytes]:
        """A symbol's tick size, and the path and body it was read from."""
        path = self._protocol.metadata_path(symbol)
        try:
            body = await self.get(path, 20)
        except RestError as error:
            if error.status in (400, 404):
                raise MetadataError(f"{self._protocol.name}: {symbol}: {error}") from None
            raise RestError(f"{path}: {error}", error.retry_after_s) from None
        try:
            value: Any = orjson.loads(body)
        except orjson.JSONDecodeError:
            raise RestError(f"{path}: the answer is not JSON") from None
        try:
            tick_size = self._protocol.tick_size(value, symbol)
            decimal_unit(tick_size)
        except MetadataError as error:
            if error.is_final:
                raise
            raise RestError(f"{path}: {error}") from None
        except ScaleError as error:
            raise RestError(f"{path}: {symbol}: {said(str(error))}") from None
        return tick_size, path, body

    async def market_rules(self, symbol: str) -> MarketRules:
        """What the venue says of orders in a market; the errors as in `tick_size`."""
        path = self._protocol.metadata_path(symbol)
        body = await self.get(path, 20)
        try:
            return MARKETS[self._protocol.name](orjson.loads(body), symbol)
        except orjson.JSONDecodeError:
            raise RestError(f"{path}: the answer is not JSON") from None
        except EntryError as error:
            raise RestError(f"{path}: {error}") from None

    async def _wait_for_room(self, weight: int) -> None:
        limit = self._protocol.rest_limit
        while True:
            now_s = time.monotonic()
            if now_s < self._not_before_s:
                raise RestError("the venue asked to be left alone", self._not_before_s - now_s)
            if now_s - self._window_start_s >= limit.window_s:
                self._window_start_s, self._used_weight = now_s, 0
            if self._used_weight + weight <= limit.weight_max * WEIGHT_SHARE:
                self._used_weight += weight
                return
            await asyncio.sleep(self._window_start_s + limit.window_s - now_s + 0.1)

    def _learn(self, headers: Any) -> None:
        used = headers.get(self._protocol.used_weight_header or "-", "")
        self._used_weight = max(self._used_weight, _header_number(used) or 0)

    def _refusal(self, answer: aiohttp.ClientResponse, body: bytes) -> RestError:
        wait_s = 0.0
        if answer.status in (TOO_MANY_REQUESTS, BANNED, 503):
            self.counters.limited += 1
            given = answer.headers.get("Retry-After", "")
            default_s = 1.0 if answer.status == 503 else 30.0
            given_s = _header_number(given)
            wait_s = min(default_s if given_s is None else float(given_s), RETRY_AFTER_MAX_S)
            if answer.status != 503 or given:
                self._not_before_s = time.monotonic() + wait_s
        text = f"HTTP {answer.status} {said(answer.reason or '')}".strip()
        with contextlib.suppress(orjson.JSONDecodeError, KeyError, TypeError):
            text += f" ({said(orjson.loads(body)['msg'])})"
        return RestError(text, wait_s, answer.status)


def _header_number(text: str) -> int | None:
    """A header's number, None where it holds none, or nonsense."""
    return int(text) if text.isdecimal() and len(text) <= HEADER_DIGITS_MAX else None


async def read_body(answer: aiohttp.ClientResponse, size_max: int) -> bytes:
    """The whole body; RestError where it is longer than `size_max` bytes."""
    if (answer.content_length or 0) > size_max:
        raise RestError(f"a body of {answer.content_length} bytes")
    chunks, size = [], 0
    async for chunk in answer.content.iter_chunked(1 << 18):
        size += len(chunk)
        if size > size_max:
            raise RestError(f"a body of more than {size_max} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


__all__ = ["MetadataError", "RestClient", "RestError", "read_body"]
