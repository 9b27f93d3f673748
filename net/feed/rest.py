"""The venues' REST side: snapshots and tick sizes, within the venues' limits.

One client a venue; net.feed.rest_limit says which request may go next. What the venue's header
counts is believed, and Retry-After is honoured for everything that goes to that venue. The engine
thread asks through net.daemon.snapshots and only applies what comes.
Runs on: the main thread's loop (housekeeping).
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import aiohttp
import orjson

from engine.layout.units import NS_PER_MS
from net.config.schema import Config
from net.feed.rest_limit import RequestLimit, Urgency
from net.log.one_line import one_line
from net.sockets.http_body import BANNED, RestError, read_body
from net.sockets.proxy import by_proxy, proxy_of
from net.sockets.websocket import describe, tls_context
from net.venues.interface import MetadataError, VenueProtocol
from net.venues.registry import VENUES
from tuning.clock import wall_ns

REQUEST_LIMIT_S = 10.0
BODY_BYTES_MAX = 64 << 20
"""The largest recorded book is 171 kB; nothing sane is above this."""
REASON_BYTES_MAX = 4096
"""How much of a refusal is read for its reason."""
HEADER_DIGITS_MAX = 12
"""A number in a header that is longer is nonsense, and Python refuses to read much longer ones."""
RETRY_AFTER_MAX_S = 3 * 24 * 3600
"""Venues ban an address for up to three days."""
LIMITED_WAIT_S, BUSY_WAIT_S = 30.0, 1.0
"""How long to wait where a venue that limits us, or is too busy, does not say it."""
REDIRECTIONS = range(300, 400)


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
        reserve: int = 0,
        proxy: str = "",
    ) -> None:
        """`reserve`: see net.feed.rest_limit."""
        self.counters = RestCounters()
        self.protocol = protocol
        self._base = rest_url
        self._session = session
        self._ssl = ssl_context
        self._proxy = proxy
        self._limit = RequestLimit(protocol.rest_limit, reserve)

    async def get(self, path: str, weight: int, urgency: Urgency) -> bytes:
        """The body of a 200 answer; RestError otherwise. Waits where the limit asks for it."""
        _, body = await self.get_heaviest(((path, weight),), urgency)
        return body

    async def get_heaviest(
        self,
        choices: Sequence[tuple[str, int]],
        urgency: Urgency,
        on_sent: Callable[[], None] | None = None,
    ) -> tuple[int, bytes]:
        """Ask for one of several paths, as much as the limit allows; which one, and its body.

        `choices`: path and weight, the lightest first. `on_sent` is called when the wait for the
        limit is over. RestError where there is no body; a redirection is one: the address is the
        operator's choice, not the answer's.
        """
        index = await self._limit.take([weight for _, weight in choices], urgency)
        if on_sent is not None:
            on_sent()
        self.counters.requests += 1
        try:
            return index, await self._request(choices[index][0])
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self.counters.failures += 1
            raise RestError(by_proxy(describe(error), self._proxy)) from None
        except RestError:
            self.counters.failures += 1
            raise

    async def _request(self, path: str) -> bytes:
        async with self._session.get(
            self._base + path,
            ssl=self._ssl,
            timeout=aiohttp.ClientTimeout(total=REQUEST_LIMIT_S),
            allow_redirects=False,
            proxy=self._proxy or None,
        ) as answer:
            used = answer.headers.get(self.protocol.used_weight_header or "-", "")
            self._limit.learn_total(_header_number(used) or 0)
            if answer.status != HTTPStatus.OK:
                raise self._refusal(answer, await answer.content.read(REASON_BYTES_MAX))
            return await read_body(answer, BODY_BYTES_MAX)

    async def metadata(self, symbol: str) -> tuple[str, bytes, Any]:
        """A symbol's metadata: the path, the body, and the body decoded.

        MetadataError: the venue has no such symbol; RestError as in `get`.
        """
        path = self.protocol.metadata_path(symbol)
        try:
            body = await self.get(path, self.protocol.metadata_weight, Urgency.METADATA)
            return path, body, orjson.loads(body)
        except RestError as error:
            if self.protocol.has_no_symbol(error.body):
                raise MetadataError(f"{self.protocol.name}: {symbol}: {error}") from None
            raise RestError(f"{self._base}{path}: {error}", error.retry_after_s) from None
        except orjson.JSONDecodeError:
            raise RestError(f"{self._base}{path}: the answer is not JSON") from None

    def _refusal(self, answer: aiohttp.ClientResponse, body: bytes) -> RestError:
        status, wait_s = answer.status, 0.0
        value: Any = None
        with contextlib.suppress(orjson.JSONDecodeError):
            value = orjson.loads(body)
        if status in (HTTPStatus.TOO_MANY_REQUESTS, BANNED, HTTPStatus.SERVICE_UNAVAILABLE):
            self.counters.limited += 1
            given_s = self._asked_wait_s(answer.headers.get("Retry-After", ""), value)
            is_busy = status == HTTPStatus.SERVICE_UNAVAILABLE
            default_s = BUSY_WAIT_S if is_busy else LIMITED_WAIT_S
            wait_s = min(default_s if given_s is None else given_s, RETRY_AFTER_MAX_S)
            if not is_busy or given_s is not None:
                self._limit.leave_alone(wait_s)
        text = f"HTTP {status} {one_line(answer.reason or '')}".strip()
        if not self._base.startswith("https:"):
            text = by_proxy(text, self._proxy)  # which may have answered itself
        if status in REDIRECTIONS:
            to = one_line(answer.headers.get("Location", "nowhere"))
            text += f": sent to {to}, and redirections are not followed"
        elif isinstance(value, dict) and "msg" in value:
            text += f" ({one_line(value['msg'])})"
        return RestError(text, wait_s, status, value)

    def _asked_wait_s(self, header: str, body: Any) -> float | None:
        """How long the venue wants to be left alone, where its header or its message says so."""
        given_s = _header_number(header)
        if given_s is not None:
            return float(given_s)
        end_ms = self.protocol.ban_end_ms(body)
        return None if end_ms is None else max((end_ms - wall_ns() // NS_PER_MS) / 1000, 0.0)


def rest_clients(config: Config, session: aiohttp.ClientSession) -> dict[str, RestClient]:
    """A client of each venue of a configuration; each keeps back a light snapshot for each book."""
    return {name: rest_client(config, name, session) for name in config.venue_names()}


def rest_client(config: Config, name: str, session: aiohttp.ClientSession) -> RestClient:
    """A client of one venue, which need not be in use."""
    protocol, settings, reserve = VENUES[name], config.settings(name), 0
    if protocol.rules.snapshot is not None:
        lightest = protocol.snapshot_weight(protocol.snapshot_depths(settings)[0])
        reserve = lightest * config.feeds_of(name)
    tls = tls_context(settings.ca_file)
    proxy = proxy_of(settings.rest_url, settings.proxy)
    return RestClient(protocol, settings.rest_url, session, tls, reserve, proxy)


def _header_number(text: str) -> int | None:
    """A header's number, None where it holds none, or nonsense."""
    return int(text) if text.isdecimal() and len(text) <= HEADER_DIGITS_MAX else None


__all__ = ["RestClient"]
