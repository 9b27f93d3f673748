"""The engine thread's event loop: polls and receives in compiled code, and hands the bytes over.

    asyncio turn -> select() -> spin: epoll_wait(timeout 0), recv, frames -> protocol -> turn

A plain asyncio loop sleeps in the kernel and, once woken, queues the reader callback for its next
step, which asks for a buffer, receives into it and tells the protocol. Here `select` itself spins
without the GIL until a descriptor is readable. What a FrameReceiver's socket brings is taken to the
engine's kernel right there (net.sockets.frames), and the spin goes on: it ends for what Python has
to do, and for nothing else. Any other plain socket with a buffered protocol (picows) is received
from at once too, into the buffer that the protocol offers before each spin; the protocol is told
before `select` returns. Other readers' callbacks (TLS decrypts in them) are called there as well.
Timers and `call_soon_threadsafe` work as ever: the first bound the spin, the second makes the
loop's own pipe readable. The end of a connection is asyncio's to find.

Idle policies: `spin` never sleeps; `backoff` spins for a while after the last event, then sleeps in
epoll_wait; `block` is the plain selector. Each tells the loop's meters how long its turns take,
from the end of a wait to the beginning of the next, and how long it waits, spinning or asleep; a
turn that is compiled is one too.
Runs on: the engine thread.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import select
import selectors
from collections.abc import Callable
from selectors import EVENT_READ, EVENT_WRITE
from typing import Any

import numpy as np
from aiofastnet.selector_transport import SelectorSocketTransport
from aiofastnet.ssl_transport import SSLTransport_Socket

from engine.compiling.atomics import Words
from engine.compiling.c_calls import EPOLL_EVENT_BYTES
from engine.sharing import meter_layout as M
from engine.sharing.meters import observe_value
from net.sockets import frames as RF
from net.sockets import polling
from net.sockets.frame_receiver import FrameReceiver
from net.sockets.rehearsal import Rehearsal
from tuning.clock import steady_ns

BACKOFF_SPIN_NS = 100_000
"""How long `backoff` spins before it sleeps."""
FOREVER_NS = 3_600_000_000_000
"""A select without a timer ends after an hour, finds nothing, and is called again."""

TRANSPORTS = (
    SelectorSocketTransport,
    SSLTransport_Socket,
    asyncio.selector_events._SelectorSocketTransport,  # type: ignore[attr-defined]
)
"""Those of picows (which brings aiofastnet) and of asyncio that own their socket."""


def _transport_of(key: selectors.SelectorKey) -> Any:
    """The transport whose socket this is, if it can be received from in compiled code.

    Either what it reads goes as it is to a buffered protocol, or to a receiver, which decrypts: any
    other transport that decrypts reads its socket into a buffer of its own.
    """
    reader = key.data[0] if isinstance(key.data, tuple) else None
    owner: Any = getattr(getattr(reader, "_callback", None), "__self__", None)
    if not key.events & EVENT_READ or not isinstance(owner, TRANSPORTS):
        return None
    protocol = owner.get_protocol()
    is_receiver = isinstance(protocol, FrameReceiver) and protocol.can_spin
    is_plain = not isinstance(owner, SSLTransport_Socket)
    return owner if is_receiver or (is_plain and _is_buffered(protocol)) else None


def _is_buffered(protocol: object) -> bool:
    return isinstance(protocol, asyncio.BufferedProtocol)


class SpinSelector(selectors.EpollSelector):
    """An epoll selector that polls and receives in compiled code and calls readers itself.

    `spin_ns`: how long it polls before it sleeps in epoll_wait; FOREVER_NS never sleeps. `meters`:
    the loop's block, int64, shape (LOOP_WORDS,). `on_standstill`, `rehearsal`, `turn`: see
    `new_event_loop`.
    """

    def __init__(
        self,
        spin_ns: int,
        meters: Words,
        on_standstill: Callable[[], None],
        rehearsal: Rehearsal | None = None,
        turn: polling.Turn | None = None,
    ) -> None:
        super().__init__()
        self._on_standstill = on_standstill
        self._spin_ns = spin_ns
        self._meters = meters
        self._by_descriptor: dict[int, selectors.SelectorKey] = {}
        self._events = np.zeros(polling.EVENTS_MAX * EPOLL_EVENT_BYTES, np.uint8)
        self._state = np.zeros(polling.STATE_WORDS, np.int64)
        self._state[polling.EPOLL] = self.fileno()
        self._state[polling.EVENTS_ADDRESS] = self._events.ctypes.data
        self._state[polling.METERS_ADDRESS] = meters.ctypes.data
        self._cipher = np.zeros(polling.CIPHER_BYTES, np.uint8)
        self._state[polling.CIPHER_ADDRESS] = self._cipher.ctypes.data
        self._state[polling.EXITED_NS] = steady_ns()
        self._state[polling.TAKE_FUNCTION] = RF.take_function()
        self._rehearsal = rehearsal
        self._state[polling.REHEARSAL] = rehearsal.address if rehearsal is not None else 0
        self._turn = turn if turn is not None and turn.function else None
        if self._turn is not None:
            self._state[polling.TURN_FUNCTION] = self._turn.function
            self._state[polling.TURN_ADDRESS] = self._turn.address
        self._address = int(self._state.ctypes.data)
        self._intakes = self._state[polling.INTAKES_AT : polling.READY_AT]
        self._intakes[:] = polling.NOBODY
        self._ready = self._state[polling.READY_AT :]
        self._transports: list[Any] = [None] * polling.INTAKES_MAX
        self._protocols: list[Any] = [None] * polling.INTAKES_MAX

    # --- who is there ----------------------------------------------------------------------------

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = super().register(fileobj, events, data)
        self._know(key)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        key = super().unregister(fileobj)
        self._forget(key.fd)
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = super().modify(fileobj, events, data)
        self._forget(key.fd)
        self._know(key)
        return key

    def _know(self, key: selectors.SelectorKey) -> None:
        self._by_descriptor[key.fd] = key
        transport = _transport_of(key)
        if transport is not None and None in self._transports:
            place = self._transports.index(None)
            protocol = transport.get_protocol()
            self._transports[place], self._protocols[place] = transport, protocol
            at = place * polling.INTAKE_WORDS
            is_receiver = isinstance(protocol, FrameReceiver)
            self._intakes[at + polling.DESCRIPTOR] = key.fd
            self._intakes[at + polling.RECEIVER] = protocol.address if is_receiver else 0

    def _forget(self, descriptor: int) -> None:
        self._by_descriptor.pop(descriptor, None)
        for place in range(polling.INTAKES_MAX):
            at = place * polling.INTAKE_WORDS
            if self._intakes[at + polling.DESCRIPTOR] == descriptor:
                self._intakes[at + polling.DESCRIPTOR] = polling.NOBODY
                self._transports[place] = self._protocols[place] = None

    def _prepare(self) -> None:
        """Have each protocol say where its next bytes go: it may have moved them since."""
        for place, protocol in enumerate(self._protocols):
            at = place * polling.INTAKE_WORDS
            if isinstance(protocol, FrameReceiver):
                protocol.tell_picows()
                if not protocol.can_spin:  # its transport sees to the end of TLS
                    self._intakes[at + polling.DESCRIPTOR] = polling.NOBODY
                    self._transports[place] = self._protocols[place] = None
            elif protocol is not None:
                view = memoryview(protocol.get_buffer(-1))
                address = ctypes.addressof(ctypes.c_char.from_buffer(view))
                self._intakes[at + polling.BUFFER] = address
                self._intakes[at + polling.BUFFER_BYTES] = len(view)

    # --- what comes ------------------------------------------------------------------------------

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Serve a reader that is ready; return what else is, for asyncio to schedule.

        Ends when something was ready or after `timeout` seconds, so that timers run on time.
        """
        wait_ns = FOREVER_NS if timeout is None else max(int(timeout * 1e9), 0)
        limit_ns = self._state[polling.LIMIT_NS] = steady_ns() + wait_ns
        self._prepare()
        if self._turn is not None:
            self._turn.prepare()
        found = polling.poll_until(self._address, self._spin_ns)
        if found == polling.NOTHING and (left_ns := limit_ns - steady_ns()) > 0:
            self._sleep(None if timeout is None else left_ns / 1e9)
            found = polling.poll_until(self._address, 0)
        if self._turn is not None:
            self._turn.settle()
        if found == polling.STOOD_STILL:
            self._on_standstill()
            found = int(self._state[polling.FOUND])
        if found >= polling.RECEIVED:
            place = int(found >> polling.PLACE_SHIFT & polling.PLACE_MASK)
            return self._serve_intake(place, int(found & polling.BYTES_MASK))
        others: list[tuple[selectors.SelectorKey, int]] = []
        for descriptor, mask in self._ready[: 2 * found].reshape(-1, 2).tolist():
            others += self._serve(descriptor, mask)
        return others

    def _serve_intake(self, place: int, code: int) -> list[tuple[selectors.SelectorKey, int]]:
        received, protocol = code - polling.ERRNO_LIMIT, self._protocols[place]
        if protocol is None:
            return []  # closed by a callback since
        if received == 0:
            descriptor = self._intakes[place * polling.INTAKE_WORDS + polling.DESCRIPTOR]
            return self._serve(int(descriptor), polling.EPOLLIN)
        if received < 0:
            # recv has taken the error from the socket: nobody else can find it any more.
            failure = OSError(-received, os.strerror(-received))
            self._transports[place]._force_close(failure)
            return []
        try:
            if code == polling.ASKS:
                protocol.serve()
            else:
                protocol.buffer_updated(received)
        except Exception as error:
            self._abort(place, error)
        return []

    def _sleep(self, timeout: float | None) -> None:
        """Wait in epoll_wait; what ends it is found by the next look."""
        super().select(timeout)
        exited_ns = steady_ns()
        passed_ns = exited_ns - int(self._state[polling.EXITED_NS])
        self._meters[M.LOOP_IDLE] += passed_ns
        self._state[polling.EXITED_NS] = exited_ns
        if passed_ns > polling.STANDSTILL_NS:
            self._on_standstill()

    def _abort(self, place: int, error: Exception) -> None:
        """As a transport does whose protocol fails: say so, and close."""
        context = {"message": "a protocol failed", "exception": error}
        asyncio.get_running_loop().call_exception_handler(context)
        if self._transports[place] is not None:
            self._transports[place].abort()

    def _serve(self, descriptor: int, mask: int) -> list[tuple[selectors.SelectorKey, int]]:
        """Call the reader of a descriptor; what it is ready for besides, if anything."""
        key = self._by_descriptor.get(descriptor)
        if key is None:
            return []  # closed by a callback since
        reader = key.data[0] if isinstance(key.data, tuple) else None
        is_readable = bool(mask & ~select.EPOLLOUT) and bool(key.events & EVENT_READ)
        if is_readable and reader is not None and not reader.cancelled():
            reader._run()
            is_readable = False
        is_writable = bool(mask & ~select.EPOLLIN) and bool(key.events & EVENT_WRITE)
        events = is_readable * EVENT_READ | is_writable * EVENT_WRITE
        return [(key, events)] if events else []


class BlockSelector(selectors.DefaultSelector):
    """The plain selector; it only tells the loop's meters (see SpinSelector) of its turns."""

    def __init__(self, meters: Words, on_standstill: Callable[[], None]) -> None:
        super().__init__()
        self._meters = meters
        self._on_standstill = on_standstill
        self._exited_ns = steady_ns()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        entered_ns = steady_ns()
        observe_value(self._meters, M.LOOP_TURN, entered_ns - self._exited_ns)
        ready = super().select(timeout)
        before_ns, self._exited_ns = self._exited_ns, steady_ns()
        self._meters[M.LOOP_IDLE] += self._exited_ns - entered_ns
        if self._exited_ns - before_ns > polling.STANDSTILL_NS:
            self._on_standstill()
        return ready


def new_event_loop(
    idle: str,
    meters: Words,
    on_standstill: Callable[[], None],
    rehearsal: Rehearsal | None = None,
    turn: polling.Turn | None = None,
) -> asyncio.AbstractEventLoop:
    """The engine thread's loop for an idle policy: spin, backoff or block.

    `meters`: the loop's block, int64, shape (LOOP_WORDS,). `on_standstill`: called after more than
    STANDSTILL_NS (net.sockets.polling), before anything that has come meanwhile is served; the loop
    needs a timer that is faster. `rehearsal`: what a loop that always spins does meanwhile. `turn`:
    what is done within a spin after frames that somebody waits for.
    """
    if idle == "block" or not hasattr(selectors, "EpollSelector"):
        return asyncio.SelectorEventLoop(BlockSelector(meters, on_standstill))
    is_spin = idle == "spin"
    spin_ns = FOREVER_NS if is_spin else BACKOFF_SPIN_NS
    selector = SpinSelector(spin_ns, meters, on_standstill, rehearsal if is_spin else None, turn)
    return asyncio.SelectorEventLoop(selector)
