"""Faults that simulated venues inflict: one table, a small language to order them, the injector.

    NAME[=VALUE][:VENUE][@SECONDS][xTIMES | /SECONDS]        drop@5x3   delay=250/4

An order waits until its time (`@`, seconds from when it was given; at once if left out), then
strikes the next TIMES occasions at each of its venues (once if left out), or every one for so many
seconds. What an occasion is the table says: a book frame about to be sent, a REST answer, a
snapshot, a subscription, a TLS handshake, or a moment in an order's life (orders/).
At most one order strikes an occasion, the one given first.
Everything drawn comes from the seed. A name that does not resolve is the client's side of the
world; no fault here.
Runs on: the simulator's event loop.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from aiohttp import web

from net.simulator import answers, mutations
from net.simulator.clock import monotonic_s
from net.simulator.connection import (
    CANCEL,
    CHANGE,
    FILL,
    PLACE,
    SIGNED,
    SUBSCRIBE,
    Connection,
    Interceptor,
    Outgoing,
)
from net.simulator.flow import generator
from net.simulator.options import SimulatorError
from net.simulator.registry import NAMES, VENUES, simulated_venue

FRAME, ANSWER, SNAPSHOT, HANDSHAKE = "book frame", "REST answer", "snapshot", "TLS handshake"
ORDER_ENTRY = (SIGNED, PLACE, CANCEL, CHANGE, FILL)  # only a client with orders meets these
ORDERS_MAX = 256  # a schedule of more is a typing error; it also bounds what a frame looks through
TIMES_MAX = 1_000_000
SECONDS_MAX = 86_400.0
MID_FRAME_WAIT_S = 0.05  # so that the first half is read before the reset overtakes it
CLOSE_REASON_LIFETIME = "Connection lifetime reached"

Mutation = Callable[[mutations.BookFrame, float, np.random.Generator], Sequence[Outgoing]]
Deed = Callable[[Connection, str, float], Awaitable[Sequence[Outgoing]]]
Edit = Callable[[answers.Kept, web.Request, web.Response, float], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Fault:
    """One thing that can go wrong. `unit` names the value; without one the fault takes none.

    One that is not `is_common` happens at the venues whose records name it.
    """

    name: str
    occasion: str
    what: str
    mutation: Mutation | None = None
    deed: Deed | None = None
    edit: Edit | None = None
    value: float = 0.0
    unit: str = ""
    is_common: bool = True

    @cached_property
    def venues(self) -> tuple[str, ...]:
        """Where it can happen."""
        return tuple(
            name
            for name in NAMES
            if self.is_common or self.name in simulated_venue(name).own_faults
        )


# --- what happens to a connection ----------------------------------------------------------------


async def _delay(connection: Connection, text: str, value: float) -> Sequence[Outgoing]:
    await asyncio.sleep(value / 1000)
    return (text,)


async def _reorder(connection: Connection, text: str, value: float) -> Sequence[Outgoing]:
    connection.held = text
    return ()


async def _close(connection: Connection, text: str, value: float) -> Sequence[Outgoing]:
    await connection.websocket.close(code=int(value))
    return ()


async def _hang_up(connection: Connection, text: str, value: float) -> Sequence[Outgoing]:
    connection.hang_up()
    return ()


async def _reset(connection: Connection, text: str, value: float) -> Sequence[Outgoing]:
    whole = mutations.wire(text.encode(), mutations.OPCODE_TEXT).data
    connection.put_raw(whole[: len(whole) // 2])
    await asyncio.sleep(MID_FRAME_WAIT_S)
    connection.abort()
    return ()


async def _silence(connection: Connection, text: str, value: float) -> Sequence[Outgoing]:
    connection.is_silenced = True
    return ()


async def _cut(connection: Connection, text: str, value: float) -> Sequence[Outgoing]:
    reason = CLOSE_REASON_LIFETIME.encode()
    await connection.websocket.close(code=1001, message=reason)
    return ()


async def _miss_pings(connection: Connection, text: str, value: float) -> Sequence[Outgoing]:
    """The frame still goes; the connection is cut as if its pongs had stayed out."""
    connection.is_deaf = True
    await connection.websocket.ping(b"missed")
    connection.close_later(value, 1008, "Pong timeout")
    return (text,)


async def _notice(connection: Connection, text: str, value: float) -> Sequence[Outgoing]:
    notice = connection.notice_text(connection)
    return (notice, text) if notice else (text,)


# --- the table -----------------------------------------------------------------------------------

_M = mutations
_TABLE = (
    Fault("drop", FRAME, "the frame is lost", _M.drop),
    Fault("duplicate", FRAME, "the frame comes twice", _M.duplicate),
    Fault("reorder", FRAME, "the next frame overtakes it", deed=_reorder),
    Fault("delay", FRAME, "it and all behind it are late", deed=_delay, value=300, unit="ms"),
    Fault("gap", FRAME, "one update id is missing before it", _M.gap, is_common=False),
    Fault(
        "wrong-checksum",
        FRAME,
        "its checksum is another book's",
        _M.wrong_checksum,
        is_common=False,
    ),
    Fault(
        "venue-clock",
        FRAME,
        "the venue's clock is so far behind",
        _M.age,
        value=1500,
        unit="ms",
        is_common=False,
    ),
    Fault(
        "future",
        FRAME,
        "its time is so far ahead",
        _M.future,
        value=3600,
        unit="s",
        is_common=False,
    ),
    Fault("same-time", FRAME, "it comes as two of one time", _M.halve, is_common=False),
    Fault("fragments", FRAME, "it comes in pieces", _M.fragment, value=5, unit="fragments"),
    Fault("reordered-keys", FRAME, "its keys come in another order", _M.reorder_keys),
    Fault("extra-keys", FRAME, "it has keys nobody knows", _M.extra_keys),
    Fault("whitespace", FRAME, "it is full of white space", _M.whitespace),
    Fault("escapes", FRAME, "a text beside the data uses every escape", _M.escape_strings),
    Fault("huge", FRAME, "it is padded", _M.pad, value=2_000_000, unit="bytes"),
    Fault("unknown-symbol", FRAME, "one of another symbol comes before it", _M.unknown_symbol),
    Fault("escaped-keys", FRAME, "letters of its keys are escapes", _M.escape_keys),
    Fault("binary", FRAME, "random bytes in a binary frame", _M.binary),
    Fault("reserved-bit", FRAME, "it says that it is compressed", _M.reserved_bit),
    Fault("garbage", FRAME, "random bytes in a text frame", _M.garbage),
    Fault("truncated-json", FRAME, "its text ends early", _M.truncate),
    Fault("wrong-types", FRAME, "a field is of another type, or gone", _M.wrong_types),
    Fault("exponent", FRAME, "a price is written with an exponent", _M.exponent),
    Fault(
        "off-tick",
        FRAME,
        "a low bid has a finer tick: so many decimals",
        _M.off_tick,
        value=3,
        unit="decimals",
    ),
    Fault("negative-price", FRAME, "a price is negative", _M.negative_price),
    Fault("zero-price", FRAME, "a price is zero", _M.zero_price),
    Fault("long-digits", FRAME, "a quantity has 33 digits", _M.long_digits),
    Fault("many-levels", FRAME, "it has more asks", _M.many_levels, value=20_000, unit="levels"),
    Fault("crossed", FRAME, "an ask below every bid comes and stays", _M.cross),
    Fault("close", FRAME, "a closing handshake instead", deed=_close, value=1000, unit="code"),
    Fault("hang-up", FRAME, "the end without a handshake (1006)", deed=_hang_up),
    Fault("reset", FRAME, "half of it, then a TCP reset", deed=_reset),
    Fault("silence", FRAME, "the connection is half-open from here on", deed=_silence),
    Fault(
        "missed-ping",
        FRAME,
        "pongs are lost; cut after so long",
        deed=_miss_pings,
        value=1,
        unit="s",
        is_common=False,
    ),
    Fault("lifetime", FRAME, "cut for its age (24 h)", deed=_cut, is_common=False),
    Fault("notice", FRAME, "serverShutdown or bts:request_reconnect first", deed=_notice),
    Fault("http-429", ANSWER, "429, Retry-After", edit=answers.too_many, value=1, unit="s"),
    Fault("http-418", ANSWER, "418, Retry-After", edit=answers.banned, value=1, unit="s"),
    Fault("http-500", ANSWER, "500", edit=answers.failed),
    Fault("http-404", ANSWER, "404 with a page for people", edit=answers.not_found),
    Fault("redirect", ANSWER, "302 to another name", edit=answers.redirected),
    Fault("no-answer", ANSWER, "nothing for so long", edit=answers.late, value=30, unit="s"),
    Fault("slow-body", ANSWER, "the body takes so long", edit=answers.slow, value=30, unit="s"),
    Fault("truncated-body", ANSWER, "half the body, then the end", edit=answers.truncated),
    Fault("html", ANSWER, "200 with a page for people", edit=answers.html),
    Fault("snapshot-old", SNAPSHOT, "the first one ever served, again", edit=answers.first_again),
    Fault(
        "snapshot-ahead",
        SNAPSHOT,
        "its id is so much higher",
        edit=answers.ahead,
        value=1e9,
        unit="ids",
    ),
    Fault(
        "snapshot-straddled",
        SNAPSHOT,
        "its id is inside the last frame sent",
        edit=answers.straddled,
        is_common=False,
    ),
    Fault("snapshot-other", SNAPSHOT, "prices of another symbol", edit=answers.other_symbol),
    Fault("snapshot-empty", SNAPSHOT, "no levels", edit=answers.empty),
    Fault("snapshot-one-sided", SNAPSHOT, "no asks", edit=answers.one_sided),
    Fault("snapshot-priceless", SNAPSHOT, "a bid at zero", edit=answers.priceless),
    Fault(
        "snapshot-old-grid",
        SNAPSHOT,
        "a low bid rests since the tick was finer: so many decimals",
        edit=answers.old_grid,
        value=5,
        unit="decimals",
    ),
    Fault("late-ack", SUBSCRIBE, "confirmed after the first data", is_common=False),
    Fault("refused-subscription", SUBSCRIBE, "an error instead", is_common=False),
    Fault("clock-skew", SIGNED, "the venue's clock is so far ahead", value=200_000, unit="ms"),
    Fault("order-limit", PLACE, "refused: too many orders"),
    Fault("cancel-rejected", CANCEL, "refused as unknown; the order stays"),
    Fault(
        "late-fill",
        CANCEL,
        "confirmed, but the order had filled: that is said so much later",
        value=100,
        unit="ms",
    ),
    Fault("ack-lost", CHANGE, "done, but never answered"),
    Fault("order-disconnect", CHANGE, "done, then the connection is reset; orders stay"),
    Fault("duplicate-fill", FILL, "the event comes twice"),
    Fault("tls", HANDSHAKE, "the handshake is refused with an alert"),
)
FAULTS = {fault.name: fault for fault in _TABLE}

_ORDER = re.compile(
    r"(?P<name>[a-z0-9-]+?)(=(?P<value>[0-9.e]+))?(:(?P<venue>[a-z-]+))?(@(?P<at>[0-9.]+))?"
    r"(x(?P<times>[0-9]+)|/(?P<for>[0-9.]+))?"
)
GRAMMAR = "NAME[=VALUE][:VENUE][@SECONDS][xTIMES | /SECONDS]"


def describe_faults() -> str:
    """The table, for people."""
    lines = [f"{GRAMMAR}, for example drop:{next(iter(VENUES))}@5x3 or delay=250/4", ""]
    for fault in FAULTS.values():
        venues = "" if fault.is_common else f" ({', '.join(fault.venues)})"
        value = f"={int(fault.value)} {fault.unit}" if fault.unit else ""
        lines.append(f"{fault.name + value:<28} {fault.occasion + ':':<16} {fault.what}{venues}")
    return "\n".join(lines)


@dataclass
class Order:
    """A fault to be inflicted: `times` occasions at each venue, or all of `for_s` seconds."""

    fault: Fault
    text: str
    venues: tuple[str, ...]
    value: float
    at_s: float = 0.0
    times: int = 1
    for_s: float = 0.0
    struck: Counter[str] = field(default_factory=Counter)
    starts_s: float = 0.0

    def strikes(self, venue: str, now_s: float) -> bool:
        """Whether an occasion of its kind at a venue is its to spoil; counts it."""
        if venue not in self.venues or now_s < self.starts_s or self.is_over(venue, now_s):
            return False
        self.struck[venue] += 1
        return True

    def is_over(self, venue: str, now_s: float) -> bool:
        """Whether it has nothing left to do at a venue."""
        if self.for_s > 0:
            return now_s >= self.starts_s + self.for_s
        return self.struck[venue] >= self.times


def _number(text: str | None, default: float, limit: float, what: str, order: str) -> float:
    if text is None:
        return default
    try:
        number = float(text)
    except ValueError:
        raise SimulatorError(f"fault {order!r}: {what} {text!r} is not a number") from None
    if not 0 <= number <= limit:
        raise SimulatorError(f"fault {order!r}: {what} {text} is not in 0..{limit:g}")
    return number


def read_order(text: str) -> Order:
    """An order from its text; `SimulatorError` says what is wrong and what is allowed."""
    found = _ORDER.fullmatch(text)
    if found is None:
        raise SimulatorError(f"fault {text!r}: expected {GRAMMAR}")
    fault = FAULTS.get(found["name"])
    if fault is None:
        raise SimulatorError(f"fault {text!r}: unknown {found['name']!r}; known: {known()}")
    if found["value"] is not None and not fault.unit:
        raise SimulatorError(f"fault {text!r}: {fault.name} takes no value")
    venue = found["venue"]
    if venue is not None and venue not in fault.venues:
        allowed = " or ".join(fault.venues)
        raise SimulatorError(f"fault {text!r}: {fault.name} is a fault of {allowed}, not {venue!r}")
    times = int(_number(found["times"], 1, TIMES_MAX, "times", text))
    for_s = _number(found["for"], 0.0, SECONDS_MAX, "duration", text)
    if times == 0 or (found["for"] is not None and for_s == 0):
        raise SimulatorError(f"fault {text!r}: would never strike")
    return Order(
        fault,
        text,
        venues=fault.venues if venue is None else (venue,),
        value=_number(found["value"], fault.value, TIMES_MAX * 1e4, fault.unit, text),
        at_s=_number(found["at"], 0.0, SECONDS_MAX, "time", text),
        times=times,
        for_s=for_s,
    )


def known() -> str:
    """The names of all faults."""
    return ", ".join(FAULTS)


class FaultInjector(Interceptor):
    """Inflicts what is ordered; nothing by itself."""

    def __init__(self, seed: int, *, has_tls: bool = False) -> None:
        self._has_tls = has_tls
        self._orders: list[Order] = []
        self._struck: dict[str, Counter[str]] = {venue: Counter() for venue in NAMES}
        self._rngs = {venue: generator(seed, venue, "faults") for venue in NAMES}
        self._kept = answers.Kept()

    def read(self, text: str) -> Order:
        """`read_order`, for these venues: a fault that cannot happen here is refused."""
        order = read_order(text)
        if order.fault.occasion == HANDSHAKE and not self._has_tls:
            raise SimulatorError(f"fault {text!r}: needs venues that serve TLS")
        return order

    def arm(self, order: Order) -> None:
        """From now on (or `at_s` later) it strikes."""
        now_s = monotonic_s()
        over = [o for o in self._orders if all(o.is_over(venue, now_s) for venue in o.venues)]
        for each in over:
            self._orders.remove(each)
        if len(self._orders) >= ORDERS_MAX:
            raise SimulatorError(f"more than {ORDERS_MAX} faults at once")
        order.starts_s = now_s + order.at_s
        self._orders.append(order)

    def inflict(self, texts: Sequence[str]) -> None:
        for order in [self.read(text) for text in texts]:
            self.arm(order)

    def calm(self) -> None:
        self._orders.clear()

    def strikes(self, venue: str) -> dict[str, int]:
        return dict(self._struck[venue])

    def _next(self, venue: str, *occasions: str) -> Order | None:
        """The order that strikes here, if one does."""
        if not self._orders:
            return None
        now_s = monotonic_s()
        for order in self._orders:
            if order.fault.occasion in occasions and order.strikes(venue, now_s):
                self._struck[venue][order.fault.name] += 1
                return order
        return None

    async def frame(self, connection: Connection, text: str) -> Sequence[Outgoing]:
        form = simulated_venue(connection.venue).form
        if not mutations.is_book_frame(form, text):
            return (text,)
        self._kept.keep_frame(connection.venue, text)
        if connection.held:
            held, connection.held = connection.held, ""
            return (text, held)
        order = self._next(connection.venue, FRAME)
        if order is None:
            return (text,)
        if order.fault.deed is not None:
            return await order.fault.deed(connection, text, order.value)
        assert order.fault.mutation is not None
        frame = mutations.BookFrame(form, text)
        return order.fault.mutation(frame, order.value, self._rngs[connection.venue])

    async def response(self, request: web.Request, response: web.Response) -> web.StreamResponse:
        if response.status != 200:
            return response
        is_snapshot = self._kept.keep_snapshot(request, response)
        venue = request.app[answers.VENUE].name
        order = self._next(venue, ANSWER, *((SNAPSHOT,) if is_snapshot else ()))
        if order is None:
            return response
        assert order.fault.edit is not None
        return await order.fault.edit(self._kept, request, response, order.value)

    def spoils(self, venue: str, occasion: str) -> tuple[str, float] | None:
        order = self._next(venue, occasion)
        return (order.fault.name, order.value) if order is not None else None

    def accepts(self, venue: str) -> bool:
        return self._next(venue, HANDSHAKE) is None
