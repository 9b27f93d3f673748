"""Each quoted venue's order entry with what carries it: made, connected, closed."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from picows import WSFrame, WSListener, WSTransport, ws_create_server

from net.config.schema import Config, parse_config
from net.maker import order_connections
from net.maker.order_connections import OrderConnections, read_keys, venue_orders
from net.orders.interface import ConnectedEntry, EntryAddress, EntryConnector
from net.orders.messages import EntryError, Market
from net.venues.bitstamp.market_data import BITSTAMP

pytestmark = pytest.mark.timeout(30, func_only=True)

MARKETS = {
    "binance": Market("BTCUSDT", "BTC", "USDT", "0.01", "0.00001"),
    "bitstamp": Market("btcusd", "BTC", "USD", "1", "0.00000001"),
}
CONFIG = """
[[instrument]]
symbol = "BTC-USD"
[[instrument.venue]]
name = "binance"
symbol = "BTCUSDT"
[[instrument.venue]]
name = "bitstamp"
symbol = "btcusd"
[venue.bitstamp]
ws_url = "ws://127.0.0.1:{port}"
trade_url = "http://127.0.0.1:9"
[maker]
orders = "live"
journal = "journal"
[maker.venue.binance]
{first}
[maker.venue.bitstamp]
{second}
[maker.quotes]
size = "0.01"
[maker.risk]
order_size_max = "1"
order_value_max = "100000"
position_max = "3"
exposure_max = "250000"
daily_loss_max = "500"
"""


@dataclass
class Venue:
    """A venue's order-entry half that makes itself the entry, and keeps what it is told."""

    lines: int = 1
    https: int = 0
    has_http_owner: bool = False
    made: list[tuple[Any, ...]] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    @property
    def orders(self) -> Any:
        return self

    def read_keys(self, environment: dict[str, str]) -> str:
        if "KEY" not in environment:
            raise EntryError("KEY is not set")
        return environment["KEY"]

    def make_entry(
        self,
        venue: int,
        market: Market,
        keys: object,
        address: EntryAddress,
        host: object,
        connector: EntryConnector,
        *,
        self_trade_mode: str,
    ) -> ConnectedEntry:
        self.made.append((venue, market.symbol, keys, address, host, self_trade_mode))
        for _ in range(self.lines):
            connector.connection(address.ws_url)
        for _ in range(self.https):
            connector.http(address.trade_url)
        me: Any = self
        return ConnectedEntry(me, me, me if self.has_http_owner else None)

    def on_open(self, now_ns: int) -> None:
        self.told.append("open")

    def on_lost(self, reason: str, now_ns: int) -> None:
        self.told.append("lost")

    def note_line(self, note: object, **facts: object) -> None: ...


def config_of(first: str = "", second: str = "", port: int = 1) -> Config:
    return parse_config(CONFIG.format(first=first, second=second, port=port), "test")


def use(monkeypatch: pytest.MonkeyPatch, first: Venue, second: Venue) -> None:
    monkeypatch.setattr(order_connections, "VENUES", {"binance": first, "bitstamp": second})


async def others_end() -> None:
    """Wait for everything else on this loop."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others, return_exceptions=True)


@contextlib.contextmanager
def loop_in_thread() -> Iterator[asyncio.AbstractEventLoop]:
    """A housekeeping thread's loop."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop
    finally:
        asyncio.run_coroutine_threadsafe(others_end(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


HOST: Any = object()


async def connect(config: Config, loop: asyncio.AbstractEventLoop) -> tuple[Any, list[Any], Any]:
    """The connections, what was attached to which venue, and what is to be run."""
    keys: Any = {"binance": "one", "bitstamp": "two"}
    connections = OrderConnections(config, config.maker[0], MARKETS, keys, loop)
    attached: list[Any] = []
    runs = connections.connect(HOST, lambda venue, entry: attached.append((venue, entry)))
    return connections, attached, runs


def test_keys_are_read_of_these_venues_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Venue(), Venue())
    one: dict[str, Any] = {**read_keys(frozenset({"bitstamp"}), {"KEY": "k"})}
    assert one == {"bitstamp": "k"}
    assert list(read_keys(frozenset({"bitstamp", "binance"}), {"KEY": "k"})) == [*MARKETS]
    assert read_keys(frozenset(), {}) == {}
    with pytest.raises(EntryError, match=r"^KEY is not set$"):
        read_keys(frozenset({"binance"}), {})


def test_a_venue_without_order_entry_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    only_data: Any = SimpleNamespace(orders=None)
    use(monkeypatch, only_data, Venue())
    with pytest.raises(EntryError, match=r"^binance: orders cannot be sent there"):
        venue_orders("binance")
    with pytest.raises(EntryError, match=r"^binance: "):
        read_keys(frozenset({"binance"}), {"KEY": "k"})


def test_every_quoted_venue_gets_its_entry_and_its_addresses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = Venue(), Venue(https=1, has_http_owner=True)
    use(monkeypatch, first, second)

    async def test() -> None:
        with loop_in_thread() as loop:
            config = config_of('self_trade_mode = "EXPIRE_MAKER"')
            connections, attached, runs = await connect(config, loop)
            assert attached == [(0, first), (1, second)] and len(runs) == 2
            for run in runs:
                run.close()
            await connections.stop()

    asyncio.run(test())
    settings = config_of().settings("binance")
    ((venue, symbol, keys, address, host, mode),) = first.made
    assert (venue, symbol, keys, host, mode) == (0, "BTCUSDT", "one", HOST, "EXPIRE_MAKER")
    assert address == EntryAddress(settings.trade_url, settings.ws_url, settings.rest_url)
    ((venue, symbol, keys, address, host, mode),) = second.made
    assert (venue, symbol, keys, mode) == (1, "btcusd", "two", "")
    assert address == EntryAddress("http://127.0.0.1:9", "ws://127.0.0.1:1", BITSTAMP.rest_url)


def test_a_venue_that_is_not_quoted_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = Venue(), Venue()
    use(monkeypatch, first, second)

    async def test() -> None:
        config = config_of("quote = false")
        _, attached, runs = await connect(config, asyncio.get_running_loop())
        assert attached == [(1, second)] and first.made == []
        for run in runs:
            run.close()

    asyncio.run(test())


@pytest.mark.parametrize(
    "venue",
    [
        Venue(lines=0),
        Venue(lines=2),
        Venue(https=1),
        Venue(has_http_owner=True),
        Venue(https=2, has_http_owner=True),
    ],
    ids=["no line", "two lines", "HTTP without owner", "owner without HTTP", "HTTP twice"],
)
def test_an_entry_with_other_connections_than_it_says_is_a_mistake_of_ours(
    venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, venue, Venue())

    async def test() -> None:
        with pytest.raises(AssertionError):
            await connect(config_of(), asyncio.get_running_loop())

    asyncio.run(test())


class Listener(WSListener):  # type: ignore[misc]
    """The venue's end."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        transport.send_close(frame.get_close_code())
        transport.disconnect()


def test_lines_are_kept_up_and_closed_and_http_ends_with_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    venue = Venue(https=1, has_http_owner=True)
    use(monkeypatch, Venue(), venue)

    async def test() -> None:
        server = await ws_create_server(lambda request: Listener(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with loop_in_thread() as housekeeping:
            config = config_of("quote = false", port=port)
            connections, _, runs = await connect(config, housekeeping)
            tasks = [asyncio.create_task(run) for run in runs]
            async with asyncio.timeout(10):
                while not venue.told:
                    await asyncio.sleep(0.001)
            (posting,) = connections._posting
            assert venue.told == ["open"] and not posting.done()
            await connections.stop()
            await asyncio.wait_for(asyncio.gather(*tasks), 10)
            assert venue.told == ["open", "lost"] and posting.cancelled()
        server.close()

    asyncio.run(test())
