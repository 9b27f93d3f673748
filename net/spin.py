"""The engine thread's event loop: polls in compiled code, and hands readiness straight over.

    asyncio turn -> select() -> spin on epoll_wait(timeout 0), no GIL -> reader callback -> turn

A plain asyncio loop sleeps in the kernel and, once woken, queues the reader callback for its next
step. Here `select` itself spins without the GIL until a descriptor is readable, and calls the
registered reader callback at once, before it returns to asyncio. Timers and `call_soon_threadsafe`
work as ever: the first bound the spin, the second makes the loop's own pipe readable.

Idle policies: `spin` never sleeps; `backoff` spins for a while after the last event, then sleeps in
epoll_wait; `block` is the plain selector.
Runs on: the engine thread. Called by: net.live.
"""

from __future__ import annotations

import asyncio
import platform
import select
import selectors
from selectors import EVENT_READ, EVENT_WRITE
from typing import Any

import numpy as np

from engine.atomics import Words, int64, view_bytes
from engine.jit import JIT_OFF, kernel
from engine.wall import CLOCK_MONOTONIC, clock_ns

EVENTS_MAX = 64
"""Descriptors handled in one go; an engine has one connection a venue."""
CLOCK_EVERY = 16
"""Polls between two looks at the clock: an epoll_wait costs some 150 ns, the clock 25 ns."""
BACKOFF_SPIN_NS = 100_000
"""How long `backoff` spins before it sleeps."""
FOREVER_NS = 3_600_000_000_000
"""A select without a timer ends after an hour, finds nothing, and is called again."""

IS_PACKED = platform.machine() in ("x86_64", "AMD64")
"""struct epoll_event is packed to 12 bytes on x86-64 and 16 bytes long elsewhere (epoll_ctl(2))."""
EVENT_BYTES = 12 if IS_PACKED else 16
DATA_AT = 4 if IS_PACKED else 8

if JIT_OFF:
    import ctypes

    _libc = ctypes.CDLL(None)

    def _epoll_wait(descriptor: int, address: int, count: int, timeout_ms: int) -> int:
        return int(_libc.epoll_wait(descriptor, ctypes.c_void_p(address), count, timeout_ms))

else:
    import numba.types as nbtypes

    _epoll_wait = nbtypes.ExternalFunction(
        "epoll_wait", nbtypes.int32(nbtypes.int32, nbtypes.intp, nbtypes.int32, nbtypes.int32)
    )


@kernel("int64(int64, int64, int64, int64[::1])", releases_gil=True)
def poll_until(descriptor: int, events_address: int, spin_ns: int, ready: Words) -> int:
    """Poll an epoll descriptor until something is ready or `spin_ns` have passed.

    Returns how many are ready; `ready` gets two words each: the descriptor and the event mask.
    Runs without the GIL. The upper half of epoll's 64-bit data is garbage: only 32 bits are ours.
    """
    end_ns = clock_ns(CLOCK_MONOTONIC) + spin_ns
    polls = 0
    count = _epoll_wait(descriptor, events_address, EVENTS_MAX, 0)
    while count == 0:
        polls += 1
        if polls == CLOCK_EVERY:
            polls = 0
            if clock_ns(CLOCK_MONOTONIC) >= end_ns:
                break
        count = _epoll_wait(descriptor, events_address, EVENTS_MAX, 0)
    raw = view_bytes(events_address, EVENTS_MAX * EVENT_BYTES)
    for index in range(max(count, 0)):
        at = index * EVENT_BYTES
        mask = int64(0)
        number = int64(0)
        for byte in range(4):
            mask |= int64(raw[at + byte]) << (8 * byte)
            number |= int64(raw[at + DATA_AT + byte]) << (8 * byte)
        ready[2 * index] = number
        ready[2 * index + 1] = mask
    return max(count, 0)


class SpinSelector(selectors.EpollSelector):
    """An epoll selector that polls in compiled code and calls reader callbacks itself.

    `spin_ns`: how long it polls before it sleeps in epoll_wait; FOREVER_NS never sleeps.
    """

    def __init__(self, spin_ns: int) -> None:
        super().__init__()
        self.turns = 0
        self._spin_ns = spin_ns
        self._by_descriptor: dict[int, selectors.SelectorKey] = {}
        self._events = np.zeros(EVENTS_MAX * EVENT_BYTES, np.uint8)
        self._events_address = int(self._events.ctypes.data)
        self._ready = np.zeros(2 * EVENTS_MAX, np.int64)
        self._descriptor = self.fileno()

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = super().register(fileobj, events, data)
        self._by_descriptor[key.fd] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        key = super().unregister(fileobj)
        self._by_descriptor.pop(key.fd, None)
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = super().modify(fileobj, events, data)
        self._by_descriptor[key.fd] = key
        return key

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Call the readers that are ready; return what else is, for asyncio to schedule.

        Ends when something was ready or after `timeout` seconds, so that timers run on time.
        """
        self.turns += 1
        limit_ns = FOREVER_NS if timeout is None else max(int(timeout * 1e9), 0)
        spin_ns = min(limit_ns, self._spin_ns)
        count = poll_until(self._descriptor, self._events_address, spin_ns, self._ready)
        if count == 0:
            rest_s = None if timeout is None else (limit_ns - spin_ns) / 1e9
            if limit_ns <= spin_ns:
                return []
            return super().select(rest_s)
        return self._dispatch(count)

    def _dispatch(self, count: int) -> list[tuple[selectors.SelectorKey, int]]:
        others: list[tuple[selectors.SelectorKey, int]] = []
        ready = self._ready.tolist()
        for index in range(count):
            key = self._by_descriptor.get(ready[2 * index])
            if key is None:
                continue
            mask = ready[2 * index + 1]
            reader = key.data[0] if isinstance(key.data, tuple) else None
            is_readable = bool(mask & ~select.EPOLLOUT) and bool(key.events & EVENT_READ)
            if is_readable and reader is not None and not reader.cancelled():
                reader._run()
                is_readable = False
            is_writable = bool(mask & ~select.EPOLLIN) and bool(key.events & EVENT_WRITE)
            events = is_readable * EVENT_READ | is_writable * EVENT_WRITE
            if events:
                others.append((key, events))
        return others


def new_event_loop(idle: str) -> asyncio.AbstractEventLoop:
    """The engine thread's loop for an idle policy: spin, backoff or block."""
    if idle == "block" or not hasattr(selectors, "EpollSelector"):
        return asyncio.SelectorEventLoop()
    spin_ns = FOREVER_NS if idle == "spin" else BACKOFF_SPIN_NS
    return asyncio.SelectorEventLoop(SpinSelector(spin_ns))
