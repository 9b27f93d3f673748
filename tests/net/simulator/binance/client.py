"""A client of Binance's WebSocket API for the tests, written from the documentation alone."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import aiohttp
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from net.simulator.options import SimulatorOptions, TradingOptions
from tests.net.simulator.reference import Lab, lab

KEY = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
SECRET = b"NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
ED25519_KEY = "an-ed25519-key"
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC_PEM = (
    PRIVATE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
)


def options(faults: tuple[str, ...] = (), **trading: Any) -> SimulatorOptions:
    """Venues with both keys, at real speed."""
    return SimulatorOptions(
        far_levels_share=0.0,
        faults=faults,
        trading=TradingOptions(ed25519_key=ED25519_KEY, ed25519_public_pem=PUBLIC_PEM, **trading),
    )


def payload(params: dict[str, Any]) -> bytes:
    """What is signed: the values as JSON spells them, less the quotes."""
    texts = {name: json.dumps(value).strip('"') for name, value in params.items()}
    return "&".join(f"{name}={texts[name]}" for name in sorted(texts)).encode()


def hmac_signature(params: dict[str, Any]) -> str:
    return hmac.new(SECRET, payload(params), hashlib.sha256).hexdigest()


def ed25519_signature(params: dict[str, Any]) -> str:
    return base64.b64encode(PRIVATE.sign(payload(params))).decode()


class Client:
    """One connection. What comes unasked is kept in `events`."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.events: list[dict[str, Any]] = []
        self.everything: list[dict[str, Any]] = []
        self._next_id = 1

    async def send(self, method: str, params: dict[str, Any] | None = None) -> int:
        number, self._next_id = self._next_id, self._next_id + 1
        request = {"id": number, "method": method, "params": params or {}}
        await self.socket.send_str(json.dumps(request))
        return number

    async def read(self, seconds: float = 5.0) -> dict[str, Any]:
        message = await asyncio.wait_for(self.socket.receive(), seconds)
        assert message.type == aiohttp.WSMsgType.TEXT, message
        found: dict[str, Any] = json.loads(message.data)
        self.everything.append(found)
        if "event" in found:
            assert found["subscriptionId"] == 0
            self.events.append(found["event"])
        return found

    async def call(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """The answer to one request."""
        number = await self.send(method, params)
        while True:
            answer = await self.read()
            if answer.get("id", -1) == number:
                return answer

    async def now_ms(self) -> int:
        answer = await self.call("time")
        found: int = answer["result"]["serverTime"]
        return found

    async def params(self, **given: Any) -> dict[str, Any]:
        """Parameters signed with the HMAC key at the venue's own time."""
        given = {"apiKey": KEY, "timestamp": await self.now_ms(), **given}
        return {**given, "signature": hmac_signature(given)}

    async def signed(self, method: str, **given: Any) -> dict[str, Any]:
        return await self.call(method, await self.params(**given))

    async def result(self, method: str, **given: Any) -> Any:
        answer = await self.signed(method, **given)
        assert answer["status"] == 200, answer
        return answer["result"]

    async def refused(self, method: str, **given: Any) -> tuple[int, int, str]:
        """(status, code, text) of a request that fails."""
        answer = await self.signed(method, **given)
        assert answer["status"] != 200, answer
        return answer["status"], answer["error"]["code"], answer["error"]["msg"]

    async def follow(self) -> None:
        """Subscribe to the user data stream."""
        answer = await self.signed("userDataStream.subscribe.signature")
        assert answer["result"] == {"subscriptionId": 0}

    async def quiet(self, seconds: float = 0.2) -> None:
        """Read until nothing comes for a while."""
        while True:
            try:
                await self.read(seconds)
            except TimeoutError:
                return

    def reports(self) -> list[dict[str, Any]]:
        return [event for event in self.events if event["e"] == "executionReport"]


Test = Callable[[Lab, Client], Awaitable[None]]
REST = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC"}
MAKER = {"symbol": "BTCUSDT", "type": "LIMIT_MAKER"}


@asynccontextmanager
async def client(here: Lab) -> AsyncIterator[Client]:
    socket = await here.session.ws_connect(f"{here.binance}/ws-api/v3")
    yield Client(socket)
    await socket.close()


def run(test: Test, chosen: SimulatorOptions | None = None, *, paused: bool = True) -> None:
    """A test on a frozen market (what it holds, it goes on holding) unless it is told to run."""

    async def main() -> None:
        async with lab(chosen or options()) as here, client(here) as it:
            if paused:
                await here.control(here.binance, "pause")
            await test(here, it)
            here.venues.server("binance").orders.desk.check()  # type: ignore[attr-defined]

    asyncio.run(main())


async def touch(here: Lab) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    """Best bid and its quantity, best ask and its quantity."""
    book = await here.get(f"{here.binance}/api/v3/depth?symbol=BTCUSDT&limit=5")
    (bid, bids), (ask, asks) = book["bids"][0], book["asks"][0]
    return Decimal(bid), Decimal(bids), Decimal(ask), Decimal(asks)


def events_of(it: Client) -> list[tuple[str, str, str]]:
    return [(e["x"], e["X"], e["z"]) for e in it.reports()]
