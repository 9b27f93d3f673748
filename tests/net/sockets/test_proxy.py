"""Issue 13.8: venues by way of a proxy, over real sockets; what fails names the proxy."""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import trustme
from aiohttp import web

from net.feed.rest import RestClient
from net.feed.rest_limit import Urgency
from net.orders.http_connection import HttpLine
from net.sockets import websocket
from net.sockets.backoff import Backoff
from net.sockets.http_body import RestError
from net.sockets.private_connection import Line
from net.sockets.proxy import (
    VARIABLES,
    ProxySettingError,
    by_proxy,
    proxy_of,
    without_password,
)
from net.sockets.websocket import CONNECT_ERRORS, Listener, describe, open_websocket
from net.venues.binance.market_data import BINANCE
from tests.net.orders.test_http_connection import Owner, request
from tests.net.sockets.connect_proxy import LOGIN, PASSWORD, ConnectProxy, connect_proxy

pytestmark = pytest.mark.timeout(60)
GATEWAY = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("environment", "url", "proxy"),
    [
        ({}, "wss://a.example", ""),
        ({"HTTPS_PROXY": "http://p:1"}, "wss://a.example", "http://p:1"),
        ({"https_proxy": "http://p:1"}, "https://a.example", "http://p:1"),
        ({"https_proxy": "http://p:1", "HTTPS_PROXY": "http://q:1"}, "wss://a", "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1", "ALL_PROXY": "http://q:1"}, "wss://a", "http://p:1"),
        ({"ALL_PROXY": "p:1"}, "wss://a.example", "http://p:1"),
        ({"all_proxy": "https://u:w@p"}, "http://a.example", "https://u:w@p"),
        ({"HTTPS_PROXY": "http://p:1"}, "ws://a.example", ""),
        ({"HTTP_PROXY": "http://p:1"}, "ws://a.example", "http://p:1"),
        ({"HTTPS_PROXY": ""}, "wss://a.example", ""),
        ({"ALL_PROXY": "http://p:1"}, "wss://127.0.0.1:99", ""),
        ({"ALL_PROXY": "http://p:1"}, "wss://[::1]:99", ""),
        ({"ALL_PROXY": "http://p:1"}, "https://localhost", ""),
        ({"ALL_PROXY": "socks5://p:1"}, "https://localhost", ""),
    ],
)
def test_8_which_proxy(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], url: str, proxy: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert proxy_of(url) == proxy
    assert proxy_of(url, "http://own:3128") == "http://own:3128", "also where NO_PROXY says no"


@pytest.mark.parametrize(
    ("exceptions", "url", "is_direct"),
    [
        ("*", "wss://a.example", True),
        ("x.org,*", "wss://a.example", True),
        ("a.example", "wss://a.example", True),
        ("A.Example", "wss://a.example", True),
        ("example", "wss://a.example:9443", True),
        (".example", "wss://a.example", True),
        ("*.example", "wss://b.a.example", True),
        ("x.org, .example", "wss://a.example", True),
        ("x.org .example", "wss://a.example", True),
        ("ample", "wss://a.example", False),
        ("a.example.org", "wss://a.example", False),
        ("a.example:9443", "wss://a.example:9443", True),
        ("a.example:443", "https://a.example", True),
        ("a.example:80", "wss://a.example:9443", False),
        ("10.0.0.0/8", "wss://10.9.8.7", True),
        ("10.0.0.0/8", "wss://11.9.8.7", False),
        ("10.1.2.3/8,fd00::/8", "wss://[fd12::1]:9443", True),
        ("10.9.8.7", "wss://10.9.8.7:9443", True),
        ("10.0.0.0/8", "wss://a.example", False),
        ("", "wss://a.example", False),
        (",. ,", "wss://a.example", False),
    ],
)
@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_8_what_no_proxy_names(
    monkeypatch: pytest.MonkeyPatch, exceptions: str, url: str, is_direct: bool, name: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://p:1")
    monkeypatch.setenv(name, exceptions)
    assert proxy_of(url) == ("" if is_direct else "http://p:1")


@pytest.mark.parametrize("value", ["socks5://u:pw@p:1", "http://", "http://u:pw@p:77777", "x y:z"])
def test_8_a_proxy_that_cannot_be_used_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", value)
    with pytest.raises(ProxySettingError, match="ALL_PROXY: '") as caught:
        proxy_of("wss://a.example")
    assert "pw" not in str(caught.value) and "a.example in NO_PROXY" in str(caught.value)


def test_8_a_password_is_never_shown() -> None:
    assert without_password("http://u:p@q@host:1") == "http://host:1"
    assert by_proxy("refused", "https://u:p@host") == "refused (by the proxy https://host)"
    assert by_proxy("refused", "") == "refused"


# --- over real sockets -----------------------------------------------------------------------


class Venue:
    """A venue at a name that no name server knows, over TLS: WebSocket, REST and POST."""

    def __init__(self) -> None:
        authority = trustme.CA()
        self.client, self.server = (
            ssl.create_default_context(),
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH),
        )
        authority.configure_trust(self.client)
        authority.issue_cert("venue.example", "127.0.0.1").configure_cert(self.server)
        self.base = ""

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[Venue]:
        async def answer(_: web.Request) -> web.Response:
            return web.Response(text="{}")

        async def talk(request: web.Request) -> web.WebSocketResponse:
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            await socket.send_str("hello")
            async for _ in socket:
                pass
            return socket

        app = web.Application()
        app.add_routes([web.get("/ws", talk), web.get("/rest", answer), web.post("/a/", answer)])
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self.server)
        await site.start()
        port = runner.addresses[0][1]
        self.base = f"//venue.example:{port}"
        yield self
        await runner.cleanup()

    async def websocket(self, proxy: str) -> str:
        """What a connection came to: the reason of its failure, or nothing."""
        try:
            transport = await open_websocket(
                Listener, f"wss:{self.base}/ws", lambda: self.client, 5.0, proxy
            )
        except CONNECT_ERRORS as error:
            return describe(error)
        transport.disconnect()
        return ""

    async def line(self, proxy: str) -> str:
        """The same of a private connection."""
        owner = LineOwner()
        line = Line(
            f"wss:{self.base}/ws",
            ssl_context=lambda: self.client,
            backoff=Backoff(random.Random(1)),
            proxy=proxy,
        )
        run = asyncio.ensure_future(line.run(owner))
        while not owner.told:
            await asyncio.sleep(0.01)
        run.cancel()
        return owner.told[0]

    async def rest(self, proxy: str) -> str:
        async with aiohttp.ClientSession() as session:
            client = RestClient(BINANCE, f"https:{self.base}", session, self.client, proxy=proxy)
            try:
                await client.get("/rest", 1, Urgency.LOST_BOOK)
            except RestError as error:
                return str(error)
        return ""

    async def post(self, proxy: str) -> str:
        owner, loop = Owner(), asyncio.get_running_loop()
        line = HttpLine(
            f"https:{self.base}/",
            loop=loop,
            owner_loop=loop,
            ssl_context=lambda: self.client,
            proxy=proxy,
        )
        run = asyncio.ensure_future(line.run(owner))
        line.post(request(), 7)
        await owner.told(1)
        run.cancel()
        return owner.failures.get(7, ("", False))[0]


class LineOwner:
    def __init__(self) -> None:
        self.told: list[str] = []

    def on_open(self, now_ns: int) -> None:
        self.told.append("")

    def on_text(self, raw: bytes, now_ns: int) -> None: ...

    def on_lost(self, reason: str, now_ns: int) -> None: ...

    def note_line(self, note: object, **facts: object) -> None:
        self.told.append(str(facts["reason"]))


WAYS = pytest.mark.parametrize("way", ["websocket", "line", "rest", "post"])


def reached(way: str, proxy: ConnectProxy, address: str, *, is_up: bool = True) -> tuple[str, str]:
    """The reason of the failure, if any, and the authority that was asked for."""

    async def main() -> str:
        async with Venue().serving() as venue:
            if not is_up:
                venue.client = ssl.create_default_context()
            reason: str = await getattr(venue, way)(address)
            return reason

    reason = asyncio.run(main())
    return reason, proxy.asked[-1] if proxy.asked else ""


@WAYS
@pytest.mark.parametrize("has_password", [False, True])
def test_8_every_connection_goes_by_the_proxy(way: str, has_password: bool) -> None:
    with connect_proxy(has_password=has_password) as proxy:
        login = f"{LOGIN}@" if has_password else ""
        reason, asked = reached(way, proxy, f"http://{login}127.0.0.1:{proxy.port}")
    assert reason == "" and asked.startswith("venue.example:")


@WAYS
def test_8_a_proxy_over_tls(way: str) -> None:
    venue = Venue()

    async def main(address: str) -> Any:
        async with venue.serving():
            return await getattr(venue, way)(address)

    with connect_proxy(venue.server) as proxy:
        assert asyncio.run(main(f"https://127.0.0.1:{proxy.port}")) == ""
        assert proxy.asked[-1].startswith("venue.example:")


@WAYS
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "407"),
        (GATEWAY, "502"),
        ("nonsense\r\n\r\n", ""),
        ("", ""),
        ("certificate", "certificate not accepted"),
        ("unreachable", "Connection refused"),
    ],
)
def test_8_the_reason_names_the_proxy(way: str, answer: str | None, words: str) -> None:
    with connect_proxy(has_password=True) as proxy:
        login, port = "desk:wr0ng", proxy.port
        is_trusted = True
        if answer == "certificate":
            login, is_trusted = LOGIN, False
        elif answer == "unreachable":
            port = 1
        elif answer is not None:
            proxy.answer = answer.encode()
        reason, _ = reached(way, proxy, f"http://{login}@127.0.0.1:{port}", is_up=is_trusted)
    assert words in reason and reason.endswith(f"(by the proxy http://127.0.0.1:{port})"), reason
    assert "wr0ng" not in reason and PASSWORD not in reason and "\n" not in reason


def test_8_a_proxy_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "CONNECT_LIMIT_S", 0.3)

    async def main() -> str:
        async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        async with await asyncio.start_server(hold, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            venue = Venue()
            venue.base = "//venue.example:443"
            return await venue.websocket(f"http://127.0.0.1:{port}")

    started_s = time.monotonic()
    assert asyncio.run(main()).startswith("timed out (by the proxy http://127.0.0.1:")
    assert time.monotonic() - started_s < 5
