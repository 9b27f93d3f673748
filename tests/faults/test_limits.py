"""With the real waits: no venue, however mad, makes us ask more of it than it allows.

Minutes pass in a moment: the event loop's clock jumps to the next timer instead of waiting for it.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

import net.feed.connection
import net.feed.rest_limit
import net.sockets.private_connection
from net.feed.connection import FeedConnection
from net.feed.rest import RestClient
from net.feed.rest_limit import Urgency
from net.sockets.backoff import Backoff
from net.sockets.http_body import RestError
from net.sockets.private_connection import Line
from net.sockets.websocket import STEADY_S
from net.venues.binance.market_data import BINANCE
from net.venues.bitstamp.market_data import BITSTAMP
from net.venues.interface import VenueProtocol
from tests.faults.jumping_time import JumpingTime

WINDOW_S = 300.0
ATTEMPTS_MAX = 300
"""Binance: 300 connection attempts in five minutes from one address."""
SPAN_S = 3 * WINDOW_S


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Any], Any]]:
    """Runs a coroutine in jumping time, which the code under test reads too."""
    with JumpingTime() as time:
        for module in (net.feed.connection, net.feed.rest_limit, net.sockets.private_connection):
            monkeypatch.setattr(module, "time", time)
        yield time.run


class _Transport:
    """A connection that lasts `life_s`; everything sent on it is well."""

    close_handshake = None
    is_disconnected = False
    underlying_transport = SimpleNamespace(
        get_extra_info={"socket": SimpleNamespace(fileno=lambda: -1)}.get
    )

    def __init__(self, life_s: float) -> None:
        self._over = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(life_s, self.disconnect)

    async def wait_disconnected(self) -> None:
        await asyncio.shield(self._over)

    def send(self, kind: object, message: bytes) -> None:
        pass

    def disconnect(self, graceful: bool = True) -> None:
        if not self._over.done():
            self._over.set_result(None)


class _Mad:
    """Venue and host of a stream; counts the attempts to connect."""

    name, symbols = "mad", ("X",)

    def __init__(self, protocol: VenueProtocol, life_s: float, notice_s: float | None) -> None:
        self.protocol, self.attempts_s = protocol, list[float]()
        self._life_s, self._notice_s = life_s, notice_s
        self.handle = None
        self.counters = SimpleNamespace(connections=0, connect_failures=0)
        self.stream = FeedConnection(
            self,  # type: ignore[arg-type]
            self,
            url="ws://nowhere",
            own=protocol.own_settings(),
            ssl_context=lambda: None,  # type: ignore[arg-type, return-value]
            idle_ping_s=5.0,
            backoff=Backoff(random.Random(7)),
        )
        self.stream._open = self._open  # type: ignore[method-assign]

    def trade_subscriptions(self) -> list[bytes]:
        return []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None

    async def _open(self) -> Any:
        loop = asyncio.get_running_loop()
        self.attempts_s.append(loop.time())
        if self._life_s == 0:
            raise ConnectionRefusedError(111, "refused")
        loop.call_later(0.01, self.stream.on_acknowledged)
        if self._notice_s is not None:
            loop.call_later(self._notice_s, self.stream.renew, "go away")
        return _Transport(self._life_s)

    async def run(self) -> None:
        task = asyncio.ensure_future(self.stream.run())
        await asyncio.sleep(SPAN_S)
        task.cancel()


def most_in_a_window(times_s: list[float]) -> int:
    first, most = 0, 0
    for last, time_s in enumerate(times_s):
        while time_s - times_s[first] >= WINDOW_S:
            first += 1
        most = max(most, last - first + 1)
    return most


@pytest.mark.parametrize("protocol", [BINANCE, BITSTAMP], ids=lambda p: p.name)
@pytest.mark.parametrize("life_s", [0, 0.02, 1.0, 4.9, 5.1, 30.0])
@pytest.mark.parametrize("notice_s", [None, 0.02, 0.5, 5.1])
def test_connections_stay_within_the_venue_s_limit(
    clock: Callable[[Any], Any], protocol: VenueProtocol, life_s: float, notice_s: float | None
) -> None:
    """Refused, cut at any age, or sent elsewhere at once and for ever."""
    mad = _Mad(protocol, life_s, notice_s)
    clock(mad.run())
    assert len(mad.attempts_s) > SPAN_S / 60, "it does not give up either"
    assert most_in_a_window(mad.attempts_s) <= ATTEMPTS_MAX / 2, "others may share the address"


@pytest.mark.parametrize("life_s", [0, 0.02, 1.0, 4.9, 5.1, 30.0])
def test_private_connections_stay_within_the_venue_s_limit(
    clock: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch, life_s: float
) -> None:
    """Refused, or cut at any age, and for ever."""
    attempts_s = list[float]()

    async def open_websocket(listener: Callable[[], Any], *_: object) -> Any:
        attempts_s.append(asyncio.get_running_loop().time())
        if life_s == 0:
            raise ConnectionRefusedError(111, "refused")
        transport = _Transport(life_s)
        listener().on_ws_connected(transport)
        return transport

    async def main() -> None:
        owner: Any = _Mad(BINANCE, 0, None)
        line = Line("ws://nowhere", ssl_context=owner.none, backoff=Backoff(random.Random(7)))
        task = asyncio.ensure_future(line.run(owner))
        await asyncio.sleep(SPAN_S)
        task.cancel()

    monkeypatch.setattr(net.sockets.private_connection, "open_websocket", open_websocket)
    clock(main())
    assert most_in_a_window(attempts_s) <= ATTEMPTS_MAX / 2, "others may share the address"
    least = SPAN_S / (life_s + 1) if life_s > STEADY_S else SPAN_S / 60
    assert len(attempts_s) > least, "it does not give up either, and is soon back"


class _Answer:
    """An answer of 200 with an empty body, at once."""

    status, reason, headers, content_length = 200, "OK", dict[str, str](), 0

    async def __aenter__(self) -> _Answer:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    @property
    def content(self) -> _Answer:
        return self

    async def iter_chunked(self, size: int) -> Any:
        for _ in range(0):
            yield b""


class _Refusal(_Answer):
    status, reason = 418, "I'm a teapot"
    headers = {"Retry-After": "120"}  # noqa: RUF012

    async def read(self, size: int) -> bytes:
        return b""


class _Session:
    """aiohttp's session, as far as it is used; notes when it was asked."""

    def __init__(self, answer: _Answer) -> None:
        self._answer, self.asked_s = answer, list[float]()

    def get(self, *_: object, **__: object) -> _Answer:
        self.asked_s.append(asyncio.get_running_loop().time())
        return self._answer


def test_requests_stay_within_the_venue_s_weight(clock: Callable[[Any], Any]) -> None:
    session = _Session(_Answer())
    client = RestClient(BINANCE, "http://nowhere", session, False)  # type: ignore[arg-type]

    async def ask_on_and_on() -> None:
        for _ in range(1000):
            await client.get("/api/v3/depth", 50, Urgency.LOST_BOOK)

    clock(ask_on_and_on())
    limit = BINANCE.rest_limit
    for start_s in session.asked_s:
        fixed = [t for t in session.asked_s if start_s <= t < start_s + limit.window_s]
        assert len(fixed) * 50 <= limit.weight_max


def test_a_ban_is_obeyed_by_everything_that_asks(clock: Callable[[Any], Any]) -> None:
    session = _Session(_Refusal())
    client = RestClient(BINANCE, "http://nowhere", session, False)  # type: ignore[arg-type]

    async def ask_every_second() -> None:
        for _ in range(500):
            with pytest.raises(RestError):
                await client.get("/api/v3/depth", 50, Urgency.LOST_BOOK)
            await asyncio.sleep(1.0)

    clock(ask_every_second())
    gaps_s = [b - a for a, b in itertools.pairwise(session.asked_s)]
    assert len(gaps_s) >= 3 and min(gaps_s) >= 120
