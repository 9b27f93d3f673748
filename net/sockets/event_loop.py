"""The engine thread's event loop: polls and receives in compiled code, and hands the bytes over.

    asyncio turn -> select() -> spin: epoll_wait(timeout 0), recv, no GIL -> protocol -> turn

A plain asyncio loop sleeps in the kernel and, once woken, queues the reader callback for its next
step, which asks for a buffer, receives into it and tells the protocol. Here `select` itself spins
without the GIL until a descriptor is readable. A plain socket with a buffered protocol (picows) is
received from at once, into the buffer that the protocol offers before each spin; the protocol is
told before `select` returns. Other readers' callbacks (TLS decrypts in them) are called there too.
Timers and `call_soon_threadsafe` work as ever: the first bound the spin, the second makes the
loop's own pipe readable. The end of a connection is asyncio's to find.

Idle policies: `spin` never sleeps; `backoff` spins for a while after the last event, then sleeps in
epoll_wait; `block` is the plain selector. Each tells the loop's meters how long its turns take,
from the end of a wait to the beginning of the next, and how long it waits, spinning or asleep.
Runs on: the engine thread.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import platform
import select
import selectors
from collections.abc import Callable
from errno import EAGAIN, EINTR
from selectors import EVENT_READ, EVENT_WRITE
from typing import Any

import numpy as np
from aiofastnet.selector_transport import SelectorSocketTransport

from engine.compiling.atomics import Words, int64, view_bytes, view_words
from engine.compiling.clock import CLOCK_BOOTTIME, clock_ns
from engine.compiling.jit import JIT_OFF, inner, kernel
from engine.sharing import meter_layout as M
from engine.sharing.meters import observe, observe_value
from tuning.clock import steady_ns

EVENTS_MAX = 64
"""Descriptors handled in one go; an engine has one connection a venue."""
EPOLL_EVERY = 4
"""Rounds over the intakes to one look at everything else: timers and other threads can wait."""
CLOCK_EVERY = 16
"""Rounds between two looks at the clock: a recv costs some 150 ns, the clock 25 ns."""
BACKOFF_SPIN_NS = 100_000
"""How long `backoff` spins before it sleeps."""
FOREVER_NS = 3_600_000_000_000
"""A select without a timer ends after an hour, finds nothing, and is called again."""

STANDSTILL_NS = 2_000_000_000
"""A loop that has a faster timer and did not come round for so long was stopped, or its host slept:
what it reads now has waited. A busy host holds up a thread for less."""

IS_PACKED = platform.machine() in ("x86_64", "AMD64")
"""struct epoll_event is packed to 12 bytes on x86-64 and 16 bytes long elsewhere (epoll_ctl(2))."""
EVENT_BYTES = 12 if IS_PACKED else 16
DATA_AT = 4 if IS_PACKED else 8

EPOLLIN = 0x1
"""From sys/epoll.h."""
MSG_DONTWAIT = 0x40
"""From sys/socket.h on Linux: -1 at once where nothing is waiting."""
PLAIN_TRANSPORTS = (SelectorSocketTransport, asyncio.selector_events._SelectorSocketTransport)  # type: ignore[attr-defined]
"""Those of picows (which brings aiofastnet) and of asyncio."""

INTAKES_MAX = 8
"""Sockets that are received from in compiled code; any others are asyncio's."""
INTAKE_WORDS = 3
"""Of a socket: its descriptor, and the address and size of the buffer that was offered."""
(EPOLL, EVENTS_ADDRESS, METERS_ADDRESS, EXITED_NS, TURN, FOUND, INTAKES_AT) = range(7)
READY_AT = INTAKES_AT + INTAKE_WORDS * INTAKES_MAX
STATE_WORDS = READY_AT + 2 * EVENTS_MAX
"""A selector's words: one address costs a call some 60 ns less than the arrays it stands for."""
NOBODY = -1
NOTHING = 0
STOOD_STILL = -1
RECEIVED = 1 << 48
"""What `poll_until` returns of an intake is this or more: place, then bytes or errno."""
PLACE_SHIFT, PLACE_MASK, BYTES_MASK = 32, INTAKES_MAX - 1, (1 << 32) - 1
ERRNO_LIMIT = 4096
"""Errors of Linux are below it."""

if JIT_OFF:
    _libc = ctypes.CDLL(None, use_errno=True)
    _libc.recv.restype = ctypes.c_ssize_t

    def _epoll_wait(descriptor: int, address: int, count: int, timeout_ms: int) -> int:
        where = ctypes.c_void_p(int(address))
        return int(_libc.epoll_wait(int(descriptor), where, count, timeout_ms))

    def recv(descriptor: int, address: int, size: int, flags: int) -> int:
        """recv(2)."""
        where = (ctypes.c_void_p(int(address)), ctypes.c_size_t(int(size)))
        return int(_libc.recv(int(descriptor), *where, int(flags)))

    def _errno() -> int:
        return ctypes.get_errno()

else:
    import numba.types as nbtypes

    _epoll_wait = nbtypes.ExternalFunction(
        "epoll_wait", nbtypes.int32(nbtypes.int32, nbtypes.intp, nbtypes.int32, nbtypes.int32)
    )
    recv = nbtypes.ExternalFunction(
        "recv", nbtypes.int64(nbtypes.int32, nbtypes.intp, nbtypes.intp, nbtypes.int32)
    )
    _errno_location = nbtypes.ExternalFunction("__errno_location", nbtypes.intp())

    @inner
    def _errno() -> int:
        """The calling thread's errno: below 256 in all of Linux, so its first byte says it."""
        return int64(view_bytes(_errno_location(), 4)[0])


@inner
def _is_intake(intakes: Words, descriptor: int) -> bool:
    for at in range(0, len(intakes), INTAKE_WORDS):
        if intakes[at] == descriptor:
            return True
    return False


@inner
def _others(events_address: int, count: int, intakes: Words, ready: Words) -> int:
    """Descriptors and masks of epoll's events, without the readability of intakes; how many.

    The upper half of epoll's 64-bit data is garbage: only 32 bits are ours.
    """
    raw = view_bytes(events_address, EVENTS_MAX * EVENT_BYTES)
    left = 0
    for index in range(count):
        at = index * EVENT_BYTES
        mask = int64(0)
        number = int64(0)
        for byte in range(4):
            mask |= int64(raw[at + byte]) << (8 * byte)
            number |= int64(raw[at + DATA_AT + byte]) << (8 * byte)
        if _is_intake(intakes, number):
            mask &= ~EPOLLIN
        if mask != 0:
            ready[2 * left] = number
            ready[2 * left + 1] = mask
            left += 1
    return left


@inner
def _receive(intakes: Words, first: int) -> int:
    """Receive from the first intake, counted from `first`, that has something.

    NOTHING, or RECEIVED with its place and how many bytes: below zero an errno, zero the end.
    """
    for step in range(INTAKES_MAX):
        place = (first + step) % INTAKES_MAX
        at = place * INTAKE_WORDS
        if intakes[at] == NOBODY:
            continue
        received = recv(intakes[at], intakes[at + 1], intakes[at + 2], MSG_DONTWAIT)
        if received < 0:
            received = -_errno()
            if received == -EAGAIN or received == -EINTR:
                continue
        return RECEIVED + (place << PLACE_SHIFT) + ERRNO_LIMIT + received
    return NOTHING


@inner
def _poll(state: Words, intakes: Words, ready: Words, end_ns: int) -> int:
    """What `poll_until` returns. The turn goes round: everybody comes first now and then."""
    turn = state[TURN]
    state[TURN] = turn + 1
    polls = int64(0)
    while True:
        if (turn + polls) % EPOLL_EVERY == 0:
            count = _epoll_wait(state[EPOLL], state[EVENTS_ADDRESS], EVENTS_MAX, 0)
            count = _others(state[EVENTS_ADDRESS], count, intakes, ready)
            if count > 0:
                return count
        found = _receive(intakes, turn % INTAKES_MAX)
        if found != NOTHING:
            return found
        polls += 1
        if polls % CLOCK_EVERY == 0 and clock_ns(CLOCK_BOOTTIME) >= end_ns:
            return NOTHING


@kernel("int64(int64, int64)", releases_gil=True)
def poll_until(state_address: int, spin_ns: int) -> int:
    """Look at an epoll descriptor and receive from the intakes until something is there.

    Returns NOTHING after `spin_ns`, below RECEIVED how many descriptors the words from READY_AT
    name, else what `_receive` says; STOOD_STILL, and that in FOUND, where more than STANDSTILL_NS
    have gone by since the last call. Runs without the GIL.
    """
    state = view_words(state_address, STATE_WORDS)
    intakes = view_words(state_address + 8 * INTAKES_AT, INTAKE_WORDS * INTAKES_MAX)
    ready = view_words(state_address + 8 * READY_AT, 2 * EVENTS_MAX)
    meters = view_words(state[METERS_ADDRESS], M.LOOP_WORDS)
    entered_ns = clock_ns(CLOCK_BOOTTIME)
    observe(meters, M.LOOP_TURN, entered_ns - state[EXITED_NS])
    found = _poll(state, intakes, ready, entered_ns + spin_ns)
    exited_ns = clock_ns(CLOCK_BOOTTIME)
    meters[M.LOOP_IDLE] += exited_ns - entered_ns
    passed_ns = exited_ns - state[EXITED_NS]
    state[EXITED_NS] = exited_ns
    if passed_ns > STANDSTILL_NS:
        state[FOUND] = found
        return STOOD_STILL
    return found


def _transport_of(key: selectors.SelectorKey) -> Any:
    """The transport whose socket this is, if what it reads goes as it is to a buffered protocol.

    A transport that decrypts has a protocol too, but reads its socket into a buffer of its own.
    """
    reader = key.data[0] if isinstance(key.data, tuple) else None
    owner: Any = getattr(getattr(reader, "_callback", None), "__self__", None)
    if isinstance(owner, PLAIN_TRANSPORTS) and key.events & EVENT_READ:
        if isinstance(owner.get_protocol(), asyncio.BufferedProtocol):
            return owner
    return None


class SpinSelector(selectors.EpollSelector):
    """An epoll selector that polls and receives in compiled code and calls readers itself.

    `spin_ns`: how long it polls before it sleeps in epoll_wait; FOREVER_NS never sleeps. `meters`:
    the loop's block, int64, shape (LOOP_WORDS,). `on_standstill`: see `new_event_loop`.
    """

    def __init__(self, spin_ns: int, meters: Words, on_standstill: Callable[[], None]) -> None:
        super().__init__()
        self._on_standstill = on_standstill
        self._spin_ns = spin_ns
        self._meters = meters
        self._by_descriptor: dict[int, selectors.SelectorKey] = {}
        self._events = np.zeros(EVENTS_MAX * EVENT_BYTES, np.uint8)
        self._state = np.zeros(STATE_WORDS, np.int64)
        self._state[EPOLL] = self.fileno()
        self._state[EVENTS_ADDRESS] = self._events.ctypes.data
        self._state[METERS_ADDRESS] = meters.ctypes.data
        self._state[EXITED_NS] = steady_ns()
        self._address = int(self._state.ctypes.data)
        self._intakes = self._state[INTAKES_AT:READY_AT]
        self._intakes[:] = NOBODY
        self._ready = self._state[READY_AT:]
        self._transports: list[Any] = [None] * INTAKES_MAX
        self._protocols: list[Any] = [None] * INTAKES_MAX

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
            self._transports[place] = transport
            self._protocols[place] = transport.get_protocol()
            self._intakes[place * INTAKE_WORDS] = key.fd

    def _forget(self, descriptor: int) -> None:
        self._by_descriptor.pop(descriptor, None)
        for place in range(INTAKES_MAX):
            if self._intakes[place * INTAKE_WORDS] == descriptor:
                self._intakes[place * INTAKE_WORDS] = NOBODY
                self._transports[place] = self._protocols[place] = None

    def _ask_for_buffers(self) -> None:
        """Have each protocol say where its next bytes go: it may have moved them since."""
        for place, protocol in enumerate(self._protocols):
            if protocol is not None:
                view = memoryview(protocol.get_buffer(-1))
                at = place * INTAKE_WORDS
                self._intakes[at + 1] = ctypes.addressof(ctypes.c_char.from_buffer(view))
                self._intakes[at + 2] = len(view)

    # --- what comes ------------------------------------------------------------------------------

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Serve a reader that is ready; return what else is, for asyncio to schedule.

        Ends when something was ready or after `timeout` seconds, so that timers run on time.
        """
        limit_ns = FOREVER_NS if timeout is None else max(int(timeout * 1e9), 0)
        spin_ns = min(limit_ns, self._spin_ns)
        self._ask_for_buffers()
        found = poll_until(self._address, spin_ns)
        if found == STOOD_STILL:
            self._on_standstill()
            found = int(self._state[FOUND])
        if found >= RECEIVED:
            place, received = found >> PLACE_SHIFT & PLACE_MASK, (found & BYTES_MASK) - ERRNO_LIMIT
            if received > 0:
                try:
                    self._protocols[place].buffer_updated(received)
                except Exception as error:
                    self._abort(place, error)
                return []
            if received < 0:
                # recv has taken the error from the socket: nobody else can find it any more.
                error_number = -int(received)
                failure = OSError(error_number, os.strerror(error_number))
                self._transports[place]._force_close(failure)
                return []
            return self._serve(int(self._intakes[place * INTAKE_WORDS]), EPOLLIN)
        if found == NOTHING and limit_ns > spin_ns:
            return self._sleep(None if timeout is None else (limit_ns - spin_ns) / 1e9)
        others: list[tuple[selectors.SelectorKey, int]] = []
        for descriptor, mask in self._ready[: 2 * found].reshape(-1, 2).tolist():
            others += self._serve(descriptor, mask)
        return others

    def _sleep(self, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(timeout)
        exited_ns = steady_ns()
        passed_ns = exited_ns - int(self._state[EXITED_NS])
        self._meters[M.LOOP_IDLE] += passed_ns
        self._state[EXITED_NS] = exited_ns
        if passed_ns > STANDSTILL_NS:
            self._on_standstill()
        return ready

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
        if self._exited_ns - before_ns > STANDSTILL_NS:
            self._on_standstill()
        return ready


def new_event_loop(
    idle: str, meters: Words, on_standstill: Callable[[], None]
) -> asyncio.AbstractEventLoop:
    """The engine thread's loop for an idle policy: spin, backoff or block.

    `meters`: the loop's block, int64, shape (LOOP_WORDS,). `on_standstill`: called after more than
    STANDSTILL_NS, before anything that has come meanwhile is served; the loop needs a timer that
    is faster.
    """
    if idle == "block" or not hasattr(selectors, "EpollSelector"):
        return asyncio.SelectorEventLoop(BlockSelector(meters, on_standstill))
    spin_ns = FOREVER_NS if idle == "spin" else BACKOFF_SPIN_NS
    return asyncio.SelectorEventLoop(SpinSelector(spin_ns, meters, on_standstill))
