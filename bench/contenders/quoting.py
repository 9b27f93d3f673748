"""Ours with the market maker: the engine thread, its journal, and Binance's order entry.

Stamped is the moment at which the first order of a frame has been handed to the socket.
Runs on: the measured thread of a target.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from bench.load.frames import FIRST_ID
from bench.rig.stamps import Stamps
from bench.rig.venue_names import MEASURED
from engine.engine import Engine
from net.config.schema import Config
from net.journal.writer import JournalWriter
from net.maker.build import build_maker
from net.maker.event_journal import JournalNames
from net.maker.makers import Makers
from net.maker.shared import share
from net.orders.http_requests import HttpRequest, HttpWire
from net.orders.interface import EntryAddress, EntryHost, VenueEntry, Wire
from net.orders.markets import MarketRules
from net.orders.messages import Market
from net.sockets.backoff import Backoff
from net.sockets.outlet import Outlet
from net.sockets.private_connection import Line
from net.sockets.websocket import tls_context
from tuning.clock import steady_ns, wall_ns

MEASURED_SYMBOL = "BTC-USD"
QUOTING = (
    """
[[maker]]
symbol = "{symbol}"
orders = "{orders}"
[maker.quotes]
size = "0.01"
first = 0
hold = 0
edge_bps_min = 0.01
[maker.risk]
order_size_max = "1"
order_value_max = "1000000"
position_max = "100"
exposure_max = "100000000"
daily_loss_max = "100000000"
orders_per_10_s = 10000
venue_orders_per_10_s = 10000
venue_orders_per_day = 10000000
"""
    + f"[maker.venue.{MEASURED.name}]\nfee_bps = 0\n"
)
"""One quote a side at the touch, moved with it, and limits that no run reaches."""
COMMON = """
[makers]
venue_orders_per_10_s = 10000
venue_orders_per_day = 10000000
"""
OTHER = """
[[instrument]]
symbol = "{symbol}"
[[instrument.venue]]
name = "{venue}"
symbol = "{market}"
tick_size = "0.01"
"""


def others(count: int) -> list[tuple[str, str]]:
    """Instruments that are quoted on paper beside the measured one, and their markets: they are
    subscribed to, and no frame ever comes."""
    return [(f"X{number}-USD", f"X{number}USDT") for number in range(count)]


def quoting_text(count: int, is_quoted: bool) -> str:
    """The market makers of the measured instrument, if it `is_quoted`, and of `count` others."""
    texts = [QUOTING.format(symbol=MEASURED_SYMBOL, orders="live")] if is_quoted else []
    for symbol, market in others(count):
        texts.append(OTHER.format(symbol=symbol, venue=MEASURED.name, market=market))
        texts.append(QUOTING.format(symbol=symbol, orders="paper"))
    return "".join([*texts, COMMON])


def session_key() -> dict[str, str]:
    """The environment of a key that logs on once, so that orders are not signed one by one."""
    pem = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    prefix = f"POLLUX_{MEASURED.name.upper()}_"
    return {f"{prefix}API_KEY": "key" * 20, f"{prefix}ED25519_PEM": pem.decode()}


class Orders:
    """Order entry at one port of this machine; what it sends is stamped."""

    def __init__(self, engine: Engine, stamps: Stamps, market: Market, port: int) -> None:
        self._engine = engine
        self._stamps = stamps
        self._market = market
        self.is_frame = False
        """Whether a frame is being handled: an order that an answer lets go is not stamped."""
        self._url = f"ws://127.0.0.1:{port}/"
        self._line = Line(
            self._url,
            ssl_context=lambda: tls_context(""),
            backoff=Backoff(random.Random(1)),
        )

    def connect(
        self, host: EntryHost, attach: Callable[[int, VenueEntry], None]
    ) -> list[Coroutine[Any, Any, None]]:
        """As net.maker.order_connections does."""
        orders = MEASURED.orders
        assert orders is not None
        made = orders.make_entry(
            0,
            self._market,
            orders.read_keys(session_key()),
            EntryAddress(self._url, "", ""),
            host,
            self,
        )
        attach(0, made.entry)
        return [self._line.run(made.line_owner)]

    def connection(self, url: str) -> Wire:
        """What the entry's messages go out on."""
        return self

    def http(self, base_url: str) -> HttpWire:
        return self

    def post(self, request: HttpRequest, key: int) -> None:
        raise AssertionError("orders go over the private connection")

    async def stop(self) -> None:
        await self._line.stop()

    @property
    def outlet(self) -> Outlet:
        return self._line.outlet

    def send(self, message: bytes | bytearray) -> None:
        begun_ns = wall_ns()
        self._line.send(message)
        if self.is_frame:
            self.note(begun_ns, wall_ns())

    def note_compiled(self, begun_ns: int, now_ns: int) -> None:
        """The same of one that compiled code has sent, by the steady clock."""
        ahead_ns = wall_ns() - steady_ns()
        self.note(begun_ns + ahead_ns, now_ns + ahead_ns)

    def note(self, begun_ns: int, now_ns: int) -> None:
        """An order of the frame that is handled was written, and then handed to the socket."""
        update_id = self._engine.last_frame_id(0)
        index = update_id - FIRST_ID - 1
        if 0 <= index < self._stamps.columns and self._stamps.published[index] == 0:
            self._stamps.note(index, update_id, now_ns, begun_ns)

    def renew(self, reason: str) -> None:
        self._line.renew(reason)

    def drop(self, reason: str, wait_ns: int = 0) -> None:
        self._line.drop(reason, wait_ns)


class Quoting:
    """The market makers and the measured one's orders, for one run; `close` removes the journal.

    `port`: of the venue that takes the orders; 0: the measured instrument is not quoted.
    """

    def __init__(
        self, config: Config, engine: Engine, stamps: Stamps, port: int, log: Callable[..., None]
    ) -> None:
        self._log = log
        self._folder = Path(tempfile.mkdtemp(prefix="pollux-bench-journal-"))
        symbols = [maker.symbol for maker in config.maker]
        self._journal = JournalWriter(self._folder, symbols, [MEASURED.name], wall_ns())
        markets = [_market(config, number) for number in range(len(symbols))]
        makers = [
            build_maker(
                config,
                engine,
                {MEASURED.name: MarketRules(market, 1000, 1 << 60, "0", 0, 0, True)},
                self._journal,
                self,
                epoch=wall_ns() // 10**9,
                rng=random.Random(number),
                settings=config.maker[number],
                number=number,
                names=JournalNames(number, (0,)),
            )
            for number, market in enumerate(markets)
        ]
        lines: list[Orders | None] = [None] * len(makers)
        if port:
            lines[0] = self._orders = Orders(engine, stamps, markets[0], port)
            self._on_book, self._finish = makers[0].on_book, makers[0].finish_actions
            self._sender = makers[0].sender.compiled
            makers[0].finish_actions = self.finish  # type: ignore[method-assign]
            makers[0].on_book = self.on_book  # type: ignore[method-assign]
        self.makers = Makers(engine, makers, lines, share(config.makers, makers))

    def on_book(self, now_ns: int) -> None:
        """The step after a frame, in Python."""
        before = self._sender.first_stamps_ns
        self._orders.is_frame = True
        self._on_book(now_ns)
        self._orders.is_frame = False
        if (stamps_ns := self._sender.first_stamps_ns) != before:
            self._orders.note_compiled(*stamps_ns)

    def finish(self, count: int, now_ns: int) -> None:
        """The spin has stepped after a frame, and has sent what it could."""
        if self._sender.numbers(1) != [0]:
            self._orders.note_compiled(*self._sender.first_stamps_ns)
        else:
            self._orders.is_frame = True
        self._finish(count, now_ns)
        self._orders.is_frame = False

    def wall_ns(self) -> int:
        return wall_ns()

    def note_maker(self, level: str, what: str, **facts: object) -> None:
        self._log(level, what, **facts)

    def close(self) -> None:
        """The engine thread has ended."""
        self._journal.close(wall_ns())
        shutil.rmtree(self._folder, ignore_errors=True)


def _market(config: Config, number: int) -> Market:
    """Of a market maker; each has a base currency of its own."""
    (venue,) = config.quoted_instrument(config.maker[number]).venue
    base = venue.symbol.removesuffix("USDT")
    return Market(venue.symbol, base, "USDT", venue.tick_size or "0.01", "0.00001")
