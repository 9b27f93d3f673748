"""One member's subscription is refused: the others are served, on one connection, real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import orjson
import pytest
from aiohttp import WSMsgType, web

import net.feed.connection
from engine.engine import Engine, Stage
from engine.layout import layout as L
from engine.layout import status as S
from engine.specs import FeedSpec, InstrumentSpec
from net.config.schema import parse_config
from net.feed.engine_thread import EngineThread
from net.feed.events import FeedEvent
from net.feed.snapshot_request import SnapshotRequest
from net.venues.bitstamp.market_data import BITSTAMP
from net.venues.bitstamp.schema import CHANNEL
from tests.net.rig import ASKS, BIDS, bitstamp_diff, snapshot
from tests.web_thread import listening
from tuning.clock import wall_ns

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(60, func_only=True)]

PAIRS = ("btcusd", "ethusd", "xrpusd")
REFUSED = "ethusd"


@dataclass
class Exchange:
    """Bitstamp's stream, as far as it goes; it refuses one pair at these of its requests."""

    refusals: range
    is_leaving: bool = False
    """Whether it is about to ask its clients to connect anew."""
    connections: int = 0
    asked: list[str] = field(default_factory=list)
    port: int = 0

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        link = web.WebSocketResponse()
        await link.prepare(request)
        self.connections += 1
        streaming = []
        async for message in link:
            if message.type is not WSMsgType.TEXT:
                continue
            asked = orjson.loads(message.data)
            if asked["event"] != "bts:subscribe":
                continue
            channel = asked["data"]["channel"]
            pair = channel.removeprefix(CHANNEL)
            self.asked.append(pair)
            if pair == REFUSED and self.asked.count(REFUSED) in self.refusals:
                data = {"code": None, "message": "Bad subscription string."}
                refusal = {"event": "bts:error", "channel": "", "data": data}
                await link.send_str(orjson.dumps(refusal).decode())
                continue
            done = {"event": "bts:subscription_succeeded", "channel": channel, "data": {}}
            await link.send_str(orjson.dumps(done).decode())
            streaming.append(asyncio.create_task(self._stream(link, pair)))
        for task in streaming:
            task.cancel()
        return link

    async def _stream(self, link: web.WebSocketResponse, pair: str) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                raw = bitstamp_diff(wall_ns() // 1000, BIDS, ASKS).decode()
                await link.send_str(raw.replace("btcusd", pair))
                if self.is_leaving:
                    self.is_leaving = False
                    leave = {"event": "bts:request_reconnect", "channel": "", "data": ""}
                    await link.send_str(orjson.dumps(leave).decode())
                await asyncio.sleep(0.02)


@contextlib.contextmanager
def running(exchange: Exchange) -> Iterator[None]:
    """The exchange on a loop and a thread of its own."""
    with listening([web.get("/", exchange.serve)]) as exchange.port:
        yield


@dataclass
class Host:
    """The housekeeping side: answers for the snapshots at once, keeps the events."""

    engine: Engine
    live: EngineThread | None = None
    events: list[tuple[FeedEvent, dict[str, object]]] = field(default_factory=list)

    def request_snapshot(self, request: SnapshotRequest) -> None:
        stage = Stage()
        body = snapshot("bitstamp", wall_ns() // 1000, BIDS, ASKS)
        assert self.engine.stage(request.feed, body, stage) == S.APPLIED
        assert self.live is not None
        self.live.snapshot(request, stage, 0)

    def ask_tick_size(self, feed: int) -> None:
        """It stays as it is."""

    def cancel_snapshot(self, feed: int) -> None:
        """It was answered at once."""

    def log(self, level: str, event: str, **facts: object) -> None:
        """Of no interest here."""

    def note(self, event: FeedEvent, level: str, /, **facts: object) -> None:
        self.events.append((event, facts))


@contextlib.contextmanager
def following(exchange: Exchange) -> Iterator[Host]:
    """An engine thread that follows the three pairs."""
    instruments = tuple(
        InstrumentSpec(pair, (FeedSpec("bitstamp", BITSTAMP.rules, 0, pair, "0.01"),))
        for pair in PAIRS
    )
    engine = Engine(instruments, window_slots=1 << 12, far_levels_max=64)
    toml = "".join(
        f'[[instrument]]\nsymbol = "{pair}"\n[[instrument.venue]]\nname = "bitstamp"\n'
        f'symbol = "{pair}"\ntick_size = "0.01"\n'
        for pair in PAIRS
    )
    toml += f'[venue.bitstamp]\nws_url = "ws://127.0.0.1:{exchange.port}"\n'
    toml += '[engine]\nidle = "backoff"\n'
    host = Host(engine)
    host.live = EngineThread(parse_config(toml, "test"), engine, host, seed=1)
    thread = threading.Thread(target=host.live.run, daemon=True)
    thread.start()
    try:
        yield host
    finally:
        host.live.stop()
        thread.join(10)
        assert not thread.is_alive()


def states(host: Host) -> list[str]:
    return [L.STATE_NAMES[host.engine.state(feed)] for feed in range(len(PAIRS))]


def until(host: Host, wanted: list[str], limit_s: float = 20.0) -> None:
    end_s = time.monotonic() + limit_s
    while states(host) != wanted:
        assert time.monotonic() < end_s, (states(host), host.events[-5:])
        time.sleep(0.02)


@pytest.mark.usefixtures("compiled_kernels")
def test_one_refused_pair_does_not_cost_the_others_their_books() -> None:
    """Issue 13.4. Seen: the connection was cut every 10 s, and all pairs lost their book."""
    exchange = Exchange(refusals=range(1, 1000))
    with running(exchange), following(exchange) as host:
        until(host, ["LIVE", "DISCONNECTED", "LIVE"])
        time.sleep(1.0)
        assert states(host) == ["LIVE", "DISCONNECTED", "LIVE"]
        assert exchange.connections == 1
        refused = [facts for event, facts in host.events if event is FeedEvent.SUBSCRIPTION_REFUSED]
        (facts,) = refused
        assert facts["symbol"] == REFUSED and "Bad subscription string" in str(facts["reason"])


@pytest.mark.usefixtures("compiled_kernels")
def test_a_refused_pair_is_asked_for_again_on_the_same_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(net.feed.connection, "REFUSED_AGAIN_S", (0.2, 1.0))
    monkeypatch.setattr(net.feed.connection, "HEARTBEAT_S", 0.1)
    exchange = Exchange(refusals=range(1, 3))
    with running(exchange), following(exchange) as host:
        until(host, ["LIVE", "LIVE", "LIVE"])
        assert exchange.connections == 1 and exchange.asked.count(REFUSED) == 3


@pytest.mark.usefixtures("compiled_kernels")
def test_where_all_is_refused_the_connection_is_opened_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tests.net.feed.test_subscriptions.PAIRS", (REFUSED,))
    exchange = Exchange(refusals=range(1, 3))
    with running(exchange), following(exchange) as host:
        until(host, ["LIVE"])
        assert exchange.connections == 3


@pytest.mark.usefixtures("compiled_kernels")
def test_a_pair_refused_by_the_next_server_is_asked_for_again_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A renewal is a subscription like the first: it stayed BUFFERING, and nobody asked again."""
    monkeypatch.setattr(net.feed.connection, "REFUSED_AGAIN_S", (0.5, 1.0))
    monkeypatch.setattr(net.feed.connection, "HEARTBEAT_S", 0.1)
    monkeypatch.setattr(net.feed.connection, "STEADY_S", 0.1)
    exchange = Exchange(refusals=range(2, 4))
    with running(exchange), following(exchange) as host:
        until(host, ["LIVE", "LIVE", "LIVE"])
        exchange.is_leaving = True
        until(host, ["LIVE", "DISCONNECTED", "LIVE"])
        until(host, ["LIVE", "LIVE", "LIVE"])
        assert exchange.connections == 2 and exchange.asked.count(REFUSED) == 4
