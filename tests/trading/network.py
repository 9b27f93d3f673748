"""What carries order entry: connections that delay, break and come back, and single HTTP requests.

A connection keeps its order both ways, and what is lost is lost with it: of what was under way when
it broke the beginning may still arrive. HTTP requests overtake each other, arrive late or never,
and their answers too.
Runs on: the tests' thread.
"""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING

import orjson

from net.orders.http_connection import REQUEST_LIMIT_S
from net.orders.http_requests import HttpAnswer, HttpOwner, HttpRequest
from net.sockets import outlet as OW
from net.sockets.backoff import Backoff
from net.sockets.private_connection import IDLE_PING_S, LineOwner
from tests.net.sockets.outlet_rig import PairOutlet
from tests.trading.faults import ON_CONNECT, ON_EVENT, ON_MESSAGE, ON_POST, ON_POST_ANSWER

if TYPE_CHECKING:
    from tests.trading.venues import VenueSide
    from tests.trading.world import World

MS, S = 10**6, 10**9
TRAVEL_MS = (2, 40)
STALL_MS = (1_500, 8_000)
"""Beyond Binance's window, and its answers beyond their time limit; below what pings notice."""
SLOW_MS, STUCK_MS = (1_000, 15_000), (21_000, 140_000)
"""Beyond an answer's time limit; and beyond the client's patience, but not the venue's 150 s."""
REQUEST_LIMIT_NS = int(REQUEST_LIMIT_S * S)


EVENTS = ('"executionReport"', '"outboundAccountPosition"', '"event":"order_', '"event":"trade"')
"""What is an event of the account."""
LIMITED = '"retryAfter":'


def _wait_ns(text: str) -> int:
    """How long an answer of Binance's wants us to wait; 0 where it was cut short."""
    try:
        data = orjson.loads(text)["error"]["data"]
    except orjson.JSONDecodeError:
        return 0
    if "newOrderResponse" in data:  # the half of a replace
        data = data["newOrderResponse"]["data"]
    return int(data["retryAfter"] - data["serverTime"]) * MS


class Socket:
    """One connection from its beginning to its end: what order entry and the venue write to."""

    microseconds = False

    def __init__(self, link: Link, connection_id: int) -> None:
        self.connection_id = connection_id
        self.is_over = False
        """Nothing arrives here any more."""
        self.is_up_over = False
        """Nor at the venue."""
        self.is_closing = False
        self._link, self._world, self._rng = link, link.world, link.rng
        self._up_ns = self._down_ns = 0

    def up(self, message: bytes) -> None:
        """Send to the venue."""
        world, name = self._world, self._link.name
        if self.is_over or self.is_closing:
            return
        stall_ns = self._stall_ns()
        self._up_ns = max(self._up_ns, world.now_ns + self._travel_ns() + stall_ns)
        world.say("{} > {}", name, message)
        fair = world.fair_price
        world.at(self._up_ns, partial(self._arrive_up, message, fair))

    def _arrive_up(self, message: bytes, fair: int) -> None:
        if self.is_over and self._rng.random() < 0.5:
            self.end_up()
        if not self.is_up_over:
            self._world.say("{} > arrived {}", self._link.name, message)
            with self._world.judge.delivering(fair):
                self._link.venue.receive(self, message)

    def end_up(self) -> None:
        """The venue has noticed that nothing more comes."""
        if not self.is_up_over:
            self.is_up_over = True
            self._link.venue.closed(self)

    def send(self, text: str) -> None:
        """Send to us."""
        if self.is_over:
            return
        world, name = self._world, self._link.name
        is_event = any(each in text for each in EVENTS)
        if is_event and world.schedule.strike(ON_EVENT, name, world.now_ns):
            return
        stall_ns = self._stall_ns()
        if self._struck == "garbage":
            text = text[: len(text) // 2]
        self._down_ns = max(self._down_ns, world.now_ns + self._travel_ns() + stall_ns)
        world.at(self._down_ns, partial(self._arrive_down, text))

    def _arrive_down(self, text: str) -> None:
        if not self.is_over:
            self._world.say("{} < {}", self._link.name, text)
            if LIMITED in text:
                self._world.judge.leave_alone(self._link.name, _wait_ns(text))
            owner = self._link.owner
            assert owner is not None
            owner.on_text(text.encode(), self._world.steady_ns)

    def abort(self) -> None:
        """The venue cuts it."""
        self.end("reset by the venue")

    def end(self, reason: str, after_ms: int = 1) -> None:
        """Nothing arrives from now on; that it is over is noticed after so long."""
        if not self.is_over:
            self.is_over = True
            world = self._world
            world.say("{}: {}", self._link.name, reason)
            world.at(max(self._up_ns, world.now_ns) + 1, self.end_up)
            world.after(after_ms * MS, partial(self._link.lost, self, reason))

    def _travel_ns(self) -> int:
        return self._rng.randrange(TRAVEL_MS[0] * MS, TRAVEL_MS[1] * MS)

    def _stall_ns(self) -> int:
        """How long a message is held up; a connection may end here instead."""
        world = self._world
        kind = self._struck = world.schedule.strike(ON_MESSAGE, self._link.name, world.now_ns)
        if kind == "cut":
            self.end("cut")
        elif kind == "half-open":
            self.end("half-open", self._rng.randrange(int(IDLE_PING_S), int(2_000 * IDLE_PING_S)))
        return self._rng.randrange(*STALL_MS) * MS if kind == "stall" else 0


class LinkOutlet(PairOutlet):
    """What compiled code sends over a link: on its way when Python hears of it."""

    def __init__(self, link: Link) -> None:
        super().__init__()
        self.carrier = link

    @property
    def is_clear(self) -> bool:
        if not self.words[OW.MASKS_LEFT]:
            self.set_masks(bytes(OW.MASKS_MAX * OW.MASK_BYTES))
        return self.carrier.socket is not None and not self.carrier.socket.is_closing

    @property
    def failure(self) -> str:
        for text in self.texts():
            self.carrier.send(text)
        return ""


class Link:
    """A `net.orders.interface.Wire`: one venue's connection, kept up as
    net.sockets.private_connection does."""

    def __init__(self, world: World, venue: VenueSide, rng: random.Random) -> None:
        self.world, self.venue, self.rng = world, venue, rng
        self.name = venue.name
        self.owner: LineOwner | None = None
        self.socket: Socket | None = None
        self.is_over = False
        """Whether the process that it belonged to is gone."""
        self._backoff = Backoff(rng)
        self._wait_ns = 0
        self.outlet = LinkOutlet(self)

    def connect(self) -> None:
        """Open, now or at the next attempt."""
        world = self.world
        if self.is_over:
            return
        if world.schedule.strike(ON_CONNECT, self.name, world.now_ns):
            self._connect_later()
        else:
            world.after(self.rng.randrange(10, 100) * MS, self._open)

    def _connect_later(self) -> None:
        delay_ns = max(self._backoff.next_ns(), self._wait_ns)
        self._wait_ns = 0
        self.world.after(delay_ns, self.connect)

    def _open(self) -> None:
        if self.is_over:
            return
        assert self.owner is not None and self.socket is None
        self._backoff.reset()
        self.socket = Socket(self, self.world.next_number())
        self.venue.opened(self.socket)
        self.owner.on_open(self.world.steady_ns)

    def lost(self, socket: Socket, reason: str) -> None:
        """A connection has ended."""
        if socket is self.socket and not self.is_over:
            assert self.owner is not None
            self.socket = None
            self.owner.on_lost(reason, self.world.steady_ns)
            self._connect_later()

    def break_off(self) -> None:
        """Our process is gone."""
        self.is_over = True
        if self.socket is not None:
            self.socket.end("our end is gone")

    # --- what order entry asks for ---------------------------------------------------------------

    def send(self, message: bytes | bytearray) -> None:
        self.world.judge.note_sent(self.name, bytes(message))
        if self.socket is not None:
            self.socket.up(bytes(message))

    def renew(self, reason: str) -> None:
        if self.socket is not None:
            self.socket.is_closing = True
            self.world.after(200 * MS, partial(self.socket.end, f"renewed: {reason}"))

    def drop(self, reason: str, wait_ns: int = 0) -> None:
        self._wait_ns = max(self._wait_ns, wait_ns)
        if self.socket is not None:
            self.socket.end(f"dropped: {reason}")


class Http:
    """A `net.orders.http_requests.HttpWire`: single requests, each on a way of its own."""

    def __init__(self, world: World, venue: VenueSide, rng: random.Random) -> None:
        self.owner: HttpOwner | None = None
        self.is_over = False
        self._world, self._venue, self._rng = world, venue, rng

    def post(self, request: HttpRequest, key: int) -> None:
        world, rng = self._world, self._rng
        world.judge.note_sent(self._venue.name, request.path.encode() + b"&" + request.body)
        world.say("{} > {} {}", self._venue.name, request.path, request.body)
        kind = world.schedule.strike(ON_POST, self._venue.name, world.now_ns)
        travel_ns = rng.randrange(TRAVEL_MS[0] * MS, TRAVEL_MS[1] * MS)
        if kind == "post-unsent":
            wait_ns = rng.choice((travel_ns, 3 * S))
            world.after(wait_ns, partial(self._fail, key, "cannot connect", False))
            return
        if kind == "post-lost":
            world.after(4 * travel_ns, partial(self._fail, key, "reset", True))
            if rng.random() < 0.5:
                return
        if kind in ("post-slow", "post-stuck"):
            travel_ns = rng.randrange(*(SLOW_MS if kind == "post-slow" else STUCK_MS)) * MS
        limit_ns = world.now_ns + REQUEST_LIMIT_NS
        world.under_way += 1
        fair, is_told = world.fair_price, kind != "post-lost"
        world.after(travel_ns, partial(self._arrive, request, key, limit_ns, fair, is_told))
        if travel_ns > REQUEST_LIMIT_NS:
            world.at(limit_ns, partial(self._fail, key, "timed out", True))

    def _arrive(
        self, request: HttpRequest, key: int, limit_ns: int, fair: int, is_told: bool
    ) -> None:
        world, rng = self._world, self._rng
        world.under_way -= 1
        world.say("{} > arrived {} {}", self._venue.name, request.path, request.body)
        with world.judge.delivering(fair):
            answer = self._venue.handle(request)
        if not is_told or world.now_ns >= limit_ns:
            return
        kind = world.schedule.strike(ON_POST_ANSWER, self._venue.name, world.now_ns)
        travel_ns = rng.randrange(TRAVEL_MS[0] * MS, TRAVEL_MS[1] * MS)
        if kind == "answer-slow":
            travel_ns = rng.randrange(*SLOW_MS) * MS
        elif kind == "answer-spoilt":
            answer = answer._replace(body=answer.body[: len(answer.body) // 2])
        if kind == "answer-lost" or world.now_ns + travel_ns > limit_ns:
            world.at(limit_ns, partial(self._fail, key, "timed out", True))
        else:
            world.after(travel_ns, partial(self._tell, key, answer))

    def _tell(self, key: int, answer: HttpAnswer) -> None:
        if not self.is_over:
            self._world.say("{} < {} {}", self._venue.name, answer.status, answer.body)
            if "Retry-After" in answer.headers:
                wait_ns = int(answer.headers["Retry-After"]) * S
                self._world.judge.leave_alone(self._venue.name, wait_ns)
            assert self.owner is not None
            self.owner.on_http(key, answer, self._world.steady_ns)

    def _fail(self, key: int, reason: str, was_sent: bool) -> None:
        if not self.is_over:
            self._world.say("{}: no answer: {}, sent {}", self._venue.name, reason, was_sent)
            assert self.owner is not None
            self.owner.on_http_failed(key, reason, was_sent, self._world.steady_ns)
